// SPDX-License-Identifier: Apache-2.0
//
// address_space by mmap. MAP_NORESERVE: tables are sized for the worst case and touched as used.
#include "address_space.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>

namespace tidepool {
inline namespace v0 {
namespace detail {

address_space address_space::reserve(std::size_t bytes) noexcept {
  const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  address_space made;
  if (bytes == 0 || bytes > SIZE_MAX - page) {
    return made;
  }
  bytes = (bytes + page - 1) / page * page;
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

bool address_space::clear() noexcept {
  return data_ == nullptr || ::madvise(data_, bytes_, MADV_DONTNEED) == 0;
}

}  // namespace detail
}  // namespace v0
}  // namespace tidepool
