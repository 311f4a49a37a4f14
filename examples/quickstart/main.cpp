// SPDX-License-Identifier: Apache-2.0
//
// The first program to read: a pool from the backends at hand, the device chosen at each
// allocation, names and categories, shared and sliced tensors, statistics. The README quotes its
// regions.
#include <tidepool/control.hpp>
#include <tidepool/cpu/backend.hpp>
#include <tidepool/cuda/backend.hpp>
#include <tidepool/pool.hpp>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <memory>
#include <stdexcept>
#include <string_view>
#include <utility>
#include <vector>

namespace {

using tidepool::category;
using tidepool::device;

// What the program says must be true.
void verify(bool holds, const char* claim) {
  if (!holds) {
    throw std::runtime_error(claim);
  }
}

tidepool::pool make_pool() {
  // [pool]
  std::vector<std::unique_ptr<tidepool::backend>> backends;
  backends.push_back(tidepool::cpu::make_backend());
  if (auto gpu = tidepool::cuda::try_make_backend()) {
    backends.push_back(std::move(*gpu));
  } else {
    std::printf("no GPU: %s\n", tidepool::to_string(gpu.error()).c_str());
  }
  tidepool::pool pool{std::move(backends)};
  // [/pool]
  return pool;
}

// Weights belong on the GPU, and go to the host where there is none.
tidepool::tensor place_weights(tidepool::pool& pool, std::size_t bytes) {
  // [device]
  const tidepool::allocation_options options{.category = category::weight,
                                             .name = pool.intern("blk.0.ffn_up")};
  auto weights = pool.try_allocate(bytes, device::cuda(0), options);
  if (!weights) {
    std::printf("cuda:0: %s; using the host\n", tidepool::to_string(weights.error()).c_str());
    weights = pool.try_allocate(bytes, device::cpu(), options);
  }
  // [/device]
  if (!weights) {
    tidepool::throw_status(weights.error());
  }
  return std::move(*weights);
}

void use_the_host(tidepool::pool& pool) {
  // [allocate]
  tidepool::tensor hidden =
      pool.allocate(1024 * sizeof(float), device::cpu(), {.category = category::activation});
  for (float& value : hidden.as<float>()) {
    value = 1.0F;
  }
  // [/allocate]
  verify(reinterpret_cast<std::uintptr_t>(hidden.data()) % 64 == 0, "tensors are aligned");

  // [share]
  auto second_owner = pool.share(hidden);           // the same tensor, one more owner
  auto last_half = pool.slice(hidden, 2048, 2048);  // a part of its memory, with its own id
  hidden.reset();                                   // the memory stays: two still use it
  const float first = last_half ? last_half->as<float>()[0] : 0.0F;
  // [/share]
  verify(second_owner && first == 1.0F, "a slice sees its tensor's data");
  verify(last_half->id() != second_owner->id(), "a slice has its own id");
}

void read_the_record(const tidepool::pool& pool, const tidepool::tensor& weights) {
  // [info]
  const auto info = pool.info(weights.id());
  if (info) {
    std::printf("%.*s: %zu bytes, a block of %zu\n", static_cast<int>(pool.name(info->name).size()),
                pool.name(info->name).data(), info->bytes, info->capacity);
  }
  // [/info]
  verify(info && pool.name(info->name) == "blk.0.ffn_up", "the name is kept");
  verify(info->category == category::weight, "the category is kept");
  verify(info->lifecycle == tidepool::lifecycle::persistent, "weights are persistent");
}

void print_statistics(const tidepool::pool& pool) {
  // [statistics]
  const tidepool::statistics statistics = pool.control().statistics();
  std::printf("%s", tidepool::to_text(statistics).c_str());
  // [/statistics]
  verify(statistics.total.live == 1, "only the weights are alive");
  verify(statistics.misuses == 0, "nothing was freed twice");
}

}  // namespace

int main(int count, char** arguments) {
  if (count > 1) {
    const bool help = std::string_view{arguments[1]} == "--help";
    std::printf("usage: quickstart\nStatus: 0 all as promised, 1 not so.\n");
    return help ? 0 : 1;
  }
  try {
    tidepool::pool pool = make_pool();
    const tidepool::tensor weights = place_weights(pool, std::size_t{3} << 20);
    use_the_host(pool);
    read_the_record(pool, weights);
    print_statistics(pool);
    return 0;
  } catch (const std::exception& failure) {
    std::fprintf(stderr, "quickstart: %s\n", failure.what());
    return 1;
  }
}
