// SPDX-License-Identifier: Apache-2.0
//
// Fills and the quarantine: writes after the end are found, ids stay dead, held blocks are counted,
// given up under pressure and never lost. And devices that the host cannot reach.
#include "../support/heap_backend.hpp"
#include "debug_support.hpp"

#include <thread>

namespace tidepool::test {
namespace {

constexpr auto fresh = static_cast<unsigned char>(fill_of_new_bytes);
constexpr auto freed = static_cast<unsigned char>(fill_of_freed_bytes);

TEST(DebugPoison, NewTensorsAreFilledWhollyAndNothingElseIs) {
  damage_log log;
  pool p(small_cpu(), log.options({.poison = true}));
  for (const std::size_t bytes : {std::size_t{1}, std::size_t{100}, 64 * kib, 3 * mib}) {
    for (int round = 0; round < 2; ++round) {
      const tensor t = p.allocate(bytes);
      for (std::size_t i = 0; i < bytes; ++i) {
        ASSERT_EQ(byte_of(t, i), fresh);
      }
      std::memset(t.data(), 0, bytes);
    }
  }
  std::array<unsigned char, 8> mine{1, 2, 3, 4, 5, 6, 7, 8};
  { const tensor adopted = p.adopt(mine.data(), mine.size()); }
  EXPECT_EQ(mine[7], 8) << "adopted memory is its owner's";
  tensor whole = p.allocate(100);
  std::memset(whole.data(), 9, 100);
  { const tensor part = std::move(*p.slice(whole, 10, 10)); }
  EXPECT_EQ(byte_of(whole, 12), 9) << "a slice begins and ends without its bytes";
  ASSERT_EQ(p.resize(whole, 110), errc::ok);
  EXPECT_EQ(byte_of(whole, 99), 9);
  EXPECT_EQ(byte_of(whole, 100), fresh);
  EXPECT_EQ(log.count(), 0U);
}

TEST(DebugPoison, FreedTensorsAreFilled) {
  pool p(small_cpu(), {.debug = {.poison = true}});
  const tensor neighbour = p.allocate(100);  // its span stays
  tensor t = p.allocate(100);
  void* const data = t.data();
  std::memset(data, 0, 100);
  t.reset();
  EXPECT_EQ(peek(data, 0), freed);
  EXPECT_EQ(peek(data, 99), freed);
}

TEST(DebugPoison, AWriteAfterTheEndIsFoundByTheNextAllocation) {
  damage_log log;
  pool p(small_cpu(), log.options({.poison = true}));
  tensor t = p.allocate(100, {}, {.name = p.intern("lost")});
  const tensor_id id = t.id();
  void* const data = t.data();
  t.reset();
  poke(data, 50);
  poke(data, 53);
  EXPECT_EQ(log.count(), 0U);
  const tensor next = p.allocate(100);
  ASSERT_EQ(next.data(), data) << "the test needs the same block";
  const auto seen = log.take();
  ASSERT_EQ(seen.size(), 1U);
  EXPECT_EQ(seen[0].kind, misuse_kind::write_after_free);
  EXPECT_EQ(seen[0].id, id);
  EXPECT_EQ(seen[0].name, "lost");
  EXPECT_EQ(seen[0].damage.offset, 50);
  EXPECT_EQ(seen[0].damage.damaged_bytes, 4U);
  EXPECT_EQ(byte_of(next, 50), fresh);
  EXPECT_EQ(p.control()
                .statistics()
                .misuses_by_kind[static_cast<unsigned>(misuse_kind::write_after_free)],
            1U);
}

TEST(DebugPoison, BlocksThatTheBackendHadMeanwhileAreNotSuspected) {
  damage_log log;
  pool p(small_cpu(), log.options({.poison = true}));
  for (int round = 0; round < 5; ++round) {
    std::vector<tensor> live;
    for (int i = 0; i < 200; ++i) {
      live.push_back(p.allocate(1 + static_cast<std::size_t>(i) * 997));
    }
    live.clear();
    (void)p.control().trim(0);  // the pages come back as zeros
  }
  EXPECT_EQ(log.count(), 0U);
  EXPECT_EQ(p.control().verify(), nullptr);
}

TEST(DebugPoison, WithoutItNothingIsFilledAndNothingFound) {
  damage_log log;
  pool p(small_cpu(), log.options({.call_site_frames = 2}));
  const tensor neighbour = p.allocate(100);
  tensor t = p.allocate(100);
  void* const data = t.data();
  std::memset(data, 7, 100);
  t.reset();
  EXPECT_EQ(peek(data, 50), 7);
  poke(data, 50);
  const tensor next = p.allocate(100);
  EXPECT_EQ(next.data(), data);
  EXPECT_EQ(p.control().check_memory(), 0U);
  EXPECT_EQ(log.count(), 0U);
  EXPECT_EQ(p.control().debug_counts().verified_bytes, 0U);
}

class DebugQuarantine : public ::testing::Test {
 protected:
  damage_log log;
  pool p{small_cpu(), log.options({.quarantine_bytes = 256 * kib})};
};

TEST_F(DebugQuarantine, ABlockIsNotUsedAgainWhileItIsHeld) {
  tensor t = p.allocate(1000);
  const void* const data = t.data();
  t.reset();
  std::vector<tensor> live;
  for (int i = 0; i < 50; ++i) {
    live.push_back(p.allocate(1000));
    ASSERT_NE(live.back().data(), data);
  }
  EXPECT_EQ(p.control().debug_counts().quarantined_blocks, 1U);
  EXPECT_GE(p.control().debug_counts().quarantined_bytes, 1000U);
}

TEST_F(DebugQuarantine, TheOldestLeaveFirstAndAreVerified) {
  std::vector<tensor> live;
  std::vector<tensor_id> ids;
  std::vector<void*> data;
  for (int i = 0; i < 8; ++i) {
    live.push_back(p.allocate(64 * kib));  // four fit
    ids.push_back(live.back().id());
    data.push_back(live.back().data());
  }
  for (std::size_t i = 0; i < live.size(); ++i) {
    live[i].reset();
    poke(data[i], 77);
    EXPECT_EQ(p.control().debug_counts().quarantined_blocks, std::min<std::size_t>(i + 1, 4));
    if (i < 4) {
      EXPECT_EQ(log.count(), 0U);
    } else {
      EXPECT_TRUE(log.one(misuse_kind::write_after_free, ids[i - 4], 77));
    }
  }
}

TEST_F(DebugQuarantine, AWriteIsFoundOnDemandAndToldOnce) {
  tensor t = p.allocate(1000);
  const tensor_id id = t.id();
  void* const data = t.data();
  t.reset();
  EXPECT_EQ(p.control().check_memory(), 0U);
  poke(data, 999);
  EXPECT_EQ(p.control().check_memory(), 1U);
  EXPECT_TRUE(log.one(misuse_kind::write_after_free, id, 999));
  EXPECT_EQ(p.control().check_memory(), 0U);
  (void)p.control().trim(0);
  EXPECT_EQ(log.count(), 0U);
}

TEST_F(DebugQuarantine, ClosingVerifiesWhatIsHeld) {
  tensor t = p.allocate(1000);
  const tensor_id id = t.id();
  void* const data = t.data();
  t.reset();
  poke(data, 0);
  EXPECT_EQ(p.close(), 0U);
  EXPECT_TRUE(log.one(misuse_kind::write_after_free, id, 0));
  EXPECT_EQ(p.control().debug_counts().quarantined_blocks, 0U);
  EXPECT_EQ(p.control().memory({}).reserved_bytes, 0U) << "and gives it back";
}

TEST_F(DebugQuarantine, ADoubleFreeOfAHeldTensorIsAMisuseThatChangesNothing) {
  const tensor_id id = p.allocate(1000).release();
  ASSERT_EQ(p.deallocate(id), errc::ok);
  const statistics before = p.control().statistics();
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(p.deallocate(id), errc::stale_id);
    const auto seen = log.take();
    ASSERT_EQ(seen.size(), 1U);
    EXPECT_EQ(seen[0].kind, misuse_kind::stale_free);
    EXPECT_EQ(seen[0].id, id);
    EXPECT_EQ(seen[0].damage.bytes, 1000U) << "what it was is remembered";
    EXPECT_EQ(seen[0].damage.damaged_bytes, 0U);
  }
  expect_unchanged(before, p.control().statistics());
  EXPECT_EQ(p.control().debug_counts().quarantined_blocks, 1U);
  EXPECT_EQ(p.control().verify(), nullptr);
}

TEST_F(DebugQuarantine, HeldBytesAreFreeNotLive) {
  tensor t = p.allocate(64 * kib);
  const statistics before = p.control().statistics();
  t.reset();
  const statistics after = p.control().statistics();
  EXPECT_EQ(after.total.live, 0U);
  EXPECT_EQ(after.total.frees, before.total.frees + 1);
  EXPECT_EQ(after.total.requested_bytes, 0U);
  EXPECT_EQ(after.devices[0].live_bytes, before.devices[0].live_bytes - 64 * kib);
  EXPECT_EQ(after.devices[0].cached_bytes, before.devices[0].cached_bytes + 64 * kib);
}

TEST_F(DebugQuarantine, ABlockLargerThanItIsNotHeldAndPushesNothingOut) {
  p.allocate(1000).reset();
  p.allocate(mib).reset();
  EXPECT_EQ(p.control().debug_counts().quarantined_blocks, 1U);
  EXPECT_EQ(p.control().verify(), nullptr);
}

TEST(DebugQuarantineLimit, HeldBlocksAreGivenUpBeforeALimitIsReported) {
  damage_log log;
  pool p(small_cpu(),
         log.options({.quarantine_bytes = std::size_t{1} << 40}, {.limit_bytes = 8 * mib}));
  for (int i = 0; i < 100; ++i) {
    const result<tensor> t = p.try_allocate(3 * mib);
    ASSERT_TRUE(t) << i;
  }
  EXPECT_EQ(log.count(), 0U);
  EXPECT_EQ(p.control().verify(), nullptr);
}

TEST(DebugQuarantineThreads, FreeAtOnceWithoutLosingABlock) {
  for (const guard_mode guard : {guard_mode::none, guard_mode::canary, guard_mode::pages}) {
    damage_log log;
    heap_log blocks;
    {
      pool p(std::make_unique<heap_backend>(blocks),
             log.options({.poison = true, .guard = guard, .quarantine_bytes = 512 * kib}));
      std::vector<std::thread> threads;
      for (unsigned seed = 0; seed < 4; ++seed) {
        threads.emplace_back([&, seed] {
          unsigned random = seed + 1;
          for (int i = 0; i < 400; ++i) {
            random = random * 1664525 + 1013904223;
            const std::size_t bytes = 1 + (random >> 8) % 50000;
            const tensor t = p.allocate(bytes);
            std::memset(t.data(), 1, bytes);
            if (i % 100 == 50) {
              (void)p.control().trim(0);
            }
          }
        });
      }
      for (std::thread& thread : threads) {
        thread.join();
      }
      EXPECT_EQ(p.control().verify(), nullptr);
      EXPECT_LE(p.control().debug_counts().quarantined_bytes, 512 * kib);
    }
    EXPECT_EQ(blocks.handed_out.load(), 0U);
    EXPECT_EQ(blocks.wrong_returns.load(), 0U);
    EXPECT_EQ(log.count(), 0U);
  }
}

// Memory that only the backend can reach: it stands at addresses that the host cannot read, so a
// debug mode that touched them itself would crash.
class far_backend final : public backend {
 public:
  explicit far_backend(bool can_fill) : can_fill_(can_fill) {
    description_.host_accessible = false;
    description_.where = device::user(1);
    description_.alignment = 256;
  }
  [[nodiscard]] std::span<const device_description> devices() const noexcept override {
    return {&description_, 1};
  }
  void attach(backend_host&) noexcept override {}
  [[nodiscard]] refill_result refill(const block_request& request,
                                     std::span<block> blocks) noexcept override {
    blocks[0] = *allocate_large(request);
    return {.count = 1, .why = {}};
  }
  [[nodiscard]] result<block> allocate_large(const block_request& request) noexcept override {
    used_ = (used_ + request.alignment - 1) & ~(request.alignment - 1);
    const std::size_t at = used_;
    used_ += request.bytes;
    return used_ > memory_.size() ? result<block>(errc::out_of_memory)
                                  : result<block>(block{far(at), request.bytes, 0});
  }
  void take_back(device, std::span<const block>, stream_ref) noexcept override {}
  std::size_t trim(device, std::size_t) noexcept override { return 0; }
  [[nodiscard]] memory_info memory(device) const noexcept override { return {}; }
  [[nodiscard]] status fill(device, void* dst, std::uint8_t value, std::size_t bytes,
                            stream_ref) noexcept override {
    if (!can_fill_) {
      return errc_status();
    }
    std::memset(near(dst), value, bytes);
    return {};
  }
  [[nodiscard]] status copy(device, void* dst, const void* src, std::size_t bytes,
                            stream_ref) noexcept override {
    std::memcpy(dst, near(src), bytes);
    return {};
  }
  unsigned char* near(const void* far_address) {
    return &memory_[reinterpret_cast<std::uintptr_t>(far_address) - base];
  }

 private:
  static constexpr std::uintptr_t base = 0x10000;  // below what the system gives to anybody
  static void* far(std::size_t at) { return reinterpret_cast<void*>(base + at); }
  static status errc_status() { return {.code = errc::unsupported}; }
  const bool can_fill_;
  device_description description_;
  std::vector<unsigned char> memory_ = std::vector<unsigned char>(mib);
  std::size_t used_ = 0;
};

TEST(DebugDevice, GuardsFillsAndChecksGoThroughTheBackend) {
  for (const guard_mode guard : {guard_mode::canary, guard_mode::pages}) {
    damage_log log;
    auto source = std::make_unique<far_backend>(true);
    far_backend& memory = *source;
    pool p(std::move(source),
           log.options({.poison = true, .guard = guard, .quarantine_bytes = 64 * kib}));
    tensor t = p.allocate(10000, device::user(1));
    const tensor_id id = t.id();
    void* const data = t.data();
    EXPECT_TRUE(is_aligned(data, 256));
    EXPECT_EQ(memory.near(data)[0], fresh);
    EXPECT_EQ(memory.near(data)[9999], fresh);
    memory.near(data)[10000] = 1;
    t.reset();
    EXPECT_TRUE(log.one(misuse_kind::overflow, id, 10000));
    memory.near(data)[5000] = 1;
    EXPECT_EQ(p.control().check_memory(), 1U);
    EXPECT_TRUE(log.one(misuse_kind::write_after_free, id, 5000));
    // Guard pages are for memory that the host can protect: told by a count, replaced by canaries.
    EXPECT_EQ(p.control().debug_counts().skipped, guard == guard_mode::pages ? 1U : 0U);
    EXPECT_EQ(p.control().debug_counts().guard_pages, 0U);
  }
}

TEST(DebugDevice, WhatTheBackendCannotFillIsCountedAndNotSuspected) {
  damage_log log;
  pool p(std::make_unique<far_backend>(false),
         log.options({.poison = true, .guard = guard_mode::canary, .quarantine_bytes = 64 * kib}));
  for (int i = 0; i < 3; ++i) {
    const tensor t = p.allocate(1000, device::user(1));
  }
  EXPECT_EQ(p.control().check_memory(), 0U);
  EXPECT_EQ(log.count(), 0U);
  EXPECT_GE(p.control().debug_counts().skipped, 3U);
}

}  // namespace
}  // namespace tidepool::test
