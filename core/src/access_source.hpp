// SPDX-License-Identifier: Apache-2.0
//
// Sources: they cut a batch into chunks of valid indices, outside of every lock, and say what
// became of the other ids. A source is a position in a batch; a copy goes on from the same place.
//
//   bool next(access_chunk&, access_report&)   false: the batch is at its end
//   static constexpr bool has_generations      ids are valid only while their tensor lives
#pragma once

#include "access_chunk.hpp"
#include "flat_index.hpp"
#include "record.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>

namespace tidepool {
inline namespace v0 {
namespace detail {

/// Domain indices in rows, see access_layout. Pre: the batch was checked.
class index_source {
 public:
  static constexpr bool has_generations = false;

  index_source(const access_batch& asked, std::size_t domain_size,
               const access_kernels& use) noexcept
      : batch(asked), kernels_(use), size_(domain_size) {
    if (asked.layout.tokens == 0) {  // no layout, whatever else it says: rows of one index each
      tokens_ = asked.indices.size();
      layer_stride_ = tokens_;
      return;
    }
    layers_ = asked.layout.layers;
    tokens_ = asked.layout.tokens;
    k_ = asked.layout.k;
    extent_ = asked.layout.extent;
    bases_ = asked.layout.bases;
    token_stride_ = asked.layout.token_stride != 0 ? asked.layout.token_stride : k_;
    layer_stride_ =
        asked.layout.layer_stride != 0 ? asked.layout.layer_stride : tokens_ * token_stride_;
  }

  [[nodiscard]] bool next(access_chunk& chunk, access_report& report) noexcept {
    chunk.n = 0;
    const bool is_one_run = batch.mask.empty() && token_stride_ == k_;
    while (chunk.n < chunk_indices && layer_ < layers_ && tokens_ * k_ != 0) {
      // From here to the end of the row, or of the layer where rows follow each other.
      const std::size_t run = (is_one_run ? tokens_ - token_ : 1) * k_ - column_;
      const std::size_t count = std::min(run, chunk_indices - chunk.n);
      if (!batch.mask.empty() && batch.mask[token_] == 0) {
        report.masked += count;
      } else if (batch.weights.empty()) {
        narrow(count, chunk, report);
      } else {
        narrow_weighted(count, chunk, report);
      }
      advance(count);
    }
    if (chunk.n == 0 && layer_ >= layers_) {
      return false;
    }
    chunk.pad();
    return tokens_ * k_ != 0;
  }

  const access_batch& batch;

 private:
  [[nodiscard]] access_range range() const noexcept {
    const std::uint64_t base = bases_.empty() ? layer_ * extent_ : bases_[layer_];
    const std::uint64_t rest = size_ - base;
    return {.extent = extent_ == 0 ? rest : std::min<std::uint64_t>(extent_, rest), .base = base};
  }
  [[nodiscard]] std::size_t place() const noexcept {
    return layer_ * layer_stride_ + token_ * token_stride_ + column_;
  }
  void narrow(std::size_t count, access_chunk& chunk, access_report& report) const noexcept {
    access_tally rest{};
    std::uint32_t* const out = &chunk.indices[chunk.n];
    chunk.n +=
        batch.indices.is_wide()
            ? kernels_.narrow_64(static_cast<const std::int64_t*>(batch.indices.data()) + place(),
                                 count, range(), out, &rest)
            : kernels_.narrow_32(static_cast<const std::int32_t*>(batch.indices.data()) + place(),
                                 count, range(), out, &rest);
    report.padding += rest.padding;
    report.out_of_range += rest.out_of_range;
  }
  void narrow_weighted(std::size_t count, access_chunk& chunk,
                       access_report& report) const noexcept {
    const access_range valid = range();
    const std::uint32_t* const weights = &batch.weights[(layer_ * tokens_ + token_) * k_ + column_];
    for (std::size_t i = 0; i < count; ++i) {
      const std::int64_t id =
          batch.indices.is_wide()
              ? static_cast<const std::int64_t*>(batch.indices.data())[place() + i]
              : static_cast<const std::int32_t*>(batch.indices.data())[place() + i];
      if (static_cast<std::uint64_t>(id) >= valid.extent) {
        ++(id == -1 ? report.padding : report.out_of_range);
      } else if (weights[i] == 0) {
        ++report.masked;
      } else {
        chunk.indices[chunk.n] =
            static_cast<std::uint32_t>(valid.base + static_cast<std::uint64_t>(id));
        chunk.weights[chunk.n++] = weights[i];
      }
    }
  }
  void advance(std::size_t count) noexcept {
    column_ += count;
    token_ += column_ / k_;
    column_ %= k_;
    layer_ += token_ / tokens_;
    token_ %= tokens_;
  }

  const access_kernels& kernels_;
  std::uint64_t size_;
  std::span<const std::uint64_t> bases_ = {};
  std::size_t extent_ = 0;
  std::size_t layers_ = 1;
  std::size_t tokens_ = 0;
  std::size_t k_ = 1;
  std::size_t token_stride_ = 1;
  std::size_t layer_stride_ = 0;
  std::size_t layer_ = 0;
  std::size_t token_ = 0;
  std::size_t column_ = 0;
};

/// What tensors and keys have in common: an id for each, and weights and masks by their number.
class entry_source {
 public:
  static constexpr bool has_generations = true;
  const access_batch& batch;

 protected:
  entry_source(const access_batch& asked, std::uint64_t pool_tag, std::size_t slots) noexcept
      : batch(asked), pool_tag_(pool_tag), slots_(slots) {}

  [[nodiscard]] bool is_masked(std::size_t i) const noexcept {
    return (!batch.mask.empty() && batch.mask[i] == 0) ||
           (!batch.weights.empty() && batch.weights[i] == 0);
  }
  void put(access_chunk& chunk, std::uint32_t slot, std::uint32_t generation,
           std::size_t i) const noexcept {
    chunk.indices[chunk.n] = slot;
    chunk.generations[chunk.n] = generation;
    if (!batch.weights.empty()) {
      chunk.weights[chunk.n] = batch.weights[i];
    }
    ++chunk.n;
  }

  std::uint64_t pool_tag_;
  std::size_t slots_;
  std::size_t at_ = 0;
};

class tensor_source : public entry_source {
 public:
  tensor_source(const access_batch& asked, std::uint64_t pool_tag, std::size_t slots) noexcept
      : entry_source(asked, pool_tag, slots) {}

  [[nodiscard]] bool next(access_chunk& chunk, access_report& report) noexcept {
    chunk.n = 0;
    if (at_ == batch.tensors.size()) {
      return false;
    }
    const std::size_t last = std::min(batch.tensors.size(), at_ + chunk_indices);
    for (; at_ < last; ++at_) {
      const std::uint64_t id = batch.tensors[at_].value();
      const std::uint64_t slot = self_of(id) >> slot_shift;
      if (id == 0) {
        ++report.padding;
      } else if ((id & tag_mask) != pool_tag_ || is_free(id) || slot >= slots_) {
        ++report.out_of_range;
      } else if (is_masked(at_)) {
        ++report.masked;
      } else {
        put(chunk, static_cast<std::uint32_t>(slot), generation_of(id), at_);
      }
    }
    chunk.pad();
    return true;
  }
};

class key_source : public entry_source {
 public:
  key_source(const access_batch& asked, const flat_index& keys) noexcept
      : entry_source(asked, 0, 0), keys_(keys) {}

  [[nodiscard]] bool next(access_chunk& chunk, access_report& report) noexcept {
    chunk.n = 0;
    if (at_ == batch.keys.size()) {
      return false;
    }
    const auto keys = batch.keys.subspan(at_, std::min(batch.keys.size() - at_, chunk_indices));
    keys_.find_n(keys, found_);
    for (std::size_t i = 0; i < keys.size(); ++i, ++at_) {
      if (keys[i] == 0) {
        ++report.padding;
      } else if (is_masked(at_)) {
        ++report.masked;
      } else if (found_[i].generation == 0) {
        ++report.stale;
      } else {
        put(chunk, found_[i].slot, found_[i].generation, at_);
      }
    }
    chunk.pad();
    return true;
  }

 private:
  const flat_index& keys_;
  std::array<flat_index::value, chunk_indices> found_;
};

}  // namespace detail
}  // namespace v0
}  // namespace tidepool
