// SPDX-License-Identifier: Apache-2.0
//
// Allocating and freeing: device memory, and blocks of pools in stream order. A captured
// allocation becomes a graph's node with an address of its own.
#include "runtime/runtime.hpp"

#include <algorithm>

namespace cudasim {
namespace {

constexpr std::uint64_t device_alignment = 512;
constexpr std::uint64_t least_refused_bytes = std::uint64_t{1} << 46;

std::uint64_t device_bytes(std::uint64_t bytes) {
  return std::max(device_alignment, align_up(bytes, device_alignment));
}

}  // namespace

std::uint64_t runtime::reserved_on(int device) const {
  std::uint64_t sum = devices.at(static_cast<std::size_t>(device)).allocated;
  for (const auto& [handle, known] : pools) {
    const pool::properties& of = known->made_with();
    if (of.kind == memory_kind::device && of.device == device && !known->imported) {
      sum += known->reserved;
    }
  }
  return sum;
}

std::uint64_t runtime::take_device(int device, std::uint64_t bytes) {
  const std::uint64_t rounded = device_bytes(bytes);
  const auto is_full = [&] {
    return rounded > set.memory_bytes || reserved_on(device) > set.memory_bytes - rounded;
  };
  if (bytes > set.memory_bytes) {
    return 0;
  }
  if (is_full()) {
    for (const auto& [handle, known] : pools) {
      known->trim(0);
    }
  }
  if (is_full()) {
    return 0;
  }
  const std::uint64_t address = device_space.take(rounded, device_alignment);
  if (address != 0) {
    cudasim::device& of = devices.at(static_cast<std::size_t>(device));
    of.allocated += rounded;
    of.allocated_high = std::max(of.allocated_high, of.allocated);
  }
  return address;
}

void runtime::give_device(const allocation& gone) {
  const std::uint64_t rounded = device_bytes(gone.size);
  devices.at(static_cast<std::size_t>(gone.device)).allocated -= rounded;
  device_space.give(gone.base, rounded);
}

allocation_ptr runtime::add_allocation(std::uint64_t base, std::uint64_t bytes, memory_kind kind,
                                       int device) {
  allocation wanted;
  wanted.base = base;
  wanted.size = bytes;
  wanted.kind = kind;
  wanted.device = device;
  wanted.allocated_by = call_name;
  wanted.delta = kind == memory_kind::device       ? device_space.delta()
                 : kind == memory_kind::registered ? 0
                                                   : host_space.delta();
  const allocation_ptr made = memory.issue(wanted);
  memory.start(made, nullptr, true);
  return made;
}

void runtime::drop_allocation(const allocation_ptr& gone) {
  memory.retract(gone);
  gone->freed_by = call_name;
  memory.finish(gone, nullptr, true);
  if (gone->kind == memory_kind::device) {
    give_device(*gone);
  } else if (gone->kind != memory_kind::registered) {
    host_space.give(gone->base, align_up(gone->size, host_page));
  }
}

pool& runtime::make_pool(const pool::properties& wanted) {
  auto made = std::make_unique<pool>(wanted, wanted.kind == memory_kind::device ? device_space
                                                                                : host_space);
  if (wanted.handle_types == cudaMemHandleTypePosixFileDescriptor) {
    export_table::description shown;
    shown.made_for = export_table::purpose::pool;
    shown.memory_kind = static_cast<int>(wanted.kind);
    shown.device = wanted.device;
    shown.location_type = wanted.location.type;
    shown.location_id = wanted.location.id;
    made->table = export_table::create(shown, made->space().size());
    require(made->table != nullptr, cudaErrorMemoryAllocation);
  }
  pool& kept = *made;
  pools.emplace(&kept, std::move(made));
  return kept;
}

pool& runtime::located_pool(const cudaMemLocation& where, cudaMemAllocationType type,
                            bool is_default) {
  const bool is_managed = type == cudaMemAllocationTypeManaged;
  const bool is_device = where.type == cudaMemLocationTypeDevice;
  require(is_managed || type == cudaMemAllocationTypePinned, cudaErrorInvalidValue);
  require(!is_device || (where.id >= 0 && where.id < set.devices), cudaErrorInvalidDevice);
  if (is_device && !is_managed) {
    const device& of = devices[static_cast<std::size_t>(where.id)];
    return is_default ? *of.default_pool : *of.current_pool;
  }
  auto& known = located_pools[{where.type, where.id, type}];
  if (known[0] == nullptr) {
    pool::properties wanted;
    wanted.kind = is_managed ? memory_kind::managed : memory_kind::pinned;
    wanted.device = is_device ? where.id : 0;
    wanted.location = where;
    known[0] = known[1] = &make_pool(wanted);
  }
  return *known[is_default ? 0 : 1];
}

void runtime::set_located_pool(const cudaMemLocation& where, cudaMemAllocationType type,
                               pool& chosen) {
  if (where.type == cudaMemLocationTypeDevice && type == cudaMemAllocationTypePinned) {
    devices[static_cast<std::size_t>(where.id)].current_pool = &chosen;
  } else {
    located_pools[{where.type, where.id, type}][1] = &chosen;
  }
}

pool& runtime::pool_of(cudaMemPool_t handle) {
  auto* const known = reinterpret_cast<pool*>(handle);
  if (pools.count(known) == 0 || known->destroyed) {
    note_stale("pool", handle);
    refuse(cudaErrorInvalidValue);
  }
  return *known;
}

// A block of the pool, a new segment if need be; refuses when the device or the pool is full.
std::uint64_t runtime::take_block(pool& from, const stream& to, std::uint64_t bytes,
                                  operation_ptr& wait_for) {
  require(bytes <= least_refused_bytes, cudaErrorMemoryAllocation);
  const std::uint64_t rounded = align_up(bytes, pool::granule);
  vector_clock clock = to.clock;
  clock.join(host);
  const bool may_reuse = set.reuse && !to.is_capturing();
  const auto try_once = [&] {
    const pool::taken found = from.take({rounded, to, clock, may_reuse, executed_});
    wait_for = found.wait_for;
    return found.address;
  };
  if (const std::uint64_t address = try_once(); address != 0) {
    return address;
  }
  const auto fits = [&](std::uint64_t segment) {
    const pool::properties& of = from.made_with();
    return of.kind != memory_kind::device || reserved_on(of.device) + segment <= set.memory_bytes;
  };
  const auto grow = [&] {
    const std::uint64_t step = from.segment_bytes(rounded);
    const std::uint64_t least = align_up(rounded, std::uint64_t{2} << 20);
    return (fits(step) && from.add_segment(step)) || (fits(least) && from.add_segment(least));
  };
  // First with what there is, then with what unused segments give, then after all frees ran.
  for (int attempt = 0; attempt != 3; ++attempt) {
    if (attempt == 2 && !set.async) {
      while (step()) {
      }
    }
    if (attempt != 0) {
      for (const auto& [handle, known] : pools) {
        known->trim(0);
      }
      if (const std::uint64_t address = try_once(); address != 0) {
        return address;
      }
    }
    if (grow()) {
      return try_once();
    }
  }
  refuse(cudaErrorMemoryAllocation);
}

void runtime::begin_allocation(stream& to, const allocation& wanted,
                               const operation_ptr& wait_for) {
  const allocation_ptr made = memory.issue(wanted);
  std::vector<operation_ptr> after;
  if (wait_for != nullptr) {
    after.push_back(wait_for);
  }
  const operation_ptr begun = enqueue(
      to, wanted.allocated_by, [this, made](operation& by) { memory.start(made, &by.who, true); },
      after);
  made->stream = begun->who.stream;
  made->tick = begun->who.tick;
  made->allocated_by = begun->who.describe();
}

void* runtime::allocate_from(pool& from, stream& to, std::size_t bytes) {
  require(!from.imported, cudaErrorInvalidValue);
  if (bytes == 0) {
    return nullptr;
  }
  const bool captured = to.is_capturing();
  pool& source =
      captured ? *devices.at(static_cast<std::size_t>(from.made_with().device)).graph_pool : from;
  operation_ptr wait_for;
  allocation wanted;
  wanted.base = take_block(source, to, bytes, wait_for);
  wanted.size = bytes;
  wanted.kind = source.made_with().kind;
  wanted.device = source.made_with().device;
  wanted.delta = source.space().delta();
  wanted.allocated_by = call_name;
  // A graph's memory is accessible as the pool was at the time of the capture.
  wanted.granted[wanted.base] =
      captured ? std::make_shared<const device_set>(*from.accessible_by) : from.accessible_by;
  if (captured) {
    to.capturing.into->memory->own(source, wanted.base);
    graph_node& made =
        capture_node(to, "allocation", cudaGraphNodeTypeMemAlloc, [this, wanted](stream& in) {
          require(memory.issued(wanted.base) == nullptr, cudaErrorInvalidValue);
          begin_allocation(in, wanted, nullptr);
        });
    made.address = wanted.base;
    made.bytes = bytes;
    made.device = wanted.device;
  } else {
    wanted.pool = &source;
    begin_allocation(to, wanted, wait_for);
  }
  return reinterpret_cast<void*>(wanted.base);
}

void runtime::free_in(stream& in, void* address) {
  if (address == nullptr) {
    return;
  }
  const auto at = reinterpret_cast<std::uint64_t>(address);
  const std::string name = call_name;
  const auto free_now = [this, at, name](stream& order) {
    const allocation_ptr gone = memory.issued(at);
    const bool is_opened = gone != nullptr && gone->imported != nullptr && gone->pool == nullptr;
    if (gone == nullptr || gone->base != at || gone->is_program || is_opened) {
      if (const allocation_ptr before = memory.freed(at); before != nullptr && gone == nullptr) {
        findings.add(finding::use_after_free,
                     name + " of what is free: " + before->describe() + before->history());
      }
      refuse(cudaErrorInvalidValue);
    }
    memory.retract(gone);
    const bool is_pooled = gone->pool != nullptr;
    const bool is_imported = gone->imported != nullptr;
    const bool is_plain = !is_pooled && gone->allocated_by == "cudaMalloc";
    const operation_ptr freed = enqueue(order, name, [this, gone, is_plain](operation& by) {
      memory.finish(gone, &by.who, gone->imported == nullptr);
      if (is_plain) {
        give_device(*gone);
      } else if (gone->imported != nullptr) {
        end_import(gone);
      }
    });
    if (is_pooled && !is_imported) {
      static_cast<pool*>(gone->pool)->give(gone->base, freed);
    }
  };
  if (!in.is_capturing()) {
    free_now(in);
    return;
  }
  graph_node& made = capture_node(in, "free", cudaGraphNodeTypeMemFree, free_now);
  made.address = at;
}

void runtime::trim_pools_after_wait() {
  for (auto it = pools.begin(); it != pools.end();) {
    pool& known = *it->second;
    if (known.reserved > known.release_threshold) {
      known.trim(known.release_threshold);
    }
    it = known.destroyed && known.reserved == 0 ? pools.erase(it) : std::next(it);
  }
}

bool runtime::is_pageable(const void* address) const {
  return !device_space.contains(address) && !host_space.contains(address) &&
         memory.issued(address) == nullptr;
}

}  // namespace cudasim
