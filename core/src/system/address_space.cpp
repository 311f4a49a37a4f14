// SPDX-License-Identifier: Apache-2.0
//
// address_space by mmap. MAP_NORESERVE, because tables are sized for the worst case and only the
// pages in use are ever touched.
#include "system/address_space.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>

namespace tidepool {
inline namespace v0 {
namespace detail {

namespace {
[[nodiscard]] std::size_t page_bytes() noexcept {
  return static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
}
// Pre: bytes <= SIZE_MAX - page_bytes().
[[nodiscard]] std::size_t whole_pages(std::size_t bytes) noexcept {
  return (bytes + page_bytes() - 1) / page_bytes() * page_bytes();
}
}  // namespace

address_space address_space::reserve(std::size_t bytes) noexcept {
  address_space made;
  if (bytes == 0 || bytes > SIZE_MAX - page_bytes()) {
    return made;
  }
  bytes = whole_pages(bytes);
  void* data = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (data != MAP_FAILED) {
    made.data_ = data;
    made.bytes_ = bytes;
  }
  return made;
}

address_space::~address_space() {
  if (data_ != nullptr) {
    ::munmap(data_, bytes_);
  }
}

void address_space::advise_huge() const noexcept {
  constexpr std::size_t huge_page_bytes = std::size_t{2} << 20;
  // A larger range is room for growth, so its first 2 MiB stay in small pages. A smaller range has
  // the size of its content.
  constexpr std::size_t largest_filled_bytes = std::size_t{64} << 20;
  const auto begin = reinterpret_cast<std::uintptr_t>(data_);
  const std::uintptr_t skipped =
      bytes_ > largest_filled_bytes ? huge_page_bytes : huge_page_bytes - 1;
  const std::uintptr_t first = (begin + skipped) / huge_page_bytes * huge_page_bytes;
  if (data_ != nullptr && first - begin < bytes_) {
    // If the system refuses, only speed is lost.
    (void)::madvise(static_cast<std::byte*>(data_) + (first - begin), bytes_ - (first - begin),
                    MADV_HUGEPAGE);
  }
}

void address_space::release(void* data, std::size_t bytes) noexcept {
  ::munmap(data, whole_pages(bytes));
}

bool address_space::clear() noexcept {
  // If a filter of system calls refuses the advice, this maps new pages in the same place.
  return data_ == nullptr || ::madvise(data_, bytes_, MADV_DONTNEED) == 0 ||
         ::mmap(data_, bytes_, PROT_READ | PROT_WRITE,
                MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) != MAP_FAILED;
}

}  // namespace detail
}  // namespace v0
}  // namespace tidepool
