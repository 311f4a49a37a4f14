// SPDX-License-Identifier: Apache-2.0
//
// Linux calls behind os_memory.
#include "os_memory.hpp"

#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <cstdio>

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

namespace tidepool {
inline namespace v0 {
namespace cpu {

namespace {

constexpr int mpol_preferred = 1;  // of <linux/mempolicy.h>

// A filter of system calls (seccomp) refuses with these errors, which the kernel itself does not
// use here.
bool is_filtered(int error) noexcept {
  return error == EPERM || error == ENOSYS;
}

// Maps new pages in the same place: they are zero, usable, and cost nothing until touched. This
// loses advice about huge pages and NUMA nodes, so it is the second choice.
int replace(void* data, std::size_t bytes) noexcept {
  void* const made = ::mmap(data, bytes, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
  return made == MAP_FAILED ? errno : 0;
}

}  // namespace

int os_memory::refuse(system_call /*call*/) noexcept {
  return 0;
}

int os_memory::begin(system_call call) noexcept {
  calls_.fetch_add(1, std::memory_order_relaxed);
  return refuse(call);
}

os_memory::mapping os_memory::map(std::size_t bytes) noexcept {
  if (const int refused = begin(system_call::reserve); refused != 0) {
    return {nullptr, refused};
  }
  void* const data =
      ::mmap(nullptr, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (data == MAP_FAILED) {
    return {nullptr, errno};
  }
  return {data, 0};
}

os_memory::mapping os_memory::reserve(std::size_t bytes, std::size_t alignment) noexcept {
  mapping found = map(bytes);
  if (found.data == nullptr || reinterpret_cast<std::uintptr_t>(found.data) % alignment == 0) {
    return found;
  }
  // The place is not aligned: take more and give both ends back. If giving back is refused, that
  // costs address space only.
  static_cast<void>(release(found.data, bytes));
  if (bytes > SIZE_MAX - alignment) {
    return {nullptr, ENOMEM};
  }
  found = map(bytes + alignment);
  if (found.data == nullptr) {
    return found;
  }
  auto* const begin_at = static_cast<char*>(found.data);
  const std::size_t over = reinterpret_cast<std::uintptr_t>(begin_at) % alignment;
  const std::size_t skip = over == 0 ? 0 : alignment - over;
  if (skip != 0) {
    static_cast<void>(release(begin_at, skip));
  }
  if (alignment != skip) {
    static_cast<void>(release(begin_at + skip + bytes, alignment - skip));
  }
  return {begin_at + skip, 0};
}

int os_memory::release(void* data, std::size_t bytes) noexcept {
  if (const int refused = begin(system_call::release); refused != 0) {
    return refused;
  }
  return ::munmap(data, bytes) == 0 ? 0 : errno;
}

int os_memory::commit(void* data, std::size_t bytes) noexcept {
  if (const int refused = begin(system_call::commit); refused != 0) {
    return refused;
  }
  const int error = ::mprotect(data, bytes, PROT_READ | PROT_WRITE) == 0 ? 0 : errno;
  return is_filtered(error) ? replace(data, bytes) : error;
}

int os_memory::advise(void* data, std::size_t bytes, int advice) noexcept {
  for (int attempt = 0; attempt != 16; ++attempt) {
    if (::madvise(data, bytes, advice) == 0) {
      return 0;
    }
    if (errno != EAGAIN && errno != EINTR) {
      break;
    }
  }
  return errno;
}

int os_memory::discard(void* data, std::size_t bytes) noexcept {
  if (const int refused = begin(system_call::discard); refused != 0) {
    return refused;
  }
  const int error = advise(data, bytes, MADV_DONTNEED);
  return is_filtered(error) ? replace(data, bytes) : error;
}

int os_memory::populate(void* data, std::size_t bytes) noexcept {
  if (const int refused = begin(system_call::populate); refused != 0) {
    return refused;
  }
  const int error = advise(data, bytes, MADV_POPULATE_WRITE);
  return is_filtered(error) ? EINVAL : error;
}

int os_memory::advise_huge(void* data, std::size_t bytes, bool huge) noexcept {
  if (const int refused = begin(system_call::advise); refused != 0) {
    return refused;
  }
  return advise(data, bytes, huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
}

int os_memory::bind(void* data, std::size_t bytes, unsigned node) noexcept {
  if (const int refused = begin(system_call::bind); refused != 0) {
    return refused;
  }
  constexpr unsigned bits = 8 * sizeof(unsigned long);
  std::array<unsigned long, 256 / bits> mask{};
  if (node >= 256) {
    return EINVAL;
  }
  mask[node / bits] = 1UL << (node % bits);
  // The kernel reads one bit less than it is told.
  return ::syscall(SYS_mbind, data, bytes, mpol_preferred, mask.data(), 256UL, 0U) == 0 ? 0 : errno;
}

bool os_memory::has_node(unsigned node) const noexcept {
  std::array<char, 64> path{};
  std::snprintf(path.data(), path.size(), "/sys/devices/system/node/node%u", node);
  if (::access(path.data(), F_OK) == 0) {
    return true;
  }
  return node == 0 && ::access("/sys/devices/system/node", F_OK) != 0;
}

std::size_t os_memory::physical_bytes() const noexcept {
  const long pages = ::sysconf(_SC_PHYS_PAGES);
  return pages <= 0 ? 0 : static_cast<std::size_t>(pages) * system_page_bytes();
}

std::size_t os_memory::system_page_bytes() const noexcept {
  const long bytes = ::sysconf(_SC_PAGESIZE);
  return bytes <= 0 ? page_bytes : static_cast<std::size_t>(bytes);
}

}  // namespace cpu
}  // namespace v0
}  // namespace tidepool
