// SPDX-License-Identifier: Apache-2.0
//
// device_memory: slabs made, made longer and given back, waiting on the host, trim and decay. The
// driver is called without the mutex where that takes time.
#include "heap/device_memory.hpp"
#include <tidepool/assert.hpp>
#include <tidepool/support/block_requests.hpp>
#include <tidepool/support/cookie.hpp>

#include <algorithm>
#include <bit>

namespace tidepool {
inline namespace v0 {
namespace cuda {

namespace {

constexpr std::size_t round_up(std::size_t bytes, std::size_t unit) noexcept {
  return (bytes + unit - 1) / unit * unit;
}

}  // namespace

// A new slab is a sixteenth of what is reserved, within the source's bounds. If that is refused, a
// slab as long as the request is tried. Pre: both mutexes are held. Post: they are held again; on
// success a free extent of no_stream fits, and two descriptors are reserved.
status device_memory::grow(const extent_shape& shape, lock_type& lock) noexcept {
  const std::size_t unit = source_->granularity();
  const std::size_t needed =
      round_up((std::size_t{shape.pages} + (std::size_t{shape.alignment} - 1)) * page_bytes, unit);
  const std::size_t usual = round_up(std::clamp(std::bit_floor(extents_.pages() * page_bytes / 16),
                                                source_->smallest_slab(), source_->largest_slab()),
                                     unit);
  status why{.code = errc::over_budget};
  if (needed < usual) {
    why = add_slab(usual, lock);
  }
  if (!why.ok() && (why.code == errc::over_budget || why.code == errc::out_of_memory)) {
    why = add_slab(needed, lock);
  }
  return why;
}

status device_memory::add_slab(std::size_t bytes, lock_type& lock) noexcept {
  const device where = description().where;
  if (host_ != nullptr && !host_->claim(where, bytes)) {
    return {.code = errc::over_budget};
  }
  claimed_bytes_ += bytes;
  lock.unlock();
  result<slab> made = source_->allocate(bytes);
  lock.lock();
  status why = made.error();
  if (why.ok()) {
    why = extents_.reserve();
    if (why.ok()) {
      extents_.add_slab(*made);
      return {};
    }
    lock.unlock();
    static_cast<void>(source_->release(*made));
    lock.lock();
  }
  claimed_bytes_ -= bytes;
  if (host_ != nullptr) {
    host_->unclaim(where, bytes);
  }
  return why;
}

// Asks every stream how far it has come, and moves what is done into the heap for everybody.
void device_memory::poll_all_streams(lock_type& lock) noexcept {
  for (stream_index s = legacy_stream; s != order_.size(); ++s) {
    if (s != several_streams) {
      order_.catch_up(s, order_.latest_free(s), lock);
    }
  }
  for (stream_index s = legacy_stream; s != order_.size(); ++s) {
    if (s != several_streams) {
      extents_.move_done(s, order_.is_outstanding(s) ? order_.done_up_to(s) : UINT64_MAX);
    }
  }
  move_done_of_several();
}

void device_memory::move_done_of_several() noexcept {
  for (std::uint32_t i = extents_.oldest(several_streams); i != 0;) {
    const std::uint32_t next = extents_[i].newer;
    if (order_.is_done(extents_[i].after_all_of)) {
      extents_.move(i, no_stream, 0);
    }
    i = next;
  }
}

// Makes the host wait for all streams. Pre: growth_mutex_ is held, so that one thread waits at a
// time.
void device_memory::wait_for_all(lock_type& lock) noexcept {
  const stream_index count = order_.size();
  for (stream_index s = legacy_stream; s != count; ++s) {
    if (s != several_streams) {
      order_.wait_on_host(s, lock);
    }
  }
  static_cast<void>(spans_.release_empty());
  poll_all_streams(lock);
}

// Gives idle slabs back until `bytes` bytes are gone, only those that have been idle since tick
// `last`. A slab that the driver does not take stays, and the next call tries it again. Answers the
// bytes given back.
std::size_t device_memory::release_idle(std::size_t bytes, std::uint64_t last,
                                        lock_type& lock) noexcept {
  const std::uint32_t list =
      extents_.take_idle(bytes / page_bytes + (bytes % page_bytes != 0 ? 1 : 0), last);
  std::size_t done = 0;
  for (std::uint32_t s = list; s != 0;) {
    const std::uint32_t next = extents_.next_idle(s);
    const slab what = extents_.slab_of(s);
    lock.unlock();
    const status why = source_->release(what);
    lock.lock();
    if (why.ok()) {
      extents_.drop_idle(s);
      done += what.bytes;
      claimed_bytes_ -= what.bytes;
      if (host_ != nullptr) {
        host_->unclaim(description().where, what.bytes);
      }
    } else {
      extents_.keep_idle(s);
    }
    s = next;
  }
  return done;
}

// Waits for pending memory only if the goal cannot be reached without: a caller of trim wants the
// memory more than the time.
std::size_t device_memory::trim(std::size_t keep_bytes) noexcept {
  std::size_t done = 0;
  lock_type lock(mutex_);
  static_cast<void>(spans_.release_empty());
  poll_all_streams(lock);
  const auto release_above = [&] {
    const std::size_t reserved = extents_.pages() * page_bytes;
    if (reserved > keep_bytes) {
      done += release_idle(reserved - keep_bytes, UINT64_MAX, lock);
    }
  };
  release_above();
  if (extents_.pages() * page_bytes > keep_bytes && pending_pages() != 0) {
    lock.unlock();
    const std::lock_guard one_at_a_time(growth_mutex_);
    lock.lock();
    wait_for_all(lock);
    release_above();
  }
  forget_spent_streams(lock);
  TIDEPOOL_ASSERT(3, check_locked() == nullptr);
  return done;
}

// A slab counts as idle from the first tick that finds all of it free.
std::size_t device_memory::decay() noexcept {
  lock_type lock(mutex_);
  ++tick_;
  poll_all_streams(lock);
  forget_spent_streams(lock);
  extents_.note_idle(tick_);
  if (options_.decay_ticks == 0 || tick_ <= options_.decay_ticks) {
    return 0;
  }
  const std::size_t done = release_idle(SIZE_MAX, tick_ - options_.decay_ticks, lock);
  TIDEPOOL_ASSERT(3, check_locked() == nullptr);
  return done;
}

// The request names no stream, so only memory for which nobody has to wait can lengthen the block.
result<std::size_t> device_memory::extend(const block& what, std::size_t bytes) noexcept {
  const support::cookie tag = support::cookie::from_bits(what.cookie);
  if (!description().can_extend || tag.kind != support::cookie_kind::extent) {
    return complete({.code = errc::unsupported}, bytes);
  }
  if (const status why = support::check_length(bytes, description().where); !why.ok()) {
    return why;
  }
  const auto pages = static_cast<std::uint32_t>(support::pages_of(bytes));
  const std::lock_guard growing(growth_mutex_);
  lock_type lock(mutex_);
  TIDEPOOL_ASSERT(1, extents_.is_block(tag.index));
  if (pages > extents_[tag.index].pages) {
    poll_all_streams(lock);
    const std::uint32_t missing = pages - extents_[tag.index].pages;
    status why = extents_.reserve();
    if (why.ok() && extents_.free_after(tag.index) < missing) {
      why = lengthen_slab(tag.index, missing, lock);
    }
    if (!why.ok()) {
      return complete(why, bytes);
    }
    extents_.append(tag.index, missing);
  }
  extent& e = extents_[tag.index];
  const std::size_t length = std::max(e.pages * page_bytes, e.block_bytes);
  used_bytes_ += length - e.block_bytes;
  e.block_bytes = length;
  TIDEPOOL_ASSERT(3, check_locked() == nullptr);
  return length;
}

// Makes the slab of a block at its end longer, so that `missing` free pages follow the block.
status device_memory::lengthen_slab(std::uint32_t extent_index, std::uint32_t missing,
                                    lock_type& lock) noexcept {
  const std::uint32_t have = extents_.free_after(extent_index);
  if (!extents_.is_last(extent_index)) {
    return {.code = errc::out_of_memory, .text = "the memory that follows is in use"};
  }
  const std::uint32_t home = extents_[extent_index].slab;
  const slab what = extents_.slab_of(home);
  const std::size_t more =
      round_up(std::size_t{missing - have} * page_bytes, source_->granularity());
  if (more > what.address_space_bytes - what.bytes) {
    return {.code = errc::out_of_memory, .text = "no addresses are reserved behind the block"};
  }
  if (host_ != nullptr && !host_->claim(description().where, more)) {
    return {.code = errc::over_budget};
  }
  status why = extents_.set_aside();
  if (why.ok()) {
    claimed_bytes_ += more;
    lock.unlock();
    const result<slab> longer = source_->extend(what, what.bytes + more);
    lock.lock();
    if (longer) {
      extents_.lengthen(home, *longer);
      // Another thread may have taken the free memory behind the block meanwhile.
      return extents_.free_after(extent_index) >= missing
                 ? extents_.reserve()
                 : status{.code = errc::out_of_memory, .text = "the memory that follows is in use"};
    }
    why = longer.error();
    extents_.give_up_set_aside();
    claimed_bytes_ -= more;
  }
  if (host_ != nullptr) {
    host_->unclaim(description().where, more);
  }
  return why;
}

}  // namespace cuda
}  // namespace v0
}  // namespace tidepool
