// SPDX-License-Identifier: Apache-2.0
//
// operation: the guard that every slow operation of a pool holds. While a guard lives, the pool is
// not destroyed, and closing and fork wait. A guard is on its thread's stack. This file is a part
// of pool_core.hpp, which includes it.
#pragma once

#include "pool/operation_entry.hpp"
#include "pool/pool_core.hpp"

namespace tidepool {
inline namespace v0 {
namespace detail {

class operation : public operation_count::entry {
 public:
  /// may_wait::no is for callers that hold the process mutex, which fork needs.
  explicit operation(pool_core& pool, may_wait wait = may_wait::yes) noexcept
      : entry(pool.operations), pool_(pool) {
    for (auto seen = begin(wait); seen != obstacle::none; seen = begin(wait)) {
      // Wait outside of the operation: closing must count all tensors and fork must copy the pool,
      // and both wait for operations under way.
      pool_.leave();
      wait_for(seen);
    }
  }
  ~operation() { pool_.leave(); }
  operation(const operation&) = delete;
  operation& operator=(const operation&) = delete;

 private:
  pool_core& pool_;
};

}  // namespace detail
}  // namespace v0
}  // namespace tidepool
