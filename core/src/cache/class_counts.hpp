// SPDX-License-Identifier: Apache-2.0
//
// class_counts: operations of one size class in one lane, as magazines count them and as they are
// summed. A plain value.
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
};

}  // namespace detail
}  // namespace v0
}  // namespace tidepool
