// SPDX-License-Identifier: Apache-2.0
//
// The small public values: result, status and exceptions, device, ids, flags, version.
#include "system/format.hpp"
#include <tidepool/pool.hpp>
#include <tidepool/version.hpp>

#include <gtest/gtest.h>

#include <array>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <type_traits>

namespace tidepool {
namespace {

TEST(Result, HoldsAValueOrAReason) {
  const result<int> good = 7;
  EXPECT_TRUE(good.has_value());
  EXPECT_EQ(*good, 7);
  EXPECT_TRUE(good.error().ok());
  const result<int> bad = status{.code = errc::closed, .native = 5};
  EXPECT_FALSE(bad);
  EXPECT_EQ(bad.error().code, errc::closed);
  EXPECT_EQ(bad.error().native, 5);
  const result<int> brief = errc::not_found;
  EXPECT_EQ(brief.error().code, errc::not_found);
}

TEST(Result, CopiesMovesAndDestroysOnce) {
  const auto counted = std::make_shared<int>(1);
  {
    result<std::shared_ptr<int>> a = counted;
    result<std::shared_ptr<int>> b = a;
    EXPECT_EQ(counted.use_count(), 3);
    result<std::shared_ptr<int>> c = std::move(a);
    EXPECT_EQ(counted.use_count(), 3);
    b = errc::closed;
    EXPECT_EQ(counted.use_count(), 2);
    b = c;
    EXPECT_EQ(counted.use_count(), 3);
    c = std::move(b);
    EXPECT_EQ(counted.use_count(), 2);
    const auto& same = c;
    c = same;
    EXPECT_EQ(**c, 1);
  }
  EXPECT_EQ(counted.use_count(), 1);
}

TEST(Result, TakesMoveOnlyValues) {
  result<std::unique_ptr<int>> owner = std::make_unique<int>(3);
  const std::unique_ptr<int> out = std::move(*owner);
  EXPECT_EQ(*out, 3);
  static_assert(!std::is_copy_constructible_v<result<std::unique_ptr<int>>>);
}

TEST(Status, EveryCodeHasATextOfItsOwn) {
  std::set<std::string> texts;
  for (int code = 0; code <= 14; ++code) {
    texts.insert(describe(static_cast<errc>(code)));
  }
  EXPECT_EQ(texts.size(), 15U);
  EXPECT_STREQ(describe(static_cast<errc>(15)), "unknown error code");
  EXPECT_STREQ(describe(static_cast<errc>(-1)), "unknown error code");
}

TEST(Status, TextsNameWhatIsKnown) {
  EXPECT_EQ(to_string({}), "ok");
  EXPECT_EQ(to_string({.code = errc::over_budget, .requested = 42, .where = device::cuda(1)}),
            "over the limit: 42 bytes on cuda:1");
  EXPECT_EQ(to_string({.code = errc::driver_error, .native = 12, .text = "mmap"}),
            "system or driver call failed: mmap (native code 12)");
  EXPECT_EQ(to_string({.code = errc::unknown_device, .where = device::cpu(3)}),
            "unknown device: cpu:node3");
}

TEST(Exceptions, CarryNumbers) {
  const status why{.code = errc::over_budget, .requested = 1000, .where = device::cpu()};
  const out_of_memory thrown(why, 500, 400);
  EXPECT_EQ(thrown.requested(), 1000U);
  EXPECT_EQ(thrown.limit(), 500U);
  EXPECT_EQ(thrown.reserved(), 400U);
  EXPECT_EQ(thrown.device(), device::cpu());
  for (const char* const part : {"1000", "500", "400", "over the limit"}) {
    EXPECT_NE(std::string(thrown.what()).find(part), std::string::npos) << thrown.what();
  }
  const out_of_memory unlimited({.code = errc::out_of_memory, .requested = SIZE_MAX}, SIZE_MAX,
                                SIZE_MAX);
  EXPECT_NE(std::string(unlimited.what()).find("no limit set"), std::string::npos);
  EXPECT_THROW(throw_status({.code = errc::out_of_memory}), std::bad_alloc);
  EXPECT_THROW(throw_status({.code = errc::over_budget}), out_of_memory);
  EXPECT_THROW(throw_status({.code = errc::too_many}), error);
  EXPECT_THROW(throw_status({.code = errc::too_many}), std::runtime_error);
}

TEST(Device, BitsAreARoundTripAndDistinct) {
  std::set<std::uint32_t> bits;
  for (const device d : {device::cpu(), device::cpu(0), device::cpu(254), device::cuda(0),
                         device::cuda(65535), device::pinned(device::cuda(1)), device::pinned(1),
                         device::managed(device::cuda(1)), device::user(0), placement::automatic}) {
    EXPECT_EQ(device::from_bits(d.bits()), d);
    EXPECT_TRUE(bits.insert(d.bits()).second) << detail::device_name(d);
  }
  EXPECT_TRUE(device::cpu(1).is_host());
  EXPECT_TRUE(device::managed(device::cuda(0)).is_host());
  EXPECT_FALSE(device::cuda(0).is_host());
  EXPECT_FALSE(device::user(0).is_host());
  EXPECT_EQ(device{}, device::cpu());
}

TEST(Device, HasAName) {
  EXPECT_EQ(detail::device_name(device::cpu()), "cpu");
  EXPECT_EQ(detail::device_name(device::cpu(0)), "cpu:node0");
  EXPECT_EQ(detail::device_name(device::cpu(254)), "cpu:node254");
  EXPECT_EQ(detail::device_name(device::cuda(0)), "cuda:0");
  EXPECT_EQ(detail::device_name(device::cuda(65535)), "cuda:65535");
  EXPECT_EQ(detail::device_name(device::pinned(device::cuda(2))), "pinned:2");
  EXPECT_EQ(detail::device_name(device::pinned(2)), "pinned:node2");
  EXPECT_EQ(detail::device_name(device::managed(device::cuda(1))), "managed:1");
  EXPECT_EQ(detail::device_name(device::user(9)), "user:9");
  EXPECT_EQ(detail::device_name(placement::automatic), "automatic");
  constexpr std::uint8_t any = device::any_node;
  EXPECT_EQ(detail::device_name({device_kind::hip, 1, any}), "hip:1");
  EXPECT_EQ(detail::device_name({device_kind::metal, 0, any}), "metal:0");
  EXPECT_EQ(detail::device_name({device_kind::remote, 3, any}), "remote:3");
  EXPECT_EQ(detail::device_name({device_kind::cuda, 1, 0}), "cuda:1:node0");
  EXPECT_EQ(detail::device_name({device_kind::cpu, 1, any}), "cpu:1");
  EXPECT_EQ(detail::device_name({static_cast<device_kind>(9), 0, any}), "kind9:0");
}

TEST(Device, NamesAreDistinct) {
  constexpr std::array<std::uint16_t, 4> ordinals{0, 1, 2, 65535};
  constexpr std::array<std::uint8_t, 5> nodes{0, 1, 2, 254, device::any_node};
  std::map<std::string, device> names;
  for (unsigned kind = 0; kind < 15; ++kind) {
    for (const std::uint16_t ordinal : ordinals) {
      for (const std::uint8_t node : nodes) {
        const device where{static_cast<device_kind>(kind), ordinal, node};
        const auto [known, added] = names.emplace(detail::device_name(where), where);
        EXPECT_TRUE(added) << known->first << ": " << std::hex << known->second.bits() << " and "
                           << where.bits();
      }
    }
  }
}

TEST(Format, BytesForPeople) {
  EXPECT_EQ(detail::human_bytes(0), "0 B");
  EXPECT_EQ(detail::human_bytes(1023), "1023 B");
  EXPECT_EQ(detail::human_bytes(1536), "1.50 KiB");
  EXPECT_EQ(detail::human_bytes(UINT64_MAX), "16.00 EiB");
  std::string out;
  const std::string text(2000, 'x');
  detail::append(out, "%s!", text.c_str());  // longer than the buffer
  EXPECT_EQ(out, text + "!");
}

TEST(Flags, AreASet) {
  const tensor_flags both = tensor_flags::shared | tensor_flags::keyed;
  EXPECT_TRUE(any(both & tensor_flags::keyed));
  EXPECT_FALSE(any(both & tensor_flags::slice));
  EXPECT_EQ(both & ~tensor_flags::keyed, tensor_flags::shared);
}

TEST(AllocationOptions, PlainOnesTakeTheShortPath) {
  EXPECT_TRUE(allocation_options{}.is_plain());
  EXPECT_TRUE((allocation_options{.name = name_id::from_value(3), .alignment = 64}.is_plain()));
  EXPECT_FALSE((allocation_options{.category = category::weight}.is_plain()));
  EXPECT_FALSE((allocation_options{.alignment = 128}.is_plain()));
  EXPECT_FALSE((allocation_options{.alignment = 3}.is_plain()));
  EXPECT_FALSE((allocation_options{.key = 1}.is_plain()));
  EXPECT_FALSE((allocation_options{.category = static_cast<category>(16)}.is_plain()));
}

TEST(Version, IsWhatTheHeaderSays) {
  EXPECT_EQ(std::string(version()), std::to_string(version_major) + "." +
                                        std::to_string(version_minor) + "." +
                                        std::to_string(version_patch));
}

}  // namespace
}  // namespace tidepool
