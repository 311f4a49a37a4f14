// SPDX-License-Identifier: Apache-2.0
//
// The steps of a C program that use no tensor, nulls, and the comparison of sums.
#include "c_api_calls.hpp"

#include <algorithm>
#include <array>
#include <string_view>

namespace tidepool::fuzz {

void c_program::names() {
  char text[8] = {};
  for (std::size_t i = 0; i < 7; ++i) {
    text[i] = static_cast<char>(in_.byte());
  }
  tidepool_name name = 0;
  if (tidepool_intern(pool_, text, &name) == TIDEPOOL_OK) {
    require(std::string_view(tidepool_name_text(pool_, name)) == text, "a name is kept");
  }
  require(tidepool_name_text(pool_, in_.number<std::uint32_t>()) != nullptr, "never null");
  tidepool_category made = 0;
  if (in_.byte() % 16 == 0) {
    (void)tidepool_register_category(pool_, text, in_.byte(), &made);
  }
  require(tidepool_category_name(pool_, in_.byte()) != nullptr, "never null");
}

void c_program::memory() {
  const std::uint8_t kind = in_.byte();
  auto report = sized<tidepool_trim_report>(in_);
  if (!fits(report)) {
    return;
  }
  switch (kind % 6) {
  case 0:
    (void)tidepool_trim_all(pool_, in_.size(24), &report);
    break;
  case 1:
    (void)tidepool_trim(pool_, in_.number<std::uint32_t>(), in_.size(24), nullptr);
    break;
  case 2:
    require(tidepool_tick(pool_) == TIDEPOOL_OK, "tick");
    break;
  case 3:
    require(tidepool_thread_idle(pool_) == TIDEPOOL_OK, "idle");
    break;
  case 4: {
    auto info = sized<tidepool_memory_info>(in_);
    if (fits(info)) {
      (void)tidepool_memory(pool_, tidepool_device_cpu(), &info);
    }
    break;
  }
  default: {
    const std::array items{tidepool_prewarm_item{in_.size(20), in_.byte() % 4U},
                           tidepool_prewarm_item{in_.size(10), in_.byte() % 16U}};
    auto plan = sized<tidepool_prewarm_plan>(in_);
    plan.items = items.data();
    plan.item_count = in_.byte() % 3;
    if (fits(plan)) {
      (void)tidepool_prewarm(pool_, tidepool_device_cpu(), &plan, nullptr);
    }
    break;
  }
  }
}

void c_program::texts() {
  std::array<char, 64> buffer;
  buffer.fill('#');
  const std::size_t size = in_.byte() % 64;
  std::size_t length = 0;
  switch (in_.byte() % 4) {
  case 0:
    length = tidepool_statistics_text(pool_, buffer.data(), size);
    break;
  case 1:
    length = tidepool_statistics_json(pool_, buffer.data(), size);
    break;
  case 2:
    length = tidepool_last_error(buffer.data(), size);
    break;
  default:
    length = tidepool_device_text(in_.number<std::uint32_t>(), buffer.data(), size);
    break;
  }
  require(size == 0 || buffer[std::min(length, size - 1)] == '\0', "a text ends");
  require(std::all_of(buffer.begin() + static_cast<std::ptrdiff_t>(size), buffer.end(),
                      [](char c) { return c == '#'; }),
          "a text ends in its buffer");
  require(tidepool_status_text(in_.number<std::int32_t>()) != nullptr, "never null");
}

// Null in place of what must be there: an answer, always the same.
void c_program::nulls() {
  tidepool_tensor made{};
  tidepool_tensor_id id = 0;
  const auto refused = [](tidepool_status code) {
    require(code == TIDEPOOL_INVALID_ARGUMENT, "a null argument");
  };
  switch (in_.byte() % 8) {
  case 0:
    return refused(tidepool_allocate(nullptr, 1, tidepool_device_cpu(), nullptr, &made));
  case 1:
    return refused(tidepool_allocate(pool_, 1, tidepool_device_cpu(), nullptr, nullptr));
  case 2:
    return refused(tidepool_deallocate(nullptr, pick()));
  case 3:
    return refused(tidepool_find(pool_, foreign_, nullptr));
  case 4:
    return refused(tidepool_info(pool_, pick(), nullptr));
  case 5:
    return refused(tidepool_deallocate_n(pool_, nullptr, 1));
  case 6:
    require(tidepool_find(pool_, nullptr, &id) == TIDEPOOL_NOT_FOUND, "nothing is at null");
    return;
  default:
    return refused(tidepool_intern(pool_, nullptr, nullptr));
  }
}

void c_program::check() {
  const char* const broken = tidepool_verify(pool_);
  require(broken == nullptr, broken == nullptr ? "" : broken);
  tidepool_statistics s{};
  s.size = sizeof s;
  require(tidepool_statistics_read(pool_, tidepool_device_automatic(), &s) == TIDEPOOL_OK,
          "statistics");
  require(s.live == live_.size(), "as many live as are known");
  require(s.misuses == misuses_, "the handler hears of every misuse");
}

void c_program::finish() {
  check();
  while (!live_.empty()) {
    const auto next = std::find_if(live_.begin(), live_.end(), [](const auto& one) {
      return one.second.own + one.second.pins != 0;
    });
    require(next != live_.end(), "somebody owns what is alive");
    const tidepool_tensor_id id = next->first;
    const bool by_pin = next->second.own == 0;
    --(by_pin ? next->second.pins : next->second.own);
    drop(id);
    require((by_pin ? tidepool_unpin(pool_, id) : tidepool_deallocate(pool_, id)) == TIDEPOOL_OK,
            "what is owned can be freed");
  }
  check();
  require(adopted_ == 0, "adopted memory is released once");
  tidepool_trim_report report{};
  report.size = sizeof report;
  require(tidepool_trim_all(pool_, 0, &report) == TIDEPOOL_OK && report.reserved_bytes == 0,
          "all memory goes back");
  std::size_t live = 1;
  require(tidepool_pool_close(pool_, &live) == TIDEPOOL_OK && live == 0, "nothing is left");
}

}  // namespace tidepool::fuzz
