// SPDX-License-Identifier: Apache-2.0
//
// Plays a trace's book-keeping: which tensors live, how many bytes, the highest sum, and whether an
// event fits what came before. The writer takes its footer from it, the validator its findings, the
// summary its figures: one set of rules for the three. Not thread-safe.
#pragma once

#include "trace/event.hpp"
#include "trace/wire.hpp"

#include <cstdint>
#include <unordered_map>

namespace tidepool::bench::trace {

/// What an event did against the rules; `none` for nearly all.
enum class breach : std::uint8_t {
  none,
  null_id,           ///< tensor id 0
  double_alloc,      ///< alloc of a live id
  old_generation,    ///< alloc of a freed id without a greater generation
  too_large,         ///< more bytes than limits::tensor_bytes
  total_overflow,    ///< live bytes would pass 2^63
  unknown_free,      ///< free of an id never allocated
  double_free,       ///< free of a freed id
  unknown_touch,     ///< touch or retag of an id never allocated
  dead_touch,        ///< touch or retag of a freed id
  wrong_generation,  ///< free, touch or retag with another generation than the tensor's
  wrong_size,        ///< free with another size, or touch of more bytes than the tensor has
  time_went_back,    ///< earlier than the event before
};

/// A breach with its numbers: the tensor, what the trace says and what was expected.
struct verdict {
  breach what = breach::none;
  std::uint64_t id = 0;
  std::uint64_t found = 0;
  std::uint64_t expected = 0;
};

class ledger {
 public:
  struct tensor {
    std::uint64_t bytes = 0;
    std::uint64_t begin = 0;  ///< number of the alloc event
    std::uint32_t generation = 0;
    std::uint8_t category = 0;
    std::uint8_t device = 0;
    bool is_live = false;
  };

  /// With `remember_dead`, freed ids are kept, which tells a double free from an unknown one and
  /// costs memory for every id of the trace; without, for the live ones only.
  explicit ledger(bool remember_dead) noexcept : remember_dead_(remember_dead) {}

  /// Takes one event in and says what was wrong with it, the first thing if several. An event in
  /// breach of a rule is counted but changes no tensor. May throw std::bad_alloc.
  verdict apply(const event_view& seen);

  [[nodiscard]] const totals& sums() const noexcept { return sums_; }
  /// The tensor of that id, dead ones included if they are remembered; null if unknown.
  [[nodiscard]] const tensor* find(std::uint64_t id) const noexcept;
  /// Ids held, dead ones included if they are remembered.
  [[nodiscard]] std::size_t size() const noexcept { return tensors_.size(); }

 private:
  verdict apply_alloc(const event_view& seen);
  verdict apply_free(const event& record);
  verdict apply_touch(const event_view& seen) const;
  verdict check_live(const event& record, std::uint64_t id) const;

  std::unordered_map<std::uint64_t, tensor> tensors_;
  totals sums_;
  bool remember_dead_;
};

}  // namespace tidepool::bench::trace
