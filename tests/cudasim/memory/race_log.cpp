// SPDX-License-Identifier: Apache-2.0
//
// The race log: shadow memory is mapped on demand, sets of accessors are kept once each.
#include "memory/race_log.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <cstdio>
#include <cstring>

namespace cudasim {
namespace {

// Registered memory may begin and end within a word.
std::uint64_t shadow_bytes(std::uint64_t low, std::uint64_t size) {
  return (low % 4 + size + 3) / 4 * sizeof(std::uint64_t);
}

}  // namespace

void race_log::watch(const range& part, bool shared) {
  const std::uint64_t bytes = shadow_bytes(part.low, part.size);
  void* const words = mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (words == MAP_FAILED) {
    std::perror("cudasim: no address space for race checking, set CUDASIM_RACES=0");
    return;
  }
  watched_.push_back({part.low, part.size, static_cast<std::uint64_t*>(words), shared});
}

void race_log::unwatch(std::uint64_t low) {
  const auto found = std::find_if(watched_.begin(), watched_.end(),
                                  [&](const watched& part) { return part.low == low; });
  if (found != watched_.end()) {
    munmap(found->words, shadow_bytes(low, found->size));
    watched_.erase(found);
  }
}

void race_log::forget(std::uint64_t address, std::uint64_t bytes) {
  std::uint64_t* const first = shadow_of(address);
  if (first == nullptr || bytes == 0) {
    return;
  }
  // Whole pages are given back: that is faster than to clear gigabytes that nobody touched.
  const auto begin = reinterpret_cast<std::uint64_t>(first);
  const std::uint64_t end = begin + (bytes + 3) / 4 * sizeof(std::uint64_t);
  const std::uint64_t low = std::min(align_up(begin, host_page), end);
  const std::uint64_t high = std::max(low, end / host_page * host_page);
  std::memset(first, 0, low - begin);
  if (high > low) {
    madvise(reinterpret_cast<void*>(low), high - low, MADV_DONTNEED);
  }
  std::memset(reinterpret_cast<void*>(high), 0, end - high);
}

void race_log::enter(actor& by) {
  const std::lock_guard guard(mutex_);
  const auto [found, is_new] =
      name_index_.try_emplace(by.name, static_cast<std::uint32_t>(names_.size()));
  if (is_new) {
    names_.push_back(by.name);
  }
  by.id = static_cast<std::uint32_t>(operations_.size()) & id_bits;
  operations_.push_back({found->second, by.stream, by.tick, by.host_tick, false});
}

void race_log::note_talk(const actor& by) {
  const std::lock_guard guard(mutex_);
  operations_.at(by.id).talks = true;
}

bool race_log::is_ordered_locked(accessor earlier, const actor& by, bool atomic) const {
  if ((earlier & set_mark) != 0) {
    const std::vector<accessor>& members = sets_[earlier & id_bits];
    return std::all_of(members.begin(), members.end(),
                       [&](accessor member) { return is_ordered_locked(member, by, atomic); });
  }
  const accessor id = earlier & id_bits;
  if (id == by.id || (atomic && (earlier & atomic_mark) != 0)) {
    return true;
  }
  const operation& known = operations_[id];
  const operation& self = operations_[by.id];
  if ((known.is_host() && self.talks) || (known.talks && self.is_host())) {
    return true;
  }
  return by.clock.covers(known.stream, known.tick) ||
         (known.host_tick != 0 && by.clock.covers(-1, known.host_tick));
}

bool race_log::is_ordered(accessor earlier, const actor& by, bool atomic) {
  const std::lock_guard guard(mutex_);
  return is_ordered_locked(earlier, by, atomic);
}

accessor race_log::unite(accessor earlier, accessor self, const actor& by) {
  const std::lock_guard guard(mutex_);
  std::vector<accessor> members;
  if ((earlier & set_mark) != 0) {
    members = sets_[earlier & id_bits];
  } else if (earlier != 0) {
    members.push_back(earlier);
  }
  std::erase_if(members, [&](accessor member) { return is_ordered_locked(member, by, false); });
  members.push_back(self);
  if (members.size() == 1) {
    return self;
  }
  std::sort(members.begin(), members.end());
  const auto [found, is_new] =
      set_index_.try_emplace(members, static_cast<accessor>(sets_.size()) | set_mark);
  if (is_new) {
    sets_.push_back(std::move(members));
  }
  return found->second;
}

void race_log::race(std::uint64_t address, const char* what, accessor earlier, const actor& by,
                    bool atomic) {
  std::string text;
  {
    const std::lock_guard guard(mutex_);
    accessor found = earlier;
    if ((earlier & set_mark) != 0) {
      for (const accessor member : sets_[earlier & id_bits]) {
        if (!is_ordered_locked(member, by, atomic)) {
          found = member;
        }
      }
    }
    found &= id_bits;
    if (!reported_.insert({found, by.id}).second) {
      return;
    }
    const operation& other = operations_[found];
    char where[64];
    std::snprintf(where, sizeof where, "%s at %#llx: ", what,
                  static_cast<unsigned long long>(address));
    text = where + by.describe() + " is not ordered with " +
           actor{names_[other.name], 0, other.stream, other.tick, {}, 0, 0}.describe();
  }
  sink_.add(finding::race, text);
}

}  // namespace cudasim
