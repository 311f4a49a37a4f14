// SPDX-License-Identifier: Apache-2.0
//
// directory by itself: records that are read and changed, and keys. The test makes and ends the
// tensors, as the steps of a pool do.
#include "pool/directory.hpp"

#include "../support/heap_backend.hpp"

#include <gtest/gtest.h>

#include <memory>
#include <span>
#include <vector>

namespace tidepool::detail {
namespace {

class Directory : public ::testing::Test {
 protected:
  void SetUp() override {
    std::vector<std::unique_ptr<backend>> one;
    one.push_back(std::make_unique<test::heap_backend>(log, device::cuda(0), 64, true));
    ASSERT_TRUE(where.add(std::move(one), {}).ok());
    ASSERT_TRUE(known.slots.open(256, 7, 1));
  }
  /// A free slot, and the id of its next tensor.
  [[nodiscard]] record& take_slot() {
    record* slot = nullptr;
    EXPECT_EQ(known.slots.acquire(std::span(&slot, 1)), 1U);
    return *slot;
  }
  [[nodiscard]] static std::uint64_t id_of_next(const record& slot) {
    return next_id(slot.header.load());
  }
  tensor_id begin(record& slot, std::uint64_t header_bits = 0) {
    const std::uint64_t id = id_of_next(slot);
    slot.data = storage;
    slot.bytes = 100;
    slot.capacity = 128;
    slot.tag = make_tag(name_id::from_value(3), category::weight, 0);
    slot.header = header_bits == 0 ? id : header_bits;
    return tensor_id::from_value(id);
  }
  static void end(record& slot, tensor_id id) { slot.header = freed_header(id.value()); }

  test::heap_log log;
  lanes where{4};
  directory known{where};
  char storage[128] = {};
};

TEST_F(Directory, ReadsWhatIsAlive) {
  record& slot = take_slot();
  const tensor_id id = begin(slot);
  const std::optional<tensor_info> info = known.read(id);
  ASSERT_TRUE(info.has_value());
  EXPECT_EQ(info->id, id);
  EXPECT_EQ(info->data, storage);
  EXPECT_EQ(info->bytes, 100U);
  EXPECT_EQ(info->capacity, 128U);
  EXPECT_EQ(info->category, category::weight);
  EXPECT_EQ(info->name.value(), 3U);
  EXPECT_EQ(info->where, device::cuda(0));
  EXPECT_EQ(info->references, 1U);
  int seen = 0;
  known.for_each_tensor([&](const tensor_info& one) { seen += one.id == id ? 1 : 100; });
  EXPECT_EQ(seen, 1);
  end(slot, id);
  EXPECT_FALSE(known.read(id).has_value());
  EXPECT_FALSE(known.read({}).has_value());
  known.for_each_tensor([&](const tensor_info&) { ++seen; });
  EXPECT_EQ(seen, 1);
}

TEST_F(Directory, KnowsWhichIdsItCouldHaveMade) {
  record& slot = take_slot();
  const tensor_id id = begin(slot);
  EXPECT_TRUE(known.is_ours(id));
  end(slot, id);
  EXPECT_TRUE(known.is_ours(id)) << "it did once";
  EXPECT_FALSE(known.is_ours(tensor_id::from_value(id.value() ^ 1))) << "another pool's tag";
  EXPECT_FALSE(known.is_ours(tensor_id::from_value(id.value() | full_bit)));
  EXPECT_FALSE(known.is_ours(tensor_id::from_value(id.value() | free_bit)));
  const std::uint64_t beyond = std::uint64_t{known.slots.made()} << slot_shift;
  EXPECT_FALSE(known.is_ours(tensor_id::from_value(id.value() + beyond)));
}

TEST_F(Directory, ChangesHeadersAndTagsOfTheLiving) {
  record& slot = take_slot();
  const tensor_id id = begin(slot);
  EXPECT_EQ(known.change_header(id,
                                [](std::uint64_t& header) {
                                  header |= bits_of(tensor_flags::tracked);
                                  return errc::ok;
                                }),
            errc::ok);
  EXPECT_EQ(flags_of(slot.header.load()), tensor_flags::tracked);
  EXPECT_TRUE(known.slots.is_live(slot, slot.header.load(), id.value()));
  const std::uint64_t before = slot.header.load();
  EXPECT_EQ(known.change_header(id,
                                [](std::uint64_t& header) {
                                  header = 0;
                                  return errc::too_many;
                                }),
            errc::too_many);
  EXPECT_EQ(slot.header.load(), before) << "a refused change changes nothing";
  EXPECT_TRUE(known.change_tag(id, 0xffffffff, 9));
  EXPECT_EQ(name_of(slot.tag.load()).value(), 9U);
  EXPECT_EQ(category_of(slot.tag.load()), category::weight);
  end(slot, id);
  EXPECT_EQ(known.change_header(id, [](std::uint64_t&) { return errc::ok; }), errc::stale_id);
  EXPECT_FALSE(known.change_tag(id, 0xffffffff, 1));
  EXPECT_EQ(name_of(slot.tag.load()).value(), 9U);
}

TEST_F(Directory, AKeyIsTakenFromBeforeItsTensorIsAliveUntilItIsReleased) {
  record& slot = take_slot();
  ASSERT_TRUE(known.claim_key(42, slot).ok());
  EXPECT_EQ(known.find(42).error().code, errc::not_found) << "its tensor is not alive yet";
  record& other = take_slot();
  EXPECT_EQ(known.claim_key(42, other).code, errc::key_in_use);
  const tensor_id id =
      begin(slot, full_header(id_of_next(slot), 1, lifecycle::temporary, tensor_flags::keyed));
  ASSERT_TRUE(known.find(42).has_value());
  EXPECT_EQ(*known.find(42), id);
  end(slot, id);
  EXPECT_EQ(known.find(42).error().code, errc::not_found);
  known.release_key(slot);
  EXPECT_TRUE(known.claim_key(42, other).ok());
  EXPECT_EQ(known.keys.size(), 1U);
  EXPECT_TRUE(known.claim_key(0, slot).ok());
  EXPECT_EQ(known.keys.size(), 1U) << "key 0 is none";
}

}  // namespace
}  // namespace tidepool::detail
