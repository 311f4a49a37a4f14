// SPDX-License-Identifier: Apache-2.0
//
// The CPU backend as its interface promises it: lengths, alignment, bad input, the factory.
#include "populate.hpp"
#include "support.hpp"
#include <tidepool/cpu/backend.hpp>
#include <tidepool/error.hpp>

#include <gtest/gtest.h>

#include <stdlib.h>
#include <sys/mman.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <vector>

namespace tidepool::cpu {
namespace {

class CpuBackend : public ::testing::Test {
 protected:
  void SetUp() override { ASSERT_TRUE(made_.start().ok()); }
  void TearDown() override { EXPECT_EQ(memory_.verify(), nullptr); }

  block large(const block_request& request) {
    const result<block> got = memory_.allocate_large(request);
    EXPECT_TRUE(got.has_value());
    return got ? *got : block{};
  }
  void give(const block& what) { memory_.take_back(device::cpu(), {&what, 1}, {}); }
  errc refill_code(const block_request& request) {
    std::array<block, 2> blocks{};
    return memory_.refill(request, blocks).why.code;
  }

  fixture made_;
  memory_backend& memory_ = made_.memory;
};

TEST_F(CpuBackend, DescribesItself) {
  const device_description about = memory_.devices()[0];
  EXPECT_EQ(about.where, device::cpu());
  EXPECT_EQ(about.name, "host memory");
  EXPECT_EQ(about.alignment, 64U);
  EXPECT_TRUE(about.host_accessible && about.can_populate && about.can_extend);
  EXPECT_FALSE(about.stream_ordered);
}

TEST_F(CpuBackend, LongLivedBlocksAreExactAndOthersLeaveRoomToGrow) {
  const std::size_t bytes = 100 * mib + 1;
  const block exact = large({.bytes = bytes, .alignment = 64, .long_lived = true});
  EXPECT_EQ(exact.bytes, 100 * mib + page_bytes);
  const block roomy = large({.bytes = bytes, .alignment = 64});
  EXPECT_EQ(roomy.bytes, 102 * mib);
  EXPECT_EQ(made_.host.claimed.load(), exact.bytes + roomy.bytes);
  give(roomy);
  const block next = large({.bytes = bytes + mib, .alignment = 64});
  EXPECT_EQ(next.data, roomy.data) << "a slightly longer tensor takes the place of the last";
}

TEST_F(CpuBackend, RoomIsGivenUpBeforeTheLimitIsReported) {
  made_.host.limit = 100 * mib + page_bytes;
  const block b = large({.bytes = 100 * mib + 1, .alignment = 64});
  EXPECT_EQ(b.bytes, 100 * mib + page_bytes);
}

TEST_F(CpuBackend, AlignsBlocksOfEveryKind) {
  for (std::size_t alignment = 64; alignment <= std::size_t{1} << 30; alignment *= 2) {
    for (const std::size_t bytes : {std::size_t{64}, 320 * std::size_t{1}, 64 * kib, 1 * mib}) {
      std::array<block, 3> blocks{};
      const backend::refill_result got = memory_.refill(ask(bytes, alignment), blocks);
      ASSERT_EQ(got.count, 3U);
      for (const block& b : blocks) {
        EXPECT_EQ(reinterpret_cast<std::uintptr_t>(b.data) % alignment, 0U);
        EXPECT_EQ(b.bytes, bytes);
      }
      memory_.take_back(device::cpu(), blocks, {});
    }
    const block b = large(ask(5 * mib, alignment));
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(b.data) % alignment, 0U);
    give(b);
  }
}

TEST_F(CpuBackend, BadRequestsAreErrors) {
  for (const std::size_t bytes : {std::size_t{0}}) {
    EXPECT_EQ(memory_.allocate_large(ask(bytes)).error().code, errc::invalid_argument);
    EXPECT_EQ(refill_code(ask(bytes)), errc::invalid_argument);
  }
  for (const std::size_t bytes : {SIZE_MAX, SIZE_MAX - 4095, std::size_t{1} << 63,
                                  (std::size_t{1} << 42) + 1, std::size_t{1} << 47}) {
    EXPECT_EQ(memory_.allocate_large(ask(bytes)).error().code, errc::out_of_memory);
    EXPECT_EQ(memory_.allocate_large(ask(bytes)).error().requested, bytes);
  }
  for (const std::size_t alignment :
       {std::size_t{3}, std::size_t{96}, std::size_t{1} << 31, SIZE_MAX, std::size_t{1} << 63}) {
    EXPECT_EQ(memory_.allocate_large(ask(mib, alignment)).error().code, errc::invalid_argument);
    EXPECT_EQ(refill_code(ask(mib, alignment)), errc::invalid_argument);
  }
  EXPECT_EQ(refill_code(ask(65)), errc::invalid_argument) << "no size class";
  EXPECT_EQ(refill_code(ask(2 * mib)), errc::invalid_argument);
  block_request elsewhere = ask(mib);
  elsewhere.where = device::cuda(0);
  EXPECT_EQ(memory_.allocate_large(elsewhere).error().code, errc::unknown_device);
  EXPECT_EQ(refill_code(elsewhere), errc::unknown_device);
  EXPECT_EQ(memory_.trim(device::cuda(0), 0), 0U);
  EXPECT_EQ(memory_.memory(device::cuda(0)).address_space_bytes, 0U);
  EXPECT_EQ(made_.host.claimed.load(), 0U);
}

TEST_F(CpuBackend, MoreThanTheMachineHasIsAddressSpaceOnly) {
  const result<block> b = memory_.allocate_large(ask(std::size_t{1} << 40));
  if (!b) {
    EXPECT_EQ(b.error().code, errc::out_of_memory);
    GTEST_SKIP() << "no address space for 1 TiB";
  }
  static_cast<char*>(b->data)[b->bytes - 1] = 1;
  give(*b);
  memory_.trim(device::cpu(), 0);
  EXPECT_EQ(made_.host.claimed.load(), 0U);
  EXPECT_LT(memory_.memory(device::cpu()).address_space_bytes, std::size_t{1} << 40);
}

TEST_F(CpuBackend, TrimKeepsWhatItIsToldToKeep) {
  give(large(ask(64 * mib)));
  EXPECT_EQ(memory_.trim(device::cpu(), 128 * mib), 0U);
  EXPECT_EQ(memory_.trim(device::cpu(), 24 * mib), 40 * mib);
  EXPECT_EQ(memory_.memory(device::cpu()).reserved_bytes, 24 * mib);
  EXPECT_EQ(memory_.memory(device::cpu()).largest_free_bytes, 24 * mib);
  EXPECT_EQ(memory_.trim(device::cpu(), 0), 24 * mib);
}

TEST_F(CpuBackend, MemoryGoesAfterDecayTicksAndNotBefore) {
  std::array<block, 4> small{};
  ASSERT_EQ(memory_.refill(ask(4096), small).count, 4U);
  const block b = large(ask(8 * mib));
  give(b);
  memory_.take_back(device::cpu(), small, {});
  const std::size_t reserved = made_.host.claimed.load();
  for (int tick = 1; tick != 16; ++tick) {
    EXPECT_EQ(memory_.decay(device::cpu()), 0U) << tick;
  }
  EXPECT_EQ(memory_.decay(device::cpu()), reserved);
  EXPECT_EQ(made_.host.claimed.load(), 0U);
}

TEST_F(CpuBackend, ExtendGrowsInPlaceOrSaysWhyNot) {
  block b = large(ask(2 * mib));
  std::memset(b.data, 3, b.bytes);
  const result<std::size_t> same = memory_.extend(device::cpu(), b, 1);
  ASSERT_TRUE(same.has_value());
  EXPECT_EQ(*same, b.bytes);
  const result<std::size_t> more = memory_.extend(device::cpu(), b, 3 * mib);
  ASSERT_TRUE(more.has_value());
  EXPECT_GE(*more, 3 * mib);
  b.bytes = *more;
  std::memset(static_cast<char*>(b.data) + 2 * mib, 4, b.bytes - 2 * mib);
  EXPECT_EQ(static_cast<char*>(b.data)[2 * mib - 1], 3);
  const block wall = large(ask(1 * mib));
  EXPECT_EQ(memory_.extend(device::cpu(), b, 4 * mib).error().code, errc::out_of_memory);
  EXPECT_EQ(memory_.extend(device::cpu(), b, SIZE_MAX).error().code, errc::out_of_memory);
  give(wall);
  std::array<block, 1> small{};
  ASSERT_EQ(memory_.refill(ask(4096), small).count, 1U);
  EXPECT_EQ(memory_.extend(device::cpu(), small[0], 8192).error().code, errc::unsupported);
  EXPECT_EQ(memory_.extend(device::cuda(0), b, 8192).error().code, errc::unknown_device);
  give(b);
  memory_.take_back(device::cpu(), small, {});
  memory_.trim(device::cpu(), 0);
  EXPECT_EQ(made_.host.claimed.load(), 0U);
}

/// qemu-user says that it made pages present, and has not.
[[nodiscard]] bool system_tells_the_truth() {
  constexpr int populate_write = 23;  // MADV_POPULATE_WRITE, Linux 5.14
  void* const page =
      ::mmap(nullptr, page_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  const bool said = ::madvise(page, page_bytes, populate_write) == 0;
  unsigned char present = 0;
  const bool is_so = ::mincore(page, page_bytes, &present) == 0 && (present & 1U) != 0;
  (void)::munmap(page, page_bytes);
  return !said || is_so;
}

TEST_F(CpuBackend, PopulateMakesPagesPresentAndKeepsTheContent) {
  std::vector<block> blocks(40);
  ASSERT_EQ(memory_.refill(ask(4096), blocks).count, 40U);
  blocks.push_back(large(ask(40 * mib)));
  std::size_t total = 0;
  for (const block& b : blocks) {
    static_cast<char*>(b.data)[b.bytes / 2] = 9;
    total += b.bytes;
  }
  for (const unsigned threads : {0U, 1U, 3U, 1000U}) {
    EXPECT_EQ(memory_.populate(device::cpu(), blocks, threads), total);
  }
  std::vector<unsigned char> present(40 * mib / page_bytes);
  ASSERT_EQ(::mincore(blocks.back().data, 40 * mib, present.data()), 0);
  const bool can_tell = system_tells_the_truth();
  for (const unsigned char p : present) {
    ASSERT_TRUE(!can_tell || (p & 1U) != 0);
  }
  for (const block& b : blocks) {
    EXPECT_EQ(static_cast<char*>(b.data)[b.bytes / 2], 9);
  }
  EXPECT_EQ(memory_.populate(device::cpu(), {}, 4), 0U);
}

TEST_F(CpuBackend, PopulateWorksOnOldKernelsAndReportsWhatIsRefused) {
  const std::array<block, 1> blocks{large(ask(3 * mib))};
  static_cast<char*>(blocks[0].data)[0] = 5;
  made_.os.refuse_kind = true;
  made_.os.kind = system_call::populate;
  made_.os.error = EINVAL;
  EXPECT_EQ(memory_.populate(device::cpu(), blocks, 1), blocks[0].bytes);
  EXPECT_EQ(static_cast<char*>(blocks[0].data)[0], 5);
  made_.os.error = ENOMEM;
  EXPECT_EQ(memory_.populate(device::cpu(), blocks, 1), 0U);
}

TEST(CpuBackendFactory, ServesTheHostAndItsNodes) {
  EXPECT_TRUE(try_make_backend().has_value());
  const result<std::unique_ptr<backend>> node = try_make_backend({.device = device::cpu(0)});
  ASSERT_TRUE(node.has_value());
  EXPECT_EQ((*node)->devices()[0].where, device::cpu(0));
  EXPECT_EQ((*node)->devices()[0].name.substr(0, 24), "host memory, NUMA node 0");
  const block_request request{.where = device::cpu(0), .bytes = mib, .alignment = 64};
  const result<block> b = (*node)->allocate_large(request);
  ASSERT_TRUE(b.has_value());
  std::memset(b->data, 1, b->bytes);
  (*node)->take_back(device::cpu(0), {&*b, 1}, {});
}

TEST(CpuBackendFactory, RefusesWhatCannotBe) {
  const auto code = [](const backend_options& options) {
    return try_make_backend(options).error().code;
  };
  EXPECT_EQ(code({.device = device::cpu(254)}), errc::unknown_device);
  EXPECT_EQ(code({.device = device::cuda(0)}), errc::invalid_argument);
  EXPECT_EQ(code({.device = device(device_kind::cpu, 1, 0)}), errc::invalid_argument);
  EXPECT_EQ(code({.huge_pages = static_cast<huge_pages>(9)}), errc::invalid_argument);
  EXPECT_EQ(code({.arena_bytes = SIZE_MAX}), errc::invalid_argument);
  EXPECT_EQ(code({.arena_bytes = 0}), errc::ok);
  EXPECT_THROW(static_cast<void>(make_backend({.device = device::cuda(0)})), error);
  EXPECT_NE(make_backend(), nullptr);
}

TEST(CpuBackendFactory, TheEnvironmentSaysHowLargeArenasAreWhereTheProgramDoesNot) {
  const auto mib_of_addresses = [](const backend_options& options) {
    const result<std::unique_ptr<backend>> made = try_make_backend(options);
    return made ? (*made)->memory(device::cpu()).address_space_bytes / mib : 0;
  };
  ::setenv("TIDEPOOL", "arena_bytes=128MiB", 1);
  EXPECT_EQ(mib_of_addresses({}), 256U);
  EXPECT_EQ(mib_of_addresses({.arena_bytes = 64 * mib}), 128U);
  ::setenv("TIDEPOOL", "arena_bytes=5000GiB", 1);
  EXPECT_EQ(try_make_backend({}).error().code, errc::invalid_argument);
  ::unsetenv("TIDEPOOL");
}

TEST(CpuBackendFactory, DestructionUnclaimsWhatIsLeft) {
  counting_host host;
  {
    const std::unique_ptr<backend> memory = make_backend();
    memory->attach(host);
    ASSERT_TRUE(memory->allocate_large(ask(5 * mib)).has_value());
    EXPECT_GT(host.claimed.load(), 0U);
  }
  EXPECT_EQ(host.claimed.load(), 0U);
}

#if TIDEPOOL_ASSERT_LEVEL >= 1
TEST(CpuBackendDeathTest, ForeignAndDoubleFreesAreSeen) {
  fixture made;
  ASSERT_TRUE(made.start().ok());
  std::array<block, 2> small{};
  ASSERT_EQ(made.memory.refill(ask(4096), small).count, 2U);
  const block large = *made.memory.allocate_large(ask(2 * mib));
  const auto give = [&](const block& b) { made.memory.take_back(device::cpu(), {&b, 1}, {}); };
  block wrong = small[0];
  wrong.cookie = 0;
  EXPECT_DEATH(give(wrong), "");
  wrong = large;
  wrong.data = static_cast<char*>(wrong.data) + page_bytes;
  EXPECT_DEATH(give(wrong), "");
  give(small[0]);
  EXPECT_DEATH(give(small[0]), "");
  give(large);
  EXPECT_DEATH(give(large), "");
}
#endif

}  // namespace
}  // namespace tidepool::cpu
