// SPDX-License-Identifier: Apache-2.0
//
// The two trees against std::set, and the pool of descriptors below them.
#include "descriptors.hpp"
#include "support.hpp"

#include <gtest/gtest.h>

#include <iterator>
#include <map>
#include <random>
#include <set>
#include <vector>

namespace tidepool::cpu {
namespace {

struct node {
  std::uint32_t left = 0;
  std::uint32_t right = 0;
  std::uint64_t major = 0;
  std::uint64_t minor = 0;
  [[nodiscard]] tree_key key() const noexcept { return {major, minor}; }
};

template <class Tree>
class OrderedTree : public ::testing::Test {};
using trees = ::testing::Types<ordered_tree<node>, binned_tree<node>>;
TYPED_TEST_SUITE(OrderedTree, trees);

TYPED_TEST(OrderedTree, AgreesWithAnOrderedMap) {
  std::mt19937_64 random(3);
  os_memory os;
  descriptor_pool<node> pool(os);
  TypeParam tree;
  std::map<tree_key, std::uint32_t> model;
  for (int i = 0; i != 20000; ++i) {
    // Sizes of all magnitudes, many of them equal.
    const std::uint64_t major = 1 + random() % (std::uint64_t{1} << (1 + random() % 20));
    const tree_key key{major, random() % 64};
    if (random() % 5 < 3 || model.empty()) {
      if (!model.contains(key)) {
        ASSERT_EQ(pool.reserve(1), 0);
        const std::uint32_t made = pool.acquire();
        pool[made].major = key.major;
        pool[made].minor = key.minor;
        tree.insert(pool, made);
        model.emplace(key, made);
      }
    } else {
      auto at = model.lower_bound(key);
      at = at == model.end() ? model.begin() : at;
      tree.erase(pool, at->second);
      pool.release(at->second);
      model.erase(at);
    }
    const auto found = model.lower_bound(key);
    ASSERT_EQ(tree.lower_bound(pool, key), found == model.end() ? 0 : found->second);
    ASSERT_EQ(tree.size(), model.size());
    ASSERT_EQ(tree.last(pool), model.empty() ? 0 : model.rbegin()->second);
    if (found != model.end()) {
      const auto next = std::next(found);
      ASSERT_EQ(tree.next(pool, found->second), next == model.end() ? 0 : next->second);
      ASSERT_EQ(tree.previous(pool, found->second),
                found == model.begin() ? 0 : std::prev(found)->second);
    }
    if (i % 64 == 0) {
      ASSERT_TRUE(tree.check(pool));
    }
  }
  EXPECT_GT(model.size(), 1000U);
}

TEST(OrderedTreeCheck, FindsAMemberOutOfOrder) {
  os_memory os;
  descriptor_pool<node> pool(os);
  ordered_tree<node> tree;
  ASSERT_EQ(pool.reserve(100), 0);
  for (std::uint64_t i = 1; i <= 100; ++i) {
    const std::uint32_t made = pool.acquire();
    pool[made].major = i * 10;
    tree.insert(pool, made);
  }
  ASSERT_TRUE(tree.check(pool));
  pool[50].major = 5;
  EXPECT_FALSE(tree.check(pool));
}

// Expected depth is about 2 ln n; a shape that follows the order of insertion would be a list.
TEST(OrderedTreeCheck, StaysShallowWhenFilledInOrder) {
  os_memory os;
  descriptor_pool<node> pool(os);
  ordered_tree<node> tree;
  constexpr std::uint32_t n = 100000;
  ASSERT_EQ(pool.reserve(n), 0);
  std::vector<std::uint32_t> above(n + 1, 0);
  std::set<std::uint32_t> roots;
  for (std::uint32_t i = 1; i <= n; ++i) {
    const std::uint32_t made = pool.acquire();
    pool[made].major = i;
    tree.insert(pool, made);
  }
  for (std::uint32_t i = 1; i <= n; ++i) {
    above[pool[i].left] = i;
    above[pool[i].right] = i;
  }
  std::size_t deepest = 0;
  for (std::uint32_t i = 1; i <= n; i += 7) {
    std::size_t depth = 0;
    for (std::uint32_t at = i; at != 0; at = above[at]) {
      ASSERT_LT(++depth, 100U);
      above[0] = 0;
    }
    deepest = std::max(deepest, depth);
  }
  EXPECT_GT(deepest, 16U);
}

TEST(DescriptorPool, NumbersAreReusedAndRecordsStayInPlace) {
  os_memory os;
  descriptor_pool<node> pool(os);
  ASSERT_EQ(pool.reserve(5000), 0);
  const std::uint32_t first = pool.acquire();
  node* const place = &pool[first];
  for (int i = 1; i != 5000; ++i) {
    ASSERT_NE(pool.acquire(), 0U);
  }
  EXPECT_EQ(&pool[first], place);
  EXPECT_EQ(pool.used(), 5000U);
  const std::uint64_t calls = os.calls();
  pool.release(17);
  pool.release(4711);
  EXPECT_EQ(pool.used(), 4998U);
  ASSERT_EQ(pool.reserve(2), 0);
  EXPECT_EQ(pool.acquire(), 4711U);
  EXPECT_EQ(pool.acquire(), 17U);
  EXPECT_EQ(pool.bound(), 5001U);
  EXPECT_EQ(os.calls(), calls);
}

TEST(DescriptorPool, ARefusedReservationCanBeRepeated) {
  for (const system_call kind : {system_call::reserve, system_call::commit}) {
    faulty_memory os;
    descriptor_pool<node> pool(os);
    os.refuse_kind = true;
    os.kind = kind;
    EXPECT_EQ(pool.reserve(1), os.error);
    os.refuse_kind = false;
    ASSERT_EQ(pool.reserve(1), 0);
    EXPECT_EQ(pool.acquire(), 1U);
  }
}

}  // namespace
}  // namespace tidepool::cpu
