// SPDX-License-Identifier: Apache-2.0
//
// Operations on bits: logic (of predicates too), shifts, fields, counting, bytes.
#include "machine/lanes.hpp"
#include "machine/lowering.hpp"

#include <algorithm>
#include <bit>

namespace cudasim {
namespace {

using std::int32_t;
using std::int64_t;
using std::uint32_t;
using std::uint64_t;
using std::uint8_t;

struct complement {
  template <class T>
  static T of(T a) {
    return static_cast<T>(~a);
  }
};
struct is_zero {
  template <class T>
  static T of(T a) {
    return a == 0 ? 1 : 0;
  }
};
struct reversed {
  template <class T>
  static T of(T a) {
    T result = 0;
    for (unsigned i = 0; i < 8 * sizeof(T); ++i) {
      result = static_cast<T>(result | ((a >> i) & 1) << (8 * sizeof(T) - 1 - i));
    }
    return result;
  }
};

template <class T>
void shift_left(warp& w, const instruction& in, lane_mask m) {
  constexpr uint32_t width = 8 * sizeof(T);
  const T* const a = source_lanes<T>(w, in.ref[1]);
  const uint32_t* const b = source_lanes<uint32_t>(w, in.ref[2]);
  for_lanes<T>(w, in.ref[0], m, [=](int l) {
    return b[l] >= width ? T{0} : static_cast<T>(a[l] << (b[l] & (width - 1)));
  });
}
template <class T>
void shift_right(warp& w, const instruction& in, lane_mask m) {
  constexpr uint32_t width = 8 * sizeof(T);
  const T* const a = source_lanes<T>(w, in.ref[1]);
  const uint32_t* const b = source_lanes<uint32_t>(w, in.ref[2]);
  for_lanes<T>(w, in.ref[0], m, [=](int l) {
    if constexpr (std::is_signed_v<T>) {
      return static_cast<T>(a[l] >> (b[l] >= width ? width - 1 : b[l]));
    } else {
      return b[l] >= width ? T{0} : static_cast<T>(a[l] >> (b[l] & (width - 1)));
    }
  });
}

template <class T>
void count_ones(warp& w, const instruction& in, lane_mask m) {
  const T* const a = source_lanes<T>(w, in.ref[1]);
  for_lanes<uint32_t>(w, in.ref[0], m,
                      [=](int l) { return static_cast<uint32_t>(std::popcount(a[l])); });
}
template <class T>
void count_leading_zeros(warp& w, const instruction& in, lane_mask m) {
  const T* const a = source_lanes<T>(w, in.ref[1]);
  for_lanes<uint32_t>(w, in.ref[0], m,
                      [=](int l) { return static_cast<uint32_t>(std::countl_zero(a[l])); });
}
template <class T>
void find_highest(warp& w, const instruction& in,
                  lane_mask m) {  // flag: the shift that moves it up
  const T* const a = source_lanes<T>(w, in.ref[1]);
  const bool shift = in.flag;
  for_lanes<uint32_t>(w, in.ref[0], m, [=](int l) {
    constexpr uint32_t width = 8 * sizeof(T);
    const auto x = static_cast<std::make_unsigned_t<T>>(a[l] < 0 ? ~a[l] : a[l]);
    const auto zeros = static_cast<uint32_t>(std::countl_zero(x));
    return zeros == width ? ~0u : shift ? zeros : width - 1 - zeros;
  });
}

// Bits beyond the top are copies of the sign, or zero.
template <class T>
void extract_field(warp& w, const instruction& in, lane_mask m) {
  const T* const a = source_lanes<T>(w, in.ref[1]);
  const uint32_t* const b = source_lanes<uint32_t>(w, in.ref[2]);
  const uint32_t* const c = source_lanes<uint32_t>(w, in.ref[3]);
  for_lanes<T>(w, in.ref[0], m, [=](int l) {
    constexpr uint32_t width = 8 * sizeof(T);
    const uint32_t at = b[l] & 255;
    const uint32_t length = c[l] & 255;
    if (length == 0) {
      return T{0};
    }
    const T above = std::is_signed_v<T> && a[l] < 0 ? static_cast<T>(-1) : T{0};
    const T x = at >= width ? above : static_cast<T>(a[l] >> at);
    if (length >= width) {
      return x;
    }
    const auto raised = static_cast<std::make_unsigned_t<T>>(x) << (width - length);
    return static_cast<T>(static_cast<T>(raised) >> (width - length));
  });
}
template <class T>
void insert_field(warp& w, const instruction& in, lane_mask m) {
  const T* const a = source_lanes<T>(w, in.ref[1]);
  const T* const b = source_lanes<T>(w, in.ref[2]);
  const uint32_t* const c = source_lanes<uint32_t>(w, in.ref[3]);
  const uint32_t* const d = source_lanes<uint32_t>(w, in.ref[4]);
  for_lanes<T>(w, in.ref[0], m, [=](int l) {
    constexpr uint32_t width = 8 * sizeof(T);
    const uint32_t at = c[l] & 255;
    const uint32_t length = d[l] & 255;
    if (length == 0 || at >= width) {
      return b[l];
    }
    const T ones = length >= width ? static_cast<T>(~T{0}) : static_cast<T>((T{1} << length) - 1);
    const T field = static_cast<T>(ones << at);
    return static_cast<T>((b[l] & ~field) | ((a[l] << at) & field));
  });
}
void make_mask(warp& w, const instruction& in, lane_mask m) {  // flag: modulo 32
  const uint32_t* const a = source_lanes<uint32_t>(w, in.ref[1]);
  const uint32_t* const b = source_lanes<uint32_t>(w, in.ref[2]);
  const uint32_t limit = in.flag ? 31 : ~0u;
  for_lanes<uint32_t>(w, in.ref[0], m, [=](int l) {
    const uint32_t at = a[l] & limit;
    const uint32_t length = b[l] & limit;
    if (at >= 32 || length == 0) {
      return 0u;
    }
    return (length >= 32 ? ~0u : (1u << length) - 1) << at;
  });
}
void logic_of_three(warp& w, const instruction& in, lane_mask m) {  // immediate: the truth table
  const uint32_t* const a = source_lanes<uint32_t>(w, in.ref[1]);
  const uint32_t* const b = source_lanes<uint32_t>(w, in.ref[2]);
  const uint32_t* const c = source_lanes<uint32_t>(w, in.ref[3]);
  const auto table = static_cast<uint32_t>(in.immediate);
  for_lanes<uint32_t>(w, in.ref[0], m, [=](int l) {
    uint32_t result = 0;
    for (uint32_t i = 0; i < 8; ++i) {
      if ((table >> i & 1) != 0) {
        result |= ((i & 4) != 0 ? a[l] : ~a[l]) & ((i & 2) != 0 ? b[l] : ~b[l]) &
                  ((i & 1) != 0 ? c[l] : ~c[l]);
      }
    }
    return result;
  });
}
void permute_bytes(warp& w, const instruction& in, lane_mask m) {
  const uint32_t* const a = source_lanes<uint32_t>(w, in.ref[1]);
  const uint32_t* const b = source_lanes<uint32_t>(w, in.ref[2]);
  const uint32_t* const c = source_lanes<uint32_t>(w, in.ref[3]);
  for_lanes<uint32_t>(w, in.ref[0], m, [=](int l) {
    const uint64_t both = a[l] | uint64_t{b[l]} << 32;
    uint32_t result = 0;
    for (uint32_t i = 0; i < 4; ++i) {
      const uint32_t selector = c[l] >> (4 * i);
      auto value = static_cast<uint8_t>(both >> (8 * (selector & 7)));
      if ((selector & 8) != 0) {
        value = (value & 128) != 0 ? 255 : 0;  // the sign, in all bits
      }
      result |= uint32_t{value} << (8 * i);
    }
    return result;
  });
}
template <bool Left>
void funnel_shift(warp& w, const instruction& in, lane_mask m) {  // flag: modulo 32, or at most 32
  const uint32_t* const a = source_lanes<uint32_t>(w, in.ref[1]);
  const uint32_t* const b = source_lanes<uint32_t>(w, in.ref[2]);
  const uint32_t* const c = source_lanes<uint32_t>(w, in.ref[3]);
  const bool wrap = in.flag;
  for_lanes<uint32_t>(w, in.ref[0], m, [=](int l) {
    const uint32_t n = wrap ? c[l] & 31 : std::min(c[l], 32u);
    const uint64_t both = a[l] | uint64_t{b[l]} << 32;
    return static_cast<uint32_t>(Left ? (both << n) >> 32 : both >> n);
  });
}
// The c-th set bit of a, from bit b upwards (c > 0), downwards (c < 0), or b itself.
void find_nth(warp& w, const instruction& in, lane_mask m) {
  const uint32_t* const a = source_lanes<uint32_t>(w, in.ref[1]);
  const uint32_t* const b = source_lanes<uint32_t>(w, in.ref[2]);
  const int32_t* const c = source_lanes<int32_t>(w, in.ref[3]);
  for_lanes<uint32_t>(w, in.ref[0], m, [=](int l) {
    const int step = c[l] < 0 ? -1 : 1;
    int64_t left = std::max<int64_t>(1, std::abs(int64_t{c[l]}));
    for (int64_t bit = b[l]; bit >= 0 && bit < 32; bit += step) {
      if ((a[l] >> bit & 1) != 0 && --left == 0) {
        return static_cast<uint32_t>(bit);
      }
      if (c[l] == 0) {
        break;
      }
    }
    return ~0u;
  });
}

template <class Op>
void predicate_logic(warp& w, const instruction& in, lane_mask m) {
  const lane_mask value =
      Op::template of<lane_mask>(predicate(w, in.ref[1]), predicate(w, in.ref[2]));
  set_predicate(w, in.ref[0], m, value);
}
void predicate_not(warp& w, const instruction& in, lane_mask m) {
  set_predicate(w, in.ref[0], m, ~predicate(w, in.ref[1]));
}

bool lower_logic(lowering& made) {
  const std::string_view opcode = made.opcode();
  if (made.type != ptx::type::pred) {
    return opcode == "not" ? made.regular(bits_unary<complement>(made.bytes), 1)
                           : made.regular(opcode == "and"  ? integer_binary<bit_and>(made.type)
                                          : opcode == "or" ? integer_binary<bit_or>(made.type)
                                                           : integer_binary<bit_xor>(made.type),
                                          2);
  }
  made.into.run = opcode == "not"   ? predicate_not
                  : opcode == "and" ? predicate_logic<bit_and>
                  : opcode == "or"  ? predicate_logic<bit_or>
                                    : predicate_logic<bit_xor>;
  made.destination();
  made.source(1, 1, 0);
  if (opcode != "not") {
    made.source(2, 2, 0);
  }
  return true;
}

bool lower_shift(lowering& made) {
  const bool left = made.opcode() == "shl";
  made.into.run = for_integer(made.type, [=](auto tag) -> handler {
    using T = typename decltype(tag)::type;
    return left ? shift_left<std::make_unsigned_t<T>> : shift_right<T>;
  });
  made.destination();
  made.source(1, 1, made.bytes);
  made.source(2, 2, 4);
  return made.into.run != nullptr;
}

bool lower_field(lowering& made) {
  const bool inserts = made.opcode() == "bfi";
  if (made.bytes < 4) {
    return false;
  }
  made.into.run = for_integer(made.type, [=](auto tag) -> handler {
    using T = typename decltype(tag)::type;
    return inserts ? insert_field<std::make_unsigned_t<T>> : extract_field<T>;
  });
  made.destination();
  made.source(1, 1, made.bytes);
  made.source(2, 2, inserts ? made.bytes : 4);
  made.source(3, 3, 4);
  if (inserts) {
    made.source(4, 4, 4);
  }
  return made.into.run != nullptr;
}

}  // namespace

bool lower_bits(lowering& made) {
  const std::string_view opcode = made.opcode();
  if (opcode == "and" || opcode == "or" || opcode == "xor" || opcode == "not") {
    return lower_logic(made);
  }
  if (opcode == "shl" || opcode == "shr") {
    return lower_shift(made);
  }
  if (opcode == "bfe" || opcode == "bfi") {
    return lower_field(made);
  }
  const bool wide = made.bytes == 8;
  made.into.flag = made.has("wrap") || made.has("shiftamt");
  if (opcode == "lop3") {
    if (made.type != ptx::type::b32 || made.from.arguments.size() != 5) {
      return false;
    }
    made.into.immediate = static_cast<int64_t>(made.from.arguments[4].bits);
    return made.regular(logic_of_three, 3);
  }
  if (opcode == "prmt") {
    return made.from.opcode.size() == 2 && made.regular(permute_bytes, 3);
  }
  if (opcode == "bfind") {
    return made.regular(for_integer(made.type,
                                    [](auto tag) -> handler {
                                      using T = typename decltype(tag)::type;
                                      return sizeof(T) == 2 ? nullptr : handler{find_highest<T>};
                                    }),
                        1);
  }
  return opcode == "cnot"   ? made.regular(bits_unary<is_zero>(made.bytes), 1)
         : opcode == "brev" ? made.regular(bits_unary<reversed>(made.bytes), 1)
         : opcode == "popc" ? made.regular(wide ? count_ones<uint64_t> : count_ones<uint32_t>, 1)
         : opcode == "clz"
             ? made.regular(wide ? count_leading_zeros<uint64_t> : count_leading_zeros<uint32_t>, 1)
         : opcode == "bmsk" ? made.regular(make_mask, 2)
         : opcode == "fns"
             ? made.regular(find_nth, 3)
             : made.regular(made.has("l") ? funnel_shift<true> : funnel_shift<false>, 3);
}

}  // namespace cudasim
