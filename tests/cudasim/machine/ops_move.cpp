// SPDX-License-Identifier: Apache-2.0
//
// mov (registers, packing and unpacking, clocks), and addresses between spaces: cvta, isspacep.
// Generic addresses of shared and local memory are the host's addresses of it.
#include "machine/lanes.hpp"
#include "machine/lowering.hpp"

#include <algorithm>
#include <chrono>
#include <cstring>

namespace cudasim {
namespace {

// ref: d, then the parts.
template <class Whole, class Part>
void pack(warp& w, const instruction& in, lane_mask m) {
  constexpr std::size_t parts = sizeof(Whole) / sizeof(Part);
  Whole* const d = lanes_of<Whole>(w, in.ref[0]);
  each_lane(m, [&](int l) {
    Whole value = 0;
    for (std::size_t i = 0; i != parts; ++i) {
      value |= static_cast<Whole>(Whole{source_lanes<Part>(w, in.ref[1 + i])[l]}
                                  << (8 * sizeof(Part) * i));
    }
    d[l] = value;
  });
}
// ref: a, then the parts.
template <class Whole, class Part>
void unpack(warp& w, const instruction& in, lane_mask m) {
  constexpr std::size_t parts = sizeof(Whole) / sizeof(Part);
  Whole a[lane_count];  // a copy: a part may share the register
  std::memcpy(a, source_lanes<Whole>(w, in.ref[0]), sizeof a);
  for (std::size_t i = 0; i != parts; ++i) {
    if (in.ref[1 + i] != no_place) {
      for_lanes<Part>(w, in.ref[1 + i], m,
                      [&](int l) { return static_cast<Part>(a[l] >> (8 * sizeof(Part) * i)); });
    }
  }
}

void read_clock(warp& w, const instruction& in, lane_mask m) {  // flag: 32 bits; variant: high half
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  const auto time =
      static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(now).count());
  if (in.flag) {
    const auto half = static_cast<std::uint32_t>(in.variant != 0 ? time >> 32 : time);
    for_lanes<std::uint32_t>(w, in.ref[0], m, [=](int) { return half; });
  } else {
    for_lanes<std::uint64_t>(w, in.ref[0], m, [=](int) { return time; });
  }
}

void predicate_copy(warp& w, const instruction& in, lane_mask m) {
  set_predicate(w, in.ref[0], m, predicate(w, in.ref[1]));
}

template <bool ToSpace>
void convert_shared(warp& w, const instruction& in, lane_mask m) {
  const auto* const a = source_lanes<std::uint64_t>(w, in.ref[1]);
  const auto base = reinterpret_cast<std::uint64_t>(w.home->shared);
  for_lanes<std::uint64_t>(w, in.ref[0], m,
                           [=](int l) { return ToSpace ? a[l] - base : a[l] + base; });
}
template <bool ToSpace>
void convert_local(warp& w, const instruction& in, lane_mask m) {
  const auto* const a = source_lanes<std::uint64_t>(w, in.ref[1]);
  for_lanes<std::uint64_t>(w, in.ref[0], m, [&](int l) {
    const auto base = reinterpret_cast<std::uint64_t>(local_base(w, l));
    return ToSpace ? a[l] - base : a[l] + base;
  });
}

enum class asked_space : std::uint8_t { global, shared, local, other };
void is_in_space(warp& w, const instruction& in, lane_mask m) {
  const auto* const a = source_lanes<std::uint64_t>(w, in.ref[1]);
  const block& home = *w.home;
  const range shared{reinterpret_cast<std::uint64_t>(home.shared), home.shared_bytes, 0};
  const range local{reinterpret_cast<std::uint64_t>(home.local),
                    home.warps.size() * lane_count * home.of->code->local_bytes, 0};
  const auto asked = static_cast<asked_space>(in.variant);
  lane_mask result = 0;
  for (int l = 0; l < lane_count; ++l) {
    const bool in_shared = shared.holds(a[l], 1);
    const bool in_local = local.holds(a[l], 1);
    const bool answer = asked == asked_space::shared   ? in_shared
                        : asked == asked_space::local  ? in_local
                        : asked == asked_space::global ? !in_shared && !in_local
                                                       : false;
    result |= answer ? lane_mask{1} << l : 0;
  }
  set_predicate(w, in.ref[0], m, result);
}

template <template <class, class> class Choose>
handler packing(int bytes, std::size_t parts) {
  return bytes == 8 && parts == 2   ? Choose<std::uint64_t, std::uint32_t>::run
         : bytes == 8 && parts == 4 ? Choose<std::uint64_t, std::uint16_t>::run
         : bytes == 4 && parts == 2 ? Choose<std::uint32_t, std::uint16_t>::run
                                    : nullptr;
}
template <class Whole, class Part>
struct packs {
  static constexpr handler run = pack<Whole, Part>;
};
template <class Whole, class Part>
struct unpacks {
  static constexpr handler run = unpack<Whole, Part>;
};

bool lower_vector_move(lowering& made) {
  const auto& arguments = made.from.arguments;
  const bool packs_parts = arguments[1].form == ptx::operand::kind::vector;
  const auto& parts = packs_parts ? arguments[1].items : arguments[0].items;
  made.into.run = packs_parts ? packing<packs>(made.bytes, parts.size())
                              : packing<unpacks>(made.bytes, parts.size());
  if (made.into.run == nullptr) {
    return false;
  }
  if (packs_parts) {
    made.destination();
  } else {
    made.source(0, 1, made.bytes);
  }
  for (std::size_t i = 0; i != parts.size(); ++i) {
    made.into.ref.at(1 + i) =
        packs_parts ? made.operands.source(parts[i], made.bytes / static_cast<int>(parts.size()))
                    : made.operands.destination(parts[i]);
  }
  return true;
}

bool lower_mov(lowering& made) {
  const auto& arguments = made.from.arguments;
  if (arguments.size() != 2) {
    return false;
  }
  if (made.type == ptx::type::pred) {
    made.into.run = predicate_copy;
    made.destination();
    made.source(1, 1, 0);
    return true;
  }
  if (arguments[0].form == ptx::operand::kind::vector ||
      arguments[1].form == ptx::operand::kind::vector) {
    return lower_vector_move(made);
  }
  const std::string& from = arguments[1].name;
  if (from.starts_with("%clock") || from.starts_with("%globaltimer")) {
    made.into.run = read_clock;
    made.into.flag = made.bytes == 4;
    made.into.variant = from.ends_with("_hi") ? 1 : 0;
    made.destination();
    return true;
  }
  return made.regular(bits_unary<copy_value>(made.bytes), 1);
}

}  // namespace

bool lower_move(lowering& made) {
  if (made.opcode() == "mov") {
    return lower_mov(made);
  }
  if (made.opcode() == "isspacep") {
    const bool shared = made.has("shared") || made.has("shared::cta");
    made.into.variant = static_cast<std::uint8_t>(made.has("global")  ? asked_space::global
                                                  : shared            ? asked_space::shared
                                                  : made.has("local") ? asked_space::local
                                                                      : asked_space::other);
    made.into.run = is_in_space;
    made.destination();
    made.source(1, 1, 8);
    return true;
  }
  const bool to_space = made.has("to");
  if (made.bytes != 8 || made.has("param")) {
    return false;
  }
  return made.regular(made.has("shared") || made.has("shared::cta")
                          ? (to_space ? convert_shared<true> : convert_shared<false>)
                      : made.has("local") ? (to_space ? convert_local<true> : convert_local<false>)
                                          : handler{unary<std::uint64_t, copy_value>},
                      1);
}

}  // namespace cudasim
