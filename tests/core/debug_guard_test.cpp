// SPDX-License-Identifier: Apache-2.0
//
// Guards: writes beside a tensor are found when it ends, when asked, and by guard pages at once;
// tensors inside guards keep every promise that others keep.
#include "../support/heap_backend.hpp"
#include "debug_support.hpp"

#include <thread>

namespace tidepool::test {
namespace {

constexpr std::size_t sizes[] = {1,        2,     15,      16,          63,     64,
                                 65,       100,   1000,    4080,        4096,   4097,
                                 64 * kib, 70000, mib - 1, mib + 12345, 3 * mib};

struct mode {
  const char* name;
  debug_options options;
};
void PrintTo(const mode& m, std::ostream* out) {
  *out << m.name;
}

// Every mode with guards, with and without the others.
const mode guarded_modes[] = {
    {"canary", {.guard = guard_mode::canary}},
    {"canary_poison", {.poison = true, .guard = guard_mode::canary}},
    {"canary_quarantine", {.guard = guard_mode::canary, .quarantine_bytes = 64 * mib}},
    {"canary_all",
     {.poison = true,
      .guard = guard_mode::canary,
      .quarantine_bytes = mib,
      .call_site_frames = 8,
      .report_leaks = false}},
    {"pages", {.guard = guard_mode::pages}},
    {"pages_all",
     {.poison = true,
      .guard = guard_mode::pages,
      .quarantine_bytes = 64 * mib,
      .call_site_frames = 8}},
};
std::string name_of_mode(const ::testing::TestParamInfo<mode>& info) {
  return info.param.name;
}

class DebugGuard : public ::testing::TestWithParam<mode> {
 protected:
  [[nodiscard]] bool pages() const { return GetParam().options.guard == guard_mode::pages; }
  damage_log log;
  pool p{small_cpu(), log.options(GetParam().options)};
};
INSTANTIATE_TEST_SUITE_P(Modes, DebugGuard, ::testing::ValuesIn(guarded_modes), name_of_mode);

// With guard pages the byte behind a size that is a multiple of 64 traps: see the death tests.
[[nodiscard]] bool is_trapped(bool pages, std::size_t bytes) {
  return pages && bytes % 64 == 0;
}

TEST_P(DebugGuard, AnOverflowByOneIsFoundAtTheFree) {
  for (const std::size_t bytes : sizes) {
    SCOPED_TRACE(bytes);
    if (is_trapped(pages(), bytes)) {
      continue;
    }
    tensor t = p.allocate(bytes);
    const tensor_id id = t.id();
    poke(t.data(), signed_size(bytes));
    EXPECT_EQ(log.count(), 0U);
    t.reset();
    EXPECT_TRUE(log.one(misuse_kind::overflow, id, signed_size(bytes)));
  }
  EXPECT_EQ(p.control().verify(), nullptr);
}

TEST_P(DebugGuard, AnOverflowByManyIsMeasured) {
  tensor t = p.allocate(100);
  const tensor_id id = t.id();
  for (std::ptrdiff_t i = 3; i < 13; ++i) {
    poke(t.data(), 100 + i);
  }
  t.reset();
  EXPECT_TRUE(log.one(misuse_kind::overflow, id, 103, 10));
}

TEST_P(DebugGuard, AnUnderflowIsFoundAtTheFree) {
  for (const std::size_t bytes : sizes) {
    SCOPED_TRACE(bytes);
    if (pages() && (bytes + 63) / 64 * 64 % 4096 == 0) {
      continue;  // begins where its block does
    }
    for (const std::ptrdiff_t distance : {1, 8, 64}) {
      tensor t = p.allocate(bytes);
      const tensor_id id = t.id();
      poke(t.data(), -distance);
      t.reset();
      EXPECT_TRUE(log.one(misuse_kind::underflow, id, -distance)) << distance;
    }
  }
}

TEST_P(DebugGuard, BothSidesAreToldOfOneTensor) {
  tensor t = p.allocate(100);
  poke(t.data(), -1);
  poke(t.data(), 100);
  t.reset();
  const auto seen = log.take();
  ASSERT_EQ(seen.size(), 2U);
  EXPECT_EQ(seen[0].kind, misuse_kind::underflow);
  EXPECT_EQ(seen[1].kind, misuse_kind::overflow);
  const statistics s = p.control().statistics();
  EXPECT_EQ(s.misuses, 2U);
  EXPECT_EQ(s.misuses_by_kind[static_cast<unsigned>(misuse_kind::overflow)], 1U);
  EXPECT_EQ(s.misuses_by_kind[static_cast<unsigned>(misuse_kind::underflow)], 1U);
  EXPECT_EQ(p.control().debug_counts().damages, 2U);
}

TEST_P(DebugGuard, DamageIsFoundOnDemandAndToldOnce) {
  tensor t = p.allocate(100, {}, {.name = p.intern("blk.3")});
  const tensor other = p.allocate(100);
  EXPECT_EQ(p.control().check_memory(), 0U);
  poke(t.data(), 101, 0x42);
  EXPECT_EQ(p.control().check_memory(), 1U);
  const auto seen = log.take();
  ASSERT_EQ(seen.size(), 1U);
  EXPECT_EQ(seen[0].id, t.id());
  EXPECT_EQ(seen[0].damage.data, t.data());
  EXPECT_EQ(seen[0].damage.bytes, 100U);
  EXPECT_EQ(seen[0].damage.found, 0x42U);
  EXPECT_EQ(seen[0].damage.where, device::cpu());
  EXPECT_EQ(seen[0].name, "blk.3");
  EXPECT_EQ(seen[0].damage.category, category::temporary);
  EXPECT_NE(seen[0].text.find("1 behind the last byte"), std::string::npos) << seen[0].text;
  EXPECT_EQ(p.control().check_memory(), 0U) << "it is mended";
  t.reset();
  EXPECT_EQ(log.count(), 0U);
  EXPECT_EQ(p.control().verify(), nullptr);
}

TEST_P(DebugGuard, TheInvariantsSayThatMemoryIsDamaged) {
  tensor t = p.allocate(100);
  poke(t.data(), 100);
  const char* const broken = p.control().verify();
  ASSERT_NE(broken, nullptr);
  EXPECT_NE(std::string(broken).find("debug modes"), std::string::npos);
  EXPECT_EQ(log.take().size(), 1U);
}

TEST_P(DebugGuard, WhatIsWrittenInsideIsNoDamage) {
  std::vector<tensor> live;
  for (const std::size_t bytes : sizes) {
    live.push_back(p.allocate(bytes));
    std::memset(live.back().data(), 0x11, bytes);
  }
  EXPECT_EQ(p.control().check_memory(), 0U);
  EXPECT_EQ(p.control().verify(), nullptr);
  for (const tensor& t : live) {
    for (std::size_t i = 0; i < t.bytes(); i += 997) {
      ASSERT_EQ(byte_of(t, i), 0x11);
    }
  }
  live.clear();
  EXPECT_EQ(log.count(), 0U);
  EXPECT_EQ(p.control().debug_counts().guarded, std::size(sizes));
  EXPECT_EQ(p.control().debug_counts().guard_pages, pages() ? std::size(sizes) : 0U);
  EXPECT_EQ(p.control().debug_counts().skipped, 0U);
}

TEST_P(DebugGuard, AlignmentIsKeptUpToOneMebibyte) {
  for (std::size_t alignment = 64; alignment <= mib; alignment *= 2) {
    for (const std::size_t bytes : {std::size_t{1}, std::size_t{64}, std::size_t{5000}, 2 * mib}) {
      tensor t = p.allocate(bytes, {}, {.alignment = alignment});
      ASSERT_TRUE(is_aligned(t.data(), alignment)) << bytes << " at " << alignment;
      const tensor_id id = t.id();
      if (bytes % 64 != 0) {
        poke(t.data(), signed_size(bytes));
        t.reset();
        ASSERT_TRUE(log.one(misuse_kind::overflow, id, signed_size(bytes))) << alignment;
      }
    }
  }
  EXPECT_EQ(p.control().verify(), nullptr);
}

TEST_P(DebugGuard, SizesAddressesAndSumsAreTheTensors) {
  const tensor t = p.allocate(1000);
  EXPECT_EQ(p.info(t.id())->bytes, 1000U);
  EXPECT_EQ(p.info(t.id())->data, t.data());
  EXPECT_GE(p.info(t.id())->capacity, 1000U);
  const tensor before = p.allocate(1000);
  EXPECT_EQ(p.find(t.data()).value(), t.id()) << "in an index that is built now";
  tensor later = p.allocate(1000);
  EXPECT_EQ(p.find(later.data()).value(), later.id()) << "and in one that is kept";
  const void* const data = later.data();
  later.reset();
  EXPECT_EQ(p.find(data).error().code, errc::not_found);
  const statistics s = p.control().statistics();
  EXPECT_EQ(s.total.live, 2U);
  EXPECT_EQ(s.total.requested_bytes, 2000U);
  EXPECT_EQ(s.total.allocations, 3U);
  EXPECT_EQ(s.total.frees, 1U);
  EXPECT_EQ(s.misuses, 0U);
}

TEST_P(DebugGuard, PrewarmedBlocksHaveRoomForThem) {
  for (const std::size_t bytes : {std::size_t{1000}, 64 * kib, 3 * mib}) {
    const std::size_t before = p.control().statistics().total.ready_hits;
    (void)p.control().prewarm({.items = {{bytes, 2}}, .where = device::cpu()});
    const tensor first = p.allocate(bytes);
    const tensor second = p.allocate(bytes);
    EXPECT_EQ(p.control().statistics().total.ready_hits, before + 2) << bytes;
  }
}

TEST_P(DebugGuard, ATensorThatIsResizedInPlaceKeepsItsGuards) {
  tensor t = p.allocate(1000);
  ASSERT_EQ(p.resize(t, 700), errc::ok);
  poke(t.data(), 700);
  EXPECT_EQ(p.control().check_memory(), 1U);
  EXPECT_TRUE(log.one(misuse_kind::overflow, t.id(), 700));
  ASSERT_EQ(p.resize(t, 1000), errc::ok);
  std::memset(t.data(), 0x11, 1000);
  EXPECT_EQ(p.control().check_memory(), 0U);
  const std::size_t room = p.info(t.id())->capacity;
  ASSERT_EQ(p.resize(t, room), errc::ok);
  std::memset(t.data(), 0x11, room);
  EXPECT_EQ(p.control().check_memory(), 0U);
  EXPECT_EQ(p.resize(t, room + 1), errc::unsupported) << "a guard stands there";
  EXPECT_EQ(t.bytes(), room);
  const tensor_id id = t.id();
  ASSERT_EQ(p.resize(t, room - 1), errc::ok);
  poke(t.data(), signed_size(room) - 1);
  ASSERT_EQ(p.resize(t, 10), errc::ok);
  EXPECT_TRUE(log.one(misuse_kind::overflow, id, signed_size(room) - 1)) << "before it moves away";
  t.reset();
  EXPECT_EQ(log.count(), 0U);
}

TEST_P(DebugGuard, SlicesReachTheGuardsOfTheWhole) {
  tensor whole = p.allocate(100);
  const tensor_id id = whole.id();
  tensor part = std::move(*p.slice(whole, 90, 10));
  poke(part.data(), 10);
  whole.reset();
  EXPECT_EQ(log.count(), 0U) << "the slice keeps the block";
  part.reset();
  EXPECT_TRUE(log.one(misuse_kind::overflow, id, 100));
}

TEST_P(DebugGuard, AdoptedMemoryAndZeroBytesHaveNoneAndAreLeftAlone) {
  std::array<unsigned char, 64> bytes{};
  bytes.fill(7);
  tensor adopted = p.adopt(bytes.data() + 16, 16);
  tensor none = p.allocate(0);
  EXPECT_EQ(none.data(), nullptr);
  adopted.reset();
  none.reset();
  EXPECT_EQ(log.count(), 0U);
  EXPECT_TRUE(std::all_of(bytes.begin(), bytes.end(), [](unsigned char b) { return b == 7; }));
  EXPECT_EQ(p.control().debug_counts().guarded, 0U);
}

TEST_P(DebugGuard, SharedPersistentAndKeyedTensorsAreCheckedAtTheirEnd) {
  tensor t = p.allocate(100, {}, {.category = category::weight, .key = 5});
  const tensor_id id = t.id();
  tensor second = std::move(*p.share(t));
  poke(t.data(), 100);
  t.reset();
  EXPECT_EQ(log.count(), 0U);
  second.reset();
  const auto seen = log.take();
  ASSERT_EQ(seen.size(), 1U);
  EXPECT_EQ(seen[0].id, id);
  EXPECT_EQ(seen[0].damage.category, category::weight);
}

TEST_P(DebugGuard, TensorsThatOutliveThePoolAreCheckedToo) {
  tensor t;
  tensor_id id;
  {
    pool inner(small_cpu(), log.options(GetParam().options));
    t = inner.allocate(100);
    id = t.id();
    EXPECT_EQ(inner.close(), 1U);
    poke(t.data(), 100);
  }
  t.reset();
  EXPECT_TRUE(log.one(misuse_kind::overflow, id, 100));
}

TEST_P(DebugGuard, ClosingLooksAtWhatIsLeft) {
  const tensor t = p.allocate(100);
  poke(t.data(), 100);
  EXPECT_EQ(p.close(), 1U);
  EXPECT_TRUE(log.one(misuse_kind::overflow, t.id(), 100));
}

TEST_P(DebugGuard, ThreadsAllocateWriteAndFreeWhileOthersLook) {
  std::atomic<bool> stop{false};
  std::thread looker([&] {
    while (!stop.load()) {
      (void)p.control().check_memory();
    }
  });
  std::vector<std::thread> threads;
  std::atomic<std::size_t> overflows{0};
  for (unsigned seed = 0; seed < 3; ++seed) {
    threads.emplace_back([&, seed] {
      std::vector<tensor> mine;
      unsigned random = seed + 1;
      for (int i = 0; i < 600; ++i) {
        random = random * 1664525 + 1013904223;
        const std::size_t bytes = 1 + (random >> 8) % 20000;
        mine.push_back(p.allocate(bytes));
        std::memset(mine.back().data(), static_cast<int>(seed), bytes);
        if (mine.size() > 20) {
          mine.erase(mine.begin() + static_cast<std::ptrdiff_t>(random % 20));
        }
      }
      // One of each thread's is overrun while others look elsewhere or here: told exactly once.
      mine.push_back(p.allocate(33));
      poke(mine.back().data(), 40);
      overflows.fetch_add(1);
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  stop.store(true);
  looker.join();
  const auto seen = log.take();
  EXPECT_EQ(seen.size(), overflows.load());
  for (const seen_misuse& one : seen) {
    EXPECT_EQ(one.kind, misuse_kind::overflow);
    EXPECT_EQ(one.damage.offset, 40);
  }
  EXPECT_EQ(p.control().verify(), nullptr);
}

// Blocks must come back to the backend as they were.
TEST_P(DebugGuard, ThePoolGivesBackTheBlocksThatItGot) {
  heap_log blocks;
  {
    pool heap(std::make_unique<heap_backend>(blocks), log.options(GetParam().options));
    std::vector<tensor> live;
    for (int round = 0; round < 3; ++round) {
      for (const std::size_t bytes : sizes) {
        live.push_back(heap.allocate(bytes));
        std::memset(live.back().data(), 1, bytes);
      }
      live.erase(live.begin(), live.begin() + 9);
      EXPECT_EQ(heap.control().verify(), nullptr);
    }
    live.clear();
    (void)heap.control().trim(0);
    EXPECT_EQ(blocks.handed_out.load(), 0U) << "the quarantine too";
    EXPECT_EQ(heap.control().verify(), nullptr);
  }
  EXPECT_EQ(blocks.handed_out.load(), 0U);
  EXPECT_EQ(blocks.wrong_returns.load(), 0U);
  EXPECT_EQ(log.count(), 0U);
}

}  // namespace
}  // namespace tidepool::test
