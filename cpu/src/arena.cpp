// SPDX-License-Identifier: Apache-2.0
//
// growing_region and arena: reserving, committing in steps, giving up. The caller, extent_heap,
// knows which pages hold memory and which extent owns them. Not thread-safe: the backend's mutex.
#include "arena.hpp"

#include <tidepool/assert.hpp>

#include <algorithm>
#include <initializer_list>

namespace tidepool {
inline namespace v0 {
namespace cpu {

namespace {

constexpr std::size_t round_up(std::size_t bytes, std::size_t unit) noexcept {
  return (bytes + unit - 1) / unit * unit;
}
constexpr std::size_t largest_step = std::size_t{64} << 20;
constexpr std::size_t table_step = std::size_t{64} << 10;  // for 64 MiB of pages
constexpr std::size_t bits_step = std::size_t{16} << 10;   // for 512 MiB of pages

}  // namespace

int growing_region::open(os_memory& os, std::size_t bytes, std::size_t alignment) noexcept {
  const os_memory::mapping made = os.reserve(bytes, alignment);
  if (made.data == nullptr) {
    return made.error;
  }
  *this = {static_cast<std::byte*>(made.data), bytes, 0};
  return 0;
}

int growing_region::commit(os_memory& os, std::size_t bytes, std::size_t step) noexcept {
  if (bytes <= committed) {
    return 0;
  }
  TIDEPOOL_ASSERT(1, bytes <= reserved);
  const std::size_t needed = std::min(reserved, round_up(bytes, page_bytes)) - committed;
  const std::size_t wanted =
      std::max(needed, std::min(reserved - committed, round_up(step, page_bytes)));
  int error = os.commit(data + committed, wanted);
  if (error == 0) {
    committed += wanted;
  } else if (wanted != needed) {
    error = os.commit(data + committed, needed);
    committed += error == 0 ? needed : 0;
  }
  return error;
}

int growing_region::close(os_memory& os) noexcept {
  const int error = data == nullptr ? 0 : os.release(data, reserved);
  if (error == 0) {
    *this = {};
  }
  return error;
}

int arena::open(os_memory& os, const arena_options& options) noexcept {
  const std::size_t least =
      std::max(smallest_arena_bytes, round_up(options.at_least, huge_page_bytes));
  std::size_t bytes = std::max(least, round_up(options.bytes, huge_page_bytes));
  int error = 0;
  for (;;) {
    error = memory_.open(os, bytes, huge_page_bytes);
    if (error == 0) {
      const std::size_t pages = bytes / page_bytes;
      error = table_.open(os, round_up(pages * sizeof(std::uint32_t), page_bytes), page_bytes);
      if (error == 0) {
        error = bits_.open(os, round_up(pages / 8, page_bytes), page_bytes);
      }
    }
    if (error == 0 || bytes == least) {
      break;
    }
    abandon(os);
    bytes = std::max(least, round_up(bytes / 2, huge_page_bytes));
  }
  if (error != 0) {
    abandon(os);
    return error;
  }
  // This is advice: a kernel without huge pages or NUMA refuses, and the memory can still be used.
  static_cast<void>(os.advise_huge(memory_.data, bytes, options.pages == page_policy::huge_pages));
  bound_ =
      options.node >= 0 && os.bind(memory_.data, bytes, static_cast<unsigned>(options.node)) == 0;
  frontier_ = 0;
  return 0;
}

int arena::close(os_memory& os) noexcept {
  if (const int error = memory_.close(os); error != 0) {
    return error;
  }
  abandon(os);
  return 0;
}

// A release that is refused here costs address space only, because the region is never used again.
void arena::abandon(os_memory& os) noexcept {
  for (growing_region* const region : {&memory_, &table_, &bits_}) {
    static_cast<void>(region->close(os));
    *region = {};
  }
  frontier_ = 0;
}

int arena::advance(os_memory& os, std::uint32_t frontier) noexcept {
  TIDEPOOL_ASSERT(1, frontier >= frontier_ && frontier <= page_count());
  const std::size_t end = frontier * page_bytes;
  if (const int error = table_.commit(os, frontier * sizeof(std::uint32_t), table_step);
      error != 0) {
    return error;
  }
  if (const int error = bits_.commit(os, round_up(frontier, 64) / 8, bits_step); error != 0) {
    return error;
  }
  // The committed part doubles, but runs at most 64 MiB ahead, because under strict overcommit
  // unused committed memory counts too.
  const std::size_t step = std::clamp(memory_.committed, huge_page_bytes, largest_step);
  if (const int error = memory_.commit(os, end, step); error != 0) {
    return error;
  }
  frontier_ = frontier;
  return 0;
}

}  // namespace cpu
}  // namespace v0
}  // namespace tidepool
