// SPDX-License-Identifier: Apache-2.0
//
// prewarm_plan: the seed system's plan, plans made from a stream of sizes, and the sum of a plan.
#include <tidepool/prewarm.hpp>
#include <tidepool/size_class.hpp>

#include <algorithm>

namespace tidepool {
inline namespace v0 {

prewarm_plan prewarm_plan::seed(device where) {
  constexpr std::size_t kib = 1024;
  return {.items = {{4 * kib, 256},
                    {64 * kib, 128},
                    {512 * kib, 64},
                    {4096 * kib, 32},
                    {32768 * kib, 16}},
          .where = where};
}

prewarm_plan prewarm_plan::from_sizes(std::span<const std::ptrdiff_t> events, device where) {
  struct level {
    std::size_t now = 0;
    std::size_t most = 0;
    std::size_t largest = 0;
  };
  std::vector<level> levels(size_class_count);
  for (const std::ptrdiff_t event : events) {
    const auto bytes = event < 0 ? std::size_t{0} - static_cast<std::size_t>(event)
                                 : static_cast<std::size_t>(event);
    if (bytes == 0) {
      continue;
    }
    level& l = levels[size_class_of(bytes) - first_size_class];
    if (event > 0) {
      l.most = std::max(l.most, ++l.now);
      l.largest = std::max(l.largest, bytes);
    } else if (l.now != 0) {
      --l.now;
    }
  }
  prewarm_plan plan;
  plan.where = where;
  for (unsigned i = 0; i < size_class_count; ++i) {
    if (levels[i].most != 0) {
      plan.items.push_back({levels[i].largest, levels[i].most});
    }
  }
  return plan;
}

std::size_t prewarm_plan::total_bytes() const noexcept {
  std::size_t total = 0;
  for (const prewarm_item& item : items) {
    const std::size_t each = item.bytes == 0 ? 0
                             : item.bytes <= largest_small_block
                                 ? size_of_class(size_class_of(item.bytes))
                                 : item.bytes;
    std::size_t sum = 0;
    if (__builtin_mul_overflow(each, item.count, &sum) ||
        __builtin_add_overflow(total, sum, &total)) {
      return SIZE_MAX;
    }
  }
  return total;
}

}  // namespace v0
}  // namespace tidepool
