// SPDX-License-Identifier: Apache-2.0
//
// The system under the library, as the linker leads it here (--wrap): calls are counted and made to
// fail by number, and mapped bytes are kept account of. Only what a thread does inside `within`
// counts, so that the test's own work never fails.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <ostream>
#include <utility>

namespace tidepool::test {

enum class fault_kind : std::uint8_t { system_call, heap };
inline std::ostream& operator<<(std::ostream& out, fault_kind kind) {
  return out << (kind == fault_kind::heap ? "heap" : "system call");
}

struct fault_state {
  fault_kind kind = fault_kind::system_call;
  std::atomic<std::uint64_t> fail_call{0};  // number of the call to fail, from 1; 0: none
  std::atomic<bool> for_good{false};        // all after it fail too
  std::atomic<std::uint64_t> calls{0};      // of the kind, since the last reset
  std::atomic<std::uint64_t> failed{0};     // of these, made to fail
  std::atomic<std::int64_t> mapped{0};      // bytes mapped minus bytes unmapped
  std::atomic<std::int64_t> kept{0};        // bytes that a failed munmap left mapped

  void reset(fault_kind what, std::uint64_t number, bool after_it_too) noexcept {
    kind = what;
    fail_call = number;
    for_good = after_it_too;
    calls = 0;
    failed = 0;
  }
};

extern fault_state faults;
extern constinit thread_local int depth_within;

/// Runs a piece of the library: from here on its calls count and may fail.
template <class F>
decltype(auto) within(F&& f) {
  struct scope {
    scope() noexcept { ++depth_within; }
    ~scope() { --depth_within; }
  };
  const scope inside;
  return std::forward<F>(f)();
}

}  // namespace tidepool::test
