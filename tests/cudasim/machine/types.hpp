// SPDX-License-Identifier: Apache-2.0
//
// What all parts of the machine share: masks of lanes, extents of grids, and the fault that ends a
// kernel. No CUDA header here: the machine runs PTX and knows no runtime. Values only.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>

namespace cudasim {

using lane_mask = std::uint32_t;  // one bit per lane of a warp
inline constexpr int lane_count = 32;
inline constexpr lane_mask all_lanes = ~lane_mask{0};

inline constexpr std::uint64_t host_page = 4096;  // bytes

// What a report is about; cudasim.h has the same list for tests in C.
enum class finding : std::uint8_t {
  out_of_bounds,
  unallocated,
  use_after_free,
  use_before_allocation,
  unordered_use,
  unordered_free,
  race,
  misaligned,
  deadlock,
  leak,
  stale_handle,
  kernel_fault,
  unsupported,
  spoilt_capture,
  thread_end,
  forked_child,
};

// The CUDA error numbers that executing a kernel can end with.
enum class fault_code : int {
  invalid_ptx = 218,
  illegal_address = 700,
  illegal_instruction = 715,
  misaligned_address = 716,
  launch_failure = 719,
  not_supported = 801,
};

// Ends a kernel: the error that its stream keeps, and what a report says of it.
struct fault : std::runtime_error {
  fault_code code;
  finding kind;
  fault(fault_code error, finding about, const std::string& what)
      : std::runtime_error(what), code(error), kind(about) {}
};

struct extent {
  std::uint32_t x = 1;
  std::uint32_t y = 1;
  std::uint32_t z = 1;
  [[nodiscard]] std::uint64_t count() const { return std::uint64_t{x} * y * z; }
};

// Addresses [low, low + size); address + delta is where this process can access them.
struct range {
  std::uint64_t low = 0;
  std::uint64_t size = 0;
  std::uint64_t delta = 0;
  [[nodiscard]] bool holds(std::uint64_t address, std::uint64_t bytes) const {
    return size >= bytes && address - low <= size - bytes;
  }
};

[[nodiscard]] constexpr std::uint64_t align_up(std::uint64_t value, std::uint64_t alignment) {
  return (value + alignment - 1) / alignment * alignment;
}

}  // namespace cudasim
