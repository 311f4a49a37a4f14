// SPDX-License-Identifier: Apache-2.0
//
// What PTX instructions compute, written a second time for the host from the PTX manual, without a
// look at the simulator's handlers. For instructions_test.cu.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <random>
#include <vector>

#ifdef __CUDACC__
#define CUDASIM_ANYWHERE __host__ __device__
#else
#define CUDASIM_ANYWHERE
#endif

namespace formulas {

using u32 = std::uint32_t;
using u64 = unsigned long long;
using s32 = std::int32_t;
using s64 = long long;
constexpr int most_results = 64;

struct input {
  u64 a;
  u64 b;
  u64 c;
};
struct result {
  const char* name;
  u64 bits;
  bool is_real;
};

CUDASIM_ANYWHERE inline float to_float(u64 bits) {
  float value;
  const u32 low = static_cast<u32>(bits);
  memcpy(&value, &low, sizeof value);
  return value;
}
CUDASIM_ANYWHERE inline double to_double(u64 bits) {
  double value;
  memcpy(&value, &bits, sizeof value);
  return value;
}
CUDASIM_ANYWHERE inline u64 bits_of(float value) {
  u32 bits;
  memcpy(&bits, &value, sizeof bits);
  return bits;
}
CUDASIM_ANYWHERE inline u64 bits_of(double value) {
  u64 bits;
  memcpy(&bits, &value, sizeof bits);
  return bits;
}

inline u32 bit(u32 value, u32 at) {
  return at < 32 ? value >> at & 1 : 0;
}

inline u32 field(u32 a, u32 position, u32 length, bool is_signed) {
  const u32 top = std::min(position + length - 1, 31u);
  const u32 fill = is_signed && length != 0 ? bit(a, top) : 0;
  u32 value = 0;
  for (u32 i = 0; i < 32; ++i) {
    value |= (i < length && position + i <= 31 ? bit(a, position + i) : fill) << i;
  }
  return value;
}
inline u32 with_field(u32 a, u32 into, u32 position, u32 length) {
  for (u32 i = 0; i < length && position + i < 32; ++i) {
    into = (into & ~(1u << (position + i))) | bit(a, i) << (position + i);
  }
  return into;
}
inline u32 permuted(u32 a, u32 b, u32 selectors) {
  u32 value = 0;
  for (u32 i = 0; i < 4; ++i) {
    const u32 selector = selectors >> 4 * i & 15;
    const u32 word = (selector & 7) < 4 ? a : b;
    u32 byte = word >> 8 * (selector & 3) & 255;
    if (selector & 8) {
      byte = byte & 128 ? 255 : 0;
    }
    value |= byte << 8 * i;
  }
  return value;
}
inline u32 highest(u32 value) {
  for (int i = 31; i >= 0; --i) {
    if (bit(value, static_cast<u32>(i))) {
      return static_cast<u32>(i);
    }
  }
  return ~0u;
}
template <class T>
u64 reversed(T value, int width) {
  u64 result = 0;
  for (int i = 0; i < width; ++i) {
    result |= static_cast<u64>(value >> i & 1) << (width - 1 - i);
  }
  return result;
}
inline u32 left_funnel(u32 a, u32 b, u32 n) {
  return n == 32 ? a : n == 0 ? b : b << n | a >> (32 - n);
}
inline u32 right_funnel(u32 a, u32 b, u32 n) {
  return n == 32 ? b : n == 0 ? a : b << (32 - n) | a >> n;
}
inline s32 dot(u32 a, u32 b, bool a_signed, s32 sum) {
  for (int i = 0; i < 4; ++i) {
    const u32 raw = a >> 8 * i & 255;
    const s32 x = a_signed ? static_cast<signed char>(raw) : static_cast<s32>(raw);
    sum = static_cast<s32>(static_cast<u32>(sum) +
                           static_cast<u32>(x * static_cast<signed char>(b >> 8 * i & 255)));
  }
  return sum;
}

inline void bit_operations(std::vector<result>& r, u32 a, u32 b, u32 c, u64 a_wide) {
  r.push_back({"bfe.u32", field(a, b & 255, c & 255, false), false});
  r.push_back({"bfe.s32", field(a, b & 255, c & 255, true), false});
  r.push_back({"bfi.b32", with_field(a, b, c & 63, c >> 8 & 63), false});
  r.push_back({"lop3 0x96", a ^ b ^ c, false});
  r.push_back({"lop3 0xca", (a & b) | (~a & c), false});
  r.push_back({"prmt", permuted(a, b, c), false});
  r.push_back({"shf.l.wrap", left_funnel(a, b, c & 31), false});
  r.push_back({"shf.r.wrap", right_funnel(a, b, c & 31), false});
  r.push_back({"shf.l.clamp", left_funnel(a, b, std::min(c, 32u)), false});
  r.push_back({"shf.r.clamp", right_funnel(a, b, std::min(c, 32u)), false});
  r.push_back({"bfind.u32", highest(a), false});
  r.push_back({"bfind.s32", highest(static_cast<s32>(a) < 0 ? ~a : a), false});
  r.push_back({"bfind.shiftamt", a ? 31 - highest(a) : ~0u, false});
  r.push_back({"brev.b32", reversed(a, 32), false});
  r.push_back({"clz.b32", a ? 31 - highest(a) : 32, false});
  r.push_back({"popc.b64", static_cast<u64>(__builtin_popcountll(a_wide)), false});
  r.push_back({"shr.s32", static_cast<u32>(static_cast<s32>(a) >> std::min(b & 63, 31u)), false});
  r.push_back({"shl.b32", (b & 63) > 31 ? 0 : a << (b & 63), false});
  r.push_back({"brev.b64", reversed(a_wide, 64), false});
  r.push_back({"prmt 0x5140", permuted(a, b, 0x5140), false});
  u32 sums = 0;
  for (int i = 0; i < 4; ++i) {
    sums |= ((a >> 8 * i) + (b >> 8 * i) & 255) << 8 * i;
  }
  r.push_back({"vadd4", sums, false});
}

inline void integer_arithmetic(std::vector<result>& r, u32 a, u32 b, u32 c, const input& in) {
  const s32 x = static_cast<s32>(a);
  const s32 y = static_cast<s32>(b);
  const s32 odd = static_cast<s32>(b | 1);
  const s64 wide_odd = static_cast<s64>(in.b | 1);
  r.push_back({"sad.s32", static_cast<u32>(c + (x < y ? b - a : a - b)), false});
  r.push_back({"mad.hi.s32", static_cast<u32>((s64{x} * y >> 32) + c), false});
  r.push_back({"mul.hi.u32", u64{a} * b >> 32, false});
  const __int128 whole = static_cast<__int128>(static_cast<s64>(in.a)) * static_cast<s64>(in.b);
  r.push_back({"mul.hi.s64", static_cast<u64>(whole >> 64), false});
  r.push_back({"mad.wide.s32", static_cast<u64>(s64{x} * y) + in.c, false});
  r.push_back(
      {"shr.s64", static_cast<u64>(static_cast<s64>(in.a) >> std::min(b & 127, 63u)), false});
  r.push_back({"addc", in.a + in.b, false});
  r.push_back({"subc", in.a - in.b, false});
  r.push_back({"madc", u64{a} * b + in.c, false});
  r.push_back({"div.s32", odd == -1 ? 0u - a : static_cast<u32>(x / odd), false});
  r.push_back({"rem.u32", a % (b | 1), false});
  r.push_back(
      {"rem.s64", wide_odd == -1 ? 0 : static_cast<u64>(static_cast<s64>(in.a) % wide_odd), false});
  r.push_back({"div.u64", in.a / (in.b | 1), false});
  r.push_back({"min.s32", x < y ? a : b, false});
  r.push_back({"dp4a.s32.s32", static_cast<u32>(dot(a, b, true, static_cast<s32>(c))), false});
  r.push_back({"dp4a.u32.s32", static_cast<u32>(dot(a, b, false, static_cast<s32>(c))), false});
}

// x rounded already; what lies beyond goes to the nearest, NaN to `nan`.
inline u64 saturated(double x, double low, double high, u64 lowest, u64 highest, u64 nan) {
  if (std::isnan(x)) {
    return nan;
  }
  if (x <= low) {
    return lowest;
  }
  return x >= high ? highest
         : low < 0 ? static_cast<u64>(static_cast<s64>(x))
                   : static_cast<u64>(x);
}

inline void conversions(std::vector<result>& r, u32 a, const input& in) {
  const float f = to_float(in.a);
  const double d = to_double(in.a);
  const s32 x = static_cast<s32>(a);
  const u64 top = u64{1} << 63;
  r.push_back(
      {"cvt.s32.s8", static_cast<u32>(static_cast<s32>(static_cast<signed char>(a))), false});
  r.push_back({"cvt.u32.u8", a & 255, false});
  r.push_back({"cvt.s64.s16", static_cast<u64>(static_cast<s64>(static_cast<short>(a))), false});
  r.push_back({"cvt.sat.u8.s32", static_cast<u64>(x < 0 ? 0 : std::min(x, 255)), false});
  r.push_back(
      {"cvt.rzi.s32.f32",
       saturated(std::trunc(f), -0x1p31, 0x1p31 - 1, 0x80000000, 0x7fffffff, 0) & 0xffffffff,
       false});
  r.push_back(
      {"cvt.rni.u32.f32", saturated(std::nearbyint(f), 0, 0x1p32 - 1, 0, 0xffffffff, 0), false});
  r.push_back(
      {"cvt.rpi.s64.f64", saturated(std::ceil(d), -0x1p63, 0x1p63, top, top - 1, top), false});
  r.push_back({"cvt.rmi.u64.f64", saturated(std::floor(d), 0, 0x1p64, 0, ~0ull, top), false});
  r.push_back({"cvt.f32.s32", bits_of(static_cast<float>(x)), true});
  r.push_back({"cvt.f64.s64", bits_of(static_cast<double>(static_cast<s64>(in.a))), true});
  r.push_back({"cvt.f64.f32", bits_of(static_cast<double>(f)), true});
  r.push_back({"cvt.f32.s64", bits_of(static_cast<float>(static_cast<s64>(in.a))), true});
  r.push_back({"cvt.f32.u32", bits_of(static_cast<float>(a)), true});
  r.push_back({"cvt.rni.f32", bits_of(std::nearbyint(f)), true});
  r.push_back({"cvt.rzi.f64", bits_of(std::trunc(d)), true});
}

inline void floating_point(std::vector<result>& r, const input& in) {
  const float f = to_float(in.a);
  const float g = to_float(in.b);
  const double d = to_double(in.a);
  const double e = to_double(in.b);
  r.push_back({"fma.f32", bits_of(std::fma(f, g, to_float(in.c))), true});
  r.push_back({"div.f32", bits_of(f / g), true});
  r.push_back({"div.f64", bits_of(d / e), true});
  r.push_back({"fma.f64", bits_of(std::fma(d, e, to_double(in.c))), true});
  r.push_back({"sqrt.f32", bits_of(std::sqrt(std::fabs(f))), true});
  const bool zeros = f == 0 && g == 0;  // -0 is less than +0
  r.push_back({"min.f32",
               std::isnan(f)   ? bits_of(g)
               : std::isnan(g) ? bits_of(f)
               : zeros         ? (in.a | in.b) & 0xffffffff
                               : bits_of(std::fmin(f, g)),
               true});
  r.push_back({"max.f64",
               std::isnan(d)      ? in.b
               : std::isnan(e)    ? in.a
               : d == 0 && e == 0 ? in.a & in.b
                                  : bits_of(std::fmax(d, e)),
               true});
  r.push_back({"comparisons",
               static_cast<u64>((f < g) | !(f >= g) << 1 | (f != g) << 2 | (d <= e) << 3 |
                                static_cast<int>(std::isnan(f)) << 4),
               false});
}

inline std::vector<result> expected(const input& in) {
  std::vector<result> r;
  const u32 a = static_cast<u32>(in.a);
  const u32 b = static_cast<u32>(in.b);
  const u32 c = static_cast<u32>(in.c);
  bit_operations(r, a, b, c, in.a);
  integer_arithmetic(r, a, b, c, in);
  conversions(r, a, in);
  floating_point(r, in);
  return r;
}

// All pairs of edge values, and random ones, some of them small or whole numbers as floats.
inline std::vector<input> make_inputs(int random_count) {
  const std::vector<u64> edges{0,
                               1,
                               2,
                               31,
                               32,
                               33,
                               63,
                               64,
                               0x7f,
                               0x80,
                               0xff,
                               0x7fff,
                               0x8000,
                               0x7fffffff,
                               0x80000000,
                               0xffffffff,
                               0x3f800000,
                               0xbf800000,
                               0x4f000000,
                               0xcf800000,
                               0x7f800000,
                               0x7fc00000,
                               0x3fc00000,
                               0x40200000,
                               1ull << 63,
                               ~0ull,
                               0x3ff8000000000000,
                               0x43e0000000000000,
                               0xc3e0000000000001,
                               0x7ff0000000000000,
                               0x4004000000000000};
  std::mt19937_64 random(3);
  std::vector<input> made;
  for (const u64 a : edges) {
    for (const u64 b : edges) {
      made.push_back({a, b, edges[random() % edges.size()]});
    }
  }
  const auto value = [&] {
    const u64 any = random();
    switch (random() % 6) {
    case 0:
      return any & 0xff;
    case 1:
      return bits_of(static_cast<float>(static_cast<s32>(any)) / 65536);
    case 2:
      return bits_of(static_cast<double>(static_cast<s64>(any)) / 4294967296.0);
    default:
      return any;
    }
  };
  for (int i = 0; i < random_count; ++i) {
    made.push_back({value(), value(), value()});
  }
  return made;
}

}  // namespace formulas
