// SPDX-License-Identifier: Apache-2.0
//
// annotated_source: any slab_source, whose slabs and slow calls an annotator is told of. It exists
// only where annotations are on, so they cost nothing where they are off.
#pragma once

#include "annotate/slabs.hpp"

#include <memory>
#include <utility>

namespace tidepool {
inline namespace v0 {
namespace cuda {

class annotated_source final : public slab_source {
 public:
  /// Pre: wrapped is not null. `slabs` outlives the source.
  annotated_source(std::unique_ptr<slab_source> wrapped, annotated_slabs& slabs) noexcept
      : wrapped_(std::move(wrapped)), slabs_(slabs) {}

  [[nodiscard]] const device_description& description() const noexcept override {
    return wrapped_->description();
  }
  [[nodiscard]] std::size_t granularity() const noexcept override {
    return wrapped_->granularity();
  }
  [[nodiscard]] std::size_t smallest_slab() const noexcept override {
    return wrapped_->smallest_slab();
  }
  [[nodiscard]] std::size_t largest_slab() const noexcept override {
    return wrapped_->largest_slab();
  }

  [[nodiscard]] result<slab> allocate(std::size_t bytes) noexcept override {
    const annotated_range range(&slabs_.tool(), "grow");
    result<slab> made = wrapped_->allocate(bytes);
    if (made) {
      slabs_.add(description().where, *made);
    }
    return made;
  }
  // The tool is told before the release, because afterwards the addresses may be reused at once.
  [[nodiscard]] status release(const slab& what) noexcept override {
    const annotated_range range(&slabs_.tool(), "give back");
    slabs_.remove(what);
    const status why = wrapped_->release(what);
    if (!why.ok()) {
      slabs_.add(description().where, what);
    }
    return why;
  }
  [[nodiscard]] result<slab> extend(const slab& what, std::size_t bytes) noexcept override {
    const annotated_range range(&slabs_.tool(), "extend");
    return wrapped_->extend(what, bytes);
  }

  [[nodiscard]] std::size_t held_bytes(std::size_t in_slabs) const noexcept override {
    return wrapped_->held_bytes(in_slabs);
  }

  std::size_t populate(std::span<const block> blocks, unsigned threads) noexcept override {
    return wrapped_->populate(blocks, threads);
  }
  [[nodiscard]] status prefetch(std::span<const std::byte> range, device target,
                                void* stream) noexcept override {
    return wrapped_->prefetch(range, target, stream);
  }
  [[nodiscard]] status advise(std::span<const std::byte> range,
                              const advice_request& request) noexcept override {
    return wrapped_->advise(range, request);
  }

 private:
  const std::unique_ptr<slab_source> wrapped_;
  annotated_slabs& slabs_;
};

}  // namespace cuda
}  // namespace v0
}  // namespace tidepool
