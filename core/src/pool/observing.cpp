// SPDX-License-Identifier: Apache-2.0
//
// The observer of a pool: set, and told of tensors that begin and end. While there is one, every
// operation is a slow one.
#include "pool/pool_core.hpp"

#include <optional>

namespace tidepool {
inline namespace v0 {
namespace detail {

void pool_core::notify_made(tensor_id id) noexcept {
  if (incidents.is_observed()) {
    if (const std::optional<tensor_info> info = directory.read(id)) {
      incidents.made(*info);
    }
  }
}

void pool_core::notify_ended(tensor_id id) noexcept {
  if (incidents.is_observed()) {
    if (const std::optional<tensor_info> info = directory.read(id)) {
      incidents.ended(*info);
    }
  }
}

void pool_core::set_observer(allocation_observer* observer) noexcept {
  const operation guard(*this);
  incidents.set_observer(observer);
  caches.list.set_observed(incidents.is_observed());
}

}  // namespace detail
}  // namespace v0
}  // namespace tidepool
