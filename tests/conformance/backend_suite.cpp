// SPDX-License-Identifier: Apache-2.0
//
// The suite, first part: the backend alone, against the contracts in <tidepool/backend.hpp>.
#include "../support/sizes.hpp"
#include "conformance.hpp"
#include <tidepool/size_class.hpp>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <thread>
#include <vector>

namespace tidepool::test {
namespace {

[[nodiscard]] bool aligned(const void* data, std::size_t alignment) {
  return (reinterpret_cast<std::uintptr_t>(data) & (alignment - 1)) == 0;
}

[[nodiscard]] bool disjoint(std::vector<block> blocks) {
  std::sort(blocks.begin(), blocks.end(),
            [](const block& a, const block& b) { return a.data < b.data; });
  for (std::size_t i = 1; i < blocks.size(); ++i) {
    if (static_cast<std::byte*>(blocks[i - 1].data) + blocks[i - 1].bytes > blocks[i].data) {
      return false;
    }
  }
  return true;
}

TEST_P(BackendConformance, DescribesItsDevices) {
  for (const device_description& d : tested->devices()) {
    EXPECT_TRUE(std::has_single_bit(d.alignment));
    EXPECT_GE(d.alignment, 1U);
    EXPECT_FALSE(d.name.empty());
    EXPECT_NE(d.where.kind(), device_kind::automatic);
  }
  EXPECT_EQ(tested->devices().data(), tested->devices().data());
}

TEST_P(BackendConformance, HoldsNothingBeforeItIsAsked) {
  EXPECT_EQ(memory().reserved_bytes, 0U);
  EXPECT_EQ(memory().free_bytes, 0U);
  std::array<block, 4> blocks;
  block_request request = ask(4 * kib);
  request.may_grow = false;
  const backend::refill_result answer = tested->refill(request, blocks);
  EXPECT_EQ(answer.count, 0U);
  EXPECT_FALSE(answer.why.ok());
  EXPECT_FALSE(tested->allocate_large(request).has_value());
  EXPECT_EQ(host.claimed.load(), 0U);
}

TEST_P(BackendConformance, RefillsExactlyEverySmallClass) {
  std::vector<block> all;
  for (unsigned c = first_size_class; c <= last_small_class; ++c) {
    const std::size_t bytes = size_of_class(c);
    if (size_class_of(bytes) != c || bytes % about.alignment != 0) {
      continue;
    }
    for (const std::size_t n : {std::size_t{1}, std::size_t{3}, std::size_t{17}}) {
      std::vector<block> blocks(n);
      const backend::refill_result answer = tested->refill(ask(bytes), blocks);
      ASSERT_EQ(answer.count, n) << bytes;
      for (const block& b : blocks) {
        ASSERT_EQ(b.bytes, bytes);
        ASSERT_TRUE(aligned(b.data, about.alignment));
        if (about.host_accessible) {
          std::memset(b.data, 0x5a, bytes);
        }
      }
      all.insert(all.end(), blocks.begin(), blocks.end());
    }
  }
  EXPECT_TRUE(disjoint(all));
  const auto out = [&] {
    std::size_t sum = 0;
    for (const block& b : all) {
      sum += b.bytes;
    }
    return sum;
  }();
  EXPECT_GE(memory().reserved_bytes - memory().free_bytes, out);
  EXPECT_EQ(memory().reserved_bytes, host.claimed.load());
  EXPECT_EQ(tested->verify(), nullptr);
  give_back(all);
  EXPECT_EQ(memory().free_bytes, memory().reserved_bytes);
}

TEST_P(BackendConformance, AlignsWhateverIsAskedFor) {
  std::vector<block> all;
  for (std::size_t alignment = about.alignment; alignment <= 2 * mib; alignment *= 2) {
    for (const std::size_t bytes : {std::size_t{64}, 4 * kib, 100 * kib, 3 * mib}) {
      const std::size_t rounded = (bytes + alignment - 1) / alignment * alignment;
      const result<block> large = tested->allocate_large(ask(rounded, alignment));
      ASSERT_TRUE(large.has_value()) << rounded << " at " << alignment;
      EXPECT_TRUE(aligned(large->data, alignment)) << rounded << " at " << alignment;
      EXPECT_GE(large->bytes, rounded);
      all.push_back(*large);
      if (alignment <= 4 * kib && rounded <= largest_small_block) {
        std::array<block, 3> few;
        const std::size_t exact = size_of_class(size_class_of(rounded));
        ASSERT_EQ(tested->refill(ask(exact, alignment), few).count, few.size());
        for (const block& b : few) {
          EXPECT_TRUE(aligned(b.data, alignment)) << exact << " at " << alignment;
          all.push_back(b);
        }
      }
    }
  }
  EXPECT_TRUE(disjoint(all));
  EXPECT_EQ(tested->verify(), nullptr);
  give_back(all);
}

TEST_P(BackendConformance, RoundsLargeBlocksToPagesAtMost) {
  std::vector<block> all;
  for (std::size_t bytes = mib + 64; bytes <= GetParam().largest; bytes = bytes * 3 / 2 + 4096) {
    const std::size_t rounded = bytes / about.alignment * about.alignment;
    const result<block> made = tested->allocate_large(ask(rounded));
    ASSERT_TRUE(made.has_value()) << rounded;
    EXPECT_GE(made->bytes, rounded);
    EXPECT_LT(made->bytes, rounded + 2 * mib);
    EXPECT_EQ(made->bytes % about.alignment, 0U);
    if (about.host_accessible) {
      auto* const bytes_of = static_cast<unsigned char*>(made->data);
      bytes_of[0] = 1;
      bytes_of[made->bytes - 1] = 2;
    }
    all.push_back(*made);
  }
  EXPECT_TRUE(disjoint(all));
  give_back(all);
  EXPECT_EQ(memory().free_bytes, memory().reserved_bytes);
}

TEST_P(BackendConformance, ServesWhatItHoldsWithoutGrowing) {
  std::array<block, 8> blocks;
  ASSERT_EQ(tested->refill(ask(64 * kib), blocks).count, blocks.size());
  give_back(blocks);
  if (memory().free_bytes == 0) {
    GTEST_SKIP() << "keeps nothing";
  }
  const std::size_t reserved = memory().reserved_bytes;
  block_request request = ask(64 * kib);
  request.may_grow = false;
  EXPECT_EQ(tested->refill(request, blocks).count, blocks.size());
  EXPECT_EQ(memory().reserved_bytes, reserved);
  give_back(blocks);
}

TEST_P(BackendConformance, TrimGivesEverythingFreeBack) {
  std::vector<block> blocks(20);
  ASSERT_EQ(tested->refill(ask(32 * kib), blocks).count, blocks.size());
  const result<block> large = tested->allocate_large(ask(5 * mib));
  ASSERT_TRUE(large.has_value());
  give_back(blocks);
  (void)tested->trim(about.where, 0);
  EXPECT_GE(memory().reserved_bytes, large->bytes);
  if (about.host_accessible) {
    std::memset(large->data, 1, large->bytes);  // what is in use stays
  }
  give_back({&*large, 1});
  const std::size_t before = memory().reserved_bytes;
  EXPECT_EQ(tested->trim(about.where, 0), before);
  EXPECT_EQ(memory().reserved_bytes, 0U);
  EXPECT_EQ(host.claimed.load(), 0U);
}

TEST_P(BackendConformance, ARefusedClaimIsOverBudgetAndLeavesNothing) {
  host.limit = 0;
  std::array<block, 4> blocks;
  const backend::refill_result answer = tested->refill(ask(4 * kib), blocks);
  EXPECT_EQ(answer.count, 0U);
  EXPECT_EQ(answer.why.code, errc::over_budget);
  EXPECT_EQ(tested->allocate_large(ask(2 * mib)).error().code, errc::over_budget);
  EXPECT_EQ(host.claimed.load(), 0U);
  EXPECT_EQ(memory().reserved_bytes, 0U);
  host.limit = SIZE_MAX;
  EXPECT_EQ(tested->refill(ask(4 * kib), blocks).count, blocks.size());
  give_back(blocks);
}

TEST_P(BackendConformance, NeverPassesTheBudget) {
  host.limit = 8 * mib;
  std::vector<block> held;
  for (;;) {
    std::array<block, 16> blocks;
    const backend::refill_result answer = tested->refill(ask(48 * kib), blocks);
    held.insert(held.end(), blocks.begin(),
                blocks.begin() + static_cast<std::ptrdiff_t>(answer.count));
    ASSERT_LE(host.claimed.load(), 8 * mib);
    if (answer.count < blocks.size()) {
      EXPECT_EQ(answer.why.code, errc::over_budget);
      break;
    }
  }
  EXPECT_GE(held.size(), 8 * mib / (48 * kib) * 3 / 4);
  give_back(held);
}

TEST_P(BackendConformance, ImpossibleSizesAnswerAnError) {
  for (const std::size_t bytes :
       {std::size_t{1} << 46, (std::size_t{1} << 47) - 4096, std::size_t{1} << 47}) {
    const result<block> made = tested->allocate_large(ask(bytes));
    EXPECT_FALSE(made.has_value()) << bytes;
  }
  EXPECT_EQ(memory().reserved_bytes, 0U);
}

TEST_P(BackendConformance, ExtendsInPlaceOrSaysNo) {
  const result<block> made = tested->allocate_large(ask(2 * mib));
  ASSERT_TRUE(made.has_value());
  block held = *made;
  const result<std::size_t> longer = tested->extend(about.where, held, held.bytes + 64 * kib);
  if (!about.can_extend) {
    EXPECT_EQ(longer.error().code, errc::unsupported);
  }
  if (longer) {
    EXPECT_GE(*longer, held.bytes + 64 * kib);
    held.bytes = *longer;
    if (about.host_accessible) {
      std::memset(held.data, 3, held.bytes);
    }
  }
  EXPECT_FALSE(tested->extend(about.where, held, SIZE_MAX).has_value());
  EXPECT_FALSE(tested->extend(about.where, held, SIZE_MAX / 2).has_value());
  EXPECT_EQ(tested->verify(), nullptr);
  give_back({&held, 1});
}

TEST_P(BackendConformance, PopulatesCopiesAndFills) {
  std::array<block, 2> blocks;
  ASSERT_EQ(tested->refill(ask(256 * kib), blocks).count, blocks.size());
  // Bytes of the blocks are counted, not pages: the edges of pages that the blocks share with
  // others and the rest of a huge page are not theirs. So the answer is exact with pages of any
  // size.
  const std::size_t populated = tested->populate(about.where, blocks, 2);
  EXPECT_EQ(populated, about.can_populate ? blocks[0].bytes + blocks[1].bytes : 0U);
  if (about.host_accessible) {
    const auto at = [&](std::size_t b, std::size_t i) {
      return static_cast<unsigned char*>(blocks[b].data)[i];
    };
    EXPECT_TRUE(tested->fill(about.where, blocks[0].data, 0xa5, 256 * kib, {}).ok());
    EXPECT_TRUE(tested->copy(about.where, blocks[1].data, blocks[0].data, 256 * kib, {}).ok());
    EXPECT_TRUE(tested->synchronise(about.where, {}).ok());
    EXPECT_EQ(at(1, 0), 0xa5);
    EXPECT_EQ(at(1, 256 * kib - 1), 0xa5);
  }
  give_back(blocks);
}

TEST_P(BackendConformance, ServesSeveralThreads) {
  const auto work = [&](unsigned seed) {
    std::vector<block> held;
    std::size_t size = 64 * kib;
    for (int i = 0; i < 150; ++i) {
      seed = seed * 1664525 + 1013904223;
      size = size_of_class(size_class_of(std::size_t{about.alignment} << (seed >> 28) % 12));
      std::array<block, 5> blocks;
      const std::size_t n = tested->refill(ask(size), blocks).count;
      EXPECT_EQ(n, blocks.size());
      for (std::size_t b = 0; b < n; ++b) {
        if (about.host_accessible) {
          std::memset(blocks[b].data, static_cast<int>(seed & 0xff), 64);
        }
        held.push_back(blocks[b]);
      }
      if (seed >> 31 != 0) {
        give_back(held);
        held.clear();
      }
      if (i % 32 == 31) {
        (void)tested->trim(about.where, mib);
        (void)tested->decay(about.where);
        (void)memory();
      }
    }
    give_back(held);
  };
  std::vector<std::thread> threads;
  for (unsigned t = 0; t < 4; ++t) {
    threads.emplace_back(work, t * 77 + 1);
  }
  for (std::thread& t : threads) {
    t.join();
  }
  EXPECT_EQ(memory().free_bytes, memory().reserved_bytes);
}

}  // namespace
}  // namespace tidepool::test
