// SPDX-License-Identifier: Apache-2.0
//
// A probe of kernels that count accesses: how many ids a second, by the number of bins and skew.
#include "kernels.hpp"
#include "probe.hpp"

#include <array>
#include <cmath>
#include <numeric>
#include <random>

namespace tidepool::first_run {

namespace {

/// Ids below `bins`; with skew, small ones are many.
[[nodiscard]] std::vector<std::uint32_t> ids_of(std::uint32_t n, std::uint32_t bins, double skew) {
  std::mt19937 random(1);
  std::uniform_real_distribution<double> uniform(0, 1);
  std::vector<std::uint32_t> ids(n);
  for (std::uint32_t& id : ids) {
    id = static_cast<std::uint32_t>(std::pow(uniform(random), skew) * bins) % bins;
  }
  return ids;
}

void count_throughput(findings& found) {
  const std::uint32_t n = is_simulated() ? 1U << 12 : 1U << 22;
  const stream own;
  void* id_memory = nullptr;
  void* bin_memory = nullptr;
  const std::uint32_t most_bins = is_simulated() ? 1U << 10 : 1U << 22;
  found.expect(cudaMalloc(&id_memory, n * sizeof(std::uint32_t)), "cudaMalloc");
  found.expect(cudaMalloc(&bin_memory, most_bins * sizeof(std::uint32_t)), "cudaMalloc");
  auto* const ids = static_cast<std::uint32_t*>(id_memory);
  auto* const bins = static_cast<std::uint32_t*>(bin_memory);
  for (std::uint32_t count = 256; count <= most_bins; count *= 16) {
    for (const double skew : {1.0, 4.0}) {
      const std::vector<std::uint32_t> host = ids_of(n, count, skew);
      found.expect(cudaMemcpy(ids, host.data(), n * sizeof *ids, cudaMemcpyDefault), "copy");
      for (const bool is_shared : {false, true}) {
        if (is_shared && count > 4096) {
          continue;
        }
        found.expect(cudaMemsetAsync(bins, 0, count * sizeof *bins, own.get()), "memset");
        found.expect(cudaStreamSynchronize(own.get()), "wait");
        const double time = microseconds_of([&] {
          if (is_shared) {
            launch_count_shared({ids, n, bins, count}, own.get());
          } else {
            launch_count(ids, n, bins, own.get());
          }
          static_cast<void>(cudaStreamSynchronize(own.get()));
        });
        std::vector<std::uint32_t> sums(count);
        found.expect(cudaMemcpy(sums.data(), bins, count * sizeof *bins, cudaMemcpyDefault),
                     "copy");
        found.expect(std::accumulate(sums.begin(), sums.end(), std::uint64_t{0}) == n,
                     "ids are lost");
        found.number(std::string(is_shared ? "shared" : "direct") + "_ids_per_microsecond." +
                         std::to_string(count) + (skew > 1 ? "_skewed" : "_uniform"),
                     n / time);
      }
    }
  }
  found.expect(cudaFree(ids), "cudaFree");
  found.expect(cudaFree(bins), "cudaFree");
}

constexpr std::array probes{
    probe{"count_throughput", "how many accesses a kernel counts in a second", count_throughput}};

}  // namespace

std::span<const probe> access_probes() {
  return probes;
}

}  // namespace tidepool::first_run
