// SPDX-License-Identifier: Apache-2.0
//
// Blocks between the backend, ready lists and magazines: binding a block to a slot, giving blocks
// back, and how many a thread may keep.
#include "debug/layer.hpp"
#include "pool/pool_core.hpp"
#include <tidepool/assert.hpp>

#include <algorithm>

namespace tidepool {
inline namespace v0 {
namespace detail {

namespace {

constexpr std::size_t kib = 1024;
constexpr std::size_t mib = 1024 * kib;

// How many blocks of a class a thread keeps at most, as far as its byte budget allows.
constexpr std::size_t most_in_magazine(std::size_t block_bytes) noexcept {
  if (block_bytes <= 64 * kib) {
    return magazine_slots;
  }
  if (block_bytes <= mib) {
    return std::clamp<std::size_t>(4 * mib / block_bytes, 8, magazine_slots);
  }
  return block_bytes <= 64 * mib ? 4 : 1;
}

// The class whose requests a block of this length always serves: its own where it is exact.
unsigned class_of_block(std::size_t bytes) noexcept {
  unsigned c = size_class_of(bytes);
  if (bytes > largest_small_block) {
    return c;
  }
  while (size_of_class(c) > bytes && c > first_size_class) {
    --c;
  }
  return c;
}

}  // namespace

bool pool_core::bind(lane& where, const block& what, record& slot) noexcept {
  const unsigned size_class = class_of_block(what.bytes);
  const bool cached = lanes.is_cached(where);
  directory.slots.cold(slot).cookie = what.cookie;
  slot.fit = what.bytes;
  slot.data.store(what.data, std::memory_order_release);
  slot.capacity.store(what.bytes, std::memory_order_release);
  slot.lane.store(where.number, std::memory_order_release);
  slot.size_class.store(static_cast<std::uint16_t>(size_class), std::memory_order_seq_cst);
  slot.magazine.store(cached ? front_cache::offset_of(where.number, size_class)
                             : front_cache::offset_of_none(),
                      std::memory_order_release);
  if (debug_ != nullptr) [[unlikely]] {
    debug_->on_bind(slot);
  }
  return directory.pointers.enter_block(slot);
}

// Pre: the slot is free or retired. Post: it may be bound to another block or released.
void pool_core::unbind(record& slot) noexcept {
  const void* const data = slot.data.load(std::memory_order_relaxed);
  slot.size_class.store(0, std::memory_order_seq_cst);
  directory.pointers.forget_block(slot, data);
  directory.slots.release(slot);
}

// Answers the bytes given.
std::size_t pool_core::give_to_backend(lane& where, record* list) noexcept {
  std::array<block, 64> batch;
  std::size_t bytes = 0;
  while (list != nullptr) {
    std::size_t n = 0;
    std::array<record*, batch.size()> taken;
    while (n < batch.size() && list != nullptr) {
      record& r = *list;
      list = next_of(r);
      const block held = directory.slots.block_of(r);
      where.ready_bytes().fetch_sub(held.bytes, std::memory_order_relaxed);
      // In use through a second free of the same tensor: not ours to give away.
      if (const std::uint64_t header = r.header.load(std::memory_order_acquire);
          directory.slots.is_taken(r, header)) {
        incidents.count_misuse(misuse_kind::racing_free);
        continue;
      }
      taken[n] = &r;
      batch[n++] = held;
      bytes += held.bytes;
    }
    for (std::size_t i = 0; i < n; ++i) {
      unbind(*taken[i]);
    }
    where.device->source->take_back(where.device->where, std::span(batch).first(n), where.stream());
  }
  return bytes;
}

// Blocks kept in a ready list without being asked to.
std::size_t pool_core::ready_limit(unsigned size_class) const noexcept {
  const std::size_t bytes = size_of_class(size_class);
  return bytes > largest_small_block ? 0 : std::clamp<std::size_t>(2 * mib / bytes, 4, 1024);
}

void pool_core::give_back(lane& where, unsigned size_class,
                          std::span<record* const> records) noexcept {
  std::size_t bytes = 0;
  for (const record* r : records) {
    bytes += r->capacity.load(std::memory_order_relaxed);
  }
  ready_list& list = where.ready_of(size_class);
  // ready_bytes counts what passes through the lists too: give_to_backend takes it off again.
  const std::size_t ready = where.ready_bytes().fetch_add(bytes, std::memory_order_relaxed) + bytes;
  for (std::size_t refused = list.put(records); refused != 0; --refused) {
    incidents.count_misuse(misuse_kind::racing_free);
  }
  if (where.is_arena && !is_closed()) {
    return;  // replays of the graph use these addresses
  }
  std::size_t keep = ready > options_.ready_bytes ? 0 : ready_limit(size_class);
  keep = std::max(keep, list.reserve_count());
  if (record* const above = list.take_above(keep)) {
    (void)give_to_backend(where, above);
  }
}

// Pre: the caller has the cache.
void pool_core::publish(lane& where, front_cache& cache) noexcept {
  if (where.number >= cache.lanes) {
    return;
  }
  lane_front& front = cache.lane(where.number);
  std::uint64_t requested = 0;
  front.for_each_used([&](unsigned, const magazine& m) { requested += m.requested; });
  where.device->publish_live(requested - front.published);
  front.published = requested;
}

void pool_core::count_pop(lane& where, unsigned size_class, std::uint64_t bytes, block_source from,
                          front_cache* cache) noexcept {
  if (cache != nullptr && lanes.is_cached(where)) {
    if (cache->enter()) {
      lane_front& front = cache->lane(where.number);
      front.mark_used(size_class);
      magazine& m = front.magazine_of(size_class);
      m.count_pop(bytes);
      m.ready_hits += from == block_source::ready ? 1 : 0;
      m.refills += from == block_source::backend ? 1 : 0;
      if (from == block_source::backend) {
        publish(where, *cache);
      }
      cache->leave();
      return;
    }
    cache->leave();
  }
  where.device->publish_live(bytes);
  const std::lock_guard lock(where.mutex);
  class_counts& sum = where.counts_of(size_class);
  ++sum.pops;
  sum.ready_hits += from == block_source::ready ? 1 : 0;
  sum.refills += from == block_source::backend ? 1 : 0;
  sum.requested += bytes;
}

// Raises how many blocks of a class the thread may keep. Where the budget is used up it takes
// capacity from the thread's richest class of its kind: a class that may keep none from any, others
// from one that has more than they want, which then cannot take it back. What an earlier phase of
// the program needed does not stay with its sizes. Sum over classes of limit * size <= budget, or
// one block alone above 1 MiB.
void pool_core::grow_limit(lane& where, unsigned size_class, front_cache& cache) noexcept {
  if (!lanes.is_cached(where) || climbing_.load(std::memory_order_relaxed) != 0) {
    return;
  }
  const std::size_t size = size_of_class(size_class);
  const bool large = size > largest_small_block;
  const std::size_t budget = large ? options_.thread_cache_bytes - options_.thread_cache_bytes / 4
                                   : options_.thread_cache_bytes / 4;
  for (bool again = true; again;) {
    again = false;
    std::array<record*, magazine_slots> evicted;
    std::size_t evicted_count = 0;
    if (cache.enter()) {
      lane_front& front = cache.lane(where.number);
      magazine& m = front.magazine_of(size_class);
      std::size_t& used = large ? cache.large_capacity : cache.small_capacity;
      std::size_t wanted = m.limit == 0 ? (size <= 64 * kib ? std::size_t{8} : std::size_t{1})
                                        : std::size_t{m.limit} * 2;
      wanted = std::max<std::size_t>(m.limit, std::min(most_in_magazine(size), wanted));
      const std::size_t added = (wanted - m.limit) * size;
      const bool alone = large && used == 0 && wanted == 1;
      if (added != 0 && (used + added <= budget || alone)) {
        const std::size_t total = front_capacity_.fetch_add(added, std::memory_order_relaxed);
        if (total + added <= options_.total_cache_bytes || alone) {
          front.mark_used(size_class);
          m.open();
          m.limit = static_cast<std::uint16_t>(wanted);
          used += added;
        } else {
          front_capacity_.fetch_sub(added, std::memory_order_relaxed);
        }
      } else if (added != 0) {
        const std::optional<std::size_t> taken =
            halve_richest(cache, large, m.limit == 0 ? 0 : wanted * size, evicted);
        again = taken.has_value();
        evicted_count = taken.value_or(0);
      }
    }
    cache.leave();
    for (std::size_t i = 0; i < evicted_count; ++i) {
      lane& home = lanes.of(*evicted[i]);
      give_back(home, evicted[i]->size_class.load(std::memory_order_relaxed),
                std::span(&evicted[i], 1));
    }
  }
}

// Halves the limit of the small or large magazine with the most capacity; its oldest blocks beyond
// the new limit go to `out`, and their number is returned. None: no magazine of this kind has more
// than `above`. Pre: the caller has the cache.
std::optional<std::size_t> pool_core::halve_richest(front_cache& cache, bool large,
                                                    std::size_t above,
                                                    std::span<record*> out) noexcept {
  magazine* richest = nullptr;
  std::size_t most = above;
  std::size_t block_bytes = 0;
  for (std::size_t i = 0; i < cache.lanes && i < lanes.count(); ++i) {
    cache.lane(i).for_each_used([&](unsigned size_class, magazine& m) {
      const std::size_t size = size_of_class(size_class);
      if ((size_class > last_small_class) == large && m.limit * size > most) {
        richest = &m;
        most = m.limit * size;
        block_bytes = size;
      }
    });
  }
  if (richest == nullptr) {
    return std::nullopt;
  }
  const auto limit = static_cast<std::uint16_t>(richest->limit / 2);
  const std::size_t freed = (richest->limit - limit) * block_bytes;
  (large ? cache.large_capacity : cache.small_capacity) -= freed;
  front_capacity_.fetch_sub(freed, std::memory_order_relaxed);
  richest->limit = limit;
  const unsigned depth = richest->depth();
  const std::size_t count = depth > limit ? depth - limit : 0;
  richest->take_oldest(static_cast<unsigned>(count), out.data());
  return count;
}

// Keeps free records of one class in the thread's magazine as far as they fit, the rest centrally.
void pool_core::stow(lane& where, std::span<record* const> records, front_cache* cache) noexcept {
  if (records.empty()) {
    return;
  }
  const unsigned size_class = records.front()->size_class.load(std::memory_order_relaxed);
  std::size_t kept = 0;
  if (cache != nullptr && lanes.is_cached(where)) {
    if (cache->enter()) {
      magazine& m = cache->lane(where.number).magazine_of(size_class);
      while (kept < records.size() && m.depth() < m.limit) {
        m.push(records[kept++]);
        m.filled += 1;
      }
    }
    cache->leave();
  }
  if (kept < records.size()) {
    give_back(where, size_class, records.subspan(kept));
  }
}

// Keeps one just freed block. Pre: its header is free and its requested bytes are in slot.bytes.
void pool_core::free_block(record& slot, std::uint64_t bytes, front_cache* cache) noexcept {
  lane& where = lanes.of(slot);
  const unsigned size_class = slot.size_class.load(std::memory_order_relaxed);
  record* self = &slot;
  if (cache != nullptr && lanes.is_cached(where)) {
    std::array<record*, largest_batch> overflow;
    for (int round = 0; round < 2; ++round) {
      std::size_t overflowing = 0;
      bool kept = false;
      bool full = false;
      const bool entered = cache->enter();
      if (entered) {
        lane_front& front = cache->lane(where.number);
        front.mark_used(size_class);
        magazine& m = front.magazine_of(size_class);
        m.open();
        full = m.depth() >= m.limit;
        if (full && round == 1 && m.limit != 0) {
          // The older half goes to the others, at least one: the newest block is the likeliest to
          // fit what comes next, and one that nobody can use must not keep it out.
          overflowing = std::clamp<std::size_t>(m.limit / 2, 1, overflow.size());
          m.take_oldest(static_cast<unsigned>(overflowing), overflow.data());
        }
        if (m.depth() < m.limit) {
          m.push(self);
          m.requested -= bytes;
          kept = true;
        } else if (round == 1) {
          m.count_push(bytes);
        }
      }
      cache->leave();
      if (overflowing != 0) {
        give_back(where, size_class, std::span(overflow).first(overflowing));
      }
      if (kept) {
        return;
      }
      if (!entered) {
        break;
      }
      if (round == 1) {
        give_back(where, size_class, std::span(&self, 1));
        return;
      }
      grow_limit(where, size_class, *cache);
    }
  }
  count_push(where, size_class, bytes);
  keep_centrally(where, slot);
}

// Counts a free that no magazine counts.
void pool_core::count_push(lane& where, unsigned size_class, std::uint64_t bytes) noexcept {
  where.device->publish_live(std::uint64_t{0} - bytes);
  const std::lock_guard lock(where.mutex);
  class_counts& sum = where.counts_of(size_class);
  ++sum.pushes;
  sum.requested -= bytes;
}

// Keeps a free block where every thread finds it; closed pools give it back. Pre: it is counted.
void pool_core::keep_centrally(lane& where, record& slot) noexcept {
  record* const self = &slot;
  if (is_closed()) {
    set_next(slot, nullptr);
    where.ready_bytes().fetch_add(slot.capacity.load(std::memory_order_relaxed),
                                  std::memory_order_relaxed);
    (void)give_to_backend(where, self);
  } else {
    give_back(where, slot.size_class.load(std::memory_order_relaxed), std::span(&self, 1));
  }
}

// A live tensor's block became longer: it belongs to another class from now on. Counted as a free
// of the old and an allocation of the new class.
void pool_core::rebin(lane& where, record& slot, std::uint64_t bytes) noexcept {
  const unsigned old_class = slot.size_class.load(std::memory_order_relaxed);
  const unsigned new_class = class_of_block(slot.capacity.load(std::memory_order_relaxed));
  if (new_class == old_class) {
    return;
  }
  slot.size_class.store(static_cast<std::uint16_t>(new_class), std::memory_order_release);
  if (lanes.is_cached(where)) {
    slot.magazine.store(front_cache::offset_of(where.number, new_class), std::memory_order_release);
  }
  const std::lock_guard lock(where.mutex);
  class_counts& left = where.counts_of(old_class);
  ++left.pushes;
  left.requested -= bytes;
  class_counts& joined = where.counts_of(new_class);
  ++joined.pops;
  ++joined.ready_hits;
  joined.requested += bytes;
}

}  // namespace detail
}  // namespace v0
}  // namespace tidepool
