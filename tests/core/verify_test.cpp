// SPDX-License-Identifier: Apache-2.0
//
// verify() finds what is broken: fields of records are changed by hand, and set back.
#include "../support/heap_backend.hpp"
#include "pool/pool_core.hpp"
#include "support.hpp"

#include <gtest/gtest.h>

namespace tidepool::test {
namespace {

using detail::cold_record;
using detail::pool_core;
using detail::record;

class Verify : public ::testing::TestWithParam<bool> {  // are threads' caches on?
 protected:
  void SetUp() override {
    std::vector<std::unique_ptr<backend>> backends;
    backends.push_back(std::make_unique<heap_backend>(blocks));
    pool_options options = log.options();
    options.thread_cache_bytes = GetParam() ? options.thread_cache_bytes : 0;
    core = *pool_core::make(std::move(backends), options);
    live = allocate({.key = 7});
    whole = allocate({.lifecycle = lifecycle::persistent});
    part = core->slice(whole, 64, 128)->id;
    std::array<tensor_id, 3> freed;
    for (tensor_id& id : freed) {
      id = allocate({});
    }
    for (const tensor_id id : freed) {
      EXPECT_EQ(detail::deallocate_id(core, id), errc::ok);
    }
    ready = &slot(freed[0]);
    EXPECT_TRUE(core->find(slot(live).data.load()).has_value());  // the index of addresses is on
    EXPECT_STREQ(core->verify(), nullptr);
  }
  void TearDown() override {
    EXPECT_STREQ(core->verify(), nullptr) << "set back";
    for (const tensor_id id : {live, part, whole}) {
      EXPECT_EQ(detail::deallocate_id(core, id), errc::ok);
    }
    EXPECT_TRUE(log.take().empty());
    core->drop_handle();
  }

  tensor_id allocate(const allocation_options& options) {
    return detail::allocate(core, 1000, device::cpu(), options).id;
  }
  [[nodiscard]] record& slot(tensor_id id) const { return core->directory.slots.at(id.value()); }
  [[nodiscard]] cold_record& cold(tensor_id id) const {
    return core->directory.slots.cold(slot(id));
  }

  template <class T>
  void expect(const char* broken, std::atomic<T>& field, std::type_identity_t<T> value) {
    const T before = field.exchange(value);
    EXPECT_STREQ(core->verify(), broken);
    field.store(before);
  }

  heap_log blocks;
  misuse_log log;
  pool_core* core = nullptr;
  tensor_id live;
  tensor_id whole;
  tensor_id part;
  record* ready = nullptr;
};

TEST_P(Verify, SlotsThatAreReady) {
  expect("a ready slot is free", ready->header, slot(live).header.load());
  const std::uint16_t size_class = ready->size_class.load();
  expect("a ready slot is kept under its own class and lane", ready->size_class,
         static_cast<std::uint16_t>(size_class + 1));
  expect("a ready slot is kept under its own class and lane", ready->lane, std::uint16_t{1});
  expect("a ready slot has a block of its class", ready->data, nullptr);
}

TEST_P(Verify, SlotsThatAreLive) {
  expect("a bound slot is live or in a list", slot(live).header,
         detail::freed_header(live.value()));
  expect("tensors without a block == live slots without a block", slot(live).size_class, {});
  expect("a tensor's bytes <= its block's", slot(live).bytes, 1 << 20);
  expect("a tensor's pins and slices <= its references", cold(whole).holds, 3);
  expect("a tensor's pins and slices <= its references", cold(whole).holds, 3 << 16);
}

TEST_P(Verify, Indexes) {
  expect("a key leads to its tensor", cold(live).key, 8);
  const std::uint64_t full = slot(live).header.load();
  expect("keys == tensors that have one", slot(live).header,
         full & ~detail::bits_of(tensor_flags::keyed));
  const char* const unknown = "the index of addresses knows every block and what is adopted";
  expect(unknown, slot(live).data, slot(whole).data.load());
  int foreign = 0;
  const result<raw_tensor> adopted = core->adopt(&foreign, sizeof foreign, device::cpu(), {});
  ASSERT_TRUE(adopted.has_value());
  EXPECT_STREQ(core->verify(), nullptr);
  expect(unknown, slot(adopted->id).data, &foreign + 1);
  // One that is not adopted has no entry.
  const std::uint64_t header = slot(adopted->id).header.load();
  expect("addresses in the index == blocks and adopted memory", slot(adopted->id).header,
         header & ~detail::bits_of(tensor_flags::adopted));
  EXPECT_EQ(detail::deallocate_id(core, adopted->id), errc::ok);
}

TEST_P(Verify, Slices) {
  expect("a slice's parent is alive", cold(part).parent, whole.value() + (std::uint64_t{1} << 32));
}

// Only lists are linked; a thread's cache is an array.
TEST_P(Verify, Links) {
  if (GetParam()) {
    std::atomic<std::int32_t>& unused = ready->next;
    const std::int32_t before = unused.exchange(1);
    EXPECT_STREQ(core->verify(), nullptr);
    unused.store(before);
    return;
  }
  // The first one freed is the list's last.
  expect("a ready list's count and bytes == sum over its records",
         core->directory.slots.by_index(core->directory.slots.index_of(*ready) + 1).next, 0);
}

INSTANTIATE_TEST_SUITE_P(Caches, Verify, ::testing::Bool(),
                         [](const auto& with) { return with.param ? "on" : "off"; });

}  // namespace
}  // namespace tidepool::test
