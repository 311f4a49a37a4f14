// SPDX-License-Identifier: Apache-2.0
//
// access_chunk: up to 1024 indices of a batch that were found valid, on their way into a table:
// what is narrowed outside the lock, applied under it, or left in a log. Plain data, owned by its
// thread.
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

/// Indices as they are applied. With `generations`, an entry takes a step only if it has that of
/// the index; with `weights`, each has one. Invariant: access_lookahead valid indices follow.
struct access_view {
  const std::uint32_t* indices = nullptr;
  const std::uint32_t* generations = nullptr;
  const std::uint32_t* weights = nullptr;
  std::size_t n = 0;
  std::uint64_t tick = 0;
};

struct access_chunk {
  // Room for what kernels write and read behind the end.
  std::array<std::uint32_t, chunk_indices + 2 * access_lookahead> indices;
  std::array<std::uint32_t, chunk_indices + 1> generations;
  std::array<std::uint32_t, chunk_indices> weights;
  std::size_t n = 0;

  /// Keeps the invariant of views.
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
