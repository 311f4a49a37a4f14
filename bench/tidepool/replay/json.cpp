// SPDX-License-Identifier: Apache-2.0
//
// A replay's figures as one JSON object. The keys up to `machine` are the promise of format version
// 1; later ones may be added behind them.
#include "tidepool/quantity.hpp"
#include "tidepool/replay/report.hpp"
#include <tidepool/version.hpp>

#include <nlohmann/json.hpp>

#include <optional>
#include <string_view>

namespace tidepool::bench {
namespace {

using json = nlohmann::ordered_json;

template <class T>
json or_null(const std::optional<T>& value) {
  return value ? json(*value) : json(nullptr);
}

const contestant_figures* find(const replay_figures& figures, std::string_view name) {
  for (const contestant_figures& each : figures.contestants) {
    if (each.name == name) {
      return &each;
    }
  }
  return nullptr;
}

json median_of(const replay_figures& figures, std::string_view name) {
  const contestant_figures* const found = find(figures, name);
  return found == nullptr ? json(nullptr) : json(found->median_ns);
}

json ratio(const std::optional<std::uint64_t>& reserved, std::uint64_t live) {
  return reserved && live != 0 ? json(static_cast<double>(*reserved) / static_cast<double>(live))
                               : json(nullptr);
}

json machine_json(const machine& here) {
  return {{"cpu", here.cpu},
          {"cores", here.cores},
          {"kernel", here.kernel},
          {"memory_bytes", here.memory_bytes},
          {"page_bytes", here.page_bytes},
          {"transparent_huge_pages", here.huge_pages},
          {"load", here.load},
          {"compiler", here.compiler},
          {"build_type", here.build_type}};
}

json contestant_json(const contestant_figures& of, std::uint64_t live) {
  return {{"name", of.name},
          {"ns_per_op_median", of.median_ns},
          {"ns_per_op_p99", of.p99_ns},
          {"ns_per_op_mean", of.mean_ns},
          {"ns_per_op_median_cold", of.cold_median_ns},
          {"hit_rate", or_null(of.hit_rate)},
          {"hit_rate_cold", or_null(of.hit_rate_cold)},
          {"peak_reserved_bytes", or_null(of.peak_reserved_bytes)},
          {"reserved_over_live", ratio(of.peak_reserved_bytes, live)},
          {"page_faults_per_op", of.page_faults},
          {"page_faults_per_op_cold", of.cold_page_faults},
          {"failed_allocations", of.failures}};
}

json ranking_json(const std::vector<access_figures::ranked>& ranking) {
  json all = json::array();
  for (const access_figures::ranked& each : ranking) {
    all.push_back({{"name", each.name},
                   {"part", each.part == UINT32_MAX ? json(nullptr) : json(each.part)},
                   {"reads", each.count}});
  }
  return all;
}

json accesses_json(const std::optional<access_figures>& of) {
  if (!of) {
    return nullptr;
  }
  return {{"reads", of->reads},
          {"batches", of->batches},
          {"left_out", of->left_out},
          {"ns_per_read_median", of->reads == 0 ? json(nullptr) : json(of->ns_per_read)},
          {"hottest", ranking_json(of->hottest)},
          {"coldest", ranking_json(of->coldest)}};
}

}  // namespace

std::string replay_json(const replay_report& report) {
  const replay_figures& figures = report.figures;
  const contestant_figures& own = figures.contestants.front();
  json out;
  out["trace"] = report.trace;
  out["device"] = device_text(report.settings.where);
  out["threads"] = figures.threads;
  out["touch"] = touch_text(report.settings.touch);
  out["operations"] = figures.operations;
  out["ns_per_op_median"] = own.median_ns;
  out["ns_per_op_p99"] = own.p99_ns;
  out["hit_rate"] = or_null(own.hit_rate);
  out["hit_rate_cold"] = or_null(own.hit_rate_cold);
  out["peak_live_bytes"] = figures.peak_live_bytes;
  out["peak_reserved_bytes"] = or_null(own.peak_reserved_bytes);
  out["reserved_over_live"] = ratio(own.peak_reserved_bytes, figures.peak_live_bytes);
  out["page_faults_per_op"] = own.page_faults;
  out["driver_calls_per_op"] = or_null(own.system_calls);
  out["malloc_ns_per_op_median"] = median_of(figures, "aligned_alloc");
  out["naive_ns_per_op_median"] = median_of(figures, "naive pool");
  out["format_version"] = replay_report::format_version;
  out["machine"] = machine_json(report.machine);
  out["tidepool_version"] = version();
  out["thread_use"] = report.settings.copies == 0 ? "as recorded" : "copies";
  out["warm_passes"] = report.settings.warm_passes;
  out["chunk_operations"] = report.settings.chunk;
  out["prewarm"] = prewarm_text(report.settings.prewarm);
  out["prewarmed_bytes"] = figures.prewarmed_bytes;
  out["limit_bytes"] =
      report.settings.limit_bytes == SIZE_MAX ? json(nullptr) : json(report.settings.limit_bytes);
  out["failed_allocations"] = own.failures;
  out["left_out_allocations"] = report.plan.left_out;
  out["misuses"] = figures.misuses;
  out["harness_ns_per_op_median"] = median_of(figures, "(nothing)");
  out["malloc_unaligned_ns_per_op_median"] = median_of(figures, "malloc");
  out["contestants"] = json::array();
  for (const contestant_figures& each : figures.contestants) {
    out["contestants"].push_back(contestant_json(each, figures.peak_live_bytes));
  }
  out["accesses"] = accesses_json(figures.accesses);
  out["streams"] = figures.streams;
  // A path may hold any bytes; JSON may not.
  return out.dump(2, ' ', false, json::error_handler_t::replace);
}

}  // namespace tidepool::bench
