// SPDX-License-Identifier: Apache-2.0
//
// Sources: they cut a batch into chunks of valid indices, outside of every lock, and count the ids
// that are not valid. A source is a position in a batch, and a copy goes on from the same position.
//
//   bool next(access_chunk&, access_report&)   false: the batch is at its end
//   static constexpr bool has_generations      ids are valid only while their tensor lives
#pragma once

#include "access/chunk.hpp"
#include "record/flat_index.hpp"
#include "record/record.hpp"

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
    if (asked.layout.tokens == 0) {  // no layout: rows of one index each, other fields are ignored
      tokens_ = asked.indices.size();
      layer_stride_ = tokens_;
    } else {
      layers_ = asked.layout.layers;
      tokens_ = asked.layout.tokens;
      k_ = asked.layout.k;
      extent_ = asked.layout.extent;
      bases_ = asked.layout.bases;
      token_stride_ = asked.layout.token_stride != 0 ? asked.layout.token_stride : k_;
      layer_stride_ =
          asked.layout.layer_stride != 0 ? asked.layout.layer_stride : tokens_ * token_stride_;
    }
    const bool is_one_run = asked.mask.empty() && token_stride_ == k_;
    rows_ = is_one_run ? 1 : tokens_;
    run_ = is_one_run ? tokens_ * k_ : k_;
  }

  [[nodiscard]] bool next(access_chunk& chunk, access_report& report) noexcept {
    chunk.n = 0;
    if (layer_ >= layers_ || tokens_ == 0) {
      return false;
    }
    while (chunk.n < chunk_indices && layer_ < layers_) {
      const std::size_t count = std::min(run_ - column_, chunk_indices - chunk.n);
      if (!batch.mask.empty() && batch.mask[row_] == 0) {
        report.masked += count;
      } else if (batch.weights.empty()) {
        narrow(count, chunk, report);
      } else {
        narrow_weighted(count, chunk, report);
      }
      advance(count);
    }
    chunk.pad();
    return true;
  }

  /// Counts the batch from here to its end: ++bins[i] for each valid index i. Returns the number of
  /// valid indices. Pre: the batch has no weights.
  [[nodiscard]] std::uint64_t count_in(std::uint32_t* bins, access_report& report) noexcept {
    std::uint64_t counted = 0;
    access_tally left_out{};
    while (layer_ < layers_ && tokens_ != 0) {
      const std::size_t count = run_ - column_;
      if (!batch.mask.empty() && batch.mask[row_] == 0) {
        report.masked += count;
      } else {
        counted += batch.indices.is_wide()
                       ? kernels_.count_64(bins, ids<std::int64_t>(), count, range(), &left_out)
                       : kernels_.count_32(bins, ids<std::int32_t>(), count, range(), &left_out);
      }
      advance(count);
    }
    report.padding += left_out.padding;
    report.out_of_range += left_out.out_of_range;
    return counted;
  }

  const access_batch& batch;

 private:
  [[nodiscard]] access_range range() const noexcept {
    const std::uint64_t base = bases_.empty() ? layer_ * extent_ : bases_[layer_];
    const std::uint64_t room = size_ - base;
    return {.extent = extent_ == 0 ? room : std::min<std::uint64_t>(extent_, room), .base = base};
  }
  template <class Id>
  [[nodiscard]] const Id* ids() const noexcept {
    return static_cast<const Id*>(batch.indices.data()) + layer_ * layer_stride_ +
           row_ * token_stride_ + column_;
  }
  void narrow(std::size_t count, access_chunk& chunk, access_report& report) const noexcept {
    access_tally left_out{};
    std::uint32_t* const out = &chunk.indices[chunk.n];
    chunk.n += batch.indices.is_wide()
                   ? kernels_.narrow_64(ids<std::int64_t>(), count, range(), out, &left_out)
                   : kernels_.narrow_32(ids<std::int32_t>(), count, range(), out, &left_out);
    report.padding += left_out.padding;
    report.out_of_range += left_out.out_of_range;
  }
  void narrow_weighted(std::size_t count, access_chunk& chunk,
                       access_report& report) const noexcept {
    const access_range valid = range();
    const std::uint32_t* const weights = &batch.weights[done_];
    for (std::size_t i = 0; i < count; ++i) {
      const std::int64_t id =
          batch.indices.is_wide() ? ids<std::int64_t>()[i] : ids<std::int32_t>()[i];
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
  // Counts along instead of dividing: most batches are small, and a division would show.
  void advance(std::size_t count) noexcept {
    done_ += count;
    column_ += count;
    if (column_ == run_) {
      column_ = 0;
      if (++row_ == rows_) {
        row_ = 0;
        ++layer_;
      }
    }
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
  // A run is a stretch of indices that lie side by side and are done as one. It is a row, or all
  // rows of a layer if no mask and no stride separates them.
  std::size_t rows_ = 1;
  std::size_t run_ = 0;
  // The position.
  std::size_t layer_ = 0;
  std::size_t row_ = 0;
  std::size_t column_ = 0;
  std::size_t done_ = 0;  // ids, in all
};

/// The common part of batches of tensors and batches of keys: each id has its own weight and mask
/// value.
class entry_source {
 public:
  static constexpr bool has_generations = true;
  const access_batch& batch;

 protected:
  entry_source(const access_batch& asked, std::uint64_t pool_tag, std::size_t slots) noexcept
      : batch(asked), pool_tag_(pool_tag), slots_(slots) {}

  /// True: there are neither masks nor weights, so every id that has an entry counts.
  [[nodiscard]] bool is_plain() const noexcept {
    return batch.mask.empty() && batch.weights.empty();
  }
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
    if (is_plain()) {
      next_plain(batch.tensors.subspan(at_, last - at_), chunk, report);
      at_ = last;
    }
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

 private:
  // Writes every id without a branch; the next id overwrites one that is not valid.
  void next_plain(std::span<const tensor_id> ids, access_chunk& chunk,
                  access_report& report) const noexcept {
    std::size_t kept = 0;
    std::size_t padding = 0;
    for (const tensor_id each : ids) {
      const std::uint64_t id = each.value();
      const std::uint64_t slot = self_of(id) >> slot_shift;
      chunk.indices[kept] = static_cast<std::uint32_t>(slot);
      chunk.generations[kept] = generation_of(id);
      kept += (id & (tag_mask | free_bit)) == pool_tag_ && slot < slots_ ? 1 : 0;
      padding += id == 0 ? 1 : 0;
    }
    chunk.n = kept;
    report.padding += padding;
    report.out_of_range += ids.size() - kept - padding;
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
    is_plain() ? next_plain(keys, chunk, report) : next_of(keys, chunk, report);
    at_ += keys.size();
    chunk.pad();
    return true;
  }

 private:
  void next_of(std::span<const std::uint64_t> keys, access_chunk& chunk,
               access_report& report) const noexcept {
    keys_.find_each(keys, [&](std::size_t i, flat_index::value to) {
      if (keys[i] == 0) {
        ++report.padding;
      } else if (is_masked(at_ + i)) {
        ++report.masked;
      } else if (to.generation == 0) {
        ++report.stale;
      } else {
        put(chunk, to.slot, to.generation, at_ + i);
      }
    });
  }
  // Writes what every key leads to without a branch; the next key overwrites one that is unknown.
  void next_plain(std::span<const std::uint64_t> keys, access_chunk& chunk,
                  access_report& report) const noexcept {
    std::size_t kept = 0;
    std::size_t padding = 0;
    keys_.find_each(keys, [&](std::size_t i, flat_index::value to) {
      chunk.indices[kept] = to.slot;
      chunk.generations[kept] = to.generation;
      kept += to.generation != 0 ? 1 : 0;
      padding += keys[i] == 0 ? 1 : 0;
    });
    chunk.n = kept;
    report.padding += padding;
    report.stale += keys.size() - kept - padding;
  }

  const flat_index& keys_;
};

}  // namespace detail
}  // namespace v0
}  // namespace tidepool
