// SPDX-License-Identifier: Apache-2.0
//
// extent and slab_record: a run of pages of one slab, free or in use, and the slab it is in. The
// device memory itself is never read or written: these descriptors in host memory say all about it.
#pragma once

#include "heap/stream_order.hpp"
#include "slabs/slab_source.hpp"
#include <tidepool/support/binned_tree.hpp>
#include <tidepool/support/block_requests.hpp>
#include <tidepool/support/descriptor_pool.hpp>
#include <tidepool/support/extent_basics.hpp>
#include <tidepool/support/ordered_tree.hpp>

#include <cstddef>
#include <cstdint>

namespace tidepool {
inline namespace v0 {
namespace cuda {

using support::align_up;
using support::extent_state;
using support::page_bytes;

/// Invariants: neighbours in the slab are linked both ways; two free neighbours never have the same
/// heap, but for several_streams; `after_all_of` counts only with heap == several_streams.
struct extent {
  std::uint32_t left = 0;  ///< of the tree it is in while free
  std::uint32_t right = 0;
  std::uint32_t older = 0;  ///< in its heap's queue by stamp
  std::uint32_t newer = 0;
  std::uint32_t before = 0;  ///< the neighbour at the lower address, 0: the slab begins here
  std::uint32_t after = 0;   ///< 0: the slab ends here
  std::uint64_t page = 0;    ///< address / page_bytes
  std::uint32_t pages = 0;
  std::uint32_t slab = 0;
  std::uint64_t stamp = 0;      ///< of the latest free of its memory
  std::size_t block_bytes = 0;  ///< length of the block handed out
  std::uint32_t span = 0;       ///< number of the span
  stream_index heap = no_stream;
  extent_state state = extent_state::unused;
  stream_set after_all_of;

  /// Best fit, then the lowest address.
  [[nodiscard]] support::tree_key key() const noexcept { return {pages, page}; }
  [[nodiscard]] void* address() const noexcept {
    return reinterpret_cast<void*>(page * page_bytes);  // NOLINT: pages are numbers of addresses
  }
};

/// Invariant: the extents from `first` on, linked by `after`, tile the slab's pages.
struct slab_record {
  std::uint32_t left = 0;   ///< of descriptor_pool
  std::uint32_t first = 0;  ///< extent, 0: the descriptor is unused
  std::uint32_t last = 0;
  std::uint32_t newer = 0;       ///< in the list of slabs that are being given back
  std::uint64_t idle_since = 0;  ///< tick when it was first seen free, 0: not
  slab memory = {};
};

struct extent_shape {
  std::uint32_t pages = 1;      ///< >= 1
  std::uint32_t alignment = 1;  ///< in pages, a power of two
};

}  // namespace cuda
}  // namespace v0
}  // namespace tidepool
