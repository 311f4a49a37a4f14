// SPDX-License-Identifier: Apache-2.0
//
// access_log: how a batch stands in a stripe: header, indices, access_lookahead times the last one,
// generations, weights.
#include "access/log.hpp"

#include <cstring>
#include <functional>
#include <new>
#include <thread>

namespace tidepool {
inline namespace v0 {
namespace detail {

access_log::stripe& access_log::own_stripe() noexcept {
  return stripes_[std::hash<std::thread::id>{}(std::this_thread::get_id()) % stripe_count];
}

// Pre: the stripe's lock is held, so that who sees the bit finds the batch.
void access_log::keep(stripe& of, const access_report& rest) noexcept {
  add(of.kept.rest, rest);
  ++of.kept.batches;
  filled_.fetch_or(std::uint32_t{1} << (&of - stripes_.data()), std::memory_order_release);
}

bool access_log::count(const access_view& what, std::size_t size,
                       const access_report& rest) noexcept {
  stripe& to = own_stripe();
  const std::lock_guard lock(to.mutex);
  if (to.bins == nullptr) {
    to.bins.reset(new (std::nothrow) std::uint32_t[size]());
  }
  if (to.bins == nullptr || (to.counted != 0 && to.bins_tick != what.tick) ||
      to.counted + what.n > most_counted) {
    return false;
  }
  for (std::size_t i = 0; i < what.n; ++i) {
    ++to.bins[what.indices[i]];
  }
  to.counted += what.n;
  to.bins_tick = what.tick;
  keep(to, rest);
  return true;
}

bool access_log::append(const access_view& what, const access_report& rest) noexcept {
  const std::size_t arrays = (what.generations != nullptr ? 1U : 0U) +  //
                             (what.weights != nullptr ? 1U : 0U);
  const std::size_t words =
      what.n == 0 ? 0 : header_words + access_lookahead + what.n * (1 + arrays);
  stripe& to = own_stripe();
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
  keep(to, rest);
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
