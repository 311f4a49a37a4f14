// SPDX-License-Identifier: Apache-2.0
//
// micro_bench: what it takes to get back what idle threads keep. `recall` is a trim that has one
// byte to give to the system, so nearly all of it is closing the gates and emptying the caches;
// `statistics` closes the gates and reads. Both per call; the argument is the number of idle
// threads, each with 26 free blocks of 5 sizes.
#include <tidepool/control.hpp>
#include <tidepool/cpu/backend.hpp>
#include <tidepool/pool.hpp>

#include <benchmark/benchmark.h>

#include <barrier>
#include <chrono>
#include <cstddef>
#include <thread>
#include <vector>

namespace {

using benchmark::State;
using tidepool::pool;

void fill_own_cache(pool& target) {
  std::vector<tidepool::tensor> held;
  for (const std::size_t bytes : {256U, 4096U, 65536U, 262144U, 3U << 20}) {
    for (int i = 0; i < (bytes > 1U << 20 ? 2 : 6); ++i) {
      held.push_back(target.allocate(bytes));
    }
  }
}

/// Times work(target) with `state.range(0)` idle threads whose caches are full.
template <class F>
void beside_idle_threads(State& state, F work) {
  pool target(tidepool::cpu::make_backend());
  const auto count = state.range(0);
  std::barrier together(count + 1);
  std::vector<std::jthread> idle;
  for (long i = 0; i < count; ++i) {
    idle.emplace_back([&](const std::stop_token& stop) {
      for (;;) {
        together.arrive_and_wait();
        if (stop.stop_requested()) {
          return;
        }
        fill_own_cache(target);
        together.arrive_and_wait();
      }
    });
  }
  for (auto _ : state) {
    together.arrive_and_wait();
    together.arrive_and_wait();
    const auto begin = std::chrono::steady_clock::now();
    work(target);
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
    state.SetIterationTime(took.count());
  }
  for (std::jthread& thread : idle) {
    thread.request_stop();
  }
  together.arrive_and_wait();
}

void recall(State& state) {
  beside_idle_threads(state, [](pool& target) {
    benchmark::DoNotOptimize(
        target.control().trim(target.control().memory({}).reserved_bytes - 1).released_bytes);
  });
}
BENCHMARK(recall)->Arg(1)->Arg(4)->UseManualTime();

void statistics(State& state) {
  beside_idle_threads(state, [](pool& target) {
    benchmark::DoNotOptimize(target.control().statistics().total.allocations);
  });
}
BENCHMARK(statistics)->Arg(1)->Arg(4)->UseManualTime();

}  // namespace
