// SPDX-License-Identifier: Apache-2.0
//
// Interned names and categories of a pool: small append-only tables. Thread safety: one mutex to
// add; reading a name or priority by id takes none.
#pragma once

#include <tidepool/attributes.hpp>
#include <tidepool/ids.hpp>
#include <tidepool/result.hpp>

#include <array>
#include <atomic>
#include <cstdint>
#include <deque>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>

namespace tidepool {
inline namespace v0 {
namespace detail {

class name_table {
 public:
  static constexpr std::uint32_t most = std::uint32_t{1} << 20;
  [[nodiscard]] result<name_id> intern(std::string_view text) noexcept;
  [[nodiscard]] std::string_view text(name_id id) const noexcept;
  /// Valid ids are 0..last().
  [[nodiscard]] std::uint32_t last() const noexcept {
    return last_.load(std::memory_order_acquire);
  }

 private:
  mutable std::mutex mutex_;
  std::deque<std::string> names_;                            // guarded by mutex_; [id - 1]
  std::unordered_map<std::string_view, std::uint32_t> ids_;  // guarded by mutex_
  std::atomic<std::uint32_t> last_{0};
};

class category_table {
 public:
  category_table() noexcept;
  [[nodiscard]] result<category> add(std::string_view name, std::uint8_t priority) noexcept;
  [[nodiscard]] std::string_view name(category what) const noexcept;
  [[nodiscard]] std::uint8_t priority(category what) const noexcept;
  [[nodiscard]] bool is_known(category what) const noexcept {
    return static_cast<std::uint8_t>(what) < count_.load(std::memory_order_acquire);
  }
  [[nodiscard]] unsigned count() const noexcept { return count_.load(std::memory_order_acquire); }

 private:
  std::mutex mutex_;
  std::atomic<unsigned> count_{built_in_categories};
  std::array<std::string, 256> names_;  // [16, count) set once, before count grows
  std::array<std::uint8_t, 256> priorities_;
};

}  // namespace detail
}  // namespace v0
}  // namespace tidepool
