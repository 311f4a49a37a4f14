// SPDX-License-Identifier: Apache-2.0
//
// The rules of a trace, one function per kind of event; see ledger.hpp.
#include "trace/ledger.hpp"

#include <algorithm>

namespace tidepool::bench::trace {
namespace {

constexpr std::uint64_t live_limit = std::uint64_t{1} << 63;

}  // namespace

const ledger::tensor* ledger::find(std::uint64_t id) const noexcept {
  const auto at = tensors_.find(id);
  return at == tensors_.end() ? nullptr : &at->second;
}

verdict ledger::apply(const event_view& seen) {
  const event& record = seen.record;
  verdict found;
  if (record.time < sums_.last_time) {
    found = {breach::time_went_back, 0, record.time, sums_.last_time};
  }
  sums_.last_time = std::max(sums_.last_time, record.time);
  // Optional kinds that the reader skipped have numbers too.
  sums_.events = std::max(sums_.events, seen.index) + 1;
  verdict more;
  switch (record.kind) {
  case event_kind::alloc:
    more = apply_alloc(seen);
    break;
  case event_kind::free:
    more = apply_free(record);
    break;
  case event_kind::touch:
  case event_kind::touch_tensors:
  case event_kind::touch_parts:
    sums_.touches += record.kind == event_kind::touch_tensors ? seen.ids().size() : 1;
    more = apply_touch(seen);
    break;
  case event_kind::retag:
    more = check_live(record, record.id);
    if (more.what == breach::none) {
      tensors_.find(record.id)->second.category = record.category;
    }
    break;
  default:
    break;
  }
  return found.what != breach::none ? found : more;
}

verdict ledger::apply_alloc(const event_view& seen) {
  const event& record = seen.record;
  if (record.detail == static_cast<std::uint8_t>(outcome::out_of_memory)) {
    ++sums_.failed_allocs;
    return {};
  }
  ++sums_.allocs;
  if (record.id == 0) {
    return {breach::null_id, 0, 0, 0};
  }
  if (record.bytes > limits::tensor_bytes) {
    return {breach::too_large, record.id, record.bytes, limits::tensor_bytes};
  }
  if (record.bytes >= live_limit - sums_.live_bytes) {
    return {breach::total_overflow, record.id, record.bytes, live_limit - sums_.live_bytes};
  }
  if (const tensor* before = find(record.id); before != nullptr) {
    if (before->is_live) {
      return {breach::double_alloc, record.id, 0, before->begin};
    }
    if (record.generation <= before->generation) {
      return {breach::old_generation, record.id, record.generation, before->generation};
    }
  }
  tensors_[record.id] = {.bytes = record.bytes,
                         .begin = seen.index,
                         .generation = record.generation,
                         .category = record.category,
                         .device = record.device,
                         .is_live = true};
  sums_.allocated_bytes += record.bytes;
  sums_.live_bytes += record.bytes;
  sums_.peak_live_bytes = std::max(sums_.peak_live_bytes, sums_.live_bytes);
  return {};
}

verdict ledger::apply_free(const event& record) {
  ++sums_.frees;
  const auto at = tensors_.find(record.id);
  if (at == tensors_.end()) {
    return {breach::unknown_free, record.id, 0, 0};
  }
  tensor& ended = at->second;
  if (!ended.is_live) {
    return {breach::double_free, record.id, 0, 0};
  }
  if (record.generation != ended.generation) {
    return {breach::wrong_generation, record.id, record.generation, ended.generation};
  }
  if (record.bytes != 0 && record.bytes != ended.bytes) {
    return {breach::wrong_size, record.id, record.bytes, ended.bytes};
  }
  sums_.live_bytes -= ended.bytes;
  if (remember_dead_) {
    ended.is_live = false;
  } else {
    tensors_.erase(at);
  }
  return {};
}

verdict ledger::check_live(const event& record, std::uint64_t id) const {
  const tensor* touched = find(id);
  if (touched == nullptr) {
    return {breach::unknown_touch, id, 0, 0};
  }
  if (!touched->is_live) {
    return {breach::dead_touch, id, 0, 0};
  }
  // A touch of several tensors carries no generations: it means the living ones.
  if (record.kind != event_kind::touch_tensors && record.generation != touched->generation) {
    return {breach::wrong_generation, id, record.generation, touched->generation};
  }
  return {};
}

verdict ledger::apply_touch(const event_view& seen) const {
  const event& record = seen.record;
  if (record.kind == event_kind::touch_tensors) {
    const auto ids = seen.ids();
    for (std::size_t i = 0; i < ids.size(); ++i) {
      if (const verdict found = check_live(record, ids[i]); found.what != breach::none) {
        return found;
      }
    }
    return {};
  }
  const verdict found = check_live(record, record.id);
  if (found.what == breach::none && record.kind == event_kind::touch &&
      record.bytes > find(record.id)->bytes) {
    return {breach::wrong_size, record.id, record.bytes, find(record.id)->bytes};
  }
  return found;
}

}  // namespace tidepool::bench::trace
