// SPDX-License-Identifier: Apache-2.0
//
// Random work on two devices by several threads and streams: every block is written by a kernel on
// its stream, checked before it is freed, and freed on that stream, on another or on several. No
// word is ever wrong, and cudasim finds no race. TIDEPOOL_TEST_SEEDS: how many seeds, default 20.
#include "../support/amount.hpp"
#include "support.hpp"
#include <tidepool/size_class.hpp>

#include <array>
#include <atomic>
#include <random>
#include <thread>

namespace tidepool::test {
namespace {

struct live_block {
  block what;
  unsigned value;
  std::size_t stream;
};

/// One GPU with its backend and streams.
struct gpu {
  explicit gpu(std::uint16_t ordinal)
      : where(device::cuda(ordinal)), tested(*try_make_watched({.ordinal = ordinal})) {
    expect_success(cudaSetDevice(ordinal));
    tested->attach(host);
    for (std::uint32_t i = 1; i != 5; ++i) {
      streams.emplace_back(*tested, i);
    }
    wrong = std::make_unique<wrong_words>();
  }

  device where;
  budget host;
  std::unique_ptr<backend> tested;
  std::vector<test_stream> streams;
  std::unique_ptr<wrong_words> wrong;
};

/// One thread's random backend_walk.
class backend_walk {
 public:
  backend_walk(gpu& on, unsigned seed) : on_(on), random_(seed) {}

  void run(unsigned steps) {
    expect_success(cudaSetDevice(on_.where.ordinal()));
    for (unsigned i = 0; i != steps; ++i) {
      step();
    }
    while (!live_.empty()) {
      give_back_one();
    }
  }

 private:
  [[nodiscard]] unsigned up_to(unsigned n) { return static_cast<unsigned>(random_() % n); }

  void step() {
    const unsigned choice = up_to(100);
    if (choice < 45) {
      allocate();
    } else if (choice < 93) {
      give_back_one();
    } else if (choice < 95) {
      (void)on_.tested->trim(on_.where, up_to(32) * mib);
    } else if (choice < 97) {
      (void)on_.tested->decay(on_.where);
    } else {
      const memory_info now = on_.tested->memory(on_.where);
      EXPECT_LE(now.free_bytes, now.reserved_bytes);
    }
  }

  void allocate() {
    const std::size_t s = up_to(static_cast<unsigned>(on_.streams.size()));
    block_request request{.where = on_.where, .stream = on_.streams[s].ref()};
    request.alignment = 256;
    request.may_grow = up_to(4) != 0;
    if (up_to(2) == 0) {
      request.bytes = (std::size_t{1} << (20 + up_to(3))) + up_to(1024) * 1024;
      if (const result<block> made = on_.tested->allocate_large(request)) {
        keep(*made, s);
      }
      return;
    }
    request.bytes = size_of_class(size_class_of(std::size_t{256} << up_to(13)));
    std::array<block, 6> blocks = {};
    const std::size_t n = on_.tested->refill(request, std::span(blocks).first(1 + up_to(6))).count;
    for (std::size_t i = 0; i != n; ++i) {
      keep(blocks[i], s);
    }
  }

  void keep(const block& what, std::size_t s) {
    const unsigned value = ++value_ << 8 | up_to(256);
    fill(what, value, on_.streams[s].get());
    live_.push_back({what, value, s});
  }

  void give_back_one() {
    if (live_.empty()) {
      return;
    }
    const std::size_t i = up_to(static_cast<unsigned>(live_.size()));
    const live_block gone = live_[i];
    live_[i] = live_.back();
    live_.pop_back();
    const test_stream& own = on_.streams[gone.stream];
    const test_stream& other = on_.streams[up_to(static_cast<unsigned>(on_.streams.size()))];
    check(gone.what, gone.value, *on_.wrong, own.get());
    const unsigned how = up_to(4);
    if (how < 2 || &own == &other) {
      on_.tested->take_back(on_.where, {&gone.what, 1}, own.ref());
      return;
    }
    EXPECT_TRUE(on_.tested->order(on_.where, own.ref(), other.ref()).ok());
    check(gone.what, gone.value, *on_.wrong, other.get());
    if (how == 2) {
      on_.tested->take_back(on_.where, {&gone.what, 1}, other.ref());
      return;
    }
    check(gone.what, gone.value, *on_.wrong, own.get());
    const std::array<stream_ref, 2> both = {own.ref(), other.ref()};
    on_.tested->take_back_after(on_.where, gone.what, both);
  }

  gpu& on_;
  std::mt19937 random_;
  std::vector<live_block> live_;
  unsigned value_ = 0;
};

void run_backend_seed(unsigned seed, unsigned devices) {
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::vector<std::unique_ptr<gpu>> gpus;
  for (unsigned i = 0; i != devices; ++i) {
    gpus.push_back(std::make_unique<gpu>(static_cast<std::uint16_t>(i)));
    // Seldom enough for all: pending blocks have to serve.
    gpus.back()->host.limit = seed % 3 == 0 ? SIZE_MAX : 24 * mib;
  }
  std::vector<std::thread> threads;
  for (unsigned t = 0; t != 2 * devices; ++t) {
    threads.emplace_back([&, t] { backend_walk(*gpus[t % devices], seed * 16 + t).run(120); });
  }
  for (std::thread& t : threads) {
    t.join();
  }
  for (const std::unique_ptr<gpu>& g : gpus) {
    expect_success(cudaSetDevice(g->where.ordinal()));
    EXPECT_EQ(g->wrong->count(), 0U);
    EXPECT_EQ(g->tested->verify(), nullptr);
    const memory_info now = g->tested->memory(g->where);
    EXPECT_EQ(now.free_bytes, now.reserved_bytes);
    EXPECT_EQ(now.reserved_bytes, g->host.claimed.load());
    EXPECT_EQ(g->tested->trim(g->where, 0), now.reserved_bytes);
    EXPECT_EQ(g->host.claimed.load(), 0U);
  }
  expect_success(cudaSetDevice(0));
}

TEST_F(CudaBackend, RandomWorkIsAlwaysInOrder) {
  const std::uint64_t seeds = amount("TIDEPOOL_TEST_SEEDS", 20);
  int count = 0;
  expect_success(cudaGetDeviceCount(&count));
  for (unsigned seed = 1; seed <= seeds && !HasFailure(); ++seed) {
    run_backend_seed(seed, count < 2 ? 1 : 2);
  }
  if (cudasim_is_present() != 0) {
    EXPECT_EQ(cudasim_untaken_reports(), 0U);
  }
}

}  // namespace
}  // namespace tidepool::test
