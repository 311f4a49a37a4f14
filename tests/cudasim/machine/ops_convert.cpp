// SPDX-License-Identifier: Apache-2.0
//
// cvt: between integers of all sizes, f16, bf16, f32 and f64. Usual pairs have handlers that are
// vectorised, all others go one lane at a time. Floats are rounded to nearest; .rz, .rm and .rp of
// a result that is a float are not supported.
#include "machine/half.hpp"
#include "machine/lanes.hpp"
#include "machine/lowering.hpp"

#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

namespace cudasim {
namespace {

using ptx::type;

template <class To, class From>
void convert_register(warp& w, const instruction& in, lane_mask m) {
  const From* const a = source_lanes<From>(w, in.ref[1]);
  for_lanes<To>(w, in.ref[0], m, [=](int l) { return static_cast<To>(a[l]); });
}

enum class rounding : std::uint8_t { unset, nearest, to_zero, down, up };  // to integers

// Packed into an instruction's immediate.
struct conversion {
  type to;
  type from;
  std::uint8_t to_bytes;  // of the registers
  std::uint8_t from_bytes;
  rounding round;
  std::uint8_t saturates;
};

double round_to_integer(double x, rounding mode) {
  switch (mode) {
  case rounding::nearest:
    return std::nearbyint(x);
  case rounding::down:
    return std::floor(x);
  case rounding::up:
    return std::ceil(x);
  case rounding::to_zero:
  case rounding::unset:
    break;
  }
  return std::trunc(x);
}

struct limits {
  int128 low;
  int128 high;
};
limits limits_of(type t) {
  const int bits = 8 * ptx::size_of(t);
  return ptx::is_signed(t) ? limits{-(int128{1} << (bits - 1)), (int128{1} << (bits - 1)) - 1}
                           : limits{0, (int128{1} << bits) - 1};
}

int128 saturate(int128 x, type t) {
  const limits range = limits_of(t);
  return x < range.low ? range.low : x > range.high ? range.high : x;
}

// NaN becomes 0, but the lowest number of 64 bits from f64 or to 64 bits: so says the hardware.
int128 integer_of(double x, type to, type from) {
  if (std::isnan(x)) {
    const bool is_wide = from == type::f64 || ptx::size_of(to) == 8;
    return is_wide ? int128{1} << (8 * ptx::size_of(to) - 1) : 0;
  }
  const limits range = limits_of(to);
  if (x <= static_cast<double>(range.low)) {
    return range.low;
  }
  return x >= static_cast<double>(range.high) ? range.high : static_cast<int128>(x);
}

double float_from_bits(std::uint64_t bits, type t) {
  switch (t) {
  case type::f16:
    return static_cast<double>(float_of_half(static_cast<std::uint16_t>(bits)));
  case type::bf16:
    return static_cast<double>(std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16));
  case type::f32:
    return static_cast<double>(std::bit_cast<float>(static_cast<std::uint32_t>(bits)));
  default:
    return std::bit_cast<double>(bits);
  }
}

int128 integer_from_bits(std::uint64_t bits, type t) {
  const int unused = 64 - 8 * ptx::size_of(t);
  if (ptx::is_signed(t)) {
    return static_cast<std::int64_t>(bits << unused) >> unused;
  }
  return (bits << unused) >> unused;
}

std::uint64_t bits_of_float(double x, float narrow, type t) {
  switch (t) {
  case type::f16:
    return half_of_float(narrow);
  case type::bf16:
    return bfloat_of_float(narrow);
  case type::f32:
    return std::bit_cast<std::uint32_t>(narrow);
  default:
    return std::bit_cast<std::uint64_t>(x);
  }
}

std::uint64_t to_float(std::uint64_t bits, const conversion& how) {
  if (!ptx::is_float(how.from)) {
    const int128 value = integer_from_bits(bits, how.from);
    return bits_of_float(static_cast<double>(value), static_cast<float>(value), how.to);
  }
  double x = float_from_bits(bits, how.from);
  if (how.round != rounding::unset) {
    x = round_to_integer(x, how.round);
  }
  if (how.saturates != 0) {
    x = x > 0 ? std::fmin(x, 1.0) : 0.0;
  }
  return bits_of_float(x, static_cast<float>(x), how.to);
}

// The register's bits beyond the type are copies of its sign.
std::uint64_t to_integer(std::uint64_t bits, const conversion& how) {
  if (ptx::is_float(how.from)) {
    const double x = round_to_integer(float_from_bits(bits, how.from), how.round);
    return static_cast<std::uint64_t>(integer_of(x, how.to, how.from));
  }
  int128 value = integer_from_bits(bits, how.from);
  if (how.saturates != 0) {
    value = saturate(value, how.to);
  }
  return static_cast<std::uint64_t>(integer_from_bits(static_cast<std::uint64_t>(value), how.to));
}

void convert_lane_by_lane(warp& w, const instruction& in, lane_mask m) {
  conversion how;
  std::memcpy(&how, &in.immediate, sizeof how);
  const char* const from = source_lanes<char>(w, in.ref[1]);
  char* const to = lanes_of<char>(w, in.ref[0]);
  each_lane(m, [&](int l) {
    std::uint64_t bits = 0;
    std::memcpy(&bits, from + l * how.from_bytes, how.from_bytes);
    bits = ptx::is_float(how.to) ? to_float(bits, how) : to_integer(bits, how);
    std::memcpy(to + l * how.to_bytes, &bits, how.to_bytes);
  });
}

struct fast_pair {
  int to_bytes;
  int from_bytes;
  bool is_signed;
  handler run;
};
using std::int16_t;
using std::int32_t;
using std::uint16_t;
using std::uint32_t;
using std::uint64_t;
constexpr std::array<fast_pair, 14> integer_pairs{{
    {8, 4, true, convert_register<uint64_t, int32_t>},
    {8, 4, false, convert_register<uint64_t, uint32_t>},
    {8, 2, true, convert_register<uint64_t, int16_t>},
    {8, 2, false, convert_register<uint64_t, uint16_t>},
    {4, 2, true, convert_register<uint32_t, int16_t>},
    {4, 2, false, convert_register<uint32_t, uint16_t>},
    {4, 8, true, convert_register<uint32_t, uint64_t>},
    {4, 8, false, convert_register<uint32_t, uint64_t>},
    {2, 4, true, convert_register<uint16_t, uint32_t>},
    {2, 4, false, convert_register<uint16_t, uint32_t>},
    {2, 8, true, convert_register<uint16_t, uint64_t>},
    {2, 8, false, convert_register<uint16_t, uint64_t>},
    {8, 8, true, convert_register<uint64_t, uint64_t>},
    {4, 4, true, convert_register<uint32_t, uint32_t>},
}};

// A handler for whole registers, if the pair has one.
handler fast_handler(const lowering& made, int to_bytes, int from_bytes) {
  const type to = made.before;
  const type from = made.type;
  if (made.has("sat")) {
    return nullptr;
  }
  if (!ptx::is_float(from) && !ptx::is_float(to)) {
    if (ptx::size_of(to) != to_bytes || ptx::size_of(from) != from_bytes) {
      return nullptr;
    }
    for (const fast_pair& pair : integer_pairs) {
      if (pair.to_bytes == to_bytes && pair.from_bytes == from_bytes &&
          (to_bytes == from_bytes || pair.is_signed == ptx::is_signed(from))) {
        return pair.run;
      }
    }
    return nullptr;
  }
  return to == type::f32 && from == type::s32 && from_bytes == 4 ? convert_register<float, int32_t>
         : to == type::f32 && from == type::u32 && from_bytes == 4
             ? convert_register<float, uint32_t>
         : to == type::f64 && from == type::f32 ? convert_register<double, float>
                                                : nullptr;
}

}  // namespace

bool lower_convert(lowering& made) {
  const auto& arguments = made.from.arguments;
  const bool rounds_float = made.which({"rz", "rm", "rp", "rna"}) >= 0;
  if (made.has("pack") || arguments.size() != 2 || rounds_float || made.before == type::none ||
      made.type == type::f16x2 || made.before == type::f16x2) {
    return false;
  }
  const int to_bytes = made.operands.width(arguments[0]);
  int from_bytes = made.operands.width(arguments[1]);
  if (from_bytes < 0) {
    from_bytes = made.bytes;
  }
  made.destination();
  made.source(1, 1, from_bytes);
  made.into.run = fast_handler(made, to_bytes, from_bytes);
  if (made.into.run == nullptr) {
    const conversion how{made.before,
                         made.type,
                         static_cast<std::uint8_t>(to_bytes),
                         static_cast<std::uint8_t>(from_bytes),
                         static_cast<rounding>(1 + made.which({"rni", "rzi", "rmi", "rpi"})),
                         static_cast<std::uint8_t>(made.has("sat") ? 1 : 0)};
    static_assert(sizeof how <= sizeof made.into.immediate);
    std::memcpy(&made.into.immediate, &how, sizeof how);
    made.into.run = convert_lane_by_lane;
  }
  return true;
}

}  // namespace cudasim
