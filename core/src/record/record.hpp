// SPDX-License-Identifier: Apache-2.0
//
// record: the 64 bytes of metadata of one slot, the only cache line of metadata that a warm
// allocation or free touches. Records live in the slot table and never move. A record is bound to a
// block as long as the block is ready or in use. Records of slices, adopted memory and empty
// tensors are bound to none.
//
// The header word is a seqlock, and it alone says who may use the slot.
//
// clang-format off
// An id, bits from high to low:
//   63        0
//   62 .. 32  generation, 1 .. 2^31 - 1, one for each tensor
//   31        0
//   30 ..  6  slot  \ self == slot << 6 | tag
//    5 ..  0  tag   /
//
// A header is one of
//   live, compact   == id: a plain tensor with one reference, temporary, without flags
//   live, full      generation << 32 | bit 31 | references << 16 | flags << 7
//                   | not bit 6 of the id, at bit 6 | lifecycle, bits 5 .. 0
//   free            == -(id of the next tensor), so bit 63 is set
//   retired         == 2^63 - self: all generations are used up
// clang-format on
//
// A free compares the header with the id. If they are equal, this one compare has checked pool,
// slot, generation, liveness and that there is one reference. All other tensors have a full header,
// which the compare sends to the slow path. A full header that is misused as an id names another
// slot than its own, because bit 6 is the lowest bit of the slot. So no forged id equals the header
// to which it leads.
//
// A pop negates the header that it finds, which gives the next id if the header was free, and a
// negative number if it was live or retired. So the processor's flags of the negation are the whole
// test. Freeing the last generation yields the retired pattern, which no pop accepts, so the warm
// path needs no test for it.
//
// Thread safety: all shared fields are atomics, whose loads and stores are plain moves on x86-64.
// The owner of a free slot (its magazine or ready list) writes the other fields before it publishes
// a live header with release order. A reader loads the header, then the fields with acquire order,
// then the header again.
#pragma once

#include <tidepool/attributes.hpp>
#include <tidepool/ids.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <type_traits>

namespace tidepool {
inline namespace v0 {
namespace detail {

inline constexpr std::uint64_t free_bit = std::uint64_t{1} << 63;
inline constexpr std::uint64_t generation_step = std::uint64_t{1} << 32;
inline constexpr std::uint64_t full_bit = std::uint64_t{1} << 31;
inline constexpr std::uint64_t reference_step = std::uint64_t{1} << 16;
inline constexpr std::uint64_t reference_mask = std::uint64_t{0x7fff} << 16;
inline constexpr std::uint64_t most_references = 0x7fff;
inline constexpr std::uint64_t lifecycle_mask = 63;
inline constexpr unsigned flags_shift = 7;
inline constexpr unsigned slot_shift = 6;
inline constexpr std::uint64_t tag_mask = 63;  // pool tags are 1..63
inline constexpr std::size_t most_slots = std::size_t{1} << 25;

// clang-format off
struct alignas(64) record {
  std::atomic<std::uint64_t> header;
  std::atomic<void*> data;
  std::atomic<std::uint64_t> bytes;       // requested
  std::atomic<std::uint64_t> tag;         // name | category << 32 | stream number << 40 (24 bits)
  std::atomic<std::uint64_t> capacity;
  std::uint64_t usable_bytes;             // == capacity, for the slot's owner: plain, one operand
  std::atomic<std::uint32_t> magazine;    // byte offset of its magazine in every front cache
  std::atomic<std::uint16_t> lane;        // which lane it belongs to
  std::atomic<std::uint16_t> size_class;  // of the bound block, 0: no block
  std::uint16_t unused;
  std::uint16_t listed;                   // in a ready list; guarded by that list's mutex
  std::atomic<std::int32_t> next;         // in a list: distance to the next record, 0: the last
};
// clang-format on
static_assert(sizeof(record) == 64 && alignof(record) == 64);
static_assert(std::atomic<std::uint64_t>::is_always_lock_free);

// Lists of free records. The link is a field of its own, so that a record which misuse put into two
// places stays a valid link in one list while it is used through the other.
[[nodiscard]] inline record* next_of(record& r) noexcept {
  const std::int32_t distance = r.next.load(std::memory_order_relaxed);
  return distance == 0 ? nullptr : &r + distance;
}
inline void set_next(record& r, record* next) noexcept {
  r.next.store(next == nullptr ? 0 : static_cast<std::int32_t>(next - &r),
               std::memory_order_relaxed);
}

// The rarely used fields, in a table of their own at the same index.
struct alignas(64) cold_record {
  std::uint64_t cookie;               // the backend's, of the bound block
  std::atomic<std::uint64_t> key;     // relaxed, like parent: info() relies on the header's order
  std::atomic<std::uint64_t> parent;  // id, of a slice
  void (*release)(void* data, std::size_t bytes, void* context);  // of adopted memory
  void* context;
  std::atomic<std::uint64_t> ended;    // id of the tensor that a close by force ended, 0: none
  std::atomic<std::uint32_t> handles;  // its handles that are not dropped yet
  std::atomic<std::uint64_t> holds;    // see below
};
static_assert(sizeof(cold_record) == 64);

// Holds are references that no owner may end, because each belongs to a pin or a slice. One word
// has pins in bits 0-15, slices in bits 16-31 and the number of changes in bits 32-63. A hold is
// counted after its reference and forgotten before it, so pins + slices <= references at any time.
// An unchanged number of changes tells a reader that no hold came or went.
inline constexpr std::uint64_t one_hold_change = std::uint64_t{1} << 32;
inline constexpr std::uint64_t one_pin = 1;
inline constexpr std::uint64_t one_part = std::uint64_t{1} << 16;
[[nodiscard]] constexpr std::uint16_t pins_of(std::uint64_t holds) noexcept {
  return static_cast<std::uint16_t>(holds);
}
[[nodiscard]] constexpr std::uint16_t parts_of(std::uint64_t holds) noexcept {
  return static_cast<std::uint16_t>(holds >> 16);
}
/// Pre: the slot's tensor has ended.
inline void forget_holds(cold_record& cold) noexcept {
  const std::uint64_t before = cold.holds.load(std::memory_order_relaxed);
  cold.holds.store((before & ~(one_hold_change - 1)) + one_hold_change, std::memory_order_relaxed);
}

/// The header after the tensor with this id ended.
[[nodiscard]] constexpr std::uint64_t freed_header(std::uint64_t id) noexcept {
  return std::uint64_t{0} - (id + generation_step);
}
/// The id of the tensor that a free slot is used for next. Pre: is_free(header).
[[nodiscard]] constexpr std::uint64_t next_id(std::uint64_t header) noexcept {
  return std::uint64_t{0} - header;
}
[[nodiscard]] constexpr bool is_retired(std::uint64_t header, std::uint64_t self) noexcept {
  return header == free_bit - self;
}
[[nodiscard]] constexpr bool is_free(std::uint64_t header) noexcept {
  return (header & free_bit) != 0;
}
[[nodiscard]] constexpr bool is_full(std::uint64_t header) noexcept {
  return (header & full_bit) != 0;
}
[[nodiscard]] constexpr std::uint32_t generation_of(std::uint64_t header_or_id) noexcept {
  return static_cast<std::uint32_t>(header_or_id >> 32) & 0x7fffffffU;
}
[[nodiscard]] constexpr std::uint64_t self_of(std::uint64_t id) noexcept {
  return id & 0xffffffffU;
}
[[nodiscard]] constexpr std::uint64_t references_of(std::uint64_t header) noexcept {
  return is_full(header) ? (header & reference_mask) >> 16 : 1;
}
[[nodiscard]] constexpr lifecycle lifecycle_of(std::uint64_t header) noexcept {
  return is_full(header) ? static_cast<lifecycle>(header & lifecycle_mask) : lifecycle::temporary;
}
[[nodiscard]] constexpr tensor_flags flags_of(std::uint64_t header) noexcept {
  return is_full(header) ? static_cast<tensor_flags>((header >> flags_shift) & 0xff)
                         : tensor_flags::none;
}
/// The flags as bits of a full header.
[[nodiscard]] constexpr std::uint64_t bits_of(tensor_flags flags) noexcept {
  return std::uint64_t{static_cast<std::uint8_t>(flags)} << flags_shift;
}
[[nodiscard]] constexpr std::uint64_t bits_of(lifecycle state) noexcept {
  return static_cast<std::uint8_t>(state) & lifecycle_mask;
}
/// Does this header say that the tensor with this id is alive? A full header does not name its slot
/// and pool, so slot_table::is_live checks ids that come from users.
[[nodiscard]] constexpr bool is_live(std::uint64_t header, std::uint64_t id) noexcept {
  return id >> 32 != 0 &&
         (header == id || (is_full(header) && !is_free(header) && header >> 32 == id >> 32));
}
[[nodiscard]] constexpr std::uint64_t full_header(std::uint64_t id, std::uint64_t references,
                                                  lifecycle state, tensor_flags flags) noexcept {
  constexpr std::uint64_t lowest_slot_bit = std::uint64_t{1} << slot_shift;
  return (id & ~std::uint64_t{0xffffffffU}) | full_bit | references << 16 | bits_of(flags) |
         (~id & lowest_slot_bit) | bits_of(state);
}

// Tag word.
[[nodiscard]] constexpr std::uint64_t make_tag(name_id name, category what,
                                               std::uint32_t stream) noexcept {
  return std::uint64_t{name.value()} | std::uint64_t{static_cast<std::uint8_t>(what)} << 32 |
         std::uint64_t{stream} << 40;
}
[[nodiscard]] constexpr name_id name_of(std::uint64_t tag) noexcept {
  return name_id::from_value(static_cast<std::uint32_t>(tag));
}
[[nodiscard]] constexpr category category_of(std::uint64_t tag) noexcept {
  return static_cast<category>((tag >> 32) & 0xff);
}
[[nodiscard]] constexpr std::uint32_t stream_of(std::uint64_t tag) noexcept {
  return static_cast<std::uint32_t>(tag >> 40);
}

static_assert(full_header(0x500000041, 1, lifecycle::temporary, tensor_flags::none) ==
              (0x500000000 | full_bit | reference_step));
static_assert(is_retired(freed_header(std::uint64_t{0x7fffffff} << 32 | 65), 65));

}  // namespace detail
}  // namespace v0
}  // namespace tidepool
