// SPDX-License-Identifier: Apache-2.0
//
// Lanes of large machines: eight GPUs with five kinds of memory each and 64 streams each. Devices
// that nobody uses take no lane, and threads keep blocks of every stream.
#include "../support/heap_backend.hpp"
#include <tidepool/control.hpp>
#include <tidepool/pool.hpp>

#include <gtest/gtest.h>

#include <memory>
#include <random>
#include <thread>
#include <vector>

namespace tidepool::test {
namespace {

constexpr unsigned gpus = 8;
constexpr unsigned streams_each = 64;
constexpr std::size_t kib = 1024;

class PoolLanes : public ::testing::Test {
 protected:
  struct queue {
    device where;
    stream_ref stream;
  };

  void TearDown() override {
    EXPECT_EQ(log.handed_out.load(), 0U);
    EXPECT_EQ(log.wrong_returns.load(), 0U);
  }

  [[nodiscard]] static std::vector<device> all_devices() {
    std::vector<device> all{device::cpu()};
    for (std::uint16_t i = 0; i < gpus; ++i) {
      const device gpu = device::cuda(i);
      all.insert(all.end(), {gpu, gpu.with(memory_kind::plain), gpu.with(memory_kind::growable),
                             device::pinned(gpu), device::managed(gpu)});
    }
    return all;
  }
  [[nodiscard]] pool make(const pool_options& options = {}) {
    std::vector<std::unique_ptr<backend>> backends;
    for (const device where : all_devices()) {
      backends.push_back(std::make_unique<heap_backend>(log, where, 64, where != device::cpu()));
    }
    return pool(std::move(backends), options);
  }
  [[nodiscard]] static stream_ref handle(std::uintptr_t n) {
    return {.handle = reinterpret_cast<void*>(n << 8), .kind = stream_kind::ordinary};
  }
  [[nodiscard]] static std::vector<queue> all_streams(pool& p, bool attached) {
    std::vector<queue> all;
    for (std::uint16_t i = 0; i < gpus; ++i) {
      for (unsigned s = 0; s < streams_each; ++s) {
        const device where = device::cuda(i);
        const stream_ref raw = handle(1 + i * streams_each + s);
        all.push_back({where, attached ? *p.attach(where, raw) : raw});
      }
    }
    return all;
  }

  heap_log log;
};

TEST_F(PoolLanes, DevicesThatNobodyUsesTakeNone) {
  pool p = make();
  EXPECT_EQ(p.attach(device::cuda(7), handle(1))->number, 1U) << "beside the first device's";
  p.allocate(kib, device::cuda(7)).reset();
  EXPECT_EQ(p.attach(device::cuda(7), handle(2))->number, 3U);
  EXPECT_EQ(p.control().verify(), nullptr);
}

TEST_F(PoolLanes, ThreadsKeepBlocksOfEveryStreamOfEightGpus) {
  for (const bool attached : {true, false}) {
    pool p = make();
    for (const device where : all_devices()) {
      p.allocate(kib, where).reset();
    }
    const std::vector<queue> streams = all_streams(p, attached);
    for (const queue& each : streams) {
      p.allocate(kib, each.where, {.stream = each.stream}).reset();
    }
    const std::size_t made = log.made.load();
    const std::uint64_t hits = p.control().statistics().total.front_hits;
    for (const queue& each : streams) {
      const tensor second = p.allocate(kib, each.where, {.stream = each.stream});
      if (attached) {
        EXPECT_EQ(p.info(second.id())->stream, each.stream.number);
      }
    }
    for (const device where : all_devices()) {
      p.allocate(kib, where).reset();
    }
    EXPECT_EQ(p.control().statistics().total.front_hits - hits,
              streams.size() + all_devices().size());
    EXPECT_EQ(log.made.load(), made);
    EXPECT_EQ(p.control().verify(), nullptr);
  }
}

// Beyond the limit a lane works, without a cache.
TEST_F(PoolLanes, AsManyAsTheOptionsSayAreCached) {
  pool p = make({.max_cached_lanes = 100});
  const std::vector<queue> streams = all_streams(p, true);
  for (int round = 0; round < 2; ++round) {
    for (const queue& each : streams) {
      p.allocate(kib, each.where, {.stream = each.stream}).reset();
    }
  }
  // Lane 0 is the host's, which nobody used here.
  EXPECT_EQ(p.control().statistics().total.front_hits, 99U);
  EXPECT_EQ(p.control().verify(), nullptr);
}

// The memory of the lanes is the thread's, and the next pool may have it.
TEST_F(PoolLanes, PoolsOneAfterTheOther) {
  for (int n = 0; n < 3; ++n) {
    pool p = make();
    std::vector<tensor> held;
    for (const queue& each : all_streams(p, true)) {
      held.push_back(p.allocate(kib, each.where, {.stream = each.stream}));
    }
    EXPECT_EQ(p.control().statistics().total.live, held.size());
    EXPECT_EQ(p.control().verify(), nullptr);
  }
}

TEST_F(PoolLanes, ThreadsWorkWhileOthersRetireAndLook) {
  pool p = make();
  const std::vector<queue> streams = all_streams(p, true);
  std::vector<std::thread> threads;
  for (unsigned t = 0; t < 3; ++t) {
    threads.emplace_back([&, t] {
      std::mt19937 random(t);
      std::vector<tensor> held;
      for (int i = 0; i < 3000; ++i) {
        // Each thread has streams of its own, of which it retires some.
        const std::size_t n = (random() % (streams.size() / 3)) * 3 + t;
        const queue& at = streams[n];
        held.push_back(p.allocate(1 + random() % (4 * kib), at.where, {.stream = at.stream}));
        if (held.size() > 40) {
          held.erase(held.begin() + static_cast<std::ptrdiff_t>(random() % 40));
        }
        if (i % 100 == 0) {
          (void)p.retire(at.where, at.stream);
        }
      }
    });
  }
  for (int i = 0; i < 20; ++i) {
    (void)p.control().statistics();
    p.control().tick();
    std::this_thread::yield();
  }
  for (std::thread& each : threads) {
    each.join();
  }
  EXPECT_EQ(p.control().statistics().total.live, 0U);
  EXPECT_EQ(p.control().verify(), nullptr);
}

}  // namespace
}  // namespace tidepool::test
