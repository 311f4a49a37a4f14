// SPDX-License-Identifier: Apache-2.0
//
// The CPU backend: requests checked and rounded, sent to the heap of spans or of extents, and the
// sums. How pages and blocks are found is in extent_heap and span_heap; options are checked in
// make_backend.cpp. Thread-safe: one mutex guards heaps and sums; populate needs no lock.
#include "memory_backend.hpp"

#include "access_kernels.hpp"
#include "populate.hpp"
#include <tidepool/assert.hpp>
#include <tidepool/support/block_requests.hpp>

#include <algorithm>
#include <cstdio>

namespace tidepool {
inline namespace v0 {
namespace cpu {

namespace {

constexpr std::size_t default_alignment = cache_line;

arena_options arena_options_of(const backend_options& options, bool large) noexcept {
  const bool huge = options.huge_pages == huge_pages::always ||
                    (options.huge_pages == huge_pages::automatic && large);
  return {.bytes = options.arena_bytes,
          .pages = huge ? page_policy::huge_pages : page_policy::small_pages,
          .node = options.device.node() == device::any_node ? -1 : int{options.device.node()}};
}

}  // namespace

memory_backend::memory_backend(const backend_options& options, os_memory& os) noexcept
    : os_(os),
      options_(options),
      claims_{.where = options.device, .most_pages = options.faults.exhaust_at / page_bytes},
      small_extents_(os, claims_, arena_options_of(options, false)),
      large_extents_(os, claims_, arena_options_of(options, true)),
      spans_(os, small_extents_) {
  description_.where = options.device;
  description_.alignment = default_alignment;
  description_.total_bytes = os.physical_bytes();
  description_.can_populate = true;
  description_.can_extend = true;
}

memory_backend::~memory_backend() {
  claims_.unclaim(claims_.pages);
}

status memory_backend::prepare() noexcept {
  const std::lock_guard lock(mutex_);
  for (extent_heap* const heap : {&large_extents_, &small_extents_}) {
    if (const int error = heap->prepare(); error != 0) {
      return {.code = errc::out_of_memory,
              .native = error,
              .requested = smallest_arena_bytes,
              .where = options_.device,
              .text = "no address space: raise the limit of addresses (ulimit -v)"};
    }
  }
  const unsigned node = options_.device.node();
  if (node == device::any_node) {
    description_.name = "host memory";
    return {};
  }
  std::snprintf(name_.data(), name_.size(), "host memory, NUMA node %u%s", node,
                large_extents_.is_bound() ? "" : " (not bound)");
  description_.name = name_.data();
  return {};
}

void memory_backend::attach(backend_host& host) noexcept {
  const std::lock_guard lock(mutex_);
  TIDEPOOL_ASSERT(1, claims_.pages == 0);
  claims_.host = &host;
}

result<block> memory_backend::allocate_extent(std::size_t pages, std::size_t block_bytes,
                                              const block_request& request) noexcept {
  const std::size_t alignment = std::max(request.alignment, page_bytes) / page_bytes;
  const result<std::uint32_t> made =
      large_extents_.allocate({.pages = static_cast<std::uint32_t>(pages),
                               .alignment = static_cast<std::uint32_t>(alignment),
                               .may_grow = request.may_grow});
  if (!made) {
    return made.error();
  }
  extent& e = large_extents_[*made];
  e.block_bytes = block_bytes;
  used_bytes_ += block_bytes;
  return block{.data = e.address(),
               .bytes = block_bytes,
               .cookie = support::cookie{support::cookie_kind::extent, *made, 0}.bits()};
}

backend::refill_result memory_backend::refill(const block_request& request,
                                              std::span<block> blocks) noexcept {
  if (const status why = support::check_refill(request, options_.device); !why.ok()) {
    return {0, why};
  }
  const std::size_t bytes = request.bytes;
  const std::size_t alignment = std::max(request.alignment, default_alignment);
  const std::lock_guard lock(mutex_);
  refill_result made;
  if (bytes <= largest_span_block && alignment <= page_bytes && bytes % alignment == 0) {
    made = spans_.refill(bytes, request.may_grow, blocks);
    used_bytes_ += made.count * bytes;
  } else {
    for (; made.count != blocks.size(); ++made.count) {
      const result<block> next = allocate_extent(support::pages_of(bytes), bytes, request);
      if (!next) {
        made.why = next.error();
        break;
      }
      blocks[made.count] = *next;
    }
  }
  if (!made.why.ok()) {
    made.why = support::complete(made.why, bytes, options_.device);
  }
  TIDEPOOL_ASSERT(3, check_locked() == nullptr);
  return made;
}

result<block> memory_backend::allocate_large(const block_request& request) noexcept {
  if (const status why = support::check_request(request, options_.device); !why.ok()) {
    return why;
  }
  const std::size_t exact = support::pages_of(request.bytes);
  const std::size_t pages = request.long_lived ? exact : support::pages_with_room(request.bytes);
  const std::lock_guard lock(mutex_);
  result<block> made = allocate_extent(pages, pages * page_bytes, request);
  if (!made && pages != exact) {
    made = allocate_extent(exact, exact * page_bytes, request);
  }
  TIDEPOOL_ASSERT(3, check_locked() == nullptr);
  if (!made) {
    return support::complete(made.error(), request.bytes, options_.device);
  }
  return made;
}

void memory_backend::take_back_one(const block& what) noexcept {
  const support::cookie tag = support::cookie::from_bits(what.cookie);
  if (tag.kind == support::cookie_kind::span) {
    TIDEPOOL_ASSERT(1, spans_.owns({tag.index, tag.block}, what));
    used_bytes_ -= what.bytes;
    spans_.take_back({tag.index, tag.block}, tick_);
    return;
  }
  TIDEPOOL_ASSERT(1,
                  tag.kind == support::cookie_kind::extent && large_extents_.is_block(tag.index));
  const extent& e = large_extents_[tag.index];
  TIDEPOOL_ASSERT(1, e.address() == what.data && what.bytes <= e.block_bytes);
  used_bytes_ -= e.block_bytes;
  large_extents_.release(tag.index, tick_);
}

void memory_backend::take_back(device where, std::span<const block> blocks,
                               stream_ref /*stream*/) noexcept {
  TIDEPOOL_ASSERT(1, where == options_.device);
  static_cast<void>(where);
  const std::lock_guard lock(mutex_);
  for (const block& what : blocks) {
    take_back_one(what);
  }
  TIDEPOOL_ASSERT(3, check_locked() == nullptr);
}

std::size_t memory_backend::trim(device where, std::size_t keep_bytes) noexcept {
  if (where != options_.device) {
    return 0;
  }
  const std::lock_guard lock(mutex_);
  const std::size_t keep = keep_bytes / page_bytes;
  std::size_t done = 0;
  if (claims_.pages > keep) {
    done += large_extents_.purge(claims_.pages - keep);
  }
  if (claims_.pages > keep) {
    spans_.release_empty(tick_);
    done += small_extents_.purge(claims_.pages - keep);
  }
  large_extents_.release_empty_arenas();
  small_extents_.release_empty_arenas();
  TIDEPOOL_ASSERT(3, check_locked() == nullptr);
  return done * page_bytes;
}

std::size_t memory_backend::decay(device where) noexcept {
  if (where != options_.device) {
    return 0;
  }
  const std::lock_guard lock(mutex_);
  ++tick_;
  if (options_.decay_ticks == 0 || tick_ < options_.decay_ticks) {
    return 0;
  }
  const std::uint64_t last = tick_ - options_.decay_ticks;
  spans_.release_empty(last);
  const std::size_t done = large_extents_.purge_older(last) + small_extents_.purge_older(last);
  TIDEPOOL_ASSERT(3, check_locked() == nullptr);
  return done * page_bytes;
}

memory_info memory_backend::memory(device where) const noexcept {
  if (where != options_.device) {
    return {};
  }
  const std::lock_guard lock(mutex_);
  const std::size_t spare = std::size_t{small_extents_.longest_backed()} * page_bytes;
  return {.reserved_bytes = claims_.pages * page_bytes,
          .free_bytes = claims_.pages * page_bytes - used_bytes_,
          .largest_free_bytes =
              std::max({std::size_t{large_extents_.longest_backed()} * page_bytes,
                        std::min(spare, largest_span_block), spans_.longest_free()}),
          .address_space_bytes =
              large_extents_.address_space_bytes() + small_extents_.address_space_bytes(),
          .system_calls = os_.calls()};
}

result<std::size_t> memory_backend::extend(device where, const block& what,
                                           std::size_t bytes) noexcept {
  if (where != options_.device) {
    return status{.code = errc::unknown_device, .requested = bytes, .where = where};
  }
  const support::cookie tag = support::cookie::from_bits(what.cookie);
  if (tag.kind != support::cookie_kind::extent) {
    return support::complete({.code = errc::unsupported, .text = "a small block has neighbours"},
                             bytes, options_.device);
  }
  if (const status why = support::check_length(bytes, options_.device); !why.ok()) {
    return why;
  }
  const std::lock_guard lock(mutex_);
  TIDEPOOL_ASSERT(1, large_extents_.is_block(tag.index));
  extent& e = large_extents_[tag.index];
  TIDEPOOL_ASSERT(1, e.address() == what.data);
  if (bytes > e.pages * page_bytes) {
    status why = large_extents_.extend(tag.index,
                                       static_cast<std::uint32_t>(support::pages_with_room(bytes)));
    if (!why.ok()) {
      why = large_extents_.extend(tag.index, static_cast<std::uint32_t>(support::pages_of(bytes)));
    }
    if (!why.ok()) {
      return support::complete(why, bytes, options_.device);
    }
  }
  used_bytes_ += e.pages * page_bytes - e.block_bytes;
  e.block_bytes = e.pages * page_bytes;
  TIDEPOOL_ASSERT(3, check_locked() == nullptr);
  return e.block_bytes;
}

std::size_t memory_backend::populate(device where, std::span<const block> blocks,
                                     unsigned threads) noexcept {
  return where == options_.device ? populate_blocks(os_, blocks, threads) : 0;
}

const access_kernels* memory_backend::kernels_for_access() const noexcept {
  const auto usable = usable_access_kernels();
  return usable.empty() ? nullptr : usable.front();
}

const char* memory_backend::verify() const noexcept {
  const std::lock_guard lock(mutex_);
  return check_locked();
}

const char* memory_backend::check_locked() const noexcept {
  for (const char* const broken :
       {large_extents_.check(), small_extents_.check(), spans_.check()}) {
    if (broken != nullptr) {
      return broken;
    }
  }
  if (large_extents_.backed_pages() + small_extents_.backed_pages() != claims_.pages) {
    return "backend: what is backed is not what was claimed";
  }
  return used_bytes_ <= claims_.pages * page_bytes ? nullptr
                                                   : "backend: blocks hold more than is reserved";
}

}  // namespace cpu
}  // namespace v0
}  // namespace tidepool
