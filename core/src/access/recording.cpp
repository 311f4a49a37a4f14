// SPDX-License-Identifier: Apache-2.0
//
// access_store: recording batches. A batch is first narrowed to valid indices, outside of the lock.
// Then its size and the table's decide what happens:
//   - Many ids for few entries are counted into private bins, which are merged under the lock.
//   - One chunk that finds the lock taken is left in the table's log.
//   - Everything else is added chunk by chunk under the lock.
#include "access/source.hpp"
#include "access/store.hpp"

namespace tidepool {
inline namespace v0 {
namespace detail {

namespace {

// Measured (bench/FIGURES.md): with fewer ids for each entry the merge costs more than it saves.
constexpr std::size_t ids_per_bin = 4;
constexpr std::size_t most_bins = std::size_t{1} << 20;
constexpr std::size_t most_in_bins = std::size_t{1} << 31;  // a bin never overflows
constexpr std::size_t chunks_before_others = 64;

[[nodiscard]] access_view view_of(const access_chunk& chunk, const access_batch& batch,
                                  bool has_generations, std::uint64_t tick) noexcept {
  return {.indices = chunk.indices.data(),
          .generations = has_generations ? chunk.generations.data() : nullptr,
          .weights = batch.weights.empty() ? nullptr : chunk.weights.data(),
          .n = chunk.n,
          .tick = tick};
}

// Finds the ids that a batch repeats. If there are few ids, it compares them with each other; if
// there are more, it keeps one bit for each entry.
class first_occurrences {
 public:
  explicit first_occurrences(access_table& table) noexcept : table_(table) {}
  ~first_occurrences() {
    if (bits_ != nullptr) {
      table_.keep_bits(std::move(bits_));
    }
  }
  first_occurrences(const first_occurrences&) = delete;
  first_occurrences& operator=(const first_occurrences&) = delete;

  [[nodiscard]] bool prepare(std::size_t ids) noexcept {
    is_small_ = ids <= compared;
    if (!is_small_) {
      bits_ = table_.take_bits();
    }
    return is_small_ || bits_ != nullptr;
  }
  /// Keeps the first occurrence of each index in the chunk, of those that are valid(position).
  template <class Valid>
  void keep_first(access_chunk& chunk, access_report& report, Valid&& valid) noexcept {
    // Whether an index is new is as good as random, so no branch depends on it.
    std::size_t kept = 0;
    std::size_t seen = 0;
    for (std::size_t i = 0; i < chunk.n; ++i) {
      if (!valid(i)) {
        continue;
      }
      ++seen;
      const std::uint32_t index = chunk.indices[i];
      const bool is_first = is_new(chunk, kept, index);
      chunk.indices[kept] = index;
      chunk.generations[kept] = chunk.generations[i];
      kept += is_first ? 1 : 0;
    }
    report.stale += chunk.n - seen;
    report.duplicates += seen - kept;
    chunk.n = kept;
    chunk.pad();
  }
  void forget(const access_chunk& chunk) noexcept {
    for (std::size_t i = 0; !is_small_ && i < chunk.n; ++i) {
      bits_[chunk.indices[i] / 64] = 0;
    }
  }
  [[nodiscard]] bool is_small() const noexcept { return is_small_; }

 private:
  static constexpr std::size_t compared = 16;
  [[nodiscard]] bool is_new(const access_chunk& chunk, std::size_t kept,
                            std::uint32_t index) noexcept {
    if (is_small_) {
      const auto* const begin = chunk.indices.data();
      return std::find(begin, begin + kept, index) == begin + kept;
    }
    std::uint64_t& word = bits_[index / 64];
    const std::uint64_t bit = std::uint64_t{1} << (index % 64);
    const bool is_first = (word & bit) == 0;
    word |= bit;
    return is_first;
  }

  access_table& table_;
  std::unique_ptr<std::uint64_t[]> bits_;
  bool is_small_ = true;
};

template <class Source>
struct recording {
  Source source;
  access_table& table;
  access_report& report;
  std::uint64_t tick;

  [[nodiscard]] access_view view(const access_chunk& chunk) const noexcept {
    return view_of(chunk, source.batch, Source::has_generations, tick);
  }

  // False: no memory for bins; nothing was done.
  [[nodiscard]] bool count_in_bins() noexcept {
    std::unique_ptr<std::uint32_t[]> bins = table.take_bins();
    if (bins == nullptr) {
      return false;
    }
    const std::uint64_t sum = source.count_in(bins.get(), report);
    {
      const std::lock_guard lock(table);
      table.merge({bins.get(), table.size()}, sum, tick, report);
      table.note(report, 1);
    }
    table.keep_bins(std::move(bins));
    return true;
  }

  // Adds a batch of one chunk, the size that runtimes report most often. If the log already holds
  // batches, its next drain adds them all; append ours instead of taking the lock.
  void add_chunk(access_chunk& chunk) noexcept {
    if (table.log().has_any() && table.count_beside(view(chunk), report)) {
      report.deferred += chunk.n;
      return;
    }
    if (!table.try_lock()) {
      if (table.count_beside(view(chunk), report)) {
        report.deferred += chunk.n;
        return;
      }
      if (table.log().append(view(chunk), report)) {
        report.deferred += chunk.n;
        // The holder of the lock may have looked at the log before our append. If the lock is free
        // now, no other thread would drain, so unlock drains here.
        if (table.try_lock()) {
          table.unlock();
        }
        return;
      }
      table.lock();
    }
    table.apply(view(chunk), report);
    table.note(report, 1);
    table.unlock();
  }

  void add_all(access_chunk& chunk) noexcept {
    const std::lock_guard lock(table);
    for (std::size_t chunks = 1; source.next(chunk, report); ++chunks) {
      table.apply(view(chunk), report);
      if (chunks % chunks_before_others == 0) {
        table.let_others_in();
      }
    }
    table.note(report, 1);
  }

  // False: no memory for bits; nothing was done.
  [[nodiscard]] bool add_once(access_chunk& chunk) noexcept {
    first_occurrences seen(table);
    if (!seen.prepare(source.batch.size())) {
      return false;
    }
    Source again = source;
    if constexpr (Source::has_generations) {
      // A stale id must not hide the live id that has the same slot. Only the lock's holder can
      // tell a stale id from a live one.
      const std::lock_guard lock(table);
      while (source.next(chunk, report)) {
        seen.keep_first(chunk, report, [&](std::size_t i) {
          return table.at(chunk.indices[i]).generation == chunk.generations[i];
        });
        table.apply(view(chunk), report);
      }
      table.note(report, 1);
    } else if (source.batch.size() <= chunk_indices) {
      (void)source.next(chunk, report);
      seen.keep_first(chunk, report, [](std::size_t) { return true; });
      add_chunk(chunk);
    } else {
      while (source.next(chunk, report)) {
        seen.keep_first(chunk, report, [](std::size_t) { return true; });
        const std::lock_guard lock(table);
        table.apply(view(chunk), report);
      }
      const std::lock_guard lock(table);
      table.note(report, 1);
    }
    access_report ignored;
    while (!seen.is_small() && again.next(chunk, ignored)) {
      seen.forget(chunk);
    }
    return true;
  }
};

[[nodiscard]] status invalid(const char* text) noexcept {
  return {.code = errc::invalid_argument, .text = text};
}

[[nodiscard]] status check(const access_batch& batch) noexcept {
  const int kinds = (batch.tensors.empty() ? 0 : 1) + (batch.keys.empty() ? 0 : 1) +
                    (batch.indices.size() == 0 ? 0 : 1);
  if (kinds > 1) {
    return invalid("a batch has tensors, keys or indices");
  }
  if (batch.layout.tokens != 0 && (!batch.tensors.empty() || !batch.keys.empty())) {
    return invalid("a layout is one of indices");
  }
  if (static_cast<unsigned>(batch.mode) > static_cast<unsigned>(access_mode::weighted)) {
    return invalid("no such mode");
  }
  const bool is_weighted = batch.mode == access_mode::weighted;
  if (is_weighted ? batch.weights.size() != batch.size() : !batch.weights.empty()) {
    return invalid("weights are as many as ids in mode weighted, and none in others");
  }
  const std::size_t rows = batch.layout.tokens != 0 ? batch.layout.tokens : batch.size();
  if (!batch.mask.empty() && batch.mask.size() != rows) {
    return invalid("a mask has one value for each id, or for each token of a layout");
  }
  return {};
}

// Does a batch with a layout have all rows within the indices and all bases within the domain?
[[nodiscard]] bool fits(const access_batch& batch, std::size_t domain_size) noexcept {
  const access_layout& layout = batch.layout;
  const std::size_t stride = layout.token_stride != 0 ? layout.token_stride : layout.k;
  std::size_t ids = 0;
  std::size_t layer = 0;
  std::size_t last = 0;
  if (layout.k == 0 || layout.layers == 0 ||
      __builtin_mul_overflow(layout.tokens, layout.k, &ids) ||
      __builtin_mul_overflow(ids, layout.layers, &ids) ||
      __builtin_mul_overflow(layout.tokens, stride, &layer)) {
    return false;
  }
  layer = layout.layer_stride != 0 ? layout.layer_stride : layer;
  std::size_t row = 0;
  if (__builtin_mul_overflow(layout.layers - 1, layer, &last) ||
      __builtin_mul_overflow(layout.tokens - 1, stride, &row) ||
      __builtin_add_overflow(last, row, &last) || __builtin_add_overflow(last, layout.k, &last) ||
      last > batch.indices.size()) {
    return false;
  }
  if (layout.bases.empty()) {
    std::size_t base = 0;
    return !__builtin_mul_overflow(layout.layers - 1, layout.extent, &base) && base <= domain_size;
  }
  if (layout.bases.size() != layout.layers) {
    return false;
  }
  for (const std::uint64_t base : layout.bases) {
    if (base > domain_size) {
      return false;
    }
  }
  return true;
}

}  // namespace

template <class Source>
status access_store::record_from(const Source& source, access_table& table, std::uint64_t tick,
                                 access_report& report) noexcept {
  recording<Source> work{source, table, report, tick};
  const access_batch& batch = source.batch;
  const std::size_t ids = batch.size();
  if constexpr (!Source::has_generations) {
    if (batch.mode == access_mode::occurrence && table.size() <= most_bins &&
        ids / ids_per_bin >= table.size() && ids <= most_in_bins && work.count_in_bins()) {
      return {};
    }
  }
  access_chunk chunk;
  if (batch.mode == access_mode::once) {
    return work.add_once(chunk)
               ? status{}
               : status{.code = errc::out_of_memory, .text = "no memory to find repeated ids"};
  }
  if (ids <= chunk_indices) {
    (void)work.source.next(chunk, report);
    work.add_chunk(chunk);
  } else {
    work.add_all(chunk);
  }
  return {};
}

status access_store::record_indices(const access_batch& batch, std::uint64_t tick,
                                    access_report& report) noexcept {
  domain_table* const in = find_domain(batch.where);
  if (in == nullptr) {
    return {.code = errc::not_found, .text = "no such domain"};
  }
  if (batch.layout.tokens != 0 && !fits(batch, in->table.size())) {
    return invalid("rows of the layout lie outside of the indices, or bases outside of the domain");
  }
  return record_from(index_source(batch, in->table.size(), *how_.kernels), in->table, tick, report);
}

result<access_report> access_store::record(const access_batch& batch) noexcept {
  if (const status why = check(batch); !why.ok()) {
    return why;
  }
  const std::uint64_t tick = batch.tick != 0 ? batch.tick : now();
  observe(tick);
  access_report report;
  status why;
  if (batch.indices.size() != 0 || batch.layout.tokens != 0) {
    why = record_indices(batch, tick, report);
  } else if (batch.tensors.empty() && batch.keys.empty()) {
    return report;
  } else if (!open_tensors()) {
    why = {.code = errc::out_of_memory, .text = "no address space for access entries"};
  } else if (!batch.tensors.empty()) {
    why = record_from(tensor_source(batch, how_.pool_tag, how_.slots), tensors_, tick, report);
  } else {
    why = record_from(key_source(batch, *how_.keys), tensors_, tick, report);
  }
  if (!why.ok()) {
    return why;
  }
  if (access_predictor* const predictor = predictor_.load(std::memory_order_acquire)) {
    predictor->observe(batch);
  }
  return report;
}

}  // namespace detail
}  // namespace v0
}  // namespace tidepool
