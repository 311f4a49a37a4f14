// SPDX-License-Identifier: Apache-2.0
//
// What tidepool's batches are compared with, written as a careful engineer would without tidepool:
// tables of 32-byte records in huge pages, and every rule of a batch (bounds, generations, -1,
// modes, saturation), one id after the other, by the same compiler in the same program.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <span>
#include <unordered_map>

namespace tidepool::bench::compare {

enum class mode : std::uint8_t { occurrence, once };

struct counts {
  std::uint64_t recorded = 0;
  std::uint64_t padding = 0;
  std::uint64_t out_of_range = 0;
  std::uint64_t stale = 0;
  std::uint64_t duplicates = 0;
};

struct reference_record {
  std::uint64_t count;
  std::uint64_t tick;
  std::uint64_t batch;
  std::uint32_t generation;
  std::uint32_t attributes;
};

/// Zeroed memory in huge pages. Throws std::bad_alloc.
class huge_memory {
 public:
  explicit huge_memory(std::size_t bytes);
  ~huge_memory();
  huge_memory(const huge_memory&) = delete;
  huge_memory& operator=(const huge_memory&) = delete;
  [[nodiscard]] void* data() const noexcept { return data_; }

 private:
  void* data_ = nullptr;
  std::size_t bytes_ = 0;
};

/// The scalar reference.
class reference_table {
 public:
  explicit reference_table(std::size_t size);
  counts record(std::span<const std::int32_t> ids, mode how, std::uint64_t tick) noexcept;
  /// ++count at each id and nothing else: what memory itself allows. Pre: ids are valid.
  void read_modify_write(std::span<const std::int32_t> ids) noexcept;
  /// One step for the entry at a place that was found otherwise.
  void step(std::uint32_t index, std::uint32_t generation, std::uint64_t tick,
            counts& sum) noexcept {
    reference_record& r = records_[index];
    if (r.generation != generation) {
      ++sum.stale;
      return;
    }
    r.count += r.count != UINT64_MAX ? 1 : 0;
    r.tick = r.tick < tick ? tick : r.tick;
    ++sum.recorded;
  }

 private:
  huge_memory memory_;
  reference_record* records_;
  std::uint64_t size_;
  std::uint64_t batches_ = 0;
};

/// The same for any number of threads: relaxed atomic operations, one or two for each id.
class atomic_table {
 public:
  explicit atomic_table(std::size_t size);
  counts record(std::span<const std::int32_t> ids, std::uint64_t tick) noexcept;

 private:
  struct record_of_atomics {
    std::atomic<std::uint64_t> count;
    std::atomic<std::uint64_t> tick;
    std::uint64_t unused;
    std::uint32_t generation;
    std::uint32_t attributes;
  };
  huge_memory memory_;
  record_of_atomics* records_;
  std::uint64_t size_;
};

/// Keys to records by open addressing, one key after the other: cells of 16 bytes, load below 1/2,
/// tidepool's own hash.
class probe_table {
 public:
  explicit probe_table(std::size_t keys);
  void insert(std::uint64_t key, std::uint32_t index);
  counts record(std::span<const std::uint64_t> keys, std::uint64_t tick) noexcept;

 private:
  struct cell {
    std::uint64_t key;
    std::uint32_t index;
    std::uint32_t generation;
  };
  static std::uint64_t mix(std::uint64_t key) noexcept;
  std::size_t mask_;
  huge_memory memory_;
  cell* cells_;
  reference_table records_;
};

/// What the seed system did: a mutex and a hash map, for each id.
class locked_map {
 public:
  explicit locked_map(std::size_t keys) { records_.reserve(keys); }
  void insert(std::uint64_t key);
  counts record(std::span<const std::uint64_t> keys, std::uint64_t tick) noexcept;

 private:
  std::mutex mutex_;
  std::unordered_map<std::uint64_t, reference_record> records_;
};

}  // namespace tidepool::bench::compare
