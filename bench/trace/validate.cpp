// SPDX-License-Identifier: Apache-2.0
//
// The validator: the ledger's rules, plus the references of events to definitions, plus the balance
// of marks and totals.
#include "trace/validate.hpp"

#include "trace/ledger.hpp"
#include "trace/utf8.hpp"

#include <nlohmann/json.hpp>

#include <array>
#include <exception>
#include <map>
#include <unordered_set>

namespace tidepool::bench::trace {
namespace {

std::string number(std::uint64_t value) {
  return std::to_string(value);
}

std::string explain(const verdict& wrong) {
  const std::string tensor = "tensor " + number(wrong.id);
  const std::string found = number(wrong.found);
  const std::string expected = number(wrong.expected);
  switch (wrong.what) {
  case breach::none:
    break;
  case breach::null_id:
    return "tensor id 0 means none and cannot be allocated";
  case breach::double_alloc:
    return "alloc of " + tensor + ", which lives since event " + expected;
  case breach::old_generation:
    return "alloc of " + tensor + " again with generation " + found + ", its last was " + expected;
  case breach::too_large:
    return tensor + " of " + found + " bytes; at most " + expected + " are allowed";
  case breach::total_overflow:
    return tensor + " of " + found + " bytes: the sum of live bytes overflows";
  case breach::unknown_free:
    return "free of " + tensor + ", which was never allocated";
  case breach::double_free:
    return "free of " + tensor + ", which is free already";
  case breach::unknown_touch:
    return "use of " + tensor + ", which was never allocated";
  case breach::dead_touch:
    return "use of " + tensor + " after its free";
  case breach::wrong_generation:
    return tensor + " has generation " + expected + ", the event says " + found;
  case breach::wrong_size:
    return tensor + " has " + expected + " bytes, the event says " + found;
  case breach::time_went_back:
    return "time went back from " + expected + " to " + found;
  }
  return {};
}

class checker {
 public:
  checker(reader& input, const validate_options& options, validation& report)
      : input_(input), options_(options), report_(report) {}

  void run();

 private:
  struct mark {
    std::uint64_t begin;
    std::uint64_t id;
    std::uint32_t name;
    std::uint8_t scope;
  };

  void add(severity weight, const event_view& seen, std::string reason);
  void add(finding found);
  void check_references(const event_view& seen);
  void check_alloc(const event_view& seen);
  void check_mark(const event_view& seen);
  void check_text(const event_view& seen);
  void check_metadata();
  void check_end();

  reader& input_;
  const validate_options& options_;
  validation& report_;
  ledger book_{true};
  std::map<std::uint16_t, std::vector<mark>> open_marks_;  // by thread
  std::array<std::unordered_set<std::string>, 3> texts_;   // of names, categories, devices
};

void checker::add(finding found) {
  ++(found.weight == severity::error ? report_.error_count : report_.warning_count);
  if (report_.findings.size() < options_.max_findings) {
    report_.findings.push_back(std::move(found));
  }
}

void checker::add(severity weight, const event_view& seen, std::string reason) {
  add({weight, seen.index, seen.offset, std::move(reason)});
}

void checker::check_alloc(const event_view& seen) {
  const event& record = seen.record;
  if (!input_.has_device(record.device)) {
    add(severity::error, seen, "device " + number(record.device) + " is not defined");
  }
  if (record.alignment_log2 > limits::alignment_log2) {
    add(severity::error, seen,
        "an alignment of 2^" + number(record.alignment_log2) + "; at most 2^" +
            number(limits::alignment_log2) + " is allowed");
  }
  if (record.detail > static_cast<std::uint8_t>(outcome::ok_after_retry)) {
    add(severity::error, seen, "unknown outcome " + number(record.detail));
  }
}

void checker::check_references(const event_view& seen) {
  const event& record = seen.record;
  if (record.name > input_.name_count()) {
    add(severity::error, seen, "name " + number(record.name) + " is not defined");
  }
  if (record.category != 0 && !input_.has_category(record.category)) {
    add(severity::error, seen, "category " + number(record.category) + " is not defined");
  }
  if ((record.flags & ~event_flags::known) != 0) {
    add(severity::warning, seen, "unknown flags " + number(record.flags));
  }
  if (record.reserved != 0) {
    add(severity::warning, seen, "a reserved byte is not 0");
  }
}

void checker::check_mark(const event_view& seen) {
  const event& record = seen.record;
  if (record.detail > static_cast<std::uint8_t>(mark_scope::step)) {
    add(severity::warning, seen, "unknown scope " + number(record.detail) + " of a mark");
  }
  auto& open = open_marks_[record.thread];
  if (record.kind == event_kind::mark_begin) {
    open.push_back({seen.index, record.id, record.name, record.detail});
    return;
  }
  const std::string label =
      "\"" + std::string(input_.name(record.name)) + "\" " + number(record.id);
  if (open.empty()) {
    add(severity::warning, seen, "end of " + label + ", but nothing has begun");
    return;
  }
  const mark last = open.back();
  open.pop_back();
  if (last.name != record.name || last.scope != record.detail || last.id != record.id) {
    add(severity::warning, seen,
        "end of " + label + ", but event " + number(last.begin) + " began \"" +
            std::string(input_.name(last.name)) + "\" " + number(last.id));
  }
}

void checker::check_text(const event_view& seen) {
  if (!is_utf8(seen.text())) {
    add(severity::error, seen, "a text is not UTF-8");
  }
  if (seen.record.kind == event_kind::comment) {
    return;
  }
  const auto table = static_cast<std::size_t>(seen.record.kind) -
                     static_cast<std::size_t>(event_kind::define_name);
  if (!texts_[table].emplace(seen.text()).second) {
    add(severity::error, seen, "\"" + std::string(seen.text()) + "\" is defined a second time");
  }
}

void checker::check_metadata() {
  const auto parsed = nlohmann::json::parse(input_.metadata(), nullptr, false);
  if (parsed.is_discarded() || !parsed.is_object()) {
    add({severity::error, no_position, file_header_bytes, "the metadata is not a JSON object"});
  }
}

void checker::check_end() {
  if (input_.failure()) {
    const error& failure = *input_.failure();
    add({severity::error, failure.event, failure.offset,
         std::string(to_string(failure.code)) + ": " + failure.reason});
    return;
  }
  for (const auto& [thread, open] : open_marks_) {
    for (const mark& left : open) {
      add({severity::warning, left.begin, no_position,
           "\"" + std::string(input_.name(left.name)) + "\" begins here and never ends"});
    }
  }
  const totals& said = *input_.footer();
  const totals& counted = book_.sums();
  const auto compare = [&](const char* what, std::uint64_t in_footer, std::uint64_t found) {
    if (in_footer != found) {
      add({severity::error, no_position, no_position,
           std::string("the footer says ") + what + " = " + number(in_footer) +
               ", the events make " + number(found)});
    }
  };
  compare("allocs", said.allocs, counted.allocs);
  compare("frees", said.frees, counted.frees);
  compare("touches", said.touches, counted.touches);
  compare("failed_allocs", said.failed_allocs, counted.failed_allocs);
  compare("allocated_bytes", said.allocated_bytes, counted.allocated_bytes);
  compare("peak_live_bytes", said.peak_live_bytes, counted.peak_live_bytes);
  compare("live_bytes", said.live_bytes, counted.live_bytes);
  if (input_.skipped_count() == 0) {
    compare("last_time", said.last_time, counted.last_time);
  }
}

void checker::run() {
  check_metadata();
  while (const event_view* seen = input_.next()) {
    check_references(*seen);
    switch (seen->record.kind) {
    case event_kind::alloc:
      check_alloc(*seen);
      break;
    case event_kind::touch:
    case event_kind::touch_tensors:
    case event_kind::touch_parts:
      if (seen->record.detail < 1 || seen->record.detail > 3) {
        add(severity::error, *seen, "unknown access " + number(seen->record.detail));
      }
      break;
    case event_kind::mark_begin:
    case event_kind::mark_end:
      check_mark(*seen);
      break;
    case event_kind::define_name:
    case event_kind::define_category:
    case event_kind::define_device:
    case event_kind::comment:
      check_text(*seen);
      break;
    case event_kind::sync:
    case event_kind::trim:
      if (!input_.has_device(seen->record.device)) {
        add(severity::error, *seen, "device " + number(seen->record.device) + " is not defined");
      }
      break;
    case event_kind::free:
    case event_kind::retag:
      break;
    }
    if (const verdict wrong = book_.apply(*seen); wrong.what != breach::none) {
      add(severity::error, *seen, explain(wrong));
    }
    report_.sums = book_.sums();
    if (book_.size() > options_.max_tensors) {
      add(severity::error, *seen,
          "more than " + number(options_.max_tensors) + " tensors: the check ends here");
      return;
    }
  }
  check_end();
  report_.sums.events = input_.event_count();
}

}  // namespace

std::string finding::message() const {
  std::string text = weight == severity::error ? "error: " : "warning: ";
  if (event != no_position) {
    text += "event " + std::to_string(event);
    text += offset != no_position ? " (chunk at byte " + std::to_string(offset) + "): " : ": ";
  } else if (offset != no_position) {
    text += "byte " + std::to_string(offset) + ": ";
  }
  return text + reason;
}

validation validate(reader& input, const validate_options& options) noexcept {
  validation report;
  try {
    checker(input, options, report).run();
  } catch (const std::exception&) {  // std::bad_alloc: the trace has more tensors than memory
    ++report.error_count;
    try {
      report.findings.push_back({.reason = "no memory"});
    } catch (const std::exception&) {
      report.warning_count = 0;  // the count of errors has to say it alone
    }
  }
  return report;
}

}  // namespace tidepool::bench::trace
