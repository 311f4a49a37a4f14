// SPDX-License-Identifier: Apache-2.0
//
// allocation_observer: sees every allocation and free of a pool. While one is attached operations
// take a slower path; while none is, it costs nothing (the check is part of one that is made
// anyway).
#pragma once

#include <tidepool/export.hpp>
#include <tidepool/info.hpp>
#include <tidepool/result.hpp>

namespace tidepool {
inline namespace v0 {

/// Called on the thread that allocates or frees, outside every lock, after an allocation and before
/// a free; calls of different threads may overlap. May
/// allocate from other pools, not from this one, and may not call set_observer.
class TIDEPOOL_EXPORT allocation_observer {
 public:
  virtual ~allocation_observer();
  virtual void on_allocate(const tensor_info& made) noexcept = 0;
  virtual void on_free(const tensor_info& ending) noexcept = 0;
  /// An allocation of why.requested bytes on why.where failed.
  virtual void on_failure(const status& why) noexcept;

 protected:
  allocation_observer() = default;
  allocation_observer(const allocation_observer&) = default;
  allocation_observer& operator=(const allocation_observer&) = default;
};

}  // namespace v0
}  // namespace tidepool
