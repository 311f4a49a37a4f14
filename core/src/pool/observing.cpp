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
  // Other threads may set observers too: whoever comes last leaves the gates as they have to be.
  for (bool again = true; again;) {
    const bool observed = incidents.is_observed();
    caches.list.set_observed(observed);
    again = incidents.is_observed() != observed;
  }
}

}  // namespace detail
}  // namespace v0
}  // namespace tidepool
