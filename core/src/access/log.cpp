// SPDX-License-Identifier: Apache-2.0
//
// access_log: how a batch is stored in a stripe. The layout is
//   header | indices | access_lookahead times the last index | generations | weights
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

// Pre: the stripe's lock is held, so that a thread that sees the bit also finds the batch.
void access_log::keep(stripe& target, const access_report& left_out) noexcept {
  add(target.kept.left_out, left_out);
  ++target.kept.batches;
  filled_.fetch_or(std::uint32_t{1} << (&target - stripes_.data()), std::memory_order_release);
}

bool access_log::count(const access_view& view, std::size_t size,
                       const access_report& left_out) noexcept {
  stripe& to = own_stripe();
  const std::lock_guard lock(to.mutex);
  if (to.bins == nullptr) {
    to.bins.reset(new (std::nothrow) std::uint32_t[size]());
  }
  if (to.bins == nullptr || (to.counted != 0 && to.bins_tick != view.tick) ||
      to.counted + view.n > most_counted) {
    return false;
  }
  for (std::size_t i = 0; i < view.n; ++i) {
    ++to.bins[view.indices[i]];
  }
  to.counted += view.n;
  to.bins_tick = view.tick;
  keep(to, left_out);
  return true;
}

bool access_log::append(const access_view& view, const access_report& left_out) noexcept {
  const std::size_t arrays = (view.generations != nullptr ? 1U : 0U) +  //
                             (view.weights != nullptr ? 1U : 0U);
  const std::size_t words =
      view.n == 0 ? 0 : header_words + access_lookahead + view.n * (1 + arrays);
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
    const header head{.tick = view.tick,
                      .n = static_cast<std::uint32_t>(view.n),
                      .arrays = (view.generations != nullptr ? 1U : 0U) |
                                (view.weights != nullptr ? 2U : 0U)};
    std::memcpy(at, &head, sizeof(head));
    at += header_words;
    put(view.indices, view.n + access_lookahead);
    if (view.generations != nullptr) {
      put(view.generations, view.n);
    }
    if (view.weights != nullptr) {
      put(view.weights, view.n);
    }
    to.used += words;
  }
  keep(to, left_out);
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
