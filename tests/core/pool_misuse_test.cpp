// SPDX-License-Identifier: Apache-2.0
//
// Double, stale, foreign and forged ids in every function that takes one: reported exactly once,
// with the right kind, and nothing changed.
#include "record/record.hpp"
#include "support.hpp"

#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <thread>

namespace tidepool::test {
namespace {

class PoolMisuse : public ::testing::Test {
 protected:
  /// Runs f, which must misuse `id` once and answer an error, and compares everything else.
  void expect_one(misuse_kind kind, tensor_id id, const std::function<errc()>& f) {
    const statistics before = p.control().statistics();
    EXPECT_NE(f(), errc::ok);
    EXPECT_TRUE(log.one(kind, id));
    const statistics after = p.control().statistics();
    expect_unchanged(before, after);
    EXPECT_EQ(after.misuses, before.misuses + 1);
    EXPECT_EQ(after.misuses_by_kind[static_cast<unsigned>(kind)],
              before.misuses_by_kind[static_cast<unsigned>(kind)] + 1);
    EXPECT_EQ(p.control().verify(), nullptr);
  }
  void everything_but_free(misuse_kind kind, tensor_id id) {
    SCOPED_TRACE("everything that takes an id");
    expect_one(kind, id, [&] { return p.retain(id); });
    expect_one(kind, id, [&] { return p.pin(id).error().code; });
    expect_one(kind, id, [&] { return p.unpin(id); });
    expect_one(kind, id, [&] { return p.set_lifecycle(id, lifecycle::inactive); });
    expect_one(kind, id, [&] { return p.set_category(id, category::weight); });
    expect_one(kind, id, [&] { return p.set_name(id, {}); });
    EXPECT_EQ(p.info(id).error().code, errc::stale_id);  // a question, no misuse
    EXPECT_TRUE(log.take().empty());
  }
  void free_in_all_ways(misuse_kind kind, tensor_id id) {
    SCOPED_TRACE("all ways to free");
    expect_one(kind, id, [&] { return p.deallocate(id); });
    expect_one(kind, id, [&] { return p.release(id); });
    expect_one(kind, id, [&] { return p.deallocate(id, stream_ref{.number = 3}); });
    expect_one(kind, id, [&] {
      return p.deallocate(id, stream_ref{.handle = this, .kind = stream_kind::ordinary});
    });
    expect_one(kind, id, [&] { return p.deallocate_n(std::span(&id, 1)); });
    expect_one(kind, id, [&] {
      errc code = errc::ok;
      std::thread([&] { code = p.deallocate(id); }).join();
      return code;
    });
  }

  misuse_log log;
  pool p{small_cpu(), log.options()};
};

TEST_F(PoolMisuse, OfFreedTensorsOfEveryKind) {
  int byte = 0;
  const std::vector<std::function<tensor()>> makers{
      [&] { return p.allocate(100); },
      [&] { return p.allocate(2 * mib); },
      [&] { return p.allocate(100, {}, {.category = category::weight}); },
      [&] { return p.allocate(100, {}, {.key = 3}); },
      [&] { return p.allocate(0); },
      [&] { return p.adopt(&byte, 1); },
      [&] {
        const tensor whole = p.allocate(100);
        return std::move(*p.slice(whole, 10, 10));
      },
      [&] { return p.allocate(100, {}, {.movable = true}); },
  };
  const tensor other = p.allocate(100);
  for (std::size_t kind = 0; kind < makers.size(); ++kind) {
    SCOPED_TRACE("maker " + std::to_string(kind));
    const tensor_id id = makers[kind]().release();
    EXPECT_EQ(p.deallocate(id), errc::ok);
    free_in_all_ways(misuse_kind::stale_free, id);
    everything_but_free(misuse_kind::stale_use, id);
    // The slot is used again: the old id still means nothing.
    const tensor again = makers[kind]();
    EXPECT_NE(again.id(), id);
    free_in_all_ways(misuse_kind::stale_free, id);
    everything_but_free(misuse_kind::stale_use, id);
  }
}

TEST_F(PoolMisuse, AStaleIdIsRefusedForAllLaterTensorsOfItsSlot) {
  std::vector<tensor_id> old;
  for (int i = 0; i < 50; ++i) {
    const tensor_id id = p.allocate(64).release();
    for (const tensor_id stale : old) {
      ASSERT_EQ(p.deallocate(stale), errc::stale_id);
    }
    ASSERT_TRUE(p.info(id).has_value());
    ASSERT_EQ(p.deallocate(id), errc::ok);
    old.push_back(id);
  }
  EXPECT_EQ(log.take().size(), 50U * 49 / 2);
}

TEST_F(PoolMisuse, OfIdsThatWereNeverMade) {
  const tensor a = p.allocate(100);
  const tensor w = p.allocate(100, {}, {.category = category::weight});
  const std::uint64_t value = a.id().value();
  for (const std::uint64_t forged :
       {value ^ 1, value ^ 63, value | std::uint64_t{1} << 63, value ^ std::uint64_t{1} << 31,
        value + (std::uint64_t{1000000} << 6), ~std::uint64_t{0}, std::uint64_t{1} << 63,
        w.id().value() ^ 2, w.id().value() | std::uint64_t{1} << 31}) {
    SCOPED_TRACE(forged);
    const tensor_id id = tensor_id::from_value(forged);
    free_in_all_ways(misuse_kind::foreign_id, id);
    everything_but_free(misuse_kind::foreign_id, id);
  }
  // Another generation of a slot that exists: as good as stale.
  for (const std::uint64_t forged :
       {value + (std::uint64_t{1} << 32), value - (std::uint64_t{1} << 32), value & 0xffffffff,
        std::uint64_t{1}}) {
    SCOPED_TRACE(forged);
    const tensor_id id = tensor_id::from_value(forged);
    free_in_all_ways(misuse_kind::stale_free, id);
    everything_but_free(misuse_kind::stale_use, id);
  }
  EXPECT_TRUE(p.info(a.id()).has_value());
}

// The warm path compares an id with one header: that of the slot the id's bits lead to.
TEST_F(PoolMisuse, OfIdsThatLookLikeTheHeadersOfLiveTensors) {
  std::vector<tensor> live;
  for (int i = 0; i < 1500; ++i) {
    live.push_back(p.allocate(64, {}, {.lifecycle = lifecycle::persistent}));
  }
  const statistics before = p.control().statistics();
  const std::uint64_t generation = live.front().id().value() >> 32;
  std::size_t reported = 0;
  for (unsigned low = 0; low < 1 << 16; ++low) {
    const std::uint64_t forged = generation << 32 | detail::full_bit | detail::reference_step | low;
    ASSERT_EQ(p.deallocate(tensor_id::from_value(forged)), errc::stale_id);
    ++reported;
  }
  EXPECT_EQ(log.take().size(), reported);
  EXPECT_EQ(p.control().statistics().total.live, before.total.live);
  for (const tensor& held : live) {
    ASSERT_EQ(held.id().value() >> 32, generation) << "the slots are new: one generation is enough";
    ASSERT_TRUE(p.info(held.id()).has_value());
  }
}

TEST_F(PoolMisuse, TheEmptyIdIsIgnoredByFreesAndNamesNothing) {
  EXPECT_EQ(p.deallocate(tensor_id{}), errc::ok);  // before anything was allocated
  const tensor a = p.allocate(100);
  const statistics before = p.control().statistics();
  EXPECT_EQ(p.deallocate(tensor_id{}), errc::ok);
  EXPECT_EQ(p.deallocate(tensor_id{}, stream_ref{.handle = &log}), errc::ok);
  const std::array<tensor_id, 3> none{};
  EXPECT_EQ(p.deallocate_n(none), errc::ok);
  EXPECT_TRUE(log.take().empty());
  expect_unchanged(before, p.control().statistics());
  everything_but_free(misuse_kind::foreign_id, {});
}

// Slot 0, to which the empty id leads, is not made yet; but the thread has a cache.
TEST_F(PoolMisuse, TheEmptyIdIsIgnoredByAPoolThatMadeNothing) {
  EXPECT_EQ(p.allocate_raw(64, device::cpu(), {.alignment = 3}).error().code,
            errc::invalid_argument);
  for (int i = 0; i < 100; ++i) {
    ASSERT_EQ(p.deallocate(tensor_id{}), errc::ok);
    ASSERT_EQ(p.control().verify(), nullptr);
  }
  EXPECT_EQ(p.control().statistics().total.frees, 0U);
  EXPECT_TRUE(log.take().empty());
}

TEST_F(PoolMisuse, OfAnotherPoolsIds) {
  misuse_log others;
  pool other(small_cpu(), others.options());
  tensor theirs = other.allocate(100);
  const tensor mine = p.allocate(100);
  free_in_all_ways(misuse_kind::foreign_id, theirs.id());
  everything_but_free(misuse_kind::foreign_id, theirs.id());
  expect_one(misuse_kind::foreign_id, theirs.id(), [&] { return p.share(theirs).error().code; });
  expect_one(misuse_kind::foreign_id, theirs.id(),
             [&] { return p.slice(theirs, 0, 1).error().code; });
  expect_one(misuse_kind::foreign_id, theirs.id(), [&] { return p.resize(theirs, 50); });
  EXPECT_EQ(theirs.bytes(), 100U);
  EXPECT_TRUE(other.info(theirs.id()).has_value());
  EXPECT_TRUE(others.take().empty());
}

TEST_F(PoolMisuse, OfAnEmptyTensor) {
  tensor none;
  expect_one(misuse_kind::foreign_id, {}, [&] { return p.share(none).error().code; });
  expect_one(misuse_kind::foreign_id, {}, [&] { return p.slice(none, 0, 0).error().code; });
  expect_one(misuse_kind::foreign_id, {}, [&] { return p.resize(none, 1); });
}

TEST_F(PoolMisuse, AfterAnotherPoolReusedTheTag) {
  // The first pool's tag is free again: a pool with the same tag refuses the old ids.
  tensor_id old;
  for (int round = 0; round < 20; ++round) {
    misuse_log later_log;
    pool later(small_cpu(), later_log.options());
    const tensor one = later.allocate(64);
    if (old) {
      EXPECT_EQ(old.value() & 63, one.id().value() & 63);
      EXPECT_NE(old, one.id());
      EXPECT_EQ(later.deallocate(old), errc::stale_id);
      EXPECT_EQ(later.retain(old), errc::stale_id);
      EXPECT_EQ(later_log.take().size(), 2U);
      EXPECT_TRUE(later.info(one.id()).has_value());
    }
    old = one.id();
  }
}

TEST_F(PoolMisuse, AfterClose) {
  const tensor_id freed = p.allocate(100).release();
  EXPECT_EQ(p.deallocate(freed), errc::ok);
  tensor live = p.allocate(100);
  EXPECT_EQ(p.close(), 1U);
  EXPECT_EQ(p.close(), 1U);
  EXPECT_EQ(p.try_allocate(100).error().code, errc::closed);
  EXPECT_TRUE(log.one(misuse_kind::after_close, {}));
  EXPECT_EQ(p.try_allocate(0).error().code, errc::closed);
  EXPECT_TRUE(log.one(misuse_kind::after_close, {}));
  EXPECT_THROW((void)p.allocate(100), error);
  EXPECT_TRUE(log.one(misuse_kind::after_close, {}));
  EXPECT_EQ(p.try_adopt(&live, 1).error().code, errc::closed);
  EXPECT_TRUE(log.one(misuse_kind::after_close, {}));
  EXPECT_EQ(p.slice(live, 0, 1).error().code, errc::closed);
  EXPECT_EQ(log.take().size(), 1U);
  free_in_all_ways(misuse_kind::stale_free, freed);
  everything_but_free(misuse_kind::stale_use, freed);
  const tensor_id id = live.id();
  tensor shared = std::move(*p.share(live));
  live.reset();
  EXPECT_TRUE(p.info(id).has_value());
  shared.reset();
  free_in_all_ways(misuse_kind::stale_free, id);
  EXPECT_EQ(p.close(), 0U);
}

TEST_F(PoolMisuse, UnbalancedUnpin) {
  const tensor a = p.allocate(100);
  expect_one(misuse_kind::unbalanced, a.id(), [&] { return p.unpin(a.id()); });
  EXPECT_TRUE(p.pin(a.id()).has_value());
  EXPECT_EQ(p.unpin(a.id()), errc::ok);
  expect_one(misuse_kind::unbalanced, a.id(), [&] { return p.unpin(a.id()); });
  EXPECT_EQ(p.info(a.id())->references, 1U);
}

TEST_F(PoolMisuse, BadArgumentsToSettersAreNoMisuseAndChangeNothing) {
  const tensor a = p.allocate(100);
  EXPECT_EQ(p.set_category(a.id(), static_cast<category>(99)), errc::invalid_argument);
  EXPECT_EQ(p.set_name(a.id(), name_id::from_value(1)), errc::invalid_argument);
  EXPECT_EQ(p.set_lifecycle(a.id(), static_cast<lifecycle>(5)), errc::invalid_argument);
  EXPECT_EQ(p.set_lifecycle(a.id(), lifecycle::automatic), errc::invalid_argument);
  EXPECT_TRUE(log.take().empty());
  const tensor_info info = *p.info(a.id());
  EXPECT_EQ(info.category, category::temporary);
  EXPECT_EQ(info.lifecycle, lifecycle::temporary);
  EXPECT_EQ(info.references, 1U);
}

TEST(PoolMisuseCount, IsToldToTheHandlerInOrder) {
  misuse_log log;
  pool p(small_cpu(), log.options());
  for (std::uint64_t i = 1; i <= 5; ++i) {
    (void)p.deallocate(tensor_id::from_value(1));
    const auto reports = log.take();
    ASSERT_EQ(reports.size(), 1U);
    EXPECT_EQ(reports[0].count, i);
  }
}

TEST(PoolMisuseMessage, WithoutAHandlerGoesToStderrOnce) {
  pool p(small_cpu());
  ::testing::internal::CaptureStderr();
  (void)p.deallocate(tensor_id::from_value(1));
  (void)p.deallocate(tensor_id::from_value(1));
  const std::string text = ::testing::internal::GetCapturedStderr();
  EXPECT_NE(text.find("tidepool: misuse"), std::string::npos);
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 1);
  EXPECT_EQ(p.control().statistics().misuses, 2U);
}

}  // namespace
}  // namespace tidepool::test
