// SPDX-License-Identifier: Apache-2.0
//
// device: where memory lives, as a value. It names a place and owns nothing. An allocation from a
// pool that does not have the place fails with errc::unknown_device.
#pragma once

#include <compare>
#include <cstdint>

namespace tidepool {
inline namespace v0 {

/// Kinds of memory. Values are stable: they appear in traces and in the C ABI.
enum class device_kind : std::uint8_t {
  cpu = 0,         ///< pageable host memory
  cuda = 1,        ///< memory of one CUDA GPU
  pinned = 2,      ///< page-locked host memory that a GPU can read
  managed = 3,     ///< memory that migrates between host and GPU by itself
  hip = 4,         ///< reserved
  metal = 5,       ///< reserved
  remote = 6,      ///< reserved
  user = 7,        ///< a backend written by the application
  automatic = 15,  ///< no place: the pool's placement policy chooses
};

/// How the memory of a CUDA device comes from the driver. Each kind is a place of its own, with its
/// own limit and figures, so the pool never uses one kind instead of another. Values are stable.
enum class memory_kind : std::uint8_t {
  pooled = 0,    ///< slabs from a stream-ordered pool of the driver; the default
  plain = 1,     ///< cudaMalloc slabs: can be registered for RDMA, opened by legacy IPC
  growable = 2,  ///< mapped address space: blocks can be extended in place
};

/// A place for memory: {kind, memory kind, ordinal, NUMA node}. Trivially copyable, 4 bytes,
/// totally ordered.
class device {
 public:
  /// The host, any NUMA node.
  constexpr device() noexcept = default;

  [[nodiscard]] static constexpr device cpu() noexcept { return {}; }
  /// Host memory of one NUMA node, 0..254.
  [[nodiscard]] static constexpr device cpu(std::uint8_t numa_node) noexcept {
    return device{device_kind::cpu, 0, numa_node};
  }
  [[nodiscard]] static constexpr device cuda(std::uint16_t ordinal) noexcept {
    return device{device_kind::cuda, ordinal, any_node};
  }
  /// Page-locked host memory near one GPU.
  [[nodiscard]] static constexpr device pinned(device gpu) noexcept {
    return device{device_kind::pinned, gpu.ordinal(), any_node};
  }
  /// Page-locked host memory of one NUMA node.
  [[nodiscard]] static constexpr device pinned(std::uint8_t numa_node) noexcept {
    return device{device_kind::pinned, 0, numa_node};
  }
  [[nodiscard]] static constexpr device managed(device gpu) noexcept {
    return device{device_kind::managed, gpu.ordinal(), any_node};
  }
  /// A place served by the application's own backend.
  [[nodiscard]] static constexpr device user(std::uint16_t ordinal) noexcept {
    return device{device_kind::user, ordinal, any_node};
  }
  constexpr device(device_kind kind, std::uint16_t ordinal, std::uint8_t numa_node) noexcept
      : ordinal_(ordinal), node_(numa_node), kinds_(static_cast<std::uint8_t>(kind)) {}

  /// Returns the same device with memory of another kind, as
  /// device::cuda(0).with(memory_kind::plain).
  [[nodiscard]] constexpr device with(memory_kind how) const noexcept {
    device other = *this;
    other.kinds_ = static_cast<std::uint8_t>((kinds_ & 0x0f) | static_cast<unsigned>(how) << 4);
    return other;
  }

  static constexpr std::uint8_t any_node = 255;

  [[nodiscard]] constexpr device_kind kind() const noexcept {
    return static_cast<device_kind>(kinds_ & 0x0f);
  }
  [[nodiscard]] constexpr memory_kind memory() const noexcept {
    return static_cast<memory_kind>(kinds_ >> 4);
  }
  [[nodiscard]] constexpr std::uint16_t ordinal() const noexcept { return ordinal_; }
  /// The NUMA node, or any_node.
  [[nodiscard]] constexpr std::uint8_t node() const noexcept { return node_; }
  /// No place: the placement policy chooses.
  [[nodiscard]] constexpr bool is_automatic() const noexcept {
    return kinds_ == static_cast<std::uint8_t>(device_kind::automatic);
  }
  /// True when host code may read and write the memory directly.
  [[nodiscard]] constexpr bool is_host() const noexcept {
    return kind() == device_kind::cpu || kind() == device_kind::pinned ||
           kind() == device_kind::managed;
  }

  /// All fields in one word; equal devices have equal words. Stable, part of the C ABI.
  [[nodiscard]] constexpr std::uint32_t bits() const noexcept {
    return std::uint32_t{ordinal_} | std::uint32_t{node_} << 16 | std::uint32_t{kinds_} << 24;
  }
  [[nodiscard]] static constexpr device from_bits(std::uint32_t bits) noexcept {
    return device{static_cast<device_kind>(bits >> 24 & 0x0f), static_cast<std::uint16_t>(bits),
                  static_cast<std::uint8_t>(bits >> 16)}
        .with(static_cast<memory_kind>(bits >> 28));
  }

  friend constexpr bool operator==(device, device) noexcept = default;
  friend constexpr auto operator<=>(device, device) noexcept = default;

 private:
  std::uint16_t ordinal_ = 0;
  std::uint8_t node_ = any_node;
  std::uint8_t kinds_ = 0;  // device_kind | memory_kind << 4
};
static_assert(sizeof(device) == 4);

/// Instead of a device: let the pool's placement policy choose (pool_options::placement).
namespace placement {
inline constexpr device automatic{device_kind::automatic, 0, device::any_node};
}  // namespace placement

}  // namespace v0
}  // namespace tidepool
