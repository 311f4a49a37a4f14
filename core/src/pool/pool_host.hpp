// SPDX-License-Identifier: Apache-2.0
//
// pool_host: what a pool does for its backends: limits. Thread-safe; see backend_host.
#pragma once

#include <tidepool/backend.hpp>

#include <cstddef>

namespace tidepool {
inline namespace v0 {
namespace detail {

class pool_core;

class pool_host final : public backend_host {
 public:
  explicit pool_host(pool_core& pool) noexcept : pool_(pool) {}
  [[nodiscard]] bool claim(device where, std::size_t bytes) noexcept override;
  void unclaim(device where, std::size_t bytes) noexcept override;

 private:
  pool_core& pool_;
};

}  // namespace detail
}  // namespace v0
}  // namespace tidepool
