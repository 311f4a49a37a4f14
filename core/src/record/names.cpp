// SPDX-License-Identifier: Apache-2.0
//
// Names and categories. The eviction priorities of the built-in categories are those of inference
// runtimes: caches and staging memory are evicted first, work in progress last.
#include "record/names.hpp"

#include <exception>

namespace tidepool {
inline namespace v0 {
namespace detail {

result<name_id> name_table::intern(std::string_view text) noexcept {
  const std::lock_guard lock(mutex_);
  if (const auto known = ids_.find(text); known != ids_.end()) {
    return name_id::from_value(known->second);
  }
  const auto id = static_cast<std::uint32_t>(names_.size() + 1);
  if (id > most) {
    return status{.code = errc::too_many, .text = "2^20 names are interned"};
  }
  try {
    names_.emplace_back(text);
    try {
      ids_.emplace(names_.back(), id);
    } catch (...) {
      names_.pop_back();
      throw;
    }
  } catch (const std::exception&) {
    return status{
        .code = errc::out_of_memory, .requested = text.size(), .text = "interning a name"};
  }
  last_.store(id, std::memory_order_release);
  return name_id::from_value(id);
}

std::string_view name_table::text(name_id id) const noexcept {
  const std::lock_guard lock(mutex_);
  return id.value() == 0 || id.value() > names_.size() ? std::string_view{}
                                                       : std::string_view{names_[id.value() - 1]};
}

namespace {
struct built_in {
  std::string_view name;
  std::uint8_t priority;
};
constexpr std::array<built_in, built_in_categories> built_ins{{
    {"temporary", 255},
    {"activation", 255},
    {"workspace", 255},
    {"input", 200},
    {"output", 200},
    {"staging", 20},
    {"communication", 255},
    {"gradient", 200},
    {"weight", 120},
    {"kv_cache", 100},
    {"expert", 80},
    {"embedding", 110},
    {"adapter", 90},
    {"optimizer", 60},
    {"persistent", 150},
    {"other", 140},
}};
}  // namespace

category_table::category_table() noexcept : priorities_{} {
  for (unsigned i = 0; i < built_in_categories; ++i) {
    priorities_[i] = built_ins[i].priority;
  }
}

result<category> category_table::add(std::string_view name, std::uint8_t priority) noexcept {
  const std::lock_guard lock(mutex_);
  const unsigned id = count_.load(std::memory_order_relaxed);
  if (id == 256) {
    return status{.code = errc::too_many, .text = "256 categories are registered"};
  }
  try {
    names_[id] = name;
  } catch (const std::exception&) {
    return status{
        .code = errc::out_of_memory, .requested = name.size(), .text = "registering a category"};
  }
  priorities_[id] = priority;
  count_.store(id + 1, std::memory_order_release);
  return static_cast<category>(id);
}

std::string_view category_table::name(category what) const noexcept {
  const auto id = static_cast<std::uint8_t>(what);
  if (id < built_in_categories) {
    return built_ins[id].name;
  }
  return is_known(what) ? std::string_view{names_[id]} : std::string_view{};
}

std::uint8_t category_table::priority(category what) const noexcept {
  return is_known(what) ? priorities_[static_cast<std::uint8_t>(what)] : std::uint8_t{0};
}

}  // namespace detail
}  // namespace v0
}  // namespace tidepool
