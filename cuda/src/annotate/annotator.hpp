// SPDX-License-Identifier: Apache-2.0
//
// annotator: what profilers and memory checkers are told: ranges around slow operations, slabs by
// name, the blocks in them that are handed out. Off, there is none: users hold a null pointer, and
// every call below costs one predictable branch. nvtx.hpp has the one that speaks NVTX.
//
// Thread safety: every function from any thread; a range ends on the thread that began it.
#pragma once

#include <tidepool/backend.hpp>

#include <cstddef>
#include <cstdint>
#include <span>

namespace tidepool {
inline namespace v0 {
namespace cuda {

class annotator {
 public:
  annotator() = default;
  annotator(const annotator&) = delete;
  annotator& operator=(const annotator&) = delete;
  virtual ~annotator() = default;

  /// `what`: static text. Ranges nest.
  virtual void begin_range(const char* what) noexcept = 0;
  virtual void end_range() noexcept = 0;

  /// Tells of memory that blocks will be carved from; what lies in no block may not be touched.
  /// Answers the tool's number for it, for the functions below. `name` is read during the call.
  [[nodiscard]] virtual std::uintptr_t add_slab(std::span<const std::byte> memory,
                                                const char* name) noexcept = 0;
  /// Pre: its blocks were removed.
  virtual void remove_slab(std::uintptr_t slab) noexcept = 0;
  virtual void add_blocks(std::uintptr_t slab, std::span<const block> blocks) noexcept = 0;
  virtual void resize_block(const block& now) noexcept = 0;
  virtual void remove_blocks(std::span<const block> blocks) noexcept = 0;
};

/// A range for as long as it lives. `tool` may be null.
class annotated_range {
 public:
  annotated_range(annotator* tool, const char* what) noexcept : tool_(tool) {
    if (tool_ != nullptr) [[unlikely]] {
      tool_->begin_range(what);
    }
  }
  annotated_range(const annotated_range&) = delete;
  annotated_range& operator=(const annotated_range&) = delete;
  ~annotated_range() {
    if (tool_ != nullptr) [[unlikely]] {
      tool_->end_range();
    }
  }

 private:
  annotator* const tool_;
};

}  // namespace cuda
}  // namespace v0
}  // namespace tidepool
