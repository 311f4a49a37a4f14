// SPDX-License-Identifier: Apache-2.0
//
// A backend that serves several kinds of memory: what may be named, what it costs, and random work
// of kernels, copies and the host on all kinds at once, checked by values and by cudasim.
#include "../../support/amount.hpp"
#include "../support.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <random>
#include <utility>

namespace tidepool::test {
namespace {

const device gpu = device::cuda(0);

[[nodiscard]] const device_description* described(const backend& by, device where) {
  const auto all = by.devices();
  const auto found = std::find_if(all.begin(), all.end(),
                                  [&](const device_description& d) { return d.where == where; });
  return found == all.end() ? nullptr : &*found;
}

class Kinds : public CudaBackend {
 protected:
  void TearDown() override {
    if (tested == nullptr) {
      return;
    }
    expect_success(cudaDeviceSynchronize());
    for (const device_description& d : tested->devices()) {
      (void)tested->trim(d.where, 0);
      EXPECT_EQ(tested->memory(d.where).reserved_bytes, 0U) << d.name;
    }
    CudaBackend::TearDown();
  }
  [[nodiscard]] block_request ask_for(device of, std::size_t bytes, const stream_ref& in) const {
    return {.where = of, .bytes = bytes, .alignment = 256, .stream = in};
  }
  // In no stream's order.
  [[nodiscard]] block make_large_of(device of, std::size_t bytes) {
    const result<block> made = tested->allocate_large(ask_for(of, bytes, {}));
    EXPECT_TRUE(made.has_value()) << to_string(made.error());
    return made ? *made : block{};
  }
  [[nodiscard]] block make_small_of(device of, std::size_t bytes) {
    block made;
    EXPECT_EQ(tested->refill(ask_for(of, bytes, {}), {&made, 1}).count, 1U);
    return made;
  }
};

TEST_F(Kinds, AllThatTheGpuCanAreServed) {
  EXPECT_NE(described(*tested, gpu), nullptr);
  EXPECT_NE(described(*tested, gpu.with(memory_kind::plain)), nullptr);
  EXPECT_NE(described(*tested, device::pinned(gpu)), nullptr);
  int managed = 0;
  expect_success(cudaDeviceGetAttribute(&managed, cudaDevAttrManagedMemory, 0));
  EXPECT_EQ(described(*tested, device::managed(gpu)) != nullptr, managed != 0);
}

TEST_F(Kinds, NamedDevicesAreServedInTheirOrder) {
  const std::vector<device> named{device::pinned(std::uint8_t{0}), device::pinned(gpu), gpu};
  const auto made = cuda::try_make_backend({.devices = named});
  ASSERT_TRUE(made) << to_string(made.error());
  ASSERT_EQ((*made)->devices().size(), named.size());
  for (std::size_t i = 0; i != named.size(); ++i) {
    EXPECT_EQ((*made)->devices()[i].where, named[i]);
  }
}

TEST_F(Kinds, DevicesThatCannotBeNamedAreInvalid) {
  const auto code_of = [](std::vector<device> named) {
    return cuda::try_make_backend({.devices = std::move(named)}).error().code;
  };
  EXPECT_EQ(code_of({gpu, gpu}), errc::invalid_argument);
  EXPECT_EQ(code_of({device::cuda(1)}), errc::invalid_argument);
  EXPECT_EQ(code_of({device::cpu()}), errc::invalid_argument);
  EXPECT_EQ(code_of({device::pinned(device::cuda(1))}), errc::invalid_argument);
  EXPECT_EQ(code_of({device::pinned(gpu).with(memory_kind::plain)}), errc::invalid_argument);
  EXPECT_EQ(code_of({device::pinned(std::uint8_t{200})}), errc::unknown_device);
  if (described(*tested, device::managed(gpu)) == nullptr) {
    EXPECT_EQ(code_of({device::managed(gpu)}), errc::unsupported);
  }
  if (described(*tested, gpu.with(memory_kind::growable)) == nullptr) {
    EXPECT_EQ(code_of({gpu.with(memory_kind::growable)}), errc::unsupported);
  }
}

// A batch of what is held costs one question: does the stream capture? Memory for the host serves
// when the host knows that work on it is over: one record and one query more, with their questions.
TEST_F(Kinds, HeldMemoryOfEachKindCostsAFewCallsForABatch) {
  if (cudasim_is_present() == 0) {
    GTEST_SKIP() << "calls are counted by cudasim";
  }
  const test_stream s(*tested, 1);
  for (const device_description& d : tested->devices()) {
    constexpr std::uint64_t rounds = 10;
    std::array<block, 8> blocks;
    ASSERT_EQ(tested->refill(ask_for(d.where, 4 * kib, s.ref()), blocks).count, blocks.size());
    const std::uint64_t before = calls_of(nullptr);
    for (std::uint64_t i = 0; i != rounds; ++i) {
      tested->take_back(d.where, blocks, s.ref());
      ASSERT_EQ(tested->refill(ask_for(d.where, 4 * kib, s.ref()), blocks).count, blocks.size());
    }
    EXPECT_LE(calls_of(nullptr) - before, (d.host_accessible ? 5 : 1) * rounds) << d.name;
    tested->take_back(d.where, blocks, s.ref());
    s.wait();
  }
}

// What no stream used is free at once, however busy the default stream is.
TEST_F(Kinds, MemoryForTheHostThatNoStreamUsedIsIdle) {
  for (const device_description& d : tested->devices()) {
    if (!d.host_accessible) {
      continue;
    }
    SCOPED_TRACE(d.name);
    const wrong_words wrong;
    for (const std::size_t bytes : {4 * kib, 3 * mib}) {
      const block busy = make_large_of(d.where, 2 * mib);
      fill(busy, 1, cudaStreamLegacy);
      const block held =
          bytes > mib ? make_large_of(d.where, bytes) : make_small_of(d.where, bytes);
      const std::size_t pending = tested->memory(d.where).pending_bytes;
      const std::uint64_t before = calls_of(nullptr);
      tested->take_back(d.where, {&held, 1}, {});
      EXPECT_EQ(tested->memory(d.where).pending_bytes, pending);
      EXPECT_EQ(calls_of(nullptr), before);
      const block again =
          bytes > mib ? make_large_of(d.where, bytes) : make_small_of(d.where, bytes);
      EXPECT_EQ(again.data, held.data);
      tested->take_back_after(d.where, again, std::array{stream_ref{}});
      EXPECT_EQ(tested->memory(d.where).pending_bytes, pending);
      tested->take_back(d.where, {&busy, 1}, cuda::stream(cudaStreamLegacy));
      expect_success(cudaDeviceSynchronize());
    }
  }
}

// Another stream's order says nothing to the host, which writes at once: under a limit the request
// waits for the work, or is refused, and never gets memory that work still uses.
TEST_F(Kinds, MemoryForTheHostIsInNobodysUseWhenItIsGiven) {
  for (const device_description& d : tested->devices()) {
    if (!d.host_accessible) {
      continue;
    }
    SCOPED_TRACE(d.name);
    const test_stream s(*tested, 1);
    const wrong_words wrong;
    host.limit = host.claimed.load() + 8 * mib;
    for (unsigned value = 1; value != 6; ++value) {
      const block held = make_large_of(d.where, 6 * mib);
      fill(held, value, s.get());
      check(held, value, wrong, s.get());
      tested->take_back(d.where, {&held, 1}, s.ref());
      const block next = make_large_of(d.where, 6 * mib);
      static_cast<unsigned*>(next.data)[0] = 0;  // cudasim reports it if work on it goes on
      tested->take_back(d.where, {&next, 1}, {});
    }
    EXPECT_EQ(wrong.count(), 0U);
    (void)tested->trim(d.where, 0);
    host.limit = SIZE_MAX;
  }
}

TEST_F(Kinds, AGrowableBlockGrowsInPlaceUnderWork) {
  const device growable = gpu.with(memory_kind::growable);
  if (described(*tested, growable) == nullptr) {
    GTEST_SKIP() << "this GPU cannot map memory";
  }
  const test_stream s(*tested, 1);
  const wrong_words wrong;
  const result<block> made = tested->allocate_large(ask_for(growable, 2 * mib, s.ref()));
  ASSERT_TRUE(made) << to_string(made.error());
  block held = *made;
  for (unsigned value = 1; value != 6; ++value) {
    fill(held, value, s.get());
    const result<std::size_t> longer = tested->extend(growable, held, held.bytes + 2 * mib);
    ASSERT_TRUE(longer) << to_string(longer.error());
    check(held, value, wrong, s.get());
    held.bytes = *longer;
  }
  EXPECT_EQ(wrong.count(), 0U);
  tested->take_back(growable, {&held, 1}, s.ref());
}

/// One run of random work.
class random_work {
 public:
  random_work(backend& of, unsigned seed) : of_(of), random_(seed) {
    for (std::uint32_t i = 0; i != 3; ++i) {
      streams_.emplace_back(of, i + 1);
    }
  }

  void step() {
    switch (below(10)) {
    case 0:
    case 1:
    case 2:
    case 3:
      allocate();
      break;
    case 4:
      use_by_host();
      break;
    case 5:
      hand_over();
      break;
    case 6:
      extend();
      break;
    case 7:
      migrate();
      break;
    case 8:
      release();
      release();
      break;
    default:
      rest();
    }
  }
  void finish() {
    while (!held_.empty()) {
      release();
    }
    EXPECT_EQ(wrong_.count(), 0U);
  }

 private:
  struct one {
    const device_description* of;
    block what;
    std::size_t stream;
    unsigned value;
  };

  [[nodiscard]] std::size_t below(std::size_t n) { return random_() % n; }
  [[nodiscard]] one* any() { return held_.empty() ? nullptr : &held_[below(held_.size())]; }
  void write_by_gpu(one& o) {
    o.value = ++last_value_;
    fill(o.what, o.value, streams_[o.stream].get());
  }
  void write_by_host(one& o) {
    o.value = ++last_value_;
    auto* const words = static_cast<unsigned*>(o.what.data);
    const std::size_t n = o.what.bytes / sizeof(unsigned);
    std::fill_n(words, std::min<std::size_t>(n, 2048), o.value);
    std::fill_n(words + n - std::min<std::size_t>(n, 1024), std::min<std::size_t>(n, 1024),
                o.value);
  }
  void check_by_gpu(const one& o) { check(o.what, o.value, wrong_, streams_[o.stream].get()); }

  void allocate() {
    const auto all = of_.devices();
    const device_description& of = all[below(all.size())];
    const std::size_t s = below(streams_.size());
    constexpr std::array<std::size_t, 7> sizes = {256,     4 * kib, 48 * kib,     512 * kib,
                                                  2 * mib, 3 * mib, 5 * mib + kib};
    const std::size_t bytes = sizes[below(sizes.size())];
    const block_request request{
        .where = of.where, .bytes = bytes, .alignment = 256, .stream = streams_[s].ref()};
    one made{&of, {}, s, 0};
    if (bytes <= mib) {
      if (of_.refill(request, {&made.what, 1}).count != 1) {
        return;
      }
    } else if (const result<block> large = of_.allocate_large(request); large) {
      made.what = *large;
    } else {
      return;
    }
    if (made.of->host_accessible) {
      write_by_host(made);  // at once: nobody uses memory for the host that the backend gives
    } else {
      write_by_gpu(made);
    }
    held_.push_back(made);
  }

  void use_by_host() {
    one* const o = any();
    if (o == nullptr || !o->of->host_accessible) {
      return;
    }
    check_by_gpu(*o);
    streams_[o->stream].wait();
    const auto* const words = static_cast<const unsigned*>(o->what.data);
    EXPECT_EQ(words[0], o->value);
    EXPECT_EQ(words[o->what.bytes / sizeof(unsigned) - 1], o->value);
    write_by_host(*o);
    check_by_gpu(*o);
  }

  void hand_over() {
    one* const o = any();
    if (o == nullptr) {
      return;
    }
    const std::size_t to = below(streams_.size());
    EXPECT_TRUE(of_.order(o->of->where, streams_[o->stream].ref(), streams_[to].ref()).ok());
    o->stream = to;
    check_by_gpu(*o);
    write_by_gpu(*o);
  }

  void extend() {
    one* const o = any();
    if (o == nullptr || !o->of->can_extend || o->what.bytes <= mib) {
      return;
    }
    check_by_gpu(*o);
    if (const auto longer = of_.extend(o->of->where, o->what, o->what.bytes + 512 * kib); longer) {
      o->what.bytes = *longer;
      write_by_gpu(*o);
    }
  }

  void migrate() {
    one* const o = any();
    if (o == nullptr || !o->of->can_migrate) {
      return;
    }
    const std::span<const std::byte> range(static_cast<const std::byte*>(o->what.data),
                                           o->what.bytes);
    const device to = below(2) == 0 ? gpu : device::cpu();
    const status why = of_.prefetch(o->of->where, range, to, streams_[o->stream].ref());
    EXPECT_TRUE(why.ok()) << to_string(why);
    EXPECT_TRUE(
        of_.advise(o->of->where, range, {.what = memory_advice::preferred_location, .of = to})
            .ok());
    check_by_gpu(*o);
  }

  void release() {
    if (held_.empty()) {
      return;
    }
    const std::size_t i = below(held_.size());
    const one o = held_[i];
    held_[i] = held_.back();
    held_.pop_back();
    check_by_gpu(o);
    if (below(3) == 0) {
      const std::size_t other = below(streams_.size());
      EXPECT_TRUE(of_.order(o.of->where, streams_[o.stream].ref(), streams_[other].ref()).ok());
      check(o.what, o.value, wrong_, streams_[other].get());
      const std::array<stream_ref, 2> both = {streams_[o.stream].ref(), streams_[other].ref()};
      of_.take_back_after(o.of->where, o.what, both);
    } else {
      of_.take_back(o.of->where, {&o.what, 1}, streams_[o.stream].ref());
    }
  }

  void rest() {
    const auto all = of_.devices();
    const device where = all[below(all.size())].where;
    switch (below(4)) {
    case 0:
      (void)of_.trim(where, 0);
      break;
    case 1:
      (void)of_.decay(where);
      break;
    case 2:
      streams_[below(streams_.size())].wait();
      break;
    default:
      EXPECT_EQ(of_.verify(), nullptr);
    }
  }

  backend& of_;
  std::mt19937 random_;
  std::vector<test_stream> streams_;
  wrong_words wrong_;
  std::vector<one> held_;
  unsigned last_value_ = 0;
};

TEST_F(Kinds, RandomWorkOfKernelsAndTheHostOnAllKinds) {
  const std::uint64_t seeds = amount("TIDEPOOL_TEST_SEEDS", 20);
  for (unsigned seed = 1; seed <= seeds; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    host.limit = seed % 2 == 0 ? 48 * mib : SIZE_MAX;
    random_work work(*tested, seed);
    for (int i = 0; i != 120; ++i) {
      work.step();
    }
    work.finish();
    if (HasFailure()) {
      return;
    }
  }
}

}  // namespace
}  // namespace tidepool::test
