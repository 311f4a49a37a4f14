// SPDX-License-Identifier: Apache-2.0
//
// incidents: counts the misuses and failures of a pool, logs its last events, and calls the misuse
// handler and the observer. It knows nothing of tensors: callers pass it the facts to report.
//
// Thread safety: every member from any thread. The handler is called with no lock held, and the
// observer with observer_mutex_ held, shared.
#pragma once

#include "pool/event_log.hpp"
#include "pool/operation_count.hpp"
#include <tidepool/debug.hpp>
#include <tidepool/info.hpp>
#include <tidepool/observer.hpp>
#include <tidepool/options.hpp>

#include <array>
#include <atomic>
#include <cstdint>
#include <shared_mutex>

namespace tidepool {
inline namespace v0 {
namespace detail {

class incidents {
 public:
  /// If the handler is null, misuses are reported on stderr.
  incidents(misuse_handler handler, void* context) noexcept
      : handler_(handler), context_(context) {}
  incidents(const incidents&) = delete;
  incidents& operator=(const incidents&) = delete;

  // Misuse.
  /// Counts a misuse and calls no handler: for callers that hold a lock.
  void count_misuse(misuse_kind kind) noexcept;
  /// Counts a misuse and reports it. Returns the code that the misused function returns.
  errc report_misuse(misuse_kind kind, tensor_id id,
                     const memory_damage* damage = nullptr) noexcept;
  [[nodiscard]] std::uint64_t misuses() const noexcept {
    return misuses_.load(std::memory_order_relaxed);
  }
  [[nodiscard]] std::uint64_t misuses_of(misuse_kind kind) const noexcept {
    return by_kind_[static_cast<unsigned>(kind)].load(std::memory_order_relaxed);
  }

  // Failures and events.
  void failed(const status& why) noexcept;
  /// The calling thread's latest failure, if it was here and had this code; else the code alone.
  [[nodiscard]] status last_failure(errc code) const noexcept;
  [[nodiscard]] std::uint64_t failures() const noexcept {
    return failures_.load(std::memory_order_relaxed);
  }
  void recalled(std::size_t bytes) noexcept {
    recalls_.fetch_add(1, std::memory_order_relaxed);
    events.add(memory_event_kind::recalled, {}, bytes);
  }
  [[nodiscard]] std::uint64_t recalls() const noexcept {
    return recalls_.load(std::memory_order_relaxed);
  }
  event_log events;

  // The observer.
  [[nodiscard]] bool is_observed() const noexcept {
    return observed_.load(std::memory_order_acquire);
  }
  void made(const tensor_info& info) noexcept;
  void ended(const tensor_info& info) noexcept;
  /// Attaches an observer; null detaches it. Waits for calls into the previous observer; none
  /// begins afterwards. Pre: an operation of this thread is under way, and it holds no lock.
  void set_observer(allocation_observer* observer) noexcept;

  /// Forgets calls into the observer by vanished threads; `own` such calls belong to this thread.
  /// Pre: this is the only thread of a new child.
  void continue_in_child(unsigned own) noexcept;

 private:
  template <class F>
  void tell_observer(F&& call) noexcept;
  void tell_on_stderr(const misuse_report& report) noexcept;

  const misuse_handler handler_;
  void* const context_;
  std::atomic<std::uint64_t> misuses_{0};
  std::array<std::atomic<std::uint64_t>, misuse_kind_count> by_kind_{};
  std::atomic<bool> told_{false};  // a misuse without damage, on stderr
  std::atomic<std::uint64_t> failures_{0};
  std::atomic<std::uint64_t> recalls_{0};

  std::shared_mutex observer_mutex_;         // shared while the observer is called
  allocation_observer* observer_ = nullptr;  // guarded by observer_mutex_
  std::atomic<bool> observed_{false};        // observer_ != nullptr
};

}  // namespace detail
}  // namespace v0
}  // namespace tidepool
