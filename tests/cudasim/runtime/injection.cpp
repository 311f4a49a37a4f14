// SPDX-License-Identifier: Apache-2.0
//
// Counting down to planted faults.
#include "runtime/injection.hpp"

#include <algorithm>
#include <charconv>

namespace cudasim {

void injection::plant(std::string_view call, std::uint64_t nth, int error, effect how) {
  planted_[std::string(call)].push_back({nth == 0 ? 1 : nth, error, how});
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
    if (read_nth.ec != std::errc{} || read_error.ec != std::errc{} || read_error.ptr != end) {
      return false;
    }
    const std::string_view mark(read_nth.ptr,
                                static_cast<std::size_t>(item.data() + second - read_nth.ptr));
    if (mark != "" && mark != "+" && mark != "!") {
      return false;
    }
    const std::string_view call = item.substr(0, first);
    plant(call == "*" ? "" : call, nth, error,
          mark == "+"   ? effect::stays
          : mark == "!" ? effect::loses_device
                        : effect::once);
  }
  return true;
}

injection::strike injection::count_down(std::vector<one>& faults) {
  strike answer;
  for (auto it = faults.begin(); it != faults.end();) {
    if (--it->left != 0) {
      ++it;
      continue;
    }
    answer = {it->error, answer.loses_device || it->how == effect::loses_device};
    if (it->how == effect::stays) {
      it->left = 1;
      ++it;
    } else {
      it = faults.erase(it);
    }
  }
  return answer;
}

injection::strike injection::next(std::string_view call) {
  strike answer;
  for (const std::string_view name : {std::string_view(), call}) {
    if (const auto found = planted_.find(name); found != planted_.end()) {
      const strike made = count_down(found->second);
      answer = made.error != 0 ? made : answer;
    }
  }
  if (answer.error != 0) {
    ++struck_;
    latest_ = call;
  }
  return answer;
}

injection::strike injection::next_named(std::string_view call) {
  const auto found = planted_.find(call);
  const strike answer = found == planted_.end() ? strike{} : count_down(found->second);
  if (answer.error != 0) {
    ++struck_;
    latest_ = call;
  }
  return answer;
}

}  // namespace cudasim
