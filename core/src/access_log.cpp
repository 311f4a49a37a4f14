// SPDX-License-Identifier: Apache-2.0
//
// access_log: how a batch stands in a stripe: header, indices, access_lookahead times the last one,
// generations, weights.
#include "access_log.hpp"

#include <cstring>
#include <functional>
#include <new>
#include <thread>

namespace tidepool {
inline namespace v0 {
namespace detail {

bool access_log::append(const access_view& what, const access_report& rest) noexcept {
  const std::size_t arrays = (what.generations != nullptr ? 1U : 0U) +  //
                             (what.weights != nullptr ? 1U : 0U);
  const std::size_t words =
      what.n == 0 ? 0 : header_words + access_lookahead + what.n * (1 + arrays);
  const std::size_t own = std::hash<std::thread::id>{}(std::this_thread::get_id()) % stripe_count;
  stripe& to = stripes_[own];
  const std::lock_guard lock(to.mutex);
  if (to.words == nullptr) {
    to.words.reset(new (std::nothrow) std::uint32_t[stripe_words]);
  }
  if (to.words == nullptr || words > stripe_words - to.used) {
    return false;
  }
  if (words != 0) {
    std::uint32_t* at = &to.words[to.used];
    const auto put = [&at](const std::uint32_t* from, std::size_t n) {
      std::memcpy(at, from, n * sizeof(std::uint32_t));
      at += n;
    };
    const header head{.tick = what.tick,
                      .n = static_cast<std::uint32_t>(what.n),
                      .arrays = (what.generations != nullptr ? 1U : 0U) |
                                (what.weights != nullptr ? 2U : 0U)};
    std::memcpy(at, &head, sizeof(head));
    at += header_words;
    put(what.indices, what.n + access_lookahead);
    if (what.generations != nullptr) {
      put(what.generations, what.n);
    }
    if (what.weights != nullptr) {
      put(what.weights, what.n);
    }
    to.used += words;
  }
  add(to.kept.rest, rest);
  ++to.kept.batches;
  // With the stripe's lock held: who sees the bit finds the batch.
  filled_.fetch_or(std::uint32_t{1} << own, std::memory_order_release);
  return true;
}

access_view access_log::read(const stripe& from, std::size_t& at) noexcept {
  header head;
  std::memcpy(&head, &from.words[at], sizeof(head));
  at += header_words;
  access_view view{.indices = &from.words[at], .n = head.n, .tick = head.tick};
  at += head.n + access_lookahead;
  if ((head.arrays & 1) != 0) {
    view.generations = &from.words[at];
    at += head.n;
  }
  if ((head.arrays & 2) != 0) {
    view.weights = &from.words[at];
    at += head.n;
  }
  return view;
}

void access_log::lock_all() noexcept {
  for (stripe& each : stripes_) {
    each.mutex.lock();
  }
}

void access_log::unlock_all() noexcept {
  for (stripe& each : stripes_) {
    each.mutex.unlock();
  }
}

}  // namespace detail
}  // namespace v0
}  // namespace tidepool
