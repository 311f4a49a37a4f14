// SPDX-License-Identifier: Apache-2.0
//
// A slot whose generations are used up is never used again, and its block moves to another one. The
// generation is set by hand: nobody waits for 2^31 allocations.
#include "pool/pool_core.hpp"
#include "support.hpp"

#include <gtest/gtest.h>

namespace tidepool::test {
namespace {

using detail::pool_core;

class RetiredSlot : public ::testing::Test {
 protected:
  void SetUp() override {
    std::vector<std::unique_ptr<backend>> backends;
    backends.push_back(small_cpu());
    core = *pool_core::make(std::move(backends), log.options());
  }
  void TearDown() override {
    for (const tensor_id id : made) {
      if (core->directory.read(id)) {
        EXPECT_EQ(detail::deallocate_id(core, id), errc::ok);
      }
    }
    core->drop_handle();
  }

  raw_tensor allocate(std::size_t bytes, const allocation_options& options = {}) {
    const raw_tensor one = detail::allocate(core, bytes, device::cpu(), options);
    made.push_back(one.id);
    return one;
  }
  /// Gives a live plain tensor the last generation; its new id.
  tensor_id age(tensor_id id) {
    const std::uint64_t last = std::uint64_t{0x7fffffff} << 32 | detail::self_of(id.value());
    detail::record& r = core->directory.slots.at(id.value());
    const std::uint64_t header = r.header.load();
    r.header.store(
        detail::is_full(header) ? (std::uint64_t{0x7fffffff} << 32) | (header & 0xffffffff) : last);
    return tensor_id::from_value(last);
  }
  void expect_gone(tensor_id last) {
    EXPECT_EQ(detail::deallocate_id(core, last), errc::stale_id);
    EXPECT_EQ(core->retain(last), errc::stale_id);
    EXPECT_EQ(log.take().size(), 2U);
    EXPECT_FALSE(core->directory.read(last).has_value());
  }

  misuse_log log;
  pool_core* core = nullptr;
  std::vector<tensor_id> made;
};

TEST_F(RetiredSlot, TheBlockOfAWarmSlotMovesToAnother) {
  const raw_tensor a = allocate(64);
  const tensor_id last = age(a.id);
  EXPECT_EQ(detail::deallocate_id(core, last), errc::ok);
  expect_gone(last);
  const raw_tensor b = allocate(64);
  EXPECT_EQ(b.data, a.data);  // the newest block first
  EXPECT_NE(detail::self_of(b.id.value()), detail::self_of(last.value()));
  EXPECT_EQ(core->directory.slots.retired(), 1U);
  EXPECT_EQ(core->statistics().retired_slots, 1U);
  EXPECT_EQ(core->verify(), nullptr);
  expect_gone(last);
  for (int i = 0; i < 200; ++i) {
    const raw_tensor c = allocate(static_cast<std::size_t>(i));
    EXPECT_NE(detail::self_of(c.id.value()), detail::self_of(last.value()));
    if (i % 2 == 0) {
      EXPECT_EQ(detail::deallocate_id(core, c.id), errc::ok);
    }
  }
  EXPECT_EQ(core->verify(), nullptr);
}

TEST_F(RetiredSlot, FindByAddressKnowsTheNewSlotBeforeAndAfterTheIndexWasBuilt) {
  for (int round = 0; round < 2; ++round) {
    const raw_tensor a = allocate(64);
    EXPECT_EQ(detail::deallocate_id(core, age(a.id)), errc::ok);
    const raw_tensor b = allocate(64);
    ASSERT_EQ(b.data, a.data);
    const result<tensor_id> found = core->find(b.data);
    ASSERT_TRUE(found.has_value()) << round;
    EXPECT_EQ(*found, b.id);
  }
}

TEST_F(RetiredSlot, OnEverySlowPathToo) {
  struct path {
    const char* name;
    std::size_t bytes;
    allocation_options options;
  };
  for (const path& one :
       {path{"large", 2 * mib, {}}, path{"empty", 0, {}},
        path{"full form", 100, {.lifecycle = lifecycle::persistent}},
        path{"keyed", 100, {.key = 4}}, path{"aligned", 100, {.alignment = 512}}}) {
    SCOPED_TRACE(one.name);
    const std::size_t before = core->directory.slots.retired();
    const raw_tensor a = allocate(one.bytes, one.options);
    ASSERT_TRUE(a.id);
    const tensor_id last = age(a.id);
    EXPECT_EQ(detail::deallocate_id(core, last), errc::ok);
    expect_gone(last);
    const raw_tensor b = allocate(one.bytes, one.options);
    ASSERT_TRUE(b.id);
    EXPECT_NE(detail::self_of(b.id.value()), detail::self_of(last.value()));
    EXPECT_EQ(detail::deallocate_id(core, b.id), errc::ok);
    core->recall(true);
    EXPECT_EQ(core->directory.slots.retired(), before + 1);
    EXPECT_EQ(core->verify(), nullptr);
  }
}

TEST_F(RetiredSlot, ARecallGivesItsBlockBack) {
  const raw_tensor a = allocate(64);
  EXPECT_EQ(detail::deallocate_id(core, age(a.id)), errc::ok);
  core->recall(true);
  EXPECT_EQ(core->directory.slots.retired(), 1U);
  EXPECT_EQ(core->verify(), nullptr);
  (void)core->trim(*core->lanes.find(device::cpu()), 0);
  EXPECT_EQ(core->statistics().devices[0].reserved_bytes, 0U);
}

}  // namespace
}  // namespace tidepool::test
