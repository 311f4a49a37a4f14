// SPDX-License-Identifier: Apache-2.0
//
// A row of the table, and the scene it is played in: a pool with bystanders, tensors that a misuse
// of others must not touch.
#pragma once

#include "../support/small_cpu.hpp"
#include <tidepool/control.hpp>
#include <tidepool/pool.hpp>

#include <cstddef>
#include <cstring>
#include <memory>
#include <optional>
#include <ostream>
#include <thread>
#include <utility>
#include <vector>

namespace tidepool::test {

inline constexpr auto stale_free = misuse_kind::stale_free;
inline constexpr auto stale_use = misuse_kind::stale_use;
inline constexpr auto foreign = misuse_kind::foreign_id;
inline constexpr auto closed = misuse_kind::after_close;
inline constexpr auto unbalanced = misuse_kind::unbalanced;

class scene {
 public:
  explicit scene(const pool_options& options = {}) : p(small_cpu(), listening(options)) {
    for (const std::size_t bytes : {std::size_t{100}, std::size_t{100}, 5 * kib, 2 * mib}) {
      bystanders_.push_back(p.allocate(bytes));
      std::memset(bystanders_.back().data(), 0x5a, bytes);
    }
  }
  scene(const scene&) = delete;
  scene& operator=(const scene&) = delete;

  /// A tensor of the size that a bystander has too, as an id to free by hand.
  [[nodiscard]] tensor_id raw(std::size_t bytes = 100, const allocation_options& options = {}) {
    return p.allocate(bytes, device::cpu(), options).release();
  }
  /// Such a tensor, freed already.
  [[nodiscard]] tensor_id freed(std::size_t bytes = 100, const allocation_options& options = {}) {
    const tensor_id id = raw(bytes, options);
    (void)p.deallocate(id);
    return id;
  }
  [[nodiscard]] const tensor& bystander() const { return bystanders_.front(); }
  [[nodiscard]] const std::vector<tensor>& bystanders() const { return bystanders_; }
  void end() { bystanders_.clear(); }
  template <class F>
  static void in_thread(F&& f) {
    std::thread(std::forward<F>(f)).join();
  }

  std::vector<misuse_report> reports;
  std::optional<tensor_id> free_again;  // what the misuse handler does wrong itself
  pool p;                               // after what its handler uses

 private:
  std::vector<tensor> bystanders_;
  [[nodiscard]] pool_options listening(pool_options options) {
    options.on_misuse = [](const misuse_report& report, void* context) {
      auto& self = *static_cast<scene*>(context);
      self.reports.push_back(report);
      if (const auto id = std::exchange(self.free_again, std::nullopt)) {
        (void)self.p.deallocate(*id);
      }
    };
    options.misuse_context = this;
    return options;
  }
};

/// One row. No kind: an error or a right use, but no misuse of an id.
struct misuse {
  const char* name;
  errc answer;                      ///< of the last, wrong call
  std::optional<misuse_kind> told;  ///< to the handler
  errc (*play)(scene& s);
  std::size_t times = 1;  ///< told
};

inline std::ostream& operator<<(std::ostream& out, const misuse& row) {
  return out << row.name;
}

[[nodiscard]] std::vector<misuse> wrong_frees();
[[nodiscard]] std::vector<misuse> wrong_references();
[[nodiscard]] std::vector<misuse> wrong_uses();
[[nodiscard]] std::vector<misuse> wrong_arguments();

inline constexpr std::optional<misuse_kind> nothing = std::nullopt;

}  // namespace tidepool::test
