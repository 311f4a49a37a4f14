// SPDX-License-Identifier: Apache-2.0
//
// lanes: devices and their limits, and opening and retiring lanes. A retired lane has no stream and
// no blocks. Once its last tensor has ended, it may serve another stream of its device.
#include "pool/lanes.hpp"

#include <algorithm>
#include <bit>
#include <exception>
#include <utility>

namespace tidepool {
inline namespace v0 {
namespace detail {

lanes::~lanes() {
  // The backends end first, because they may still unclaim memory.
  backends_.clear();
  for (std::size_t i = 0; i < count(); ++i) {
    delete lanes_[i].load(std::memory_order_relaxed);
  }
}

status lanes::add(std::vector<std::unique_ptr<backend>> backends, const device_settings& settings) {
  backends_ = std::move(backends);
  for (const std::unique_ptr<backend>& source : backends_) {
    if (source == nullptr || source->devices().empty()) {
      return {.code = errc::invalid_argument, .text = "a backend is null or serves no device"};
    }
    for (const device_description& description : source->devices()) {
      if (const status why = add_device(*source, description, settings); !why.ok()) {
        return why;
      }
    }
  }
  for (std::uint32_t n = 0; n < most_cached_lanes; ++n) {
    keys.at[n].magazines = front_cache::origin_of(n);
  }
  static_cast<void>(of_device(*devices_.front()));
  return {};
}

status lanes::add_device(backend& source, const device_description& description,
                         const device_settings& settings) {
  const auto invalid = [](const char* text) {
    return status{.code = errc::invalid_argument, .text = text};
  };
  if (find(description.where) != nullptr || description.where.is_automatic()) {
    return invalid("two backends serve the same device");
  }
  if (!std::has_single_bit(description.alignment) || description.alignment > highest_alignment) {
    return invalid("a backend describes an alignment that is no power of two");
  }
  if (devices_.size() == most_devices) {
    return {.code = errc::too_many, .text = "a pool has at most 255 devices"};
  }
  auto entry = std::make_unique<device_entry>();
  entry->number = static_cast<std::uint8_t>(devices_.size());
  entry->where = description.where;
  entry->source = &source;
  entry->description = description;
  entry->alignment = std::max({cache_line, description.alignment, settings.minimum_alignment});
  entry->reserved.set(settings.limits);
  entry->prepared = std::make_unique<lane>(*entry, 0);
  devices_.push_back(std::move(entry));
  descriptions_.push_back(description);
  ++unused_devices_;
  return {};
}

lane& lanes::begin_use(device_entry& device) noexcept {
  const std::lock_guard lock(mutex_);
  if (device.prepared != nullptr) {
    lane& first = *device.prepared;
    append(std::move(device.prepared));
    --unused_devices_;
    open_key(first);
    device.own.store(&first, std::memory_order_release);
  }
  return *device.own.load(std::memory_order_relaxed);
}

// Pre: mutex_ is held, count() < most_lanes.
void lanes::append(std::unique_ptr<lane> made) noexcept {
  const std::size_t number = count();
  made->number = static_cast<std::uint16_t>(number);
  lanes_[number].store(made.release(), std::memory_order_release);
  count_.store(number + 1, std::memory_order_release);
}

void lanes::attach_backends() noexcept {
  for (const std::unique_ptr<backend>& source : backends_) {
    source->attach(*this);
  }
}

device_entry* lanes::find(device where) const noexcept {
  for (const std::unique_ptr<device_entry>& entry : devices_) {
    if (entry->where == where) {
      return entry.get();
    }
  }
  return nullptr;
}

bool lanes::claim(device where, std::size_t bytes) noexcept {
  device_entry* const entry = find(where);
  if (entry == nullptr || !entry->reserved.claim(bytes)) {
    return false;
  }
  if (!reserved.claim(bytes)) {
    entry->reserved.unclaim(bytes);
    return false;
  }
  return true;
}

void lanes::unclaim(device where, std::size_t bytes) noexcept {
  if (device_entry* const entry = find(where)) {
    entry->reserved.unclaim(bytes);
    reserved.unclaim(bytes);
  }
}

// Pre: mutex_ is held.
void lanes::open_key(lane& target) noexcept {
  if (target.number >= most_cached_lanes || !is_cached(target) || target.is_arena) {
    return;
  }
  lane_key& key = keys.at[target.number];
  const stream_ref stream = target.stream();
  // Later streams of the lane have the same number, and threads may read the tag by then.
  if (const std::uint64_t tag = make_tag({}, category::temporary, stream.number); key.tag != tag) {
    key.tag = tag;
  }
  key.alignment_mask.store(static_cast<std::uint32_t>(target.device->alignment - 1),
                           std::memory_order_relaxed);
  // All per-thread default streams have the same handle, so the key holds the lane's address
  // instead, and each thread finds its lane by its memo.
  key.handle.store(stream.kind == stream_kind::per_thread ? static_cast<const void*>(&target)
                                                          : stream.handle,
                   std::memory_order_relaxed);
  key.device.store(target.device->where.bits(), std::memory_order_relaxed);
}

// A thread inside its cache may still use the key, so the caller closes all gates before it relies
// on this. Pre: mutex_ is held.
void lanes::close_key(const lane& target) noexcept {
  if (target.number < most_cached_lanes) {
    keys.at[target.number].device.store(lane_key::closed_device, std::memory_order_relaxed);
    keys.at[target.number].handle.store(&keys.at[target.number], std::memory_order_relaxed);
  }
}

// Returns a retired lane of the device, or a new one; null: there are most_lanes, or no memory.
// Pre: mutex_ is held.
lane* lanes::make(device_entry& device) noexcept {
  const std::size_t number = count();
  for (std::size_t i = 0; i < number; ++i) {
    lane& used = at(i);
    if (used.device == &device &&
        used.state.load(std::memory_order_relaxed) == lane_state::retired &&
        used.left.load(std::memory_order_relaxed) == 0) {
      return &used;
    }
  }
  if (is_full()) {
    return nullptr;
  }
  try {
    append(std::make_unique<lane>(device, number));
    return &at(number);
  } catch (const std::exception&) {
    return nullptr;
  }
}

lanes::opened lanes::open(device_entry& device, const stream_identity& identity) noexcept {
  const stream_ref& stream = identity.stream;
  const std::lock_guard lock(mutex_);
  for (std::size_t i = 0; i < count(); ++i) {
    lane& known = at(i);
    if (known.device != &device || known.is_arena ||
        known.state.load(std::memory_order_relaxed) != lane_state::open) {
      continue;
    }
    if (known.stream_id == identity.id && known.stream().kind == stream.kind) {
      return {.where = &known};
    }
    if (stream.kind != stream_kind::per_thread && known.is(device, stream)) {
      return {.recycled = &known};
    }
  }
  lane* const made = make(device);
  if (made == nullptr) {
    return {.why = {.code = is_full() ? errc::too_many : errc::out_of_memory,
                    .where = device.where,
                    .text = "4096 streams are attached, or no memory for one more: retire those "
                            "that are not used"}};
  }
  made->is_arena.store(false, std::memory_order_release);
  made->stream_id = identity.id;
  made->thread.store(identity.thread, std::memory_order_release);
  made->set_stream({stream.handle, stream.kind, made->number});
  made->state.store(lane_state::open, std::memory_order_release);
  open_key(*made);
  return {.where = made, .is_new = true};
}

lane* lanes::find_open(const device_entry& device, const stream_ref& stream,
                       std::uint64_t thread) const noexcept {
  for (std::size_t i = 0; i < count(); ++i) {
    lane& known = at(i);
    if (known.is(device, stream) && (stream.kind != stream_kind::per_thread ||
                                     known.thread.load(std::memory_order_acquire) == thread)) {
      return &known;
    }
  }
  return nullptr;
}

bool lanes::begin_retire(lane& gone, const stream_ref& last) noexcept {
  const std::lock_guard lock(mutex_);
  lane_state expected = lane_state::open;
  if (!gone.state.compare_exchange_strong(expected, lane_state::retiring)) {
    return false;
  }
  close_key(gone);
  gone.set_stream(last);
  gone.captured_by.store(nullptr, std::memory_order_release);
  return true;
}

void lanes::end_retire(lane& gone) noexcept {
  const std::lock_guard lock(mutex_);
  gone.set_stream({});
  gone.state.store(lane_state::retired, std::memory_order_release);
}

lane* lanes::open_arena(device_entry& device) noexcept {
  const std::lock_guard lock(mutex_);
  lane* const made = make(device);
  if (made != nullptr) {
    made->is_arena.store(true, std::memory_order_release);
    made->stream_id = 0;
    made->thread.store(0, std::memory_order_release);
    made->state.store(lane_state::open, std::memory_order_release);
  }
  return made;
}

status lanes::begin_capture(lane& stream, lane& arena) noexcept {
  const auto invalid = [&](const char* text) {
    return status{.code = errc::invalid_argument, .where = arena.device->where, .text = text};
  };
  const std::lock_guard lock(mutex_);
  if (stream.captured_by.load(std::memory_order_relaxed) != nullptr) {
    return invalid("the stream is in a capture_scope already");
  }
  if (captured_with(arena) != nullptr) {
    return invalid("another stream captures with this arena: use one for each");
  }
  stream.captured_by.store(&arena, std::memory_order_release);
  close_key(stream);
  return {};
}

lane* lanes::captured_with(const lane& arena) const noexcept {
  for (std::size_t i = 0; i < count(); ++i) {
    if (at(i).captured_by.load(std::memory_order_acquire) == &arena) {
      return &at(i);
    }
  }
  return nullptr;
}

void lanes::end_capture(lane& stream) noexcept {
  const std::lock_guard lock(mutex_);
  stream.captured_by.store(nullptr, std::memory_order_release);
  open_key(stream);
}

}  // namespace detail
}  // namespace v0
}  // namespace tidepool
