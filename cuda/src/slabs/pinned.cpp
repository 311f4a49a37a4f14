// SPDX-License-Identifier: Apache-2.0
//
// Page-locked host memory: pages of our own, exactly as long as asked for, on the GPU's NUMA node,
// made present by several threads and then locked by one call of the driver per slab. Where the
// driver cannot lock pages of others it gives its own (cudaHostAlloc), which is found out when the
// source is made and said in the description, never changed later.
//
// Refused: cudaHostAlloc for all (one thread, no node, several times slower in every measurement
// that we found), memory pools at a host location (CUDA 12.9 and newer only, no populating by us).
#include "slabs/pinned.hpp"

#include "driver/host.hpp"
#include "slabs/host_pages.hpp"
#include "slabs/leftovers.hpp"

#include <algorithm>
#include <array>
#include <cstdio>
#include <new>
#include <optional>
#include <utility>

namespace tidepool {
inline namespace v0 {
namespace cuda {

namespace {

/// What a slab's cookie points to; the driver's own memory has cookie 0.
struct locked_pages {
  std::optional<host_pages> pages;
};

class pinned_source final : public slab_source {
 public:
  /// `owned`: null, or what `system` is in.
  pinned_source(driver& gpu, device where, host_system& system,
                std::unique_ptr<host_system> owned) noexcept
      : driver_(gpu), owned_(std::move(owned)), system_(system) {
    description_.where = where;
    description_.alignment = 256;  // what tensor exchange formats want of every device
    description_.total_bytes = system.physical_bytes();
    description_.stream_ordered = true;
  }
  ~pinned_source() override {
    if (probe_ && probe_->is_here()) {
      static_cast<void>(unregister_host(driver_, probe_->data()));
    }
    retry();
  }

  /// Finds the NUMA node, and finds out whether the driver can lock pages of ours.
  [[nodiscard]] status prepare() noexcept;

  [[nodiscard]] const device_description& description() const noexcept override {
    return description_;
  }
  [[nodiscard]] std::size_t granularity() const noexcept override { return page_bytes_; }

  [[nodiscard]] result<slab> allocate(std::size_t bytes) noexcept override {
    retry();
    return registers_ ? lock_pages(bytes) : take_from_driver(bytes);
  }
  [[nodiscard]] status release(const slab& what) noexcept override;

 private:
  [[nodiscard]] result<slab> lock_pages(std::size_t bytes) noexcept;
  [[nodiscard]] result<slab> take_from_driver(std::size_t bytes) noexcept;
  void describe(bool bound) noexcept;
  /// Releases pages of ours, or keeps them as a leftover if the system refuses.
  static void give_up(host_pages& pages, leftovers::room& room) noexcept {
    if (pages.release() != 0) {
      room.keep({leftover_kind::mapping, reinterpret_cast<std::uint64_t>(pages.mapped()),
                 pages.mapped_bytes()});
      pages.forget();
    }
  }
  [[nodiscard]] bool is_child() const noexcept { return system_.process() != process_; }
  // Does nothing in a forked child, where other memory may lie at those addresses.
  void retry() noexcept {
    if (is_child()) {
      return;
    }
    leftovers_.retry([&](const leftover& left) {
      return system_.unmap(reinterpret_cast<void*>(left.handle), left.bytes) == 0;
    });
  }

  driver& driver_;
  const std::unique_ptr<host_system> owned_;
  host_system& system_;
  device_description description_;
  std::array<char, 192> name_{};
  int node_ = host_system::no_node;
  bool registers_ = true;
  const std::size_t page_bytes_ = system_.page_bytes();
  const int process_ = system_.process();
  std::optional<host_pages> probe_;  // locked for a try, while the driver refuses to let it go
  leftovers leftovers_;
};

status pinned_source::prepare() noexcept {
  const device where = description_.where;
  if (where.node() != device::any_node) {
    node_ = where.node();
    if (!system_.has_node(node_)) {
      return {.code = errc::unknown_device, .where = where, .text = "no such NUMA node"};
    }
  } else {
    node_ = host_node(driver_, system_);
  }
  result<host_pages> probe =
      host_pages::make(system_, {.bytes = page_bytes_, .node = node_, .threads = 1});
  if (!probe) {
    return probe.error();
  }
  const bool bound = probe->is_bound();
  const std::span page(static_cast<const std::byte*>(probe->data()), probe->bytes());
  const status refused = register_host(driver_, page, host_access::read_write);
  registers_ = refused.ok();
  if (registers_) {
    if (!unregister_host(driver_, probe->data()).ok()) {
      probe_ = std::move(*probe);
    }
  } else if (refused.code == errc::device_lost) {
    return refused;
  }
  describe(bound);
  return {};
}

void pinned_source::describe(bool bound) noexcept {
  std::array<char, 48> place{"unknown node"};
  if (node_ != host_system::no_node) {
    std::snprintf(place.data(), place.size(), "node %d%s", node_,
                  bound && registers_ ? "" : " (not bound)");
  }
  const int length = std::snprintf(
      name_.data(), name_.size(), "pinned memory beside %.*s, %s%s",
      static_cast<int>(std::min<std::size_t>(driver_.name().size(), 96)), driver_.name().data(),
      place.data(), registers_ ? "" : ", from cudaHostAlloc as pages cannot be registered");
  description_.name = {name_.data(), std::min(static_cast<std::size_t>(length), name_.size() - 1)};
}

result<slab> pinned_source::lock_pages(std::size_t bytes) noexcept {
  const auto no_memory = [&]() noexcept {
    return status{.code = errc::out_of_memory, .requested = bytes, .where = description_.where};
  };
  std::unique_ptr<locked_pages> kept(new (std::nothrow) locked_pages);
  leftovers::room room(leftovers_, 1);
  if (kept == nullptr || !room) {
    return no_memory();
  }
  result<host_pages> made = host_pages::make(system_, {.bytes = bytes, .node = node_});
  if (!made) {
    status why = made.error();
    why.where = description_.where;
    return why;
  }
  const std::span memory(static_cast<std::byte*>(made->data()), made->bytes());
  status why = register_host(driver_, memory, host_access::read_write);
  if (!why.ok()) {
    give_up(*made, room);
    why.where = description_.where;
    return why;
  }
  kept->pages = std::move(*made);
  return slab{.data = memory.data(),
              .bytes = bytes,
              .address_space_bytes = bytes,
              .cookie = reinterpret_cast<std::uint64_t>(kept.release())};
}

result<slab> pinned_source::take_from_driver(std::size_t bytes) noexcept {
  const result<void*> made = allocate_host(driver_, bytes);
  if (!made) {
    status why = made.error();
    why.requested = bytes;
    why.where = description_.where;
    return why;
  }
  return slab{.data = static_cast<std::byte*>(*made), .bytes = bytes, .address_space_bytes = bytes};
}

status pinned_source::release(const slab& what) noexcept {
  if (is_child()) {
    return {};  // the pages and the driver's state are the parent's
  }
  retry();
  leftovers::room room(leftovers_, 1);
  if (!room) {
    return {.code = errc::out_of_memory, .where = description_.where};
  }
  auto* const kept = reinterpret_cast<locked_pages*>(what.cookie);
  const status why =
      kept == nullptr ? free_host(driver_, what.data) : unregister_host(driver_, what.data);
  // After a lost device no GPU reads the pages, and the driver's lock on them has ended with it.
  if (!why.ok() && why.code != errc::device_lost) {
    return why;
  }
  if (kept != nullptr) {
    give_up(*kept->pages, room);
    delete kept;
  }
  return {};
}

made_source make(driver& gpu, device where, host_system& system,
                 std::unique_ptr<host_system> owned) noexcept {
  std::unique_ptr<pinned_source> made(new (std::nothrow)
                                          pinned_source(gpu, where, system, std::move(owned)));
  if (made == nullptr) {
    return status{.code = errc::out_of_memory, .where = where};
  }
  if (const status why = made->prepare(); !why.ok()) {
    return why;
  }
  return std::unique_ptr<slab_source>(std::move(made));
}

}  // namespace

made_source make_pinned_source(driver& gpu, device where, host_system& system) noexcept {
  return make(gpu, where, system, nullptr);
}

made_source make_pinned_source(driver& gpu, device where) noexcept {
  std::unique_ptr<host_system> system(new (std::nothrow) host_system);
  if (system == nullptr) {
    return status{.code = errc::out_of_memory, .where = where};
  }
  host_system& used = *system;
  return make(gpu, where, used, std::move(system));
}

}  // namespace cuda
}  // namespace v0
}  // namespace tidepool
