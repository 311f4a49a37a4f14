// SPDX-License-Identifier: Apache-2.0
//
// What may be asked for: sizes, alignments, devices, options; what is answered when it cannot be.
#include "../support/heap_backend.hpp"
#include "support.hpp"

#include <gtest/gtest.h>

#include <set>

namespace tidepool::test {
namespace {

TEST(PoolAllocate, ZeroBytesIsATensorWithNullData) {
  pool p(small_cpu());
  const std::size_t reserved = p.control().statistics().devices[0].reserved_bytes;
  tensor a = p.allocate(0);
  const tensor b = p.allocate(0, {}, {.category = category::weight, .key = 5});
  EXPECT_TRUE(a);
  EXPECT_EQ(a.data(), nullptr);
  EXPECT_EQ(a.bytes(), 0U);
  EXPECT_NE(a.id(), b.id());
  EXPECT_EQ(*p.find(std::uint64_t{5}), b.id());
  EXPECT_EQ(p.info(a.id())->bytes, 0U);
  EXPECT_EQ(p.control().statistics().total.live, 2U);
  EXPECT_EQ(p.control().statistics().devices[0].reserved_bytes, reserved);
  const tensor_id id = a.id();
  a.reset();
  EXPECT_FALSE(p.info(id).has_value());
  EXPECT_EQ(p.control().verify(), nullptr);
}

TEST(PoolAllocate, AbsurdSizesAreOutOfMemoryAndChangeNothing) {
  pool p(small_cpu());
  const tensor one = p.allocate(100);
  const statistics before = p.control().statistics();
  std::uint64_t failures = before.failures;
  for (const std::size_t bytes :
       {SIZE_MAX, SIZE_MAX - 1, SIZE_MAX - 62, SIZE_MAX - 63, SIZE_MAX - 64, SIZE_MAX - 4095,
        SIZE_MAX / 2, SIZE_MAX / 2 + 1, std::size_t{1} << 48, std::size_t{1} << 47,
        (std::size_t{1} << 47) - 1}) {
    for (const std::size_t alignment : {std::size_t{0}, std::size_t{4096}, std::size_t{1} << 30}) {
      const result<tensor> made = p.try_allocate(bytes, {}, {.alignment = alignment});
      ASSERT_EQ(made.error().code, errc::out_of_memory) << bytes << " at " << alignment;
      EXPECT_EQ(made.error().requested, bytes);
      ++failures;
    }
    EXPECT_THROW((void)p.allocate(bytes), out_of_memory);
    ++failures;
  }
  EXPECT_EQ(p.control().statistics().failures, failures);
  EXPECT_EQ(p.control().statistics().total.live, 1U);
  EXPECT_EQ(p.control().verify(), nullptr);
}

TEST(PoolAllocate, AlignmentsThatCannotBeAreRefused) {
  pool p(small_cpu());
  for (const std::size_t alignment :
       {std::size_t{3}, std::size_t{65}, std::size_t{96}, std::size_t{4097},
        (std::size_t{1} << 30) + 1, std::size_t{1} << 31, std::size_t{1} << 63, SIZE_MAX}) {
    for (const std::size_t bytes : {std::size_t{0}, std::size_t{100}, SIZE_MAX}) {
      EXPECT_EQ(p.try_allocate(bytes, {}, {.alignment = alignment}).error().code,
                errc::invalid_argument)
          << alignment;
    }
  }
  EXPECT_THROW((void)p.allocate(1, {}, {.alignment = 3}), error);
}

TEST(PoolAllocate, EveryAlignmentIsKeptForEverySize) {
  pool p(small_cpu());
  std::vector<tensor> held;
  for (int round = 0; round < 2; ++round) {  // the second time from what the first left
    for (std::size_t alignment = 1; alignment <= 2 * mib; alignment *= 2) {
      for (const std::size_t bytes :
           {std::size_t{1}, std::size_t{63}, std::size_t{64}, std::size_t{65}, std::size_t{1000},
            4 * kib, 5 * kib, 64 * kib + 1, 300 * kib, mib, mib + 1, 3 * mib}) {
        held.push_back(p.allocate(bytes, {}, {.alignment = alignment}));
        ASSERT_TRUE(is_aligned(held.back().data(), std::max<std::size_t>(alignment, 64)))
            << bytes << " at " << alignment;
        std::memset(held.back().data(), static_cast<int>(held.size() & 0x7f), bytes);
        // Another one, so that free blocks are anywhere.
        held.push_back(p.allocate(bytes + 64));
        std::memset(held.back().data(), static_cast<int>(held.size() & 0x7f), bytes + 64);
      }
    }
    for (std::size_t i = 0; i < held.size(); ++i) {
      const auto* const data = static_cast<const unsigned char*>(held[i].data());
      ASSERT_EQ(data[0], (i + 1) & 0x7f);
      ASSERT_EQ(data[held[i].bytes() - 1], (i + 1) & 0x7f);
    }
    ASSERT_EQ(p.control().verify(), nullptr);
    held.clear();
  }
}

TEST(PoolAllocate, ThePoolsMinimumAlignmentHolds) {
  for (const std::size_t minimum : {std::size_t{1}, std::size_t{256}, 4 * kib, 2 * mib}) {
    pool p(small_cpu(), {.minimum_alignment = minimum});
    std::vector<tensor> held;
    for (std::size_t bytes = 1; bytes < 3 * mib; bytes = bytes * 2 + 17) {
      held.push_back(p.allocate(bytes));
      ASSERT_TRUE(is_aligned(held.back().data(), std::max<std::size_t>(minimum, 64))) << bytes;
    }
    held.clear();
    for (std::size_t bytes = 1; bytes < 3 * mib; bytes = bytes * 2 + 17) {
      held.push_back(p.allocate(bytes));  // warm now
      ASSERT_TRUE(is_aligned(held.back().data(), std::max<std::size_t>(minimum, 64))) << bytes;
    }
  }
  for (const std::size_t minimum : {std::size_t{3}, std::size_t{1} << 31}) {
    EXPECT_THROW(pool(small_cpu(), {.minimum_alignment = minimum}), error);
  }
}

TEST(PoolAllocate, UnknownThingsAreRefused) {
  pool p(small_cpu());
  const statistics before = p.control().statistics();
  const auto code = [&](const allocation_options& options, device where = {}) {
    const errc with_bytes = p.try_allocate(100, where, options).error().code;
    EXPECT_EQ(p.try_allocate(0, where, options).error().code, with_bytes);
    EXPECT_EQ(p.allocate_raw(3 * mib, where, options).error().code, with_bytes);
    return with_bytes;
  };
  EXPECT_EQ(code({}, device::cuda(0)), errc::unknown_device);
  EXPECT_EQ(code({}, device::cpu(0)), errc::unknown_device);
  EXPECT_EQ(code({.category = static_cast<category>(16)}), errc::invalid_argument);
  EXPECT_EQ(code({.category = static_cast<category>(255)}), errc::invalid_argument);
  EXPECT_EQ(code({.name = name_id::from_value(1)}), errc::invalid_argument);
  EXPECT_EQ(code({.name = name_id::from_value(UINT32_MAX)}), errc::invalid_argument);
  EXPECT_EQ(code({.lifecycle = static_cast<lifecycle>(5)}), errc::invalid_argument);
  EXPECT_EQ(code({.lifecycle = static_cast<lifecycle>(254)}), errc::invalid_argument);
  EXPECT_THROW((void)p.allocate(1, device::cuda(0)), error);
  EXPECT_EQ(p.control().statistics().failures, before.failures + 25);
  EXPECT_EQ(p.control().statistics().total.allocations, 0U);
  EXPECT_EQ(p.control().verify(), nullptr);
}

TEST(PoolAllocate, OptionsArriveInTheRecord) {
  pool p(small_cpu());
  const name_id name = p.intern("layer.0");
  const category mine = p.register_category("scratchpad", 7);
  EXPECT_EQ(p.category_name(mine), "scratchpad");
  EXPECT_EQ(p.eviction_priority(mine), 7U);
  const tensor a = p.allocate(1000, {}, {.category = mine, .name = name, .key = 99});
  const tensor_info info = *p.info(a.id());
  EXPECT_EQ(info.id, a.id());
  EXPECT_EQ(info.data, a.data());
  EXPECT_EQ(info.bytes, 1000U);
  EXPECT_EQ(info.capacity, 1024U);
  EXPECT_EQ(info.category, mine);
  EXPECT_EQ(info.name, name);
  EXPECT_EQ(info.key, 99U);
  EXPECT_EQ(info.flags, tensor_flags::keyed);
  EXPECT_EQ(info.references, 1U);
  EXPECT_EQ(info.lifecycle, lifecycle::temporary);
  const tensor w = p.allocate(8, {}, {.category = category::weight, .tracked = true});
  EXPECT_EQ(p.info(w.id())->lifecycle, lifecycle::persistent);
  EXPECT_EQ(p.info(w.id())->flags, tensor_flags::tracked);
  tensor m = p.allocate(8, {}, {.lifecycle = lifecycle::inactive, .movable = true});
  EXPECT_EQ(p.info(m.id())->lifecycle, lifecycle::inactive);
  EXPECT_EQ(m.data(), p.info(m.id())->data);
  for (int warm = 0; warm < 3; ++warm) {  // the tag must not stay in the slot
    const tensor named = p.allocate(64, {}, {.category = category::input, .name = name});
    EXPECT_EQ(p.info(named.id())->name, name);
    EXPECT_EQ(p.info(named.id())->category, category::input);
    const tensor_id id = named.id();
    (void)p.deallocate(const_cast<tensor&>(named).release());
    const tensor plain = p.allocate(64);
    EXPECT_NE(plain.id(), id);
    EXPECT_EQ(p.info(plain.id())->name, name_id{});
    EXPECT_EQ(p.info(plain.id())->category, category::temporary);
  }
}

TEST(PoolAllocate, PlacementPolicyChoosesForAutomatic) {
  heap_log log;
  std::vector<std::unique_ptr<backend>> backends;
  backends.push_back(small_cpu());
  backends.push_back(std::make_unique<heap_backend>(log, device::user(1)));
  pool_options options;
  options.placement = [](std::size_t bytes, const allocation_options&, void*) {
    return bytes > 1000 ? device::user(1) : device::cpu();
  };
  pool p(std::move(backends), options);
  EXPECT_EQ(p.allocate(10, placement::automatic).where(), device::cpu());
  const tensor far = p.allocate(5000, placement::automatic);
  EXPECT_EQ(far.where(), device::user(1));
  EXPECT_EQ(p.control().statistics().devices[1].total.live, 1U);
  EXPECT_EQ(p.devices().size(), 2U);
}

TEST(PoolAllocate, APoolNeedsSensibleBackendsAndOptions) {
  const auto code = [](std::vector<std::unique_ptr<backend>> backends,
                       const pool_options& options = {}) {
    return pool::try_create(std::move(backends), options).error().code;
  };
  EXPECT_EQ(code({}), errc::invalid_argument);
  std::vector<std::unique_ptr<backend>> with_null;
  with_null.push_back(nullptr);
  EXPECT_EQ(code(std::move(with_null)), errc::invalid_argument);
  std::vector<std::unique_ptr<backend>> twice;
  twice.push_back(small_cpu());
  twice.push_back(small_cpu());
  EXPECT_EQ(code(std::move(twice)), errc::invalid_argument);
  const auto with = [&](const pool_options& options) {
    std::vector<std::unique_ptr<backend>> one;
    one.push_back(small_cpu());
    return code(std::move(one), options);
  };
  EXPECT_EQ(with({.max_tensors = 0}), errc::invalid_argument);
  EXPECT_EQ(with({.max_tensors = (std::size_t{1} << 25) + 1}), errc::invalid_argument);
  EXPECT_EQ(with({.max_cached_lanes = 4097}), errc::invalid_argument);
  EXPECT_EQ(with({.max_cached_lanes = 0}), errc::ok);
  EXPECT_THROW(pool(std::unique_ptr<backend>{}), error);
}

TEST(PoolAllocateN, IsAllOrNothing) {
  heap_log log;
  pool p(std::make_unique<heap_backend>(log), {.thread_cache_bytes = 0});
  std::array<raw_tensor, 10> made;
  EXPECT_EQ(p.allocate_n(100, made), errc::ok);
  std::set<void*> distinct;
  std::array<tensor_id, 10> ids;
  for (std::size_t i = 0; i < made.size(); ++i) {
    distinct.insert(made[i].data);
    ids[i] = made[i].id;
  }
  EXPECT_EQ(distinct.size(), made.size());
  EXPECT_EQ(p.deallocate_n(ids), errc::ok);
  EXPECT_EQ(p.deallocate_n(ids), errc::stale_id);
  for (std::int64_t left = 0; left < 10; ++left) {
    (void)p.control().trim();
    log.left = left;
    std::array<raw_tensor, 10> wanted;
    wanted.fill({&log, tensor_id::from_value(1)});
    EXPECT_EQ(p.allocate_n(100, wanted), errc::out_of_memory) << left;
    for (const raw_tensor& one : std::span(wanted).first(static_cast<std::size_t>(left) + 1)) {
      EXPECT_EQ(one.data, nullptr);
      EXPECT_FALSE(one.id);
    }
    EXPECT_EQ(p.control().statistics().total.live, 0U);
  }
  EXPECT_EQ(p.allocate_n(100, made, {}, {.key = 3}), errc::invalid_argument);
  EXPECT_EQ(p.allocate_n(100, {}), errc::ok);
  EXPECT_EQ(p.control().verify(), nullptr);
}

TEST(PoolKeys, FindTheLiveTensorOnly) {
  pool p(small_cpu());
  tensor a = p.allocate(100, {}, {.key = 7});
  EXPECT_EQ(*p.find(std::uint64_t{7}), a.id());
  EXPECT_EQ(p.find(std::uint64_t{8}).error().code, errc::not_found);
  EXPECT_EQ(p.find(std::uint64_t{0}).error().code, errc::not_found);
  const statistics before = p.control().statistics();
  for (const std::size_t bytes : {std::size_t{0}, std::size_t{100}, 3 * mib}) {
    EXPECT_EQ(p.try_allocate(bytes, {}, {.key = 7}).error().code, errc::key_in_use);
  }
  int byte = 0;
  EXPECT_EQ(p.try_adopt(&byte, 1, {}, {.key = 7}).error().code, errc::key_in_use);
  EXPECT_EQ(p.control().statistics().total.live, before.total.live);
  EXPECT_EQ(*p.find(std::uint64_t{7}), a.id());
  a.reset();
  EXPECT_EQ(p.find(std::uint64_t{7}).error().code, errc::not_found);
  const tensor again = p.allocate(0, {}, {.key = 7});
  EXPECT_EQ(*p.find(std::uint64_t{7}), again.id());
  const tensor most = p.allocate(1, {}, {.key = UINT64_MAX});
  EXPECT_EQ(*p.find(UINT64_MAX), most.id());
  EXPECT_EQ(p.control().verify(), nullptr);
}

TEST(PoolFind, KnowsEveryBlockBeforeAndAfterTheFirstCall) {
  pool p(small_cpu());
  std::vector<tensor> before;
  for (std::size_t bytes : {std::size_t{1}, std::size_t{5000}, 2 * mib}) {
    before.push_back(p.allocate(bytes));
  }
  void* const freed = before[0].data();
  before[0].reset();
  EXPECT_EQ(p.find(freed).error().code, errc::not_found);
  for (std::size_t i = 1; i < before.size(); ++i) {
    EXPECT_EQ(*p.find(before[i].data()), before[i].id());
    EXPECT_EQ(p.find(static_cast<std::byte*>(before[i].data()) + 1).error().code, errc::not_found);
  }
  std::vector<tensor> after;
  for (std::size_t bytes : {std::size_t{1}, std::size_t{70000}, 5 * mib, std::size_t{4096}}) {
    after.push_back(p.allocate(bytes, {}, {.category = category::weight}));
    EXPECT_EQ(*p.find(after.back().data()), after.back().id());
  }
  std::vector<void*> gone;
  for (tensor& t : after) {
    gone.push_back(t.data());
    t.reset();
  }
  before.clear();
  (void)p.control().trim();
  for (const void* data : gone) {
    EXPECT_EQ(p.find(data).error().code, errc::not_found);
  }
  EXPECT_EQ(p.find(nullptr).error().code, errc::not_found);
  EXPECT_EQ(p.find(&p).error().code, errc::not_found);
}

TEST(PoolSlots, WhenAllAreInUseItSaysTooManyAndRecovers) {
  pool p(small_cpu(), {.max_tensors = 4096});
  std::vector<tensor> held;
  for (;;) {
    result<tensor> made = p.try_allocate(held.size() % 3 == 0 ? 0 : 64);
    if (!made) {
      EXPECT_EQ(made.error().code, errc::too_many);
      break;
    }
    held.push_back(std::move(*made));
  }
  EXPECT_EQ(held.size(), 4096U);
  EXPECT_EQ(p.slice(held[1], 0, 1).error().code, errc::too_many);
  int byte = 0;
  EXPECT_EQ(p.try_adopt(&byte, 1).error().code, errc::too_many);
  EXPECT_EQ(p.control().verify(), nullptr);
  for (int i = 0; i < 100; ++i) {
    held.pop_back();
    // Ready slots of other sizes give theirs up.
    result<tensor> made = p.try_allocate(static_cast<std::size_t>(i) * 1000);
    ASSERT_TRUE(made.has_value()) << i;
    held.push_back(std::move(*made));
  }
  held.clear();
  EXPECT_EQ(p.control().statistics().total.live, 0U);
  EXPECT_EQ(p.control().verify(), nullptr);
}

}  // namespace
}  // namespace tidepool::test
