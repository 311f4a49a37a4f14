// SPDX-License-Identifier: Apache-2.0
//
// A pool beside a model of it: a map of what is alive. Every block holds its tensor's pattern, so a
// block given to two tensors is found. run() answers the first difference in words, or nothing.
#pragma once

#include "operations.hpp"
#include <tidepool/control.hpp>
#include <tidepool/failing_backend.hpp>
#include <tidepool/pool.hpp>

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace tidepool::test {

struct model_options {
  std::function<std::unique_ptr<backend>()> make_backend;
  pool_options pool;
  std::size_t check_every = 8;  ///< operations between walks over all invariants
  /// Faults are injected: whatever needs memory may lack it, and trim may free less.
  bool may_run_out = false;
  std::function<void(tidepool::pool&)> end_faults = [](tidepool::pool&) {
  };  ///< called before all is given back

  /// An answer that a limit or a fault may give.
  [[nodiscard]] bool is_lack(errc code) const {
    return (code == errc::over_budget && (pool.limit_bytes != SIZE_MAX || may_run_out)) ||
           (code == errc::out_of_memory && may_run_out);
  }
};

/// For model_options::end_faults: nothing fails any more, and what was refused is done.
inline void end_faults(failing_backend& faults, pool& p) noexcept {
  faults.order({});
  for (int i = 0; i < 4; ++i) {
    (void)p.control().trim();  // a refused give-back is tried again by the next
  }
}

/// The first difference between the pool and the model, with the operation's number; empty: none.
[[nodiscard]] std::optional<std::string> run(const model_options& options,
                                             const std::vector<operation>& list);

/// A shorter list that fails too, by taking out pieces as long as it does.
[[nodiscard]] std::vector<operation> shrink(const model_options& options,
                                            std::vector<operation> list);

}  // namespace tidepool::test
