// SPDX-License-Identifier: Apache-2.0
//
// Pools: best fit, split on allocation, merged when both neighbours' frees have executed.
#include "runtime/pool.hpp"

#include <fcntl.h>

#include <algorithm>
#include <iterator>
#include <utility>

namespace cudasim {
namespace {

constexpr std::uint64_t segment_step = std::uint64_t{32} << 20;
constexpr std::uint64_t driver_page = std::uint64_t{2} << 20;
// Free blocks that one allocation looks at: a pool in which thousands wait stays fast.
constexpr int most_looked_at = 256;

bool is_done(const operation_ptr& freed) {
  return freed == nullptr || freed->done;
}

}  // namespace

bool pool::is_ordered(const free_block& block, const stream& to, const vector_clock& clock) const {
  if (block.freed == nullptr || block.freed->in == &to) {
    return true;
  }
  const actor& who = block.freed->who;
  return (follows_events && clock.covers(who.stream, who.tick)) ||
         (opportunistic && block.freed->done);
}

pool::free_map::iterator pool::add_free(std::uint64_t address, free_block block) {
  by_size_.emplace(block.size, address);
  return free_.emplace(address, std::move(block)).first;
}

void pool::drop_free(free_map::iterator gone) {
  by_size_.erase({gone->second.size, gone->first});
  free_.erase(gone);
}

pool::taken pool::cut(free_map::iterator from, std::uint64_t bytes, operation_ptr wait_for) {
  const std::uint64_t address = from->first;
  const free_block block = from->second;
  drop_free(from);
  if (block.size != bytes) {
    add_free(address + bytes, {block.size - bytes, block.freed});
  }
  used_[address] = bytes;
  used += bytes;
  used_high = std::max(used_high, used);
  return {address, std::move(wait_for)};
}

// The smallest that fits and is ordered before; else, if the attributes allow it, the smallest that
// is not, with a dependency on its free.
pool::taken pool::take(const request& wanted) {
  if (merged_at_ != wanted.executed) {
    merge_all();
    merged_at_ = wanted.executed;
  }
  auto later = free_.end();
  int looked_at = 0;
  for (auto it = by_size_.lower_bound({wanted.bytes, 0});
       it != by_size_.end() && looked_at != most_looked_at; ++it, ++looked_at) {
    const auto found = free_.find(it->second);
    if (found->second.freed != nullptr && !wanted.may_reuse) {
      continue;
    }
    if (is_ordered(found->second, wanted.to, wanted.clock)) {
      return cut(found, wanted.bytes, nullptr);
    }
    later = later == free_.end() ? found : later;
  }
  return internal_dependencies && later != free_.end()
             ? cut(later, wanted.bytes, later->second.freed)
             : taken{};
}

std::uint64_t pool::segment_bytes(std::uint64_t bytes) const {
  const std::uint64_t least = align_up(bytes, driver_page);
  const std::uint64_t step = align_up(bytes, segment_step);
  const std::uint64_t limit = properties_.max_bytes;
  return limit != 0 && reserved + step > limit ? least : step;
}

bool pool::add_segment(std::uint64_t bytes) {
  const std::uint64_t limit = properties_.max_bytes;
  if (limit != 0 && reserved + bytes > align_up(limit, driver_page)) {
    return false;
  }
  const std::uint64_t address = space_.take(bytes, driver_page);
  if (address == 0) {
    return false;
  }
  if (table != nullptr &&
      !space_.replace(address, bytes, table->descriptor(), offset_of(address))) {
    space_.give(address, bytes);
    return false;
  }
  segments_[address] = bytes;
  add_free(address, {bytes, nullptr});
  reserved += bytes;
  reserved_high = std::max(reserved_high, reserved);
  return true;
}

void pool::give(std::uint64_t address, const operation_ptr& freed) {
  const auto found = used_.find(address);
  const std::uint64_t bytes = found->second;
  used_.erase(found);
  used -= bytes;
  merge_around(add_free(address, {bytes, freed}));
}

// Frees of one stream follow one another, so the later one stands for both.
void pool::merge_around(free_map::iterator middle) {
  const auto can_merge = [&](free_map::iterator low, free_map::iterator high) {
    const free_block& a = low->second;
    const free_block& b = high->second;
    const bool same_stream = a.freed != nullptr && b.freed != nullptr && a.freed->in == b.freed->in;
    const bool anybody = opportunistic || (a.freed == nullptr && b.freed == nullptr);
    return low->first + a.size == high->first && segments_.count(high->first) == 0 &&
           ((anybody && is_done(a.freed) && is_done(b.freed)) || same_stream);
  };
  const auto merge = [&](free_map::iterator low, free_map::iterator high) {
    const operation_ptr& a = low->second.freed;
    const operation_ptr& b = high->second.freed;
    const bool takes_high =
        a == nullptr || (b != nullptr && (a->done || (!b->done && b->who.tick > a->who.tick)));
    const std::uint64_t address = low->first;
    const free_block joined{low->second.size + high->second.size, takes_high ? b : a};
    drop_free(low);
    drop_free(high);
    return add_free(address, joined);
  };
  if (const auto next = std::next(middle); next != free_.end() && can_merge(middle, next)) {
    middle = merge(middle, next);
  }
  if (middle != free_.begin()) {
    if (const auto before = std::prev(middle); can_merge(before, middle)) {
      merge(before, middle);
    }
  }
}

// Frees have executed since their blocks came, so more can be merged now.
void pool::merge_all() {
  for (auto it = free_.begin(); it != free_.end();) {
    const std::uint64_t address = it->first;
    merge_around(it);
    it = free_.upper_bound(address);
  }
}

bool pool::is_free(std::uint64_t begin, std::uint64_t end) const {
  for (auto it = free_.find(begin); begin != end; ++it) {
    if (it == free_.end() || it->first != begin || !is_done(it->second.freed)) {
      return false;
    }
    begin += it->second.size;
  }
  return true;
}

void pool::trim(std::uint64_t keep) {
  for (auto it = segments_.begin(); it != segments_.end() && reserved > keep;) {
    const auto [begin, bytes] = *it;
    if (!is_free(begin, begin + bytes)) {
      ++it;
      continue;
    }
    for (auto gone = free_.lower_bound(begin); gone != free_.lower_bound(begin + bytes);) {
      drop_free(gone++);
    }
    if (table != nullptr) {
      space_.restore(begin, bytes);
      static_cast<void>(fallocate(table->descriptor(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                                  static_cast<off_t>(offset_of(begin)), static_cast<off_t>(bytes)));
    }
    space_.give(begin, bytes);
    reserved -= bytes;
    it = segments_.erase(it);
  }
}

}  // namespace cudasim
