// SPDX-License-Identifier: Apache-2.0
//
// Making and releasing of host_pages.
#include "slabs/host_pages.hpp"

#include <tidepool/support/helper_threads.hpp>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <utility>

namespace tidepool {
inline namespace v0 {
namespace cuda {

namespace {

constexpr std::size_t piece_bytes = std::size_t{16} << 20;
/// More did not help where it was measured: 16 GiB in 7.9 s by one thread, 1.69 s by two, 1.55 s
/// by four, 1.52 s by sixteen (cudf PR 23457).
constexpr unsigned usual_threads = 4;

/// For kernels before 5.14: writes to each page the zero that it reads as.
void touch(std::byte* data, std::size_t bytes) noexcept {
  for (std::size_t at = 0; at < bytes; at += host_page_bytes) {
    *static_cast<volatile std::byte*>(data + at) = std::byte{0};
  }
}

/// Deals out pieces of a range to several threads.
struct population {
  host_system& system;
  std::byte* data;
  std::size_t bytes;
  std::atomic<std::size_t> next{0};
  std::atomic<int> error{0};  ///< the first errno; ends all work

  void work() noexcept {
    while (error.load(std::memory_order_relaxed) == 0) {
      const std::size_t begin = next.fetch_add(piece_bytes, std::memory_order_relaxed);
      if (begin >= bytes) {
        return;
      }
      const std::size_t length = std::min(piece_bytes, bytes - begin);
      const int refused = system.populate(data + begin, length);
      if (refused == EINVAL) {
        touch(data + begin, length);
      } else if (refused != 0) {
        error.store(refused, std::memory_order_relaxed);
      }
    }
  }
};

std::size_t align_up(std::size_t n, std::size_t unit) noexcept {
  return (n + unit - 1) / unit * unit;
}

}  // namespace

host_pages::host_pages(host_system& system, host_system::mapping mapped,
                       std::size_t mapped_bytes) noexcept
    : system_(&system),
      mapped_(mapped.data),
      mapped_bytes_(mapped_bytes),
      process_(system.process()) {}

host_pages::host_pages(host_pages&& other) noexcept
    : system_(other.system_),
      mapped_(std::exchange(other.mapped_, nullptr)),
      mapped_bytes_(other.mapped_bytes_),
      data_(other.data_),
      bytes_(other.bytes_),
      process_(other.process_),
      bound_(other.bound_) {}

host_pages& host_pages::operator=(host_pages&& other) noexcept {
  if (this != &other) {
    static_cast<void>(release());
    system_ = other.system_;
    mapped_ = std::exchange(other.mapped_, nullptr);
    mapped_bytes_ = other.mapped_bytes_;
    data_ = other.data_;
    bytes_ = other.bytes_;
    process_ = other.process_;
    bound_ = other.bound_;
  }
  return *this;
}

host_pages::~host_pages() {
  static_cast<void>(release());
}

int host_pages::release() noexcept {
  if (mapped_ == nullptr || !is_here()) {
    mapped_ = nullptr;
    return 0;
  }
  const int error = system_->unmap(mapped_, mapped_bytes_);
  if (error == 0) {
    mapped_ = nullptr;
  }
  return error;
}

result<host_pages> host_pages::make(host_system& system,
                                    const host_pages_request& request) noexcept {
  const auto refused = [&](int error, const char* text) noexcept {
    return status{
        .code = errc::out_of_memory, .native = error, .requested = request.bytes, .text = text};
  };
  // Whole pages of 2 MiB need a place that begins at one. The slack is address space only.
  const bool is_huge = request.bytes >= huge_page_bytes;
  const std::size_t slack = is_huge ? huge_page_bytes - host_page_bytes : 0;
  // A system that overcommits would grant this, and then kill some process while we populate.
  if (request.bytes > SIZE_MAX - slack ||
      (system.physical_bytes() != 0 && request.bytes > system.physical_bytes())) {
    return refused(ENOMEM, "more than the machine has");
  }
  const host_system::mapping mapped = system.map(request.bytes + slack);
  if (mapped.data == nullptr) {
    return refused(mapped.error, "the system has no pages");
  }
  host_pages made(system, mapped, request.bytes + slack);
  const auto address = reinterpret_cast<std::uintptr_t>(mapped.data);
  made.data_ = static_cast<std::byte*>(mapped.data) +
               (align_up(address, is_huge ? huge_page_bytes : host_page_bytes) - address);
  made.bytes_ = request.bytes;
  // Advice may be refused: that costs speed, in old kernels also copies at a fork, and nothing
  // else.
  if (is_huge) {
    static_cast<void>(system.advise_huge(made.data_, made.bytes_));
  }
  static_cast<void>(system.hide_from_children(mapped.data, request.bytes + slack));
  if (request.node != host_system::no_node) {
    made.bound_ = system.bind(made.data_, made.bytes_, request.node) == 0;
  }
  if (const status why = made.populate(request.threads); !why.ok()) {
    return why;
  }
  return made;
}

status host_pages::populate(unsigned threads) noexcept {
  population all{*system_, static_cast<std::byte*>(data_), bytes_};
  const std::size_t pieces = (bytes_ + piece_bytes - 1) / piece_bytes;
  const unsigned wanted = threads != 0 ? threads : std::min(usual_threads, system_->processors());
  auto work = [&all]() noexcept { all.work(); };
  support::with_helpers(std::min<std::size_t>(wanted, pieces), work);
  if (const int error = all.error.load(std::memory_order_relaxed); error != 0) {
    return {.code = errc::out_of_memory,
            .native = error,
            .requested = bytes_,
            .text = "the system cannot back the pages"};
  }
  return {};
}

}  // namespace cuda
}  // namespace v0
}  // namespace tidepool
