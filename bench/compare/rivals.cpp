// SPDX-License-Identifier: Apache-2.0
//
// The rivals' loops.
#include "compare/rivals.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <bit>
#include <new>

namespace tidepool::bench::compare {

huge_memory::huge_memory(std::size_t bytes) : bytes_(bytes) {
  data_ = ::mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (data_ == MAP_FAILED) {
    throw std::bad_alloc();
  }
  (void)::madvise(data_, bytes_, MADV_HUGEPAGE);
}

huge_memory::~huge_memory() {
  ::munmap(data_, bytes_);
}

reference_table::reference_table(std::size_t size)
    : memory_(size * sizeof(reference_record)),
      records_(static_cast<reference_record*>(memory_.data())),
      size_(size) {
  for (std::size_t i = 0; i < size; ++i) {
    records_[i].generation = 1;
  }
}

counts reference_table::record(std::span<const std::int32_t> ids, mode how,
                               std::uint64_t tick) noexcept {
  counts sum;
  const std::uint64_t batch = ++batches_;
  // In registers: for all the compiler knows, a record's count may be a member of this.
  reference_record* const records = records_;
  const std::uint64_t size = size_;
  for (const std::int32_t id : ids) {
    if (id == -1) {
      ++sum.padding;
      continue;
    }
    if (static_cast<std::uint64_t>(static_cast<std::int64_t>(id)) >= size) {
      ++sum.out_of_range;
      continue;
    }
    reference_record& r = records[id];
    if (r.generation == 0) {
      ++sum.stale;
      continue;
    }
    if (how == mode::once) {
      if (r.batch == batch) {
        ++sum.duplicates;
        continue;
      }
      r.batch = batch;
    }
    r.count += r.count != UINT64_MAX ? 1 : 0;
    r.tick = r.tick < tick ? tick : r.tick;
    ++sum.recorded;
  }
  return sum;
}

void reference_table::read_modify_write(std::span<const std::int32_t> ids) noexcept {
  reference_record* const records = records_;
  for (const std::int32_t id : ids) {
    ++records[id].count;
  }
}

atomic_table::atomic_table(std::size_t size)
    : memory_(size * sizeof(record_of_atomics)),
      records_(static_cast<record_of_atomics*>(memory_.data())),
      size_(size) {
  for (std::size_t i = 0; i < size; ++i) {
    records_[i].generation = 1;
  }
}

counts atomic_table::record(std::span<const std::int32_t> ids, std::uint64_t tick) noexcept {
  counts sum;
  for (const std::int32_t id : ids) {
    if (id == -1) {
      ++sum.padding;
      continue;
    }
    if (static_cast<std::uint64_t>(static_cast<std::int64_t>(id)) >= size_) {
      ++sum.out_of_range;
      continue;
    }
    record_of_atomics& r = records_[id];
    if (r.generation == 0) {
      ++sum.stale;
      continue;
    }
    r.count.fetch_add(1, std::memory_order_relaxed);
    std::uint64_t seen = r.tick.load(std::memory_order_relaxed);
    while (seen < tick && !r.tick.compare_exchange_weak(seen, tick, std::memory_order_relaxed)) {
    }
    ++sum.recorded;
  }
  return sum;
}

probe_table::probe_table(std::size_t keys)
    : mask_(std::bit_ceil(keys * 2 + 1) - 1),
      memory_((mask_ + 1) * sizeof(cell)),
      cells_(static_cast<cell*>(memory_.data())),
      records_(keys) {}

std::uint64_t probe_table::mix(std::uint64_t key) noexcept {
  key ^= key >> 33;
  key *= 0xff51afd7ed558ccdULL;
  key ^= key >> 33;
  key *= 0xc4ceb9fe1a85ec53ULL;
  return key ^ (key >> 33);
}

void probe_table::insert(std::uint64_t key, std::uint32_t index) {
  std::size_t i = mix(key) & mask_;
  while (cells_[i].key != 0) {
    i = (i + 1) & mask_;
  }
  cells_[i] = {key, index, 1};
}

counts probe_table::record(std::span<const std::uint64_t> keys, std::uint64_t tick) noexcept {
  counts sum;
  const cell* const cells = cells_;
  const std::size_t mask = mask_;
  for (const std::uint64_t key : keys) {
    if (key == 0) {
      ++sum.padding;
      continue;
    }
    std::size_t i = mix(key) & mask;
    while (cells[i].key != key && cells[i].key != 0) {
      i = (i + 1) & mask;
    }
    if (cells[i].key == 0) {
      ++sum.stale;
    } else {
      records_.step(cells[i].index, cells[i].generation, tick, sum);
    }
  }
  return sum;
}

void locked_map::insert(std::uint64_t key) {
  records_[key] = {.count = 0, .tick = 0, .batch = 0, .generation = 1, .attributes = 0};
}

counts locked_map::record(std::span<const std::uint64_t> keys, std::uint64_t tick) noexcept {
  counts sum;
  for (const std::uint64_t key : keys) {
    const std::lock_guard lock(mutex_);
    const auto found = records_.find(key);
    if (found == records_.end()) {
      ++sum.stale;
      continue;
    }
    ++found->second.count;
    found->second.tick = std::max(found->second.tick, tick);
    ++sum.recorded;
  }
  return sum;
}

}  // namespace tidepool::bench::compare
