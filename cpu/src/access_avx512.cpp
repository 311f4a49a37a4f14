// SPDX-License-Identifier: Apache-2.0
//
// Access kernels for AVX-512 (F, VL). Records are read, changed and written one at a time as one
// 32-byte register: gathers and scatters over them cost more than they save.
#include "kernel_table.hpp"
#include <tidepool/access_record.hpp>

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

namespace tidepool {
inline namespace v0 {
namespace cpu {

namespace {

inline unsigned bits_in(std::uint32_t mask) {
  return static_cast<unsigned>(__builtin_popcount(mask));
}

std::size_t narrow_32(const std::int32_t* ids, std::size_t n, access_range range,
                      std::uint32_t* out, access_tally* left_out) {
  constexpr std::uint64_t above = std::uint64_t{1} << 31;  // ids of 32 bits are below
  const __m512i extent =
      _mm512_set1_epi32(static_cast<int>(range.extent < above ? range.extent : above));
  const __m512i base = _mm512_set1_epi32(static_cast<int>(range.base));
  std::size_t kept = 0;
  for (std::size_t i = 0; i < n; i += 16) {
    const auto there = static_cast<__mmask16>(n - i >= 16 ? 0xffff : (1U << (n - i)) - 1);
    const __m512i v = _mm512_maskz_loadu_epi32(there, ids + i);
    const __mmask16 valid = _mm512_mask_cmplt_epu32_mask(there, v, extent);
    const __m512i index = _mm512_add_epi32(v, base);
    // The caller promises room for 16 more.
    if (valid == there) {
      _mm512_storeu_si512(out + kept, index);
      kept += bits_in(there);
      continue;
    }
    _mm512_storeu_si512(out + kept, _mm512_maskz_compress_epi32(valid, index));
    const unsigned good = bits_in(valid);
    const unsigned padding = bits_in(_mm512_mask_cmpeq_epi32_mask(there, v, _mm512_set1_epi32(-1)));
    kept += good;
    left_out->padding += padding;
    left_out->out_of_range += bits_in(there) - good - padding;
  }
  return kept;
}

std::size_t narrow_64(const std::int64_t* ids, std::size_t n, access_range range,
                      std::uint32_t* out, access_tally* left_out) {
  const __m512i extent = _mm512_set1_epi64(static_cast<long long>(range.extent));
  const __m512i base = _mm512_set1_epi64(static_cast<long long>(range.base));
  std::size_t kept = 0;
  for (std::size_t i = 0; i < n; i += 8) {
    const auto there = static_cast<__mmask8>(n - i >= 8 ? 0xff : (1U << (n - i)) - 1);
    const __m512i v = _mm512_maskz_loadu_epi64(there, ids + i);
    const __mmask8 valid = _mm512_mask_cmplt_epu64_mask(there, v, extent);
    const __m512i index = _mm512_maskz_compress_epi64(valid, _mm512_add_epi64(v, base));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + kept),
                        _mm512_maskz_cvtepi64_epi32(0xff, index));
    const unsigned good = bits_in(valid);
    kept += good;
    if (valid != there) {
      const unsigned padding =
          bits_in(_mm512_mask_cmpeq_epi64_mask(there, v, _mm512_set1_epi64(-1)));
      left_out->padding += padding;
      left_out->out_of_range += bits_in(there) - good - padding;
    }
  }
  return kept;
}

// {count, tick, score, rest}: adds the sum, then takes a maximum, which changes only the tick.
inline void take_step(access_record& r, __m256i sum, __m256i latest) {
  auto* const at = reinterpret_cast<__m256i*>(&r);
  _mm256_store_si256(at, _mm256_max_epu64(_mm256_add_epi64(_mm256_load_si256(at), sum), latest));
}
inline __m256i sum_of(std::uint64_t count, std::uint64_t score) {
  return _mm256_set_epi64x(0, static_cast<long long>(score), 0, static_cast<long long>(count));
}
inline __m256i latest_of(std::uint64_t tick) {
  return _mm256_set_epi64x(0, 0, static_cast<long long>(tick), 0);
}

template <bool Far>
std::size_t apply_steps(access_record* records, const std::uint32_t* indices, std::size_t n,
                        access_step step) {
  const __m256i sum = sum_of(step.weight, step.gain);
  const __m256i latest = latest_of(step.tick);
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
    take_step(r, sum, latest);
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
  const __m256i sum = sum_of(step.weight, step.gain);
  const __m256i latest = latest_of(step.tick);
  std::size_t k = 0;
  for (std::size_t i = 0; i < n; ++i) {
    __builtin_prefetch(&records[indices[i + access_lookahead - 1]], 1);
    access_record& r = records[indices[i]];
    const std::uint32_t generation = generations[i];
    if (((r.generation ^ generation) | (r.attributes & without)) != 0 || generation == 0) {
      missed[k++] = static_cast<std::uint32_t>(i);
      continue;
    }
    take_step(r, sum, latest);
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
  const __m512i extent =
      _mm512_set1_epi32(static_cast<int>(range.extent < above ? range.extent : above));
  std::uint32_t* const layer = bins + range.base;
  std::size_t counted = 0;
  std::size_t i = 0;
  for (; i + 16 <= n; i += 16) {
    const __m512i v = _mm512_loadu_si512(ids + i);
    if (_mm512_cmplt_epu32_mask(v, extent) == 0xffff) {
      // Two ids are read by one load, because the stores are what takes time.
      for (std::size_t j = 0; j < 16; j += 2) {
        std::uint64_t two = 0;
        __builtin_memcpy(&two, ids + i + j, sizeof two);
        ++layer[two & 0xffffffffU];
        ++layer[two >> 32];
      }
      counted += 16;
    } else {
      counted += count_some(bins, ids + i, 16, range, left_out);
    }
  }
  return counted + count_some(bins, ids + i, n - i, range, left_out);
}

std::size_t count_64(std::uint32_t* bins, const std::int64_t* ids, std::size_t n,
                     access_range range, access_tally* left_out) {
  return count_some(bins, ids, n, range, left_out);
}

std::uint64_t merge(access_record* records, std::uint32_t* bins, std::size_t n, access_step step) {
  const __m256i latest = latest_of(step.tick);
  std::uint64_t missed = 0;
  for (std::size_t at = 0; at < n; at += 16) {
    const auto there = static_cast<__mmask16>(n - at >= 16 ? 0xffff : (1U << (n - at)) - 1);
    const __m512i steps = _mm512_maskz_loadu_epi32(there, bins + at);
    std::uint32_t filled = _mm512_test_epi32_mask(steps, steps);
    for (; filled != 0; filled &= filled - 1) {
      const std::size_t i = at + static_cast<unsigned>(__builtin_ctz(filled));
      if (records[i].generation == 0) {
        missed += bins[i];
      } else {
        take_step(records[i], sum_of(bins[i] * step.weight, bins[i] * step.gain), latest);
      }
    }
    _mm512_mask_storeu_epi32(bins + at, there, _mm512_setzero_si512());
  }
  return missed;
}

}  // namespace

constinit const access_kernels avx512_access_kernels{.name = "avx512",
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
