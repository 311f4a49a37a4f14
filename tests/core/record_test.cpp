// SPDX-License-Identifier: Apache-2.0
//
// The header word in all its forms, and the tag word.
#include "record/record.hpp"

#include <gtest/gtest.h>

namespace tidepool::detail {
namespace {

constexpr std::uint64_t self = std::uint64_t{12345} << slot_shift | 9;
constexpr std::uint64_t id = std::uint64_t{77} << 32 | self;

TEST(RecordHeader, CompactFormIsTheIdItself) {
  EXPECT_TRUE(is_live(id, id));
  EXPECT_FALSE(is_free(id));
  EXPECT_FALSE(is_full(id));
  EXPECT_EQ(references_of(id), 1U);
  EXPECT_EQ(lifecycle_of(id), lifecycle::temporary);
  EXPECT_EQ(flags_of(id), tensor_flags::none);
  EXPECT_EQ(generation_of(id), 77U);
  EXPECT_EQ(self_of(id), self);
}

TEST(RecordHeader, FullFormCarriesEveryField) {
  for (const std::uint64_t references : {std::uint64_t{1}, std::uint64_t{2}, most_references}) {
    for (unsigned state = 0; state < lifecycle_count; ++state) {
      for (unsigned flags = 0; flags < 256; ++flags) {
        const std::uint64_t header = full_header(id, references, static_cast<lifecycle>(state),
                                                 static_cast<tensor_flags>(flags));
        ASSERT_TRUE(is_full(header));
        ASSERT_FALSE(is_free(header));
        ASSERT_TRUE(is_live(header, id));
        ASSERT_EQ(references_of(header), references);
        ASSERT_EQ(static_cast<unsigned>(lifecycle_of(header)), state);
        ASSERT_EQ(static_cast<unsigned>(flags_of(header)), flags);
        ASSERT_EQ(generation_of(header), 77U);
        ASSERT_NE(header, id);
        const std::uint64_t slots_apart = (header ^ id) >> slot_shift & 1;
        ASSERT_EQ(slots_apart, 1U) << "taken for an id, the header would lead to its own slot";
      }
    }
  }
}

TEST(RecordHeader, FreeingStepsTheGeneration) {
  const std::uint64_t freed = freed_header(id);
  EXPECT_TRUE(is_free(freed));
  EXPECT_FALSE(is_live(freed, id));
  const std::uint64_t next = next_id(freed);
  EXPECT_EQ(generation_of(next), 78U);
  EXPECT_EQ(self_of(next), self);
  EXPECT_TRUE(is_live(next, next));
  EXPECT_FALSE(is_live(next, id));
  EXPECT_FALSE(is_live(full_header(next, 3, lifecycle::inactive, tensor_flags::none), id));
}

TEST(RecordHeader, TheLastGenerationRetiresTheSlotWhichIsThenNotFree) {
  const std::uint64_t last = std::uint64_t{0x7fffffff} << 32 | self;
  const std::uint64_t retired = freed_header(last);
  EXPECT_TRUE(is_retired(retired, self));
  EXPECT_FALSE(is_free(retired));
  EXPECT_FALSE(is_live(retired, std::uint64_t{1} << 32 | self));
}

TEST(RecordTag, RoundTrips) {
  const std::uint64_t tag =
      make_tag(name_id::from_value(0xfffff), static_cast<category>(255), 0xffffff);
  EXPECT_EQ(name_of(tag), name_id::from_value(0xfffff));
  EXPECT_EQ(category_of(tag), static_cast<category>(255));
  EXPECT_EQ(stream_of(tag), 0xffffffU);
  EXPECT_EQ(make_tag({}, category::temporary, 0), 0U);
}

TEST(RecordList, LinksBothWaysByDistance) {
  record records[3] = {};
  set_next(records[1], &records[2]);
  set_next(records[2], &records[0]);
  set_next(records[0], nullptr);
  EXPECT_EQ(next_of(records[1]), &records[2]);
  EXPECT_EQ(next_of(records[2]), &records[0]);
  EXPECT_EQ(next_of(records[0]), nullptr);
}

}  // namespace
}  // namespace tidepool::detail
