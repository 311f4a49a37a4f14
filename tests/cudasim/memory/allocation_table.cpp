// SPDX-License-Identifier: Apache-2.0
//
// The table's rules: which use is an error that ends the kernel, which one is a hazard that is
// reported and goes on.
#include "memory/allocation_table.hpp"

#include <algorithm>
#include <cstdio>
#include <cstring>

namespace cudasim {
namespace {

constexpr int fresh_poison = 0xA5;
constexpr int lost_poison = 0xDE;
constexpr std::size_t remembered_frees = 4096;
constexpr std::uint64_t near_miss = 4096;  // an overrun this long is taken for one

std::string hex(std::uint64_t value) {
  char text[32];
  std::snprintf(text, sizeof text, "%#llx", static_cast<unsigned long long>(value));
  return text;
}

const char* name_of(memory_kind kind) {
  switch (kind) {
  case memory_kind::device:
    return "device";
  case memory_kind::pinned:
    return "pinned";
  case memory_kind::managed:
    return "managed";
  case memory_kind::registered:
    break;
  }
  return "registered";
}

std::string access_text(std::uint64_t address, std::uint64_t bytes, bool write) {
  return std::string(write ? "write" : "read") + " of " + std::to_string(bytes) + " bytes at " +
         hex(address);
}

allocation_ptr find(const std::map<std::uint64_t, allocation_ptr>& in, std::uint64_t address) {
  auto it = in.upper_bound(address);
  if (it == in.begin()) {
    return nullptr;
  }
  --it;
  return address - it->first < std::max<std::uint64_t>(1, it->second->size) ? it->second : nullptr;
}

}  // namespace

std::string allocation::describe() const {
  return "allocation " + std::to_string(serial) + " (" + std::to_string(size) + " bytes of " +
         name_of(kind) + " memory at " + hex(base) + ", device " + std::to_string(device) + ")";
}

std::string allocation::history() const {
  std::string text = "; its history: allocated by " + allocated_by;
  for (const access& last : accesses) {
    text += ", used by " + actor{last.name, 0, last.stream, last.tick, {}, 0, 0}.describe();
  }
  return freed_by.empty() ? text : text + ", freed by " + freed_by;
}

allocation_ptr allocation_table::issue(const allocation& wanted) {
  auto made = std::make_shared<allocation>(wanted);
  made->serial = ++serial_;
  issued_[made->base] = made;
  return made;
}

allocation_ptr allocation_table::issued(std::uint64_t address) const {
  return find(issued_, address);
}

allocation_ptr allocation_table::freed(std::uint64_t address) const {
  for (auto it = freed_.rbegin(); it != freed_.rend(); ++it) {
    if (address - (*it)->base < (*it)->size) {
      return *it;
    }
  }
  return nullptr;
}

void allocation_table::retract(const allocation_ptr& gone) {
  const auto it = issued_.find(gone->base);
  if (it != issued_.end() && it->second == gone) {
    issued_.erase(it);
  }
  freed_.push_back(gone);
  if (freed_.size() > remembered_frees) {
    freed_.pop_front();
  }
}

void allocation_table::poison(const allocation& of, int byte) const {
  if (of.kind == memory_kind::device) {
    std::memset(reinterpret_cast<void*>(of.base + of.delta), byte, std::min(of.size, poison_));
  }
}

void allocation_table::start(const allocation_ptr& made, const actor* by, bool fresh) {
  if (by != nullptr) {
    made->stream = by->stream;
    made->tick = by->tick;
    made->allocated_by = by->describe();
  }
  made->live = true;
  if (made->exported != nullptr) {
    (*made->exported)->is_live = 1;
  }
  live_[made->base] = made;
  if (fresh) {
    poison(*made, fresh_poison);
  }
  races_.forget(made->base, made->size);
}

void allocation_table::finish(const allocation_ptr& gone, const actor* by, bool lost) {
  if (by != nullptr) {
    gone->freed_by = by->describe();
    for (const allocation::access& last : gone->accesses) {
      if (!by->clock.covers(last.stream, last.tick)) {
        sink_.add(finding::unordered_free,
                  by->describe() + " frees " + gone->describe() + " and is not ordered after " +
                      actor{last.name, 0, last.stream, last.tick, {}, 0, 0}.describe() +
                      gone->history());
      }
    }
  }
  gone->live = false;
  gone->exported.reset();
  if (lost) {
    poison(*gone, lost_poison);
  }
  if (const auto it = live_.find(gone->base); it != live_.end() && it->second == gone) {
    live_.erase(it);
  }
}

void allocation_table::raise_stray(std::uint64_t address, std::uint64_t bytes, bool write,
                                   const allocation_ptr& found, const actor& by) const {
  const std::string what = access_text(address, bytes, write) + " by " + by.describe();
  const auto stray = [&](finding kind, const std::string& where) {
    return fault(fault_code::illegal_address, kind, what + " " + where);
  };
  if (found != nullptr) {
    throw stray(finding::out_of_bounds, "past the end of " + found->describe() + found->history());
  }
  if (const allocation_ptr later = issued(address); later != nullptr && !later->live) {
    throw stray(finding::use_before_allocation,
                "before the allocation has executed in stream order: " + later->describe());
  }
  const allocation_ptr before = freed(address);
  const auto next = live_.upper_bound(address);
  if (before == nullptr && next != live_.begin()) {
    const allocation& below = *std::prev(next)->second;
    const std::uint64_t beyond = address - below.base - below.size;
    if (beyond < near_miss) {
      throw stray(finding::out_of_bounds, std::to_string(beyond) + " bytes past the end of " +
                                              below.describe() + below.history());
    }
  }
  if (before != nullptr) {
    throw stray(finding::use_after_free,
                "after the free of " + before->describe() + before->history());
  }
  throw stray(finding::unallocated, "outside of any allocation");
}

// The owner's rules hold for those who imported the memory too. Its order is not known here: what
// counts is what has executed.
void allocation_table::check_owner(const allocation& found, const std::string& what) {
  if (!found.imported->is_valid()) {
    throw fault(fault_code::illegal_address, finding::use_after_free,
                what + " after its owner, process " +
                    std::to_string(found.imported->name().process) + ", freed " + found.describe() +
                    found.history());
  }
  if ((*found.imported)->is_live == 0) {
    throw fault(fault_code::illegal_address, finding::use_before_allocation,
                what + " before the owner's allocation has executed: " + found.describe());
  }
}

// Peers, as NVIDIA documents them. Kernels: cudaDeviceEnablePeerAccess is for memory of cudaMalloc;
// memory of pools and mappings "does not follow" it, but cudaMemPoolSetAccess and cuMemSetAccess
// (CUDA Programming Guide, Stream-Ordered Memory Allocator, "Device Accessibility for Multi-GPU
// Support"). Copies: the driver carries what came from cudaMalloc between any two devices. Of other
// memory it does so for cudaMemcpyPeer and cudaMemcpyPeerAsync only, which name both devices; a
// cudaMemcpyAsync runs on the stream's device and needs access there (PyTorch's
// CUDACachingAllocator, memcpyAsync: "when p2p is not enabled, only cudaMemcpyPeerAsync correctly
// handles memory not allocated via cudaMalloc"; llama.cpp#4606, #4620).
bool allocation_table::may_reach(const allocation& of, const range& used, int device,
                                 const route& way) {
  if (of.granted.empty()) {
    return device == of.device || way.enabled == nullptr ||
           way.enabled->count({device, of.device}) != 0;
  }
  auto part = of.granted.upper_bound(used.low);
  if (part != of.granted.begin()) {
    --part;
  }
  for (; part != of.granted.end() && part->first < used.low + used.size; ++part) {
    if (part->second->count(device) == 0) {
      return false;
    }
  }
  return true;
}

// The bytes around the address that were granted together.
range allocation_table::part_around(const allocation& of, std::uint64_t address) {
  const auto next = of.granted.upper_bound(address);
  const std::uint64_t low =
      next == of.granted.begin() ? of.base : std::max(of.base, std::prev(next)->first);
  const std::uint64_t high =
      std::min(of.base + of.size, next == of.granted.end() ? of.base + of.size : next->first);
  return {low, high - low, of.delta};
}

range allocation_table::use(std::uint64_t address, std::uint64_t bytes, bool write, const actor& by,
                            const route& way) {
  const allocation_ptr found = find(live_, address);
  if (found == nullptr || bytes > found->base + found->size - address) {
    raise_stray(address, bytes, write, found, by);
  }
  if (write && found->read_only) {
    throw fault(fault_code::illegal_address, finding::unallocated,
                access_text(address, bytes, write) + " by " + by.describe() +
                    " into memory that is registered as read-only: " + found->describe());
  }
  if (found->imported != nullptr) {
    check_owner(*found, access_text(address, bytes, write) + " by " + by.describe());
  }
  if (!by.clock.covers(found->stream, found->tick)) {
    sink_.add(finding::unordered_use, access_text(address, bytes, write) + " by " + by.describe() +
                                          " is not ordered after the allocation of " +
                                          found->describe() + found->history());
  }
  if (found->kind == memory_kind::device && !way.is_carried &&
      !may_reach(*found, {address, bytes, 0}, by.device, way)) {
    const char* const missing =
        found->granted.empty() ? " without peer access to "
                               : " without access set (cudaMemPoolSetAccess, cuMemSetAccess) to ";
    throw fault(fault_code::illegal_address, finding::unallocated,
                access_text(address, bytes, write) + " by " + by.describe() + " on device " +
                    std::to_string(by.device) + missing + found->describe());
  }
  const range where = part_around(*found, address);
  for (allocation::access& last : found->accesses) {
    if (last.stream == by.stream) {
      last = {by.name, by.stream, std::max(last.tick, by.tick)};
      return where;
    }
  }
  found->accesses.push_back({by.name, by.stream, by.tick});
  return where;
}

}  // namespace cudasim
