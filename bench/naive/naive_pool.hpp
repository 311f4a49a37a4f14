// SPDX-License-Identifier: Apache-2.0
//
// naive_pool: what a tensor pool looks like when it is written straight down, as the system that
// tidepool grew from was: memory from malloc, one mutex, and one hash map from id to record. It is
// a yardstick for benchmarks and a baseline for tests, written well for what it is: the memory is
// taken and given back outside the lock, records live in the map's nodes, no call does more than
// one look-up. It does not cache memory, knows no devices and no streams.
//
// The seed read a clock at every allocation and access. Reading one costs 20-30 ns, so comparisons
// leave it off (the default): the naive pool's figures are the better for it.
//
// Thread safety: every member but the destructor may be called by any number of threads at once.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <optional>
#include <unordered_map>

namespace tidepool::bench {

class naive_pool {
 public:
  using clock = std::chrono::steady_clock;
  enum class last_use : bool { not_kept, kept };

  struct allocation {
    void* data = nullptr;
    std::uint64_t id = 0;  ///< 0: out of memory
  };
  struct record {
    void* data = nullptr;
    std::size_t bytes = 0;  ///< as requested
    std::uint64_t accesses = 0;
    clock::time_point used = {};  ///< the epoch when last use is not kept
    std::uint32_t references = 0;
    std::uint8_t category = 0;
  };
  struct totals {
    std::uint64_t allocations = 0;
    std::uint64_t frees = 0;
    std::size_t live = 0;
    std::size_t live_bytes = 0;
    std::size_t peak_live_bytes = 0;
  };

  explicit naive_pool(last_use keep = last_use::not_kept) noexcept : keep_(keep) {}
  naive_pool(const naive_pool&) = delete;
  naive_pool& operator=(const naive_pool&) = delete;
  /// Gives all live memory back.
  ~naive_pool();

  /// Memory for `bytes` bytes with one reference. Zero bytes: an id and null data. Pre: `alignment`
  /// is a power of two. Alignments up to malloc's own (16) go to malloc, others to aligned_alloc.
  [[nodiscard]] allocation allocate(std::size_t bytes, std::uint8_t category = 0,
                                    std::size_t alignment = 64) noexcept;
  /// Ends one reference; the last one frees. False: no such id, nothing changed.
  bool deallocate(std::uint64_t id) noexcept;
  /// One more reference. False: no such id.
  bool retain(std::uint64_t id) noexcept;
  /// Counts one access, and its time where last use is kept. False: no such id.
  bool access(std::uint64_t id) noexcept;

  [[nodiscard]] std::optional<record> info(std::uint64_t id) const;
  [[nodiscard]] totals sums() const;

 private:
  [[nodiscard]] clock::time_point now() const noexcept {
    return keep_ == last_use::kept ? clock::now() : clock::time_point{};
  }

  const last_use keep_;
  mutable std::mutex mutex_;
  std::unordered_map<std::uint64_t, record> records_;  // guarded by mutex_
  std::uint64_t last_id_ = 0;                          // guarded by mutex_
  totals totals_;                                      // guarded by mutex_
};

}  // namespace tidepool::bench
