// SPDX-License-Identifier: Apache-2.0
//
// naive_pool's members. Nothing here is clever on purpose.
#include "naive/naive_pool.hpp"

#include <algorithm>
#include <cstdlib>
#include <new>

namespace tidepool::bench {
namespace {

constexpr std::size_t malloc_alignment = alignof(std::max_align_t);

void* take_memory(std::size_t bytes, std::size_t alignment) noexcept {
  if (alignment <= malloc_alignment) {
    return std::malloc(bytes);
  }
  if (bytes > SIZE_MAX - alignment) {
    return nullptr;
  }
  // aligned_alloc wants a multiple of the alignment.
  return std::aligned_alloc(alignment, (bytes + alignment - 1) & ~(alignment - 1));
}

}  // namespace

naive_pool::~naive_pool() {
  for (const auto& [id, entry] : records_) {
    std::free(entry.data);
  }
}

naive_pool::allocation naive_pool::allocate(std::size_t bytes, std::uint8_t category,
                                            std::size_t alignment) noexcept {
  void* const data = bytes == 0 ? nullptr : take_memory(bytes, alignment);
  if (data == nullptr && bytes != 0) {
    return {};
  }
  try {
    const std::lock_guard lock(mutex_);
    const std::uint64_t id = last_id_ + 1;
    records_.emplace(id, record{.data = data,
                                .bytes = bytes,
                                .accesses = 0,
                                .used = now(),
                                .references = 1,
                                .category = category});
    last_id_ = id;
    ++totals_.allocations;
    ++totals_.live;
    totals_.live_bytes += bytes;
    totals_.peak_live_bytes = std::max(totals_.peak_live_bytes, totals_.live_bytes);
    return {.data = data, .id = id};
  } catch (const std::bad_alloc&) {
    std::free(data);
    return {};
  }
}

bool naive_pool::deallocate(std::uint64_t id) noexcept {
  void* data = nullptr;
  {
    const std::lock_guard lock(mutex_);
    const auto found = records_.find(id);
    if (found == records_.end()) {
      return false;
    }
    if (--found->second.references != 0) {
      return true;
    }
    data = found->second.data;
    ++totals_.frees;
    --totals_.live;
    totals_.live_bytes -= found->second.bytes;
    records_.erase(found);
  }
  std::free(data);
  return true;
}

bool naive_pool::retain(std::uint64_t id) noexcept {
  const std::lock_guard lock(mutex_);
  const auto found = records_.find(id);
  if (found == records_.end()) {
    return false;
  }
  ++found->second.references;
  return true;
}

bool naive_pool::access(std::uint64_t id) noexcept {
  const std::lock_guard lock(mutex_);
  const auto found = records_.find(id);
  if (found == records_.end()) {
    return false;
  }
  ++found->second.accesses;
  found->second.used = now();
  return true;
}

std::optional<naive_pool::record> naive_pool::info(std::uint64_t id) const {
  const std::lock_guard lock(mutex_);
  const auto found = records_.find(id);
  return found == records_.end() ? std::nullopt : std::optional(found->second);
}

naive_pool::totals naive_pool::sums() const {
  const std::lock_guard lock(mutex_);
  return totals_;
}

}  // namespace tidepool::bench
