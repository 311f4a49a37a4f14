// SPDX-License-Identifier: Apache-2.0
//
// A failing list without what it does not need: pieces are taken out, from halves to single
// operations, and stay out as long as the rest fails.
#include "model.hpp"

#include <utility>

namespace tidepool::test {

std::vector<operation> shrink(const model_options& options, std::vector<operation> list) {
  for (std::size_t piece = list.size() / 2; piece != 0; piece /= 2) {
    for (std::size_t at = 0; at + piece <= list.size();) {
      std::vector<operation> shorter(list.begin(), list.begin() + static_cast<std::ptrdiff_t>(at));
      shorter.insert(shorter.end(), list.begin() + static_cast<std::ptrdiff_t>(at + piece),
                     list.end());
      if (run(options, shorter)) {
        list = std::move(shorter);
      } else {
        at += piece;
      }
    }
  }
  return list;
}

}  // namespace tidepool::test
