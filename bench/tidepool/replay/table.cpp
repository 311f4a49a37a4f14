// SPDX-License-Identifier: Apache-2.0
//
// A replay's figures as a table for people.
#include "tidepool/quantity.hpp"
#include "tidepool/replay/report.hpp"
#include <tidepool/version.hpp>

#include <functional>
#include <optional>

namespace tidepool::bench {
namespace {

constexpr std::size_t label_width = 26;
constexpr std::size_t column_width = 14;
constexpr const char* unknown = "-";

std::string right(const std::string& text, std::size_t width) {
  return text.size() >= width ? " " + text : std::string(width - text.size(), ' ') + text;
}
std::string left(std::string text, std::size_t width) {
  text.resize(std::max(width, text.size()), ' ');
  return text;
}

class table {
 public:
  explicit table(const replay_report& report) : report_(report) {}

  void row(const std::string& label,
           const std::function<std::string(const contestant_figures&)>& cell) {
    text_ += "  " + left(label, label_width);
    for (const contestant_figures& each : report_.figures.contestants) {
      text_ += right(cell(each), column_width);
    }
    text_ += '\n';
  }
  void line(const std::string& text) { text_ += text + '\n'; }
  [[nodiscard]] std::string take() { return std::move(text_); }

 private:
  const replay_report& report_;
  std::string text_;
};

bool is_nothing(const contestant_figures& of) {
  return of.name == "(nothing)";
}

std::string optional_text(const std::optional<double>& value, int digits = 4) {
  return value ? figure_text(*value, digits) : unknown;
}

std::string threads_text(const replay_report& report) {
  if (report.settings.copies == 0) {
    return std::to_string(report.figures.threads) + " threads as recorded";
  }
  return report.figures.threads == 1
             ? std::string("1 thread")
             : std::to_string(report.figures.threads) + " threads, each its own copy of the trace";
}

void add_head(table& out, const replay_report& report) {
  const replay_settings& settings = report.settings;
  out.line("tidepool " + std::string(version()) + " replay of " + report.trace);
  out.line("  " + count_text(report.figures.operations) + " operations (" +
           count_text(report.plan.allocations) + " allocations and " +
           count_text(report.plan.frees) + " frees a copy, " +
           count_text(report.plan.distinct_sizes) + " sizes), " + threads_text(report));
  out.line("  device " + device_text(settings.where) + ", touch " + touch_text(settings.touch) +
           ", 1 cold pass + " + std::to_string(settings.warm_passes) + " warm, prewarm " +
           prewarm_text(settings.prewarm) +
           (settings.limit_bytes == SIZE_MAX ? std::string{}
                                             : ", limit " + bytes_text(settings.limit_bytes)));
  out.line("  " + report.machine.cpu + ", " + std::to_string(report.machine.cores) +
           " cores, load " + figure_text(report.machine.load) + ", " + report.machine.build_type);
  out.line("");
}

void add_rows(table& out, const replay_report& report) {
  const replay_figures& figures = report.figures;
  out.row("", [](const auto& of) { return of.name; });
  out.row("operations", [&](const auto&) { return count_text(figures.operations); });
  out.row("ns per operation, median", [](const auto& of) { return figure_text(of.median_ns); });
  out.row("ns per operation, p99", [](const auto& of) { return figure_text(of.p99_ns); });
  out.row("ns per operation, mean", [](const auto& of) { return figure_text(of.mean_ns); });
  out.row("  median, first pass", [](const auto& of) { return figure_text(of.cold_median_ns); });
  out.row("hit rate, warm", [](const auto& of) { return optional_text(of.hit_rate); });
  out.row("hit rate, first pass", [](const auto& of) { return optional_text(of.hit_rate_cold); });
  out.row("peak live", [&](const auto& of) {
    return is_nothing(of) ? unknown : bytes_text(figures.peak_live_bytes);
  });
  out.row("peak reserved", [](const auto& of) {
    return of.peak_reserved_bytes ? bytes_text(*of.peak_reserved_bytes) : unknown;
  });
  out.row("reserved / live", [&](const auto& of) {
    return of.peak_reserved_bytes && figures.peak_live_bytes != 0
               ? figure_text(static_cast<double>(*of.peak_reserved_bytes) /
                                 static_cast<double>(figures.peak_live_bytes),
                             4)
               : unknown;
  });
  out.row("page faults / operation", [](const auto& of) { return figure_text(of.page_faults); });
  out.row("  first pass", [](const auto& of) { return figure_text(of.cold_page_faults); });
  out.row("system calls / operation",
          [](const auto& of) { return optional_text(of.system_calls); });
  out.row("failed allocations", [](const auto& of) { return count_text(of.failures); });
}

std::string ranking_text(const std::vector<access_figures::ranked>& ranking) {
  std::string text;
  for (const access_figures::ranked& each : ranking) {
    text += (text.empty() ? "" : ", ") + (each.name.empty() ? "(unnamed)" : each.name);
    text += each.part == UINT32_MAX ? "" : " part " + std::to_string(each.part);
    text += " (" + count_text(each.count) + ")";
  }
  return text;
}

void add_accesses(table& out, const access_figures& of) {
  out.line("");
  out.line("  Recorded reads, through access_tracker::record: " + count_text(of.reads) + " in " +
           count_text(of.batches) + " batches, " + figure_text(of.ns_per_read) +
           " ns per read (median of the passes)" +
           (of.left_out == 0 ? "." : "; " + count_text(of.left_out) + " of untracked tensors."));
  out.line("  Hottest at the end: " + ranking_text(of.hottest));
  out.line("  Coldest at the end: " + ranking_text(of.coldest));
}

}  // namespace

const char* touch_text(touch_mode touch) noexcept {
  switch (touch) {
  case touch_mode::none:
    return "none";
  case touch_mode::line:
    return "line";
  case touch_mode::all:
    return "all";
  }
  return "";
}

const char* prewarm_text(prewarm_mode prewarm) noexcept {
  switch (prewarm) {
  case prewarm_mode::none:
    return "none";
  case prewarm_mode::seed:
    return "seed";
  case prewarm_mode::trace:
    return "trace";
  }
  return "";
}

std::string replay_table(const replay_report& report) {
  table out(report);
  add_head(out, report);
  add_rows(out, report);
  out.line("");
  out.line("  \"(nothing)\" allocates nothing: the cost of replaying, contained in every column.");
  if (report.plan.left_out != 0) {
    out.line("  Left out: " + count_text(report.plan.left_out) +
             " allocations that failed when recorded or are memory owned elsewhere.");
  }
  if (report.plan.trace_devices > 1) {
    out.line("  The trace's " + count_text(report.plan.trace_devices) +
             " devices are all replayed on " + device_text(report.settings.where) + ".");
  }
  if (report.figures.streams != 0) {
    out.line("  Streams: the trace's " + count_text(report.figures.streams) +
             " beside the default one; no work runs on them.");
  }
  if (report.plan.trace_threads > 1 && report.settings.copies != 0) {
    out.line("  The trace's " + count_text(report.plan.trace_threads) +
             " threads are replayed in their common order by each thread.");
  }
  if (report.figures.prewarmed_bytes != 0) {
    out.line("  Prewarmed: " + bytes_text(report.figures.prewarmed_bytes) + ".");
  }
  if (report.figures.accesses && report.figures.accesses->reads != 0) {
    add_accesses(out, *report.figures.accesses);
  }
  return out.take();
}

}  // namespace tidepool::bench
