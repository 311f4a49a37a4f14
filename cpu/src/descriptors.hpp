// SPDX-License-Identifier: Apache-2.0
//
// The descriptor pools and trees of <tidepool/support>, with chunks taken straight from the system.
#pragma once

#include "os_memory.hpp"
#include <tidepool/support/binned_tree.hpp>
#include <tidepool/support/descriptor_pool.hpp>
#include <tidepool/support/ordered_tree.hpp>

#include <cstddef>

namespace tidepool {
inline namespace v0 {
namespace cpu {

/// Chunks of whole pages.
class system_chunks {
 public:
  system_chunks(os_memory& os) noexcept : os_(os) {}  // NOLINT: implicit on purpose

  [[nodiscard]] support::chunk allocate(std::size_t bytes) noexcept {
    const os_memory::mapping made = os_.reserve(whole_pages(bytes), page_bytes);
    if (made.data == nullptr) {
      return {nullptr, made.error};
    }
    if (const int error = os_.commit(made.data, whole_pages(bytes)); error != 0) {
      static_cast<void>(os_.release(made.data, whole_pages(bytes)));
      return {nullptr, error};
    }
    return {made.data, 0};
  }
  void release(void* chunk, std::size_t bytes) noexcept {
    static_cast<void>(os_.release(chunk, whole_pages(bytes)));
  }

 private:
  [[nodiscard]] static constexpr std::size_t whole_pages(std::size_t bytes) noexcept {
    return (bytes + page_bytes - 1) / page_bytes * page_bytes;
  }

  os_memory& os_;
};

template <class Record>
using descriptor_pool = support::descriptor_pool<Record, system_chunks>;
template <class Record>
using ordered_tree = support::ordered_tree<descriptor_pool<Record>>;
template <class Record>
using binned_tree = support::binned_tree<descriptor_pool<Record>>;
using support::tree_key;

}  // namespace cpu
}  // namespace v0
}  // namespace tidepool
