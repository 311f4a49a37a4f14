// SPDX-License-Identifier: Apache-2.0
//
// Loops over the 32 lanes of registers, written so that the compiler vectorises them. Handlers use
// these and nothing else to touch registers. The names a, b, c, d are the PTX manual's operands.
#pragma once

#include "machine/execution.hpp"

#include <bit>
#include <cmath>
#include <cstdint>
#include <type_traits>

// Lanes do not depend on each other, which GCC has to be told; clang looks at run time.
#ifdef __clang__
#define CUDASIM_INDEPENDENT_LANES
#else
#define CUDASIM_INDEPENDENT_LANES _Pragma("GCC ivdep")
#endif

namespace cudasim {

template <class T>
[[nodiscard]] const T* source_lanes(const warp& w, place at) {
  return reinterpret_cast<const T*>(w.base[at & 1] + (at >> 1));
}
template <class T>
[[nodiscard]] T* lanes_of(const warp& w, place at) {
  return reinterpret_cast<T*>(w.base[0] + (at >> 1));
}

[[nodiscard]] inline lane_mask predicate(const warp& w, place at) {
  return *source_lanes<lane_mask>(w, at);
}
inline void set_predicate(const warp& w, place at, lane_mask m, lane_mask value) {
  if (at != no_place) {
    lane_mask* const d = lanes_of<lane_mask>(w, at);
    *d = (*d & ~m) | (value & m);
  }
}

// d = f(lane) for the lanes of m. Lanes that do not live may be overwritten with anything, so most
// writes need no blending.
template <class R, class F>
[[gnu::always_inline]] inline void for_lanes(const warp& w, place at, lane_mask m, F f) {
  R* const d = lanes_of<R>(w, at);
  if ((m | ~w.live) == all_lanes) {
    CUDASIM_INDEPENDENT_LANES
    for (int l = 0; l < lane_count; ++l) {
      d[l] = f(l);
    }
  } else {
    CUDASIM_INDEPENDENT_LANES
    for (int l = 0; l < lane_count; ++l) {
      const R value = f(l);
      d[l] = ((m >> l) & 1) != 0 ? value : d[l];
    }
  }
}

// f(lane) for the lanes of m, in order.
template <class F>
[[gnu::always_inline]] inline void each_lane(lane_mask m, F f) {
  for (; m != 0; m &= m - 1) {
    f(std::countr_zero(m));
  }
}

// d = Op(a), d = Op(a, b) and d = Op(a, b, c), all of one type.
template <class T, class Op>
void unary(warp& w, const instruction& in, lane_mask m) {
  const T* const a = source_lanes<T>(w, in.ref[1]);
  for_lanes<T>(w, in.ref[0], m, [=](int l) { return Op::template of<T>(a[l]); });
}
template <class T, class Op>
void binary(warp& w, const instruction& in, lane_mask m) {
  const T* const a = source_lanes<T>(w, in.ref[1]);
  const T* const b = source_lanes<T>(w, in.ref[2]);
  for_lanes<T>(w, in.ref[0], m, [=](int l) { return Op::template of<T>(a[l], b[l]); });
}
template <class T, class Op>
void ternary(warp& w, const instruction& in, lane_mask m) {
  const T* const a = source_lanes<T>(w, in.ref[1]);
  const T* const b = source_lanes<T>(w, in.ref[2]);
  const T* const c = source_lanes<T>(w, in.ref[3]);
  for_lanes<T>(w, in.ref[0], m, [=](int l) { return Op::template of<T>(a[l], b[l], c[l]); });
}

template <class T>
struct wider;
template <>
struct wider<std::uint16_t> {
  using type = std::uint32_t;
};
template <>
struct wider<std::int16_t> {
  using type = std::int32_t;
};
template <>
struct wider<std::uint32_t> {
  using type = std::uint64_t;
};
template <>
struct wider<std::int32_t> {
  using type = std::int64_t;
};
__extension__ typedef unsigned __int128 uint128;
__extension__ typedef __int128 int128;
template <>
struct wider<std::uint64_t> {
  using type = uint128;
};
template <>
struct wider<std::int64_t> {
  using type = int128;
};

// A type's name as a value, so that a generic lambda can choose a handler by it.
template <class T>
struct type_tag {
  using type = T;
};

// choose(type_tag<T>) for the C++ type of a PTX type; null for all others.
template <class F>
[[nodiscard]] handler for_integer(ptx::type t, F choose) {
  switch (t) {
  case ptx::type::u16:
  case ptx::type::b16:
    return choose(type_tag<std::uint16_t>{});
  case ptx::type::s16:
    return choose(type_tag<std::int16_t>{});
  case ptx::type::u32:
  case ptx::type::b32:
    return choose(type_tag<std::uint32_t>{});
  case ptx::type::s32:
    return choose(type_tag<std::int32_t>{});
  case ptx::type::u64:
  case ptx::type::b64:
    return choose(type_tag<std::uint64_t>{});
  case ptx::type::s64:
    return choose(type_tag<std::int64_t>{});
  default:
    return nullptr;
  }
}
template <class F>
[[nodiscard]] handler for_real(ptx::type t, F choose) {
  return t == ptx::type::f32   ? choose(type_tag<float>{})
         : t == ptx::type::f64 ? choose(type_tag<double>{})
                               : nullptr;
}
template <class F>
[[nodiscard]] handler for_number(ptx::type t, F choose) {
  return ptx::is_float(t) ? for_real(t, choose) : for_integer(t, choose);
}
// By size alone: the unsigned type of 2, 4 or 8 bytes.
template <class F>
[[nodiscard]] handler for_bits(int bytes, F choose) {
  return bytes == 2   ? choose(type_tag<std::uint16_t>{})
         : bytes == 4 ? choose(type_tag<std::uint32_t>{})
         : bytes == 8 ? choose(type_tag<std::uint64_t>{})
                      : nullptr;
}

template <class Op>
[[nodiscard]] handler integer_binary(ptx::type t) {
  return for_integer(t,
                     [](auto tag) -> handler { return binary<typename decltype(tag)::type, Op>; });
}
template <class Op>
[[nodiscard]] handler number_binary(ptx::type t) {
  return for_number(t,
                    [](auto tag) -> handler { return binary<typename decltype(tag)::type, Op>; });
}
template <class Op>
[[nodiscard]] handler real_unary(ptx::type t) {
  return for_real(t, [](auto tag) -> handler { return unary<typename decltype(tag)::type, Op>; });
}
template <class Op>
[[nodiscard]] handler bits_unary(int bytes) {
  return for_bits(bytes,
                  [](auto tag) -> handler { return unary<typename decltype(tag)::type, Op>; });
}

struct copy_value {
  template <class T>
  static T of(T a) {
    return a;
  }
};

// Wraps instead of overflowing.
struct sum {
  template <class T>
  static T of(T a, T b) {
    if constexpr (std::is_floating_point_v<T>) {
      return a + b;
    } else {
      using U = std::conditional_t<sizeof(T) < 4, std::uint32_t, std::make_unsigned_t<T>>;
      return static_cast<T>(static_cast<U>(a) + static_cast<U>(b));
    }
  }
};
// -0 is less than +0; a NaN loses against a number.
struct smaller {
  template <class T>
  static T of(T a, T b) {
    if constexpr (std::is_floating_point_v<T>) {
      return a != a ? b : b != b ? a : a == b ? (std::signbit(a) ? a : b) : a < b ? a : b;
    } else {
      return b < a ? b : a;
    }
  }
};
struct larger {
  template <class T>
  static T of(T a, T b) {
    if constexpr (std::is_floating_point_v<T>) {
      return a != a ? b : b != b ? a : a == b ? (std::signbit(a) ? b : a) : a < b ? b : a;
    } else {
      return a < b ? b : a;
    }
  }
};
struct bit_and {
  template <class T>
  static T of(T a, T b) {
    return static_cast<T>(a & b);
  }
};
struct bit_or {
  template <class T>
  static T of(T a, T b) {
    return static_cast<T>(a | b);
  }
};
struct bit_xor {
  template <class T>
  static T of(T a, T b) {
    return static_cast<T>(a ^ b);
  }
};

}  // namespace cudasim
