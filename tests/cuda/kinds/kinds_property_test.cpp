// SPDX-License-Identifier: Apache-2.0
//
// Random work of kernels, copies and the host on all kinds of memory at once, checked by values and
// by cudasim.
#include "../../support/amount.hpp"
#include "kinds_support.hpp"

#include <array>
#include <random>
#include <utility>

namespace tidepool::test {
namespace {

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
