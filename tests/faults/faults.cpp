// SPDX-License-Identifier: Apache-2.0
//
// What stands between the library and the system: __wrap_ functions for the linker's --wrap, and
// the heap's operator new.
#include "faults.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstdarg>
#include <cstdlib>
#include <new>

namespace tidepool::test {

fault_state faults;
constinit thread_local int depth_within = 0;

namespace {

bool fails(fault_kind kind) noexcept {
  if (depth_within == 0 || kind != faults.kind) {
    return false;
  }
  const std::uint64_t number = faults.calls.fetch_add(1) + 1;
  const std::uint64_t chosen = faults.fail_call;
  const bool hit = chosen != 0 && (number == chosen || (number > chosen && faults.for_good));
  faults.failed += hit ? 1 : 0;
  return hit;
}

bool system_call_fails() noexcept {
  if (!fails(fault_kind::system_call)) {
    return false;
  }
  errno = ENOMEM;
  return true;
}

}  // namespace
}  // namespace tidepool::test

using tidepool::test::faults;

extern "C" {

void* __real_mmap(void*, std::size_t, int, int, int, off_t);
int __real_munmap(void*, std::size_t);
int __real_mprotect(void*, std::size_t, int);
int __real_madvise(void*, std::size_t, int);
long __real_syscall(long, long, long, long, long, long, long);

void* __wrap_mmap(void* at, std::size_t bytes, int rights, int flags, int file, off_t offset);
int __wrap_munmap(void* data, std::size_t bytes);
int __wrap_mprotect(void* data, std::size_t bytes, int rights);
int __wrap_madvise(void* data, std::size_t bytes, int advice);
long __wrap_syscall(long number, ...);

void* __wrap_mmap(void* at, std::size_t bytes, int rights, int flags, int file, off_t offset) {
  if (tidepool::test::system_call_fails()) {
    return MAP_FAILED;
  }
  void* const made = __real_mmap(at, bytes, rights, flags, file, offset);
  // What is mapped anew in its place was counted before.
  const bool adds = made != MAP_FAILED && (flags & MAP_FIXED) == 0;
  faults.mapped += adds ? static_cast<std::int64_t>(bytes) : 0;
  return made;
}

int __wrap_munmap(void* data, std::size_t bytes) {
  if (tidepool::test::system_call_fails()) {
    faults.kept += static_cast<std::int64_t>(bytes);
    return -1;
  }
  faults.mapped -= static_cast<std::int64_t>(bytes);
  return __real_munmap(data, bytes);
}

int __wrap_mprotect(void* data, std::size_t bytes, int rights) {
  return tidepool::test::system_call_fails() ? -1 : __real_mprotect(data, bytes, rights);
}

int __wrap_madvise(void* data, std::size_t bytes, int advice) {
  return tidepool::test::system_call_fails() ? -1 : __real_madvise(data, bytes, advice);
}

// membarrier and mbind: six arguments at most, all words.
long __wrap_syscall(long number, ...) {
  if (tidepool::test::system_call_fails()) {
    return -1;
  }
  std::va_list list;
  va_start(list, number);
  long words[6];
  for (long& word : words) {
    word = va_arg(list, long);
  }
  va_end(list);
  return __real_syscall(number, words[0], words[1], words[2], words[3], words[4], words[5]);
}

}  // extern "C"

namespace {

void* heap_allocate(std::size_t bytes, std::size_t alignment) noexcept {
  if (tidepool::test::fails(tidepool::test::fault_kind::heap)) {
    return nullptr;
  }
  return alignment <= alignof(std::max_align_t)
             ? std::malloc(bytes)
             : std::aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment);
}

void* heap_allocate_or_throw(std::size_t bytes, std::size_t alignment) {
  if (void* const made = heap_allocate(bytes, alignment)) {
    return made;
  }
  throw std::bad_alloc();
}

constexpr std::size_t plain = alignof(std::max_align_t);

}  // namespace

// The array forms and the sized deletes lead to these.
void* operator new(std::size_t bytes) {
  return heap_allocate_or_throw(bytes, plain);
}
void* operator new(std::size_t bytes, std::align_val_t alignment) {
  return heap_allocate_or_throw(bytes, static_cast<std::size_t>(alignment));
}
void* operator new(std::size_t bytes, const std::nothrow_t&) noexcept {
  return heap_allocate(bytes, plain);
}
void* operator new(std::size_t bytes, std::align_val_t alignment, const std::nothrow_t&) noexcept {
  return heap_allocate(bytes, static_cast<std::size_t>(alignment));
}
void operator delete(void* data) noexcept {
  std::free(data);
}
void operator delete(void* data, std::align_val_t) noexcept {
  std::free(data);
}
void operator delete(void* data, std::size_t) noexcept {
  std::free(data);
}
void operator delete(void* data, std::size_t, std::align_val_t) noexcept {
  std::free(data);
}
