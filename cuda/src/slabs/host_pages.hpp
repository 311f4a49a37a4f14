// SPDX-License-Identifier: Apache-2.0
//
// host_pages: whole pages of host memory to be page-locked: exactly as long as asked for, on one
// NUMA node if the system lets us, present before the driver sees them (a driver that locks absent
// pages takes their faults one by one), pages of 2 MiB where they fit. It knows no driver.
//
// A forked child gets none of it (the driver's copies go on to the parent's pages, which a write
// after a fork would otherwise have moved away from), so in a child it releases nothing.
// Thread safety: the value belongs to one thread; populating uses threads of its own, which end
// before make does.
#pragma once

#include "driver/host_system.hpp"
#include <tidepool/result.hpp>

#include <cstddef>

namespace tidepool {
inline namespace v0 {
namespace cuda {

struct host_pages_request {
  std::size_t bytes = 0;            ///< a multiple of host_page_bytes, >= 1 page
  int node = host_system::no_node;  ///< preferred
  unsigned threads = 0;             ///< that populate, 0: as many as pay
};

class host_pages {
 public:
  /// Maps, binds and populates. errc::out_of_memory with errno; then nothing is left mapped.
  /// Cost: the faults of all pages, shared by the threads.
  [[nodiscard]] static result<host_pages> make(host_system& system,
                                               const host_pages_request& request) noexcept;
  host_pages(host_pages&& other) noexcept;
  host_pages& operator=(host_pages&& other) noexcept;
  ~host_pages();

  /// 0, or errno of a refused munmap, after which all is as before. Idempotent.
  [[nodiscard]] int release() noexcept;

  /// The whole mapping. A caller that takes over its release calls forget(), which ends our part.
  [[nodiscard]] void* mapped() const noexcept { return mapped_; }
  [[nodiscard]] std::size_t mapped_bytes() const noexcept { return mapped_bytes_; }
  void forget() noexcept { mapped_ = nullptr; }

  [[nodiscard]] void* data() const noexcept { return data_; }
  [[nodiscard]] std::size_t bytes() const noexcept { return bytes_; }
  /// The node was asked for, and the system agreed to prefer it.
  [[nodiscard]] bool is_bound() const noexcept { return bound_; }
  /// False in a forked child, which has none of the pages.
  [[nodiscard]] bool is_here() const noexcept { return system_->process() == process_; }

 private:
  host_pages(host_system& system, host_system::mapping mapped, std::size_t mapped_bytes) noexcept;
  [[nodiscard]] status populate(unsigned threads) noexcept;

  // mapped_ <= data_ && data_ + bytes_ <= mapped_ + mapped_bytes_; the rest is never touched.
  host_system* system_;
  void* mapped_;
  std::size_t mapped_bytes_;
  void* data_ = nullptr;
  std::size_t bytes_ = 0;
  int process_;
  bool bound_ = false;
};

}  // namespace cuda
}  // namespace v0
}  // namespace tidepool
