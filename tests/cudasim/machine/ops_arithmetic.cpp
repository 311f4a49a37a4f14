// SPDX-License-Identifier: Apache-2.0
//
// Arithmetic on integers and on f32 and f64, and functions of one operand. The approximate forms
// compute the exact value. .ftz is ignored: denormal numbers stay. Only rounding to nearest.
#include "machine/lanes.hpp"
#include "machine/lowering.hpp"

#include <cmath>

namespace cudasim {
namespace {

struct difference {
  template <class T>
  static T of(T a, T b) {
    if constexpr (std::is_floating_point_v<T>) {
      return a - b;
    } else {
      using U = std::conditional_t<sizeof(T) < 4, std::uint32_t, std::make_unsigned_t<T>>;
      return static_cast<T>(static_cast<U>(a) - static_cast<U>(b));
    }
  }
};
struct product {
  template <class T>
  static T of(T a, T b) {
    if constexpr (std::is_floating_point_v<T>) {
      return a * b;
    } else {
      using U = std::conditional_t<sizeof(T) < 4, std::uint32_t, std::make_unsigned_t<T>>;
      return static_cast<T>(static_cast<U>(a) * static_cast<U>(b));
    }
  }
};
struct high_product {
  template <class T>
  static T of(T a, T b) {
    using W = typename wider<T>::type;
    return static_cast<T>((static_cast<W>(a) * static_cast<W>(b)) >> (8 * sizeof(T)));
  }
};
struct quotient {
  template <class T>
  static T of(T a, T b) {
    if constexpr (!std::is_floating_point_v<T>) {
      if (b == 0) {
        return static_cast<T>(-1);
      }
      if constexpr (std::is_signed_v<T>) {
        if (b == -1) {
          return difference::of<T>(0, a);  // the smallest number has no negative
        }
      }
    }
    return static_cast<T>(a / b);
  }
};
struct remainder {
  template <class T>
  static T of(T a, T b) {
    if (b == 0) {
      return a;
    }
    if constexpr (std::is_signed_v<T>) {
      if (b == -1) {
        return 0;
      }
    }
    return static_cast<T>(a % b);
  }
};
struct copy_sign {
  template <class T>
  static T of(T a, T b) {
    return std::copysign(b, a);
  }
};
struct negative {
  template <class T>
  static T of(T a) {
    if constexpr (std::is_floating_point_v<T>) {
      return -a;
    } else {
      return difference::of<T>(0, a);
    }
  }
};
struct magnitude {
  template <class T>
  static T of(T a) {
    if constexpr (std::is_floating_point_v<T>) {
      return std::fabs(a);
    } else {
      return a < 0 ? difference::of<T>(0, a) : a;
    }
  }
};
struct square_root {
  template <class T>
  static T of(T a) {
    return std::sqrt(a);
  }
};
struct reciprocal {
  template <class T>
  static T of(T a) {
    return T{1} / a;
  }
};
struct reciprocal_root {
  template <class T>
  static T of(T a) {
    return T{1} / std::sqrt(a);
  }
};
struct sine {
  template <class T>
  static T of(T a) {
    return std::sin(a);
  }
};
struct cosine {
  template <class T>
  static T of(T a) {
    return std::cos(a);
  }
};
struct power_of_two {
  template <class T>
  static T of(T a) {
    return std::exp2(a);
  }
};
struct logarithm {
  template <class T>
  static T of(T a) {
    return std::log2(a);
  }
};
struct hyperbolic_tangent {
  template <class T>
  static T of(T a) {
    return std::tanh(a);
  }
};
struct fused {
  template <class T>
  static T of(T a, T b, T c) {
    return std::fma(a, b, c);
  }
};
struct distance_sum {
  template <class T>
  static T of(T a, T b, T c) {
    return sum::of<T>(c, a < b ? difference::of<T>(b, a) : difference::of<T>(a, b));
  }
};
template <class Product>
struct product_sum {
  template <class T>
  static T of(T a, T b, T c) {
    return sum::of<T>(Product::template of<T>(a, b), c);
  }
};

template <class T>
void wide_product(warp& w, const instruction& in, lane_mask m) {
  using W = typename wider<T>::type;
  const T* const a = source_lanes<T>(w, in.ref[1]);
  const T* const b = source_lanes<T>(w, in.ref[2]);
  for_lanes<W>(w, in.ref[0], m, [=](int l) { return static_cast<W>(a[l]) * static_cast<W>(b[l]); });
}
template <class T>
void wide_product_sum(warp& w, const instruction& in, lane_mask m) {
  using W = typename wider<T>::type;
  const T* const a = source_lanes<T>(w, in.ref[1]);
  const T* const b = source_lanes<T>(w, in.ref[2]);
  const W* const c = source_lanes<W>(w, in.ref[3]);
  for_lanes<W>(w, in.ref[0], m, [=](int l) {
    return sum::of<W>(static_cast<W>(a[l]) * static_cast<W>(b[l]), c[l]);
  });
}

// Extended precision: the carry of each lane is a bit of w.carry. flag: sets it; variant: uses it.
template <class T>
T keep_carry(warp& w, const instruction& in, int l, uint128 value) {
  if (in.flag) {
    const auto out = static_cast<lane_mask>(value >> (8 * sizeof(T))) & 1;
    w.carry = (w.carry & ~(lane_mask{1} << l)) | out << l;
  }
  return static_cast<T>(value);
}
template <class T, bool Subtracts>
void add_with_carry(warp& w, const instruction& in, lane_mask m) {
  const T* const a = source_lanes<T>(w, in.ref[1]);
  const T* const b = source_lanes<T>(w, in.ref[2]);
  T* const d = lanes_of<T>(w, in.ref[0]);
  each_lane(m, [&](int l) {
    const uint128 carry = in.variant != 0 ? (w.carry >> l) & 1 : 0;
    const uint128 x = a[l];
    d[l] = keep_carry<T>(w, in, l, Subtracts ? x - b[l] - carry : x + b[l] + carry);
  });
}
template <class T, bool High>
void multiply_with_carry(warp& w, const instruction& in, lane_mask m) {
  const T* const a = source_lanes<T>(w, in.ref[1]);
  const T* const b = source_lanes<T>(w, in.ref[2]);
  const T* const c = source_lanes<T>(w, in.ref[3]);
  T* const d = lanes_of<T>(w, in.ref[0]);
  each_lane(m, [&](int l) {
    const uint128 whole = uint128{a[l]} * b[l];
    const uint128 carry = in.variant != 0 ? (w.carry >> l) & 1 : 0;
    const T half = static_cast<T>(High ? whole >> (8 * sizeof(T)) : whole);
    d[l] = keep_carry<T>(w, in, l, uint128{half} + c[l] + carry);
  });
}

// dp4a: four products of bytes, added to c; dp2a: two products of halves and bytes. variant bit 0:
// a is signed, bit 1: b is; flag: dp2a takes the high bytes of b.
std::int64_t part_of(std::uint32_t value, int index, int bits, bool is_signed) {
  const std::uint32_t part = (value >> (index * bits)) & ((1u << bits) - 1);
  const std::uint32_t sign = 1u << (bits - 1);
  return is_signed ? std::int64_t{part ^ sign} - sign : std::int64_t{part};
}
template <int Parts>
void dot_product(warp& w, const instruction& in, lane_mask m) {
  const auto* const a = source_lanes<std::uint32_t>(w, in.ref[1]);
  const auto* const b = source_lanes<std::uint32_t>(w, in.ref[2]);
  const auto* const c = source_lanes<std::uint32_t>(w, in.ref[3]);
  for_lanes<std::uint32_t>(w, in.ref[0], m, [&](int l) {
    std::int64_t total = c[l];
    for (int i = 0; i < Parts; ++i) {
      total += part_of(a[l], i, 32 / Parts, (in.variant & 1) != 0) *
               part_of(b[l], i + (in.flag ? 2 : 0), 8, (in.variant & 2) != 0);
    }
    return static_cast<std::uint32_t>(total);
  });
}

bool lower_carry(lowering& made) {
  const bool high = made.has("hi");
  const bool wide = made.bytes == 8;
  made.into.flag = made.has("cc");
  made.into.variant = made.opcode().back() == 'c' ? 1 : 0;
  if (made.opcode().starts_with("mad")) {
    return made.regular(wide ? (high ? multiply_with_carry<std::uint64_t, true>
                                     : multiply_with_carry<std::uint64_t, false>)
                             : (high ? multiply_with_carry<std::uint32_t, true>
                                     : multiply_with_carry<std::uint32_t, false>),
                        3);
  }
  const bool subtracts = made.opcode().starts_with("sub");
  return made.regular(wide ? (subtracts ? add_with_carry<std::uint64_t, true>
                                        : add_with_carry<std::uint64_t, false>)
                           : (subtracts ? add_with_carry<std::uint32_t, true>
                                        : add_with_carry<std::uint32_t, false>),
                      2);
}

bool lower_product(lowering& made) {
  if (made.has("wide")) {
    return made.regular(for_integer(made.type,
                                    [](auto tag) -> handler {
                                      using T = typename decltype(tag)::type;
                                      if constexpr (sizeof(T) < 8) {
                                        return wide_product<T>;
                                      } else {
                                        return nullptr;
                                      }
                                    }),
                        2);
  }
  return made.regular(made.has("hi") ? integer_binary<high_product>(made.type)
                                     : number_binary<product>(made.type),
                      2);
}

handler function_of_one(std::string_view opcode, ptx::type t) {
  return opcode == "sqrt"    ? real_unary<square_root>(t)
         : opcode == "rcp"   ? real_unary<reciprocal>(t)
         : opcode == "rsqrt" ? real_unary<reciprocal_root>(t)
         : opcode == "sin"   ? real_unary<sine>(t)
         : opcode == "cos"   ? real_unary<cosine>(t)
         : opcode == "ex2"   ? real_unary<power_of_two>(t)
         : opcode == "lg2"   ? real_unary<logarithm>(t)
         : opcode == "tanh"  ? real_unary<hyperbolic_tangent>(t)
                             : nullptr;
}

template <class Op>
handler signed_unary(ptx::type t) {
  return for_number(t, [](auto tag) -> handler {
    using T = typename decltype(tag)::type;
    return std::is_signed_v<T> ? unary<T, Op> : nullptr;
  });
}

}  // namespace

bool lower_arithmetic(lowering& made) {
  const std::string_view opcode = made.opcode();
  const ptx::type t = made.type;
  if (ptx::is_float(t) && made.which({"rz", "rm", "rp"}) >= 0) {
    return false;  // floats are rounded to nearest
  }
  if (made.has("cc")) {
    return lower_carry(made);
  }
  if (opcode == "mul") {
    return lower_product(made);
  }
  if (opcode == "fma" || opcode == "sad") {
    return made.regular(opcode == "fma"
                            ? for_real(t,
                                       [](auto tag) -> handler {
                                         return ternary<typename decltype(tag)::type, fused>;
                                       })
                        : t == ptx::type::u32 ? handler{ternary<std::uint32_t, distance_sum>}
                        : t == ptx::type::s32 ? handler{ternary<std::int32_t, distance_sum>}
                                              : nullptr,
                        3);
  }
  if (opcode == "abs" || opcode == "neg") {
    return made.regular(opcode == "abs" ? signed_unary<magnitude>(t) : signed_unary<negative>(t),
                        1);
  }
  if (opcode == "copysign") {
    return made.regular(
        for_real(
            t, [](auto tag) -> handler { return binary<typename decltype(tag)::type, copy_sign>; }),
        2);
  }
  const handler two = opcode == "add"   ? number_binary<sum>(t)
                      : opcode == "sub" ? number_binary<difference>(t)
                      : opcode == "div" ? number_binary<quotient>(t)
                      : opcode == "rem" ? integer_binary<remainder>(t)
                      : opcode == "min" ? number_binary<smaller>(t)
                      : opcode == "max" ? number_binary<larger>(t)
                                        : nullptr;
  return two != nullptr ? made.regular(two, 2) : made.regular(function_of_one(opcode, t), 1);
}

bool lower_wide_arithmetic(lowering& made) {
  if (made.opcode().starts_with("dp")) {
    made.into.variant = static_cast<std::uint8_t>((made.before == ptx::type::s32 ? 1 : 0) |
                                                  (made.type == ptx::type::s32 ? 2 : 0));
    made.into.flag = made.has("hi");
    return made.regular(made.opcode() == "dp4a" ? dot_product<4> : dot_product<2>, 3);
  }
  if (made.has("cc") || made.opcode() != "mad") {
    return lower_carry(made);
  }
  if (made.has("wide")) {
    made.into.run = for_integer(made.type, [](auto tag) -> handler {
      using T = typename decltype(tag)::type;
      if constexpr (sizeof(T) < 8) {
        return wide_product_sum<T>;
      } else {
        return nullptr;
      }
    });
    made.destination();
    made.source(1, 1, made.bytes);
    made.source(2, 2, made.bytes);
    made.source(3, 3, 2 * made.bytes);
    return made.into.run != nullptr;
  }
  if (ptx::is_float(made.type)) {
    return made.regular(
        for_real(made.type,
                 [](auto tag) -> handler { return ternary<typename decltype(tag)::type, fused>; }),
        3);
  }
  const bool high = made.has("hi");
  return made.regular(for_integer(made.type,
                                  [=](auto tag) -> handler {
                                    using T = typename decltype(tag)::type;
                                    return high ? ternary<T, product_sum<high_product>>
                                                : ternary<T, product_sum<product>>;
                                  }),
                      3);
}

}  // namespace cudasim
