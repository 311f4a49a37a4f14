// SPDX-License-Identifier: Apache-2.0
//
// Copies and fills. What comes from pageable memory is taken at the call, what goes there is waited
// for; pinned memory is read and written when the operation runs.
#include "runtime/runtime.hpp"

#include <cstring>

namespace cudasim {
namespace {

std::uint64_t number_of(const void* address) {
  return reinterpret_cast<std::uint64_t>(address);
}

std::size_t row_offset(const runtime::pitched& of, std::size_t row, std::size_t slice) {
  return (slice * of.height + row) * of.pitch;
}

bool is_contiguous(const runtime::pitched& of, const runtime::rectangle& shape) {
  return (shape.height == 1 || of.pitch == shape.width) &&
         (shape.depth == 1 || of.height == shape.height);
}

// A copy of contiguous parts is one row.
void flatten(runtime::pitched& to, runtime::pitched& from, runtime::rectangle& shape) {
  if (is_contiguous(to, shape) && is_contiguous(from, shape)) {
    shape = {shape.width * shape.height * shape.depth, 1, 1, shape.is_carried};
  }
}

}  // namespace

// The simulator's address of bytes that an operation accesses, after all checks.
char* runtime::where(std::uint64_t address, std::size_t bytes, bool write, operation& by,
                     bool is_carried) {
  if (is_pageable(reinterpret_cast<const void*>(address))) {
    return reinterpret_cast<char*>(address);
  }
  const range found = memory.use(address, bytes, write, by.who, {nullptr, is_carried});
  if (set.races) {
    race_checker(races, by.who).access(address, bytes, write, false);
  }
  return reinterpret_cast<char*>(address + found.delta);
}

void runtime::copy_now(operation& by, const pitched& to, const pitched& from,
                       const rectangle& shape, const char* staged) {
  const bool carried = shape.is_carried;
  for (std::size_t slice = 0; slice != shape.depth; ++slice) {
    for (std::size_t row = 0; row != shape.height; ++row) {
      const char* source = staged;
      if (staged != nullptr) {
        staged += shape.width;
      } else {
        source = where(number_of(from.at) + row_offset(from, row, slice), shape.width, false, by,
                       carried);
      }
      char* const target =
          where(number_of(to.at) + row_offset(to, row, slice), shape.width, true, by, carried);
      std::memmove(target, source, shape.width);
    }
  }
}

void runtime::copy(const pitched& wanted_to, const pitched& wanted_from,
                   const rectangle& wanted_shape, stream& in, bool waits) {
  pitched to = wanted_to;
  pitched from = wanted_from;
  rectangle shape = wanted_shape;
  flatten(to, from, shape);
  const std::size_t bytes = shape.width * shape.height * shape.depth;
  if (bytes == 0) {
    return;
  }
  require(to.at != nullptr && from.at != nullptr, cudaErrorInvalidValue);
  const bool from_device = device_space.contains(from.at);
  const bool to_device = device_space.contains(to.at);
  ++counts.copies;
  (from_device && to_device ? counts.bytes_on_device
   : to_device              ? counts.bytes_to_device
                            : counts.bytes_to_host) += bytes;
  std::shared_ptr<std::vector<char>> staged;
  if (is_pageable(from.at) && !in.is_capturing()) {
    staged = std::make_shared<std::vector<char>>();
    staged->reserve(bytes);
    for (std::size_t slice = 0; slice != shape.depth; ++slice) {
      for (std::size_t row = 0; row != shape.height; ++row) {
        const char* const begin = from.at + row_offset(from, row, slice);
        staged->insert(staged->end(), begin, begin + shape.width);
      }
    }
  }
  const std::string name = call_name;
  const auto run = [this, to, from, shape, staged](operation& by) {
    copy_now(by, to, from, shape, staged == nullptr ? nullptr : staged->data());
  };
  if (in.is_capturing()) {
    require(!waits, cudaErrorStreamCaptureUnsupported);
    capture_node(in, name, cudaGraphNodeTypeMemcpy,
                 [this, name, run](stream& order) { enqueue(order, name, run); });
    return;
  }
  const operation_ptr queued = enqueue(in, name, run);
  if (waits || is_pageable(to.at)) {
    wait(queued);
  }
}

void runtime::check_direction(const void* to, const void* from, cudaMemcpyKind kind) const {
  const bool from_device = device_space.contains(from);
  const bool to_device = device_space.contains(to);
  switch (kind) {
  case cudaMemcpyHostToHost:
    require(!from_device && !to_device, cudaErrorInvalidValue);
    return;
  case cudaMemcpyHostToDevice:
    require(!from_device && !is_pageable(to), cudaErrorInvalidValue);
    return;
  case cudaMemcpyDeviceToHost:
    require(!to_device && !is_pageable(from), cudaErrorInvalidValue);
    return;
  case cudaMemcpyDeviceToDevice:
    require(!is_pageable(from) && !is_pageable(to), cudaErrorInvalidValue);
    return;
  case cudaMemcpyDefault:
    return;
  }
  refuse(cudaErrorInvalidMemcpyDirection);
}

void runtime::fill(const pitched& wanted, int value, unsigned element_bytes,
                   const rectangle& wanted_shape, stream& in) {
  pitched to = wanted;
  rectangle shape = wanted_shape;
  if (is_contiguous(to, shape)) {
    shape = {shape.width * shape.height * shape.depth, 1, 1};
  }
  const std::size_t bytes = shape.width * shape.height * shape.depth;
  if (bytes == 0) {
    return;
  }
  require(!is_pageable(to.at), cudaErrorInvalidValue);
  counts.bytes_filled += bytes;
  const std::string name = call_name;
  const auto run = [this, to, shape, value, element_bytes](operation& by) {
    for (std::size_t slice = 0; slice != shape.depth; ++slice) {
      for (std::size_t row = 0; row != shape.height; ++row) {
        char* const at =
            where(number_of(to.at) + row_offset(to, row, slice), shape.width, true, by, false);
        for (std::size_t i = 0; element_bytes != 1 && i < shape.width; i += element_bytes) {
          std::memcpy(at + i, &value, element_bytes);
        }
        if (element_bytes == 1) {
          std::memset(at, value, shape.width);
        }
      }
    }
  };
  if (in.is_capturing()) {
    capture_node(in, name, cudaGraphNodeTypeMemset,
                 [this, name, run](stream& order) { enqueue(order, name, run); });
    return;
  }
  enqueue(in, name, run);
}

}  // namespace cudasim
