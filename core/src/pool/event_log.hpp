// SPDX-License-Identifier: Apache-2.0
//
// event_log: the last events of a pool's memory, for its report. Only slow paths use it.
//
// Thread safety: one short lock.
#pragma once

#include <tidepool/report.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <mutex>
#include <vector>

namespace tidepool {
inline namespace v0 {
namespace detail {

class event_log {
 public:
  void add(memory_event_kind kind, device where, std::size_t bytes) noexcept {
    const std::lock_guard lock(mutex_);
    append(kind, where, bytes, errc::ok);
  }
  void fail(const status& why) noexcept {
    const std::lock_guard lock(mutex_);
    append(memory_event_kind::failed, why.where, why.requested, why.code);
    failure_ = why;
  }
  /// Returns the last failure; errc::ok means that nothing ever failed.
  [[nodiscard]] status last_failure() const noexcept {
    const std::lock_guard lock(mutex_);
    return failure_;
  }
  /// Oldest first. Throws std::bad_alloc.
  [[nodiscard]] std::vector<memory_event> copy() const {
    const std::lock_guard lock(mutex_);
    std::vector<memory_event> events;
    for (std::uint64_t i = count_ - std::min<std::uint64_t>(count_, last_.size()); i < count_;
         ++i) {
      events.push_back(last_[i % last_.size()]);
    }
    return events;
  }

 private:
  // Pre: mutex_ is held.
  void append(memory_event_kind kind, device where, std::size_t bytes, errc code) noexcept {
    const std::chrono::duration<double> age = std::chrono::steady_clock::now() - made_;
    last_[count_ % last_.size()] = {.number = count_ + 1,
                                    .seconds = age.count(),
                                    .kind = kind,
                                    .code = code,
                                    .where = where,
                                    .bytes = bytes};
    ++count_;
  }

  mutable std::mutex mutex_;
  std::array<memory_event, 32> last_;
  std::uint64_t count_ = 0;
  status failure_;
  const std::chrono::steady_clock::time_point made_ = std::chrono::steady_clock::now();
};

}  // namespace detail
}  // namespace v0
}  // namespace tidepool
