// SPDX-License-Identifier: Apache-2.0
//
// A range of addresses that allocations are cut from, first fit. It is mapped twice: programs see
// one view (which the host may not touch, for device memory), the simulator works through the
// other, `delta()` away. Guarded by the runtime's lock.
#pragma once

#include "machine/types.hpp"

#include <cstdint>
#include <map>

namespace cudasim {

class address_space {
 public:
  /// Reserves addresses; their memory is zero and backed when touched. Aborts if the system has
  /// none, as nothing works without. hidden: the host may not touch the program's view.
  void reserve(std::uint64_t bytes, bool hidden);

  [[nodiscard]] std::uint64_t base() const { return base_; }
  [[nodiscard]] std::uint64_t size() const { return size_; }
  [[nodiscard]] std::uint64_t delta() const { return delta_; }
  [[nodiscard]] int descriptor() const { return descriptor_; }
  [[nodiscard]] bool contains(std::uint64_t address) const { return address - base_ < size_; }
  [[nodiscard]] bool contains(const void* address) const {
    return contains(reinterpret_cast<std::uint64_t>(address));
  }
  /// Where the simulator finds what the program sees at `address`.
  [[nodiscard]] char* memory_at(std::uint64_t address) const {
    return reinterpret_cast<char*>(address + delta_);
  }

  /// 0 if there is no room. `alignment` is a power of two.
  [[nodiscard]] std::uint64_t take(std::uint64_t bytes, std::uint64_t alignment);
  void give(std::uint64_t address, std::uint64_t bytes);

  /// Puts another file's memory behind a range, or (restore) the space's own, which is zero then.
  [[nodiscard]] bool replace(std::uint64_t address, std::uint64_t bytes, int descriptor,
                             std::uint64_t offset);
  void restore(std::uint64_t address, std::uint64_t bytes);

 private:
  std::uint64_t base_ = 0;
  std::uint64_t size_ = 0;
  std::uint64_t delta_ = 0;
  int descriptor_ = -1;
  bool hidden_ = false;
  std::map<std::uint64_t, std::uint64_t> free_;  // address -> bytes
};

}  // namespace cudasim
