// SPDX-License-Identifier: Apache-2.0
//
// Writes a trace: interns texts, gathers events into chunks, compresses them, and closes with a
// footer of totals. It checks that an event is well-formed (what a reader would refuse), not that
// it makes sense (validate.hpp). After the first failure every later call returns it again. A
// writer belongs to one thread at a time; one that is destroyed without close() leaves a trace
// without footer, which readers report as truncated.
//
//   auto made = writer::create("run.tpt", {.metadata = R"({"model":"tiny"})"});
//   if (!made) return fail(made.error());
//   made->append({.time = 1, .id = 7, .bytes = 4096, .name = *made->name("blk.0.ffn"), ...});
//   if (auto closed = made->close(); !closed) return fail(closed.error());
#pragma once

#include "trace/error.hpp"
#include "trace/event.hpp"
#include "trace/wire.hpp"

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace tidepool::bench::trace {

struct writer_options {
  std::string metadata = "{}";  ///< a JSON object; README.md lists the keys with a meaning
  clock_kind clock = clock_kind::logical;
  std::uint32_t chunk_events = 65536;  ///< events per chunk, less where extras are large
  int compression_level = 9;           ///< of zstd; 0 stores chunks uncompressed and unfiltered
};

class writer {
 public:
  /// Creates the file, or writes to standard output for "-". An existing file is replaced.
  static result<writer> create(const std::string& path,
                               const writer_options& options = {}) noexcept;
  /// Appends to `bytes`, which must outlive the writer.
  static result<writer> to_memory(std::vector<std::byte>& bytes,
                                  const writer_options& options = {}) noexcept;

  writer(writer&&) noexcept;
  writer& operator=(writer&&) noexcept;
  ~writer();

  /// The index of a text, defined by an event of its own at its first use. "" is 0, meaning none.
  result<std::uint32_t> name(std::string_view text) noexcept;
  result<std::uint8_t> category(std::string_view text) noexcept;
  /// Devices count from 0: the first one asked for is what an event means by default.
  result<std::uint8_t> device(std::string_view text, std::uint64_t capacity_bytes = 0) noexcept;

  /// Appends an event without extra. post: numbered event_count() - 1.
  status append(const event& record) noexcept;
  /// Appends an event that owns `extra`; its `bytes` is set to the length. Definitions with numbers
  /// chosen by the caller go this way too and are known to name(), category() and device() then.
  status append(event record, std::span<const std::byte> extra) noexcept;
  /// One operation's touches of several tensors; `record` gives time, stream, thread and access.
  status append_touch(event record, std::span<const std::uint64_t> ids) noexcept;
  /// Touches of parts of tensor `record.id`.
  status append_touch(event record, std::span<const std::uint32_t> parts) noexcept;

  /// Writes what is left and the footer. post: the file is closed; append() is refused.
  status close() noexcept;

  [[nodiscard]] std::uint64_t event_count() const noexcept;
  /// Of the events so far, as the footer will say.
  [[nodiscard]] const totals& sums() const noexcept;

 private:
  class state;
  explicit writer(std::unique_ptr<state> content) noexcept;

  std::unique_ptr<state> state_;  // null only after a move
};

}  // namespace tidepool::bench::trace
