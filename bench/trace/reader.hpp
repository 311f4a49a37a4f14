// SPDX-License-Identifier: Apache-2.0
//
// Reads a trace as a stream, one chunk in memory at a time (at most 2 x 16 MiB plus the names),
// from a file, standard input or memory. It checks everything that makes the bytes well-formed, so
// any input gives events or an error and never a crash; whether the events make sense (a free of a
// dead tensor, say) is validate.hpp's question. A reader belongs to one thread at a time.
//
//   auto opened = reader::open("llama8b.tpt");
//   if (!opened) return fail(opened.error());
//   while (const event_view* e = opened->next()) use(*e);
//   if (opened->failure()) return fail(*opened->failure());
#pragma once

#include "trace/error.hpp"
#include "trace/event.hpp"
#include "trace/wire.hpp"

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace tidepool::bench::trace {

class reader {
 public:
  /// Opens a file, or standard input for "-", and reads its header and metadata.
  static result<reader> open(const std::string& path) noexcept;
  /// The same over bytes that stay in place as long as the reader lives.
  static result<reader> from_memory(std::span<const std::byte> bytes) noexcept;

  reader(reader&&) noexcept;
  reader& operator=(reader&&) noexcept;
  ~reader();

  /// The next event, valid until the next call; null at the end of the trace and after a failure.
  /// Optional events of kinds this version does not know are skipped. Definitions are handed out
  /// too, after the tables below have taken them in.
  [[nodiscard]] const event_view* next() noexcept;

  /// Why next() stopped early; empty at a proper end. errc::truncated: every event handed out was
  /// intact, but the footer is missing.
  [[nodiscard]] const std::optional<error>& failure() const noexcept;

  [[nodiscard]] const file_header& header() const noexcept;
  /// The JSON text of the header, as written; not parsed here.
  [[nodiscard]] std::string_view metadata() const noexcept;
  /// The totals of the footer; empty until next() has reached a proper end.
  [[nodiscard]] const std::optional<totals>& footer() const noexcept;
  /// Events seen so far, skipped ones included.
  [[nodiscard]] std::uint64_t event_count() const noexcept;
  /// Optional events skipped because their kind is unknown.
  [[nodiscard]] std::uint64_t skipped_count() const noexcept;

  /// The texts defined so far; empty view for 0 and for what is not defined.
  [[nodiscard]] std::string_view name(std::uint32_t index) const noexcept;
  [[nodiscard]] std::string_view category(std::uint8_t number) const noexcept;
  [[nodiscard]] std::string_view device(std::uint8_t number) const noexcept;
  /// Names are 1..name_count().
  [[nodiscard]] std::uint32_t name_count() const noexcept;
  [[nodiscard]] bool has_category(std::uint8_t number) const noexcept;
  [[nodiscard]] bool has_device(std::uint8_t number) const noexcept;

 private:
  class state;
  explicit reader(std::unique_ptr<state> content) noexcept;
  static result<reader> start(std::unique_ptr<state> content) noexcept;

  std::unique_ptr<state> state_;  // null only after a move
};

}  // namespace tidepool::bench::trace
