// SPDX-License-Identifier: Apache-2.0
//
// What writers of backends use: helpers that share work, requests checked and rounded, blocks of a
// span, for which no memory is needed as they are never touched.
#include <tidepool/support/block_requests.hpp>
#include <tidepool/support/extent_basics.hpp>
#include <tidepool/support/helper_threads.hpp>
#include <tidepool/support/span_blocks.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <mutex>
#include <set>
#include <span>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

namespace tidepool::support {
namespace {

TEST(WithHelpers, AsManyThreadsAsAskedForEndBeforeTheCall) {
  for (const auto& [asked, expected] :
       {std::pair{0U, 1U}, {1U, 1U}, {3U, 3U}, {64U, 64U}, {1000U, 64U}}) {
    std::atomic<unsigned> inside{0};
    std::mutex mutex;
    std::set<std::thread::id> seen;
    auto work = [&] {
      inside.fetch_add(1);
      const std::lock_guard lock(mutex);
      seen.insert(std::this_thread::get_id());
    };
    with_helpers(asked, work);
    EXPECT_EQ(inside.load(), expected);
    EXPECT_TRUE(seen.contains(std::this_thread::get_id())) << "the caller works too";
  }
}

block_request asks(std::size_t bytes, std::size_t alignment = 0) {
  return {.where = device::cpu(), .bytes = bytes, .alignment = alignment};
}

TEST(BlockRequests, AreRefusedWithTheirNumbers) {
  const auto code = [](const block_request& request) {
    const status why = check_request(request, device::cpu());
    EXPECT_TRUE(why.ok() || why.requested == request.bytes);
    EXPECT_TRUE(why.ok() || why.where == device::cpu());
    return why.code;
  };
  EXPECT_EQ(code(asks(1)), errc::ok);
  EXPECT_EQ(code(asks(largest_block, largest_alignment)), errc::ok);
  EXPECT_EQ(code(asks(0)), errc::invalid_argument);
  EXPECT_EQ(code(asks(1, 3)), errc::invalid_argument);
  EXPECT_EQ(code(asks(1, 2 * largest_alignment)), errc::invalid_argument);
  EXPECT_EQ(code(asks(largest_block + 1)), errc::out_of_memory);
  EXPECT_EQ(code(asks(SIZE_MAX)), errc::out_of_memory);
  const status elsewhere = check_request(asks(1), device::cuda(2));
  EXPECT_EQ(elsewhere.code, errc::unknown_device);
  EXPECT_EQ(elsewhere.where, device::cpu()) << "the one that was asked for";
}

TEST(BlockRequests, ARefillIsForOneSmallSizeClass) {
  EXPECT_TRUE(check_refill(asks(largest_small_block), device::cpu()).ok());
  for (const std::size_t bytes : {std::size_t{65}, largest_small_block + 1}) {
    const status why = check_refill(asks(bytes), device::cpu());
    EXPECT_EQ(why.code, errc::invalid_argument);
    EXPECT_EQ(why.requested, bytes);
    EXPECT_EQ(why.text, std::string_view("not a small size class"));
  }
  EXPECT_EQ(check_refill(asks(0), device::cpu()).text,
            std::string_view("a block has at least one byte"));
}

TEST(BlockRequests, RoomIsAtMostOneThirtySecond) {
  for (std::size_t bytes = 1; bytes < largest_block / 3; bytes = bytes * 3 + 1) {
    const std::size_t exact = pages_of(bytes);
    EXPECT_GE(exact * page_bytes, bytes);
    EXPECT_LT(exact * page_bytes, bytes + page_bytes);
    EXPECT_GE(pages_with_room(bytes), exact);
    EXPECT_LE(pages_with_room(bytes), exact + exact / 32 + 1) << bytes;
  }
}

TEST(ExtentBasics, AlignUpAnswersTheNextMultiple) {
  for (std::uint32_t alignment = 1; alignment <= 1024; alignment *= 2) {
    for (const std::uint64_t page : {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{1} << 40,
                                     (std::uint64_t{1} << 40) + 3}) {
      const std::uint64_t aligned = align_up(page, alignment);
      EXPECT_EQ(aligned % alignment, 0U);
      EXPECT_GE(aligned, page);
      EXPECT_LT(aligned, page + alignment);
    }
  }
}

TEST(Cookie, KeepsTheLargestOfEachPart) {
  const cookie largest{cookie_kind::extent, UINT32_MAX, 0xffffff};
  const cookie read = cookie::from_bits(largest.bits());
  EXPECT_EQ(read.kind, largest.kind);
  EXPECT_EQ(read.index, largest.index);
  EXPECT_EQ(read.block, largest.block);
  EXPECT_EQ(cookie::from_bits(0).kind, cookie_kind::none);
}

constexpr page_run home{.extent = 9, .page = 1000, .pages = 16};

span_blocks carved(std::size_t bytes) {
  span_blocks made;
  made.carve(home, bytes);
  EXPECT_EQ(made.check(home.pages), nullptr);
  return made;
}

TEST(SpanBlocks, FillTheirPagesWithDistinctBlocks) {
  for (const std::size_t bytes : {64U, 80U, 320U, 4096U, 7168U, 65536U}) {
    span_blocks tested = carved(bytes);
    EXPECT_TRUE(tested.is_empty());
    EXPECT_EQ(tested.count,
              std::min<std::size_t>(home.pages * page_bytes / bytes, span_blocks::most_blocks));
    std::vector<block> blocks(tested.count + 3U);
    const std::size_t first = tested.take(7, std::span(blocks).first(1));
    ASSERT_EQ(first + tested.take(7, std::span(blocks).subspan(1)), tested.count) << "no more";
    EXPECT_EQ(tested.free, 0U);
    EXPECT_EQ(tested.check(home.pages), nullptr);
    for (std::uint32_t i = 0; i != tested.count; ++i) {
      EXPECT_EQ(reinterpret_cast<std::uintptr_t>(blocks[i].data),
                home.page * page_bytes + i * bytes);
      EXPECT_EQ(blocks[i].bytes, bytes);
      const cookie tag = cookie::from_bits(blocks[i].cookie);
      EXPECT_EQ(tag.kind, cookie_kind::span);
      EXPECT_EQ(tag.index, 7U);
      EXPECT_EQ(tag.block, i);
    }
  }
}

TEST(SpanBlocks, GiveAgainWhatWasPutBack) {
  span_blocks tested = carved(256);
  std::vector<block> blocks(tested.count);
  ASSERT_EQ(tested.take(1, blocks), blocks.size());
  for (const std::uint32_t number : {200U, 3U, 64U}) {
    tested.put(number);
    EXPECT_EQ(tested.check(home.pages), nullptr);
  }
  EXPECT_EQ(tested.free, 3U);
  EXPECT_FALSE(tested.is_empty());
  std::vector<block> again(4);
  ASSERT_EQ(tested.take(1, again), 3U);
  EXPECT_EQ(again[0].data, blocks[3].data) << "the lowest address first";
  EXPECT_EQ(again[1].data, blocks[64].data);
  EXPECT_EQ(again[2].data, blocks[200].data);
}

TEST(SpanBlocks, OwnOnlyBlocksThatAreHandedOut) {
  span_blocks tested = carved(4096);
  std::vector<block> blocks(2);
  ASSERT_EQ(tested.take(1, blocks), 2U);
  EXPECT_TRUE(tested.owns(0, blocks[0]));
  EXPECT_TRUE(tested.owns(1, blocks[1]));
  EXPECT_FALSE(tested.owns(1, blocks[0])) << "another one's number";
  EXPECT_FALSE(tested.owns(2, {.data = static_cast<char*>(blocks[1].data) + 4096, .bytes = 4096}))
      << "free";
  EXPECT_FALSE(tested.owns(0, {.data = blocks[0].data, .bytes = 2048})) << "another length";
  void* const behind = static_cast<char*>(blocks[0].data) + std::size_t{tested.count} * 4096;
  EXPECT_FALSE(tested.owns(tested.count, {.data = behind, .bytes = 4096})) << "beyond the span";
  tested.put(0);
  EXPECT_FALSE(tested.owns(0, blocks[0])) << "a second free would go unseen";
  tested.extent = 0;
  EXPECT_FALSE(tested.owns(1, blocks[1])) << "a descriptor that is unused";
}

TEST(SpanBlocks, ACheckNamesEachBrokenInvariant) {
  span_blocks tested = carved(4096);
  EXPECT_NE(tested.check(home.pages - 1), nullptr) << "longer than its pages";
  --tested.free;
  EXPECT_EQ(tested.check(home.pages),
            std::string_view("spans: the free blocks of a span are not what was counted"));
  ++tested.free;
  tested.words[0] |= std::uint64_t{1} << tested.count;
  EXPECT_EQ(tested.check(home.pages), std::string_view("spans: a block beyond the span is free"));
  EXPECT_EQ(span_blocks{}.check(home.pages),
            std::string_view("spans: the blocks of a span are longer than its extent"));
}

}  // namespace
}  // namespace tidepool::support
