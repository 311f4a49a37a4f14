// SPDX-License-Identifier: Apache-2.0
//
// directory: the tensors of a pool. It has their records, names and categories, the indexes of keys
// and addresses, and the streams beside their own that use them. It allocates nothing, ends nothing
// and reports no misuse: it only answers that an id names no tensor.
//
// Thread safety: every member from any thread. Records are read without a lock.
#pragma once

#include "pool/lanes.hpp"
#include "pool/stream_uses.hpp"
#include "record/flat_index.hpp"
#include "record/names.hpp"
#include "record/pointer_index.hpp"
#include "record/slot_table.hpp"
#include <tidepool/info.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>

namespace tidepool {
inline namespace v0 {
namespace detail {

/// Has the tensor a block of its own from a backend? Slices, adopted memory and tensors of zero
/// bytes have none.
[[nodiscard]] constexpr bool owns_block(const tensor_info& info) noexcept {
  return !any(info.flags & (tensor_flags::slice | tensor_flags::adopted)) && info.capacity != 0;
}

class directory {
 public:
  /// Throws std::bad_alloc.
  explicit directory(const detail::lanes& lanes) : lanes_(lanes) {}
  directory(const directory&) = delete;
  directory& operator=(const directory&) = delete;

  slot_table slots;  // first: the warm path reads it
  name_table names;
  category_table categories;
  flat_index keys;  // allocation_options::key of tensors
  pointer_index pointers{slots};
  stream_uses uses_elsewhere;

  [[nodiscard]] std::uint32_t index_of(const record& slot) const noexcept {
    return static_cast<std::uint32_t>(slots.index_of(slot));
  }

  /// Returns a consistent copy of the record, or nothing if no such tensor is alive.
  [[nodiscard]] std::optional<tensor_info> read(tensor_id id) const noexcept;
  /// Calls f(info) for every live tensor; it may miss tensors that begin or end meanwhile.
  template <class F>
  void for_each_tensor(F&& f) const {
    slots.for_each_taken([&](const record& r, std::uint64_t header) {
      if (const std::optional<tensor_info> info = read(slots.id_of(r, header))) {
        f(*info);
      }
    });
  }
  /// Could this pool have made the id? Its tensor may have ended.
  [[nodiscard]] bool is_ours(tensor_id id) const noexcept;

  /// Changes header bits of a live tensor: f(full header&) returns errc::ok, or why it refuses. The
  /// header stays in full form afterwards. Error: stale_id (no such tensor is alive).
  template <class F>
  [[nodiscard]] errc change_header(tensor_id id, F&& f) noexcept;
  /// Changes the masked bits of a live tensor's tag. False: no such tensor is alive.
  [[nodiscard]] bool change_tag(tensor_id id, std::uint64_t mask, std::uint64_t value) noexcept;

  /// Finds the live tensor with this key. Error: not_found.
  [[nodiscard]] result<tensor_id> find(std::uint64_t key) const noexcept;
  /// Enters the key for the next tensor of a free slot; key 0 means no key. The key is in use from
  /// now, before the tensor is alive, until release_key. Errors, after which nothing was entered:
  /// key_in_use, out_of_memory.
  [[nodiscard]] status claim_key(std::uint64_t key, record& slot) noexcept;
  /// Pre: the slot's tensor, or one that was to be made in it, has a key.
  void release_key(const record& slot) noexcept {
    keys.erase(slots.cold(slot).key.load(std::memory_order_relaxed), index_of(slot));
  }

  /// Tensors without a block: parts, adopted memory, zero bytes.
  void count_loose(std::int64_t change) noexcept {
    loose_.fetch_add(change, std::memory_order_relaxed);
  }
  [[nodiscard]] std::int64_t loose() const noexcept {
    return loose_.load(std::memory_order_relaxed);
  }

 private:
  const detail::lanes& lanes_;
  std::atomic<std::int64_t> loose_{0};
};

template <class F>
errc directory::change_header(tensor_id id, F&& f) noexcept {
  record& r = slots.at(id.value());
  std::uint64_t header = r.header.load(std::memory_order_acquire);
  for (;;) {
    if (!id || !slots.is_live(r, header, id.value())) {
      return errc::stale_id;
    }
    const std::uint64_t full =
        is_full(header) ? header
                        : full_header(id.value(), 1, lifecycle::temporary, tensor_flags::none);
    std::uint64_t wanted = full;
    if (const errc why = f(wanted); why != errc::ok) {
      return why;
    }
    if (wanted == header ||
        r.header.compare_exchange_weak(header, wanted, std::memory_order_acq_rel,
                                       std::memory_order_acquire)) {
      return errc::ok;
    }
  }
}

}  // namespace detail
}  // namespace v0
}  // namespace tidepool
