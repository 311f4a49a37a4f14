// SPDX-License-Identifier: Apache-2.0
//
// host_system: the one place through which the CUDA backend asks the operating system for anything:
// pages, their NUMA node, their protection. It counts every call and decides nothing. A test
// derives from it and refuses the n-th call. Calls to the driver are elsewhere. Thread-safe.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace tidepool {
inline namespace v0 {
namespace cuda {

inline constexpr std::size_t host_page_bytes = 4096;
inline constexpr std::size_t huge_page_bytes = std::size_t{2} << 20;

enum class host_call : std::uint8_t {
  map,         ///< mmap: pages to read and write
  unmap,       ///< munmap
  huge,        ///< madvise: pages of 2 MiB
  not_forked,  ///< madvise: children do not get the range
  populate,    ///< madvise: make the pages present
  bind,        ///< mbind: prefer one NUMA node
  protect,     ///< mprotect: allow or forbid writing
};

class host_system {
 public:
  static constexpr int no_node = -1;

  host_system() = default;
  host_system(const host_system&) = delete;
  host_system& operator=(const host_system&) = delete;
  virtual ~host_system() = default;

  struct mapping {
    void* data = nullptr;  ///< null: refused
    int error = 0;         ///< errno
  };
  /// Zero pages of this process alone, which cost nothing until touched. Pre: bytes is a multiple
  /// of host_page_bytes.
  [[nodiscard]] mapping map(std::size_t bytes) noexcept;

  // The following answer 0 or errno. Pre: data and bytes are multiples of host_page_bytes.
  [[nodiscard]] int unmap(void* data, std::size_t bytes) noexcept;
  [[nodiscard]] int advise_huge(void* data, std::size_t bytes) noexcept;
  [[nodiscard]] int hide_from_children(void* data, std::size_t bytes) noexcept;
  /// EINVAL: the kernel is older than 5.14, or a filter of system calls refuses advice.
  [[nodiscard]] int populate(void* data, std::size_t bytes) noexcept;
  [[nodiscard]] int bind(void* data, std::size_t bytes, int node) noexcept;
  [[nodiscard]] int protect(void* data, std::size_t bytes, bool writable) noexcept;

  /// How all pages of a range are mapped, as /proc/self/maps says it.
  struct protection {
    bool is_known = false;  ///< the system told; the rest means nothing otherwise
    bool is_mapped = false;
    bool is_readable = false;
    bool is_writable = false;
    bool has_writable = false;  ///< at least a part is
    bool is_private = false;    ///< a write is seen in no file and by no other process
    bool has_file = false;      ///< at least a part is of a file
  };
  [[nodiscard]] virtual protection protection_of(const void* data,
                                                 std::size_t bytes) const noexcept;

  /// True where the system has such a NUMA node; a system without NUMA has node 0.
  [[nodiscard]] virtual bool has_node(int node) const noexcept;
  /// The NUMA node of a PCI device ("0000:3b:00.0"), or no_node.
  [[nodiscard]] virtual int node_of_pci(const char* bus_id) const noexcept;
  /// Processors that this process may use, at least 1.
  [[nodiscard]] virtual unsigned processors() const noexcept;
  /// Physical memory of the machine, 0: unknown.
  [[nodiscard]] std::size_t physical_bytes() const noexcept;
  /// Of a page, at least host_page_bytes.
  [[nodiscard]] virtual std::size_t page_bytes() const noexcept;
  /// A number that a forked child answers differently.
  [[nodiscard]] virtual int process() const noexcept;

  /// Calls so far that change memory, refused ones included.
  [[nodiscard]] std::uint64_t calls() const noexcept {
    return calls_.load(std::memory_order_relaxed);
  }

 protected:
  /// Asked before every call: 0, or the errno to answer instead of calling.
  [[nodiscard]] virtual int refuse(host_call call) noexcept;

 private:
  [[nodiscard]] int begin(host_call call) noexcept;
  [[nodiscard]] int advise(host_call call, void* data, std::size_t bytes, int advice) noexcept;

  std::atomic<std::uint64_t> calls_{0};
};

}  // namespace cuda
}  // namespace v0
}  // namespace tidepool
