// SPDX-License-Identifier: Apache-2.0
//
// All functions at once from several threads; the race detector and the patterns are the judges.
#include "../support/amount.hpp"
#include "support.hpp"

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <cstring>
#include <random>
#include <thread>
#include <vector>

namespace tidepool::cpu {
namespace {

void worker(memory_backend& memory, unsigned number, std::size_t steps) {
  std::mt19937 random(number);
  std::vector<block> live;
  const auto mark = static_cast<unsigned char>(number);
  const auto keep = [&](const block& b) {
    std::memset(b.data, mark, std::min<std::size_t>(b.bytes, 256));
    live.push_back(b);
  };
  for (std::size_t i = 0; i != steps; ++i) {
    switch (random() % 8) {
    case 0:
    case 1: {
      std::array<block, 8> blocks{};
      const std::size_t bytes = size_of_class(size_class_of(1 + random() % (256 * kib)));
      const backend::refill_result got = memory.refill(ask(bytes), blocks);
      for (std::size_t k = 0; k != got.count; ++k) {
        keep(blocks[k]);
      }
      break;
    }
    case 2:
      if (const result<block> got = memory.allocate_large(ask(1 + random() % (4 * mib))); got) {
        keep(*got);
      }
      break;
    case 3:
      if (!live.empty()) {
        block& b = live[random() % live.size()];
        if (const result<std::size_t> got = memory.extend(device::cpu(), b, b.bytes + 8192); got) {
          b.bytes = *got;
        }
      }
      break;
    case 4:
      if (!live.empty()) {
        static_cast<void>(memory.populate(device::cpu(), {&live.back(), 1}, 2));
      }
      break;
    case 5:
      random() % 4 == 0 ? memory.trim(device::cpu(), 16 * mib) : memory.decay(device::cpu());
      EXPECT_LE(memory.memory(device::cpu()).free_bytes,
                memory.memory(device::cpu()).address_space_bytes);
      break;
    default:
      while (live.size() > 20) {
        const block b = live.back();
        live.pop_back();
        for (std::size_t k = 0; k != std::min<std::size_t>(b.bytes, 256); k += 16) {
          ASSERT_EQ(static_cast<unsigned char*>(b.data)[k], mark) << "two owners";
        }
        memory.take_back(device::cpu(), {&b, 1}, {});
      }
      break;
    }
  }
  memory.take_back(device::cpu(), live, {});
}

TEST(BackendThreads, AllFunctionsAtOnce) {
  fixture made({.arena_bytes = 256 * mib, .decay_ticks = 4});
  ASSERT_TRUE(made.start().ok());
  const std::size_t steps = test::amount("TIDEPOOL_TEST_STEPS", 1500);
  std::vector<std::thread> threads;
  std::atomic<bool> stop{false};
  for (unsigned i = 1; i <= 4; ++i) {
    threads.emplace_back([&, i] { worker(made.memory, i, steps); });
  }
  std::thread checker([&] {
    while (!stop.load()) {
      EXPECT_EQ(made.memory.verify(), nullptr);
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  });
  for (std::thread& t : threads) {
    t.join();
  }
  stop.store(true);
  checker.join();
  made.memory.trim(device::cpu(), 0);
  EXPECT_EQ(made.host.claimed.load(), 0U);
  EXPECT_EQ(made.memory.verify(), nullptr);
}

}  // namespace
}  // namespace tidepool::cpu
