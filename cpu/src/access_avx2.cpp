// SPDX-License-Identifier: Apache-2.0
//
// Access kernels for AVX2. Groups of ids that are all valid go through as they are; others one by
// one.
#include "kernel_table.hpp"
#include <tidepool/access_record.hpp>

#include <immintrin.h>

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
  const std::uint64_t extent = range.extent < above ? range.extent : above;
  if (extent == 0) {
    return narrow_some(ids, n, range, out, left_out);
  }
  const __m256i last = _mm256_set1_epi32(static_cast<int>(extent - 1));
  const __m256i base = _mm256_set1_epi32(static_cast<int>(range.base));
  std::size_t kept = 0;
  std::size_t i = 0;
  for (; i + 8 <= n; i += 8) {
    const __m256i v = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(ids + i));
    const __m256i valid = _mm256_cmpeq_epi32(_mm256_min_epu32(v, last), v);
    if (_mm256_movemask_epi8(valid) == -1) {
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + kept), _mm256_add_epi32(v, base));
      kept += 8;
    } else {
      kept += narrow_some(ids + i, 8, range, out + kept, left_out);
    }
  }
  return kept + narrow_some(ids + i, n - i, range, out + kept, left_out);
}

std::size_t narrow_64(const std::int64_t* ids, std::size_t n, access_range range,
                      std::uint32_t* out, access_tally* left_out) {
  if (range.extent == 0) {
    return narrow_some(ids, n, range, out, left_out);
  }
  // Ids below 2^32 have no high half, and then their low half is compared as above.
  const __m256i last = _mm256_set1_epi64x(static_cast<long long>(range.extent - 1));
  const __m256i base = _mm256_set1_epi32(static_cast<int>(range.base));
  const __m256i low_halves = _mm256_setr_epi32(0, 2, 4, 6, 0, 2, 4, 6);
  std::size_t kept = 0;
  std::size_t i = 0;
  for (; i + 4 <= n; i += 4) {
    const __m256i v = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(ids + i));
    const __m256i valid = _mm256_cmpeq_epi32(_mm256_min_epu32(v, last), v);
    if (_mm256_movemask_epi8(valid) == -1) {
      const __m256i index = _mm256_add_epi32(_mm256_permutevar8x32_epi32(v, low_halves), base);
      _mm_storeu_si128(reinterpret_cast<__m128i*>(out + kept), _mm256_castsi256_si128(index));
      kept += 4;
    } else {
      kept += narrow_some(ids + i, 4, range, out + kept, left_out);
    }
  }
  return kept + narrow_some(ids + i, n - i, range, out + kept, left_out);
}

// {count, tick, score, rest}: adds the sum, then takes a maximum, which changes only the tick. AVX2
// compares signed numbers, so both sides are shifted by 2^63.
struct stepping {
  __m256i sum;
  __m256i latest;
  __m256i latest_shifted;

  stepping(std::uint64_t count, std::uint64_t score, std::uint64_t tick)
      : sum(_mm256_set_epi64x(0, static_cast<long long>(score), 0, static_cast<long long>(count))),
        latest(_mm256_set_epi64x(0, 0, static_cast<long long>(tick), 0)),
        latest_shifted(_mm256_xor_si256(latest, half())) {}
  static __m256i half() { return _mm256_set1_epi64x(static_cast<long long>(1ULL << 63)); }

  void operator()(access_record& r) const {
    auto* const at = reinterpret_cast<__m256i*>(&r);
    const __m256i v = _mm256_add_epi64(_mm256_load_si256(at), sum);
    const __m256i later = _mm256_cmpgt_epi64(latest_shifted, _mm256_xor_si256(v, half()));
    _mm256_store_si256(at, _mm256_blendv_epi8(v, latest, later));
  }
};

template <bool Far>
std::size_t apply_steps(access_record* records, const std::uint32_t* indices, std::size_t n,
                        access_step step) {
  const stepping take_step(step.weight, step.gain, step.tick);
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
    take_step(r);
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
  const stepping take_step(step.weight, step.gain, step.tick);
  std::size_t k = 0;
  for (std::size_t i = 0; i < n; ++i) {
    __builtin_prefetch(&records[indices[i + access_lookahead - 1]], 1);
    access_record& r = records[indices[i]];
    const std::uint32_t generation = generations[i];
    if (((r.generation ^ generation) | (r.attributes & without)) != 0 || generation == 0) {
      missed[k++] = static_cast<std::uint32_t>(i);
      continue;
    }
    take_step(r);
  }
  return k;
}

template <class Id>
inline std::size_t count_some(std::uint32_t* bins, const Id* ids, std::size_t n, access_range range,
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

std::size_t count_32(std::uint32_t* bins, const std::int32_t* ids, std::size_t n,
                     access_range range, access_tally* left_out) {
  constexpr std::uint64_t above = std::uint64_t{1} << 31;  // ids of 32 bits are below
  const std::uint64_t extent = range.extent < above ? range.extent : above;
  if (extent == 0) {
    return count_some(bins, ids, n, range, left_out);
  }
  const __m256i last = _mm256_set1_epi32(static_cast<int>(extent - 1));
  std::uint32_t* const layer = bins + range.base;
  std::size_t counted = 0;
  std::size_t i = 0;
  for (; i + 8 <= n; i += 8) {
    const __m256i v = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(ids + i));
    if (_mm256_movemask_epi8(_mm256_cmpeq_epi32(_mm256_min_epu32(v, last), v)) == -1) {
      // Two ids are read by one load, because the stores are what takes time.
      for (std::size_t j = 0; j < 8; j += 2) {
        std::uint64_t two = 0;
        __builtin_memcpy(&two, ids + i + j, sizeof two);
        ++layer[two & 0xffffffffU];
        ++layer[two >> 32];
      }
      counted += 8;
    } else {
      counted += count_some(bins, ids + i, 8, range, left_out);
    }
  }
  return counted + count_some(bins, ids + i, n - i, range, left_out);
}

std::size_t count_64(std::uint32_t* bins, const std::int64_t* ids, std::size_t n,
                     access_range range, access_tally* left_out) {
  return count_some(bins, ids, n, range, left_out);
}

std::uint64_t merge(access_record* records, std::uint32_t* bins, std::size_t n, access_step step) {
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
      stepping(steps * step.weight, steps * step.gain, step.tick)(records[i]);
    }
  }
  return missed;
}

}  // namespace

constinit const access_kernels avx2_access_kernels{.name = "avx2",
                                                   .narrow_32 = narrow_32,
                                                   .narrow_64 = narrow_64,
                                                   .apply = apply,
                                                   .apply_known = apply_known,
                                                   .count_32 = count_32,
                                                   .count_64 = count_64,
                                                   .merge = merge};

}  // namespace cpu
}  // namespace v0
}  // namespace tidepool
