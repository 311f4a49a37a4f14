// SPDX-License-Identifier: Apache-2.0
//
// os_memory: the one place through which the CPU backend asks the system for anything. It reserves
// address space, makes it usable, gives pages back and counts every call; it decides nothing. A
// test derives from it and refuses the n-th call. Where a filter of system calls (seccomp) refuses
// mprotect or madvise, mapping anew does the same. Thread-safe.
#pragma once

#include <tidepool/support/block_requests.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace tidepool {
inline namespace v0 {
namespace cpu {

using support::page_bytes;
inline constexpr std::size_t huge_page_bytes = std::size_t{2} << 20;

enum class system_call : std::uint8_t {
  reserve,   ///< mmap: address space without access
  release,   ///< munmap
  commit,    ///< mprotect: allow reading and writing
  discard,   ///< madvise: give the pages back, the addresses stay
  populate,  ///< madvise: make the pages present
  advise,    ///< madvise: huge pages or none
  bind,      ///< mbind: prefer one NUMA node
};

class os_memory {
 public:
  os_memory() = default;
  os_memory(const os_memory&) = delete;
  os_memory& operator=(const os_memory&) = delete;
  virtual ~os_memory() = default;

  struct mapping {
    void* data = nullptr;  ///< null: refused
    int error = 0;         ///< errno
  };
  /// Address space that nobody may touch yet. Pre: bytes is a multiple of page_bytes, alignment a
  /// power of two. Post: data is a multiple of alignment, or null.
  [[nodiscard]] mapping reserve(std::size_t bytes, std::size_t alignment) noexcept;

  // The following answer 0 or errno. Pre: data and bytes are multiples of page_bytes and lie in one
  // reservation.
  [[nodiscard]] int release(void* data, std::size_t bytes) noexcept;
  /// Makes reserved pages usable; under strict overcommit this is where memory is refused.
  [[nodiscard]] int commit(void* data, std::size_t bytes) noexcept;
  /// The pages read as zero afterwards and cost nothing until touched.
  [[nodiscard]] int discard(void* data, std::size_t bytes) noexcept;
  /// EINVAL: the kernel is older than 5.14, or a filter of system calls refuses advice.
  [[nodiscard]] int populate(void* data, std::size_t bytes) noexcept;
  [[nodiscard]] int advise_huge(void* data, std::size_t bytes, bool huge) noexcept;
  [[nodiscard]] int bind(void* data, std::size_t bytes, unsigned node) noexcept;

  /// True where the system has such a NUMA node; a system without NUMA has node 0.
  [[nodiscard]] virtual bool has_node(unsigned node) const noexcept;
  /// Physical memory of the machine, 0: unknown.
  [[nodiscard]] std::size_t physical_bytes() const noexcept;
  /// Page size of the system.
  [[nodiscard]] std::size_t system_page_bytes() const noexcept;

  /// Calls so far that change memory, refused ones included.
  [[nodiscard]] std::uint64_t calls() const noexcept {
    return calls_.load(std::memory_order_relaxed);
  }

 protected:
  /// Asked before every call: 0, or the errno to answer instead of calling.
  [[nodiscard]] virtual int refuse(system_call call) noexcept;

 private:
  [[nodiscard]] int begin(system_call call) noexcept;
  [[nodiscard]] mapping map(std::size_t bytes) noexcept;
  [[nodiscard]] static int advise(void* data, std::size_t bytes, int advice) noexcept;

  std::atomic<std::uint64_t> calls_{0};
};

}  // namespace cpu
}  // namespace v0
}  // namespace tidepool
