// SPDX-License-Identifier: Apache-2.0
//
// micro_bench: single operations under Google Benchmark, with the naive pool and malloc in the same
// binary. For watching one operation while working on it; figures against other allocators come
// from peers.py, whole workloads from `tidepool replay`.
#include "naive/naive_pool.hpp"
#include <tidepool/control.hpp>
#include <tidepool/cpu/backend.hpp>
#include <tidepool/pool.hpp>

#include <benchmark/benchmark.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <vector>

namespace {

using benchmark::State;
using tidepool::pool;
using tidepool::raw_tensor;
using tidepool::tensor_id;
using tidepool::bench::naive_pool;

void pair_sizes(benchmark::internal::Benchmark* bench) {
  for (const std::int64_t bytes : {64, 4096, 65536, 1 << 20, 16 << 20, 64 << 20}) {
    bench->Arg(bytes);
  }
}

std::size_t bytes_of(const State& state) {
  return static_cast<std::size_t>(state.range(0));
}

// A pair of one allocation and one free. What DoNotOptimize is given is const: what is not it may
// write to, by "+m,r", and g++ 12 under both sanitizers reads that from where it was never written.

void pair_tidepool(State& state) {
  pool target(tidepool::cpu::make_backend());
  const std::size_t bytes = bytes_of(state);
  for (auto _ : state) {
    const auto made = target.allocate_raw(bytes);
    benchmark::DoNotOptimize(made->data);
    target.deallocate(made->id);
  }
}
BENCHMARK(pair_tidepool)->Apply(pair_sizes);

/// With the owning tensor, a category and a name, as applications write it.
void pair_tidepool_tensor(State& state) {
  pool target(tidepool::cpu::make_backend());
  const tidepool::name_id name = target.intern("blk.0.ffn");
  const std::size_t bytes = bytes_of(state);
  for (auto _ : state) {
    tidepool::tensor made = target.allocate(
        bytes, tidepool::device::cpu(), {.category = tidepool::category::activation, .name = name});
    benchmark::DoNotOptimize(made.data());
  }
}
BENCHMARK(pair_tidepool_tensor)->Apply(pair_sizes);

void pair_tidepool_weight(State& state) {
  pool target(tidepool::cpu::make_backend());
  const std::size_t bytes = bytes_of(state);
  for (auto _ : state) {
    const auto made = target.allocate_raw(bytes, tidepool::device::cpu(),
                                          {.category = tidepool::category::weight});
    benchmark::DoNotOptimize(made->data);
    target.deallocate(made->id);
  }
}
BENCHMARK(pair_tidepool_weight)->Apply(pair_sizes);

void pair_malloc(State& state) {
  const std::size_t bytes = bytes_of(state);
  for (auto _ : state) {
    void* const data = std::malloc(bytes);
    benchmark::DoNotOptimize(data);
    std::free(data);
  }
}
BENCHMARK(pair_malloc)->Apply(pair_sizes);

void pair_aligned_alloc(State& state) {
  const std::size_t bytes = bytes_of(state);
  for (auto _ : state) {
    void* const data = std::aligned_alloc(64, bytes);
    benchmark::DoNotOptimize(data);
    std::free(data);
  }
}
BENCHMARK(pair_aligned_alloc)->Apply(pair_sizes);

void pair_naive(State& state) {
  naive_pool target(state.range(1) != 0 ? naive_pool::last_use::kept
                                        : naive_pool::last_use::not_kept);
  const std::size_t bytes = bytes_of(state);
  for (auto _ : state) {
    const naive_pool::allocation made = target.allocate(bytes);
    benchmark::DoNotOptimize(made.data);
    target.deallocate(made.id);
  }
}
BENCHMARK(pair_naive)
    ->ArgNames({"", "clock"})
    ->ArgsProduct({{64, 4096, 65536, 1 << 20, 16 << 20, 64 << 20}, {0, 1}});

// n tensors at once; the figure is for all of them.

void batch_tidepool(State& state) {
  pool target(tidepool::cpu::make_backend());
  const auto n = static_cast<std::size_t>(state.range(0));
  std::vector<raw_tensor> made(n);
  std::vector<tensor_id> ids(n);
  for (auto _ : state) {
    if (target.allocate_n(4096, made) != tidepool::errc::ok) {
      state.SkipWithError("out of memory");
      break;
    }
    for (std::size_t i = 0; i < n; ++i) {
      ids[i] = made[i].id;
    }
    target.deallocate_n(ids);
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
}
BENCHMARK(batch_tidepool)->Arg(1)->Arg(16)->Arg(256);

void batch_naive(State& state) {
  naive_pool target;
  std::vector<std::uint64_t> ids(static_cast<std::size_t>(state.range(0)));
  for (auto _ : state) {
    for (std::uint64_t& id : ids) {
      id = target.allocate(4096).id;
    }
    for (const std::uint64_t id : ids) {
      target.deallocate(id);
    }
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
}
BENCHMARK(batch_naive)->Arg(1)->Arg(16)->Arg(256);

// References and look-ups.

void share_tidepool(State& state) {
  pool target(tidepool::cpu::make_backend());
  const tidepool::tensor of = target.allocate(4096);
  for (auto _ : state) {
    const auto other = target.share(of);
    benchmark::DoNotOptimize(other);
  }
}
BENCHMARK(share_tidepool);

void share_naive(State& state) {
  naive_pool target;
  const std::uint64_t id = target.allocate(4096).id;
  for (auto _ : state) {
    target.retain(id);
    target.deallocate(id);
  }
}
BENCHMARK(share_naive);

/// `count` live tensors with keys 1, 2, ...
std::vector<tidepool::tensor> live_tensors(pool& target, std::int64_t count) {
  std::vector<tidepool::tensor> live;
  for (std::int64_t i = 0; i < count; ++i) {
    live.push_back(
        target.allocate(256, tidepool::device::cpu(), {.key = static_cast<std::uint64_t>(i) + 1}));
  }
  return live;
}

void find_by_address(State& state) {
  pool target(tidepool::cpu::make_backend());
  const std::vector<tidepool::tensor> live = live_tensors(target, state.range(0));
  std::size_t next = 0;
  for (auto _ : state) {
    benchmark::DoNotOptimize(target.find(live[next].data()));
    next = next + 1 == live.size() ? 0 : next + 1;
  }
}
BENCHMARK(find_by_address)->Arg(1000)->Arg(100000);

void find_by_key(State& state) {
  pool target(tidepool::cpu::make_backend());
  const std::vector<tidepool::tensor> live = live_tensors(target, state.range(0));
  std::uint64_t next = 0;
  for (auto _ : state) {
    benchmark::DoNotOptimize(target.find(next + 1));
    next = next + 1 == live.size() ? 0 : next + 1;
  }
}
BENCHMARK(find_by_key)->Arg(1000)->Arg(100000);

void info_tidepool(State& state) {
  pool target(tidepool::cpu::make_backend());
  const std::vector<tidepool::tensor> live = live_tensors(target, state.range(0));
  std::size_t next = 0;
  for (auto _ : state) {
    benchmark::DoNotOptimize(target.info(live[next].id()));
    next = next + 1 == live.size() ? 0 : next + 1;
  }
}
BENCHMARK(info_tidepool)->Arg(1000)->Arg(100000);

void info_naive(State& state) {
  naive_pool target;
  std::vector<std::uint64_t> ids;
  for (std::int64_t i = 0; i < state.range(0); ++i) {
    ids.push_back(target.allocate(256).id);
  }
  std::size_t next = 0;
  for (auto _ : state) {
    benchmark::DoNotOptimize(target.info(ids[next]));
    next = next + 1 == ids.size() ? 0 : next + 1;
  }
}
BENCHMARK(info_naive)->Arg(1000)->Arg(100000);

// What statistics cost when asked.

void statistics_tidepool(State& state) {
  pool target(tidepool::cpu::make_backend());
  const std::vector<tidepool::tensor> live = live_tensors(target, state.range(0));
  for (auto _ : state) {
    benchmark::DoNotOptimize(target.control().statistics());
  }
}
BENCHMARK(statistics_tidepool)->Arg(0)->Arg(1000)->Arg(100000);

}  // namespace
