// SPDX-License-Identifier: Apache-2.0
//
// change_header: changes of a live tensor's header word.
#pragma once

#include "pool/pool_core.hpp"

namespace tidepool {
inline namespace v0 {
namespace detail {

template <class F>
errc pool_core::change_header(tensor_id id, F&& f) noexcept {
  record& r = slots.at(id.value());
  std::uint64_t header = r.header.load(std::memory_order_acquire);
  for (;;) {
    if (!id || !slots.is_live(r, header, id.value())) {
      return report_misuse(misuse_kind::stale_use, id);
    }
    const std::uint64_t full =
        is_full(header) ? header
                        : full_header(id.value(), 1, lifecycle::temporary, tensor_flags::none);
    std::uint64_t wanted = full;
    if (const errc why = f(wanted); why != errc::ok) {
      return why;
    }
    if (wanted == header ||
        r.header.compare_exchange_weak(header, wanted, std::memory_order_acq_rel,
                                       std::memory_order_acquire)) {
      return errc::ok;
    }
  }
}

}  // namespace detail
}  // namespace v0
}  // namespace tidepool
