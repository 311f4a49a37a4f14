// SPDX-License-Identifier: Apache-2.0
//
// Random operations against a model: an ordered map of the live blocks. Every live block holds a
// pattern of its own at its ends and in each page, which nothing but its owner may change.
#include "../support/amount.hpp"
#include "support.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <iterator>
#include <map>
#include <optional>
#include <random>
#include <string>
#include <vector>

namespace tidepool::cpu {
namespace {

struct live_block {
  block what;
  std::uint64_t pattern = 0;
};

class model_runner {
 public:
  model_runner(std::uint64_t seed, const backend_options& options, std::size_t limit)
      : random_(seed), made_(options) {
    EXPECT_TRUE(made_.start().ok());
    made_.host.limit = limit;
  }

  void run(std::size_t steps) {
    for (std::size_t i = 0; i != steps && !::testing::Test::HasFailure(); ++i) {
      step();
      const memory_info now = made_.memory.memory(device::cpu());
      ASSERT_EQ(now.reserved_bytes, made_.host.claimed.load()) << "step " << i;
      ASSERT_EQ(now.free_bytes, now.reserved_bytes - live_bytes_) << "step " << i;
      if (steps <= 2000 || i % 16 == 0) {
        const char* const broken = made_.memory.verify();
        ASSERT_EQ(broken, nullptr) << broken << ", step " << i;
      }
    }
    finish();
  }

 private:
  std::size_t below(std::size_t n) {
    return std::uniform_int_distribution<std::size_t>(0, n - 1)(random_);
  }
  /// Any size up to `most`, small ones as likely as large ones.
  std::size_t size_up_to(std::size_t most) {
    const unsigned bits = static_cast<unsigned>(std::bit_width(most));
    return std::min(most, 1 + below(std::size_t{1} << (1 + below(bits))));
  }
  std::size_t alignment() {
    if (below(4) != 0) {
      return 64;
    }
    return std::size_t{64} << below(below(8) == 0 ? 17 : 9);
  }

  void step() {
    switch (below(16)) {
    case 0:
    case 1:
    case 2:
    case 3:
      return refill();
    case 4:
    case 5:
    case 6:
      return allocate_large();
    case 7:
    case 8:
    case 9:
    case 10:
    case 11:
      return take_back(1 + below(24));
    case 12:
      return extend();
    case 13:
      return trim();
    case 14:
      return decay();
    default:
      if (below(8) == 0) {
        take_back(live_.size());
      }
      return;
    }
  }

  void refill() {
    const std::size_t bytes = size_of_class(size_class_of(size_up_to(largest_small_block)));
    std::vector<block> blocks(1 + below(bytes > 64 * kib ? 4 : 40));
    block_request request = ask(bytes, alignment());
    request.may_grow = below(4) != 0;
    const memory_info before = made_.memory.memory(device::cpu());
    const backend::refill_result got = made_.memory.refill(request, blocks);
    EXPECT_EQ(got.why.ok(), got.count == blocks.size());
    check_growth(request, before);
    for (std::size_t i = 0; i != got.count; ++i) {
      EXPECT_EQ(blocks[i].bytes, bytes);
      add(blocks[i], request);
    }
    check_refusal(got.why, request, before);
  }

  void allocate_large() {
    block_request request = ask(size_up_to(24 * mib), alignment());
    request.may_grow = below(4) != 0;
    request.long_lived = below(2) == 0;
    const memory_info before = made_.memory.memory(device::cpu());
    const result<block> got = made_.memory.allocate_large(request);
    check_growth(request, before);
    if (!got) {
      check_refusal(got.error(), request, before);
      if (request.alignment <= page_bytes && request.bytes > largest_span_block) {
        EXPECT_LT(before.largest_free_bytes / page_bytes * page_bytes, request.bytes)
            << "it said that this block needs no growth";
      }
      return;
    }
    EXPECT_GE(got->bytes, request.bytes);
    EXPECT_LE(got->bytes, request.bytes + std::max(page_bytes, request.bytes / 31));
    if (request.long_lived) {
      EXPECT_LT(got->bytes, request.bytes + page_bytes);
    }
    add(*got, request);
  }

  void check_growth(const block_request& request, const memory_info& before) {
    if (!request.may_grow) {
      EXPECT_EQ(made_.host.claimed.load(), before.reserved_bytes) << "it grew unasked";
    }
  }
  void check_refusal(const status& why, const block_request& request, const memory_info& before) {
    if (why.ok()) {
      return;
    }
    EXPECT_EQ(why.code, request.may_grow ? errc::over_budget : errc::out_of_memory);
    EXPECT_EQ(why.requested, request.bytes);
    if (request.bytes > largest_small_block) {
      EXPECT_EQ(made_.host.claimed.load(), before.reserved_bytes);
    }
  }

  void add(const block& what, const block_request& request) {
    ASSERT_NE(what.data, nullptr);
    const auto address = reinterpret_cast<std::uintptr_t>(what.data);
    ASSERT_EQ(address % request.alignment, 0U);
    const auto after = live_.lower_bound(address);
    if (after != live_.end()) {
      ASSERT_LE(address + what.bytes, after->first) << "overlaps the block above";
    }
    if (after != live_.begin()) {
      const auto before = std::prev(after);
      ASSERT_LE(before->first + before->second.what.bytes, address) << "overlaps the block below";
    }
    live_block& made = live_[address];
    made = {what, random_()};
    live_bytes_ += what.bytes;
    write(made, 0);
  }

  template <class F>
  static void for_each_mark(const live_block& b, std::size_t from, const F& f) {
    auto* const data = static_cast<unsigned char*>(b.what.data);
    for (std::size_t at = from; at + 8 <= b.what.bytes; at += page_bytes) {
      f(data + at, b.pattern + at);
    }
    f(data + b.what.bytes - 8, ~b.pattern);
  }
  static void write(const live_block& b, std::size_t from) {
    for_each_mark(b, from, [](unsigned char* at, std::uint64_t mark) {
      std::memcpy(at, &mark, sizeof mark);
    });
  }
  static void verify(const live_block& b) {
    for_each_mark(b, 0, [](const unsigned char* at, std::uint64_t mark) {
      std::uint64_t found = 0;
      std::memcpy(&found, at, sizeof found);
      ASSERT_EQ(found, mark) << "a live block was written to";
    });
  }

  auto pick() { return std::next(live_.begin(), static_cast<std::ptrdiff_t>(below(live_.size()))); }

  void take_back(std::size_t n) {
    std::vector<block> blocks;
    for (std::size_t i = 0; i != n && !live_.empty(); ++i) {
      const auto at = pick();
      verify(at->second);
      blocks.push_back(at->second.what);
      live_bytes_ -= at->second.what.bytes;
      live_.erase(at);
    }
    const std::uint64_t calls = made_.os.calls();
    made_.memory.take_back(device::cpu(), blocks, {});
    EXPECT_EQ(made_.os.calls(), calls) << "a free called the system";
  }

  void extend() {
    if (live_.empty()) {
      return;
    }
    const auto at = pick();
    live_block& b = at->second;
    const std::size_t old = b.what.bytes;
    const std::size_t wanted = old + size_up_to(2 * mib);
    const result<std::size_t> got = made_.memory.extend(device::cpu(), b.what, wanted);
    if (!got) {
      verify(b);
      return;
    }
    ASSERT_GE(*got, wanted);
    verify(b);
    const auto after = std::next(at);
    if (after != live_.end()) {
      ASSERT_LE(at->first + *got, after->first) << "grew into the block above";
    }
    b.what.bytes = *got;
    live_bytes_ += *got - old;
    write(b, 0);
  }

  void trim() {
    const memory_info before = made_.memory.memory(device::cpu());
    const std::size_t keep = below(3) == 0 ? 0 : below(before.reserved_bytes + 1);
    const std::size_t gone = made_.memory.trim(device::cpu(), keep);
    const memory_info after = made_.memory.memory(device::cpu());
    EXPECT_EQ(before.reserved_bytes - after.reserved_bytes, gone);
    if (after.reserved_bytes > keep) {
      EXPECT_EQ(made_.memory.trim(device::cpu(), 0), 0U) << "trim left something free";
    } else if (gone != 0) {
      EXPECT_GT(after.reserved_bytes + page_bytes, keep) << "trim gave back more than asked";
    }
  }

  void decay() {
    const std::size_t before = made_.host.claimed.load();
    const std::size_t gone = made_.memory.decay(device::cpu());
    EXPECT_EQ(before - made_.host.claimed.load(), gone);
  }

  void finish() {
    take_back(live_.size());
    made_.memory.trim(device::cpu(), 0);
    EXPECT_EQ(made_.memory.memory(device::cpu()).reserved_bytes, 0U);
    EXPECT_EQ(made_.host.claimed.load(), 0U);
    EXPECT_EQ(made_.memory.verify(), nullptr);
  }

  std::mt19937_64 random_;
  fixture made_;
  std::map<std::uintptr_t, live_block> live_;
  std::size_t live_bytes_ = 0;
};

void run_seeds(std::uint64_t first, const backend_options& options, std::size_t limit) {
  const std::size_t seeds = test::amount("TIDEPOOL_TEST_SEEDS", 4);
  const std::size_t steps = test::amount("TIDEPOOL_TEST_STEPS", 1500);
  for (std::uint64_t seed = first; seed != first + seeds; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    model_runner runner(seed, options, limit);
    runner.run(steps);
    if (::testing::Test::HasFailure()) {
      return;
    }
  }
}

TEST(BackendProperty, AgreesWithAModel) {
  run_seeds(1, {.huge_pages = huge_pages::never, .decay_ticks = 3}, SIZE_MAX);
}

TEST(BackendProperty, AgreesWithAModelUnderALimit) {
  run_seeds(1000, {.huge_pages = huge_pages::never, .decay_ticks = 3}, 40 * mib);
}

TEST(BackendProperty, AgreesWithAModelUnderATightLimit) {
  run_seeds(2000, {.huge_pages = huge_pages::never, .decay_ticks = 0}, 1 * mib + 4 * page_bytes);
}

TEST(BackendProperty, AgreesWithAModelInManySmallArenas) {
  run_seeds(3000, {.arena_bytes = 1, .decay_ticks = 8}, SIZE_MAX);
}

TEST(BackendProperty, AgreesWithAModelOnHugePages) {
  run_seeds(4000, {.huge_pages = huge_pages::always, .decay_ticks = 5}, 300 * mib);
}

}  // namespace
}  // namespace tidepool::cpu
