// SPDX-License-Identifier: Apache-2.0
//
// Access kernels for aarch64. Ids are looked at four at a time; a record is two 16-byte registers,
// {count, tick} and {score, rest}.
#include "kernel_table.hpp"
#include <tidepool/access_record.hpp>

#include <arm_neon.h>

#include <cstddef>
#include <cstdint>

namespace tidepool {
inline namespace v0 {
namespace cpu {

namespace {

template <class Id>
inline std::size_t narrow_some(const Id* ids, std::size_t n, access_range range, std::uint32_t* out,
                               access_tally* left_out) {
  std::size_t kept = 0;
  for (std::size_t i = 0; i < n; ++i) {
    const auto id = static_cast<std::uint64_t>(static_cast<std::int64_t>(ids[i]));
    if (id < range.extent) {
      out[kept++] = static_cast<std::uint32_t>(range.base + id);
    } else {
      ++(ids[i] == -1 ? left_out->padding : left_out->out_of_range);
    }
  }
  return kept;
}

std::size_t narrow_32(const std::int32_t* ids, std::size_t n, access_range range,
                      std::uint32_t* out, access_tally* left_out) {
  constexpr std::uint64_t above = std::uint64_t{1} << 31;  // ids of 32 bits are below
  const auto extent =
      vdupq_n_u32(static_cast<std::uint32_t>(range.extent < above ? range.extent : above));
  const auto base = vdupq_n_u32(static_cast<std::uint32_t>(range.base));
  std::size_t kept = 0;
  std::size_t i = 0;
  for (; i + 4 <= n; i += 4) {
    const uint32x4_t v = vreinterpretq_u32_s32(vld1q_s32(ids + i));
    if (vminvq_u32(vcltq_u32(v, extent)) != 0) {
      vst1q_u32(out + kept, vaddq_u32(v, base));
      kept += 4;
    } else {
      kept += narrow_some(ids + i, 4, range, out + kept, left_out);
    }
  }
  return kept + narrow_some(ids + i, n - i, range, out + kept, left_out);
}

std::size_t narrow_64(const std::int64_t* ids, std::size_t n, access_range range,
                      std::uint32_t* out, access_tally* left_out) {
  return narrow_some(ids, n, range, out, left_out);
}

inline void take_step(access_record& r, uint64x2_t sum, std::uint64_t gain, uint64x2_t latest) {
  const uint64x2_t v = vaddq_u64(vld1q_u64(&r.count), sum);
  vst1q_u64(&r.count, vbslq_u64(vcgtq_u64(latest, v), latest, v));
  r.score += gain;
}
inline uint64x2_t pair_of(std::uint64_t low, std::uint64_t high) {
  return vcombine_u64(vcreate_u64(low), vcreate_u64(high));
}

std::size_t apply(access_record* records, const std::uint32_t* indices, std::size_t n,
                  access_step step, bool far) {
  const uint64x2_t sum = pair_of(step.weight, 0);
  const uint64x2_t latest = pair_of(0, step.tick);
  std::size_t missed = 0;
  for (std::size_t i = 0; i < n; ++i) {
    if (far) {
      __builtin_prefetch(&records[indices[i + access_lookahead - 1]], 1);
    }
    access_record& r = records[indices[i]];
    if (r.generation == 0) {
      ++missed;
      continue;
    }
    take_step(r, sum, step.gain, latest);
  }
  return missed;
}

std::size_t apply_known(access_record* records, const std::uint32_t* indices,
                        const std::uint32_t* generations, std::size_t n, access_step step,
                        std::uint32_t without, std::uint32_t* missed) {
  const uint64x2_t sum = pair_of(step.weight, 0);
  const uint64x2_t latest = pair_of(0, step.tick);
  std::size_t k = 0;
  for (std::size_t i = 0; i < n; ++i) {
    __builtin_prefetch(&records[indices[i + access_lookahead - 1]], 1);
    access_record& r = records[indices[i]];
    const std::uint32_t generation = generations[i];
    if (((r.generation ^ generation) | (r.attributes & without)) != 0 || generation == 0) {
      missed[k++] = static_cast<std::uint32_t>(i);
      continue;
    }
    take_step(r, sum, step.gain, latest);
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
  const uint64x2_t latest = pair_of(0, step.tick);
  std::uint64_t missed = 0;
  for (std::size_t i = 0; i < n; ++i) {
    const std::uint64_t steps = bins[i];
    if (steps == 0) {
      continue;
    }
    bins[i] = 0;
    if (records[i].generation == 0) {
      missed += steps;
    } else {
      take_step(records[i], pair_of(steps * step.weight, 0), steps * step.gain, latest);
    }
  }
  return missed;
}

}  // namespace

constinit const access_kernels neon_access_kernels{.name = "neon",
                                                   .narrow_32 = narrow_32,
                                                   .narrow_64 = narrow_64,
                                                   .apply = apply,
                                                   .apply_known = apply_known,
                                                   .count_32 = count<std::int32_t>,
                                                   .count_64 = count<std::int64_t>,
                                                   .merge = merge};

}  // namespace cpu
}  // namespace v0
}  // namespace tidepool
