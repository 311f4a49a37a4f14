// SPDX-License-Identifier: Apache-2.0
//
// What writers of backends use: helpers that share work, requests checked and rounded.
#include <tidepool/support/block_requests.hpp>
#include <tidepool/support/helper_threads.hpp>

#include <gtest/gtest.h>

#include <atomic>
#include <cstdint>
#include <mutex>
#include <set>
#include <string_view>
#include <thread>
#include <utility>

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

}  // namespace
}  // namespace tidepool::support
