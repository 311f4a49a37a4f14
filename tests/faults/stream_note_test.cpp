// SPDX-License-Identifier: Apache-2.0
//
// A tensor of pinned memory notes the stream that uses it. Where there is no memory for that note,
// or for anything else that the allocation asks the heap for, nothing of the tensor is left behind:
// its key is free again, and its block is as long as the backend made it.
#include "../support/heap_backend.hpp"
#include "faults.hpp"
#include <tidepool/control.hpp>
#include <tidepool/pool.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <iterator>
#include <memory>
#include <ostream>
#include <string>
#include <utility>
#include <vector>

namespace tidepool::test {
namespace {

constexpr device pinned = device::pinned(device::cuda(0));
constexpr std::size_t size = 5000;

struct mode {
  const char* name;
  debug_options debug;
};
std::ostream& operator<<(std::ostream& out, const mode& what) {
  return out << what.name;
}

class StreamNote : public ::testing::TestWithParam<mode> {
 protected:
  [[nodiscard]] result<raw_tensor> allocate(std::uint64_t key) {
    const allocation_options options{.stream = stream_, .key = key};
    return pool_.allocate_raw(size, pinned, options);
  }
  void end(const result<raw_tensor>& made) {
    ASSERT_TRUE(made.has_value()) << to_string(made.error());
    EXPECT_EQ(pool_.deallocate(made->id), errc::ok);
  }
  void expect_nothing_left() {
    const char* const broken = pool_.control().verify();
    EXPECT_EQ(broken, nullptr) << broken;
    EXPECT_EQ(pool_.control().statistics().total.live, 0U);
    EXPECT_EQ(pool_.control().statistics().total.requested_bytes, 0U);
    EXPECT_EQ(pool_.control().statistics().misuses, 0U);
  }
  void TearDown() override {
    EXPECT_EQ(pool_.control().trim().reserved_bytes, 0U);
    EXPECT_EQ(log_.wrong_returns, 0U) << "a block went back with another length than it came with";
    EXPECT_EQ(log_.handed_out, 0U);
  }

  heap_log log_;
  std::unique_ptr<heap_backend> made_ = std::make_unique<heap_backend>(log_, pinned, 64, true);
  heap_backend* const backend_ = made_.get();
  pool pool_{std::move(made_), pool_options{.debug = GetParam().debug}};
  stream_ref stream_ = *pool_.attach(
      pinned, {.handle = reinterpret_cast<void*>(0x1000), .kind = stream_kind::ordinary});
};

TEST_P(StreamNote, ThatFindsNoMemoryLeavesNothing) {
  std::uint64_t failed = 0;
  for (std::uint64_t n = 1;; ++n) {
    SCOPED_TRACE("heap allocation " + std::to_string(n));
    // A block that is ready: the backend, whose own heap calls may not fail, is not asked.
    end(pool_.allocate_raw(size, pinned));
    const std::uint64_t key = 100 + n;
    faults.reset(fault_kind::heap, n, false);
    const result<raw_tensor> made = within([&] { return allocate(key); });
    faults.fail_call = 0;
    if (faults.failed == 0) {
      end(made);
      break;
    }
    if (made) {
      end(made);  // it was a call that can be done without
      continue;
    }
    ++failed;
    EXPECT_EQ(made.error().code, errc::out_of_memory);
    EXPECT_EQ(pool_.find(key).error().code, errc::not_found);
    expect_nothing_left();
    const result<raw_tensor> again = allocate(key);
    ASSERT_TRUE(again.has_value()) << to_string(again.error());
    std::memset(again->data, 1, size);
    EXPECT_EQ(*pool_.find(key), again->id);
    end(again);
    expect_nothing_left();
  }
  EXPECT_GE(failed, 1U) << "the note asks the heap for memory";
}

// The stream captures, so nobody can wait for it either: the block has to wait for all streams.
TEST_P(StreamNote, ThatFindsNoMemoryOfAStreamThatCapturesWaitsForAll) {
  const stream_ref user = *pool_.attach(
      pinned, {.handle = reinterpret_cast<void*>(0x2000), .kind = stream_kind::ordinary});
  backend_->refuse_waits(true);
  std::uint64_t failed = 0;
  for (std::uint64_t n = 1;; ++n) {
    SCOPED_TRACE("heap allocation " + std::to_string(n));
    tensor t = pool_.allocate(size, pinned, {.stream = stream_});
    tensor second = *pool_.share(t);
    void* const data = t.data();
    faults.reset(fault_kind::heap, n, false);
    within([&] {
      second.reset(user);
      return 0;
    });
    faults.fail_call = 0;
    failed += faults.failed;
    t.reset();
    (void)pool_.control().trim();  // empties a quarantine
    // With guards the tensor begins behind the beginning of its block.
    const auto behind = log_.returned.upper_bound(data);
    ASSERT_NE(behind, log_.returned.begin());
    const std::vector<stream_ref>& after = std::prev(behind)->second;
    const auto is_covering = [&](const stream_ref& each) {
      return each == untold_stream() || each.handle == user.handle;
    };
    EXPECT_TRUE(std::any_of(after.begin(), after.end(), is_covering)) << after.size();
    if (faults.failed == 0) {
      break;
    }
  }
  EXPECT_GE(failed, 1U) << "the note asks the heap for memory";
  backend_->refuse_waits(false);
  expect_nothing_left();
}

INSTANTIATE_TEST_SUITE_P(
    modes, StreamNote,
    ::testing::Values(mode{"plain", {}}, mode{"canaries", {.guard = guard_mode::canary}},
                      mode{"poison_and_canaries",
                           {.poison = true, .guard = guard_mode::canary, .call_site_frames = 4}}),
    [](const ::testing::TestParamInfo<mode>& one) { return std::string(one.param.name); });

}  // namespace
}  // namespace tidepool::test
