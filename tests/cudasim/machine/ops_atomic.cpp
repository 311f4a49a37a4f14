// SPDX-License-Identifier: Apache-2.0
//
// atom and red: read, modify and write one word, as one step even where several host threads run
// blocks. Every order and scope is sequentially consistent here.
#include "machine/addresses.hpp"
#include "machine/lanes.hpp"
#include "machine/lowering.hpp"

#include <atomic>
#include <bit>

namespace cudasim {
namespace {

enum class update : std::uint8_t { add, min, max, inc, dec, land, lor, lxor, exchange, swap };

template <update U, class T>
T updated(T x, T y) {
  if constexpr (U == update::add) {
    return sum::of<T>(x, y);
  } else if constexpr (U == update::min) {
    return smaller::of<T>(x, y);
  } else if constexpr (U == update::max) {
    return larger::of<T>(x, y);
  } else if constexpr (U == update::inc) {
    return x >= y ? T{0} : static_cast<T>(x + 1);
  } else if constexpr (U == update::dec) {
    return x == 0 || x > y ? y : static_cast<T>(x - 1);
  } else if constexpr (U == update::land) {
    return bit_and::of<T>(x, y);
  } else if constexpr (U == update::lor) {
    return bit_or::of<T>(x, y);
  } else if constexpr (U == update::lxor) {
    return bit_xor::of<T>(x, y);
  } else {
    return y;
  }
}

template <class T>
using bits_of =
    std::conditional_t<sizeof(T) == 8, std::uint64_t,
                       std::conditional_t<sizeof(T) == 4, std::uint32_t, std::uint16_t>>;

template <update U, class T>
T updated_atomically(T* at, T operand, T desired) {
  using B = bits_of<T>;
  const std::atomic_ref<B> word(*reinterpret_cast<B*>(at));
  B old;
  if constexpr (U == update::swap) {
    old = std::bit_cast<B>(operand);
    word.compare_exchange_strong(old, std::bit_cast<B>(desired));
  } else if constexpr (U == update::exchange) {
    old = word.exchange(std::bit_cast<B>(operand));
  } else if constexpr (U == update::add && std::is_integral_v<T>) {
    old = word.fetch_add(static_cast<B>(operand));
  } else {
    old = word.load();
    while (!word.compare_exchange_weak(
        old, std::bit_cast<B>(updated<U, T>(std::bit_cast<T>(old), operand)))) {
    }
  }
  return std::bit_cast<T>(old);
}

// In memory that no other host thread touches.
template <update U, class T>
T updated_alone(T* at, T operand, T desired) {
  using B = bits_of<T>;
  const T old = *at;
  if constexpr (U == update::swap) {
    *at = std::bit_cast<B>(old) == std::bit_cast<B>(operand) ? desired : old;
  } else {
    *at = updated<U, T>(old, operand);
  }
  return old;
}

// ref: d, b, c. swap is compare-and-swap: c is stored if the word equals b. Shared memory is its
// block's alone, and a block is run by one host thread at a time.
template <class T, update U>
void read_modify_write(warp& w, const instruction& in, lane_mask m) {
  char* host[lane_count];
  find_addresses(w, in, m, true, host);
  const T* const b = source_lanes<T>(w, in.ref[1]);
  const T* const c = U == update::swap ? source_lanes<T>(w, in.ref[2]) : b;
  T before[lane_count];
  const auto at = [&](int l) { return reinterpret_cast<T*>(host[l]); };
  if (in.where == space::shared) {
    each_lane(m, [&](int l) { before[l] = updated_alone<U>(at(l), b[l], c[l]); });
  } else {
    each_lane(m, [&](int l) { before[l] = updated_atomically<U>(at(l), b[l], c[l]); });
  }
  w.counts.atomics += static_cast<unsigned>(std::popcount(m));
  if (in.ref[0] != no_place) {
    T* const d = lanes_of<T>(w, in.ref[0]);
    each_lane(m, [&](int l) { d[l] = before[l]; });
  }
}

template <class T, update U>
constexpr bool is_defined() {
  constexpr bool any_type = U == update::exchange || U == update::swap;
  if (sizeof(T) == 2) {
    return any_type;
  }
  return any_type || U == update::add || !std::is_floating_point_v<T>;
}
template <class T, update U>
handler handler_if_defined() {
  if constexpr (is_defined<T, U>()) {
    return read_modify_write<T, U>;
  } else {
    return nullptr;
  }
}
template <class T>
handler handler_for(update wanted) {
  switch (wanted) {
  case update::add:
    return handler_if_defined<T, update::add>();
  case update::min:
    return handler_if_defined<T, update::min>();
  case update::max:
    return handler_if_defined<T, update::max>();
  case update::inc:
    return handler_if_defined<T, update::inc>();
  case update::dec:
    return handler_if_defined<T, update::dec>();
  case update::land:
    return handler_if_defined<T, update::land>();
  case update::lor:
    return handler_if_defined<T, update::lor>();
  case update::lxor:
    return handler_if_defined<T, update::lxor>();
  case update::exchange:
    return handler_if_defined<T, update::exchange>();
  case update::swap:
    return handler_if_defined<T, update::swap>();
  }
  return nullptr;
}

}  // namespace

bool lower_atomic(lowering& made) {
  const bool has_result = made.opcode() == "atom";
  const std::size_t address = has_result ? 1 : 0;
  const int wanted =
      made.which({"add", "min", "max", "inc", "dec", "and", "or", "xor", "exch", "cas"});
  if (wanted < 0 || made.which({"v2", "v4", "v8", "async"}) >= 0) {
    return false;
  }
  const auto how = static_cast<update>(wanted);
  made.into.run = for_number(made.type, [=](auto tag) -> handler {
    return handler_for<typename decltype(tag)::type>(how);
  });
  if (made.into.run == nullptr) {
    return false;
  }
  made.into.bytes = static_cast<std::uint8_t>(ptx::size_of(made.type));
  made.into.atomic = true;
  made.into.system = made.has("sys");
  if (has_result) {
    made.destination();
  }
  made.source(1, address + 1, made.bytes);
  if (how == update::swap) {
    made.source(2, address + 2, made.bytes);
  }
  return true;
}

}  // namespace cudasim
