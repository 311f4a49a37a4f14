// SPDX-License-Identifier: Apache-2.0
//
// Statistics of a pool. They are always on and cost nothing: the counts are in words that the hot
// path writes anyway, and a call sums them up. Values are exact at the moment of the call unless
// their comment says otherwise.
#pragma once

#include <tidepool/device.hpp>
#include <tidepool/export.hpp>
#include <tidepool/info.hpp>
#include <tidepool/size_class.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace tidepool {
inline namespace v0 {

/// Operations on tensors of one size category or of one device.
struct operation_counts {
  std::uint64_t allocations = 0;
  std::uint64_t frees = 0;
  std::uint64_t front_hits = 0;       ///< served from the calling thread's ready slots
  std::uint64_t ready_hits = 0;       ///< served from the pool's ready slots
  std::uint64_t refills = 0;          ///< served by asking the backend
  std::uint64_t requested_bytes = 0;  ///< live now, as requested
  /// Tensors alive now that have a block. statistics::total counts all tensors, see
  /// live_without_block.
  std::uint64_t live = 0;

  /// Share of allocations that needed no backend, 0..1; 0 when there were none.
  [[nodiscard]] constexpr double hit_rate() const noexcept {
    return allocations == 0
               ? 0.0
               : static_cast<double>(front_hits + ready_hits) / static_cast<double>(allocations);
  }
};

/// The mean of all operations of one kind since the pool was made, failed ones too. Operations that
/// need a slow path are all timed. Of those that the calling thread's cache serves, about one in
/// 10,000 is timed and stands for the others; what timing adds is estimated once in a process and
/// subtracted. The estimate is right to about two nanoseconds, and a free's first access to its
/// tensor's record is not timed, so frees of tensors long unused read up to a fifth too small.
/// bench/FIGURES.md has reported means beside measured ones.
struct latency {
  std::uint64_t samples = 0;  ///< operations that were timed
  double mean_ns = 0;         ///< 0 without samples
};

struct device_statistics {
  device where = {};
  operation_counts total;
  std::array<operation_counts, size_category_count> by_size;  ///< by size_category of the block
  std::size_t reserved_bytes = 0;                             ///< backed by the system now
  std::size_t peak_reserved_bytes = 0;                        ///< exact
  std::size_t live_bytes = 0;           ///< blocks of live tensors (>= requested_bytes)
  std::size_t cached_bytes = 0;         ///< free blocks in front caches and ready lists
  std::size_t peak_live_bytes = 0;      ///< requested; exact at refill granularity (see README)
  std::size_t limit_bytes = 0;          ///< SIZE_MAX: none
  std::size_t soft_limit_bytes = 0;     ///< SIZE_MAX: none
  std::size_t address_space_bytes = 0;  ///< reserved addresses, backed or not
  std::uint64_t system_calls = 0;       ///< memory calls to the system or driver
};

struct statistics {
  static constexpr int format_version = 1;
  operation_counts total;
  /// Those of total.live that own no block of the pool: tensors of zero bytes, adopted ones and
  /// slices. All other counts are about blocks and leave them out.
  std::uint64_t live_without_block = 0;
  std::vector<device_statistics> devices;
  std::size_t reserved_bytes = 0;       ///< of all devices
  std::size_t peak_reserved_bytes = 0;  ///< of all devices together; exact
  std::size_t limit_bytes = 0;          ///< of all devices together; SIZE_MAX: none
  std::size_t soft_limit_bytes = 0;     ///< SIZE_MAX: none
  latency allocate;                     ///< of all, also in since(): not of those since `earlier`
  latency free;
  std::uint64_t misuses = 0;
  std::array<std::uint64_t, misuse_kind_count> misuses_by_kind{};
  std::uint64_t failures = 0;       ///< allocations that answered an error
  std::uint64_t recalls = 0;        ///< how often the pool took the threads' caches back
  std::uint64_t threads = 0;        ///< front caches alive
  std::uint64_t retired_slots = 0;  ///< slots that have used up their generations
  /// Does every warm operation run a fence? It does where the kernel refuses membarrier, and in
  /// every pool beyond the first fifteen of the process.
  bool has_fences = false;

  /// Returns these statistics with `earlier` subtracted from every count; levels (live, reserved,
  /// ...) stay. `s.since(warm).total.hit_rate()` is the hit rate after warm-up.
  [[nodiscard]] TIDEPOOL_EXPORT statistics since(const statistics& earlier) const;
};

/// Returns a table for people.
[[nodiscard]] TIDEPOOL_EXPORT std::string to_text(const statistics& s);
/// Returns one JSON object, whose keys are the members above and "format_version".
[[nodiscard]] TIDEPOOL_EXPORT std::string to_json(const statistics& s);

}  // namespace v0
}  // namespace tidepool
