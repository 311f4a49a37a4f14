// SPDX-License-Identifier: Apache-2.0
//
// Single PTX instructions against host formulas (instruction_formulas.hpp), on edge values and on
// random ones. The seed is fixed, as each run does all of the instructions' cases.
#include "instruction_formulas.hpp"
#include "support.cuh"

#include <cmath>
#include <random>

namespace {

using namespace formulas;

// The kernel's results of one input, in the order of formulas::expected.
struct results {
  u64* out;
  int count = 0;
  __device__ void add(u64 value) { out[count++] = value; }
};

__device__ void bit_operations(results& r, u32 a, u32 b, u32 c, u64 a_wide) {
  u32 x;
  asm("bfe.u32 %0,%1,%2,%3;" : "=r"(x) : "r"(a), "r"(b), "r"(c));
  r.add(x);
  asm("bfe.s32 %0,%1,%2,%3;" : "=r"(x) : "r"(a), "r"(b), "r"(c));
  r.add(x);
  asm("bfi.b32 %0,%1,%2,%3,%4;" : "=r"(x) : "r"(a), "r"(b), "r"(c & 63), "r"((c >> 8) & 63));
  r.add(x);
  asm("lop3.b32 %0,%1,%2,%3,0x96;" : "=r"(x) : "r"(a), "r"(b), "r"(c));
  r.add(x);
  asm("lop3.b32 %0,%1,%2,%3,0xca;" : "=r"(x) : "r"(a), "r"(b), "r"(c));
  r.add(x);
  asm("prmt.b32 %0,%1,%2,%3;" : "=r"(x) : "r"(a), "r"(b), "r"(c));
  r.add(x);
  asm("shf.l.wrap.b32 %0,%1,%2,%3;" : "=r"(x) : "r"(a), "r"(b), "r"(c));
  r.add(x);
  asm("shf.r.wrap.b32 %0,%1,%2,%3;" : "=r"(x) : "r"(a), "r"(b), "r"(c));
  r.add(x);
  asm("shf.l.clamp.b32 %0,%1,%2,%3;" : "=r"(x) : "r"(a), "r"(b), "r"(c));
  r.add(x);
  asm("shf.r.clamp.b32 %0,%1,%2,%3;" : "=r"(x) : "r"(a), "r"(b), "r"(c));
  r.add(x);
  asm("bfind.u32 %0,%1;" : "=r"(x) : "r"(a));
  r.add(x);
  asm("bfind.s32 %0,%1;" : "=r"(x) : "r"(a));
  r.add(x);
  asm("bfind.shiftamt.u32 %0,%1;" : "=r"(x) : "r"(a));
  r.add(x);
  asm("brev.b32 %0,%1;" : "=r"(x) : "r"(a));
  r.add(x);
  asm("clz.b32 %0,%1;" : "=r"(x) : "r"(a));
  r.add(x);
  asm("popc.b64 %0,%1;" : "=r"(x) : "l"(a_wide));
  r.add(x);
  asm("shr.s32 %0,%1,%2;" : "=r"(x) : "r"(a), "r"(b & 63));
  r.add(x);
  asm("shl.b32 %0,%1,%2;" : "=r"(x) : "r"(a), "r"(b & 63));
  r.add(x);
  r.add(__brevll(a_wide));
  r.add(__byte_perm(a, b, 0x5140));
  r.add(__vadd4(a, b));
}

__device__ void integer_arithmetic(results& r, u32 a, u32 b, u32 c, const input& in) {
  u32 x;
  u64 y;
  asm("sad.s32 %0,%1,%2,%3;" : "=r"(x) : "r"(a), "r"(b), "r"(c));
  r.add(x);
  asm("mad.hi.s32 %0,%1,%2,%3;" : "=r"(x) : "r"(a), "r"(b), "r"(c));
  r.add(x);
  asm("mul.hi.u32 %0,%1,%2;" : "=r"(x) : "r"(a), "r"(b));
  r.add(x);
  asm("mul.hi.s64 %0,%1,%2;" : "=l"(y) : "l"(in.a), "l"(in.b));
  r.add(y);
  asm("mad.wide.s32 %0,%1,%2,%3;" : "=l"(y) : "r"(a), "r"(b), "l"(in.c));
  r.add(y);
  asm("shr.s64 %0,%1,%2;" : "=l"(y) : "l"(in.a), "r"(b & 127));
  r.add(y);
  const u32 a_high = in.a >> 32;
  const u32 b_high = in.b >> 32;
  const u32 c_high = in.c >> 32;
  asm("{.reg .u32 l,h; add.cc.u32 l,%1,%3; addc.u32 h,%2,%4; mov.b64 %0,{l,h};}"
      : "=l"(y)
      : "r"(a), "r"(a_high), "r"(b), "r"(b_high));
  r.add(y);
  asm("{.reg .u32 l,h; sub.cc.u32 l,%1,%3; subc.u32 h,%2,%4; mov.b64 %0,{l,h};}"
      : "=l"(y)
      : "r"(a), "r"(a_high), "r"(b), "r"(b_high));
  r.add(y);
  asm("{.reg .u32 l,h; mad.lo.cc.u32 l,%1,%2,%3; madc.hi.u32 h,%1,%2,%4; mov.b64 %0,{l,h};}"
      : "=l"(y)
      : "r"(a), "r"(b), "r"(c), "r"(c_high));
  r.add(y);
  r.add(static_cast<u32>(static_cast<s32>(a) / static_cast<s32>(b | 1)));
  r.add(a % (b | 1));
  r.add(static_cast<s64>(in.a) % static_cast<s64>(in.b | 1));
  r.add(in.a / (in.b | 1));
  r.add(static_cast<s32>(a) < static_cast<s32>(b) ? a : b);
  asm("dp4a.s32.s32 %0,%1,%2,%3;" : "=r"(x) : "r"(a), "r"(b), "r"(c));
  r.add(x);
  asm("dp4a.u32.s32 %0,%1,%2,%3;" : "=r"(x) : "r"(a), "r"(b), "r"(c));
  r.add(x);
}

__device__ void conversions(results& r, u32 a, const input& in) {
  u32 x;
  u64 y;
  const float f = to_float(in.a);
  const double d = to_double(in.a);
  asm("cvt.s32.s8 %0,%1;" : "=r"(x) : "r"(a));
  r.add(x);
  asm("cvt.u32.u8 %0,%1;" : "=r"(x) : "r"(a));
  r.add(x);
  asm("cvt.s64.s16 %0,%1;" : "=l"(y) : "h"(static_cast<unsigned short>(a)));
  r.add(y);
  asm("cvt.sat.u8.s32 %0,%1;" : "=r"(x) : "r"(a));
  r.add(x);
  asm("cvt.rzi.s32.f32 %0,%1;" : "=r"(x) : "f"(f));
  r.add(x);
  asm("cvt.rni.u32.f32 %0,%1;" : "=r"(x) : "f"(f));
  r.add(x);
  asm("cvt.rpi.s64.f64 %0,%1;" : "=l"(y) : "d"(d));
  r.add(y);
  asm("cvt.rmi.u64.f64 %0,%1;" : "=l"(y) : "d"(d));
  r.add(y);
  r.add(bits_of(__int2float_rn(static_cast<s32>(a))));
  r.add(bits_of(__ll2double_rn(static_cast<s64>(in.a))));
  r.add(bits_of(static_cast<double>(f)));
  r.add(bits_of(static_cast<float>(static_cast<s64>(in.a))));
  r.add(bits_of(static_cast<float>(a)));
  r.add(bits_of(rintf(f)));
  r.add(bits_of(trunc(d)));
}

__device__ void floating_point(results& r, const input& in) {
  const float f = to_float(in.a);
  const float g = to_float(in.b);
  const float h = to_float(in.c);
  const double d = to_double(in.a);
  const double e = to_double(in.b);
  r.add(bits_of(__fmaf_rn(f, g, h)));
  r.add(bits_of(f / g));
  r.add(bits_of(d / e));
  r.add(bits_of(__fma_rn(d, e, to_double(in.c))));
  r.add(bits_of(sqrtf(fabsf(f))));
  r.add(bits_of(fminf(f, g)));
  r.add(bits_of(fmax(d, e)));
  r.add((f < g) | !(f >= g) << 1 | (f != g) << 2 | (d <= e) << 3 | isnan(f) << 4);
}

__global__ void run_all(const input* in, u64* out, int* counts, int n) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= n) {
    return;
  }
  results r{out + static_cast<std::size_t>(i) * most_results};
  const u32 a = in[i].a;
  bit_operations(r, a, in[i].b, in[i].c, in[i].a);
  integer_arithmetic(r, a, in[i].b, in[i].c, in[i]);
  conversions(r, a, in[i]);
  floating_point(r, in[i]);
  counts[i] = r.count;
}

bool is_same(u64 got, u64 expected, bool is_real) {
  const auto both_nan = [&] {
    return (std::isnan(to_float(got)) && std::isnan(to_float(expected))) ||
           (std::isnan(to_double(got)) && std::isnan(to_double(expected)));
  };
  return got == expected || (is_real && both_nan());
}

TEST(Instructions, AgreeWithTheFormulasOfTheHost) {
  const std::vector<input> inputs = make_inputs(20000);
  const int n = static_cast<int>(inputs.size());
  buffer<input> in(inputs);
  buffer<u64> out(inputs.size() * most_results);
  buffer<int> counts(n);
  run_all<<<(n + 127) / 128, 128>>>(in.data(), out.data(), counts.data(), n);
  expect_synchronised();
  const std::vector<u64> got = out.get();
  const std::vector<int> count = counts.get();
  int wrong = 0;
  for (int i = 0; i < n && wrong < 20; ++i) {
    const std::vector<result> expected = formulas::expected(inputs[i]);
    ASSERT_EQ(expected.size(), count[i]);
    for (std::size_t k = 0; k != expected.size(); ++k) {
      const u64 value = got[i * most_results + k];
      const bool same = is_same(value, expected[k].bits, expected[k].is_real);
      wrong += same ? 0 : 1;
      EXPECT_TRUE(same) << std::hex << expected[k].name << " of " << inputs[i].a << ", "
                        << inputs[i].b << ", " << inputs[i].c << ": " << value << ", not "
                        << expected[k].bits;
    }
  }
}

}  // namespace
