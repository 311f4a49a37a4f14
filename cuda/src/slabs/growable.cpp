// SPDX-License-Identifier: Apache-2.0
//
// Growable device memory: a slab begins a range of addresses eight times as long, in which it grows
// in place as memory of the GPU is mapped behind it. What the driver does not take back at once is
// tried again at the next call, so a call that fails once leaves nothing mapped and loses nothing.
//
// Handles of memory are released as soon as it is mapped: a slab is then an address and a length,
// and unmapping it is the one call that gives its memory back.
#include "driver/virtual.hpp"
#include "slabs/leftovers.hpp"
#include "slabs/slab_source.hpp"

#include <algorithm>
#include <array>
#include <cstdio>
#include <new>

namespace tidepool {
inline namespace v0 {
namespace cuda {

namespace {

constexpr std::size_t growth = 8;

class growable_source final : public slab_source {
 public:
  growable_source(driver& gpu, const virtual_memory& memory) noexcept : memory_(memory) {
    const int length = std::snprintf(name_.data(), name_.size(), "growable memory of %.*s",
                                     static_cast<int>(std::min<std::size_t>(gpu.name().size(), 96)),
                                     gpu.name().data());
    description_.where =
        device::cuda(static_cast<std::uint16_t>(gpu.ordinal())).with(memory_kind::growable);
    description_.name = {name_.data(), static_cast<std::size_t>(length)};
    description_.alignment = 256;
    description_.total_bytes = gpu.total_bytes();
    description_.host_accessible = false;
    description_.stream_ordered = true;
    description_.can_extend = true;
  }
  ~growable_source() override { retry(); }

  [[nodiscard]] const device_description& description() const noexcept override {
    return description_;
  }
  [[nodiscard]] std::size_t granularity() const noexcept override { return memory_.granularity(); }
  [[nodiscard]] std::size_t smallest_slab() const noexcept override {
    return std::max(slab_source::smallest_slab(), granularity());
  }

  [[nodiscard]] result<slab> allocate(std::size_t bytes) noexcept override;
  [[nodiscard]] status release(const slab& what) noexcept override;
  [[nodiscard]] result<slab> extend(const slab& what, std::size_t bytes) noexcept override;

 private:
  struct range {
    CUdeviceptr address = 0;
    std::size_t bytes = 0;
  };
  [[nodiscard]] result<range> reserve(std::size_t bytes) noexcept;
  void free(const range& addresses, leftovers::room& room) noexcept;
  /// Maps memory that every kernel may use to the addresses. On an error nothing is mapped there.
  [[nodiscard]] status back(const range& addresses, leftovers::room& room) noexcept;
  void retry() noexcept;

  [[nodiscard]] status here(status why, std::size_t bytes) const noexcept {
    why.requested = bytes;
    why.where = description_.where;
    return why;
  }
  [[nodiscard]] status no_memory(std::size_t bytes, const char* text) const noexcept {
    return here({.code = errc::out_of_memory, .text = text}, bytes);
  }

  virtual_memory memory_;
  device_description description_;
  std::array<char, 192> name_{};
  leftovers leftovers_;
};

// Reserves addresses for growth, but not more than the GPU has memory, which would be of no use.
result<growable_source::range> growable_source::reserve(std::size_t bytes) noexcept {
  const std::size_t step = granularity();
  const std::size_t most = std::max(bytes, description_.total_bytes / step * step);
  std::size_t wanted = bytes > most / growth ? most : bytes * growth;
  for (;;) {
    const result<CUdeviceptr> at = memory_.reserve(wanted);
    if (at) {
      return range{*at, wanted};
    }
    if (wanted == bytes || at.error().code == errc::device_lost) {
      return at.error();
    }
    wanted = std::max(bytes, wanted / 2 / step * step);
  }
}

void growable_source::free(const range& addresses, leftovers::room& room) noexcept {
  if (!memory_.free(addresses.address, addresses.bytes).ok()) {
    room.keep({leftover_kind::addresses, addresses.address, addresses.bytes});
  }
}

status growable_source::back(const range& addresses, leftovers::room& room) noexcept {
  const result<CUmemGenericAllocationHandle> made = memory_.create(addresses.bytes);
  if (!made) {
    return made.error();
  }
  status why = memory_.map(addresses.address, addresses.bytes, *made);
  if (why.ok()) {
    why = memory_.allow_access(addresses.address, addresses.bytes);
    if (!why.ok() && !memory_.unmap(addresses.address, addresses.bytes).ok()) {
      room.keep({leftover_kind::mapping, addresses.address, addresses.bytes});
    }
  }
  if (!memory_.release(*made).ok()) {
    room.keep({leftover_kind::memory, *made, 0});
  }
  return why;
}

result<slab> growable_source::allocate(std::size_t bytes) noexcept {
  retry();
  leftovers::room room(leftovers_, 3);
  if (!room) {
    return no_memory(bytes, nullptr);
  }
  const result<range> addresses = reserve(bytes);
  if (!addresses) {
    return here(addresses.error(), bytes);
  }
  if (const status why = back({addresses->address, bytes}, room); !why.ok()) {
    free(*addresses, room);
    return here(why, bytes);
  }
  return slab{.data = reinterpret_cast<std::byte*>(addresses->address),
              .bytes = bytes,
              .address_space_bytes = addresses->bytes};
}

status growable_source::release(const slab& what) noexcept {
  retry();
  leftovers::room room(leftovers_, 1);
  if (!room) {
    return no_memory(what.bytes, nullptr);
  }
  const auto at = reinterpret_cast<CUdeviceptr>(what.data);
  if (const status why = memory_.unmap(at, what.bytes); !why.ok()) {
    return here(why, what.bytes);
  }
  free({at, what.address_space_bytes}, room);
  return {};
}

result<slab> growable_source::extend(const slab& what, std::size_t bytes) noexcept {
  if (bytes > what.address_space_bytes) {
    return no_memory(bytes, "the addresses behind the slab are not reserved");
  }
  retry();
  leftovers::room room(leftovers_, 2);
  if (!room) {
    return no_memory(bytes, nullptr);
  }
  const CUdeviceptr end = reinterpret_cast<CUdeviceptr>(what.data) + what.bytes;
  if (const status why = back({end, bytes - what.bytes}, room); !why.ok()) {
    return here(why, bytes);
  }
  slab longer = what;
  longer.bytes = bytes;
  return longer;
}

// Mappings were kept before the addresses that they lie in, so they are undone first.
void growable_source::retry() noexcept {
  leftovers_.retry([&](const leftover& left) {
    switch (left.kind) {
    case leftover_kind::mapping:
      return memory_.unmap(left.handle, left.bytes).ok();
    case leftover_kind::addresses:
      return memory_.free(left.handle, left.bytes).ok();
    case leftover_kind::memory:
      return memory_.release(left.handle).ok();
    }
    return true;
  });
}

}  // namespace

made_source make_growable_source(driver& gpu) noexcept {
  const result<virtual_memory> memory = virtual_memory::open(gpu);
  if (!memory) {
    return memory.error();
  }
  std::unique_ptr<slab_source> made(new (std::nothrow) growable_source(gpu, *memory));
  if (made == nullptr) {
    return status{
        .code = errc::out_of_memory,
        .where =
            device::cuda(static_cast<std::uint16_t>(gpu.ordinal())).with(memory_kind::growable)};
  }
  return made;
}

}  // namespace cuda
}  // namespace v0
}  // namespace tidepool
