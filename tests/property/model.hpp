// SPDX-License-Identifier: Apache-2.0
//
// A pool beside a model of it: a map of what is alive. Every block holds its tensor's pattern, so a
// block given to two tensors is found. run() answers the first difference in words, or nothing.
#pragma once

#include "operations.hpp"
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
  std::function<void()> end_faults = nullptr;  ///< called before all is given back
};

/// The first difference between the pool and the model, with the operation's number; empty: none.
[[nodiscard]] std::optional<std::string> run(const model_options& options,
                                             const std::vector<operation>& list);

/// A shorter list that fails too, by taking out pieces as long as it does.
[[nodiscard]] std::vector<operation> shrink(const model_options& options,
                                            std::vector<operation> list);

}  // namespace tidepool::test
