// SPDX-License-Identifier: Apache-2.0
//
// annotated_slabs: which slab an address lies in, and what the annotator calls that slab; names for
// them ("tidepool cuda:0 slab 3"). Slabs without memory for their entry are simply not annotated.
// Thread-safe.
#pragma once

#include "annotate/annotator.hpp"
#include "slabs/slab_source.hpp"

#include <cstdint>
#include <map>
#include <mutex>
#include <optional>

namespace tidepool {
inline namespace v0 {
namespace cuda {

class annotated_slabs {
 public:
  explicit annotated_slabs(annotator& tool) noexcept : tool_(tool) {}

  [[nodiscard]] annotator& tool() const noexcept { return tool_; }

  void add(device where, const slab& what) noexcept;
  void remove(const slab& what) noexcept;
  /// Tells of blocks, those of one slab together.
  void add_blocks(std::span<const block> blocks) noexcept;
  void remove_blocks(std::span<const block> blocks) noexcept { tool_.remove_blocks(blocks); }

 private:
  struct entry {
    std::uintptr_t end = 0;
    std::uintptr_t slab = 0;  // the annotator's
  };
  [[nodiscard]] std::optional<entry> find(const void* data) const noexcept;

  annotator& tool_;
  mutable std::mutex mutex_;
  std::map<std::uintptr_t, entry> entries_;  // by first byte; guarded by mutex_
  std::map<device, unsigned> numbers_;       // of slabs so far; guarded by mutex_
};

}  // namespace cuda
}  // namespace v0
}  // namespace tidepool
