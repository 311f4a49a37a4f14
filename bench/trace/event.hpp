// SPDX-License-Identifier: Apache-2.0
//
// One event of a trace: a 48-byte little-endian record, the same in memory and (before filter and
// compression) in the file. What an event cannot hold, a text or a list of ids, is its *extra*:
// bytes that follow the records of the chunk, in the order of the events that own them.
// README.md beside this file explains every field and kind; this header is their layout.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>
#include <type_traits>

namespace tidepool::bench::trace {

static_assert(std::endian::native == std::endian::little,
              "trace records are read in place: port wire.cpp before building on big endian");

/// What happened. The number says how a reader that does not know the kind must behave:
/// bit 7 set = optional, skip it (else refuse the trace); bit 6 set = it owns `event::bytes` bytes
/// of extra. 0 is never valid, so a run of zeros is noticed.
enum class event_kind : std::uint8_t {
  alloc = 0x01,            ///< tensor `id` begins (or could not: see outcome)
  free = 0x02,             ///< tensor `id` ends, ordered on `stream`
  touch = 0x03,            ///< tensor `id` is read or written; `bytes` of it, 0 = all
  retag = 0x04,            ///< live tensor `id` takes this category, name and flags
  sync = 0x05,             ///< the host waited for `stream`; `bytes` = ns waited, 0 = not measured
  trim = 0x06,             ///< unused memory of `device` given back, down to `bytes`
  mark_begin = 0x07,       ///< a phase, layer or step begins on `thread`: name, `id` = its ordinal
  mark_end = 0x08,         ///< ... and ends
  define_name = 0x40,      ///< extra: the text of name `id`; names count 1, 2, 3, ...
  define_category = 0x41,  ///< extra: the name of category number `category`
  define_device = 0x42,    ///< extra: the name of device number `device`; `id` = capacity in bytes
  touch_tensors = 0x43,    ///< extra: u64 ids, all touched by one operation
  touch_parts = 0x44,      ///< extra: u32 part numbers (experts, pages) of tensor `id`
  comment = 0xC0,          ///< extra: a text for people; optional
};

[[nodiscard]] constexpr bool is_optional(event_kind kind) noexcept {
  return (static_cast<std::uint8_t>(kind) & 0x80u) != 0;
}
[[nodiscard]] constexpr bool has_extra(event_kind kind) noexcept {
  return (static_cast<std::uint8_t>(kind) & 0x40u) != 0;
}
/// True if this version of the library understands `kind`.
[[nodiscard]] constexpr bool is_known(event_kind kind) noexcept {
  const auto number = static_cast<std::uint8_t>(kind);
  return (number >= 0x01 && number <= 0x08) || (number >= 0x40 && number <= 0x44) || number == 0xC0;
}

/// `event::detail` of alloc.
enum class outcome : std::uint8_t { ok = 0, out_of_memory = 1, ok_after_retry = 2 };
/// `event::detail` of touch, touch_tensors and touch_parts. A set: read | write = 3.
enum class access : std::uint8_t { read = 1, write = 2, read_write = 3 };
/// `event::detail` of mark_begin and mark_end.
enum class mark_scope : std::uint8_t { other = 0, phase = 1, layer = 2, step = 3 };

/// `event::flags`: a set of bits.
namespace event_flags {
inline constexpr std::uint16_t pinned = 1u << 0;    ///< must not move while it lives
inline constexpr std::uint16_t shared = 1u << 1;    ///< has several owners
inline constexpr std::uint16_t tracked = 1u << 2;   ///< its accesses are counted
inline constexpr std::uint16_t external = 1u << 3;  ///< memory owned elsewhere, only registered
inline constexpr std::uint16_t capture = 1u << 4;   ///< happened while the stream was capturing
inline constexpr std::uint16_t known = 0x1F;
}  // namespace event_flags

/// One record. Fields that a kind does not name are 0.
struct event {
  std::uint64_t time = 0;   ///< in units of the header's clock; never decreases
  std::uint64_t id = 0;     ///< logical tensor id, stable and never an address; 0 = none
  std::uint64_t bytes = 0;  ///< size as requested, not rounded; length of the extra if has_extra
  std::uint32_t generation = 0;  ///< grows each time an id is used again
  std::uint32_t name = 0;        ///< index of a defined name, 0 = none
  std::uint32_t site = 0;        ///< hash of the call site, 0 = unknown
  std::uint16_t stream = 0;      ///< dense number of the stream, 0 = default
  std::uint16_t thread = 0;      ///< dense number of the thread
  std::uint16_t flags = 0;       ///< event_flags
  event_kind kind{};
  std::uint8_t category = 0;  ///< index of a defined category, 0 = unspecified
  std::uint8_t device = 0;    ///< index of a defined device
  std::uint8_t alignment_log2 = 0;
  std::uint8_t detail = 0;    ///< outcome, access or mark_scope, by kind
  std::uint8_t reserved = 0;  ///< 0 in this version

  friend bool operator==(const event&, const event&) = default;
};

inline constexpr std::size_t event_bytes = 48;
static_assert(sizeof(event) == event_bytes && alignof(event) == 8);
static_assert(std::is_trivially_copyable_v<event> && std::is_standard_layout_v<event>);
static_assert(std::has_unique_object_representations_v<event>, "no padding: records are compared");
static_assert(offsetof(event, generation) == 24 && offsetof(event, site) == 32 &&
              offsetof(event, flags) == 40 && offsetof(event, kind) == 42 &&
              offsetof(event, detail) == 46);

/// An array of little-endian integers at any alignment, borrowed from a chunk.
template <class Integer>
class packed_list {
 public:
  packed_list() = default;
  explicit packed_list(std::span<const std::byte> bytes) noexcept : bytes_(bytes) {}

  [[nodiscard]] std::size_t size() const noexcept { return bytes_.size() / sizeof(Integer); }
  /// pre: position < size().
  [[nodiscard]] Integer operator[](std::size_t position) const noexcept {
    Integer value;
    std::memcpy(&value, bytes_.data() + position * sizeof(Integer), sizeof(Integer));
    return value;
  }

 private:
  std::span<const std::byte> bytes_;
};

/// An event as a reader hands it out. Views are valid until the next call of reader::next().
struct event_view {
  event record;
  std::span<const std::byte> extra;
  std::uint64_t index = 0;   ///< number of the event, from 0; skipped optional events count too
  std::uint64_t offset = 0;  ///< byte in the file where the event's chunk begins

  /// The extra of define_* and comment.
  [[nodiscard]] std::string_view text() const noexcept {
    return {reinterpret_cast<const char*>(extra.data()), extra.size()};
  }
  /// The extra of touch_tensors.
  [[nodiscard]] packed_list<std::uint64_t> ids() const noexcept {
    return packed_list<std::uint64_t>(extra);
  }
  /// The extra of touch_parts.
  [[nodiscard]] packed_list<std::uint32_t> parts() const noexcept {
    return packed_list<std::uint32_t>(extra);
  }
};

}  // namespace tidepool::bench::trace
