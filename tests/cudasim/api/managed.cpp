// SPDX-License-Identifier: Apache-2.0
//
// Managed memory's place: prefetches and advice are checked, kept and have no other effect, as all
// devices and the host share it here. Batches of copies and prefetches of CUDA 13.
#include "api/location.hpp"

#include <algorithm>
#include <functional>

using namespace cudasim;

namespace {

// The managed allocation that holds all of the range.
allocation_ptr managed_range(runtime& r, const void* address, std::size_t bytes) {
  const allocation_ptr found = r.memory.issued(address);
  const auto at = reinterpret_cast<std::uint64_t>(address);
  require(found != nullptr && found->kind == memory_kind::managed && bytes != 0 &&
              bytes <= found->base + found->size - at,
          cudaErrorInvalidValue);
  return found;
}

// An operation that uses the range, so that its order is checked, and does nothing to it.
void enqueue_use(runtime& r, const void* address, std::size_t bytes, stream& in) {
  const std::string name = r.call_name;
  const auto at = reinterpret_cast<std::uint64_t>(address);
  require(!in.is_capturing(), cudaErrorStreamCaptureUnsupported);
  r.enqueue(in, name, [&r, at, bytes](operation& by) {
    static_cast<void>(r.memory.use(at, bytes, false, by.who, {}));
  });
}

void prefetch(runtime& r, const void* address, std::size_t bytes, const cudaMemLocation& to,
              stream& in) {
  check_location(r, to);
  managed_range(r, address, bytes)->location = {to.type, to.id};
  enqueue_use(r, address, bytes, in);
}

void prefetch_batch(runtime& r, void** addresses, const std::size_t* bytes, std::size_t count,
                    const cudaMemLocation* locations, const std::size_t* first_uses,
                    std::size_t location_count, cudaStream_t handle) {
  require(addresses != nullptr && bytes != nullptr && locations != nullptr &&
              first_uses != nullptr && location_count != 0 && location_count <= count &&
              first_uses[0] == 0,
          cudaErrorInvalidValue);
  stream& in = r.stream_of(handle);
  std::size_t location = 0;
  for (std::size_t i = 0; i != count; ++i) {
    while (location + 1 < location_count && first_uses[location + 1] <= i) {
      ++location;
    }
    prefetch(r, addresses[i], bytes[i], locations[location], in);
  }
}

// Sources are read at the call if they are pageable, else in stream order: right for every order.
bool has_order(const cudaMemcpyAttributes& of) {
  return of.srcAccessOrder == cudaMemcpySrcAccessOrderStream ||
         of.srcAccessOrder == cudaMemcpySrcAccessOrderDuringApiCall ||
         of.srcAccessOrder == cudaMemcpySrcAccessOrderAny;
}

void discard_batch(runtime& r, void** addresses, const std::size_t* bytes, std::size_t count,
                   cudaStream_t handle) {
  require(addresses != nullptr && bytes != nullptr && count != 0, cudaErrorInvalidValue);
  stream& in = r.stream_of(handle);
  for (std::size_t i = 0; i != count; ++i) {
    managed_range(r, addresses[i], bytes[i]);
    constexpr int discarded = 0xDD;  // what is read before it is written again was lost
    r.fill({static_cast<char*>(addresses[i]), bytes[i], 1}, discarded, 1, {bytes[i], 1, 1}, in);
  }
}

}  // namespace

extern "C" {

cudaError_t cudaMemPrefetchAsync(const void* address, std::size_t bytes, cudaMemLocation to,
                                 unsigned flags, cudaStream_t in) {
  return call(__func__, [&](runtime& r) {
    require(flags == 0, cudaErrorInvalidValue);
    prefetch(r, address, bytes, to, r.stream_of(in));
  });
}

cudaError_t cudaMemPrefetchBatchAsync(void** addresses, std::size_t* bytes, std::size_t count,
                                      cudaMemLocation* locations, std::size_t* first_uses,
                                      std::size_t location_count, unsigned long long flags,
                                      cudaStream_t in) {
  return call(__func__, [&](runtime& r) {
    require(flags == 0, cudaErrorInvalidValue);
    prefetch_batch(r, addresses, bytes, count, locations, first_uses, location_count, in);
  });
}

cudaError_t cudaMemDiscardBatchAsync(void** addresses, std::size_t* bytes, std::size_t count,
                                     unsigned long long flags, cudaStream_t in) {
  return call(__func__, [&](runtime& r) {
    require(flags == 0, cudaErrorInvalidValue);
    discard_batch(r, addresses, bytes, count, in);
  });
}

cudaError_t cudaMemDiscardAndPrefetchBatchAsync(void** addresses, std::size_t* bytes,
                                                std::size_t count, cudaMemLocation* locations,
                                                std::size_t* first_uses, std::size_t location_count,
                                                unsigned long long flags, cudaStream_t in) {
  return call(__func__, [&](runtime& r) {
    require(flags == 0, cudaErrorInvalidValue);
    discard_batch(r, addresses, bytes, count, in);
    prefetch_batch(r, addresses, bytes, count, locations, first_uses, location_count, in);
  });
}

cudaError_t cudaMemAdvise(const void* address, std::size_t bytes, cudaMemoryAdvise advice,
                          cudaMemLocation where) {
  return call(__func__, [&](runtime& r) {
    const allocation_ptr of = managed_range(r, address, bytes);
    switch (advice) {
    case cudaMemAdviseSetReadMostly:
      of->read_mostly = true;
      return;
    case cudaMemAdviseUnsetReadMostly:
      of->read_mostly = false;
      return;
    case cudaMemAdviseSetPreferredLocation:
      check_location(r, where);
      of->preferred = {where.type, where.id};
      return;
    case cudaMemAdviseUnsetPreferredLocation:
      of->preferred = {};
      return;
    case cudaMemAdviseSetAccessedBy:
    case cudaMemAdviseUnsetAccessedBy:
      check_location(r, where);
      return;
    }
    refuse(cudaErrorInvalidValue);
  });
}

cudaError_t cudaMemRangeGetAttribute(void* data, std::size_t data_bytes,
                                     cudaMemRangeAttribute which, const void* address,
                                     std::size_t bytes) {
  return call(__func__, [&](runtime& r) {
    const allocation_ptr of = managed_range(r, address, bytes);
    require(data != nullptr && data_bytes >= sizeof(int), cudaErrorInvalidValue);
    int& out = *static_cast<int*>(data);
    const auto device_of = [](const memory_location& where) {
      return where.type == cudaMemLocationTypeDevice ? where.id
             : where.type == cudaMemLocationTypeHost ? cudaCpuDeviceId
                                                     : cudaInvalidDeviceId;
    };
    switch (which) {
    case cudaMemRangeAttributeReadMostly:
      out = of->read_mostly ? 1 : 0;
      return;
    case cudaMemRangeAttributePreferredLocation:
      out = device_of(of->preferred);
      return;
    case cudaMemRangeAttributeLastPrefetchLocation:
      out = device_of(of->location);
      return;
    case cudaMemRangeAttributePreferredLocationType:
      out = of->preferred.type;
      return;
    case cudaMemRangeAttributePreferredLocationId:
      out = of->preferred.id;
      return;
    case cudaMemRangeAttributeLastPrefetchLocationType:
      out = of->location.type;
      return;
    case cudaMemRangeAttributeLastPrefetchLocationId:
      out = of->location.id;
      return;
    default:
      refuse(cudaErrorNotSupported);
    }
  });
}

cudaError_t cudaMemcpyBatchAsync(void* const* targets, const void* const* sources,
                                 const std::size_t* bytes, std::size_t count,
                                 cudaMemcpyAttributes* attributes, std::size_t* first_uses,
                                 std::size_t attribute_count, cudaStream_t handle) {
  return call(__func__, [&](runtime& r) {
    require(targets != nullptr && sources != nullptr && bytes != nullptr && count != 0 &&
                attributes != nullptr && first_uses != nullptr && attribute_count != 0 &&
                attribute_count <= count && first_uses[0] == 0 &&
                std::adjacent_find(first_uses, first_uses + attribute_count,
                                   std::greater_equal<>()) == first_uses + attribute_count &&
                std::all_of(attributes, attributes + attribute_count, has_order),
            cudaErrorInvalidValue);
    stream& in = r.stream_of(handle);
    require(!in.legacy, cudaErrorInvalidValue);  // as documented: not in the null stream
    for (std::size_t i = 0; i != count; ++i) {
      r.copy(targets[i], sources[i], bytes[i], in, false);
    }
  });
}

}  // extern "C"
