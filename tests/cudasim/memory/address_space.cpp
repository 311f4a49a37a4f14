// SPDX-License-Identifier: Apache-2.0
//
// Address spaces over a memory file, so that two views and other processes can share the memory.
#include "memory/address_space.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <iterator>

namespace cudasim {
namespace {

// Smaller pieces keep their pages: to give them back costs more than they take.
constexpr std::uint64_t worth_giving_back = std::uint64_t{64} << 20;

[[noreturn]] void give_up(const char* what) {
  std::perror(what);
  std::fprintf(stderr, "cudasim: cannot go on; set CUDASIM_MEMORY to less, or raise ulimit -v\n");
  std::abort();
}

void* map_at(void* where, std::uint64_t bytes, int protection, int flags, int descriptor,
             std::uint64_t offset) {
  return mmap(where, bytes, protection, MAP_SHARED | MAP_NORESERVE | flags, descriptor,
              static_cast<off_t>(offset));
}

}  // namespace

void address_space::reserve(std::uint64_t bytes, bool hidden) {
  descriptor_ = memfd_create("cudasim", MFD_CLOEXEC);
  if (descriptor_ < 0 || ftruncate(descriptor_, static_cast<off_t>(bytes)) != 0) {
    give_up("cudasim: memory file");
  }
  void* const memory = map_at(nullptr, bytes, PROT_READ | PROT_WRITE, 0, descriptor_, 0);
  void* const view =
      map_at(nullptr, bytes, hidden ? PROT_NONE : PROT_READ | PROT_WRITE, 0, descriptor_, 0);
  if (memory == MAP_FAILED || view == MAP_FAILED) {
    give_up("cudasim: address space");
  }
  base_ = reinterpret_cast<std::uint64_t>(view);
  delta_ = reinterpret_cast<std::uint64_t>(memory) - base_;
  size_ = bytes;
  hidden_ = hidden;
  free_[base_] = bytes;
}

std::uint64_t address_space::take(std::uint64_t bytes, std::uint64_t alignment) {
  for (auto it = free_.begin(); it != free_.end(); ++it) {
    const std::uint64_t begin = it->first;
    const std::uint64_t end = begin + it->second;
    const std::uint64_t at = align_up(begin, alignment);
    if (at > end || end - at < bytes) {
      continue;
    }
    free_.erase(it);
    if (at != begin) {
      free_[begin] = at - begin;
    }
    if (at + bytes != end) {
      free_[at + bytes] = end - at - bytes;
    }
    return at;
  }
  return 0;
}

void address_space::give(std::uint64_t address, std::uint64_t bytes) {
  if (bytes >= worth_giving_back) {
    const std::uint64_t low = align_up(address, host_page);
    const std::uint64_t high = (address + bytes) / host_page * host_page;
    madvise(memory_at(low), high - low, MADV_REMOVE);
  }
  auto it = free_.emplace(address, bytes).first;
  if (const auto next = std::next(it); next != free_.end() && address + bytes == next->first) {
    it->second += next->second;
    free_.erase(next);
  }
  if (it != free_.begin()) {
    const auto before = std::prev(it);
    if (before->first + before->second == it->first) {
      before->second += it->second;
      free_.erase(it);
    }
  }
}

bool address_space::replace(std::uint64_t address, std::uint64_t bytes, int descriptor,
                            std::uint64_t offset) {
  if (map_at(memory_at(address), bytes, PROT_READ | PROT_WRITE, MAP_FIXED, descriptor, offset) ==
      MAP_FAILED) {
    return false;
  }
  return hidden_ || map_at(reinterpret_cast<void*>(address), bytes, PROT_READ | PROT_WRITE,
                           MAP_FIXED, descriptor, offset) != MAP_FAILED;
}

void address_space::restore(std::uint64_t address, std::uint64_t bytes) {
  const bool restored = replace(address, bytes, descriptor_, address - base_);
  if (!restored) {
    give_up("cudasim: address space");
  }
  madvise(memory_at(address), bytes, MADV_REMOVE);
}

}  // namespace cudasim
