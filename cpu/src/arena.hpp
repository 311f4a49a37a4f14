// SPDX-License-Identifier: Apache-2.0
//
// arena: a stretch of address space for blocks, with one bit per page (backed or not) and one
// descriptor number per page beside it. Blocks grow from its low end up to the frontier; all three
// stretches are made usable in steps as the frontier moves. Not thread-safe.
#pragma once

#include "os_memory.hpp"
#include "page_bits.hpp"

#include <cstddef>
#include <cstdint>

namespace tidepool {
inline namespace v0 {
namespace cpu {

/// Reserved addresses, usable up to `committed`. Invariant: committed <= reserved.
struct growing_region {
  std::byte* data = nullptr;
  std::size_t reserved = 0;   ///< bytes
  std::size_t committed = 0;  ///< bytes from the start

  // 0 or errno.
  [[nodiscard]] int open(os_memory& os, std::size_t bytes, std::size_t alignment) noexcept;
  /// Post: committed >= bytes; in steps of at least `step` where the system agrees.
  [[nodiscard]] int commit(os_memory& os, std::size_t bytes, std::size_t step) noexcept;
  [[nodiscard]] int close(os_memory& os) noexcept;
};

enum class page_policy : std::uint8_t { small_pages, huge_pages };

struct arena_options {
  std::size_t bytes = std::size_t{64} << 30;  ///< halved on refusal, down to smallest_arena_bytes
  std::size_t at_least = 0;                   ///< no less than this, whatever is refused
  page_policy pages = page_policy::small_pages;
  int node = -1;  ///< NUMA node, -1: any
};

inline constexpr std::size_t smallest_arena_bytes = std::size_t{64} << 20;

/// Pages are numbered from 0 in the arena. Invariant: no bit at or above the frontier is set.
class arena {
 public:
  /// 0 or errno. Pre: closed. A refused binding is no error: see is_bound.
  [[nodiscard]] int open(os_memory& os, const arena_options& options) noexcept;
  /// Gives everything back; on an error the arena stays as it is. Pre: no bit is set.
  [[nodiscard]] int close(os_memory& os) noexcept;

  /// Gives all up. What the system refuses to take back costs address space only.
  void abandon(os_memory& os) noexcept;
  [[nodiscard]] bool is_open() const noexcept { return memory_.data != nullptr; }
  [[nodiscard]] bool is_bound() const noexcept { return bound_; }

  [[nodiscard]] std::uint32_t page_count() const noexcept {
    return static_cast<std::uint32_t>(memory_.reserved / page_bytes);
  }
  [[nodiscard]] std::uint32_t frontier() const noexcept { return frontier_; }
  /// Moves the frontier up. 0 or errno.
  [[nodiscard]] int advance(os_memory& os, std::uint32_t frontier) noexcept;

  /// Number in the machine of page 0: address / page_bytes.
  [[nodiscard]] std::uint64_t first_page() const noexcept {
    return reinterpret_cast<std::uintptr_t>(memory_.data) / page_bytes;
  }
  [[nodiscard]] void* address(std::uint32_t page) const noexcept {
    return memory_.data + page * page_bytes;
  }
  [[nodiscard]] std::size_t address_space_bytes() const noexcept {
    return memory_.reserved + table_.reserved + bits_.reserved;
  }

  /// Descriptor of the extent that begins or ends with this page. Pre: page < frontier().
  [[nodiscard]] std::uint32_t& at(std::uint32_t page) noexcept {
    return reinterpret_cast<std::uint32_t*>(table_.data)[page];
  }
  [[nodiscard]] std::uint32_t at(std::uint32_t page) const noexcept {
    return reinterpret_cast<const std::uint32_t*>(table_.data)[page];
  }
  [[nodiscard]] page_bits backed() const noexcept {
    return page_bits{reinterpret_cast<std::uint64_t*>(bits_.data)};
  }

  std::uint32_t left = 0;  ///< of descriptor_pool

 private:
  growing_region memory_;
  growing_region table_;
  growing_region bits_;
  std::uint32_t frontier_ = 0;
  bool bound_ = false;
};

}  // namespace cpu
}  // namespace v0
}  // namespace tidepool
