// SPDX-License-Identifier: Apache-2.0
//
// Operations of a whole warp or block: shuffles, votes, matches, reductions, barriers. Their
// handlers run when the warp runner has gathered all lanes of the member mask.
#include "machine/lanes.hpp"
#include "machine/lowering.hpp"

#include <bit>

namespace cudasim {
namespace {

enum class shuffle : std::uint8_t { up, down, butterfly, indexed };

// ref: d, p, a, b, c. c holds a clamp and, 8 bits up, a mask of the bits that stay.
void run_shuffle(warp& w, const instruction& in, lane_mask m) {
  const auto* const a = source_lanes<std::uint32_t>(w, in.ref[2]);
  const auto* const b = source_lanes<std::uint32_t>(w, in.ref[3]);
  const auto* const c = source_lanes<std::uint32_t>(w, in.ref[4]);
  std::uint32_t taken[lane_count];
  lane_mask valid = 0;
  each_lane(m, [&](int l) {
    const int offset = static_cast<int>(b[l] & 31);
    const int segment = static_cast<int>(c[l] >> 8 & 31);
    const int clamp = static_cast<int>(c[l] & 31);
    const int edge = (l & segment) | (clamp & ~segment);
    int from = 0;
    switch (static_cast<shuffle>(in.variant)) {
    case shuffle::up:
      from = l - offset;
      break;
    case shuffle::down:
      from = l + offset;
      break;
    case shuffle::butterfly:
      from = l ^ offset;
      break;
    case shuffle::indexed:
      from = (l & segment) | (offset & ~segment);
      break;
    }
    const bool inside =
        static_cast<shuffle>(in.variant) == shuffle::up ? from >= edge : from <= edge;
    taken[l] = a[inside ? from : l];
    valid |= inside ? lane_mask{1} << l : 0;
  });
  if (in.ref[0] != no_place) {
    auto* const d = lanes_of<std::uint32_t>(w, in.ref[0]);
    each_lane(m, [&](int l) { d[l] = taken[l]; });
  }
  set_predicate(w, in.ref[1], m, valid);
}

enum class poll : std::uint8_t { all, any, uniform, ballot };

void run_vote(warp& w, const instruction& in, lane_mask m) {  // ref: d, a; flag: !a
  const lane_mask a = predicate(w, in.ref[1]);
  const lane_mask votes = (in.flag ? ~a : a) & m;
  bool answer = false;
  switch (static_cast<poll>(in.variant)) {
  case poll::ballot:
    for_lanes<std::uint32_t>(w, in.ref[0], m, [=](int) { return votes; });
    return;
  case poll::all:
    answer = votes == m;
    break;
  case poll::any:
    answer = votes != 0;
    break;
  case poll::uniform:
    answer = votes == m || votes == 0;
    break;
  }
  set_predicate(w, in.ref[0], m, answer ? all_lanes : 0);
}

template <class T>
void run_match(warp& w, const instruction& in, lane_mask m) {  // ref: d, p, a; flag: all
  const T* const a = source_lanes<T>(w, in.ref[2]);
  std::uint32_t equal[lane_count] = {};
  each_lane(m, [&](int l) {
    each_lane(m, [&](int k) { equal[l] |= a[k] == a[l] ? lane_mask{1} << k : 0; });
  });
  const bool same = equal[std::countr_zero(m)] == m;
  if (in.ref[0] != no_place) {
    auto* const d = lanes_of<std::uint32_t>(w, in.ref[0]);
    each_lane(m, [&](int l) { d[l] = in.flag ? (same ? m : 0) : equal[l]; });
  }
  set_predicate(w, in.ref[1], m, same ? all_lanes : 0);
}

template <class T, class Op>
void run_reduction(warp& w, const instruction& in, lane_mask m) {
  const T* const a = source_lanes<T>(w, in.ref[1]);
  T result = a[std::countr_zero(m)];
  each_lane(m & (m - 1), [&](int l) { result = Op::template of<T>(result, a[l]); });
  for_lanes<T>(w, in.ref[0], m, [=](int) { return result; });
}

void run_active_mask(warp& w, const instruction& in, lane_mask m) {
  for_lanes<std::uint32_t>(w, in.ref[0], m, [=](int) { return m; });
}

handler reduction_handler(const lowering& made) {
  using u32 = std::uint32_t;
  using s32 = std::int32_t;
  const bool is_signed = made.type == ptx::type::s32;
  switch (made.which({"add", "min", "max", "and", "or", "xor"})) {
  case 0:
    return run_reduction<u32, sum>;
  case 1:
    return is_signed ? run_reduction<s32, smaller> : run_reduction<u32, smaller>;
  case 2:
    return is_signed ? run_reduction<s32, larger> : run_reduction<u32, larger>;
  case 3:
    return run_reduction<u32, bit_and>;
  case 4:
    return run_reduction<u32, bit_or>;
  case 5:
    return run_reduction<u32, bit_xor>;
  default:
    return nullptr;
  }
}

bool lower_barrier(lowering& made) {
  const auto& arguments = made.from.arguments;
  if (made.has("warp")) {
    made.into.ctl = control::warp_sync;
    made.source(7, 0, 4);
    return true;
  }
  if (made.has("cluster")) {
    return false;
  }
  const bool reduces = made.has("red");
  std::size_t next = 0;
  made.into.ctl = made.has("arrive") ? control::barrier_arrive : control::barrier;
  if (reduces) {
    made.into.operation = made.has("popc")  ? barrier_operation::count
                          : made.has("and") ? barrier_operation::all
                                            : barrier_operation::any;
    made.destination();
    next = 1;
  }
  made.source(1, next++, 4);
  const std::size_t trailing = reduces ? 1 : 0;
  if (arguments.size() > next + trailing) {
    made.source(2, next++, 4);
  }
  if (reduces) {
    made.source(3, next, 0);
    made.into.flag = arguments[next].negated;
  }
  return true;
}

}  // namespace

bool lower_warp(lowering& made) {
  const std::string_view opcode = made.opcode();
  instruction& in = made.into;
  if (opcode == "bar" || opcode == "barrier") {
    return lower_barrier(made);
  }
  if (opcode == "trap" || opcode == "brkpt") {
    in.ctl = control::trap;
    return true;
  }
  if (opcode == "activemask") {
    in.run = run_active_mask;
    made.destination();
    return true;
  }
  if (!made.has("sync")) {
    return false;  // the forms without .sync are gone since sm_70
  }
  in.ctl = control::warp_sync;
  made.destination();
  if (opcode == "shfl") {
    in.run = run_shuffle;
    in.variant = static_cast<std::uint8_t>(made.which({"up", "down", "bfly", "idx"}));
    made.second_destination();
    made.source(2, 1, 4);
    made.source(3, 2, 4);
    made.source(4, 3, 4);
    made.source(7, 4, 4);
  } else if (opcode == "vote") {
    in.run = run_vote;
    in.variant = static_cast<std::uint8_t>(made.which({"all", "any", "uni", "ballot"}));
    in.flag = made.from.arguments.at(1).negated;
    made.source(1, 1, 0);
    made.source(7, 2, 4);
  } else if (opcode == "match") {
    in.run = made.bytes == 4 ? run_match<std::uint32_t> : run_match<std::uint64_t>;
    in.flag = made.has("all");
    made.second_destination();
    made.source(2, 1, made.bytes);
    made.source(7, 2, 4);
  } else {
    in.run = reduction_handler(made);
    made.source(1, 1, 4);
    made.source(7, 2, 4);
  }
  return in.run != nullptr;
}

}  // namespace cudasim
