// SPDX-License-Identifier: Apache-2.0
//
// thread_caches: slow paths take blocks out of their thread's cache and put blocks in. Each
// function enters the biased lock once at most and decides inside. Blocks that it evicts go to the
// ready lists after it has left.
#include "pool/thread_caches.hpp"
#include "system/address_space.hpp"

#include <algorithm>

namespace tidepool {
inline namespace v0 {
namespace detail {

namespace {

constexpr std::size_t kib = 1024;
constexpr std::size_t mib = 1024 * kib;

// Most blocks of a class that a thread keeps; its byte budget may allow fewer.
[[nodiscard]] constexpr std::size_t most_in_magazine(std::size_t block_bytes) noexcept {
  if (block_bytes <= 64 * kib) {
    return magazine_slots;
  }
  if (block_bytes <= mib) {
    return std::clamp<std::size_t>(4 * mib / block_bytes, 8, magazine_slots);
  }
  return block_bytes <= 64 * mib ? 4 : 1;
}

// Returns the next limit of a magazine: a small one at first, then twice the limit.
[[nodiscard]] std::size_t next_limit(std::size_t limit, std::size_t block_bytes) noexcept {
  const std::size_t first = block_bytes <= 64 * kib ? 8 : 1;
  const std::size_t next = limit == 0 ? first : 2 * limit;
  return std::max(limit, std::min(most_in_magazine(block_bytes), next));
}

[[nodiscard]] bool fits(const record& r, const block_demand& demand) noexcept {
  const auto address = reinterpret_cast<std::uintptr_t>(r.data.load(std::memory_order_relaxed));
  return r.capacity.load(std::memory_order_relaxed) >= demand.bytes &&
         (address & (demand.alignment - 1)) == 0;
}

// Takes the newest fitting record out; null: there is none.
[[nodiscard]] record* take_fitting(magazine& m, const block_demand& demand) noexcept {
  for (unsigned i = m.depth(); i > 0; --i) {
    if (fits(*m.at(i), demand)) {
      return m.take(i);
    }
  }
  return nullptr;
}

void chain(record& slot, record*& list) noexcept {
  set_next(slot, list);
  list = &slot;
}

}  // namespace

bool thread_caches::may_take_more(const block_demand& demand) const noexcept {
  return demand.size_class <= last_small_class && !below_.stock.is_climbing() &&
         !below_.operations.is_closed();
}

// Half of what the magazine's limit will be when keep_rest has raised it.
std::size_t thread_caches::batch_for(const block_demand& demand, std::size_t limit) const noexcept {
  if (!may_take_more(demand)) {
    return 1;
  }
  const std::size_t size = size_of_class(demand.size_class);
  const std::size_t next = next_limit(limit, size);
  const bool may_grow = capacity() + (next - limit) * size <= how_.total_bytes;
  return std::clamp<std::size_t>(std::min((may_grow ? next : limit) / 2, 512 * kib / size), 1,
                                 largest_batch);
}

// Only addresses are reserved: a lane costs memory where its magazines are used. The owner enters
// to add them, as others read caches whose gate is closed.
bool thread_caches::make_room(front_cache& cache, const lane& where) const noexcept {
  constexpr std::size_t bytes = lanes_in_chunk * sizeof(lane_front);
  while (where.number >= cache.lanes) {
    const bool is_open = cache.enter();
    cache.leave();
    if (!is_open) {
      return false;
    }
    address_space made = address_space::reserve(bytes);
    if (!made) {
      return false;
    }
    if (cache.enter()) {
      const std::size_t chunk = (cache.lanes - most_cached_lanes) / lanes_in_chunk;
      cache.chunks[chunk] = static_cast<lane_front*>(made.detach());
      cache.lanes = most_cached_lanes + (chunk + 1) * lanes_in_chunk;
    }
    cache.leave();
  }
  return true;
}

thread_caches::found thread_caches::take(const block_demand& demand, front_cache* cache) noexcept {
  found answer;
  if (demand.missed.is_seen() && demand.size_class <= last_small_class &&
      has(cache, *demand.where)) {
    answer.batch = batch_for(demand, demand.missed.limit);
    return answer;
  }
  for (bool again = true; again && has(cache, *demand.where);) {
    again = false;
    record* popped = nullptr;
    bool is_counted = false;
    if (cache->enter()) {
      lane_front& front = cache->lane(demand.where->number);
      magazine& m = front.magazine_of(demand.size_class);
      popped = take_fitting(m, demand);
      is_counted = popped != nullptr && is_free(popped->header.load(std::memory_order_acquire));
      if (is_counted) {
        m.count_pop({demand.requested, block_source::front});
      } else if (popped == nullptr) {
        answer.batch = batch_for(demand, m.limit);
      }
    }
    cache->leave();
    if (is_counted) {
      answer.slot = popped;
    } else if (popped != nullptr) {
      // Two threads freed the slot's tensor at once, or the slot has used up its generations. The
      // misuse handler that is told of the former may close the pool.
      answer.slot = below_.stock.accept_popped(*popped);
      again = answer.slot == nullptr;
      if (answer.slot != nullptr) {
        keep_rest(demand, std::span(&answer.slot, 1), block_source::front, cache);
      }
    }
  }
  return answer;
}

void thread_caches::keep_rest(const block_demand& demand, std::span<record* const> slots,
                              block_source from, front_cache* cache) noexcept {
  lane& where = *demand.where;
  const made_count one{demand.requested, from};
  const unsigned made_class = slots[0]->size_class.load(std::memory_order_relaxed);
  std::span<record* const> rest = slots.subspan(1);
  const unsigned rest_class =
      rest.empty() ? made_class : rest[0]->size_class.load(std::memory_order_relaxed);
  record* evicted = nullptr;
  bool is_counted = false;
  if (has(cache, where)) {
    if (cache->enter()) {
      lane_front& front = cache->lane(where.number);
      if (from != block_source::front && may_take_more(demand)) {
        front.mark_used(demand.size_class);
        grow(front.magazine_of(demand.size_class), demand.size_class, *cache, evicted);
      }
      magazine& m = front.magazine_of(rest_class);
      std::size_t kept = 0;
      for (; kept < rest.size() && m.depth() < m.limit; ++kept) {
        m.push(rest[kept]);
        m.filled += 1;
      }
      rest = rest.subspan(kept);
      front.mark_used(made_class);
      front.magazine_of(made_class).count_pop(one);
      if (from == block_source::backend) {
        publish(where, *cache);
      }
      is_counted = true;
    }
    cache->leave();
  }
  give_back_each(evicted);
  if (!is_counted) {
    below_.stock.count_made(where, made_class, one);
  }
  if (!rest.empty()) {
    below_.stock.give_back(where, rest_class, rest);
  }
}

void thread_caches::uncount(const record& slot, const made_count& one,
                            front_cache* cache) noexcept {
  lane& where = below_.lanes.of(slot);
  const unsigned size_class = slot.size_class.load(std::memory_order_relaxed);
  bool is_uncounted = false;
  if (has(cache, where)) {
    if (cache->enter()) {
      lane_front& front = cache->lane(where.number);
      front.mark_used(size_class);
      front.magazine_of(size_class).uncount_pop(one);
      is_uncounted = true;
    }
    cache->leave();
  }
  if (!is_uncounted) {
    below_.stock.uncount_made(where, size_class, one);
  }
}

void thread_caches::put(record& slot, std::uint64_t bytes, front_cache* cache) noexcept {
  lane& where = below_.lanes.of(slot);
  const unsigned size_class = slot.size_class.load(std::memory_order_relaxed);
  std::array<record*, largest_batch> overflow;
  std::size_t overflowing = 0;
  record* evicted = nullptr;
  bool is_counted = false;
  bool is_kept = false;
  if (has(cache, where)) {
    if (cache->enter()) {
      lane_front& front = cache->lane(where.number);
      front.mark_used(size_class);
      magazine& m = front.magazine_of(size_class);
      m.open();
      if (m.depth() >= m.limit) {
        grow(m, size_class, *cache, evicted);
      }
      if (m.depth() >= m.limit && m.limit != 0) {
        // The older half, but at least one block, goes to other threads. The newest block is the
        // likeliest to fit the next request, and an old one that fits none must not keep it out.
        overflowing = std::clamp<std::size_t>(m.limit / 2, 1, overflow.size());
        m.take_oldest(static_cast<unsigned>(overflowing), overflow.data());
      }
      is_kept = m.depth() < m.limit;
      if (is_kept) {
        m.push(&slot);
        m.requested -= bytes;
      } else {
        m.count_push(bytes);
      }
      cache->ask_after_slow_free(m);
      is_counted = true;
    }
    cache->leave();
  }
  if (overflowing != 0) {
    below_.stock.give_back(where, size_class, std::span(overflow).first(overflowing));
  }
  give_back_each(evicted);
  if (!is_counted) {
    below_.stock.count_ended(where, size_class, bytes);
  }
  if (!is_kept) {
    below_.stock.keep_centrally(where, slot);
  }
}

// Raises the number of blocks of a class that the thread may keep. If the byte budget is used up,
// it takes capacity from the thread's richest class of the same kind (small or large). A class that
// may keep no block takes from any class. Other classes take only from a class with more capacity
// than they want, so that class cannot take it back. In this way capacity leaves the sizes that an
// earlier phase of the program used. Blocks beyond a lowered limit are chained to `evicted`.
// Invariant: the sum over classes of limit * size <= budget, or one block alone above 1 MiB.
// Pre: the caller has the cache.
void thread_caches::grow(magazine& m, unsigned size_class, front_cache& cache,
                         record*& evicted) noexcept {
  if (below_.stock.is_climbing()) {
    return;
  }
  const std::size_t size = size_of_class(size_class);
  const bool large = size > largest_small_block;
  const std::size_t small_bytes = how_.thread_bytes / 4;
  const std::size_t budget = large ? how_.thread_bytes - small_bytes : small_bytes;
  std::size_t& used = large ? cache.large_capacity : cache.small_capacity;
  for (;;) {
    const std::size_t wanted = next_limit(m.limit, size);
    const std::size_t added = (wanted - m.limit) * size;
    const bool alone = large && used == 0 && wanted == 1;
    if (added == 0) {
      return;
    }
    if (used + added <= budget || alone) {
      const std::size_t total = capacity_.fetch_add(added, std::memory_order_relaxed) + added;
      if (total > how_.total_bytes && !alone) {
        capacity_.fetch_sub(added, std::memory_order_relaxed);
        return;
      }
      m.open();
      m.limit = static_cast<std::uint16_t>(wanted);
      used += added;
      return;
    }
    if (!halve_richest(cache, large, m.limit == 0 ? 0 : wanted * size, evicted)) {
      return;
    }
  }
}

// Halves the limit of the small or large magazine with the most capacity, and chains its oldest
// blocks beyond the new limit to `evicted`. False: no magazine of this kind has more capacity than
// `above`. Pre: the caller has the cache.
bool thread_caches::halve_richest(front_cache& cache, bool large, std::size_t above,
                                  record*& evicted) noexcept {
  magazine* richest = nullptr;
  std::size_t most = above;
  std::size_t block_bytes = 0;
  for (std::size_t i = 0; i < std::min(cache.lanes, below_.lanes.count()); ++i) {
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
    return false;
  }
  const auto limit = static_cast<std::uint16_t>(richest->limit / 2);
  const std::size_t freed = (richest->limit - limit) * block_bytes;
  (large ? cache.large_capacity : cache.small_capacity) -= freed;
  capacity_.fetch_sub(freed, std::memory_order_relaxed);
  richest->limit = limit;
  std::array<record*, magazine_slots> oldest;
  const unsigned depth = richest->depth();
  const unsigned count = depth > limit ? depth - limit : 0;
  richest->take_oldest(count, oldest.data());
  for (record* const slot : std::span(oldest).first(count)) {
    chain(*slot, evicted);
  }
  return true;
}

void thread_caches::give_back_each(record* evicted) noexcept {
  while (evicted != nullptr) {
    record& slot = *evicted;
    evicted = next_of(slot);
    below_.stock.give_back(below_.lanes.of(slot), slot);
  }
}

std::size_t thread_caches::flush_large(lane& where, front_cache* cache) noexcept {
  if (!has(cache, where) || where.is_arena) {
    return 0;
  }
  record* flushed = nullptr;
  std::size_t count = 0;
  std::size_t bytes = 0;
  if (cache->enter()) {
    cache->lane(where.number).for_each_used([&](unsigned size_class, magazine& m) {
      if (size_of_class(size_class) <= worth_searching) {
        return;
      }
      for (; m.depth() != 0; ++count) {
        record* const taken = m.take(m.depth());
        chain(*taken, flushed);
        bytes += taken->usable_bytes;
      }
    });
  }
  cache->leave();
  if (flushed != nullptr) {
    where.ready_bytes().fetch_add(bytes, std::memory_order_relaxed);
    (void)below_.stock.give_to_backend(where, flushed);
  }
  return count;
}

lane_memo thread_caches::memo_of(front_cache* cache) const noexcept {
  lane_memo memo;
  if (is_own(cache)) {
    if (cache->enter()) {
      memo = cache->memo;
    }
    cache->leave();
  }
  return memo;
}

void thread_caches::set_memo(front_cache* cache, const lane_memo& memo) const noexcept {
  if (is_own(cache)) {
    if (cache->enter()) {
      cache->memo = memo;
    }
    cache->leave();
  }
}

}  // namespace detail
}  // namespace v0
}  // namespace tidepool
