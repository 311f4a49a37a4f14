// SPDX-License-Identifier: Apache-2.0
//
// allocation_observer: sees every allocation and free of a pool. While one is attached, operations
// take a slower path. While none is attached, it costs nothing, because its check is part of one
// that is made anyway.
#pragma once

#include <tidepool/export.hpp>
#include <tidepool/info.hpp>
#include <tidepool/result.hpp>

namespace tidepool {
inline namespace v0 {

/// The pool calls it outside every lock, on the thread that allocates or frees, after an allocation
/// and before a free. Calls of different threads may overlap. It may allocate from other pools, but
/// not from this one, and must not call set_observer.
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
