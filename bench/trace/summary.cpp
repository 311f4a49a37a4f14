// SPDX-License-Identifier: Apache-2.0
//
// Gathers the figures of summary.hpp in one pass over the events.
#include "trace/summary.hpp"

#include "trace/ledger.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <cstdio>
#include <exception>
#include <unordered_map>

namespace tidepool::bench::trace {
namespace {

constexpr std::size_t common_size_count = 16;

class gatherer {
 public:
  explicit gatherer(reader& input) noexcept : input_(input) {}
  result<summary> run();

 private:
  struct live_bytes {
    std::uint64_t now = 0;
    std::uint64_t peak = 0;
    std::uint64_t at_peak = 0;
    std::uint64_t allocs = 0;
    std::uint64_t allocated = 0;
  };

  void take(const event_view& seen, const ledger::tensor* before);
  void take_alloc(const event_view& seen);
  void take_mark(const event_view& seen);
  void finish();
  static lifetime_summary percentiles(std::vector<std::uint64_t>& lifetimes);

  reader& input_;
  ledger book_{false};
  std::array<live_bytes, 256> categories_{};
  std::unordered_map<std::uint64_t, std::uint64_t> sizes_;
  std::vector<std::uint64_t> lifetimes_;
  std::unordered_map<std::uint32_t, std::size_t> phase_of_name_;
  std::vector<std::size_t> open_phases_;  // positions in result_.phases
  std::uint64_t live_count_ = 0;
  summary result_;
};

void gatherer::take_alloc(const event_view& seen) {
  const event& record = seen.record;
  live_bytes& own = categories_[record.category];
  ++own.allocs;
  own.allocated += record.bytes;
  own.now += record.bytes;
  own.peak = std::max(own.peak, own.now);
  ++sizes_[record.bytes];
  ++live_count_;
  result_.peak_tensors = std::max(result_.peak_tensors, live_count_);
  if (book_.sums().live_bytes > result_.sums.peak_live_bytes) {
    result_.sums.peak_live_bytes = book_.sums().live_bytes;
    result_.peak_event = seen.index;
    for (live_bytes& each : categories_) {
      each.at_peak = each.now;
    }
  }
  if (!open_phases_.empty()) {
    phase_summary& phase = result_.phases[open_phases_.back()];
    ++phase.allocs;
  }
}

void gatherer::take_mark(const event_view& seen) {
  const event& record = seen.record;
  if (record.detail != static_cast<std::uint8_t>(mark_scope::phase)) {
    return;
  }
  if (record.kind == event_kind::mark_end) {
    if (!open_phases_.empty()) {
      open_phases_.pop_back();
    }
    return;
  }
  const auto [at, is_new] = phase_of_name_.emplace(record.name, result_.phases.size());
  if (is_new) {
    result_.phases.push_back({.name = std::string(input_.name(record.name))});
  }
  open_phases_.push_back(at->second);
}

/// `before` is the tensor that a free or retag is about, as it was before the event.
void gatherer::take(const event_view& seen, const ledger::tensor* before) {
  const event& record = seen.record;
  switch (record.kind) {
  case event_kind::alloc:
    if (record.detail != static_cast<std::uint8_t>(outcome::out_of_memory)) {
      take_alloc(seen);
    }
    break;
  case event_kind::free:
    categories_[before->category].now -= before->bytes;
    lifetimes_.push_back(seen.index - before->begin);
    --live_count_;
    break;
  case event_kind::retag: {
    live_bytes& own = categories_[record.category];
    categories_[before->category].now -= before->bytes;
    own.now += before->bytes;
    own.peak = std::max(own.peak, own.now);
    break;
  }
  case event_kind::mark_begin:
  case event_kind::mark_end:
    take_mark(seen);
    break;
  default:
    break;
  }
  if (!open_phases_.empty()) {
    phase_summary& phase = result_.phases[open_phases_.back()];
    ++phase.events;
    phase.peak_live_bytes = std::max(phase.peak_live_bytes, book_.sums().live_bytes);
  }
}

lifetime_summary gatherer::percentiles(std::vector<std::uint64_t>& lifetimes) {
  lifetime_summary found;
  found.count = lifetimes.size();
  if (lifetimes.empty()) {
    return found;
  }
  std::sort(lifetimes.begin(), lifetimes.end());
  const auto rank = [&](std::size_t percent) {  // nearest rank
    return lifetimes[(lifetimes.size() * percent + 99) / 100 - 1];
  };
  found.p50 = rank(50);
  found.p90 = rank(90);
  found.p99 = rank(99);
  found.max = lifetimes.back();
  return found;
}

void gatherer::finish() {
  result_.sums = book_.sums();
  result_.sums.events = input_.event_count();
  result_.live_tensors = live_count_;
  result_.distinct_sizes = sizes_.size();
  std::vector<size_summary> sizes;
  sizes.reserve(sizes_.size());
  for (const auto& [bytes, count] : sizes_) {
    sizes.push_back({bytes, count});
  }
  std::sort(sizes.begin(), sizes.end(), [](const size_summary& a, const size_summary& b) {
    return a.count != b.count ? a.count > b.count : a.bytes < b.bytes;
  });
  sizes.resize(std::min(sizes.size(), common_size_count));
  result_.common_sizes = std::move(sizes);
  for (std::size_t i = 0; i < categories_.size(); ++i) {
    const live_bytes& own = categories_[i];
    if (own.allocs == 0 && own.peak == 0) {
      continue;
    }
    const std::string name(input_.category(static_cast<std::uint8_t>(i)));
    result_.categories.push_back({.name = name.empty() ? "unspecified" : name,
                                  .allocs = own.allocs,
                                  .allocated_bytes = own.allocated,
                                  .own_peak_bytes = own.peak,
                                  .bytes_at_peak = own.at_peak});
  }
  result_.lifetimes = percentiles(lifetimes_);
}

result<summary> gatherer::run() {
  while (const event_view* seen = input_.next()) {
    ledger::tensor before;
    if (seen->record.kind == event_kind::free || seen->record.kind == event_kind::retag) {
      if (const ledger::tensor* known = book_.find(seen->record.id); known != nullptr) {
        before = *known;
      }
    }
    if (book_.apply(*seen).what != breach::none) {
      error failure;
      failure.offset = seen->offset;
      failure.event = seen->index;
      failure.reason = "the event breaks a rule: validate the trace";
      return failure;
    }
    take(*seen, &before);
  }
  if (input_.failure()) {
    return *input_.failure();
  }
  finish();
  return std::move(result_);
}

std::string line(const char* label, std::uint64_t value, const char* unit = "") {
  std::array<char, 96> text{};
  std::snprintf(text.data(), text.size(), "%-22s %15llu%s\n", label,
                static_cast<unsigned long long>(value), unit);
  return text.data();
}

std::string in_mib(std::uint64_t bytes) {
  std::array<char, 48> text{};
  std::snprintf(text.data(), text.size(), "%.2f MiB",
                static_cast<double>(bytes) / (1024.0 * 1024.0));
  return text.data();
}

}  // namespace

result<summary> summarize(reader& input) noexcept {
  try {
    return gatherer(input).run();
  } catch (const std::exception&) {
    return error{.code = errc::out_of_memory, .reason = "no memory"};
  }
}

std::string to_text(const summary& figures) {
  const totals& sums = figures.sums;
  std::string text =
      line("events", sums.events) + line("allocs", sums.allocs) +
      line("failed allocs", sums.failed_allocs) + line("frees", sums.frees) +
      line("tensors touched", sums.touches) + line("distinct sizes", figures.distinct_sizes) +
      line("allocated", sums.allocated_bytes, " bytes") +
      line("peak live", sums.peak_live_bytes, " bytes") +
      line("peak at event", figures.peak_event) + line("peak live tensors", figures.peak_tensors) +
      line("live at end", sums.live_bytes, " bytes") +
      line("live tensors at end", figures.live_tensors);
  const lifetime_summary& lives = figures.lifetimes;
  text += "lifetime in events     p50 " + std::to_string(lives.p50) + ", p90 " +
          std::to_string(lives.p90) + ", p99 " + std::to_string(lives.p99) + ", max " +
          std::to_string(lives.max) + " (" + std::to_string(lives.count) + " freed)\n";
  for (const category_summary& each : figures.categories) {
    text += "category " + each.name + ": " + std::to_string(each.allocs) + " allocs, own peak " +
            in_mib(each.own_peak_bytes) + ", at the peak " + in_mib(each.bytes_at_peak) + "\n";
  }
  for (const phase_summary& each : figures.phases) {
    text += "phase " + each.name + ": " + std::to_string(each.events) + " events, " +
            std::to_string(each.allocs) + " allocs, peak " + in_mib(each.peak_live_bytes) + "\n";
  }
  for (const size_summary& each : figures.common_sizes) {
    text += "size " + std::to_string(each.bytes) + ": " + std::to_string(each.count) + " allocs\n";
  }
  return text;
}

std::string to_json(const summary& figures) {
  using json = nlohmann::ordered_json;
  const totals& sums = figures.sums;
  json root = {{"events", sums.events},
               {"allocs", sums.allocs},
               {"failed_allocs", sums.failed_allocs},
               {"frees", sums.frees},
               {"touches", sums.touches},
               {"distinct_sizes", figures.distinct_sizes},
               {"allocated_bytes", sums.allocated_bytes},
               {"peak_live_bytes", sums.peak_live_bytes},
               {"peak_event", figures.peak_event},
               {"peak_live_tensors", figures.peak_tensors},
               {"live_bytes", sums.live_bytes},
               {"live_tensors", figures.live_tensors}};
  const lifetime_summary& lives = figures.lifetimes;
  root["lifetime_events"] = {{"count", lives.count},
                             {"p50", lives.p50},
                             {"p90", lives.p90},
                             {"p99", lives.p99},
                             {"max", lives.max}};
  root["categories"] = json::array();
  for (const category_summary& each : figures.categories) {
    root["categories"].push_back({{"name", each.name},
                                  {"allocs", each.allocs},
                                  {"allocated_bytes", each.allocated_bytes},
                                  {"own_peak_bytes", each.own_peak_bytes},
                                  {"bytes_at_peak", each.bytes_at_peak}});
  }
  root["phases"] = json::array();
  for (const phase_summary& each : figures.phases) {
    root["phases"].push_back({{"name", each.name},
                              {"events", each.events},
                              {"allocs", each.allocs},
                              {"peak_live_bytes", each.peak_live_bytes}});
  }
  root["common_sizes"] = json::array();
  for (const size_summary& each : figures.common_sizes) {
    root["common_sizes"].push_back({{"bytes", each.bytes}, {"count", each.count}});
  }
  return root.dump(2, ' ', false, json::error_handler_t::replace);
}

}  // namespace tidepool::bench::trace
