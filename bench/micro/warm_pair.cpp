// SPDX-License-Identifier: Apache-2.0
//
// warm_pair N: warms a pool up, then runs N pairs of allocate_raw(64 KiB) and deallocate inside
// measured_pairs, which instruction_count.py has callgrind count. All instructions of that function
// and of what it calls are counted: the loop, the calls through the library's linkage table, the
// library's own work.
#include <tidepool/cpu/backend.hpp>
#include <tidepool/pool.hpp>

#include <cstdint>
#include <cstdio>
#include <cstdlib>

/// Answers the pairs that succeeded. extern "C": callgrind is told its name.
extern "C" __attribute__((noinline)) std::uint64_t measured_pairs(tidepool::pool& pool,
                                                                  std::uint64_t pairs);

std::uint64_t measured_pairs(tidepool::pool& pool, std::uint64_t pairs) {
  constexpr std::size_t bytes = 65536;
  std::uint64_t done = 0;
  for (std::uint64_t i = 0; i < pairs; ++i) {
    const tidepool::result<tidepool::raw_tensor> made = pool.allocate_raw(bytes);
    if (made && pool.deallocate(made->id) == tidepool::errc::ok) {
      ++done;
    }
  }
  return done;
}

int main(int argc, char** argv) {
  const std::uint64_t pairs = argc == 2 ? std::strtoull(argv[1], nullptr, 10) : 0;
  if (pairs == 0) {
    std::fprintf(stderr, "usage: warm_pair PAIRS\n");
    return 2;
  }
  tidepool::pool pool(tidepool::cpu::make_backend());
  for (int i = 0; i < 1000; ++i) {
    const auto warm = pool.allocate_raw(65536);
    if (!warm || pool.deallocate(warm->id) != tidepool::errc::ok) {
      std::fprintf(stderr, "warm_pair: a pair failed while warming up\n");
      return 1;
    }
  }
  return measured_pairs(pool, pairs) == pairs ? 0 : 1;
}
