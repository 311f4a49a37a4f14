// SPDX-License-Identifier: Apache-2.0
//
// Access entries and domains: what the pool knows of how its tensors and their parts are used.
// Values only; access_tracker.hpp has the functions (track, make_domain, bind, record, ...).
//
//   access_tracker accesses = pool.accesses();
//   domain experts = *accesses.make_domain({.size = layers * 128});
//   accesses.track(weights.id(), 128);                        // a tensor with 128 parts
//   accesses.bind_parts(experts, layer * 128, weights.id());  // elements 128 l .. 128 l + 127
//   accesses.record({.where = experts, .indices = routed, .tick = step});
//   accesses.coldest(victims, access_order::tick, {.categories = {category::expert}});
//
// An *entry* is a tensor of an evictable category (8 to 15), one made with `tracked`, or a part
// of one made by track. A *domain* is a dense index space whose elements stand for entries; an
// entry stands at one element of one domain at most.
#pragma once

#include <tidepool/attributes.hpp>
#include <tidepool/device.hpp>
#include <tidepool/ids.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <type_traits>

namespace tidepool {
inline namespace v0 {

/// Names one domain of one pool for ever. The default names none.
class domain {
 public:
  constexpr domain() noexcept = default;
  [[nodiscard]] static constexpr domain from_value(std::uint64_t value) noexcept {
    domain made;
    made.value_ = value;
    return made;
  }
  [[nodiscard]] constexpr std::uint64_t value() const noexcept { return value_; }
  [[nodiscard]] constexpr explicit operator bool() const noexcept { return value_ != 0; }
  friend constexpr bool operator==(domain, domain) noexcept = default;

 private:
  std::uint64_t value_ = 0;
};

/// A range of parts of a tensor.
struct part_range {
  std::uint32_t first = 0;
  std::uint32_t count = 0;  ///< 0: all parts from `first` to the last
};

struct domain_options {
  std::size_t size = 0;  ///< elements, 1..2^32 - 64
  /// Each element is an entry from the beginning and is never bound: for memory that the pool does
  /// not know. If this is false, an element stands for no entry before it is bound.
  bool standalone = false;
  // For standalone elements only:
  device where = {};
  tidepool::category category = category::other;
  tidepool::lifecycle lifecycle = lifecycle::persistent;
};

/// How much an index counts that occurs several times in one batch.
enum class access_mode : std::uint8_t {
  occurrence = 0,  ///< one for each occurrence
  once = 1,        ///< one in all: the batch used it
  weighted = 2,    ///< the weight of each occurrence
};

/// The indices of a batch, 32 or 64 bits wide. They stay in the caller's host memory.
class access_indices {
 public:
  constexpr access_indices() noexcept = default;
  constexpr access_indices(std::span<const std::int32_t> ids) noexcept  // NOLINT: implicit
      : data_(ids.data()), size_(ids.size()) {}
  constexpr access_indices(std::span<const std::int64_t> ids) noexcept  // NOLINT: implicit
      : data_(ids.data()), size_(ids.size()), wide_(true) {}
  /// Takes every range that converts to one of these spans: vectors, arrays.
  template <class Range>
  requires std::is_convertible_v<const Range&, std::span<const std::int32_t>>
  constexpr access_indices(const Range& ids) noexcept  // NOLINT: implicit
      : access_indices(std::span<const std::int32_t>(ids)) {}
  template <class Range>
  requires std::is_convertible_v<const Range&, std::span<const std::int64_t>>
  constexpr access_indices(const Range& ids) noexcept  // NOLINT: implicit
      : access_indices(std::span<const std::int64_t>(ids)) {}

  [[nodiscard]] constexpr const void* data() const noexcept { return data_; }
  [[nodiscard]] constexpr std::size_t size() const noexcept { return size_; }
  [[nodiscard]] constexpr bool is_wide() const noexcept { return wide_; }

 private:
  const void* data_ = nullptr;
  std::size_t size_ = 0;
  bool wide_ = false;
};

/// The shape of a batch of indices, [layers, tokens, k]. Position (l, t, j) has the index
///   i = indices[l * layer_stride + t * token_stride + j]
/// and names the domain's element bases[l] + i.
struct access_layout {
  std::size_t layers = 1;
  std::size_t tokens = 0;  ///< 0: there is no layout, the indices are one row
  std::size_t k = 1;
  std::size_t token_stride = 0;  ///< in indices; 0: k
  std::size_t layer_stride = 0;  ///< in indices; 0: tokens * token_stride
  /// Number of elements of one layer; larger indices are out of range. 0: all elements from the
  /// layer's base to the end of the domain.
  std::size_t extent = 0;
  /// First element of each layer; empty: l * extent.
  std::span<const std::uint64_t> bases = {};
};

/// The uses that one call reports. Exactly one of tensors, keys and indices names what was used.
/// These do not count; access_report says how many of each there were: -1 (padding), other indices
/// outside of the domain or layer, masked rows, zero weights, tensors that are gone or have no
/// entry, and unbound elements.
struct access_batch {
  // clang-format off
  std::span<const tensor_id> tensors = {};
  std::span<const std::uint64_t> keys = {};  ///< allocation_options::key of tensors; 0: padding
  domain where = {};                         ///< the domain of the indices
  access_indices indices = {};
  access_layout layout = {};                 ///< the shape of the indices
  // clang-format on
  access_mode mode = access_mode::occurrence;
  /// The time of the uses by the caller's clock, in any unit. An entry keeps the highest of its
  /// ticks. 0: the latest tick that the pool has seen.
  std::uint64_t tick = 0;
  /// One weight for each id if the mode is weighted, else empty. Weights are integers, so that sums
  /// are exact in any order; multiply probabilities, for example by 2^16.
  std::span<const std::uint32_t> weights = {};
  /// One value for each id, or one for each token of a layout. A 0 leaves that id or token out.
  /// Empty: all count.
  std::span<const std::uint8_t> mask = {};

  [[nodiscard]] constexpr std::size_t size() const noexcept {
    if (layout.tokens != 0) {
      return layout.layers * layout.tokens * layout.k;
    }
    return !tensors.empty() ? tensors.size() : !keys.empty() ? keys.size() : indices.size();
  }
};

/// What became of a batch:
///   ids == recorded + deferred + padding + masked + out_of_range + stale + duplicates.
struct access_report {
  std::uint64_t recorded = 0;
  /// Ids that another thread will add, because it held the table. Queries that begin after record
  /// returned see them all the same.
  std::uint64_t deferred = 0;
  std::uint64_t padding = 0;       ///< index -1, tensor id 0, key 0
  std::uint64_t masked = 0;        ///< by the mask, or weight 0
  std::uint64_t out_of_range = 0;  ///< not of this layer, domain or pool
  std::uint64_t stale = 0;  ///< the tensor is gone or has no entry, the element is bound to none
  std::uint64_t duplicates = 0;  ///< in mode once
  friend constexpr bool operator==(const access_report&, const access_report&) noexcept = default;
};

/// Sums over all batches since the pool was made. A deferred id also counts as recorded or stale,
/// whichever it became when it was added.
struct access_totals {
  std::uint64_t batches = 0;
  std::uint64_t recorded = 0;
  std::uint64_t padding = 0;
  std::uint64_t masked = 0;
  std::uint64_t out_of_range = 0;
  std::uint64_t stale = 0;
  std::uint64_t duplicates = 0;
  std::uint64_t deferred = 0;   ///< how many of these ids another thread added
  std::uint64_t saturated = 0;  ///< entries whose count stays at UINT64_MAX: the true one is larger
  std::uint64_t rebases = 0;    ///< times that a table's scores were shifted
};

/// The part number that stands for the tensor itself.
inline constexpr std::uint32_t whole_tensor = UINT32_MAX;

/// What a query says about one entry.
struct access_info {
  tensor_id id = {};                  ///< empty: an element of a standalone domain
  std::uint32_t part = whole_tensor;  ///< which of the tensor's parts
  domain bound_to = {};               ///< the domain it stands in; empty: none
  std::uint64_t index = 0;            ///< its element of that domain
  std::uint64_t count = 0;            ///< sum of weights; UINT64_MAX: saturated
  std::uint64_t tick = 0;             ///< highest tick of its uses and of its creation
  double score = 0;  ///< sum of weight * 2^((tick - now) / half-life); 0 without one
  device where = {};
  tidepool::category category = category::temporary;
  tidepool::lifecycle lifecycle = lifecycle::temporary;
};

/// A small set of enumerators; the empty set stands for all.
template <class Enum>
class enum_set {
 public:
  constexpr enum_set() noexcept = default;
  constexpr enum_set(std::initializer_list<Enum> members) noexcept {
    for (const Enum member : members) {
      insert(member);
    }
  }
  constexpr void insert(Enum member) noexcept {
    const auto i = static_cast<std::uint8_t>(member);
    words_[i / 64] |= std::uint64_t{1} << (i % 64);
  }
  [[nodiscard]] constexpr bool is_all() const noexcept {
    return (words_[0] | words_[1] | words_[2] | words_[3]) == 0;
  }
  [[nodiscard]] constexpr bool contains(Enum member) const noexcept {
    const auto i = static_cast<std::uint8_t>(member);
    return is_all() || (words_[i / 64] >> (i % 64) & 1) != 0;
  }

 private:
  std::array<std::uint64_t, 4> words_{};
};

/// The figure by which a query ranks entries. Equal entries are ranked by count, then by tick, in
/// the same direction. Entries that are still equal come in ascending order of tensor id, part,
/// domain, index. So the entries alone determine every answer.
enum class access_order : std::uint8_t { tick = 0, count = 1, score = 2 };

/// Which entries a query looks at. A tensor with parts is represented by its parts.
struct access_filter {
  enum_set<tidepool::category> categories = {};
  enum_set<tidepool::lifecycle> lifecycles = {};
  std::span<const device> devices = {};  ///< empty: all
  domain within = {};                    ///< elements of this domain only; empty: all entries
};

struct category_accesses {
  std::uint64_t entries = 0;
  std::uint64_t count = 0;  ///< sum of their counts, at most UINT64_MAX
};

/// Entries by age == now - tick: [0] is age 0, [b] ages 2^(b-1) .. 2^b - 1.
struct access_ages {
  std::uint64_t now = 0;
  std::array<std::uint64_t, 65> entries{};
};

struct access_selection {
  std::size_t found = 0;    ///< entries that qualify
  std::size_t written = 0;  ///< of these, the first in order, in the caller's span
};

/// A base class for code that predicts which entries come next. Each batch is passed to observe
/// after it was recorded, in the thread that recorded it and outside all locks. observe must not
/// throw.
class access_predictor {
 public:
  virtual void observe(const access_batch& batch) noexcept = 0;

 protected:
  ~access_predictor() = default;
};

}  // namespace v0
}  // namespace tidepool
