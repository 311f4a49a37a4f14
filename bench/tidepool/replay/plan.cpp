// SPDX-License-Identifier: Apache-2.0
//
// Decodes a trace into a replay_plan.
#include "tidepool/replay/plan.hpp"

#include <algorithm>
#include <new>
#include <optional>
#include <unordered_map>
#include <unordered_set>

namespace tidepool::bench {
namespace {

constexpr std::size_t most_threads = 64;
constexpr std::uint64_t most_live_bytes = std::uint64_t{1} << 62;
constexpr std::uint32_t most_slots = (std::uint32_t{1} << 31) - 1;
constexpr std::uint32_t no_slot = ~std::uint32_t{0};

/// The error of a failed outcome. Not inlined: g++ 12 at -O3 takes the variant's alternative for a
/// null pointer (-Wnull-dereference) where it sees through both this and the copy.
template <class Outcome>
[[gnu::noinline]] const trace::error& error_of(const Outcome& failed) noexcept {
  return failed.error();
}

class decoder {
 public:
  decoder(trace::reader& input, const decode_options& options) noexcept
      : input_(input), options_(options) {}

  trace::result<replay_plan> run() {
    plan_.names.emplace_back();
    plan_.categories.emplace_back();
    while (const trace::event_view* seen = input_.next()) {
      if (trace::status taken = take(*seen); !taken) {
        return error_of(taken);
      }
    }
    if (input_.failure()) {
      return *input_.failure();
    }
    plan_.trace_threads = threads_.size();
    plan_.distinct_sizes = sizes_.size();
    plan_.operations = plan_.allocations + plan_.frees;
    if (plan_.threads.empty()) {
      plan_.threads.emplace_back();
    }
    if (plan_.threads.size() == 1) {
      recycle_slots();
    }
    return std::move(plan_);
  }

 private:
  struct live_tensor {
    std::uint64_t bytes = 0;
    std::uint32_t slot = no_slot;  // no_slot: left out
    std::uint16_t stream = 0;      // the plan's number
    std::uint8_t device = 0;       // a free does not say it again
  };

  trace::status take(const trace::event_view& seen) {
    switch (seen.record.kind) {
    case trace::event_kind::alloc:
      return take_allocation(seen);
    case trace::event_kind::free:
      return take_free(seen);
    case trace::event_kind::define_name:
      define(plan_.names, seen.record.id, seen.text());
      return {};
    case trace::event_kind::define_category:
      define(plan_.categories, seen.record.category, seen.text());
      return {};
    case trace::event_kind::define_device:
      ++plan_.trace_devices;
      return {};
    default:
      return {};
    }
  }

  trace::status take_allocation(const trace::event_view& seen) {
    const trace::event& record = seen.record;
    if (record.detail == static_cast<std::uint8_t>(trace::outcome::out_of_memory)) {
      ++plan_.left_out;
      return {};
    }
    if (record.bytes > trace::limits::tensor_bytes ||
        record.alignment_log2 > trace::limits::alignment_log2) {
      return wrong(seen, "a size or an alignment beyond the limits of the format");
    }
    if (live_bytes_ > most_live_bytes - record.bytes) {
      return wrong(seen, "more live bytes than any machine can address");
    }
    const auto [place, is_new] = live_.try_emplace(record.id);
    if (!is_new) {
      return wrong(seen, "an allocation of a tensor that is alive");
    }
    place->second.bytes = record.bytes;
    if ((record.flags & trace::event_flags::external) != 0) {
      ++plan_.left_out;
      return {};
    }
    if (plan_.slot_count == most_slots) {
      return wrong(seen, "more allocations than a replay can hold");
    }
    place->second.slot = plan_.slot_count++;
    const trace::result<std::vector<replay_op>*> list = list_of(seen);
    if (!list) {
      return error_of(list);
    }
    const std::optional<std::uint16_t> stream = stream_of(record.device, record.stream);
    if (!stream) {
      return wrong(seen, "more than 2047 streams");
    }
    place->second.stream = *stream;
    place->second.device = record.device;
    (*list)->push_back(replay_op::allocate(
        place->second.slot,
        {.bytes = record.bytes,
         .alignment_log2 = record.alignment_log2,
         .category = record.category,
         .name = record.name <= replay_op::most_names ? record.name : std::uint32_t{0},
         .stream = *stream}));
    count_allocation(record.bytes);
    return {};
  }

  trace::status take_free(const trace::event_view& seen) {
    const auto found = live_.find(seen.record.id);
    if (found == live_.end()) {
      return wrong(seen, "a free of a tensor that is not alive");
    }
    const live_tensor ended = found->second;
    live_.erase(found);
    if (ended.slot == no_slot) {
      return {};
    }
    const trace::result<std::vector<replay_op>*> list = list_of(seen);
    if (!list) {
      return error_of(list);
    }
    const std::optional<std::uint16_t> stream = stream_of(ended.device, seen.record.stream);
    if (!stream) {
      return wrong(seen, "more than 2047 streams");
    }
    (*list)->push_back(*stream == ended.stream ? replay_op::free(ended.slot)
                                               : replay_op::free_on(ended.slot, *stream));
    ++plan_.frees;
    live_bytes_ -= ended.bytes;
    --live_tensors_;
    if (options_.keep_sizes) {
      plan_.sizes.push_back(-static_cast<std::ptrdiff_t>(ended.bytes));
    }
    return {};
  }

  void count_allocation(std::uint64_t bytes) {
    live_bytes_ += bytes;
    ++live_tensors_;
    if (live_bytes_ > plan_.peak_live_bytes) {
      plan_.peak_live_bytes = live_bytes_;
      plan_.peak_operation = plan_.allocations + plan_.frees;
    }
    ++plan_.allocations;
    plan_.peak_tensors = std::max(plan_.peak_tensors, live_tensors_);
    sizes_.insert(bytes);
    if (options_.keep_sizes) {
      plan_.sizes.push_back(static_cast<std::ptrdiff_t>(bytes));
    }
  }

  /// So far each allocation has a slot of its own, because the frees of several threads have no
  /// common order. A single thread's do: the slot freed last is used first, and the replay's own
  /// array stays in the cache.
  void recycle_slots() {
    std::vector<std::uint32_t> free_slots;
    std::vector<std::uint32_t> new_slot(plan_.slot_count);
    std::uint32_t used = 0;
    for (replay_op& op : plan_.threads.front()) {
      std::uint32_t& slot = new_slot[op.slot()];
      if (op.is_free()) {
        free_slots.push_back(slot);
      } else if (free_slots.empty()) {
        slot = used++;
      } else {
        slot = free_slots.back();
        free_slots.pop_back();
      }
      op.move_to(slot);
    }
    plan_.slot_count = used;
  }

  trace::result<std::vector<replay_op>*> list_of(const trace::event_view& seen) {
    const auto [place, is_new] = threads_.try_emplace(seen.record.thread, threads_.size());
    const std::size_t list = options_.threads == thread_use::one ? 0 : place->second;
    if (list >= most_threads) {
      return wrong(seen, "more than 64 threads: replay it with --threads");
    }
    if (list >= plan_.threads.size()) {
      plan_.threads.resize(list + 1);
    }
    return &plan_.threads[list];
  }

  /// The plan's number of a device's stream: 0 is the default stream of every device, the others
  /// are numbered as they come. Nothing: there are too many.
  std::optional<std::uint16_t> stream_of(std::uint8_t device, std::uint16_t stream) {
    if (stream == 0) {
      return std::uint16_t{0};
    }
    const auto next = static_cast<std::uint16_t>(plan_.streams + 1);
    const std::uint32_t key = std::uint32_t{device} << 16 | stream;
    const auto [place, is_new] = streams_.try_emplace(key, next);
    if (is_new) {
      if (next > replay_op::most_streams) {
        return std::nullopt;
      }
      plan_.streams = next;
    }
    return place->second;
  }

  static void define(std::vector<std::string>& texts, std::size_t index, std::string_view text) {
    if (index >= texts.size()) {
      texts.resize(index + 1);
    }
    texts[index] = text;
  }

  static trace::error wrong(const trace::event_view& seen, const char* reason) {
    return trace::error{.code = trace::errc::invalid,
                        .offset = seen.offset,
                        .event = seen.index,
                        .line = trace::no_position,
                        .reason = reason};
  }

  trace::reader& input_;
  const decode_options options_;
  replay_plan plan_;
  std::unordered_map<std::uint64_t, live_tensor> live_;
  std::unordered_map<std::uint16_t, std::size_t> threads_;
  std::unordered_map<std::uint32_t, std::uint16_t> streams_;
  std::unordered_set<std::uint64_t> sizes_;
  std::uint64_t live_bytes_ = 0;
  std::uint64_t live_tensors_ = 0;
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
