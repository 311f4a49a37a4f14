// SPDX-License-Identifier: Apache-2.0
//
// access_chunk: up to 1024 valid indices of a batch on their way into a table. A source fills a
// chunk outside the lock; then the table applies it under the lock, or the log keeps it. A chunk is
// plain data on its thread's stack.
#pragma once

#include <tidepool/access.hpp>
#include <tidepool/access_record.hpp>

#include <array>
#include <cstddef>
#include <cstdint>

namespace tidepool {
inline namespace v0 {
namespace detail {

inline constexpr std::size_t chunk_indices = 1024;

/// Indices to apply. With `generations`, an entry takes a step only if its generation equals the
/// one beside the index; with `weights`, each index has a weight. Invariant: access_lookahead valid
/// indices follow the last one.
struct access_view {
  const std::uint32_t* indices = nullptr;
  const std::uint32_t* generations = nullptr;
  const std::uint32_t* weights = nullptr;
  std::size_t n = 0;
  std::uint64_t tick = 0;
};

struct access_chunk {
  // Kernels write and read behind the end, so there is room for that.
  std::array<std::uint32_t, chunk_indices + 2 * access_lookahead> indices;
  std::array<std::uint32_t, chunk_indices + 1> generations;
  std::array<std::uint32_t, chunk_indices> weights;
  std::size_t n = 0;

  /// Repeats the last index, which keeps the invariant of access_view.
  void pad() noexcept {
    const std::uint32_t last = n == 0 ? 0 : indices[n - 1];
    for (std::size_t i = 0; i < access_lookahead; ++i) {
      indices[n + i] = last;
    }
  }
};

inline void add(access_report& sum, const access_report& one) noexcept {
  sum.recorded += one.recorded;
  sum.deferred += one.deferred;
  sum.padding += one.padding;
  sum.masked += one.masked;
  sum.out_of_range += one.out_of_range;
  sum.stale += one.stale;
  sum.duplicates += one.duplicates;
}

}  // namespace detail
}  // namespace v0
}  // namespace tidepool
