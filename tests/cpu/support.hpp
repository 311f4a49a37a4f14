// SPDX-License-Identifier: Apache-2.0
//
// What the tests of the CPU backend share: a host that counts claims and can refuse one, a system
// that can refuse a call, and the amounts of random work.
#pragma once

#include "../support/sizes.hpp"
#include "memory_backend.hpp"
#include "os_memory.hpp"
#include <tidepool/backend.hpp>
#include <tidepool/cpu/backend.hpp>

#include <gtest/gtest.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>

namespace tidepool::cpu {

using tidepool::test::kib;
using tidepool::test::mib;

/// Refuses above `limit`, and the `refuse_at`-th claim (from 1; 0: none).
class counting_host final : public backend_host {
 public:
  bool claim(device /*where*/, std::size_t bytes) noexcept override {
    const std::size_t number = claims.fetch_add(1) + 1;
    if (number == refuse_at || claimed.load() + bytes > limit) {
      return false;
    }
    claimed.fetch_add(bytes);
    return true;
  }
  void unclaim(device /*where*/, std::size_t bytes) noexcept override {
    EXPECT_LE(bytes, claimed.load());
    claimed.fetch_sub(bytes);
  }

  std::atomic<std::size_t> claimed{0};
  std::atomic<std::size_t> claims{0};
  std::size_t limit = SIZE_MAX;
  std::size_t refuse_at = 0;
};

/// Refuses one call, or all calls of one kind.
class faulty_memory final : public os_memory {
 public:
  std::size_t refuse_at = 0;  ///< number of the call to refuse, from 1; 0: none
  bool refuse_kind = false;
  system_call kind = system_call::reserve;
  int error = 12;                     // ENOMEM
  std::atomic<std::size_t> asked{0};  ///< calls so far

 protected:
  int refuse(system_call what) noexcept override {
    const bool hit = ++asked == refuse_at || (refuse_kind && what == kind);
    return hit ? error : 0;
  }
};

struct fixture {
  explicit fixture(const backend_options& options = {}) : memory(options, os) {}

  counting_host host;
  faulty_memory os;
  memory_backend memory;

  status start() {
    const status why = memory.prepare();
    if (why.ok()) {
      memory.attach(host);
    }
    return why;
  }
};

inline block_request ask(std::size_t bytes, std::size_t alignment = 64) {
  return {.bytes = bytes, .alignment = alignment};
}

}  // namespace tidepool::cpu
