// SPDX-License-Identifier: Apache-2.0
//
// Slabs of GPU memory: from a pool of the driver that is ours alone, or by cudaMalloc. The pool
// keeps nothing by itself: what a slab gives back is trimmed at once, as deciding what is kept is
// the backend's. A stream of its own orders its calls; each is waited for, so a new slab is ready
// for every stream. Thread-safe: nothing changes after construction.
#include "driver/driver.hpp"
#include "slabs/slab_source.hpp"
#include <tidepool/support/block_requests.hpp>

#include <algorithm>
#include <array>
#include <cstdio>
#include <new>
#include <utility>

namespace tidepool {
inline namespace v0 {
namespace cuda {

namespace {

constexpr std::size_t slab_unit = std::size_t{2} << 20;
constexpr std::size_t device_alignment = 256;

class device_slabs : public slab_source {
 public:
  device_slabs(driver& gpu, memory_kind kind, const char* remark) noexcept : driver_(gpu) {
    std::snprintf(name_.data(), name_.size(), "%.*s%s", static_cast<int>(gpu.name().size()),
                  gpu.name().data(), remark);
    description_.where = device::cuda(static_cast<std::uint16_t>(gpu.ordinal())).with(kind);
    description_.name = name_.data();
    description_.alignment = device_alignment;
    description_.total_bytes = gpu.total_bytes();
    description_.host_accessible = false;
    description_.stream_ordered = true;
  }

  [[nodiscard]] const device_description& description() const noexcept override {
    return description_;
  }
  [[nodiscard]] std::size_t granularity() const noexcept override { return slab_unit; }

 protected:
  [[nodiscard]] driver& gpu() const noexcept { return driver_; }
  void add_remark(int left_out) noexcept {
    const std::size_t length = description_.name.size();
    std::snprintf(name_.data() + length, name_.size() - length, ", out of reach of cuda:%d",
                  left_out);
    description_.name = name_.data();
  }
  /// The driver aligns to 256 bytes by contract, to more as a rule. Where it does not, a longer
  /// piece is cut to pages. allocate(bytes) and release(data) are the driver's.
  template <class Allocate, class Release>
  [[nodiscard]] static result<slab> in_pages(std::size_t bytes, Allocate allocate,
                                             Release release) noexcept {
    result<void*> made = allocate(bytes);
    if (made && !is_at_page(*made)) {
      static_cast<void>(release(*made));
      made = allocate(bytes + support::page_bytes);
    }
    if (!made) {
      return made.error();
    }
    const auto address = reinterpret_cast<std::uintptr_t>(*made);
    const std::size_t skipped =
        (support::page_bytes - address % support::page_bytes) % support::page_bytes;
    return slab{.data = static_cast<std::byte*>(*made) + skipped,
                .bytes = bytes,
                .address_space_bytes = bytes,
                .cookie = skipped};
  }
  [[nodiscard]] static void* origin_of(const slab& what) noexcept {
    return what.data - what.cookie;
  }

 private:
  [[nodiscard]] static bool is_at_page(const void* data) noexcept {
    return reinterpret_cast<std::uintptr_t>(data) % support::page_bytes == 0;
  }

  driver& driver_;
  std::array<char, 320> name_{};
  device_description description_;
};

class plain_slabs final : public device_slabs {
 public:
  using device_slabs::device_slabs;

  [[nodiscard]] result<slab> allocate(std::size_t bytes) noexcept override {
    return in_pages(
        bytes, [this](std::size_t n) { return gpu().allocate(n); },
        [this](void* data) { return gpu().release(data); });
  }
  [[nodiscard]] status release(const slab& what) noexcept override {
    return gpu().release(origin_of(what));
  }
};

class pooled_slabs final : public device_slabs {
 public:
  explicit pooled_slabs(driver& gpu) noexcept : device_slabs(gpu, memory_kind::pooled, "") {}
  ~pooled_slabs() override {
    if (pool_ != nullptr) {
      static_cast<void>(gpu().destroy_pool(pool_));
    }
    if (stream_ != nullptr) {
      static_cast<void>(gpu().destroy_stream(stream_));
    }
  }

  [[nodiscard]] status open() noexcept {
    const result<cudaStream_t> stream = gpu().make_stream();
    if (!stream) {
      return stream.error();
    }
    stream_ = *stream;
    const result<cudaMemPool_t> pool = gpu().make_pool();
    if (!pool) {
      return pool.error();
    }
    pool_ = *pool;
    return open_to_peers();
  }

  [[nodiscard]] result<slab> allocate(std::size_t bytes) noexcept override {
    result<slab> made = in_pages(
        bytes, [this](std::size_t n) { return gpu().allocate(pool_, n, stream_); },
        [this](void* data) { return gpu().release(data, stream_); });
    if (made) {
      if (const status why = gpu().synchronise(stream_); !why.ok()) {
        static_cast<void>(gpu().release(origin_of(*made), stream_));
        return why;
      }
    }
    return made;
  }

  // The driver gives back only what it knows to be free, so the stream is waited for first. The
  // wait is short, because no other work is on this stream.
  [[nodiscard]] status release(const slab& what) noexcept override {
    if (const status why = gpu().release(origin_of(what), stream_); !why.ok()) {
      return why;
    }
    if (gpu().synchronise(stream_).ok()) {
      static_cast<void>(gpu().trim(pool_));
    }
    return {};
  }

  // Drivers take memory for a pool in longer pieces than it is asked for.
  [[nodiscard]] std::size_t held_bytes(std::size_t in_slabs) const noexcept override {
    const result<std::size_t> reserved = gpu().reserved_by(pool_);
    return reserved ? std::max(*reserved, in_slabs) : in_slabs;
  }

 private:
  // A GPU that nobody named may be refused, as one without pools of its own is. It is left out,
  // and the name of the device says so.
  [[nodiscard]] status open_to_peers() noexcept {
    const peer_list wanted = gpu().peers();
    for (const int peer : wanted.ordinals()) {
      const status why = gpu().open_to(peer, pool_);
      if (!why.ok() && (wanted.is_named || why.code == errc::device_lost)) {
        return why;
      }
      if (!why.ok()) {
        gpu().leave_out(peer);
        add_remark(peer);
      }
    }
    return {};
  }

  cudaStream_t stream_ = nullptr;
  cudaMemPool_t pool_ = nullptr;
};

[[nodiscard]] made_source made_or_no_memory(slab_source* made) noexcept {
  if (made == nullptr) {
    return errc::out_of_memory;
  }
  return std::unique_ptr<slab_source>(made);
}

}  // namespace

made_source make_plain_source(driver& gpu) noexcept {
  return made_or_no_memory(new (std::nothrow)
                               plain_slabs(gpu, memory_kind::plain, ", cudaMalloc memory"));
}

// A virtual GPU may have no pools: its slabs come from cudaMalloc, and the name says so.
made_source make_pooled_source(driver& gpu) noexcept {
  if (gpu.attribute(cudaDevAttrMemoryPoolsSupported) == 0) {
    return made_or_no_memory(new (std::nothrow) plain_slabs(
        gpu, memory_kind::pooled, ", cudaMalloc memory as the device has no memory pools"));
  }
  std::unique_ptr<pooled_slabs> made(new (std::nothrow) pooled_slabs(gpu));
  if (made == nullptr) {
    return errc::out_of_memory;
  }
  if (const status why = made->open(); !why.ok()) {
    return why;
  }
  return std::unique_ptr<slab_source>(std::move(made));
}

}  // namespace cuda
}  // namespace v0
}  // namespace tidepool
