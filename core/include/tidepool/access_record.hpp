// SPDX-License-Identifier: Apache-2.0
//
// access_record: the figures of one access entry, and the kernels that work on dense tables of such
// records. It is plain data in C++17, because SIMD files and CUDA kernels read it, too. access.hpp
// has the part for applications. Thread safety: none, the caller of a kernel owns the table.
#pragma once

#include <cstddef>
#include <cstdint>

namespace tidepool {
inline namespace v0 {

/// One entry. All four words move together in one vector register: {count, tick, score, rest}.
/// Invariant: generation == 0 exactly if the record is no entry; then its other fields mean
/// nothing.
struct alignas(32) access_record {
  std::uint64_t count;       ///< exact; UINT64_MAX: saturated, for good
  std::uint64_t tick;        ///< of the last use; at first that of creation
  std::uint64_t score;       ///< sum of weight * 2^(tick / half-life), fixed point
  std::uint32_t generation;  ///< of the tensor, or of the binding; 0: no entry
  std::uint32_t attributes;  ///< device number | category << 8 | lifecycle << 16 | flags << 24
};
static_assert(sizeof(access_record) == 32, "two records are one cache line");

/// The effect of one occurrence on an entry: count += weight, score += gain, tick = max(tick,
/// tick).
struct access_step {
  std::uint64_t weight;
  std::uint64_t gain;  ///< weight in the table's fixed point, 0: no scores are kept
  std::uint64_t tick;
};

/// The numbers of a batch that are indices: those in [0, extent). The kernel adds base to them.
struct access_range {
  std::uint64_t extent;  ///< base + extent <= 2^32 - 1
  std::uint64_t base;
};

/// Counts of numbers of a batch that are no indices: -1, and others outside of the range.
struct access_tally {
  std::uint64_t padding;
  std::uint64_t out_of_range;
};

/// Kernels read up to this many indices behind the last one, to prefetch records, so these must be
/// valid indices, too.
inline constexpr std::size_t access_lookahead = 32;

/// One implementation of the kernels. All implementations have equal results, bit by bit. None
/// checks for saturation, because the caller knows that no sum can pass 2^64.
struct access_kernels {
  const char* name;
  /// Writes those of ids[0..n) that are in the range to out[0..kept), in order and with base added,
  /// and counts the others. Returns kept. Pre: out has room for n + 16.
  std::size_t (*narrow_32)(const std::int32_t* ids, std::size_t n, access_range range,
                           std::uint32_t* out, access_tally* left_out);
  std::size_t (*narrow_64)(const std::int64_t* ids, std::size_t n, access_range range,
                           std::uint32_t* out, access_tally* left_out);
  /// Applies one step for each index. `far` says that the table is larger than a cache, so the
  /// kernel prefetches. Returns the number of indices without an entry.
  std::size_t (*apply)(access_record* records, const std::uint32_t* indices, std::size_t n,
                       access_step step, bool far);
  /// Applies one step for each index whose record has the generation beside the index (not 0) and
  /// none of the attributes `without`; always prefetches. Writes the positions of the others to
  /// missed[0..k), ascending, and returns k. Pre: missed has room for n.
  std::size_t (*apply_known)(access_record* records, const std::uint32_t* indices,
                             const std::uint32_t* generations, std::size_t n, access_step step,
                             std::uint32_t without, std::uint32_t* missed);
  /// Does ++bins[base + id] for those of ids[0..n) that are in the range, and counts the others.
  /// Returns how many were in the range. It saves writing the indices, as narrow does.
  std::size_t (*count_32)(std::uint32_t* bins, const std::int32_t* ids, std::size_t n,
                          access_range range, access_tally* left_out);
  std::size_t (*count_64)(std::uint32_t* bins, const std::int64_t* ids, std::size_t n,
                          access_range range, access_tally* left_out);
  /// Applies bins[i] steps to each of records[0..n) and sets bins[i] to 0. Returns the number of
  /// steps without an entry.
  std::uint64_t (*merge)(access_record* records, std::uint32_t* bins, std::size_t n,
                         access_step step);
};

}  // namespace v0
}  // namespace tidepool
