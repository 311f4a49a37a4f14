// SPDX-License-Identifier: Apache-2.0
//
// The mean latency against the true one, by a clock that the test moves: every operation takes the
// ticks that the test says. The threads here are front caches without a pool, whose warm and slow
// operations take the steps of pool/warm_path.cpp.
#include "cache/front_cache.hpp"

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <new>
#include <vector>

namespace tidepool::detail {
namespace {

/// A tick is a nanosecond. Readings take time, and the clock moves in steps.
struct test_clock {
  static inline std::uint64_t ticks = 0;
  static inline std::uint64_t reading = 0;
  static inline std::uint64_t fenced_reading = 0;
  static inline std::uint64_t step = 1;

  static std::uint64_t read(std::uint64_t cost) noexcept {
    ticks += cost;
    return ticks / step * step;
  }
  static std::uint64_t now() noexcept { return read(reading); }
  static std::uint64_t fenced_now() noexcept { return read(fenced_reading); }
  static std::uint64_t steady_ns() noexcept { return ticks; }
  static void reset() noexcept { ticks = reading = fenced_reading = 0, step = 1; }
};

using test_sampler = basic_latency_sampler<test_clock>;
constexpr std::size_t block_bytes = 64;

/// What operations of one kind took, as the program saw them.
struct truth {
  std::uint64_t ticks = 0;
  std::uint64_t count = 0;
  [[nodiscard]] double mean() const {
    return static_cast<double>(ticks) / static_cast<double>(count);
  }
};

/// What an operation takes: the slow one of a batch, and the warm ones by their place after it.
struct costs {
  std::uint64_t slow = 400;
  std::uint64_t warm = 9;
  std::uint64_t dear_place = 11;
  std::uint64_t dear = 50;

  [[nodiscard]] std::uint64_t of(std::uint64_t place) const {
    return place % 28 == dear_place ? dear : warm;
  }
};

class test_thread {
 public:
  explicit test_thread(test_sampler& sampler) : sampler_(sampler) {
    const std::size_t bytes = front_cache::bytes_for(1);
    memory_.reset(static_cast<std::byte*>(::operator new (bytes, std::align_val_t{64})));
    cache_ = ::new (memory_.get()) front_cache;
    ::new (memory_.get() + sizeof(front_cache)) lane_front;
    cache_->gate = &gate_;
    gate_.cache.store(cache_);
    magazine_of(*cache_).open();
    magazine_of(*cache_).limit = magazine_slots;
  }

  record* allocate() {
    front_cache& entered = gate_.enter();
    magazine& ready = magazine_of(entered);
    if (ready.top == nullptr) {
      gate_.leave();
      return allocate_slowly();
    }
    record* const slot = ready.top;
    ready.top = ready.slots[std::size_t{ready.depth()} - 1];
    ready.word += pop_step;
    count(operation_kind::allocate, allocating.of(++place_));
    if (ready.is_carried()) {
      ready.keep_counting();
      cache_->ask_after_carry(ready);
    }
    gate_.leave();
    cache_->close_for_sample();
    return slot;
  }

  bool free(record* slot) {
    front_cache& entered = gate_.enter();
    magazine& home = magazine_of(entered);
    if (home.depth() >= home.limit) {
      gate_.leave();
      return free_slowly(slot);
    }
    home.push(slot);
    count(operation_kind::free, freeing.of(++place_));
    gate_.leave();
    return true;
  }

  [[nodiscard]] latency_sums sums(operation_kind what) const { return cache_->latency.sums(what); }
  [[nodiscard]] front_cache& cache() { return *cache_; }
  [[nodiscard]] static magazine& magazine_of(front_cache& of) {
    return of.lane0_small(size_class_of(block_bytes));
  }

  costs allocating;
  costs freeing{.slow = 700, .warm = 7, .dear_place = 23, .dear = 60};
  truth allocations;
  truth frees;

 private:
  struct release {
    void operator()(std::byte* memory) const { ::operator delete (memory, std::align_val_t{64}); }
  };

  void count(operation_kind what, std::uint64_t ticks) {
    test_clock::ticks += ticks;
    truth& sum = what == operation_kind::allocate ? allocations : frees;
    sum.ticks += ticks;
    ++sum.count;
  }
  // The program waits for both readings of the clock.
  void count_slow(operation_kind what, std::uint64_t ticks, std::uint64_t begin) {
    count(what, ticks);
    (what == operation_kind::allocate ? allocations : frees).ticks += 2 * test_clock::reading;
    sampler_.end_slow(&cache_->latency, what, begin, true);
    cache_->close_for_sample();
    place_ = 0;
  }

  template <class F>
  auto again(operation_kind what, F&& operation) {
    const auto answer = cache_->latency.is_wanted(what)
                            ? cache_->latency.sample<test_clock>(what, operation)
                            : operation();
    cache_->close_for_sample();
    return answer;
  }

  record* allocate_slowly() {
    if (cache_->open_after_sample()) {
      return again(operation_kind::allocate, [&] { return allocate(); });
    }
    const std::uint64_t begin = test_clock::now();
    EXPECT_TRUE(cache_->enter());
    magazine& m = magazine_of(*cache_);
    for (int i = 1; i < 28; ++i) {
      m.push(&records_.emplace_back());
      m.filled += 1;
    }
    m.count_pop({});
    cache_->leave();
    count_slow(operation_kind::allocate, allocating.slow, begin);
    return &records_.emplace_back();
  }

  bool free_slowly(record* slot) {
    if (cache_->open_after_sample()) {
      return again(operation_kind::free, [&] { return free(slot); });
    }
    const std::uint64_t begin = test_clock::now();
    EXPECT_TRUE(cache_->enter());
    magazine& m = magazine_of(*cache_);
    std::array<record*, magazine_slots> older;
    m.take_oldest(m.depth() < 28 ? m.depth() : 28, older.data());
    m.push(slot);
    cache_->ask_after_slow_free(m);
    cache_->leave();
    count_slow(operation_kind::free, freeing.slow, begin);
    return true;
  }

  test_sampler& sampler_;
  std::unique_ptr<std::byte, release> memory_;
  front_cache* cache_ = nullptr;
  gate_entry gate_;
  std::deque<record> records_;
  std::uint64_t place_ = 0;  // operations since the last slow one
};

class LatencySampler : public testing::Test {
 protected:
  LatencySampler() {
    test_clock::reset();
    // A step is as long as a warm operation, as it is on processors.
    test_clock::step = 7;
    test_clock::reading = 32;
    test_clock::fenced_reading = 80;
  }
  void expect_true_means(test_thread& thread) const {
    const timing_cost timing{.reading = 32, .warm = 80};
    const auto expect = [&](operation_kind what, const truth& sum) {
      const latency found = sampler.mean(thread.sums(what), sum.count, timing);
      EXPECT_NEAR(found.mean_ns, sum.mean(), 0.1 * sum.mean()) << found.samples;
      EXPECT_GT(found.samples, 50U);
    };
    expect(operation_kind::allocate, thread.allocations);
    expect(operation_kind::free, thread.frees);
  }
  static void burst(test_thread& from, std::size_t tensors) {
    std::vector<record*> held(tensors);
    for (record*& each : held) {
      each = from.allocate();
    }
    for (record* const each : held) {
      ASSERT_TRUE(from.free(each));
    }
  }
  static void pairs(test_thread& from, std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) {
      ASSERT_TRUE(from.free(from.allocate()));
    }
  }

  test_sampler sampler;
};

TEST_F(LatencySampler, MeansAreThoseOfPairs) {
  test_thread thread(sampler);
  thread.allocating.dear = thread.freeing.dear = 20;
  pairs(thread, 4'000'000);
  expect_true_means(thread);
}

TEST_F(LatencySampler, MeansAreThoseOfBatches) {
  test_thread thread(sampler);
  thread.allocating.dear = thread.freeing.dear = 20;
  for (int i = 0; i < 125'000; ++i) {
    burst(thread, 32);  // a power of two: the period must not be in phase with it
  }
  expect_true_means(thread);
}

TEST_F(LatencySampler, MeansAreThoseOfBursts) {
  test_thread thread(sampler);
  burst(thread, 2'000'000);
  expect_true_means(thread);
}

TEST_F(LatencySampler, MeansAreThoseOfAHandOver) {
  test_thread one(sampler);
  test_thread other(sampler);
  for (int i = 0; i < 2'000'000; ++i) {
    ASSERT_TRUE(other.free(one.allocate()));
  }
  // Each thread has done one kind only: the pool's sums are those of both.
  latency_sums allocating = one.sums(operation_kind::allocate);
  allocating += other.sums(operation_kind::allocate);
  latency_sums freeing = one.sums(operation_kind::free);
  freeing += other.sums(operation_kind::free);
  const timing_cost timing{.reading = 32, .warm = 80};
  EXPECT_NEAR(sampler.mean(allocating, one.allocations.count, timing).mean_ns,
              one.allocations.mean(), 0.1 * one.allocations.mean());
  EXPECT_NEAR(sampler.mean(freeing, other.frees.count, timing).mean_ns, other.frees.mean(),
              0.1 * other.frees.mean());
}

// The phases have unlike costs and are sampled unlike often: by time, or by samples, they would
// weigh wrong.
TEST_F(LatencySampler, PhasesWeighByTheirOperations) {
  test_thread thread(sampler);
  thread.allocating = {.slow = 400, .warm = 5, .dear_place = 11, .dear = 5};
  thread.freeing = {.slow = 700, .warm = 5, .dear_place = 11, .dear = 5};
  pairs(thread, 2'000'000);
  thread.allocating.warm = thread.allocating.dear = 100;
  thread.freeing.warm = thread.freeing.dear = 100;
  burst(thread, 2'000'000);
  expect_true_means(thread);
}

TEST_F(LatencySampler, ShortProgramsHaveASample) {
  test_thread thread(sampler);
  pairs(thread, 200);
  burst(thread, 200);
  EXPECT_GT(thread.sums(operation_kind::allocate).warm_samples, 0U);
  EXPECT_GT(thread.sums(operation_kind::free).warm_samples, 0U);
}

TEST_F(LatencySampler, SlowOperationsCountInFullAndOnce) {
  test_clock::reset();
  test_sampler exact;
  thread_latency own;
  std::uint64_t sum = 0;
  constexpr std::uint64_t operations = 1000;
  for (std::uint64_t i = 0; i < operations; ++i) {
    const std::uint64_t begin = test_clock::now();
    const std::uint64_t ticks = 100 + i % 28 * i % 56;
    test_clock::ticks += ticks;
    sum += ticks;
    // By turns a thread that has a cache, and one that has none.
    exact.end_slow(i % 2 == 0 ? &own : nullptr, operation_kind::free, begin, i % 5 != 0);
  }
  exact.retire(own);
  const latency_sums all = exact.sums(operation_kind::free);
  EXPECT_EQ(all.slow_ticks, sum);
  EXPECT_EQ(all.slow_count, operations);
  const double mean = static_cast<double>(sum) / operations;
  // The pool has counted four of five, and no other.
  EXPECT_DOUBLE_EQ(exact.mean(all, operations / 5 * 4, {}).mean_ns, mean);
  EXPECT_EQ(exact.mean(all, operations / 5 * 4, {}).samples, operations);
  // Warm ones that no sample stands for count, at no cost.
  EXPECT_DOUBLE_EQ(exact.mean(all, operations / 5 * 4 + operations, {}).mean_ns, mean / 2);
  // What the pool counts and nobody asked for is in no mean.
  exact.leave_out(operation_kind::free);
  EXPECT_DOUBLE_EQ(exact.mean(exact.sums(operation_kind::free), operations / 5 * 4 + 1, {}).mean_ns,
                   mean);
  EXPECT_EQ(exact.mean({}, 100, {}).mean_ns, 0.0);
}

TEST_F(LatencySampler, AnOperationThatTurnsOutToBeSlowIsNoSample) {
  thread_latency own;
  const auto slow = [&] {
    sampler.end_slow(&own, operation_kind::free, test_clock::now(), true);
    return 1;
  };
  EXPECT_EQ(own.sample<test_clock>(operation_kind::free, slow), 1);
  EXPECT_EQ(own.sums(operation_kind::free).warm_samples, 0U);
  EXPECT_EQ(own.sample<test_clock>(operation_kind::free, [] { return 2; }), 2);
  EXPECT_EQ(own.sums(operation_kind::free).warm_samples, 1U);
  EXPECT_EQ(own.sums(operation_kind::free).slow_count, 1U);
}

TEST_F(LatencySampler, TakesTheFirstOfAKindThatWasAskedForAfterThoseToSkip) {
  thread_latency own;
  EXPECT_FALSE(own.wants());
  own.want(operation_kind::free, 2);
  EXPECT_FALSE(own.is_wanted(operation_kind::allocate));
  EXPECT_FALSE(own.is_wanted(operation_kind::free));
  EXPECT_FALSE(own.is_wanted(operation_kind::free));
  EXPECT_TRUE(own.is_wanted(operation_kind::free));
  EXPECT_FALSE(own.wants());
}

TEST_F(LatencySampler, GivesUpWhenOnlyTheOtherKindComes) {
  thread_latency own;
  own.want(operation_kind::free, 0);
  for (std::uint32_t i = 0; i < most_passed; ++i) {
    EXPECT_TRUE(own.wants());
    EXPECT_FALSE(own.is_wanted(operation_kind::allocate));
  }
  EXPECT_FALSE(own.is_wanted(operation_kind::allocate));
  EXPECT_FALSE(own.wants());
}

TEST_F(LatencySampler, OpensNoGateThatSomebodyElseHasClosed) {
  test_thread thread(sampler);
  front_cache& cache = thread.cache();
  std::atomic<front_cache*>& leads_to = cache.gate->cache;
  cache.latency.want(operation_kind::free, 0);
  cache.close_for_sample();
  EXPECT_EQ(leads_to, &sample_sentinel.cache);
  cache.close_for_sample();  // an operation within the operation has closed it
  EXPECT_EQ(leads_to, &sample_sentinel.cache);
  EXPECT_TRUE(cache.latency.wants());
  EXPECT_TRUE(cache.open_after_sample());
  EXPECT_EQ(leads_to, &cache);
  EXPECT_FALSE(cache.open_after_sample());
  cache.close_for_sample();
  leads_to = &sentinel.cache;
  EXPECT_FALSE(cache.open_after_sample());
  EXPECT_EQ(leads_to, &sentinel.cache);
  cache.close_for_sample();
  EXPECT_EQ(leads_to, &sentinel.cache);
  EXPECT_FALSE(cache.latency.wants());
}

TEST_F(LatencySampler, NoWarmOperationTakesLessThanTheLeast) {
  test_clock::reset();
  const test_sampler exact;
  test_clock::ticks += 1000;
  const timing_cost timing{.warm = 80, .least = 7};
  const auto mean_of_ten = [&](std::uint64_t ticks) {
    const latency_sums sums{.warm_ticks = ticks * 10, .warm_weight = 10, .warm_samples = 1};
    return exact.mean(sums, 10, timing).mean_ns;
  };
  EXPECT_DOUBLE_EQ(mean_of_ten(81), 7);
  EXPECT_DOUBLE_EQ(mean_of_ten(90), 10);
}

TEST(TimingCost, IsThatOfThisProcessor) {
  const timing_cost found = cost_of_timing();
  EXPECT_GT(found.least, 0.0);
  EXPECT_GT(found.reading, 0.0);
  EXPECT_GE(found.warm, 0.0);
}

}  // namespace
}  // namespace tidepool::detail
