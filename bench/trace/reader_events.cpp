// SPDX-License-Identifier: Apache-2.0
//
// reader::state: the events of a chunk, their form checked, and the texts that definitions among
// them give. Whether events make sense together is for validate.cpp.
#include "trace/failure.hpp"
#include "trace/reader_state.hpp"

#include <string_view>

namespace tidepool::bench::trace {
namespace {

std::string hex_byte(std::uint8_t value) {
  constexpr std::string_view digits = "0123456789abcdef";
  return std::string("0x") + digits[value >> 4] + digits[value & 15u];
}

}  // namespace

error reader::state::event_error(errc code, std::string reason) const {
  error failure = make_error(code, chunk_offset_, std::move(reason));
  failure.event = event_count;
  return failure;
}

status reader::state::define(std::optional<std::string>& entry, const char* what, unsigned index) {
  if (entry.has_value()) {
    return event_error(errc::invalid,
                       std::string(what) + " " + number(index) + " is defined a second time");
  }
  entry.emplace(current_.text());
  return {};
}

status reader::state::take_definition() {
  const event& record = current_.record;
  const std::size_t length = current_.extra.size();
  if (length > limits::text_bytes) {
    return event_error(errc::over_limit, "a text of " + number(length) + " bytes, at most " +
                                             number(limits::text_bytes) + " are allowed");
  }
  if (record.kind == event_kind::define_category) {
    if (record.category == 0) {
      return event_error(errc::invalid, "category 0 means unspecified and cannot be defined");
    }
    return define(categories[record.category], "category", record.category);
  }
  if (record.kind == event_kind::define_device) {
    return define(devices[record.device], "device", record.device);
  }
  if (record.kind == event_kind::define_name) {
    if (record.id != names.size() + 1) {
      return event_error(errc::invalid, "name " + number(record.id) + " is defined, expected " +
                                            number(names.size() + 1));
    }
    names_bytes_ += length;
    if (names.size() >= limits::names || names_bytes_ > limits::names_bytes) {
      return event_error(errc::over_limit, "too many names");
    }
    names.emplace_back(current_.text());
  }
  return {};
}

/// Fills current_ with the next record and checks its form.
status reader::state::take_event() {
  current_.record = records_[cursor_];
  current_.extra = {};
  current_.index = event_count;
  current_.offset = chunk_offset_;
  const event& record = current_.record;
  const auto kind_number = static_cast<std::uint8_t>(record.kind);
  if (!is_known(record.kind) && !is_optional(record.kind)) {
    return event_error(errc::unsupported, "a required event of unknown kind " +
                                              hex_byte(kind_number) +
                                              ": the trace needs a newer reader");
  }
  if (has_extra(record.kind)) {
    if (record.bytes > extras_.size()) {
      return event_error(errc::damaged, "an event of kind " + hex_byte(kind_number) + " claims " +
                                            number(record.bytes) + " bytes of extra, " +
                                            number(extras_.size()) + " are left in the chunk");
    }
    current_.extra = extras_.first(static_cast<std::size_t>(record.bytes));
    extras_ = extras_.subspan(current_.extra.size());
  }
  switch (record.kind) {
  case event_kind::define_name:
  case event_kind::define_category:
  case event_kind::define_device:
  case event_kind::comment:
    return take_definition();
  case event_kind::touch_tensors:
  case event_kind::touch_parts: {
    const std::size_t element = record.kind == event_kind::touch_tensors ? 8 : 4;
    if (record.bytes == 0 || record.bytes % element != 0 || record.bytes > limits::list_bytes) {
      return event_error(errc::invalid,
                         "a list of " + number(record.bytes) + " bytes of ids or parts");
    }
    return {};
  }
  default:
    return {};
  }
}

const event_view* reader::state::next() {
  while (!failure_ && !footer) {
    if (cursor_ == records_.size()) {
      if (!extras_.empty()) {
        fail(make_error(errc::damaged, chunk_offset_,
                        number(extras_.size()) + " bytes of extra belong to no event"));
        return nullptr;
      }
      if (!load_chunk()) {
        return nullptr;
      }
    }
    if (const status taken = take_event(); !taken) {
      fail(taken.error());
      return nullptr;
    }
    ++cursor_;
    ++event_count;
    if (is_known(current_.record.kind)) {
      return &current_;
    }
    ++skipped_count;
  }
  return nullptr;
}

}  // namespace tidepool::bench::trace
