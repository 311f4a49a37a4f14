// SPDX-License-Identifier: Apache-2.0
//
// Numbers slots, threads and streams, and counts what is alive.
#include "tidepool/replay/operation_builder.hpp"

#include <algorithm>
#include <utility>

namespace tidepool::bench {
namespace {

constexpr std::size_t most_threads = 64;
constexpr std::uint64_t most_live_bytes = std::uint64_t{1} << 62;
constexpr std::uint32_t most_slots = (std::uint32_t{1} << 31) - 1;
constexpr const char* too_many_threads = "more than 64 threads: replay it with --threads";
constexpr const char* too_many_streams = "more than 2047 streams";

trace::error wrong(const trace::event_view& seen, const char* reason) {
  return trace::error{.code = trace::errc::invalid,
                      .offset = seen.offset,
                      .event = seen.index,
                      .line = trace::no_position,
                      .reason = reason};
}

}  // namespace

trace::status operation_builder::check_size(const trace::event_view& seen) const {
  const trace::event& record = seen.record;
  if (record.bytes > trace::limits::tensor_bytes ||
      record.alignment_log2 > trace::limits::alignment_log2) {
    return wrong(seen, "a size or an alignment beyond the limits of the format");
  }
  if (live_bytes_ > most_live_bytes - record.bytes) {
    return wrong(seen, "more live bytes than any machine can address");
  }
  return {};
}

trace::status operation_builder::add_allocation(const trace::event_view& seen) {
  const trace::event& record = seen.record;
  if (record.detail == static_cast<std::uint8_t>(trace::outcome::out_of_memory)) {
    ++plan_.left_out;
    return {};
  }
  if (trace::status fits = check_size(seen); !fits) {
    return fits;
  }
  const auto [place, is_new] = live_.try_emplace(record.id);
  if (!is_new) {
    return wrong(seen, "an allocation of a tensor that is alive");
  }
  live_tensor& tensor = place->second;
  tensor.bytes = record.bytes;
  if ((record.flags & trace::event_flags::external) != 0) {
    ++plan_.left_out;
    return {};
  }
  if (plan_.slot_count == most_slots) {
    return wrong(seen, "more allocations than a replay can hold");
  }
  tensor.slot = plan_.slot_count++;
  std::vector<replay_op>* const list = list_of(record.thread);
  if (list == nullptr) {
    return wrong(seen, too_many_threads);
  }
  const std::optional<std::uint16_t> stream = stream_of(record.device, record.stream);
  if (!stream) {
    return wrong(seen, too_many_streams);
  }
  tensor.stream = *stream;
  tensor.device = record.device;
  list->push_back(replay_op::allocate(
      tensor.slot, {.bytes = record.bytes,
                    .alignment_log2 = record.alignment_log2,
                    .category = record.category,
                    .name = record.name <= replay_op::most_names ? record.name : std::uint32_t{0},
                    .stream = *stream}));
  count_allocation(record.bytes);
  return {};
}

trace::status operation_builder::add_free(const trace::event_view& seen) {
  const auto found = live_.find(seen.record.id);
  if (found == live_.end()) {
    return wrong(seen, "a free of a tensor that is not alive");
  }
  const live_tensor ended = found->second;
  live_.erase(found);
  if (ended.slot == no_slot) {
    return {};
  }
  std::vector<replay_op>* const list = list_of(seen.record.thread);
  if (list == nullptr) {
    return wrong(seen, too_many_threads);
  }
  const std::optional<std::uint16_t> stream = stream_of(ended.device, seen.record.stream);
  if (!stream) {
    return wrong(seen, too_many_streams);
  }
  list->push_back(*stream == ended.stream ? replay_op::free(ended.slot)
                                          : replay_op::free_on(ended.slot, *stream));
  count_free(ended.bytes);
  return {};
}

void operation_builder::count_allocation(std::uint64_t bytes) {
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

void operation_builder::count_free(std::uint64_t bytes) {
  ++plan_.frees;
  live_bytes_ -= bytes;
  --live_tensors_;
  if (options_.keep_sizes) {
    plan_.sizes.push_back(-static_cast<std::ptrdiff_t>(bytes));
  }
}

/// So far each allocation has a slot of its own, because the frees of several threads have no
/// common order. A single thread's do: the slot freed last is used first, and the replay's own
/// array stays in the cache.
void operation_builder::recycle_slots() {
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

/// The operations of the thread that the trace calls `thread`. Null: there are too many threads.
std::vector<replay_op>* operation_builder::list_of(std::uint16_t thread) {
  const auto [place, is_new] = threads_.try_emplace(thread, threads_.size());
  const std::size_t list = options_.threads == thread_use::one ? 0 : place->second;
  if (list >= most_threads) {
    return nullptr;
  }
  if (list >= plan_.threads.size()) {
    plan_.threads.resize(list + 1);
  }
  return &plan_.threads[list];
}

/// The plan's number of a device's stream: 0 is the default stream of every device, the others
/// are numbered as they come. Nothing: there are too many.
std::optional<std::uint16_t> operation_builder::stream_of(std::uint8_t device,
                                                          std::uint16_t stream) {
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

replay_plan operation_builder::take() {
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

}  // namespace tidepool::bench
