// SPDX-License-Identifier: Apache-2.0
//
// class_counts: counts of the operations of one size class in one lane, for magazines and for sums.
// made_count: one allocation to be counted. Plain values.
#pragma once

#include <cstdint>

namespace tidepool {
inline namespace v0 {
namespace detail {

struct class_counts {
  std::uint64_t pops = 0;
  std::uint64_t pushes = 0;
  std::uint64_t ready_hits = 0;  // pops served by the pool's ready list
  std::uint64_t refills = 0;     // pops served by the backend
  std::uint64_t requested = 0;   // bytes, modulo 2^64

  class_counts& operator+=(const class_counts& other) noexcept {
    pops += other.pops;
    pushes += other.pushes;
    ready_hits += other.ready_hits;
    refills += other.refills;
    requested += other.requested;
    return *this;
  }
  class_counts& operator-=(const class_counts& other) noexcept {
    pops -= other.pops;
    pushes -= other.pushes;
    ready_hits -= other.ready_hits;
    refills -= other.refills;
    requested -= other.requested;
    return *this;
  }
};

/// The source of a block.
enum class block_source : std::uint8_t { front, ready, backend };

/// One allocation, to be counted.
struct made_count {
  std::uint64_t requested = 0;
  block_source from = block_source::front;

  [[nodiscard]] class_counts counts() const noexcept {
    return {.pops = 1,
            .ready_hits = from == block_source::ready ? std::uint64_t{1} : 0,
            .refills = from == block_source::backend ? std::uint64_t{1} : 0,
            .requested = requested};
  }
};

}  // namespace detail
}  // namespace v0
}  // namespace tidepool
