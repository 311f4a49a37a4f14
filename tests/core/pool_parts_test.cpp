// SPDX-License-Identifier: Apache-2.0
//
// References, slices, pins, adopted memory, resizing; changing what is known of a tensor.
#include "support.hpp"

#include <gtest/gtest.h>

#include <string>

namespace tidepool::test {
namespace {

class PoolParts : public ::testing::Test {
 protected:
  ~PoolParts() override {
    EXPECT_EQ(p.control().verify(), nullptr);
    EXPECT_TRUE(log.take().empty());
  }
  misuse_log log;
  pool p{small_cpu(), log.options()};
};

TEST_F(PoolParts, EveryReferenceKeepsTheTensor) {
  tensor a = p.allocate(100);
  const tensor_id id = a.id();
  std::memset(a.data(), 7, 100);
  tensor b = std::move(*p.share(a));
  EXPECT_EQ(b.id(), id);
  EXPECT_EQ(b.data(), a.data());
  EXPECT_EQ(b.bytes(), 100U);
  EXPECT_EQ(p.retain(id), errc::ok);
  EXPECT_EQ(p.info(id)->references, 3U);
  EXPECT_TRUE(any(p.info(id)->flags & tensor_flags::shared));
  EXPECT_EQ(p.control().statistics().total.live, 1U);
  a.reset();
  EXPECT_EQ(p.release(id), errc::ok);
  EXPECT_EQ(p.info(id)->references, 1U);
  EXPECT_EQ(byte_of(b, 99), 7);
  b.reset();
  EXPECT_FALSE(p.info(id).has_value());
  EXPECT_EQ(p.control().statistics().total.frees, 1U);
}

TEST_F(PoolParts, ThirtyTwoThousandSevenHundredAndSixtySevenReferencesAreTheMost) {
  const tensor_id id = p.allocate(64).release();
  for (int i = 1; i < 32767; ++i) {
    ASSERT_EQ(p.retain(id), errc::ok) << i;
  }
  EXPECT_EQ(p.info(id)->references, 32767U);
  EXPECT_EQ(p.retain(id), errc::too_many);
  EXPECT_EQ(p.pin(id).error().code, errc::too_many);
  EXPECT_EQ(p.info(id)->references, 32767U);
  EXPECT_EQ(p.info(id)->lifecycle, lifecycle::temporary);
  for (int i = 0; i < 32767; ++i) {
    ASSERT_TRUE(p.info(id).has_value()) << i;
    ASSERT_EQ(p.release(id), errc::ok) << i;
  }
  EXPECT_FALSE(p.info(id).has_value());
}

TEST_F(PoolParts, SlicesOutliveTheirParentAndNest) {
  tensor whole = p.allocate(1000, {}, {.category = category::input});
  const tensor_id parent = whole.id();
  auto* const base = static_cast<unsigned char*>(whole.data());
  for (std::size_t i = 0; i < 1000; ++i) {
    base[i] = static_cast<unsigned char>(i);
  }
  tensor part = std::move(*p.slice(whole, 100, 500));
  tensor inner = std::move(*p.slice(part, 50, 450));
  EXPECT_EQ(inner.data(), base + 150);
  const tensor_info info = *p.info(inner.id());
  EXPECT_EQ(info.parent, part.id());
  EXPECT_EQ(info.bytes, 450U);
  EXPECT_EQ(info.capacity, 450U);
  EXPECT_EQ(info.category, category::input);
  EXPECT_TRUE(any(info.flags & tensor_flags::slice));
  EXPECT_EQ(p.info(part.id())->parent, parent);
  whole.reset();
  part.reset();
  EXPECT_TRUE(p.info(parent).has_value());
  // The block is not given to anybody else.
  std::vector<tensor> others;
  for (int i = 0; i < 200; ++i) {
    others.push_back(p.allocate(1000));
    std::memset(others.back().data(), 0xff, 1000);
  }
  EXPECT_EQ(byte_of(inner, 0), 150);
  EXPECT_EQ(byte_of(inner, 449), static_cast<unsigned char>(599));
  inner.reset();
  EXPECT_FALSE(p.info(parent).has_value());
  EXPECT_EQ(p.control().statistics().total.live, 200U);
}

TEST_F(PoolParts, SlicesMayBeEmptyOrWholeButNotBeyond) {
  const tensor a = p.allocate(100);
  EXPECT_EQ(p.slice(a, 0, 100)->data(), a.data());
  EXPECT_EQ(p.slice(a, 100, 0)->bytes(), 0U);
  EXPECT_EQ(p.slice(a, 0, 0)->bytes(), 0U);
  const std::uint32_t references = p.info(a.id())->references;
  struct range {
    std::size_t offset;
    std::size_t bytes;
  };
  for (const range r :
       {range{0, 101}, range{1, 100}, range{101, 0}, range{100, 1}, range{SIZE_MAX, 1},
        range{1, SIZE_MAX}, range{SIZE_MAX, SIZE_MAX}, range{50, SIZE_MAX - 49}}) {
    EXPECT_EQ(p.slice(a, r.offset, r.bytes).error().code, errc::invalid_argument) << r.offset;
  }
  EXPECT_EQ(p.info(a.id())->references, references);
  const tensor empty = p.allocate(0);
  const tensor none = std::move(*p.slice(empty, 0, 0));
  EXPECT_EQ(none.data(), nullptr);
  EXPECT_EQ(p.slice(empty, 0, 1).error().code, errc::invalid_argument);
  EXPECT_EQ(p.control().statistics().total.live, 3U);
}

TEST_F(PoolParts, PinsAreCountedAndKeepTheTensor) {
  tensor a = p.allocate(100, {}, {.movable = true});
  const tensor_id id = a.id();
  void* const data = *p.pin(id);
  EXPECT_EQ(data, a.data());
  EXPECT_EQ(*p.pin(id), data);
  EXPECT_EQ(p.info(id)->pins, 2U);
  EXPECT_TRUE(any(p.info(id)->flags & tensor_flags::pinned_in_place));
  EXPECT_EQ(p.unpin(id), errc::ok);
  EXPECT_TRUE(any(p.info(id)->flags & tensor_flags::pinned_in_place));
  a.reset();  // pinned: it stays until the pin is gone
  EXPECT_EQ(p.deallocate(id), errc::stale_id) << "the pin's reference is not the owner's";
  EXPECT_EQ(log.take().size(), 1U);
  EXPECT_EQ(p.info(id)->pins, 1U);
  EXPECT_EQ(p.unpin(id), errc::ok);
  EXPECT_FALSE(p.info(id).has_value());
  tensor b = p.allocate(100);
  EXPECT_TRUE(p.pin(b.id()).has_value());
  EXPECT_EQ(p.unpin(b.id()), errc::ok);
  EXPECT_FALSE(any(p.info(b.id())->flags & tensor_flags::pinned_in_place));
  EXPECT_EQ(p.info(b.id())->references, 1U);
}

struct release_log {
  int calls = 0;
  void* data = nullptr;
  std::size_t bytes = 0;
  static void note(void* data, std::size_t bytes, void* context) {
    auto& self = *static_cast<release_log*>(context);
    ++self.calls;
    self.data = data;
    self.bytes = bytes;
  }
};

TEST_F(PoolParts, AdoptedMemoryIsReleasedOnceAfterTheLastPart) {
  std::array<unsigned char, 256> foreign{};
  release_log done;
  tensor a = p.adopt(foreign.data(), foreign.size(), {},
                     {.key = 11, .release = release_log::note, .context = &done});
  const tensor_id id = a.id();
  EXPECT_EQ(a.data(), foreign.data());
  EXPECT_EQ(*p.find(std::uint64_t{11}), id);
  EXPECT_TRUE(any(p.info(id)->flags & tensor_flags::adopted));
  EXPECT_EQ(p.info(id)->capacity, 256U);
  EXPECT_EQ(p.control().statistics().devices[0].reserved_bytes, 0U);
  tensor part = std::move(*p.slice(a, 16, 16));
  tensor again = std::move(*p.share(a));
  EXPECT_TRUE(p.pin(id).has_value());
  a.reset();
  again.reset();
  part.reset();
  EXPECT_EQ(done.calls, 0);
  EXPECT_EQ(p.unpin(id), errc::ok);
  EXPECT_EQ(done.calls, 1);
  EXPECT_EQ(done.data, foreign.data());
  EXPECT_EQ(done.bytes, 256U);
  EXPECT_EQ(p.find(std::uint64_t{11}).error().code, errc::not_found);
  // The slot's next user has no callback.
  p.allocate(0).reset();
  p.adopt(foreign.data(), 1).reset();
  EXPECT_EQ(done.calls, 1);
}

TEST_F(PoolParts, AdoptedMemoryIsFoundByItsAddress) {
  std::array<unsigned char, 64> foreign{};
  const tensor before = p.adopt(foreign.data(), 8);
  EXPECT_EQ(*p.find(foreign.data()), before.id()) << "adopted before the index was built";
  EXPECT_EQ(p.find(foreign.data() + 8).error().code, errc::not_found);
  tensor after = p.adopt(foreign.data() + 8, 8);
  EXPECT_EQ(*p.find(foreign.data() + 8), after.id());
  const tensor own = p.allocate(64);
  EXPECT_EQ(*p.find(own.data()), own.id());
  EXPECT_EQ(p.control().verify(), nullptr);
  after.reset();
  EXPECT_EQ(p.find(foreign.data() + 8).error().code, errc::not_found);
  EXPECT_TRUE(p.adopt(nullptr, 0));
  EXPECT_EQ(p.find(static_cast<void*>(nullptr)).error().code, errc::not_found);
}

TEST_F(PoolParts, OfTensorsThatAdoptedTheSameMemoryOneIsFound) {
  std::array<unsigned char, 64> foreign{};
  tensor first = p.adopt(foreign.data(), 64);
  EXPECT_TRUE(p.find(foreign.data()).has_value());
  tensor second = p.adopt(foreign.data(), 32);
  tensor third = p.adopt(foreign.data(), 16);
  EXPECT_EQ(*p.find(foreign.data()), first.id());
  first.reset();
  EXPECT_EQ(*p.find(foreign.data()), second.id());
  EXPECT_EQ(p.control().verify(), nullptr);
  third.reset();
  EXPECT_EQ(*p.find(foreign.data()), second.id());
  second.reset();
  EXPECT_EQ(p.find(foreign.data()).error().code, errc::not_found);
  // What the pool owns stays the owner's.
  const tensor own = p.allocate(64);
  p.adopt(own.data(), 64).reset();
  EXPECT_EQ(*p.find(own.data()), own.id());
}

TEST_F(PoolParts, AForcedCloseForgetsAdoptedAddresses) {
  std::array<unsigned char, 64> foreign{};
  tensor one = p.adopt(foreign.data(), 64);
  tensor two = p.adopt(foreign.data(), 64);
  EXPECT_TRUE(p.find(foreign.data()).has_value());
  EXPECT_EQ(p.close(close_mode::force), 2U);
  EXPECT_EQ(p.find(foreign.data()).error().code, errc::not_found);
  EXPECT_EQ(p.control().verify(), nullptr);
  one.reset();
  two.reset();
  EXPECT_EQ(log.take().size(), 2U) << "handles of what force ended";
}

TEST_F(PoolParts, AdoptTakesNullOnlyWithoutBytes) {
  EXPECT_EQ(p.try_adopt(nullptr, 1).error().code, errc::invalid_argument);
  EXPECT_THROW((void)p.adopt(nullptr, 1), error);
  const tensor none = p.adopt(nullptr, 0);
  EXPECT_EQ(none.bytes(), 0U);
  int byte = 0;
  EXPECT_EQ(p.try_adopt(&byte, 1, device::cuda(0)).error().code, errc::unknown_device);
  EXPECT_EQ(p.try_adopt(&byte, 1, {}, {.category = static_cast<category>(77)}).error().code,
            errc::invalid_argument);
  EXPECT_EQ(p.try_adopt(&byte, 1, {}, {.name = name_id::from_value(9)}).error().code,
            errc::invalid_argument);
  EXPECT_EQ(p.try_adopt(&byte, 1, {}, {.lifecycle = static_cast<lifecycle>(9)}).error().code,
            errc::invalid_argument);
  EXPECT_EQ(p.control().statistics().total.live, 1U);
}

TEST_F(PoolParts, ReleaseCallbacksMayUseThePool) {
  std::array<unsigned char, 8> foreign{};
  const tensor_id other = p.allocate(64).release();
  struct both {
    pool* p;
    tensor_id id;
  } context{&p, other};
  p.adopt(foreign.data(), 8, {},
          {.release =
               [](void*, std::size_t, void* c) {
                 const auto& it = *static_cast<both*>(c);
                 EXPECT_EQ(it.p->deallocate(it.id), errc::ok);
                 EXPECT_TRUE(it.p->try_allocate(5000).has_value());
                 (void)it.p->control().trim();
               },
           .context = &context})
      .reset();
  EXPECT_EQ(p.control().statistics().total.live, 0U);
}

TEST_F(PoolParts, ResizeStaysInTheBlockOrChangesNothing) {
  tensor a = p.allocate(1000);  // a block of 1024
  void* const data = a.data();
  EXPECT_EQ(p.resize(a, 1024), errc::ok);
  EXPECT_EQ(a.bytes(), 1024U);
  EXPECT_EQ(p.info(a.id())->bytes, 1024U);
  EXPECT_EQ(p.resize(a, 10), errc::ok);
  EXPECT_EQ(p.control().statistics().total.requested_bytes, 10U);
  for (const std::size_t bytes : {std::size_t{0}, SIZE_MAX, SIZE_MAX / 2, std::size_t{1} << 47}) {
    EXPECT_NE(p.resize(a, bytes), errc::ok) << bytes;
    EXPECT_EQ(a.bytes(), 10U);
    EXPECT_EQ(p.info(a.id())->bytes, 10U);
  }
  EXPECT_EQ(a.data(), data);
  const errc grown = p.resize(a, 5000);
  EXPECT_EQ(a.bytes(), grown == errc::ok ? 5000U : 10U);
  tensor second = std::move(*p.share(a));
  EXPECT_EQ(p.resize(a, 20), errc::unsupported);
  second.reset();
  EXPECT_EQ(p.resize(a, 20), errc::ok);
  const tensor part = std::move(*p.slice(a, 0, 10));
  EXPECT_EQ(p.resize(a, 5), errc::unsupported);
  tensor empty = p.allocate(0);
  EXPECT_EQ(p.resize(empty, 0), errc::ok);
  EXPECT_EQ(p.resize(empty, 1), errc::unsupported);
}

TEST_F(PoolParts, LargeBlocksGrowInPlaceWhereThereIsRoom) {
  tensor a = p.allocate(2 * mib);
  std::memset(a.data(), 5, a.bytes());
  std::size_t bytes = 2 * mib;
  int grown = 0;
  for (int i = 0; i < 12; ++i) {
    bytes += 700 * kib;
    if (p.resize(a, bytes) != errc::ok) {
      break;
    }
    ++grown;
    ASSERT_EQ(p.control().verify(), nullptr);
    ASSERT_EQ(p.control().statistics().total.requested_bytes, bytes);
    ASSERT_EQ(p.control().statistics().total.live, 1U);
    ASSERT_GE(p.info(a.id())->capacity, bytes);
    byte_of(a, bytes - 1) = 9;
    ASSERT_EQ(byte_of(a, 2 * mib - 1), 5);
  }
  EXPECT_GT(grown, 0);
  const std::size_t was = a.bytes();
  a.reset();
  EXPECT_EQ(p.control().statistics().total.requested_bytes, 0U);
  // The longer block serves the longer request.
  a = p.allocate(was);
  EXPECT_GE(p.info(a.id())->capacity, was);
  std::memset(a.data(), 1, was);
}

TEST_F(PoolParts, SettersTouchTheRecordOnly) {
  const name_id name = p.intern("x");
  tensor a = p.allocate(100);
  std::memset(a.data(), 3, 100);
  const tensor_id id = a.id();
  EXPECT_EQ(p.set_category(id, category::kv_cache), errc::ok);
  EXPECT_EQ(p.set_name(id, name), errc::ok);
  EXPECT_EQ(p.set_lifecycle(id, lifecycle::evicted), errc::ok);
  const tensor_info info = *p.info(id);
  EXPECT_EQ(info.category, category::kv_cache);
  EXPECT_EQ(info.name, name);
  EXPECT_EQ(info.lifecycle, lifecycle::evicted);
  EXPECT_EQ(info.references, 1U);
  EXPECT_EQ(info.data, a.data());
  EXPECT_EQ(p.name(info.name), "x");
  EXPECT_EQ(p.set_lifecycle(id, lifecycle::temporary), errc::ok);
  EXPECT_EQ(p.set_name(id, {}), errc::ok);
  EXPECT_EQ(p.info(id)->name, name_id{});
  EXPECT_EQ(byte_of(a, 99), 3);
  a.reset();
  EXPECT_EQ(p.control().statistics().total.live, 0U);
}

TEST_F(PoolParts, TensorsMoveAndReleaseLikeValues) {
  tensor a = p.allocate(64);
  const tensor_id id = a.id();
  tensor b = std::move(a);
  EXPECT_FALSE(a);  // NOLINT: moved-from tensors own nothing, by contract
  EXPECT_EQ(b.id(), id);
  tensor c = p.allocate(64);
  const tensor_id replaced = c.id();
  c = std::move(b);
  EXPECT_FALSE(p.info(replaced).has_value());
  EXPECT_TRUE(p.info(id).has_value());
  tensor& same = c;
  c = std::move(same);
  EXPECT_TRUE(p.info(id).has_value());
  EXPECT_EQ(c.release(), id);
  EXPECT_FALSE(c);
  EXPECT_TRUE(p.info(id).has_value());
  EXPECT_EQ(p.deallocate(id), errc::ok);
  c.reset();
  c.reset(stream_ref{});
}

}  // namespace
}  // namespace tidepool::test
