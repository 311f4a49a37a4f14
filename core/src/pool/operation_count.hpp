// SPDX-License-Identifier: Apache-2.0
//
// operation_count: keeps a pool alive. It counts the slow operations under way, the tensors that a
// closed pool still has, and the pool's handle; closing and fork wait for it. It knows nothing of
// the pool: it tells the thread that leaves last what to do (operation.hpp).
//
// All counts that must be read together are in one word, so that beginning and ending an operation
// is one atomic operation each. Warm operations are not counted.
//
// Thread safety: every member from any thread, unless its comment says otherwise. No lock.
#pragma once

#include <tidepool/options.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>

namespace tidepool {
inline namespace v0 {
namespace detail {

enum class may_wait : bool { no, yes };
enum class in_observer : bool { no, yes };

class operation_count {
 public:
  /// One operation of the calling thread, on its stack. Operations nest: an inner one is part of
  /// the outer one, and never waits for a close or a fork that waits for the outer one.
  class entry;

  /// The operations that one thread has under way.
  struct own_operations {
    std::uint64_t counted = 0;  // as in the word
    unsigned observing = 0;     // within a callback of the observer
  };
  [[nodiscard]] own_operations of_this_thread() const noexcept;

  /// The action that falls to the caller of leave.
  enum class outcome : std::uint8_t {
    left,        // nothing
    must_close,  // finish the close and call leave again: this is the last operation before it
    last,        // destroy the pool: nothing keeps it alive any more
  };
  /// The calling thread's innermost operation ends.
  [[nodiscard]] outcome leave() noexcept { return leave(one_operation + one_active); }
  /// The pool's handle is gone.
  [[nodiscard]] outcome leave_handle() noexcept { return leave(handle_bit); }
  /// A tensor that was alive when the pool closed is gone. Pre: an operation is under way.
  void forget_tensor() noexcept { word_.fetch_sub(1, std::memory_order_acq_rel); }

  // Closing has two parts. First it is wanted; it is reached when the last operation that began
  // before has left. An operation that begins in between waits.
  [[nodiscard]] bool is_closed() const noexcept {
    return wanted_.load(std::memory_order_acquire) != 0;
  }
  [[nodiscard]] std::optional<close_mode> wanted() const noexcept { return mode_of(wanted_); }
  [[nodiscard]] std::optional<close_mode> reached() const noexcept { return mode_of(reached_); }
  /// True: this call is the first. Pre: the process mutex is held, an operation is under way.
  [[nodiscard]] bool want_close(close_mode mode) noexcept;
  void wait_until_reached(close_mode mode) const noexcept;
  /// Ends the close; `tensors` tensors are alive or have live handles. Pre: leave said must_close.
  void reach_close(close_mode mode, std::size_t tensors) noexcept;
  /// A close by force calls release callbacks meanwhile; only close(force) waits for them.
  void set_releasing(bool releasing) noexcept;
  void wait_for_releases() const noexcept { releasing_.wait(true, std::memory_order_acquire); }

  /// fork: waits until all operations but this thread's own are over or in a callback.
  void wait_until_idle() const noexcept;
  /// Forgets operations of vanished threads. Pre: this is the only thread of a new child.
  void continue_in_child() noexcept;

 private:
  friend class callback;

  // clang-format off
  //   bits  0-26  tensors that are alive, or whose handles are, after closing
  //   bit      27  closing is wanted
  //   bits 28-45  operations under way
  //   bits 46-62  of these, operations that are not in a callback
  //   bit      63  the pool's handle
  static constexpr std::uint64_t tensors_mask = (std::uint64_t{1} << 27) - 1;
  static constexpr std::uint64_t closing_bit = std::uint64_t{1} << 27;
  static constexpr std::uint64_t one_operation = std::uint64_t{1} << 28;
  static constexpr std::uint64_t one_active = std::uint64_t{1} << 46;
  static constexpr std::uint64_t handle_bit = std::uint64_t{1} << 63;
  static constexpr std::uint64_t operations_mask = one_active - one_operation;
  static constexpr std::uint64_t active_mask = handle_bit - one_active;
  // clang-format on
  [[nodiscard]] static constexpr std::uint8_t level_of(close_mode mode) noexcept {
    return static_cast<std::uint8_t>(1 + static_cast<std::uint8_t>(mode));
  }
  [[nodiscard]] static std::optional<close_mode> mode_of(
      const std::atomic<std::uint8_t>& level) noexcept;
  [[nodiscard]] outcome leave(std::uint64_t share) noexcept;

  static constinit thread_local entry* innermost_entry;  // of the calling thread

  std::atomic<std::uint64_t> word_{handle_bit};
  // level_of a close_mode, 0: none. reached_ <= wanted_, and the last operation makes them equal.
  std::atomic<std::uint8_t> wanted_{0};  // raised with the process mutex held
  std::atomic<std::uint8_t> reached_{0};
  std::atomic<bool> releasing_{false};
};

// Whichever operation leaves last finishes the close, so no thread can wait for itself, even if it
// called close() from a callback. Count and wish share one word: read apart, an operation that
// began in between would be missed.
inline operation_count::outcome operation_count::leave(std::uint64_t share) noexcept {
  std::uint64_t now = word_.load(std::memory_order_seq_cst);
  do {
    if ((share & operations_mask) != 0 && (now & operations_mask) == one_operation &&
        (now & closing_bit) != 0) {
      return outcome::must_close;
    }
  } while (!word_.compare_exchange_weak(now, now - share, std::memory_order_seq_cst));
  return now == share ? outcome::last : outcome::left;
}

}  // namespace detail
}  // namespace v0
}  // namespace tidepool
