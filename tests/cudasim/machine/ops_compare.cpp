// SPDX-License-Identifier: Apache-2.0
//
// Comparisons and what chooses by them: setp, set, selp, slct, testp.
#include "machine/lanes.hpp"
#include "machine/lowering.hpp"

#include <array>
#include <cmath>
#include <utility>

namespace cudasim {
namespace {

enum class comparison : std::uint8_t {
  eq,
  ne,
  lt,
  le,
  gt,
  ge,
  equ,  // the names that end in u are true for NaN too
  neu,
  ltu,
  leu,
  gtu,
  geu,
  num,
  nan,
};
constexpr std::array<std::pair<std::string_view, comparison>, 18> comparisons{{
    {"eq", comparison::eq},
    {"ne", comparison::ne},
    {"lt", comparison::lt},
    {"le", comparison::le},
    {"gt", comparison::gt},
    {"ge", comparison::ge},
    {"lo", comparison::lt},
    {"ls", comparison::le},
    {"hi", comparison::gt},
    {"hs", comparison::ge},
    {"equ", comparison::equ},
    {"neu", comparison::neu},
    {"ltu", comparison::ltu},
    {"leu", comparison::leu},
    {"gtu", comparison::gtu},
    {"geu", comparison::geu},
    {"num", comparison::num},
    {"nan", comparison::nan},
}};

template <comparison C, class T>
bool holds(T a, T b) {
  using enum comparison;
  if constexpr (C == eq) {
    return a == b;
  } else if constexpr (C == ne) {
    return a < b || a > b;
  } else if constexpr (C == lt) {
    return a < b;
  } else if constexpr (C == le) {
    return a <= b;
  } else if constexpr (C == gt) {
    return a > b;
  } else if constexpr (C == ge) {
    return a >= b;
  } else if constexpr (C == equ) {
    return !(a < b || a > b);
  } else if constexpr (C == neu) {
    return a != b;
  } else if constexpr (C == ltu) {
    return !(a >= b);
  } else if constexpr (C == leu) {
    return !(a > b);
  } else if constexpr (C == gtu) {
    return !(a <= b);
  } else if constexpr (C == geu) {
    return !(a < b);
  } else if constexpr (C == num) {
    return a == a && b == b;
  } else {
    return a != a || b != b;
  }
}

template <class T, comparison C>
lane_mask compare_lanes(const warp& w, const instruction& in) {
  const T* const a = source_lanes<T>(w, in.ref[2]);
  const T* const b = source_lanes<T>(w, in.ref[3]);
  lane_mask result = 0;
  for (int l = 0; l < lane_count; ++l) {
    result |= holds<C, T>(a[l], b[l]) ? lane_mask{1} << l : 0;
  }
  return result;
}

// ref: p, q, a, b, c; variant: 0 compare only, else combine with c by 1 and, 2 or, 3 xor; flag: !c.
template <class T, comparison C>
void set_predicates(warp& w, const instruction& in, lane_mask m) {
  lane_mask p = compare_lanes<T, C>(w, in);
  lane_mask q = ~p;
  if (in.variant != 0) {
    const lane_mask c = in.flag ? ~predicate(w, in.ref[4]) : predicate(w, in.ref[4]);
    p = in.variant == 1 ? p & c : in.variant == 2 ? p | c : p ^ c;
    q = in.variant == 1 ? q & c : in.variant == 2 ? q | c : q ^ c;
  }
  set_predicate(w, in.ref[0], m, p);
  set_predicate(w, in.ref[1], m, q);
}
template <class T, comparison C>
void set_number(warp& w, const instruction& in, lane_mask m) {  // immediate: what stands for true
  const lane_mask result = compare_lanes<T, C>(w, in);
  const auto one = static_cast<std::uint32_t>(in.immediate);
  for_lanes<std::uint32_t>(w, in.ref[0], m,
                           [=](int l) { return (result >> l & 1) != 0 ? one : 0u; });
}

template <class T>
handler compare_handler(comparison wanted, bool to_number) {
  handler found = nullptr;
  // One handler for each comparison, by index: what a switch of 14 equal cases would say.
  [&]<std::size_t... I>(std::index_sequence<I...>) {
    ((static_cast<comparison>(I) == wanted
          ? (found = to_number ? set_number<T, static_cast<comparison>(I)>
                               : set_predicates<T, static_cast<comparison>(I)>)
          : nullptr),
     ...);
  }
  (std::make_index_sequence<static_cast<std::size_t>(comparison::nan) + 1>{});
  return found;
}

template <class T>
void select(warp& w, const instruction& in, lane_mask m) {
  const T* const a = source_lanes<T>(w, in.ref[1]);
  const T* const b = source_lanes<T>(w, in.ref[2]);
  const lane_mask p = predicate(w, in.ref[3]);
  for_lanes<T>(w, in.ref[0], m, [=](int l) { return ((p >> l) & 1) != 0 ? a[l] : b[l]; });
}
template <class T, class C>
void select_by_sign(warp& w, const instruction& in, lane_mask m) {
  const T* const a = source_lanes<T>(w, in.ref[1]);
  const T* const b = source_lanes<T>(w, in.ref[2]);
  const C* const c = source_lanes<C>(w, in.ref[3]);
  for_lanes<T>(w, in.ref[0], m, [=](int l) { return c[l] >= 0 ? a[l] : b[l]; });
}

enum class property : std::uint8_t { finite, infinite, number, not_a_number, normal, subnormal };
template <class T>
bool has_property(property asked, T x) {
  switch (asked) {
  case property::finite:
    return std::isfinite(x);
  case property::infinite:
    return std::isinf(x);
  case property::number:
    return !std::isnan(x);
  case property::not_a_number:
    return std::isnan(x);
  case property::normal:
    return std::isnormal(x);
  case property::subnormal:
    break;
  }
  return std::fpclassify(x) == FP_SUBNORMAL;
}
template <class T>
void test_property(warp& w, const instruction& in, lane_mask m) {
  const T* const a = source_lanes<T>(w, in.ref[1]);
  lane_mask result = 0;
  for (int l = 0; l < lane_count; ++l) {
    result |= has_property(static_cast<property>(in.variant), a[l]) ? lane_mask{1} << l : 0;
  }
  set_predicate(w, in.ref[0], m, result);
}

bool lower_set(lowering& made) {
  const bool to_number = made.opcode() == "set";
  const auto& arguments = made.from.arguments;
  if (to_number) {
    if (arguments.size() > 3 || ptx::size_of(made.before) != 4) {
      return false;
    }
    made.into.immediate = made.before == ptx::type::f32 ? 0x3f800000 : 0xffffffff;
  }
  for (const auto& [name, value] : comparisons) {
    if (made.from.opcode.at(1) == name) {
      made.into.run = for_number(made.type, [&, wanted = value](auto tag) -> handler {
        return compare_handler<typename decltype(tag)::type>(wanted, to_number);
      });
    }
  }
  if (made.into.run == nullptr) {
    return false;
  }
  made.destination();
  made.second_destination();
  made.source(2, 1, made.bytes);
  made.source(3, 2, made.bytes);
  if (arguments.size() > 3) {
    made.source(4, 3, 0);
    made.into.flag = arguments[3].negated;
    made.into.variant = static_cast<std::uint8_t>(1 + made.which({"and", "or", "xor"}));
  }
  return true;
}

}  // namespace

bool lower_compare(lowering& made) {
  const std::string_view opcode = made.opcode();
  if (opcode == "setp" || opcode == "set") {
    return lower_set(made);
  }
  if (opcode == "selp") {
    made.into.run = for_bits(
        made.bytes, [](auto tag) -> handler { return select<typename decltype(tag)::type>; });
    made.source(3, 3, 0);
  } else if (opcode == "slct") {
    made.bytes = register_bytes(made.before);
    const bool by_float = made.type == ptx::type::f32;
    made.into.run = for_bits(made.bytes, [=](auto tag) -> handler {
      using T = typename decltype(tag)::type;
      return by_float ? select_by_sign<T, float> : select_by_sign<T, std::int32_t>;
    });
    made.source(3, 3, 4);
  } else {
    const int wanted =
        made.which({"finite", "infinite", "number", "notanumber", "normal", "subnormal"});
    made.into.variant = static_cast<std::uint8_t>(wanted);
    return wanted >= 0 &&
           made.regular(for_real(made.type,
                                 [](auto tag) -> handler {
                                   return test_property<typename decltype(tag)::type>;
                                 }),
                        1);
  }
  made.destination();
  made.source(1, 1, made.bytes);
  made.source(2, 2, made.bytes);
  return made.into.run != nullptr;
}

}  // namespace cudasim
