// SPDX-License-Identifier: Apache-2.0
//
// Size classes against their definition by brute force; the seed system's size categories.
#include <tidepool/size_class.hpp>

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <random>
#include <vector>

namespace tidepool {
namespace {

// Eight sizes per doubling, multiples of 64 only, ascending: the definition in words.
[[nodiscard]] std::vector<std::size_t> sizes_by_definition(std::size_t most) {
  std::vector<std::size_t> sizes;
  for (std::size_t octave = 64; octave <= most; octave *= 2) {
    for (std::size_t m = 8; m < 16; ++m) {
      const std::size_t size = octave / 8 * m;
      if (size % 64 == 0 && (sizes.empty() || size > sizes.back())) {
        sizes.push_back(size);
      }
    }
  }
  return sizes;
}

TEST(SizeClass, IsTheSmallestThatHoldsTheBytesByBruteForce) {
  const std::vector<std::size_t> sizes = sizes_by_definition(std::size_t{8} << 20);
  std::size_t at = 0;
  for (std::size_t bytes = 1; bytes <= std::size_t{4} << 20; ++bytes) {
    while (sizes[at] < bytes) {
      ++at;
    }
    ASSERT_EQ(size_of_class(size_class_of(bytes)), sizes[at]) << bytes;
  }
}

TEST(SizeClass, IsARoundTripForItsOwnSize) {
  for (const std::size_t size : sizes_by_definition(std::size_t{1} << 62)) {
    ASSERT_EQ(size_of_class(size_class_of(size)), size);
    ASSERT_GT(size_class_of(size + 1), size_class_of(size));
    ASSERT_EQ(size_class_of(size), size_class_of(size - 1)) << size;
  }
}

TEST(SizeClass, GrowsWithTheSizeAndWastesAnEighthAtMost) {
  std::mt19937_64 random(1);
  for (int i = 0; i < 200000; ++i) {
    const std::size_t bytes = 1 + (random() >> (random() % 63) >> 1);
    const std::size_t size = size_of_class(size_class_of(bytes));
    ASSERT_GE(size, bytes);
    ASSERT_LE(size - bytes, bytes / 8 + 63) << bytes;
    ASSERT_LE(size_class_of(bytes), size_class_of(bytes + 1 + random() % 1000));
  }
}

TEST(SizeClass, CoversEverySizeUpToTheLast) {
  EXPECT_EQ(size_class_of(1), first_size_class);
  EXPECT_EQ(size_class_of(SIZE_MAX), first_size_class + size_class_count - 1);
  EXPECT_EQ(size_of_class(size_class_of(SIZE_MAX)), SIZE_MAX);
  EXPECT_EQ(size_of_class(last_small_class), largest_small_block);
  EXPECT_EQ(size_class_of(largest_small_block + 1), last_small_class + 1);
  // 0 has a class too, the last: its magazine is never filled.
  EXPECT_EQ(size_class_of(0), first_size_class + size_class_count - 1);
}

TEST(SizeCategory, HasTheSeedSystemsBounds) {
  struct bound {
    std::size_t most;
    size_category below;
    size_category above;
  };
  constexpr std::size_t kib = 1024;
  for (const bound b : {bound{4 * kib, size_category::tiny, size_category::small},
                        bound{64 * kib, size_category::small, size_category::medium},
                        bound{1024 * kib, size_category::medium, size_category::large},
                        bound{16384 * kib, size_category::large, size_category::huge}}) {
    EXPECT_EQ(size_category_of(b.most), b.below);
    EXPECT_EQ(size_category_of(b.most + 1), b.above);
    // A block never leaves the category of its request.
    EXPECT_EQ(size_category_of(size_of_class(size_class_of(b.most))), b.below);
  }
  EXPECT_EQ(size_category_of(0), size_category::tiny);
  EXPECT_EQ(size_category_of(SIZE_MAX), size_category::huge);
}

}  // namespace
}  // namespace tidepool
