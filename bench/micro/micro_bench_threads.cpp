// SPDX-License-Identifier: Apache-2.0
//
// micro_bench with two threads: pairs on both at once, and tensors made by one and freed by the
// other, handed over through a ring. The ring's own cost is shown by handover_nothing.
#include "naive/naive_pool.hpp"
#include <tidepool/cpu/backend.hpp>
#include <tidepool/pool.hpp>

#include <benchmark/benchmark.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <thread>

namespace {

using benchmark::State;
using tidepool::pool;
using tidepool::bench::naive_pool;

/// One producer, one consumer; both spin, yielding, when the ring is full or empty.
class ring {
 public:
  void push(std::uint64_t value) noexcept {
    while (head_ - tail_.load(std::memory_order_acquire) == slots_.size()) {
      std::this_thread::yield();
    }
    slots_[head_ % slots_.size()] = value;
    ++head_;
    published_.store(head_, std::memory_order_release);
  }
  std::uint64_t pop() noexcept {
    const std::uint64_t at = tail_.load(std::memory_order_relaxed);
    while (published_.load(std::memory_order_acquire) == at) {
      std::this_thread::yield();
    }
    const std::uint64_t value = slots_[at % slots_.size()];
    tail_.store(at + 1, std::memory_order_release);
    return value;
  }

 private:
  alignas(64) std::array<std::uint64_t, 64> slots_{};
  alignas(64) std::uint64_t head_ = 0;  // the producer's
  alignas(64) std::atomic<std::uint64_t> published_ = 0;
  alignas(64) std::atomic<std::uint64_t> tail_ = 0;
};

constexpr std::uint64_t stop = ~std::uint64_t{0};

/// The benchmark's thread makes, another one ends.
template <class Make, class End>
void hand_over(State& state, Make make, End end) {
  const auto between = std::make_unique<ring>();
  std::jthread consumer([&] {
    for (std::uint64_t value = between->pop(); value != stop; value = between->pop()) {
      end(value);
    }
  });
  for (auto _ : state) {
    between->push(make());
  }
  between->push(stop);
}

void handover_sizes(benchmark::internal::Benchmark* bench) {
  for (const std::int64_t bytes : {256, 4096, 65536, 1 << 20, 16 << 20}) {
    bench->Arg(bytes);
  }
  bench->UseRealTime();
}

void handover_nothing(State& state) {
  hand_over(
      state, [] { return std::uint64_t{1}; }, [](std::uint64_t) {});
}
BENCHMARK(handover_nothing)->UseRealTime();

void handover_tidepool(State& state) {
  pool target(tidepool::cpu::make_backend());
  const auto bytes = static_cast<std::size_t>(state.range(0));
  hand_over(
      state, [&] { return target.allocate_raw(bytes)->id.value(); },
      [&](std::uint64_t id) { target.deallocate(tidepool::tensor_id::from_value(id)); });
}
BENCHMARK(handover_tidepool)->Apply(handover_sizes);

void handover_malloc(State& state) {
  const auto bytes = static_cast<std::size_t>(state.range(0));
  hand_over(
      state, [&] { return reinterpret_cast<std::uintptr_t>(std::malloc(bytes)); },
      [](std::uint64_t address) { std::free(reinterpret_cast<void*>(address)); });
}
BENCHMARK(handover_malloc)->Apply(handover_sizes);

void handover_naive(State& state) {
  naive_pool target;
  const auto bytes = static_cast<std::size_t>(state.range(0));
  hand_over(
      state, [&] { return target.allocate(bytes).id; },
      [&](std::uint64_t id) { target.deallocate(id); });
}
BENCHMARK(handover_naive)->Apply(handover_sizes);

/// One pool for all threads of a benchmark.
void pair_threads_tidepool(State& state) {
  static pool target(tidepool::cpu::make_backend());
  const auto bytes = static_cast<std::size_t>(state.range(0));
  for (auto _ : state) {
    const auto made = target.allocate_raw(bytes);
    benchmark::DoNotOptimize(made->data);
    target.deallocate(made->id);
  }
}
BENCHMARK(pair_threads_tidepool)->Arg(65536)->Arg(16 << 20)->ThreadRange(1, 2)->UseRealTime();

void pair_threads_malloc(State& state) {
  const auto bytes = static_cast<std::size_t>(state.range(0));
  for (auto _ : state) {
    void* const data = std::malloc(bytes);
    benchmark::DoNotOptimize(data);
    std::free(data);
  }
}
BENCHMARK(pair_threads_malloc)->Arg(65536)->Arg(16 << 20)->ThreadRange(1, 2)->UseRealTime();

void pair_threads_naive(State& state) {
  static naive_pool target;
  const auto bytes = static_cast<std::size_t>(state.range(0));
  for (auto _ : state) {
    const naive_pool::allocation made = target.allocate(bytes);
    benchmark::DoNotOptimize(made.data);
    target.deallocate(made.id);
  }
}
BENCHMARK(pair_threads_naive)->Arg(65536)->Arg(16 << 20)->ThreadRange(1, 2)->UseRealTime();

}  // namespace
