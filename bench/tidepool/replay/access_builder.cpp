// SPDX-License-Identifier: Apache-2.0
//
// Collects reads into batches.
#include "tidepool/replay/access_builder.hpp"

#include <algorithm>
#include <utility>

namespace tidepool::bench {
namespace {

constexpr std::uint32_t most_parts = 1U << 20;  // of all tensors together

}  // namespace

void access_builder::add_allocation(const trace::event& record, bool is_tracked) {
  if (!is_tracked || record.detail == static_cast<std::uint8_t>(trace::outcome::out_of_memory)) {
    return;
  }
  const auto number = static_cast<std::uint32_t>(plan_.tensors.size());
  live_[record.id] = number;
  plan_.tensors.push_back({.name = record.name, .category = record.category});
  plan_.steps.push_back({access_plan::step_kind::begin, number, 0});
}

void access_builder::add_free(const trace::event& record) {
  const auto found = live_.find(record.id);
  if (found == live_.end()) {
    return;
  }
  if (in_batch_.count(found->second) != 0) {
    end_batch();
  }
  plan_.steps.push_back({access_plan::step_kind::end, found->second, 0});
  live_.erase(found);
}

void access_builder::add_touch(const trace::event_view& seen) {
  if ((seen.record.detail & static_cast<std::uint8_t>(trace::access::read)) == 0) {
    return;
  }
  if (seen.record.kind == trace::event_kind::touch) {
    add_read(seen.record.id, access_plan::whole);
  } else if (seen.record.kind == trace::event_kind::touch_tensors) {
    for (std::size_t i = 0; i < seen.ids().size(); ++i) {
      add_read(seen.ids()[i], access_plan::whole);
    }
  } else {
    for (std::size_t i = 0; i < seen.parts().size(); ++i) {
      add_read(seen.record.id, seen.parts()[i]);
    }
  }
}

void access_builder::add_read(std::uint64_t id, std::uint32_t part) {
  const auto found = live_.find(id);
  if (found == live_.end() || !fit_part(found->second, part)) {
    ++plan_.left_out;
    return;
  }
  in_batch_.insert(found->second);
  plan_.reads.push_back({found->second, part});
  ++batch_reads_;
}

bool access_builder::fit_part(std::uint32_t tensor, std::uint32_t part) {
  if (part == access_plan::whole) {
    return true;
  }
  std::uint32_t& parts = plan_.tensors[tensor].parts;
  if (part >= most_parts) {
    return false;
  }
  const std::uint32_t more = std::max(parts, part + 1) - parts;
  if (all_parts_ + more > most_parts) {
    return false;
  }
  parts += more;
  all_parts_ += more;
  return true;
}

void access_builder::end_batch() {
  if (batch_reads_ != 0) {
    plan_.steps.push_back({access_plan::step_kind::read,
                           static_cast<std::uint32_t>(plan_.reads.size() - batch_reads_),
                           static_cast<std::uint32_t>(batch_reads_)});
  }
  in_batch_.clear();
  batch_reads_ = 0;
}

access_plan access_builder::take() {
  end_batch();
  for (access_plan::tensor& each : plan_.tensors) {
    each.first_element = plan_.elements;
    plan_.elements += each.parts;
  }
  live_.clear();
  all_parts_ = 0;
  return std::exchange(plan_, {});
}

}  // namespace tidepool::bench
