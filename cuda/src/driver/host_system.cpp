// SPDX-License-Identifier: Apache-2.0
//
// Linux calls behind host_system.
#include "driver/host_system.hpp"

#include <sched.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cerrno>
#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

namespace tidepool {
inline namespace v0 {
namespace cuda {

namespace {

constexpr int mpol_preferred = 1;  // of <linux/mempolicy.h>
constexpr int most_nodes = 1024;

struct file_closer {
  void operator()(std::FILE* file) const noexcept { static_cast<void>(std::fclose(file)); }
};
using file = std::unique_ptr<std::FILE, file_closer>;

}  // namespace

int host_system::refuse(host_call /*call*/) noexcept {
  return 0;
}

int host_system::begin(host_call call) noexcept {
  calls_.fetch_add(1, std::memory_order_relaxed);
  return refuse(call);
}

host_system::mapping host_system::map(std::size_t bytes) noexcept {
  if (const int refused = begin(host_call::map); refused != 0) {
    return {nullptr, refused};
  }
  void* const data =
      ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (data == MAP_FAILED) {
    return {nullptr, errno};
  }
  return {data, 0};
}

int host_system::unmap(void* data, std::size_t bytes) noexcept {
  if (const int refused = begin(host_call::unmap); refused != 0) {
    return refused;
  }
  return ::munmap(data, bytes) == 0 ? 0 : errno;
}

int host_system::advise(host_call call, void* data, std::size_t bytes, int advice) noexcept {
  if (const int refused = begin(call); refused != 0) {
    return refused;
  }
  constexpr int most_attempts = 16;
  for (int attempt = 0; attempt != most_attempts; ++attempt) {
    if (::madvise(data, bytes, advice) == 0) {
      return 0;
    }
    if (errno != EAGAIN && errno != EINTR) {
      break;
    }
  }
  return errno;
}

int host_system::advise_huge(void* data, std::size_t bytes) noexcept {
  return advise(host_call::huge, data, bytes, MADV_HUGEPAGE);
}

int host_system::hide_from_children(void* data, std::size_t bytes) noexcept {
  return advise(host_call::not_forked, data, bytes, MADV_DONTFORK);
}

int host_system::populate(void* data, std::size_t bytes) noexcept {
  const int error = advise(host_call::populate, data, bytes, MADV_POPULATE_WRITE);
  return error == EPERM || error == ENOSYS ? EINVAL : error;  // how filters of calls say no
}

int host_system::bind(void* data, std::size_t bytes, int node) noexcept {
  if (const int refused = begin(host_call::bind); refused != 0) {
    return refused;
  }
  if (node < 0 || node >= most_nodes) {
    return EINVAL;
  }
  constexpr int bits = 8 * sizeof(unsigned long);
  std::array<unsigned long, most_nodes / bits + 1> mask{};
  mask[static_cast<std::size_t>(node / bits)] = 1UL << (node % bits);
  // The kernel reads one bit less than it is told.
  return ::syscall(SYS_mbind, data, bytes, mpol_preferred, mask.data(), most_nodes + 1UL, 0U) == 0
             ? 0
             : errno;
}

int host_system::protect(void* data, std::size_t bytes, bool writable) noexcept {
  if (const int refused = begin(host_call::protect); refused != 0) {
    return refused;
  }
  return ::mprotect(data, bytes, PROT_READ | (writable ? PROT_WRITE : 0)) == 0 ? 0 : errno;
}

host_system::protection host_system::protection_of(const void* data,
                                                   std::size_t bytes) const noexcept {
  const file maps(std::fopen("/proc/self/maps", "re"));
  if (maps == nullptr) {
    return {};
  }
  auto at = reinterpret_cast<std::uintptr_t>(data);
  const std::uintptr_t end = at + bytes;
  protection found{true, false, true, true, false, true, false};
  std::array<char, 512> line{};
  while (at < end && std::fgets(line.data(), line.size(), maps.get()) != nullptr) {
    // A line with a long path does not fit: skip its remainder, which must not be read as a line.
    for (int c = std::strchr(line.data(), '\n') != nullptr ? '\n' : 0; c != '\n' && c != EOF;) {
      c = std::fgetc(maps.get());
    }
    std::uintptr_t low = 0;
    std::uintptr_t high = 0;
    std::array<char, 5> flags{};
    std::uint64_t inode = 0;
    if (std::sscanf(line.data(), "%" SCNxPTR "-%" SCNxPTR " %4s %*s %*s %" SCNu64, &low, &high,
                    flags.data(), &inode) != 4 ||
        high <= at) {
      continue;
    }
    if (low > at) {
      break;  // a hole: lines are in the order of their addresses
    }
    found.is_readable = found.is_readable && flags[0] == 'r';
    found.is_writable = found.is_writable && flags[1] == 'w';
    found.has_writable = found.has_writable || flags[1] == 'w';
    found.is_private = found.is_private && flags[3] == 'p';
    found.has_file = found.has_file || inode != 0;
    at = high;
  }
  found.is_mapped = at >= end;
  return found;
}

bool host_system::has_node(int node) const noexcept {
  std::array<char, 64> path{};
  std::snprintf(path.data(), path.size(), "/sys/devices/system/node/node%d", node);
  if (::access(path.data(), F_OK) == 0) {
    return true;
  }
  return node == 0 && ::access("/sys/devices/system/node", F_OK) != 0;
}

int host_system::node_of_pci(const char* bus_id) const noexcept {
  std::array<char, 128> path{};
  std::snprintf(path.data(), path.size(), "/sys/bus/pci/devices/%s/numa_node", bus_id);
  // The driver writes the number in capitals, the system in small letters.
  std::transform(path.begin(), path.end(), path.begin(), [](char c) {
    return static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  });
  const file numa_node(std::fopen(path.data(), "re"));
  int node = no_node;
  if (numa_node == nullptr || std::fscanf(numa_node.get(), "%d", &node) != 1 || node < 0) {
    return no_node;
  }
  return node;
}

unsigned host_system::processors() const noexcept {
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  if (::sched_getaffinity(0, sizeof allowed, &allowed) == 0) {
    return static_cast<unsigned>(std::max(1, CPU_COUNT(&allowed)));
  }
  const long online = ::sysconf(_SC_NPROCESSORS_ONLN);
  return online <= 1 ? 1 : static_cast<unsigned>(online);
}

std::size_t host_system::physical_bytes() const noexcept {
  const long pages = ::sysconf(_SC_PHYS_PAGES);
  const long page = ::sysconf(_SC_PAGESIZE);
  return pages <= 0 || page <= 0 ? 0
                                 : static_cast<std::size_t>(pages) * static_cast<std::size_t>(page);
}

std::size_t host_system::page_bytes() const noexcept {
  const long page = ::sysconf(_SC_PAGESIZE);
  return page <= 0 ? host_page_bytes : std::max(host_page_bytes, static_cast<std::size_t>(page));
}

int host_system::process() const noexcept {
  return ::getpid();
}

}  // namespace cuda
}  // namespace v0
}  // namespace tidepool
