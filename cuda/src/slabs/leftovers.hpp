// SPDX-License-Identifier: Apache-2.0
//
// leftovers: what a driver or the system refused to take back, to be tried again: nothing is lost
// by a call that fails once. Keeping one never fails, because room for it was made before. Thread-
// safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <vector>

namespace tidepool {
inline namespace v0 {
namespace cuda {

enum class leftover_kind : std::uint8_t { mapping, addresses, memory };

struct leftover {
  leftover_kind kind = leftover_kind::mapping;
  std::uint64_t handle = 0;  ///< an address, or the handle of memory
  std::size_t bytes = 0;
};

class leftovers {
 public:
  /// Tries all again. `give_back` answers true for what is gone.
  template <class F>
  void retry(F&& give_back) noexcept {
    const std::lock_guard lock(mutex_);
    std::erase_if(kept_, [&](const leftover& kept) { return give_back(kept); });
  }

  /// Room for what one operation may leave.
  class room {
   public:
    room(leftovers& owner, std::size_t n) noexcept
        : owner_(owner), n_(n), made_(owner.make_room(n)) {}
    room(const room&) = delete;
    room& operator=(const room&) = delete;
    ~room() {
      if (made_) {
        owner_.end_room(n_);
      }
    }
    /// False: there was no memory, nothing may be kept.
    [[nodiscard]] explicit operator bool() const noexcept { return made_; }
    /// At most n times.
    void keep(const leftover& left) noexcept { owner_.keep(left); }

   private:
    leftovers& owner_;
    const std::size_t n_;
    const bool made_;
  };

 private:
  [[nodiscard]] bool make_room(std::size_t n) noexcept {
    const std::lock_guard lock(mutex_);
    try {
      kept_.reserve(kept_.size() + room_ + n);
    } catch (...) {
      return false;
    }
    room_ += n;
    return true;
  }
  void end_room(std::size_t n) noexcept {
    const std::lock_guard lock(mutex_);
    room_ -= n;
  }
  void keep(const leftover& left) noexcept {
    const std::lock_guard lock(mutex_);
    kept_.push_back(left);
  }

  // Each operation keeps at most the room that it made: kept_.size() <= kept_.capacity().
  std::mutex mutex_;
  std::vector<leftover> kept_;  // guarded by mutex_
  std::size_t room_ = 0;        // guarded by mutex_
};

}  // namespace cuda
}  // namespace v0
}  // namespace tidepool
