// SPDX-License-Identifier: Apache-2.0
//
// What tests of streams share: a pool of one stream-ordered device whose backend remembers on which
// stream it was asked for each block, and in whose order each came back.
#pragma once

#include "../support/heap_backend.hpp"
#include "support.hpp"

#include <set>
#include <string>
#include <thread>

namespace tidepool::test {

inline constexpr device gpu = device::cuda(0);
inline constexpr std::size_t most_lanes = 4096;  // of a pool, each device's own included

/// The n-th stream an application could have made.
[[nodiscard]] inline stream_ref raw_stream(std::uintptr_t n) {
  return {.handle = reinterpret_cast<void*>(0x1000 + 16 * n), .kind = stream_kind::ordinary};
}

class PoolStream : public ::testing::Test {
 protected:
  [[nodiscard]] pool make(const pool_options& options = {}) {
    auto made = std::make_unique<heap_backend>(log, gpu, 64, true);
    memory = made.get();
    return pool(std::move(made), misuses.options(options));
  }
  [[nodiscard]] static stream_ref attached(pool& p, std::uintptr_t n) {
    const result<stream_ref> made = p.attach(gpu, raw_stream(n));
    EXPECT_TRUE(made.has_value()) << to_string(made.error());
    return made ? *made : stream_ref{};
  }
  /// A tensor on the stream, in a block that was asked for on that stream or moved to it.
  [[nodiscard]] tensor on(pool& p, const stream_ref& stream, std::size_t bytes = 1000) {
    tensor made = p.allocate(bytes, gpu, {.stream = stream});
    const result<tensor_info> info = p.info(made.id());
    EXPECT_TRUE(info.has_value());
    EXPECT_EQ(info ? info->stream : 0, p.attach(gpu, stream)->number);
    return made;
  }
  void TearDown() override {
    EXPECT_EQ(log.handed_out.load(), 0U);
    EXPECT_EQ(log.wrong_returns.load(), 0U) << "each block goes back on the stream it came from";
    EXPECT_TRUE(misuses.take().empty());
  }
  static void expect_clean_after(pool& p) { EXPECT_EQ(p.control().verify(), nullptr); }
  /// Nothing alive; everything goes back.
  static void expect_balanced(pool& p) {
    const statistics s = p.control().statistics();
    EXPECT_EQ(s.total.live, 0U);
    EXPECT_EQ(s.total.requested_bytes, 0U);
    EXPECT_EQ(s.total.allocations, s.total.frees);
    EXPECT_EQ(s.total.front_hits + s.total.ready_hits + s.total.refills, s.total.allocations);
    EXPECT_EQ(p.control().verify(), nullptr);
    EXPECT_EQ(p.control().trim().reserved_bytes, 0U);
    EXPECT_EQ(p.control().statistics().devices[0].cached_bytes, 0U);
    EXPECT_EQ(p.control().verify(), nullptr);
  }

  heap_log log;
  misuse_log misuses;
  heap_backend* memory = nullptr;  // the pool's
};

}  // namespace tidepool::test
