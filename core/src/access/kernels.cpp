// SPDX-License-Identifier: Apache-2.0
//
// The scalar kernels. They are the reference that all others equal, bit by bit, and they run on
// processors for which there are no others.
#include "access/table.hpp"

namespace tidepool {
inline namespace v0 {
namespace detail {

namespace {

template <class Id>
std::size_t narrow(const Id* ids, std::size_t n, access_range range, std::uint32_t* out,
                   access_tally* left_out) {
  std::size_t kept = 0;
  for (std::size_t i = 0; i < n; ++i) {
    // A negative id becomes a number beyond every extent.
    const auto id = static_cast<std::uint64_t>(static_cast<std::int64_t>(ids[i]));
    if (id < range.extent) {
      out[kept++] = static_cast<std::uint32_t>(range.base + id);
    } else {
      ++(ids[i] == -1 ? left_out->padding : left_out->out_of_range);
    }
  }
  return kept;
}

template <bool Far>
std::size_t apply_steps(access_record* records, const std::uint32_t* indices, std::size_t n,
                        access_step step) {
  std::size_t missed = 0;
  for (std::size_t i = 0; i < n; ++i) {
    if (Far) {
      __builtin_prefetch(&records[indices[i + access_lookahead - 1]], 1);
    }
    access_record& r = records[indices[i]];
    if (r.generation == 0) {
      ++missed;
      continue;
    }
    r.count += step.weight;
    r.score += step.gain;
    r.tick = r.tick < step.tick ? step.tick : r.tick;
  }
  return missed;
}

std::size_t apply(access_record* records, const std::uint32_t* indices, std::size_t n,
                  access_step step, bool far) {
  return far ? apply_steps<true>(records, indices, n, step)
             : apply_steps<false>(records, indices, n, step);
}

std::size_t apply_known(access_record* records, const std::uint32_t* indices,
                        const std::uint32_t* generations, std::size_t n, access_step step,
                        std::uint32_t without, std::uint32_t* missed) {
  std::size_t k = 0;
  for (std::size_t i = 0; i < n; ++i) {
    __builtin_prefetch(&records[indices[i + access_lookahead - 1]], 1);
    access_record& r = records[indices[i]];
    const std::uint32_t generation = generations[i];
    if (((r.generation ^ generation) | (r.attributes & without)) != 0 || generation == 0) {
      missed[k++] = static_cast<std::uint32_t>(i);
      continue;
    }
    r.count += step.weight;
    r.score += step.gain;
    r.tick = r.tick < step.tick ? step.tick : r.tick;
  }
  return k;
}

template <class Id>
std::size_t count(std::uint32_t* bins, const Id* ids, std::size_t n, access_range range,
                  access_tally* left_out) {
  std::size_t counted = 0;
  for (std::size_t i = 0; i < n; ++i) {
    const auto id = static_cast<std::uint64_t>(static_cast<std::int64_t>(ids[i]));
    if (id < range.extent) {
      ++bins[range.base + id];
      ++counted;
    } else {
      ++(ids[i] == -1 ? left_out->padding : left_out->out_of_range);
    }
  }
  return counted;
}

std::uint64_t merge(access_record* records, std::uint32_t* bins, std::size_t n, access_step step) {
  std::uint64_t missed = 0;
  for (std::size_t i = 0; i < n; ++i) {
    const std::uint64_t steps = bins[i];
    if (steps == 0) {
      continue;
    }
    bins[i] = 0;
    access_record& r = records[i];
    if (r.generation == 0) {
      missed += steps;
      continue;
    }
    r.count += steps * step.weight;
    r.score += steps * step.gain;
    r.tick = r.tick < step.tick ? step.tick : r.tick;
  }
  return missed;
}

}  // namespace

constinit const access_kernels scalar_access_kernels{.name = "scalar",
                                                     .narrow_32 = narrow<std::int32_t>,
                                                     .narrow_64 = narrow<std::int64_t>,
                                                     .apply = apply,
                                                     .apply_known = apply_known,
                                                     .count_32 = count<std::int32_t>,
                                                     .count_64 = count<std::int64_t>,
                                                     .merge = merge};

}  // namespace detail
}  // namespace v0
}  // namespace tidepool
