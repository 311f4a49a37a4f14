// SPDX-License-Identifier: Apache-2.0
//
// writer::state: events and texts come in. A chunk is closed when it has enough events or when its
// extras would make it larger than readers accept; everything a reader refuses is refused here
// first.
#include "trace/writer_state.hpp"

namespace tidepool::bench::trace {
namespace {

constexpr std::size_t extras_per_chunk = limits::chunk_raw_bytes - limits::list_bytes;

bool is_definition(event_kind kind) noexcept {
  return kind == event_kind::define_name || kind == event_kind::define_category ||
         kind == event_kind::define_device;
}

}  // namespace

status writer::state::check(const event& record, std::span<const std::byte> extra) const {
  if (is_closed_) {
    return make_error(errc::invalid, "the trace is closed");
  }
  if (!is_known(record.kind) && !is_optional(record.kind)) {
    return make_error(errc::invalid, "unknown kind of event");
  }
  if (!has_extra(record.kind) && !extra.empty()) {
    return make_error(errc::invalid, "an event of this kind has no extra");
  }
  if (extra.size() > limits::list_bytes) {
    return make_error(errc::over_limit, "more than 8 MiB of extra for one event");
  }
  const bool is_text = is_definition(record.kind) || record.kind == event_kind::comment;
  if (is_text && extra.size() > limits::text_bytes) {
    return make_error(errc::over_limit, "a text of more than 4096 bytes");
  }
  const bool is_ids = record.kind == event_kind::touch_tensors;
  if (is_ids || record.kind == event_kind::touch_parts) {
    if (extra.empty() || extra.size() % (is_ids ? 8 : 4) != 0) {
      return make_error(errc::invalid, "a touch needs a list of ids or parts");
    }
  }
  return {};
}

status writer::state::take_definition(const event& record, std::span<const std::byte> extra) {
  std::string text(reinterpret_cast<const char*>(extra.data()), extra.size());
  if (record.kind == event_kind::define_name) {
    if (record.id != names_.size() + 1) {
      return make_error(errc::invalid, "names are defined in the order 1, 2, 3, ...");
    }
    names_bytes_ += text.size();
    if (record.id > limits::names || names_bytes_ > limits::names_bytes) {
      return make_error(errc::over_limit, "too many names");
    }
  }
  const bool is_category = record.kind == event_kind::define_category;
  index_map& known = record.kind == event_kind::define_name ? names_
                     : is_category                          ? categories_
                                                            : devices_;
  const std::uint32_t number = record.kind == event_kind::define_name
                                   ? static_cast<std::uint32_t>(record.id)
                               : is_category ? record.category
                                             : record.device;
  if (record.kind != event_kind::define_name) {
    bool& used = is_category ? category_used_[number] : device_used_[number];
    if (used || (is_category && number == 0)) {
      return make_error(errc::invalid, "this number is taken");
    }
    used = true;
  }
  if (!known.emplace(std::move(text), number).second) {
    return make_error(errc::invalid, "this text is defined already");
  }
  return {};
}

result<std::uint32_t> writer::state::name(std::string_view text) {
  if (text.empty()) {
    return std::uint32_t{0};
  }
  const std::string key(text);
  if (const auto known = names_.find(key); known != names_.end()) {
    return known->second;
  }
  const auto index = static_cast<std::uint32_t>(names_.size() + 1);
  event record{.time = book_.sums().last_time, .id = index, .kind = event_kind::define_name};
  if (const status done = append(record, std::as_bytes(std::span(text))); !done) {
    return done.error();
  }
  return index;
}

result<std::uint32_t> writer::state::number_of(event_kind kind, std::string_view text,
                                               std::uint64_t capacity) {
  const bool is_category = kind == event_kind::define_category;
  if (is_category && text.empty()) {
    return std::uint32_t{0};
  }
  const index_map& known = is_category ? categories_ : devices_;
  if (const auto at = known.find(std::string(text)); at != known.end()) {
    return at->second;
  }
  const auto& used = is_category ? category_used_ : device_used_;
  std::uint32_t number = is_category ? 1 : 0;
  while (number < used.size() && used[number]) {
    ++number;
  }
  if (number == used.size()) {
    return make_error(errc::over_limit, "more than 255 categories or devices");
  }
  event record{.time = book_.sums().last_time, .kind = kind};
  if (is_category) {
    record.category = static_cast<std::uint8_t>(number);
  } else {
    record.device = static_cast<std::uint8_t>(number);
    record.id = capacity;
  }
  if (const status done = append(record, std::as_bytes(std::span(text))); !done) {
    return done.error();
  }
  return number;
}

status writer::state::append(event record, std::span<const std::byte> extra) {
  if (status checked = check(record, extra); !checked) {
    return checked;
  }
  if (is_definition(record.kind)) {
    if (status taken = take_definition(record, extra); !taken) {
      return taken;
    }
  }
  const std::size_t record_area = (records_.size() + 1) * event_bytes;
  if (!records_.empty() && (records_.size() >= chunk_events_ ||
                            record_area + extras_.size() + extra.size() > extras_per_chunk)) {
    if (status flushed = flush(); !flushed) {
      return flushed;
    }
  }
  if (has_extra(record.kind)) {
    record.bytes = extra.size();
  }
  records_.push_back(record);
  extras_.insert(extras_.end(), extra.begin(), extra.end());
  book_.apply({.record = record, .extra = extra, .index = event_count_});
  ++event_count_;
  return {};
}

}  // namespace tidepool::bench::trace
