// SPDX-License-Identifier: Apache-2.0
//
// Looks up a trace's names and categories in a pool.
#include "tidepool/replay/vocabulary.hpp"

#include "tidepool/replay/categories.hpp"

#include <string>

namespace tidepool::bench {

vocabulary::vocabulary(pool& target, const replay_plan& plan) {
  names_.reserve(plan.names.size());
  for (const std::string& text : plan.names) {
    const result<name_id> interned =
        text.empty() ? result<name_id>(name_id{}) : target.try_intern(text);
    names_.push_back(interned ? *interned : name_id{});
  }
  categories_.reserve(plan.categories.size());
  for (const std::string& text : plan.categories) {
    categories_.push_back(bench::category_of(target, text));
  }
}

}  // namespace tidepool::bench
