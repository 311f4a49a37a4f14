// SPDX-License-Identifier: Apache-2.0
//
// Further references to tensors, and pins. A pin is a reference that also keeps the address.
#include "pool/pool_core.hpp"

namespace tidepool {
inline namespace v0 {
namespace detail {

errc pool_core::retain(tensor_id id) noexcept {
  const operation guard(*this);
  return change_header(id, [](std::uint64_t& header) {
    if (references_of(header) == most_references) {
      return errc::too_many;
    }
    header += reference_step;
    header |= bits_of(tensor_flags::shared);
    return errc::ok;
  });
}

// A pin is a reference as well, so a pinned tensor cannot end while its user reads it.
result<void*> pool_core::pin(tensor_id id) noexcept {
  const operation guard(*this);
  if (const errc code = retain(id); code != errc::ok) {
    return code;
  }
  record& slot = directory.slots.at(id.value());
  directory.slots.cold(slot).holds.fetch_add(one_hold_change + one_pin, std::memory_order_acq_rel);
  (void)change_header(id, [](std::uint64_t& header) {
    header |= bits_of(tensor_flags::pinned_in_place);
    return errc::ok;
  });
  return slot.data.load(std::memory_order_acquire);
}

errc pool_core::unpin(tensor_id id) noexcept {
  const operation guard(*this);
  record& slot = directory.slots.at(id.value());
  if (!id ||
      !directory.slots.is_live(slot, slot.header.load(std::memory_order_acquire), id.value())) {
    return report_misuse(misuse_kind::stale_use, id);
  }
  std::atomic<std::uint64_t>& holds = directory.slots.cold(slot).holds;
  std::uint64_t seen = holds.load(std::memory_order_acquire);
  do {
    if (pins_of(seen) == 0) {
      (void)report_misuse(misuse_kind::unbalanced, id);
      return errc::invalid_argument;
    }
  } while (!holds.compare_exchange_weak(seen, seen + one_hold_change - one_pin,
                                        std::memory_order_acq_rel, std::memory_order_acquire));
  if (pins_of(seen) == 1) {
    (void)change_header(id, [&](std::uint64_t& header) {
      if (pins_of(holds.load(std::memory_order_acquire)) == 0) {
        header &= ~bits_of(tensor_flags::pinned_in_place);
      }
      return errc::ok;
    });
  }
  return deallocate(id, {});
}

}  // namespace detail
}  // namespace v0
}  // namespace tidepool
