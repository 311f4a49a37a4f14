// SPDX-License-Identifier: Apache-2.0
//
// Random work of several threads on a whole pool with two GPUs: tensors are made on any stream,
// filled and checked by kernels there and on others, shared, and end in every way that there is.
// No word is ever wrong, and cudasim finds no race. TIDEPOOL_TEST_SEEDS: how many, default 20.
#include "../support/amount.hpp"
#include "pool_support.hpp"

#include <cstring>
#include <random>
#include <string>
#include <thread>

namespace tidepool::test {
namespace {

/// What the threads that work on one GPU share.
struct workplace {
  workplace(pool& of, std::uint16_t ordinal) : p(of), where(device::cuda(ordinal)) {
    expect_success(cudaSetDevice(ordinal));
    for (int i = 0; i < 4; ++i) {
      streams.emplace_back(of, where);
    }
    wrong = std::make_unique<wrong_words>();
  }
  pool& p;
  device where;
  std::vector<pool_stream> streams;
  std::unique_ptr<wrong_words> wrong;
};

struct live_tensor {
  tensor held;
  unsigned value;
  std::size_t stream;
};

/// One thread's random walk.
class walk {
 public:
  walk(workplace& at, unsigned seed) : at_(at), random_(seed) {}

  void run(unsigned steps) {
    expect_success(cudaSetDevice(at_.where.ordinal()));
    for (unsigned i = 0; i < steps; ++i) {
      const unsigned choice = up_to(100);
      if (choice < 45) {
        begin();
      } else if (choice < 85) {
        end_one();
      } else if (choice < 95) {
        stage();
      } else if (choice < 97) {
        (void)at_.p.control().trim(at_.where, up_to(32) * mib);
      } else {
        at_.p.control().tick();
      }
    }
    while (!live_.empty()) {
      end_one();
    }
  }

 private:
  [[nodiscard]] unsigned up_to(unsigned n) { return static_cast<unsigned>(random_() % n); }
  [[nodiscard]] std::size_t any_stream() {
    return up_to(static_cast<unsigned>(at_.streams.size()));
  }
  [[nodiscard]] stream_ref ref(std::size_t s) {
    return up_to(2) == 0 ? at_.streams[s].raw() : at_.streams[s].attached();
  }

  void begin() {
    const std::size_t s = any_stream();
    const std::size_t bytes = (std::size_t{1} << (6 + up_to(16))) + 4 * up_to(50);
    result<tensor> made = at_.p.try_allocate(bytes, at_.where, {.stream = ref(s)});
    if (!made) {
      EXPECT_EQ(made.error().code, errc::over_budget) << to_string(made.error());
      return;
    }
    const unsigned value = ++value_ << 8 | up_to(256);
    fill(block_of(*made), value, at_.streams[s].get());
    live_.push_back({std::move(*made), value, s});
  }

  void end_one() {
    if (live_.empty()) {
      return;
    }
    const std::size_t i = up_to(static_cast<unsigned>(live_.size()));
    live_tensor gone = std::move(live_[i]);
    live_[i] = std::move(live_.back());
    live_.pop_back();
    const std::size_t o = any_stream();
    const pool_stream& own = at_.streams[gone.stream];
    const pool_stream& other = at_.streams[o];
    check(block_of(gone.held), gone.value, *at_.wrong, own.get());
    const unsigned how = up_to(4);
    if (how == 0) {
      gone.held.reset();
      return;
    }
    result<tensor> second = at_.p.share(gone.held);
    order(own.get(), other.get());
    check(block_of(gone.held), gone.value, *at_.wrong, other.get());
    if (how == 1) {  // the last reference ends on the other stream, which has waited for the first
      second->reset();
      gone.held.reset(ref(o));
    } else if (how == 2) {
      EXPECT_EQ(at_.p.record_use(gone.held.id(), ref(o)), errc::ok);
      second->reset();
      gone.held.reset();
    } else {  // one reference on each
      second->reset(ref(o));
      gone.held.reset();
    }
  }

  // Through pinned memory, which the host fills at once.
  void stage() {
    const std::size_t s = any_stream();
    const std::size_t bytes = std::size_t{256} << up_to(10);
    result<tensor> staging =
        at_.p.try_allocate(bytes, device::pinned(at_.where), {.stream = ref(s)});
    result<tensor> target = at_.p.try_allocate(bytes, at_.where, {.stream = ref(s)});
    if (!staging || !target) {
      return;
    }
    const unsigned value = ++value_;
    std::vector<unsigned> words(bytes / sizeof(unsigned), value);
    std::memcpy(staging->data(), words.data(), bytes);
    EXPECT_TRUE(at_.p.copy(*target, *staging, at_.streams[s].raw()).ok());
    check(block_of(*target), value, *at_.wrong, at_.streams[s].get());
  }

  workplace& at_;
  std::mt19937 random_;
  std::vector<live_tensor> live_;
  unsigned value_ = 0;
};

void run_seed(unsigned seed, unsigned devices) {
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::vector<std::unique_ptr<backend>> backends;
  backends.push_back(cpu::make_backend());
  for (unsigned i = 0; i < devices; ++i) {
    backends.push_back(*try_make_watched({.ordinal = static_cast<std::uint16_t>(i)}));
  }
  pool p(std::move(backends));
  {
    std::vector<std::unique_ptr<workplace>> places;
    for (unsigned i = 0; i < devices; ++i) {
      places.push_back(std::make_unique<workplace>(p, static_cast<std::uint16_t>(i)));
      if (seed % 3 != 0) {  // seldom enough for all: pending blocks have to serve
        (void)p.control().set_limits(places.back()->where, {.hard = 16 * mib});
      }
    }
    std::vector<std::thread> threads;
    for (unsigned t = 0; t < 2 * devices; ++t) {
      threads.emplace_back([&, t] { walk(*places[t % devices], seed * 16 + t).run(150); });
    }
    for (std::thread& t : threads) {
      t.join();
    }
    for (const std::unique_ptr<workplace>& place : places) {
      expect_success(cudaSetDevice(place->where.ordinal()));
      EXPECT_EQ(place->wrong->count(), 0U);
    }
    EXPECT_EQ(p.control().statistics().total.live, 0U);
    EXPECT_EQ(p.control().statistics().misuses, 0U);
    EXPECT_EQ(p.control().verify(), nullptr);
  }
  EXPECT_EQ(p.control().verify(), nullptr);
  EXPECT_EQ(p.control().trim().reserved_bytes, 0U);
  expect_success(cudaSetDevice(0));
}

TEST_F(CudaPool, RandomWorkOfThreadsAndStreamsIsAlwaysInOrder) {
  p.reset();
  const std::uint64_t seeds = amount("TIDEPOOL_TEST_SEEDS", 20);
  int count = 0;
  expect_success(cudaGetDeviceCount(&count));
  for (unsigned seed = 1; seed <= seeds && !HasFailure(); ++seed) {
    run_seed(seed, count < 2 ? 1 : 2);
  }
}

}  // namespace
}  // namespace tidepool::test
