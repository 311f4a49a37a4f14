// SPDX-License-Identifier: Apache-2.0
//
// The heap of spans alone, one thread: waste, alignment, which span serves, which stays, and that
// free blocks are never touched. Random sequences are in backend_property_test.cpp.
#include "span_heap.hpp"

#include "support.hpp"

#include <gtest/gtest.h>

#include <cstring>
#include <set>
#include <vector>

namespace tidepool::cpu {
namespace {

class SpanHeap : public ::testing::Test {
 protected:
  std::vector<block> take(std::size_t bytes, std::size_t n) {
    std::vector<block> blocks(n);
    const backend::refill_result got = spans_.refill(bytes, true, blocks);
    EXPECT_EQ(got.count, n);
    EXPECT_TRUE(got.why.ok());
    check();
    return blocks;
  }
  void give(const block& what, std::uint64_t epoch = 0) {
    const support::cookie tag = support::cookie::from_bits(what.cookie);
    EXPECT_TRUE(spans_.owns({tag.index, tag.block}, what));
    spans_.take_back({tag.index, tag.block}, epoch);
    EXPECT_FALSE(spans_.owns({tag.index, tag.block}, what)) << "a second free would go unseen";
    check();
  }
  void check() {
    EXPECT_EQ(spans_.check(), nullptr);
    EXPECT_EQ(extents_.check(), nullptr);
  }

  counting_host host_;
  faulty_memory os_;
  claims ledger_{.host = &host_};
  extent_heap extents_{os_, ledger_, {.bytes = 256 * mib}};
  span_heap spans_{os_, extents_};
};

TEST(SpanLength, WastesAThirtySecondAtMost) {
  for (unsigned c = first_size_class; size_of_class(c) <= largest_span_block; ++c) {
    const std::size_t bytes = size_of_class(c);
    if (size_class_of(bytes) != c) {
      continue;
    }
    const std::size_t span = span_pages(bytes) * page_bytes;
    EXPECT_GE(span, 64 * kib);
    EXPECT_LE(span, 1 * mib);
    EXPECT_LE(span % bytes, span / 32) << bytes;
    EXPECT_LE(span / bytes, std::size_t{support::span_blocks::most_blocks});
    EXPECT_GE(span / bytes, 8U);
  }
}

TEST_F(SpanHeap, EveryClassGivesDistinctAlignedBlocks) {
  std::set<std::pair<char*, char*>> seen;
  for (unsigned c = first_size_class; size_of_class(c) <= largest_span_block; ++c) {
    const std::size_t bytes = size_of_class(c);
    if (size_class_of(bytes) != c) {
      continue;
    }
    for (const block& b : take(bytes, 50)) {
      EXPECT_EQ(b.bytes, bytes);
      const auto address = reinterpret_cast<std::uintptr_t>(b.data);
      EXPECT_EQ(address % std::min(bytes & (~bytes + 1), page_bytes), 0U);
      std::memset(b.data, static_cast<int>(c), bytes);
      seen.emplace(static_cast<char*>(b.data), static_cast<char*>(b.data) + bytes);
    }
  }
  const char* last = nullptr;
  for (const auto& [begin, end] : seen) {
    EXPECT_LE(last, begin);
    last = end;
  }
}

TEST_F(SpanHeap, TheLowestSpanServesFirst) {
  const std::size_t per_span = span_pages(4096);
  const std::vector<block> blocks = take(4096, 3 * per_span);
  give(blocks[2 * per_span + 5]);
  give(blocks[1]);
  give(blocks[per_span]);
  EXPECT_EQ(take(4096, 1)[0].data, blocks[1].data);
  EXPECT_EQ(take(4096, 1)[0].data, blocks[per_span].data);
}

TEST_F(SpanHeap, OneEmptySpanIsKept) {
  const std::size_t per_span = span_pages(4096);
  const std::vector<block> blocks = take(4096, 3 * per_span);
  for (const block& b : blocks) {
    give(b, 3);
  }
  EXPECT_EQ(extents_.longest_backed(), 2 * per_span);
  EXPECT_EQ(spans_.longest_free(), 4096U);
  spans_.release_empty(2);
  EXPECT_EQ(spans_.longest_free(), 4096U);
  spans_.release_empty(3);
  check();
  EXPECT_EQ(spans_.longest_free(), 0U);
  EXPECT_EQ(extents_.longest_backed(), 3 * per_span);
}

TEST_F(SpanHeap, BlocksAreNeverTouched) {
  const std::vector<block> blocks = take(256, 300);
  for (const block& b : blocks) {
    std::memset(b.data, 0x5a, b.bytes);
  }
  for (const block& b : blocks) {
    give(b);
  }
  const std::vector<block> again = take(256, 250);
  for (const block& b : again) {
    EXPECT_EQ(*static_cast<unsigned char*>(b.data), 0x5a);
  }
}

TEST_F(SpanHeap, AShorterSpanServesWhenTheLimitIsNear) {
  host_.limit = 3 * 64 * kib;
  std::vector<block> blocks(5);
  const backend::refill_result got = spans_.refill(64 * kib, true, blocks);
  EXPECT_EQ(got.count, 3U);
  EXPECT_EQ(got.why.code, errc::over_budget);
  check();
  const backend::refill_result none = spans_.refill(4 * kib, false, blocks);
  EXPECT_EQ(none.count, 0U);
  EXPECT_EQ(none.why.code, errc::out_of_memory);
}

TEST_F(SpanHeap, OwnsNothingElse) {
  const std::vector<block> blocks = take(4096, 2);
  block b = blocks[0];
  const support::cookie tag = support::cookie::from_bits(b.cookie);
  EXPECT_TRUE(spans_.owns({tag.index, tag.block}, b));
  EXPECT_FALSE(spans_.owns({0, 0}, b));
  EXPECT_FALSE(spans_.owns({tag.index + 1, tag.block}, b));
  EXPECT_FALSE(spans_.owns({tag.index, tag.block + 1}, b));
  EXPECT_FALSE(spans_.owns({tag.index, 5000}, b));
  b.bytes = 2048;
  EXPECT_FALSE(spans_.owns({tag.index, tag.block}, b));
}

}  // namespace
}  // namespace tidepool::cpu
