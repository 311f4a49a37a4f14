// SPDX-License-Identifier: Apache-2.0
//
// Fills, comparisons and page protection of debug modes.
#include "debug/memory.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <span>

namespace tidepool {
inline namespace v0 {
namespace detail {

namespace {

// Compares the bytes with themselves, shifted by one: memcmp is the fastest such test.
[[nodiscard]] bool all_equal(const unsigned char* bytes, std::byte value, std::size_t n) noexcept {
  return n == 0 || (bytes[0] == static_cast<unsigned char>(value) &&
                    std::memcmp(bytes, bytes + 1, n - 1) == 0);
}

// offset: the position of the first of these bytes among all that are compared.
void add_differences(comparison& to, std::span<const unsigned char> bytes, std::byte value,
                     std::size_t offset) noexcept {
  if (all_equal(bytes.data(), value, bytes.size())) {
    return;
  }
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    if (bytes[i] != static_cast<unsigned char>(value)) {
      if (!to.differs) {
        to.differs = true;
        to.first = offset + i;
        to.found = bytes[i];
      }
      to.last = offset + i;
    }
  }
}

}  // namespace

bool fill_bytes(const lane& where, void* dst, std::byte value, std::size_t bytes) noexcept {
  if (bytes == 0) {
    return true;
  }
  const device_entry& device = *where.device;
  if (device.description.host_accessible) {
    std::memset(dst, static_cast<int>(value), bytes);
    return true;
  }
  // A fill or a copy on a stream that captures would become a part of the graph.
  return !device.source->is_capturing(device.where, where.stream()) &&
         device.source
             ->fill(device.where, dst, static_cast<std::uint8_t>(value), bytes, where.stream())
             .ok();
}

comparison compare_bytes(const lane& where, const void* src, std::byte value,
                         std::size_t bytes) noexcept {
  comparison answer;
  const auto* const begin = static_cast<const unsigned char*>(src);
  const device_entry& device = *where.device;
  if (device.description.host_accessible) {
    add_differences(answer, {begin, bytes}, value, 0);
    return answer;
  }
  if (device.source->is_capturing(device.where, where.stream())) {
    answer.readable = false;
    return answer;
  }
  std::array<unsigned char, 4096> part;
  for (std::size_t done = 0; done < bytes; done += part.size()) {
    const std::size_t n = std::min(part.size(), bytes - done);
    if (!device.source->copy(device.where, part.data(), begin + done, n, where.stream()).ok() ||
        !device.source->synchronise(device.where, where.stream()).ok()) {
      answer.readable = false;
      return answer;
    }
    add_differences(answer, std::span(part).first(n), value, done);
  }
  return answer;
}

std::size_t page_bytes() noexcept {
  static const auto bytes = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  return bytes;
}

bool can_protect(const device_entry& device) noexcept {
  return device.description.host_accessible &&
         (device.where.kind() == device_kind::cpu || device.where.kind() == device_kind::user);
}

bool protect_pages(void* data, std::size_t bytes, bool accessible) noexcept {
  return ::mprotect(data, bytes, accessible ? PROT_READ | PROT_WRITE : PROT_NONE) == 0;
}

}  // namespace detail
}  // namespace v0
}  // namespace tidepool
