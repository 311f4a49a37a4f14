// SPDX-License-Identifier: Apache-2.0
//
// Stream-ordered allocation and its pools, on devices, on the host and of managed memory.
#include "api/location.hpp"

using namespace cudasim;

namespace {

cudaMemPool_t handle_of(pool& of) {
  return reinterpret_cast<cudaMemPool_t>(&of);
}

void require_pools(const runtime& r) {
  require(!r.set.lacks("pools"), cudaErrorNotSupported);
}

pool::properties properties_of(runtime& r, const cudaMemPoolProps& wanted) {
  check_location(r, wanted.location);
  pool::properties made;
  made.location = wanted.location;
  made.max_bytes = wanted.maxSize;
  made.handle_types = wanted.handleTypes;
  require(wanted.handleTypes == cudaMemHandleTypeNone ||
              (wanted.handleTypes == cudaMemHandleTypePosixFileDescriptor && !r.set.lacks("ipc")),
          cudaErrorNotSupported);
  if (wanted.location.type == cudaMemLocationTypeDevice) {
    made.device = wanted.location.id;
  }
  const bool is_managed = wanted.allocType == cudaMemAllocationTypeManaged;
  require(is_managed || wanted.allocType == cudaMemAllocationTypePinned, cudaErrorInvalidValue);
  require(!is_managed || !r.set.lacks("managed"), cudaErrorNotSupported);
  require(!is_managed || made.handle_types == cudaMemHandleTypeNone, cudaErrorInvalidValue);
  made.kind = is_managed                                          ? memory_kind::managed
              : wanted.location.type == cudaMemLocationTypeDevice ? memory_kind::device
                                                                  : memory_kind::pinned;
  return made;
}

bool has_place(const pool& of, const cudaMemLocation& where, cudaMemAllocationType type) {
  const pool::properties& made = of.made_with();
  const bool is_device = where.type == cudaMemLocationTypeDevice;
  return (made.kind == memory_kind::managed) == (type == cudaMemAllocationTypeManaged) &&
         made.location.type == where.type && (!is_device || made.location.id == where.id);
}

template <class T>
T& value_of(void* value) {
  return target(static_cast<T*>(value));
}

void set_attribute(pool& of, cudaMemPoolAttr which, void* value) {
  switch (which) {
  case cudaMemPoolReuseFollowEventDependencies:
    of.follows_events = value_of<int>(value) != 0;
    return;
  case cudaMemPoolReuseAllowOpportunistic:
    of.opportunistic = value_of<int>(value) != 0;
    return;
  case cudaMemPoolReuseAllowInternalDependencies:
    of.internal_dependencies = value_of<int>(value) != 0;
    return;
  case cudaMemPoolAttrReleaseThreshold:
    of.release_threshold = value_of<std::uint64_t>(value);
    return;
  case cudaMemPoolAttrReservedMemHigh:
    require(value_of<std::uint64_t>(value) == 0, cudaErrorInvalidValue);
    of.reserved_high = of.reserved;
    return;
  case cudaMemPoolAttrUsedMemHigh:
    require(value_of<std::uint64_t>(value) == 0, cudaErrorInvalidValue);
    of.used_high = of.used;
    return;
  default:
    refuse(cudaErrorInvalidValue);
  }
}

void get_attribute(const pool& of, cudaMemPoolAttr which, void* value) {
  const auto give = [&](std::uint64_t number) { value_of<std::uint64_t>(value) = number; };
  const auto answer = [&](bool yes) { value_of<int>(value) = yes ? 1 : 0; };
  switch (which) {
  case cudaMemPoolReuseFollowEventDependencies:
    answer(of.follows_events);
    return;
  case cudaMemPoolReuseAllowOpportunistic:
    answer(of.opportunistic);
    return;
  case cudaMemPoolReuseAllowInternalDependencies:
    answer(of.internal_dependencies);
    return;
  case cudaMemPoolAttrReleaseThreshold:
    give(of.release_threshold);
    return;
  case cudaMemPoolAttrReservedMemCurrent:
    give(of.reserved);
    return;
  case cudaMemPoolAttrReservedMemHigh:
    give(of.reserved_high);
    return;
  case cudaMemPoolAttrUsedMemCurrent:
    give(of.used);
    return;
  case cudaMemPoolAttrUsedMemHigh:
    give(of.used_high);
    return;
  default:
    refuse(cudaErrorInvalidValue);
  }
}

// A device that cannot be a peer is refused, as drivers do once the pool has memory; before that
// some accept it, and the next allocation fails.
void check_grant(runtime& r, const pool& of, const cudaMemAccessDesc& wanted) {
  require(wanted.location.type == cudaMemLocationTypeDevice, cudaErrorInvalidValue);
  static_cast<void>(device_at(r, wanted.location.id));
  const int owner = of.made_with().device;
  const bool grants = wanted.flags == cudaMemAccessFlagsProtReadWrite;
  if (wanted.location.id == owner) {
    require(grants, cudaErrorInvalidDevice);  // a pool's own device always has access
    return;
  }
  require(grants || wanted.flags == cudaMemAccessFlagsProtNone, cudaErrorInvalidValue);
  require(!r.set.lacks("peers"), cudaErrorInvalidDevice);
}

void allocate(runtime& r, void** out, std::size_t bytes, pool* from, cudaStream_t in) {
  require_pools(r);
  stream& order = r.stream_of(in);
  target(out) = nullptr;
  pool& source = from != nullptr ? *from : *device_at(r, order.device).current_pool;
  *out = r.allocate_from(source, order, bytes);
}

}  // namespace

extern "C" {

cudaError_t cudaMallocAsync(void** out, std::size_t bytes, cudaStream_t in) {
  return call(__func__, [&](runtime& r) { allocate(r, out, bytes, nullptr, in); });
}

cudaError_t cudaMallocFromPoolAsync(void** out, std::size_t bytes, cudaMemPool_t from,
                                    cudaStream_t in) {
  return call(__func__, [&](runtime& r) { allocate(r, out, bytes, &r.pool_of(from), in); });
}

cudaError_t cudaFreeAsync(void* address, cudaStream_t in) {
  return call(__func__, [&](runtime& r) { r.free_in(r.stream_of(in), address); });
}

cudaError_t cudaMemPoolCreate(cudaMemPool_t* out, const cudaMemPoolProps* wanted) {
  return call(__func__, [&](runtime& r) {
    require_pools(r);
    pool& made = r.make_pool(properties_of(r, target(wanted)));
    made.created_by = r.call_name;
    target(out) = handle_of(made);
  });
}

// What is allocated from the pool stays valid; the pool goes when the last of it is free.
cudaError_t cudaMemPoolDestroy(cudaMemPool_t handle) {
  return call(__func__, [&](runtime& r) {
    pool& gone = r.pool_of(handle);
    for (device& of : r.devices) {
      require(&gone != of.default_pool, cudaErrorInvalidValue);
      if (of.current_pool == &gone) {
        of.current_pool = of.default_pool;
      }
    }
    gone.destroyed = true;
    gone.release_threshold = 0;
    gone.trim(0);
    r.mark_stale(&gone);
  });
}

cudaError_t cudaMemPoolTrimTo(cudaMemPool_t handle, std::size_t keep) {
  return call(__func__, [&](runtime& r) { r.pool_of(handle).trim(keep); });
}

cudaError_t cudaMemPoolSetAttribute(cudaMemPool_t handle, cudaMemPoolAttr which, void* value) {
  return call(__func__, [&](runtime& r) { set_attribute(r.pool_of(handle), which, value); });
}

cudaError_t cudaMemPoolGetAttribute(cudaMemPool_t handle, cudaMemPoolAttr which, void* value) {
  return call(__func__, [&](runtime& r) { get_attribute(r.pool_of(handle), which, value); });
}

cudaError_t cudaMemPoolSetAccess(cudaMemPool_t handle, const cudaMemAccessDesc* wanted,
                                 std::size_t count) {
  return call(__func__, [&](runtime& r) {
    pool& of = r.pool_of(handle);
    require(wanted != nullptr || count == 0, cudaErrorInvalidValue);
    for (std::size_t i = 0; i != count; ++i) {
      check_grant(r, of, wanted[i]);
    }
    for (std::size_t i = 0; i != count; ++i) {
      if (wanted[i].flags == cudaMemAccessFlagsProtReadWrite) {
        of.accessible_by->insert(wanted[i].location.id);
      } else {
        of.accessible_by->erase(wanted[i].location.id);
      }
    }
  });
}

cudaError_t cudaMemPoolGetAccess(cudaMemAccessFlags* out, cudaMemPool_t handle,
                                 cudaMemLocation* where) {
  return call(__func__, [&](runtime& r) {
    const pool& of = r.pool_of(handle);
    const int owner = of.made_with().device;
    const bool has = of.made_with().kind != memory_kind::device || target(where).id == owner ||
                     of.accessible_by->count(where->id) != 0;
    target(out) = has ? cudaMemAccessFlagsProtReadWrite : cudaMemAccessFlagsProtNone;
  });
}

cudaError_t cudaDeviceGetDefaultMemPool(cudaMemPool_t* out, int ordinal) {
  return call(__func__, [&](runtime& r) {
    require_pools(r);
    target(out) = handle_of(*device_at(r, ordinal).default_pool);
  });
}

cudaError_t cudaDeviceGetMemPool(cudaMemPool_t* out, int ordinal) {
  return call(__func__, [&](runtime& r) {
    require_pools(r);
    target(out) = handle_of(*device_at(r, ordinal).current_pool);
  });
}

cudaError_t cudaDeviceSetMemPool(int ordinal, cudaMemPool_t handle) {
  return call(__func__, [&](runtime& r) {
    pool& chosen = r.pool_of(handle);
    require(chosen.made_with().kind == memory_kind::device &&
                chosen.made_with().device == ordinal && !chosen.imported,
            cudaErrorInvalidValue);
    device_at(r, ordinal).current_pool = &chosen;
  });
}

cudaError_t cudaMemGetDefaultMemPool(cudaMemPool_t* out, cudaMemLocation* where,
                                     cudaMemAllocationType type) {
  return call(__func__, [&](runtime& r) {
    require_pools(r);
    check_location(r, target(where));
    target(out) = handle_of(r.located_pool(*where, type, true));
  });
}

cudaError_t cudaMemGetMemPool(cudaMemPool_t* out, cudaMemLocation* where,
                              cudaMemAllocationType type) {
  return call(__func__, [&](runtime& r) {
    require_pools(r);
    check_location(r, target(where));
    target(out) = handle_of(r.located_pool(*where, type, false));
  });
}

cudaError_t cudaMemSetMemPool(cudaMemLocation* where, cudaMemAllocationType type,
                              cudaMemPool_t handle) {
  return call(__func__, [&](runtime& r) {
    pool& chosen = r.pool_of(handle);
    check_location(r, target(where));
    require(!chosen.imported && has_place(chosen, *where, type), cudaErrorInvalidValue);
    static_cast<void>(r.located_pool(*where, type, false));
    r.set_located_pool(*where, type, chosen);
  });
}

}  // extern "C"
