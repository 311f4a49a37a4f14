// SPDX-License-Identifier: Apache-2.0
//
// fork beside batches of accesses: they are no operations that fork waits for, it takes the locks
// of their tables.
#include "support.hpp"
#include <tidepool/access_tracker.hpp>

#include <array>
#include <cstdint>

namespace tidepool::test {
namespace {

TEST(ForkAccesses, TheChildRecordsAndAsksWhateverOtherThreadsWereRecording) {
  if (address_sanitized) {
    GTEST_SKIP() << "children of a loaded parent hang in libasan's allocator";
  }
  pool p(small_cpu());
  const domain d = *p.accesses().make_domain({.size = 64, .standalone = true});
  const tensor w = p.allocate(64, {}, {.category = category::weight});
  std::atomic<bool> stop{false};
  const auto record = [&] {
    const std::vector<std::int32_t> ids{1, 2, 3, 63};
    const std::array named{w.id()};
    return p.accesses().record({.where = d, .indices = ids}) &&
           p.accesses().record({.tensors = named});
  };
  std::vector<std::thread> others;
  for (int t = 0; t < 3; ++t) {
    others.emplace_back([&] {
      while (!stop.load()) {
        require(record(), "a batch of the parent");
      }
    });
  }
  for (int i = 0; i < rounds(100); ++i) {
    ASSERT_EQ(in_loaded_child([&] {
                const std::uint64_t before = p.accesses().info(d, 63)->count;
                require(record(), "a batch of the child");
                require(p.accesses().info(d, 63)->count == before + 1, "it counts once");
                require(p.control().verify() == nullptr, "all structures hold");
              }),
              0)
        << i;
  }
  stop = true;
  for (std::thread& t : others) {
    t.join();
  }
  EXPECT_EQ(p.accesses().info(d, 63)->count, p.accesses().info(w.id())->count);
}

}  // namespace
}  // namespace tidepool::test
