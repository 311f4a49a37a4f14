// SPDX-License-Identifier: Apache-2.0
//
// Counting down to planted faults.
#include "runtime/injection.hpp"

#include <algorithm>
#include <charconv>

namespace cudasim {

void injection::plant(std::string_view call, std::uint64_t nth, int error, bool stays) {
  planted_[std::string(call)].push_back({nth == 0 ? 1 : nth, error, stays});
}

bool injection::plant(std::string_view text) {
  while (!text.empty()) {
    const std::string_view item = text.substr(0, text.find(','));
    text.remove_prefix(std::min(text.size(), item.size() + 1));
    const std::size_t first = item.find(':');
    const std::size_t second = item.find(':', first == item.npos ? first : first + 1);
    if (second == item.npos) {
      return false;
    }
    std::uint64_t nth = 0;
    int error = 0;
    const char* const end = item.data() + item.size();
    const auto read_nth = std::from_chars(item.data() + first + 1, item.data() + second, nth);
    const auto read_error = std::from_chars(item.data() + second + 1, end, error);
    const bool stays = read_nth.ptr != item.data() + second && *read_nth.ptr == '+';
    if (read_nth.ec != std::errc{} || read_error.ec != std::errc{} || read_error.ptr != end) {
      return false;
    }
    plant(item.substr(0, first), nth, error, stays);
  }
  return true;
}

int injection::next(std::string_view call) {
  const auto found = planted_.find(call);
  if (found == planted_.end()) {
    return 0;
  }
  int answer = 0;
  std::vector<one>& faults = found->second;
  for (auto it = faults.begin(); it != faults.end();) {
    if (--it->left != 0) {
      ++it;
      continue;
    }
    answer = it->error;
    if (it->stays) {
      it->left = 1;
      ++it;
    } else {
      it = faults.erase(it);
    }
  }
  return answer;
}

}  // namespace cudasim
