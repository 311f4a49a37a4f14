// SPDX-License-Identifier: Apache-2.0
//
// validate, dump and pack: what the trace library can do, from the command line.
#include "tidepool/commands.hpp"
#include "tidepool/quantity.hpp"
#include "trace/text.hpp"
#include "trace/validate.hpp"

#include <cstdio>
#include <fstream>
#include <iostream>

namespace tidepool::bench {
namespace {

const char* kind_text(trace::event_kind kind) noexcept {
  switch (kind) {
  case trace::event_kind::alloc:
    return "alloc";
  case trace::event_kind::free:
    return "free";
  case trace::event_kind::touch:
    return "touch";
  case trace::event_kind::retag:
    return "retag";
  case trace::event_kind::sync:
    return "sync";
  case trace::event_kind::trim:
    return "trim";
  case trace::event_kind::mark_begin:
    return "begin";
  case trace::event_kind::mark_end:
    return "end";
  case trace::event_kind::define_name:
    return "name";
  case trace::event_kind::define_category:
    return "category";
  case trace::event_kind::define_device:
    return "device";
  case trace::event_kind::touch_tensors:
    return "touch tensors";
  case trace::event_kind::touch_parts:
    return "touch parts";
  case trace::event_kind::comment:
    return "comment";
  }
  return "?";
}

/// One line for people.
void print_event(const trace::reader& input, const trace::event_view& seen) {
  const trace::event& record = seen.record;
  std::printf("%10llu  %-13s", static_cast<unsigned long long>(seen.index), kind_text(record.kind));
  const bool is_text = record.kind == trace::event_kind::define_name ||
                       record.kind == trace::event_kind::define_category ||
                       record.kind == trace::event_kind::define_device ||
                       record.kind == trace::event_kind::comment;
  if (is_text) {
    std::printf("  %.*s\n", static_cast<int>(seen.text().size()), seen.text().data());
    return;
  }
  if (record.id != 0) {
    std::printf("  id %llu", static_cast<unsigned long long>(record.id));
  }
  if (record.kind == trace::event_kind::touch_tensors) {
    std::printf("  %zu tensors", seen.ids().size());
  } else if (record.kind == trace::event_kind::touch_parts) {
    std::printf("  %zu parts", seen.parts().size());
  } else if (record.bytes != 0) {
    std::printf("  %s", bytes_text(record.bytes).c_str());
  }
  if (record.kind == trace::event_kind::alloc) {
    const std::string_view category = input.category(record.category);
    const std::string_view device = input.device(record.device);
    std::printf("  %.*s  on %.*s", static_cast<int>(category.size()), category.data(),
                static_cast<int>(device.size()), device.data());
  }
  const std::string_view name = input.name(record.name);
  if (!name.empty()) {
    std::printf("  \"%.*s\"", static_cast<int>(name.size()), name.data());
  }
  std::printf("\n");
}

}  // namespace

exit_code validate_trace(const std::string& path) {
  trace::result<trace::reader> input = trace::reader::open(path);
  if (!input) {
    return report_bad_trace(path, input.error());
  }
  const trace::validation found = trace::validate(*input);
  for (const trace::finding& each : found.findings) {
    std::printf("%s\n", each.message().c_str());
  }
  const std::uint64_t all = found.error_count + found.warning_count;
  if (all > found.findings.size()) {
    std::printf("... and %s more\n", count_text(all - found.findings.size()).c_str());
  }
  std::printf("%s: %s events, %s errors, %s warnings, peak live %s\n", path.c_str(),
              count_text(found.sums.events).c_str(), count_text(found.error_count).c_str(),
              count_text(found.warning_count).c_str(),
              bytes_text(found.sums.peak_live_bytes).c_str());
  return found.is_valid() ? exit_code::ok : exit_code::bad_trace;
}

exit_code dump_trace(const std::string& path, bool is_json) {
  trace::result<trace::reader> input = trace::reader::open(path);
  if (!input) {
    return report_bad_trace(path, input.error());
  }
  if (is_json) {
    const trace::status done = trace::dump(*input, std::cout);
    std::cout.flush();
    return done ? exit_code::ok : report_bad_trace(path, done.error());
  }
  while (const trace::event_view* seen = input->next()) {
    print_event(*input, *seen);
  }
  return input->failure() ? report_bad_trace(path, *input->failure()) : exit_code::ok;
}

exit_code pack_trace(const std::string& from, const std::string& to) {
  std::ifstream file;
  if (from != "-") {
    file.open(from);
    if (!file) {
      return report_bad_trace(from, {.code = trace::errc::io, .reason = "cannot be opened"});
    }
  }
  const trace::result<trace::totals> packed = trace::pack(from == "-" ? std::cin : file, to);
  if (!packed) {
    if (to != "-") {
      std::remove(to.c_str());  // half a trace helps nobody
    }
    return report_bad_trace(from, packed.error());
  }
  std::fprintf(stderr, "%s: %s events, peak live %s\n", to.c_str(),
               count_text(packed->events).c_str(), bytes_text(packed->peak_live_bytes).c_str());
  return exit_code::ok;
}

}  // namespace tidepool::bench
