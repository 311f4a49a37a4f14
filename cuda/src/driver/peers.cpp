// SPDX-License-Identifier: Apache-2.0
//
// Choosing peers: every GPU that the driver says can reach this one, or those that were named.
#include "driver/peers.hpp"

#include "driver/driver.hpp"

#include <algorithm>

namespace tidepool {
inline namespace v0 {
namespace cuda {

namespace {

[[nodiscard]] device numbered(int ordinal) noexcept {
  return device::cuda(static_cast<std::uint16_t>(ordinal));
}

[[nodiscard]] status too_many() noexcept {
  return {.code = errc::too_many, .text = "a GPU has at most 63 peers"};
}

[[nodiscard]] result<peer_list> every_peer(driver& gpu) noexcept {
  peer_list found;
  for (int other = 0; other != gpu.gpu_count(); ++other) {
    if (other == gpu.ordinal()) {
      continue;
    }
    const result<bool> can = gpu.can_be_reached_from(other);
    if (!can) {
      return can.error();
    }
    if (*can && !found.add(other)) {
      return too_many();
    }
  }
  return found;
}

[[nodiscard]] status fault_of(driver& gpu, std::span<const std::uint16_t> named,
                              std::size_t n) noexcept {
  const std::uint16_t other = named[n];
  const device where = device::cuda(other);
  if (other == gpu.ordinal()) {
    return {.code = errc::invalid_argument,
            .where = where,
            .text = "peer_ordinals names the backend's own GPU, which is no peer of itself"};
  }
  const std::span<const std::uint16_t> before = named.first(n);
  if (std::find(before.begin(), before.end(), other) != before.end()) {
    return {
        .code = errc::invalid_argument, .where = where, .text = "peer_ordinals names a GPU twice"};
  }
  if (other >= gpu.gpu_count()) {
    return {.code = errc::unknown_device,
            .where = where,
            .text = "peer_ordinals names a GPU that this machine does not have"};
  }
  const result<bool> can = gpu.can_be_reached_from(other);
  if (!can) {
    return can.error();
  }
  return *can ? status{}
              : status{.code = errc::unsupported,
                       .where = numbered(gpu.ordinal()),
                       .text = "a GPU of peer_ordinals cannot access this GPU's memory "
                               "(cudaDeviceCanAccessPeer)"};
}

}  // namespace

result<peer_list> find_peers(driver& gpu, const backend_options& options) noexcept {
  if (options.peers != peer_access::these && !options.peer_ordinals.empty()) {
    return status{.code = errc::invalid_argument,
                  .where = numbered(gpu.ordinal()),
                  .text = "peer_ordinals is for peer_access::these only"};
  }
  switch (options.peers) {
  case peer_access::all:
    return every_peer(gpu);
  case peer_access::none:
    return peer_list{};
  case peer_access::these:
    break;
  default:
    return status{.code = errc::invalid_argument, .text = "peers is no peer_access"};
  }
  peer_list found;
  found.is_named = true;
  for (std::size_t n = 0; n != options.peer_ordinals.size(); ++n) {
    if (const status why = fault_of(gpu, options.peer_ordinals, n); !why.ok()) {
      return why;
    }
    if (!found.add(options.peer_ordinals[n])) {
      return too_many();
    }
  }
  return found;
}

}  // namespace cuda
}  // namespace v0
}  // namespace tidepool
