// SPDX-License-Identifier: Apache-2.0
//
// pool_core::use and pool_core::callback: a slow operation under way, and a call of the user's code
// within one. What they mean to closing and fork is in operations.cpp. Part of pool_core.hpp, which
// includes it; objects of one thread's stack.
#pragma once

#include "pool/pool_core.hpp"

namespace tidepool {
inline namespace v0 {
namespace detail {

class pool_core::use {
 public:
  explicit use(pool_core& pool, bool waits = true) noexcept;
  ~use();
  use(const use&) = delete;
  use& operator=(const use&) = delete;
  /// Is this thread within another operation of the same pool?
  [[nodiscard]] bool nests() const noexcept;

 private:
  friend class pool_core;
  pool_core& pool_;
  use* const outer_;
  bool active_ = false;    // not within a callback
  bool observes_ = false;  // within a callback of the observer, which is held shared
};

class pool_core::callback {
 public:
  explicit callback(bool observes = false) noexcept;
  ~callback();
  callback(const callback&) = delete;
  callback& operator=(const callback&) = delete;

 private:
  use* const innermost_;
  use* last_ = nullptr;  // outermost of the uses that are not active meanwhile
};

}  // namespace detail
}  // namespace v0
}  // namespace tidepool
