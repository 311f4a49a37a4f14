// SPDX-License-Identifier: Apache-2.0
//
// Finds a free block for a request: in the thread's magazine, in the pool's ready list, or from the
// backend; climb.cpp has the out-of-memory ladder. A step that fails leaves the pool unchanged.
#include "pool/pool_core.hpp"

namespace tidepool {
inline namespace v0 {
namespace detail {

// Finds a free slot for the demand and counts it as an allocation. The thread keeps the other slots
// of the same batch.
obtained pool_core::obtain(const block_demand& demand, front_cache* cache) noexcept {
  const auto [slot, wanted] = caches.take(demand, cache);
  if (slot != nullptr) {
    return {.slot = slot, .from = block_source::front};
  }
  std::array<record*, largest_batch> batch;
  const auto out = std::span(batch).first(wanted);
  while (const std::size_t taken = stock.take_ready(demand, out)) {
    for (std::size_t i = 0; i < taken; ++i) {
      out[i] = stock.accept_popped(*out[i]);
      if (out[i] != nullptr) {
        caches.keep_rest(demand, out.subspan(i, taken - i), block_source::ready, cache);
        return {.slot = out[i], .from = block_source::ready};
      }
    }
  }
  backend::refill_result made;
  if (demand.bytes > worth_searching) {
    made = stock.refill(demand, out, false);
    if (made.count == 0 && caches.flush_large(*demand.where, cache) != 0) {
      made = stock.refill(demand, out.first(1), false);
    }
  }
  if (made.count == 0) {
    made = stock.refill(demand, out, true);
  }
  const errc code = made.why.code;
  if (made.count == 0 &&
      (code == errc::out_of_memory || code == errc::over_budget || code == errc::too_many)) {
    made = climb(demand, out, made.why);
  }
  if (made.count == 0) {
    return {.slot = nullptr, .from = block_source::backend, .why = made.why};
  }
  caches.keep_rest(demand, out.first(made.count), block_source::backend, cache);
  return {.slot = batch[0], .from = block_source::backend};
}

}  // namespace detail
}  // namespace v0
}  // namespace tidepool
