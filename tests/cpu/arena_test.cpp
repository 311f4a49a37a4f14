// SPDX-License-Identifier: Apache-2.0
//
// The arena and the system calls below it, on real memory: the frontier, commits in steps, what
// happens when the system refuses. Extents have tests of their own.
#include "arena.hpp"

#include "support.hpp"

#include <gtest/gtest.h>

#include <cerrno>
#include <cstring>

namespace tidepool::cpu {
namespace {

TEST(Arena, IsUsableUpToTheFrontierOnly) {
  os_memory os;
  arena a;
  ASSERT_EQ(a.open(os, {.bytes = 256 * mib}), 0);
  EXPECT_EQ(a.page_count(), 256 * mib / page_bytes);
  EXPECT_EQ(a.first_page() * page_bytes % huge_page_bytes, 0U);
  EXPECT_EQ(a.frontier(), 0U);
  ASSERT_EQ(a.advance(os, 1000), 0);
  std::memset(a.address(0), 1, 1000 * page_bytes);
  a.at(999) = 5;
  EXPECT_EQ(a.at(999), 5U);
  a.backed().set({990, 10});
  EXPECT_EQ(a.backed().count({0, 1000}), 10U);
  ASSERT_EQ(a.advance(os, a.page_count()), 0);
  a.at(a.page_count() - 1) = 6;
  std::memset(a.address(a.page_count() - 1), 1, page_bytes);
  EXPECT_EQ(a.close(os), 0);
  EXPECT_FALSE(a.is_open());
  EXPECT_EQ(a.address_space_bytes(), 0U);
}

TEST(Arena, AdvancesInStepsWithoutACallEach) {
  os_memory os;
  arena a;
  ASSERT_EQ(a.open(os, {.bytes = 1024 * mib}), 0);
  const std::uint64_t calls = os.calls();
  for (std::uint32_t page = 1; page <= a.page_count(); ++page) {
    ASSERT_EQ(a.advance(os, page), 0);
  }
  EXPECT_LT(os.calls() - calls, 64U);
  EXPECT_EQ(a.close(os), 0);
}

/// Refuses to reserve more than it has.
class short_memory final : public os_memory {
 public:
  int refusals = 0;

 protected:
  int refuse(system_call what) noexcept override {
    return what == system_call::reserve && refusals-- > 0 ? ENOMEM : 0;
  }
};

TEST(Arena, HalvesWhatIsRefused) {
  short_memory os;
  os.refusals = 3;
  arena a;
  ASSERT_EQ(a.open(os, {.bytes = 1024 * mib}), 0);
  EXPECT_EQ(a.page_count(), 128 * mib / page_bytes);
  EXPECT_EQ(a.close(os), 0);
  os.refusals = 5;
  EXPECT_EQ(a.open(os, {.bytes = 1024 * mib}), ENOMEM) << "less than 64 MiB is no arena";
  EXPECT_FALSE(a.is_open());
  os.refusals = 1;
  EXPECT_EQ(a.open(os, {.bytes = 64 * mib, .at_least = 512 * mib}), ENOMEM);
  ASSERT_EQ(a.open(os, {.bytes = 64 * mib, .at_least = 512 * mib}), 0);
  EXPECT_EQ(a.page_count(), 512 * mib / page_bytes);
  EXPECT_EQ(a.close(os), 0);
}

TEST(Arena, ARefusedCommitIsTriedWithTheNeedAlone) {
  faulty_memory os;
  arena a;
  ASSERT_EQ(a.open(os, {.bytes = 256 * mib}), 0);
  ASSERT_EQ(a.advance(os, 1), 0);
  os.refuse_at = os.asked + 1;  // table and bits have been committed further ahead
  ASSERT_EQ(a.advance(os, 3 * mib / page_bytes), 0);
  EXPECT_EQ(os.asked, os.refuse_at + 1);
  os.refuse_kind = true;
  os.kind = system_call::commit;
  EXPECT_EQ(a.advance(os, 200 * mib / page_bytes), os.error);
  EXPECT_EQ(a.frontier(), 3 * mib / page_bytes);
  os.refuse_kind = false;
  EXPECT_EQ(a.advance(os, 200 * mib / page_bytes), 0);
  EXPECT_EQ(a.close(os), 0);
}

TEST(Arena, ReadsZeroAfterADiscard) {
  os_memory os;
  arena a;
  ASSERT_EQ(a.open(os, {.bytes = 64 * mib}), 0);
  ASSERT_EQ(a.advance(os, 16), 0);
  std::memset(a.address(0), 7, 16 * page_bytes);
  ASSERT_EQ(os.discard(a.address(4), 4 * page_bytes), 0);
  EXPECT_EQ(*static_cast<char*>(a.address(3)), 7);
  EXPECT_EQ(*static_cast<char*>(a.address(4)), 0);
  EXPECT_EQ(*static_cast<char*>(a.address(8)), 7);
  EXPECT_EQ(a.close(os), 0);
}

TEST(OsMemory, ReservesAligned) {
  os_memory os;
  for (const std::size_t alignment : {page_bytes, huge_page_bytes, std::size_t{1} << 30}) {
    const os_memory::mapping made = os.reserve(3 * mib, alignment);
    ASSERT_NE(made.data, nullptr);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(made.data) % alignment, 0U);
    EXPECT_EQ(os.release(made.data, 3 * mib), 0);
  }
}

TEST(OsMemory, AnswersErrnoWhereTheSystemRefuses) {
  os_memory os;
  const os_memory::mapping made = os.reserve(std::size_t{1} << 60, page_bytes);
  EXPECT_EQ(made.data, nullptr);
  EXPECT_EQ(made.error, ENOMEM);
  EXPECT_NE(os.commit(nullptr, page_bytes), 0);
}

TEST(OsMemory, KnowsNodes) {
  const os_memory os;
  EXPECT_TRUE(os.has_node(0));
  EXPECT_FALSE(os.has_node(254));
  EXPECT_GT(os.physical_bytes(), 64 * mib);
}

}  // namespace
}  // namespace tidepool::cpu
