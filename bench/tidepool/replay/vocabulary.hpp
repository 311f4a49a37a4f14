// SPDX-License-Identifier: Apache-2.0
//
// A trace's names and categories as one pool knows them: looked up once, before any clock runs.
// Immutable once made, so any thread may ask it.
#pragma once

#include "tidepool/replay/plan.hpp"
#include <tidepool/pool.hpp>

#include <cstdint>
#include <vector>

namespace tidepool::bench {

class vocabulary {
 public:
  /// Interns the plan's names in `target` and registers the categories that it does not have.
  /// Throws std::bad_alloc.
  vocabulary(pool& target, const replay_plan& plan);

  /// The pool's name of the trace's name `number`. The empty one where the trace defines none, or
  /// the pool could not intern it.
  [[nodiscard]] name_id name_of(std::uint32_t number) const noexcept {
    return number < names_.size() ? names_[number] : name_id{};
  }
  /// The pool's category of the trace's category `number`; category::temporary where the trace
  /// defines none.
  [[nodiscard]] category category_of(std::uint8_t number) const noexcept {
    return number < categories_.size() ? categories_[number] : category::temporary;
  }

 private:
  std::vector<name_id> names_;
  std::vector<category> categories_;
};

}  // namespace tidepool::bench
