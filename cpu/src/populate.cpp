// SPDX-License-Identifier: Apache-2.0
//
// Populating in parallel: the blocks are cut into pieces, which helper threads and the caller take
// one by one. Claims nothing: the pages are backed in the books already. Thread-safe for blocks
// that belong to the caller; the helpers end before the call does.
#include "populate.hpp"

#include <tidepool/support/helper_threads.hpp>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <mutex>

namespace tidepool {
inline namespace v0 {
namespace cpu {

namespace {

constexpr std::uintptr_t piece_bytes = std::uintptr_t{16} << 20;  // cut at multiples of 2 MiB

struct piece {
  std::uintptr_t begin = 0;
  std::uintptr_t end = 0;  ///< begin == end: none is left
};

/// Deals out the bytes of all blocks, neighbours together, each byte once.
class dealer {
 public:
  explicit dealer(std::span<const block> blocks) noexcept : blocks_(blocks) {}

  [[nodiscard]] piece next() noexcept {
    const std::lock_guard lock(mutex_);
    while (at_ == end_) {
      if (index_ == blocks_.size()) {
        return {};
      }
      at_ = address(index_);
      end_ = at_ + blocks_[index_].bytes;
      ++index_;
      while (index_ != blocks_.size() && address(index_) == end_) {
        end_ += blocks_[index_++].bytes;
      }
    }
    const piece dealt{at_, std::min(end_, (at_ / piece_bytes + 1) * piece_bytes)};
    at_ = dealt.end;
    return dealt;
  }

 private:
  [[nodiscard]] std::uintptr_t address(std::size_t i) const noexcept {
    return reinterpret_cast<std::uintptr_t>(blocks_[i].data);
  }

  std::mutex mutex_;
  std::span<const block> blocks_;
  std::size_t index_ = 0;   // guarded by mutex_
  std::uintptr_t at_ = 0;   // guarded by mutex_
  std::uintptr_t end_ = 0;  // guarded by mutex_
};

/// For kernels before 5.14: writes one byte per page without changing it. Only bytes of the piece
/// are written, because the rest of its first and last page may belong to other blocks.
void touch(const piece& p) noexcept {
  for (std::uintptr_t at = p.begin; at < p.end; at = (at / page_bytes + 1) * page_bytes) {
    std::atomic_ref<unsigned char> byte(*reinterpret_cast<unsigned char*>(at));
    byte.fetch_or(0, std::memory_order_relaxed);
  }
}

std::size_t work(os_memory& os, dealer& pieces) noexcept {
  std::size_t done = 0;
  for (piece p = pieces.next(); p.begin != p.end; p = pieces.next()) {
    const std::uintptr_t begin = p.begin / page_bytes * page_bytes;
    const std::uintptr_t end = (p.end + page_bytes - 1) / page_bytes * page_bytes;
    const int error = os.populate(reinterpret_cast<void*>(begin), end - begin);
    if (error == EINVAL) {
      touch(p);
    } else if (error != 0) {
      continue;
    }
    done += p.end - p.begin;
  }
  return done;
}

}  // namespace

std::size_t populate_blocks(os_memory& os, std::span<const block> blocks,
                            unsigned threads) noexcept {
  dealer pieces(blocks);
  std::atomic<std::size_t> done{0};
  std::size_t total = 0;
  for (const block& b : blocks) {
    total += b.bytes;
  }
  const std::size_t useful = total / piece_bytes + 1;  // more threads than pieces would only cost
  auto deal = [&]() noexcept { done.fetch_add(work(os, pieces), std::memory_order_relaxed); };
  support::with_helpers(std::min<std::size_t>(threads, useful), deal);
  return done.load(std::memory_order_relaxed);
}

}  // namespace cpu
}  // namespace v0
}  // namespace tidepool
