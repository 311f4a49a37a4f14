// SPDX-License-Identifier: Apache-2.0
//
// What a reader is behind its interface: the source, the chunk in hand, the tables of texts.
// Private to the reader*.cpp files: reader_chunks.cpp brings bytes in and checks them,
// reader_events.cpp takes events out of them. Functions may throw std::bad_alloc, which reader.cpp
// turns into an error. One thread at a time, like the reader.
#pragma once

#include "trace/reader.hpp"
#include "trace/source.hpp"

#include <zstd.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace tidepool::bench::trace {

struct decompressor_deleter {
  void operator()(ZSTD_DCtx* context) const noexcept { ZSTD_freeDCtx(context); }
};

/// For messages.
inline std::string number(std::uint64_t value) {
  return std::to_string(value);
}

class reader::state {
 public:
  explicit state(byte_source source) noexcept : source_(std::move(source)) {}

  status read_head();
  const event_view* next();
  void fail(error failure) noexcept { failure_ = std::move(failure); }

  file_header header;
  std::string metadata;
  std::optional<totals> footer;
  std::uint64_t event_count = 0;
  std::uint64_t skipped_count = 0;
  std::vector<std::string> names;
  std::array<std::optional<std::string>, 256> categories;
  std::array<std::optional<std::string>, 256> devices;

  [[nodiscard]] const std::optional<error>& failure() const noexcept { return failure_; }

 private:
  bool load_chunk();
  status check_chunk(const chunk_header& chunk) const;
  status load_events(const chunk_header& chunk, std::span<const std::byte> raw);
  status load_footer(const chunk_header& chunk, std::span<const std::byte> raw);
  result<std::span<const std::byte>> unpack(const chunk_header& chunk);
  status take_event();
  status take_definition();
  status define(std::optional<std::string>& entry, const char* what, unsigned index);
  [[nodiscard]] error event_error(errc code, std::string reason) const;
  [[nodiscard]] error short_read(const char* what) const;

  byte_source source_;
  std::unique_ptr<ZSTD_DCtx, decompressor_deleter> decompressor_;
  std::vector<std::byte> stored_;  // the chunk as in the file
  std::vector<std::byte> raw_;     // the chunk decompressed
  std::vector<event> records_;
  std::span<const std::byte> extras_;  // of raw_: not yet handed out
  std::size_t cursor_ = 0;             // next record of records_
  std::uint64_t chunk_offset_ = 0;
  std::uint64_t names_bytes_ = 0;
  event_view current_;
  std::optional<error> failure_;
};

}  // namespace tidepool::bench::trace
