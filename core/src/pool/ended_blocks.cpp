// SPDX-License-Identifier: Apache-2.0
//
// Blocks that several streams have used: given to the backend, or held in an arena.
#include "pool/ended_blocks.hpp"

#include <array>
#include <mutex>

namespace tidepool {
inline namespace v0 {
namespace detail {

namespace {

// The streams that a block has to be passed by. More than there is room for are ordered before the
// last one.
class stream_list {
 public:
  void add(const stream_ref& stream) noexcept {
    if (n_ < streams_.size() - 1) {
      streams_[n_++] = stream;
    } else {
      streams_.back() = untold_stream();
      is_full_ = true;
    }
  }
  [[nodiscard]] bool has_room() const noexcept { return n_ < streams_.size() - 1; }
  [[nodiscard]] std::span<const stream_ref> get() const noexcept {
    return std::span(streams_).first(n_ + (is_full_ ? 1 : 0));
  }

 private:
  std::array<stream_ref, 17> streams_;
  std::size_t n_ = 0;
  bool is_full_ = false;  // the last place says that some are untold
};

// For host memory, a call that names no stream would mean that no stream uses the block. So the
// device's own lane becomes its default stream here.
[[nodiscard]] stream_ref stream_of(const lane& where) noexcept {
  const stream_ref stream = where.stream();
  return stream.is_none() ? stream_ref{.kind = stream_kind::legacy} : stream;
}

// Pre: the tensor's end is counted.
void give_counted(pool_core& core, record& slot, const ended_block& how,
                  lane_numbers others) noexcept {
  lane& own = core.lanes.of(slot);
  lane& last = how.last == nullptr ? own : *how.last;
  const block held = core.directory.slots.block_of(slot);
  core.stock.unbind(slot);
  stream_list after;
  if (how.is_untold) {
    after.add(untold_stream());
  }
  if (!own.device->is_for_host() || how.last != nullptr) {
    after.add(stream_of(last));
  }
  for (const std::uint16_t number : others) {
    if (number == stream_uses::untold) {
      after.add(untold_stream());
    } else if (after.has_room() || !core.order(core.lanes.at(number), last)) {
      after.add(stream_of(core.lanes.at(number)));
    }
  }
  last.device->source->take_back_after(last.device->where, held, after.get());
}

void link(lane& arena, record& slot) noexcept {
  const std::lock_guard lock(arena.mutex);
  set_next(slot, arena.held);
  arena.held = &slot;
  arena.ready_bytes().fetch_add(slot.capacity.load(std::memory_order_relaxed),
                                std::memory_order_relaxed);
}

// Calls f(slot) for each held block, which is linked no more.
template <class F>
void for_each_unlinked(lane& arena, F&& f) noexcept {
  record* list = nullptr;
  {
    const std::lock_guard lock(arena.mutex);
    list = std::exchange(arena.held, nullptr);
  }
  while (list != nullptr) {
    record& slot = *list;
    list = next_of(slot);
    arena.ready_bytes().fetch_sub(slot.capacity.load(std::memory_order_relaxed),
                                  std::memory_order_relaxed);
    f(slot);
  }
}

}  // namespace

void give_after(pool_core& core, record& slot, const ended_block& how,
                lane_numbers others) noexcept {
  core.stock.count_ended(core.lanes.of(slot), slot.size_class.load(std::memory_order_relaxed),
                         how.bytes);
  give_counted(core, slot, how, others);
}

void hold(pool_core& core, record& slot, const ended_block& how, lane_numbers others) noexcept {
  lane& arena = core.lanes.of(slot);
  const std::uint32_t index = core.directory.index_of(slot);
  stream_uses& uses = core.directory.uses_elsewhere;
  bool is_noted = !how.is_untold || uses.add(index, stream_uses::untold);
  is_noted = (how.last == nullptr || uses.add(index, how.last->number)) && is_noted;
  for (const std::uint16_t number : others) {
    is_noted = uses.add(index, number) && is_noted;
  }
  core.stock.count_ended(arena, slot.size_class.load(std::memory_order_relaxed), how.bytes);
  link(arena, slot);
  if (!is_noted) {
    const std::lock_guard lock(arena.mutex);
    arena.keeps_held = true;
  }
}

void settle_held(pool_core& core, lane& arena, const lane& stream) noexcept {
  if (arena.keeps_held) {
    return;
  }
  stream_uses& uses = core.directory.uses_elsewhere;
  for_each_unlinked(arena, [&](record& slot) {
    const stream_uses::lanes others =
        uses.take(core.directory.index_of(slot)).value_or(stream_uses::lanes{});
    bool is_ordered = true;
    for (const std::uint16_t number : others) {
      // What an untold stream did with the block was captured with the arena before: the
      // application replays such graphs one after the other.
      if (number != stream_uses::untold && number != stream.number) {
        is_ordered = core.order(core.lanes.at(number), stream) && is_ordered;
      }
    }
    if (is_ordered) {
      core.stock.give_back(arena, slot);
    } else {
      bool is_noted = true;
      for (const std::uint16_t number : others) {
        is_noted = uses.add(core.directory.index_of(slot), number) && is_noted;
      }
      link(arena, slot);
      arena.keeps_held = arena.keeps_held || !is_noted;
    }
  });
}

void give_held_back(pool_core& core, lane& arena, lane& last) noexcept {
  const bool is_untold = arena.keeps_held;
  for_each_unlinked(arena, [&](record& slot) {
    const stream_uses::lanes others =
        core.directory.uses_elsewhere.take(core.directory.index_of(slot))
            .value_or(stream_uses::lanes{});
    give_counted(core, slot, {.last = &last, .is_untold = is_untold}, others);
  });
  arena.keeps_held = false;
}

}  // namespace detail
}  // namespace v0
}  // namespace tidepool
