// SPDX-License-Identifier: Apache-2.0
//
// access_record: what the pool keeps about the use of one access entry, and the kernels that work
// on dense tables of such records. Plain data, C++17, read by SIMD files and by CUDA kernels; what
// applications use is in access.hpp. Thread safety: none, whoever calls a kernel owns the table.
#pragma once

#include <cstddef>
#include <cstdint>

namespace tidepool {
inline namespace v0 {

/// One entry. All four words move together in one vector register: {count, tick, score, rest}.
/// Invariant: generation == 0 exactly where no entry stands, and then the rest means nothing.
struct alignas(32) access_record {
  std::uint64_t count;       ///< exact; UINT64_MAX: saturated, for good
  std::uint64_t tick;        ///< of the last use; at first that of creation
  std::uint64_t score;       ///< sum of weight * 2^(tick / half-life), fixed point
  std::uint32_t generation;  ///< of the tensor, or of the binding; 0: no entry
  std::uint32_t attributes;  ///< device number | category << 8 | lifecycle << 16 | flags << 24
};
static_assert(sizeof(access_record) == 32, "two records are one cache line");

/// What one occurrence does to an entry: count += weight, score += gain, tick = max(tick, tick).
struct access_step {
  std::uint64_t weight;
  std::uint64_t gain;  ///< weight in the table's fixed point, 0: no scores are kept
  std::uint64_t tick;
};

/// Which numbers of a batch are indices: those in [0, extent); base is added to them.
struct access_range {
  std::uint64_t extent;  ///< base + extent <= 2^32 - 1
  std::uint64_t base;
};

/// Numbers of a batch that are none: -1, and others outside of the range.
struct access_tally {
  std::uint64_t padding;
  std::uint64_t out_of_range;
};

/// Kernels read up to this many indices behind the last one, to fetch records ahead: they must be
/// valid indices.
inline constexpr std::size_t access_lookahead = 32;

/// One implementation of the kernels. All implementations have equal results, bit by bit. None
/// looks for saturation: the caller knows that no sum can pass 2^64.
struct access_kernels {
  const char* name;
  /// Writes those of ids[0..n) that are in the range, base added, to out[0..kept), in their order;
  /// counts the others. Returns kept. Pre: out has room for n + 16.
  std::size_t (*narrow_32)(const std::int32_t* ids, std::size_t n, access_range range,
                           std::uint32_t* out, access_tally* rest);
  std::size_t (*narrow_64)(const std::int64_t* ids, std::size_t n, access_range range,
                           std::uint32_t* out, access_tally* rest);
  /// One step for each index; `far`: the table is larger than a cache, fetch ahead. Returns how
  /// many met no entry.
  std::size_t (*apply)(access_record* records, const std::uint32_t* indices, std::size_t n,
                       access_step step, bool far);
  /// One step for each index whose record has the generation beside it, other than 0, and none of
  /// the attributes `without`; always fetches ahead. Writes the positions of the others to
  /// missed[0..k), ascending, and returns k. Pre: missed has room for n.
  std::size_t (*apply_known)(access_record* records, const std::uint32_t* indices,
                             const std::uint32_t* generations, std::size_t n, access_step step,
                             std::uint32_t without, std::uint32_t* missed);
  /// ++bins[base + id] for those of ids[0..n) that are in the range; counts the others. Returns how
  /// many were. Apart from narrow because the ids need not be written down in between.
  std::size_t (*count_32)(std::uint32_t* bins, const std::int32_t* ids, std::size_t n,
                          access_range range, access_tally* rest);
  std::size_t (*count_64)(std::uint32_t* bins, const std::int64_t* ids, std::size_t n,
                          access_range range, access_tally* rest);
  /// bins[i] steps for each of records[0..n), and bins[i] = 0. Returns the steps that met no entry.
  std::uint64_t (*merge)(access_record* records, std::uint32_t* bins, std::size_t n,
                         access_step step);
};

}  // namespace v0
}  // namespace tidepool
