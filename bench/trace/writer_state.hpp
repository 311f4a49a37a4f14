// SPDX-License-Identifier: Apache-2.0
//
// What a writer is behind its interface: the sink, the chunk in the making, the tables of texts and
// the sums. Private to the writer*.cpp files: writer_events.cpp takes events in, writer_chunks.cpp
// puts bytes out. One thread at a time, like the writer.
#pragma once

#include "trace/failure.hpp"
#include "trace/ledger.hpp"
#include "trace/sink.hpp"
#include "trace/writer.hpp"

#include <zstd.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace tidepool::bench::trace {

struct compressor_deleter {
  void operator()(ZSTD_CCtx* context) const noexcept { ZSTD_freeCCtx(context); }
};

inline constexpr std::uint32_t max_chunk_events = 131072;
static_assert(max_chunk_events * event_bytes + limits::list_bytes <= limits::chunk_raw_bytes);

class writer::state {
 public:
  state(byte_sink sink, const writer_options& options)
      : sink_(std::move(sink)),
        level_(std::clamp(options.compression_level, 0, ZSTD_maxCLevel())),
        chunk_events_(std::clamp(options.chunk_events, 1u, max_chunk_events)) {}

  status write_head(const writer_options& options);
  result<std::uint32_t> name(std::string_view text);
  result<std::uint32_t> number_of(event_kind kind, std::string_view text, std::uint64_t capacity);
  status append(event record, std::span<const std::byte> extra);
  status close();

  /// Runs `step`, remembers its failure, and turns an exception into one.
  template <class Step>
  auto guarded(Step step) noexcept -> decltype(step()) {
    try {
      if (failure_) {
        return *failure_;
      }
      auto outcome = step();
      if (!outcome) {
        failure_ = outcome.error();
      }
      return outcome;
    } catch (const std::exception&) {
      failure_ = memory_error();
      return memory_error();
    }
  }

  [[nodiscard]] const ledger& book() const noexcept { return book_; }
  [[nodiscard]] std::uint64_t event_count() const noexcept { return event_count_; }

 private:
  using index_map = std::unordered_map<std::string, std::uint32_t>;

  status check(const event& record, std::span<const std::byte> extra) const;
  status take_definition(const event& record, std::span<const std::byte> extra);
  status write_chunk(chunk_header header, std::span<const std::byte> raw);
  status flush();

  byte_sink sink_;
  int level_;
  std::uint32_t chunk_events_;
  std::unique_ptr<ZSTD_CCtx, compressor_deleter> compressor_;
  std::vector<event> records_;
  std::vector<std::byte> extras_;
  std::vector<std::byte> raw_;
  std::vector<std::byte> packed_;
  index_map names_;
  index_map categories_;
  index_map devices_;
  std::array<bool, 256> category_used_{};
  std::array<bool, 256> device_used_{};
  std::uint64_t names_bytes_ = 0;
  std::uint64_t event_count_ = 0;
  ledger book_{false};
  bool is_closed_ = false;
  std::optional<error> failure_;
};

}  // namespace tidepool::bench::trace
