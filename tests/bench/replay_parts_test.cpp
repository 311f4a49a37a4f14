// SPDX-License-Identifier: Apache-2.0
//
// The small parts of the replay: quantities, order statistics, chunks.
#include "tidepool/quantity.hpp"
#include "tidepool/replay/pass.hpp"
#include "tidepool/replay/samples.hpp"

#include <gtest/gtest.h>

#include <array>
#include <chrono>
#include <memory>
#include <vector>

namespace tidepool::bench {
namespace {

TEST(Quantity, SizesAreUnderstood) {
  EXPECT_EQ(parse_bytes("4096"), 4096U);
  EXPECT_EQ(parse_bytes("0"), 0U);
  EXPECT_EQ(parse_bytes("8GiB"), std::uint64_t{8} << 30);
  EXPECT_EQ(parse_bytes("8 gib"), std::uint64_t{8} << 30);
  EXPECT_EQ(parse_bytes("64k"), 65536U);
  EXPECT_EQ(parse_bytes("1.5MiB"), 1572864U);
  EXPECT_EQ(parse_bytes("2GB"), 2000000000U);
  EXPECT_EQ(parse_bytes("1T"), std::uint64_t{1} << 40);
  EXPECT_EQ(parse_bytes("12B"), 12U);
}

TEST(Quantity, OtherTextsAreRefused) {
  for (const char* text : {"", " ", "GiB", "-1", "-1GiB", "3Q", "3iB", "3GiBs", "1e3", "inf", "nan",
                           "99999999999TiB", "0x10", "1,5MiB"}) {
    EXPECT_FALSE(parse_bytes(text)) << text;
  }
}

TEST(Quantity, DevicesAreUnderstoodAndPrinted) {
  EXPECT_EQ(parse_device("cpu"), device::cpu());
  EXPECT_EQ(parse_device("cpu:1"), device::cpu(1));
  EXPECT_EQ(parse_device("cuda:2"), device::cuda(2));
  EXPECT_EQ(parse_device("cuda"), device::cuda(0));
  EXPECT_EQ(parse_device("pinned:0"), device::pinned(device::cuda(0)));
  EXPECT_EQ(parse_device("cpu:node1"), device::cpu(1));
  EXPECT_EQ(parse_device("pinned:node0"), device::pinned(0));
  for (const char* text : {"cpu", "cpu:0", "cuda:3", "pinned:0", "pinned:node3", "managed:1"}) {
    ASSERT_TRUE(parse_device(text)) << text;
    EXPECT_EQ(device_text(*parse_device(text)), text);
  }
  for (const char* text :
       {"", "gpu", "pinned", "cuda:", "cuda:x", "cpu:255", "cuda:70000", "cpu:-1", "cpu:node",
        "cpu:node255", "cuda:node0", "managed:node0", "automatic", "user:0"}) {
    EXPECT_FALSE(parse_device(text)) << text;
  }
  EXPECT_EQ(device_text(placement::automatic), "automatic");
  EXPECT_EQ(device_text(device::user(7)), "user:7");
}

TEST(Quantity, TextsForPeople) {
  EXPECT_EQ(bytes_text(0), "0 B");
  EXPECT_EQ(bytes_text(1023), "1023 B");
  EXPECT_EQ(bytes_text(4096), "4 KiB");
  EXPECT_EQ(bytes_text(1572864), "1.500 MiB");
  EXPECT_EQ(bytes_text(std::uint64_t{13} << 30), "13 GiB");
  EXPECT_EQ(count_text(7), "7");
  EXPECT_EQ(count_text(123), "123");
  EXPECT_EQ(count_text(1234567), "1 234 567");
  EXPECT_EQ(figure_text(5.123), "5.12");
  EXPECT_EQ(figure_text(97.44), "97.4");
  EXPECT_EQ(figure_text(1480), "1480");
  EXPECT_EQ(figure_text(0.000123456), "0.000123");
  EXPECT_EQ(figure_text(0), "0.00");
}

TEST(Samples, QuantileIsTheNearestRank) {
  std::vector<float> values;
  EXPECT_EQ(quantile(values, 0.5), 0);
  for (int i = 100; i >= 1; --i) {
    values.push_back(static_cast<float>(i));
  }
  EXPECT_EQ(quantile(values, 0.5), 50);
  EXPECT_EQ(quantile(values, 0.99), 99);
  EXPECT_EQ(quantile(values, 1), 100);
  EXPECT_EQ(quantile(values, 0), 1);
  std::vector<float> one{7};
  EXPECT_EQ(quantile(one, 0.99), 7);
}

TEST(ReplayPass, ChunksCoverAllOperations) {
  EXPECT_EQ(chunk_count(0, 128), 0U);
  EXPECT_EQ(chunk_count(1, 128), 1U);
  EXPECT_EQ(chunk_count(128, 128), 1U);
  EXPECT_EQ(chunk_count(191, 128), 1U);
  EXPECT_EQ(chunk_count(192, 128), 2U);
  EXPECT_EQ(chunk_count(1280, 128), 10U);
}

/// Counts calls instead of allocating.
struct counting_contestant {
  std::uint64_t allocations = 0;
  std::uint64_t frees = 0;
  std::uint64_t refuse_above = ~std::uint64_t{0};
  std::array<std::byte, 64> memory{};

  allocation allocate(const replay_op& op) noexcept {
    if (op.bytes() > refuse_above) {
      return {};
    }
    return {.data = memory.data(), .id = ++allocations, .ok = true};
  }
  void deallocate(const replay_slot& /*slot*/) noexcept { ++frees; }
};

TEST(ReplayPass, EveryOperationRunsOnceAndFailedOnesAreNotFreed) {
  std::vector<replay_op> ops;
  for (std::uint32_t i = 0; i < 1000; ++i) {
    ops.push_back(replay_op::allocate(i % 3, {.bytes = i % 10 == 0 ? 100U : 10U}));
    ops.push_back(replay_op::free(i % 3));
  }
  ops.push_back(replay_op::allocate(0, {.bytes = 10}));
  for (const std::size_t chunk : {1U, 7U, 128U, 100000U}) {
    counting_contestant target;
    target.refuse_above = 50;
    const auto slots = std::make_unique<replay_slot[]>(3);
    pass_record record;
    record.chunk_ns.assign(chunk_count(ops.size(), chunk), -1.0F);
    const auto begin = std::chrono::steady_clock::now();
    run_pass(target, {ops, slots.get()}, {.touch = touch_mode::line, .chunk = chunk}, record);
    const std::chrono::duration<double, std::nano> around =
        std::chrono::steady_clock::now() - begin;
    EXPECT_EQ(target.allocations, 901U);
    EXPECT_EQ(target.frees, 900U);
    EXPECT_EQ(record.failures, 100U);
    // The clock around the pass ran while each of its chunks was timed.
    double inside_ns = 0;
    for (std::size_t i = 0; i < record.chunk_ns.size(); ++i) {
      const std::size_t last = record.chunk_ns.size() - 1;
      const std::size_t operations = i == last ? ops.size() - last * chunk : chunk;
      EXPECT_GE(record.chunk_ns[i], 0.0F) << "a chunk without a time";
      inside_ns += static_cast<double>(record.chunk_ns[i]) * static_cast<double>(operations);
    }
    EXPECT_LE(inside_ns, around.count() * 1.0001) << "beyond what floats round";
    free_rest(target, {slots.get(), 3});
    EXPECT_EQ(target.frees, 901U);
  }
}

TEST(ReplayPass, SurveyIsTakenOnceAfterItsOperation) {
  std::vector<replay_op> ops;
  for (std::uint32_t i = 0; i < 100; ++i) {
    ops.push_back(replay_op::allocate(i, {.bytes = 1}));
  }
  counting_contestant target;
  struct seen {
    counting_contestant* target;
    std::vector<std::uint64_t> allocations;
  } log{&target, {}};
  const auto slots = std::make_unique<replay_slot[]>(100);
  pass_record record;
  record.chunk_ns.assign(chunk_count(100, 16), 0.0F);
  const auto note = [](void* context) {
    auto* const into = static_cast<seen*>(context);
    into->allocations.push_back(into->target->allocations);
  };
  run_pass(
      target, {ops, slots.get()},
      {.touch = touch_mode::none, .chunk = 16, .survey = note, .context = &log, .survey_at = 41},
      record);
  EXPECT_EQ(log.allocations, (std::vector<std::uint64_t>{42}));
  EXPECT_EQ(target.allocations, 100U);
}

}  // namespace
}  // namespace tidepool::bench
