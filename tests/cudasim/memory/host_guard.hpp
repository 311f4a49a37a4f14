// SPDX-License-Identifier: Apache-2.0
//
// Sees what host code does to memory that devices share with it, which is ordinary compiled code:
// while operations are under way the pages are closed, the first read and the first write of each
// page fault, are noted, and open it until it is closed again. The signal handler only notes and
// opens, so it may interrupt anything; the race checker is told later. One per process, as signals
// are. All but the handler runs under the runtime's lock.
#pragma once

#include "memory/clock.hpp"

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

namespace cudasim {

class host_guard {
 public:
  struct access {
    std::uint64_t address = 0;
    std::uint64_t code = 0;     // the instruction
    const actor* by = nullptr;  // the host function that it is part of, if it is
    bool write = false;
  };

  /// Handles SIGSEGV from now on; what is not its own goes to the handler before it.
  void install();
  [[nodiscard]] bool is_installed() const { return installed_; }

  /// Guards the whole pages of a range. `own`: the simulator works through it, not through another
  /// view. A range too many stays unguarded.
  void add(std::uint64_t low, std::uint64_t bytes, bool own);
  void remove(std::uint64_t low);

  /// From now on accesses are noted; those in open() ranges are not.
  void close();
  void open();
  [[nodiscard]] bool is_closed() const { return closed_; }
  /// Between these the simulator works, in helping threads too: the ranges that are its own open
  /// when they are touched, without a note, and are closed again if the guard is.
  void open_own();
  void close_own();

  /// Gives each noted access to `sink` and forgets it.
  template <class F>
  void take(F sink) {
    if (!any_noted_ || !any_noted_.exchange(false)) {
      return;
    }
    for (note& each : notes_) {
      if (each.now.load(std::memory_order_acquire) == note::full) {
        const access taken = each.what;
        each.now.store(note::empty, std::memory_order_release);
        sink(taken);
      }
    }
  }

  /// For the signal handler: false if the address is not guarded.
  bool handle(const access&) noexcept;

  /// Who runs on this thread, if that is a host function.
  static void set_acting(const actor*) noexcept;

 private:
  struct part {
    std::atomic<std::uint64_t> low{0};
    std::atomic<std::uint64_t> size{0};  // 0: free
    std::atomic<bool> shut{false};       // no page was opened since they were closed
    bool own = false;
  };
  struct note {
    enum state : int { empty, claimed, full };
    std::atomic<int> now{empty};
    access what;
  };
  void close_where(bool own);
  static void open_part(part& which);
  void note_down(const access&) noexcept;

  static constexpr std::size_t most_parts = 256;
  static constexpr std::size_t most_notes = 1024;  // between two calls; what is beyond is lost
  std::array<part, most_parts> parts_;
  std::array<note, most_notes> notes_;
  std::atomic<std::size_t> next_note_{0};
  std::atomic<bool> any_noted_{false};
  std::atomic<bool> any_open_{true};     // a page may have been opened since close()
  std::atomic<bool> simulating_{false};  // between open_own() and close_own()
  bool installed_ = false;
  bool closed_ = false;
};

}  // namespace cudasim
