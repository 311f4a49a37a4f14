// SPDX-License-Identifier: Apache-2.0
//
// flat_index against std::unordered_map, with colliding keys and many deletions.
#include "record/flat_index.hpp"

#include <gtest/gtest.h>

#include <random>
#include <unordered_map>
#include <vector>

namespace tidepool::detail {
namespace {

// The inverse of the finaliser that flat_index hashes with: keys whose hashes are chosen here.
[[nodiscard]] std::uint64_t key_with_hash(std::uint64_t hash) {
  hash ^= hash >> 33;
  hash *= 0x9cb4b2f8129337dbULL;
  hash ^= hash >> 33;
  hash *= 0x4f74430c22a54005ULL;
  hash ^= hash >> 33;
  return hash;
}

void compare_with_map(const std::vector<std::uint64_t>& keys, std::uint64_t seed, int steps) {
  std::mt19937_64 random(seed);
  flat_index tested;
  std::unordered_map<std::uint64_t, flat_index::value> model;
  for (int i = 0; i < steps; ++i) {
    const std::uint64_t key = keys[random() % keys.size()];
    const auto slot = static_cast<std::uint32_t>(random() % 8);
    const auto known = model.find(key);
    switch (random() % 4) {
    case 0:
      ASSERT_TRUE(tested.set(key, slot));
      model[key] = {slot, 0};
      break;
    case 1: {
      const flat_index::insertion done = tested.insert(key, slot, slot + 7);
      ASSERT_TRUE(done.stored);
      ASSERT_EQ(done.added, known == model.end());
      ASSERT_EQ(done.slot, done.added ? slot : known->second.slot);
      model.emplace(key, flat_index::value{slot, slot + 7});
      break;
    }
    default:
      tested.erase(key, slot);  // only if it maps to this slot
      if (known != model.end() && known->second.slot == slot) {
        model.erase(known);
      }
      break;
    }
    ASSERT_EQ(tested.size(), model.size());
    if (i % 64 == 0) {
      std::vector<std::uint64_t> asked{0, 0};
      asked.insert(asked.end(), keys.begin(), keys.end());
      std::vector<flat_index::value> found;
      tested.find_each(asked, [&](std::size_t n, flat_index::value to) {
        ASSERT_EQ(n, found.size());
        found.push_back(to);
      });
      ASSERT_EQ(found.size(), asked.size());
      for (std::size_t n = 0; n < asked.size(); ++n) {
        const auto known_now = model.find(asked[n]);
        const auto expected = known_now == model.end() ? flat_index::value{} : known_now->second;
        ASSERT_EQ(found[n].slot, expected.slot) << asked[n] << " after " << i;
        ASSERT_EQ(found[n].generation, expected.generation) << asked[n] << " after " << i;
      }
      for (const std::uint64_t k : keys) {
        const auto expected = model.find(k);
        const auto one = tested.find(k);
        ASSERT_EQ(one.has_value(), expected != model.end()) << k << " after " << i;
        ASSERT_TRUE(!one || *one == expected->second.slot);
      }
    }
  }
}

TEST(FlatIndex, EqualsAMapWithFewKeys) {
  std::vector<std::uint64_t> keys;
  for (std::uint64_t k = 1; k <= 40; ++k) {
    keys.push_back(k);
  }
  compare_with_map(keys, 1, 30000);
}

TEST(FlatIndex, EqualsAMapWhenAllKeysCollideAtTheEndOfTheTable) {
  // All hashes end in 62 and 63 modulo 64: chains wrap around the end.
  std::vector<std::uint64_t> keys;
  for (std::uint64_t h = 1; h <= 24; ++h) {
    keys.push_back(key_with_hash(h << 20 | (62 + h % 2)));
  }
  for (std::uint64_t h = 1; h <= 6; ++h) {
    keys.push_back(key_with_hash(h << 40 | h % 3));
  }
  compare_with_map(keys, 2, 60000);
}

TEST(FlatIndex, EqualsAMapWithManyKeys) {
  std::mt19937_64 random(3);
  std::vector<std::uint64_t> keys(3000);
  for (std::uint64_t& k : keys) {
    k = random() | 1;
  }
  compare_with_map(keys, 4, 20000);
}

TEST(FlatIndex, AnEmptyOneFindsNothing) {
  flat_index tested;
  EXPECT_FALSE(tested.find(1).has_value());
  EXPECT_FALSE(tested.find(0).has_value());
  tested.erase(1, 0);
  tested.erase(0, 0);
  EXPECT_EQ(tested.size(), 0U);
}

TEST(FlatIndex, TheInverseOfTheHashIsRight) {
  // If this breaks, the collision test above tests nothing.
  for (const std::uint64_t hash :
       {std::uint64_t{1}, std::uint64_t{0x123456789abcdef}, ~std::uint64_t{0}}) {
    EXPECT_EQ(flat_index::mix(key_with_hash(hash)), hash);
  }
}

}  // namespace
}  // namespace tidepool::detail
