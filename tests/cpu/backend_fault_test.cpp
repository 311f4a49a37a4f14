// SPDX-License-Identifier: Apache-2.0
//
// One claim or one system call is refused, at every position of a scenario in turn. Whatever
// happens, nothing breaks, nothing is lost, and in the end all comes back.
#include "support.hpp"

#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <string>
#include <vector>

namespace tidepool::cpu {
namespace {

/// Uses every function; answers how many of its requests were refused.
std::size_t scenario(fixture& made) {
  memory_backend& memory = made.memory;
  std::vector<block> live;
  std::size_t refused = 0;
  const auto sound = [&] {
    const char* const broken = memory.verify();
    EXPECT_EQ(broken, nullptr) << broken;
    EXPECT_EQ(memory.memory(device::cpu()).reserved_bytes, made.host.claimed.load());
  };
  const auto refill = [&](std::size_t bytes, std::size_t n, std::size_t alignment) {
    std::vector<block> blocks(n);
    const backend::refill_result got = memory.refill(ask(bytes, alignment), blocks);
    EXPECT_EQ(got.why.ok(), got.count == n);
    refused += got.why.ok() ? 0U : 1U;
    for (std::size_t i = 0; i != got.count; ++i) {
      std::memset(blocks[i].data, 1, blocks[i].bytes);
      live.push_back(blocks[i]);
    }
    sound();
  };
  const auto large = [&](std::size_t bytes, std::size_t alignment) {
    const result<block> got = memory.allocate_large(ask(bytes, alignment));
    refused += got ? 0U : 1U;
    if (got) {
      static_cast<char*>(got->data)[got->bytes - 1] = 1;
      live.push_back(*got);
    }
    sound();
  };
  const auto give_half = [&] {
    std::vector<block> back;
    for (std::size_t i = 0; i < live.size(); i += 2) {
      back.push_back(live[i]);
      live[i].data = nullptr;
    }
    std::erase_if(live, [](const block& b) { return b.data == nullptr; });
    memory.take_back(device::cpu(), back, {});
    sound();
  };

  refill(256, 300, 64);
  refill(64 * kib, 12, 64);
  refill(mib, 3, 64);
  refill(4096, 2, 65536);
  large(5 * mib, 64);
  large(3 * mib, 4 * mib);
  large(70 * mib, 64);   // a second arena
  large(200 * mib, 64);  // larger than an arena
  give_half();
  memory.trim(device::cpu(), 8 * mib);
  sound();
  large(4 * mib, 64);
  if (!live.empty()) {
    const result<std::size_t> more =
        memory.extend(device::cpu(), live.back(), live.back().bytes + 3 * mib);
    if (more) {
      live.back().bytes = *more;
      static_cast<char*>(live.back().data)[*more - 1] = 1;
    }
    sound();
  }
  give_half();
  for (int i = 0; i != 4; ++i) {
    memory.decay(device::cpu());
    sound();
  }
  refill(4096, 40, 64);
  large(2 * mib, 64);
  memory.take_back(device::cpu(), live, {});
  sound();
  return refused;
}

void expect_empty(fixture& made) {
  made.host.refuse_at = 0;
  made.os.refuse_at = 0;
  made.os.refuse_kind = false;
  made.memory.trim(device::cpu(), 0);
  EXPECT_EQ(made.host.claimed.load(), 0U);
  const memory_info left = made.memory.memory(device::cpu());
  EXPECT_EQ(left.reserved_bytes, 0U);
  EXPECT_EQ(left.free_bytes, 0U);
  EXPECT_EQ(scenario(made), 0U) << "nothing is refused any more";
}

constexpr backend_options small_arenas{.arena_bytes = 64 * mib, .decay_ticks = 2};

TEST(BackendFaults, EveryClaimMayBeRefused) {
  std::size_t claims = 0;
  {
    fixture made(small_arenas);
    ASSERT_TRUE(made.start().ok());
    ASSERT_EQ(scenario(made), 0U);
    claims = made.host.claims.load();
  }
  ASSERT_GT(claims, 10U);
  for (std::size_t n = 1; n <= claims; ++n) {
    SCOPED_TRACE("claim " + std::to_string(n));
    fixture made(small_arenas);
    ASSERT_TRUE(made.start().ok());
    made.host.refuse_at = n;
    scenario(made);
    expect_empty(made);
    ASSERT_FALSE(HasFailure());
  }
}

TEST(BackendFaults, EverySystemCallMayBeRefused) {
  std::size_t calls = 0;
  {
    fixture made(small_arenas);
    ASSERT_TRUE(made.start().ok());
    ASSERT_EQ(scenario(made), 0U);
    calls = made.os.asked;
  }
  ASSERT_GT(calls, 20U);
  for (std::size_t n = 1; n <= calls; ++n) {
    SCOPED_TRACE("system call " + std::to_string(n));
    fixture made(small_arenas);
    made.os.refuse_at = n;
    if (const status why = made.start(); !why.ok()) {
      EXPECT_EQ(why.code, errc::out_of_memory);
      EXPECT_EQ(why.native, made.os.error);
      continue;
    }
    scenario(made);
    expect_empty(made);
    ASSERT_FALSE(HasFailure());
  }
}

TEST(BackendFaults, EveryKindOfCallMayBeRefusedForGood) {
  for (const system_call kind :
       {system_call::reserve, system_call::release, system_call::commit, system_call::discard,
        system_call::populate, system_call::advise, system_call::bind}) {
    SCOPED_TRACE("kind " + std::to_string(static_cast<int>(kind)));
    fixture made(small_arenas);
    ASSERT_TRUE(made.start().ok());
    made.os.refuse_kind = true;
    made.os.kind = kind;
    scenario(made);
    expect_empty(made);
  }
}

TEST(BackendFaults, ARefusedRequestChangesNothing) {
  fixture made(small_arenas);
  ASSERT_TRUE(made.start().ok());
  made.host.limit = 10 * mib;
  const result<block> first = made.memory.allocate_large(ask(8 * mib));
  ASSERT_TRUE(first.has_value());
  const memory_info before = made.memory.memory(device::cpu());
  for (int i = 0; i != 100; ++i) {
    const result<block> none = made.memory.allocate_large(ask(4 * mib));
    ASSERT_EQ(none.error().code, errc::over_budget);
    ASSERT_EQ(none.error().requested, 4 * mib);
    ASSERT_EQ(none.error().where, device::cpu());
  }
  const memory_info after = made.memory.memory(device::cpu());
  EXPECT_EQ(after.reserved_bytes, before.reserved_bytes);
  EXPECT_EQ(after.address_space_bytes, before.address_space_bytes);
  EXPECT_EQ(after.free_bytes, before.free_bytes);
  made.memory.take_back(device::cpu(), {&*first, 1}, {});
}

TEST(BackendFaults, ARefusedBindingIsNoErrorAndIsTold) {
  fixture made({.device = device::cpu(0), .arena_bytes = 64 * mib});
  made.os.refuse_kind = true;
  made.os.kind = system_call::bind;
  ASSERT_TRUE(made.start().ok());
  EXPECT_EQ(made.memory.devices()[0].name, "host memory, NUMA node 0 (not bound)");
}

}  // namespace
}  // namespace tidepool::cpu
