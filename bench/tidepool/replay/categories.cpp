// SPDX-License-Identifier: Apache-2.0
//
// The table of category names, and the questions that it answers.
#include "tidepool/replay/categories.hpp"

#include <algorithm>
#include <array>
#include <cstdint>
#include <exception>

namespace tidepool::bench {
namespace {

struct named_category {
  std::string_view name;
  category value;
};

// A test compares it with the names that a pool gives its built-in categories.
constexpr auto named_categories = std::to_array<named_category>({
    {"temporary", category::temporary},
    {"activation", category::activation},
    {"workspace", category::workspace},
    {"input", category::input},
    {"output", category::output},
    {"staging", category::staging},
    {"communication", category::communication},
    {"gradient", category::gradient},
    {"weight", category::weight},
    {"kv_cache", category::kv_cache},
    {"expert", category::expert},
    {"embedding", category::embedding},
    {"adapter", category::adapter},
    {"optimizer", category::optimizer},
    {"persistent", category::persistent},
    {"other", category::other},
});
static_assert(named_categories.size() == built_in_categories,
              "a new built-in category of the library needs its name in this table");

}  // namespace

std::optional<category> built_in_category(std::string_view name) noexcept {
  const auto* const found =
      std::find_if(named_categories.begin(), named_categories.end(),
                   [name](const named_category& each) { return each.name == name; });
  return found == named_categories.end() ? std::nullopt : std::optional(found->value);
}

bool is_evictable_name(std::string_view name) noexcept {
  const std::optional<category> found = built_in_category(name);
  return found && is_evictable(*found);
}

category category_of(pool& target, std::string_view name) noexcept {
  if (name.empty()) {
    return category::temporary;
  }
  if (const std::optional<category> found = built_in_category(name)) {
    return *found;
  }
  for (unsigned value = built_in_categories; value <= 255; ++value) {
    const auto each = static_cast<category>(value);
    if (target.category_name(each) == name) {
      return each;
    }
  }
  try {
    constexpr std::uint8_t middle_priority = 128;
    return target.register_category(name, middle_priority);
  } catch (const std::exception&) {
    return category::other;
  }
}

}  // namespace tidepool::bench
