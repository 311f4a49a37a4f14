// SPDX-License-Identifier: Apache-2.0
//
// Reads a trace once, from its start to its end. It takes what the trace defines (names,
// categories, devices) itself and hands the other events to the two that need them: allocations
// and frees to operation_builder, and, on request, these and the reads to access_builder.
#include "tidepool/replay/access_builder.hpp"
#include "tidepool/replay/categories.hpp"
#include "tidepool/replay/operation_builder.hpp"
#include "tidepool/replay/plan.hpp"
#include "trace/reader.hpp"

#include <algorithm>
#include <exception>
#include <string_view>
#include <utility>

namespace tidepool::bench {
namespace {

/// The error of a failed outcome. Not inlined: g++ 12 at -O3 takes the variant's alternative for a
/// null pointer (-Wnull-dereference) where it sees through both this and the copy.
template <class Outcome>
[[gnu::noinline]] const trace::error& error_of(const Outcome& failed) noexcept {
  return failed.error();
}

class decoder {
 public:
  decoder(trace::reader& input, const decode_options& options)
      : input_(input), keep_accesses_(options.keep_accesses), operations_(options) {}

  trace::result<replay_plan> run() {
    while (const trace::event_view* seen = input_.next()) {
      if (trace::status taken = take(*seen); !taken) {
        return error_of(taken);
      }
    }
    if (input_.failure()) {
      return *input_.failure();
    }
    replay_plan plan = operations_.take();
    plan.names = std::move(names_);
    plan.categories = std::move(categories_);
    plan.trace_devices = devices_;
    plan.accesses = accesses_.take();
    return plan;
  }

 private:
  trace::status take(const trace::event_view& seen) {
    switch (seen.record.kind) {
    case trace::event_kind::alloc:
      if (keep_accesses_) {
        accesses_.add_allocation(seen.record, is_tracked(seen.record));
      }
      return operations_.add_allocation(seen);
    case trace::event_kind::free:
      if (keep_accesses_) {
        accesses_.add_free(seen.record);
      }
      return operations_.add_free(seen);
    case trace::event_kind::define_name:
      define(names_, seen.record.id, seen.text());
      break;
    case trace::event_kind::define_category:
      define(categories_, seen.record.category, seen.text());
      break;
    case trace::event_kind::define_device:
      ++devices_;
      break;
    default:
      if (keep_accesses_) {
        take_access(seen);
      }
      break;
    }
    return {};
  }

  void take_access(const trace::event_view& seen) {
    switch (seen.record.kind) {
    case trace::event_kind::touch:
    case trace::event_kind::touch_tensors:
    case trace::event_kind::touch_parts:
      accesses_.add_touch(seen);
      break;
    case trace::event_kind::mark_begin:
    case trace::event_kind::mark_end:
      accesses_.end_batch();
      break;
    default:
      break;
    }
  }

  [[nodiscard]] bool is_tracked(const trace::event& record) const noexcept {
    return (record.flags & trace::event_flags::tracked) != 0 ||
           (record.category < categories_.size() &&
            is_evictable_name(categories_[record.category]));
  }

  static void define(std::vector<std::string>& texts, std::size_t index, std::string_view text) {
    texts.resize(std::max(texts.size(), index + 1));
    texts[index] = text;
  }

  trace::reader& input_;
  const bool keep_accesses_;
  operation_builder operations_;
  access_builder accesses_;
  std::vector<std::string> names_{""};
  std::vector<std::string> categories_{""};
  std::uint64_t devices_ = 0;
};

}  // namespace

trace::result<replay_plan> decode(const std::string& path, const decode_options& options) noexcept {
  try {
    trace::result<trace::reader> input = trace::reader::open(path);
    if (!input) {
      return error_of(input);
    }
    return decoder(*input, options).run();
  } catch (const std::exception& failure) {
    // bad_alloc or length_error of a container: the trace is larger than this machine's memory.
    return trace::error{.code = trace::errc::out_of_memory, .reason = failure.what()};
  }
}

}  // namespace tidepool::bench
