// SPDX-License-Identifier: Apache-2.0
//
// Loads and stores of all spaces, fences, and hints that do nothing here. Accesses of 16 bytes are
// one aligned vector access, as CUB's tile states need; processors with AVX, and those of ARM with
// LSE2, make it atomic.
#include "machine/addresses.hpp"
#include "machine/lanes.hpp"
#include "machine/lowering.hpp"

#include <atomic>
#include <cstring>

namespace cudasim {
namespace {

typedef std::uint64_t vector16 __attribute__((vector_size(16)));

// A vector of N elements of type M, each widened to a register R. The lines of a register may be
// wider than the element: what is read is extended.
template <class M, class R, int N>
void load(warp& w, const instruction& in, lane_mask m) {
  char* host[lane_count];
  find_addresses(w, in, m, false, host);
  if constexpr (N == 1) {
    if (in.ref[0] == no_place) {
      return;
    }
    R* const d = lanes_of<R>(w, in.ref[0]);
    const auto value = [&](int l) {
      return static_cast<R>(*reinterpret_cast<const volatile M*>(host[l]));
    };
    if (m == all_lanes) {
      for (int l = 0; l < lane_count; ++l) {
        d[l] = value(l);
      }
    } else {
      each_lane(m, [&](int l) { d[l] = value(l); });
    }
  } else {
    each_lane(m, [&](int l) {
      M parts[N];
      if constexpr (sizeof parts == sizeof(vector16)) {
        const vector16 whole = *reinterpret_cast<const volatile vector16*>(host[l]);
        std::memcpy(parts, &whole, sizeof parts);
      } else {
        std::memcpy(parts, host[l], sizeof parts);
      }
      for (std::size_t i = 0; i != N; ++i) {
        if (in.ref[i] != no_place) {
          lanes_of<R>(w, in.ref[i])[l] = static_cast<R>(parts[i]);
        }
      }
    });
  }
}

template <class M, class R, int N>
void store(warp& w, const instruction& in, lane_mask m) {
  char* host[lane_count];
  find_addresses(w, in, m, true, host);
  each_lane(m, [&](int l) {
    if constexpr (N == 1) {
      const R value = source_lanes<R>(w, in.ref[0])[l];
      *reinterpret_cast<volatile M*>(host[l]) = static_cast<M>(value);
    } else {
      M parts[N];
      for (std::size_t i = 0; i != N; ++i) {
        parts[i] = static_cast<M>(source_lanes<R>(w, in.ref[i])[l]);
      }
      if constexpr (sizeof parts == sizeof(vector16)) {
        vector16 whole;
        std::memcpy(&whole, parts, sizeof parts);
        *reinterpret_cast<volatile vector16*>(host[l]) = whole;
      } else {
        std::memcpy(host[l], parts, sizeof parts);
      }
    }
  });
}

// A kernel's parameter at a fixed offset: the same for all lanes. flag: signed; variant: bytes of
// the register.
void load_parameter(warp& w, const instruction& in, lane_mask m) {
  std::uint64_t value = 0;
  std::memcpy(&value, w.home->of->parameters.data() + in.immediate, in.bytes);
  if (in.flag) {
    const int unused = 64 - 8 * in.bytes;
    value = static_cast<std::uint64_t>(static_cast<std::int64_t>(value << unused) >> unused);
  }
  if (in.variant == 2) {
    for_lanes<std::uint16_t>(w, in.ref[0], m,
                             [=](int) { return static_cast<std::uint16_t>(value); });
  } else if (in.variant == 4) {
    for_lanes<std::uint32_t>(w, in.ref[0], m,
                             [=](int) { return static_cast<std::uint32_t>(value); });
  } else {
    for_lanes<std::uint64_t>(w, in.ref[0], m, [=](int) { return value; });
  }
}

void fence(warp& w, const instruction& in, lane_mask) {
  if (in.system && w.home->races != nullptr) {
    w.home->races->note_system_fence();
  }
  std::atomic_thread_fence(std::memory_order_seq_cst);
}
void do_nothing(warp&, const instruction&, lane_mask) {}

template <template <class, class, int> class Access, class M, class R>
handler by_count(std::size_t count) {
  return count == 1   ? Access<M, R, 1>::run
         : count == 2 ? Access<M, R, 2>::run
                      : Access<M, R, 4>::run;
}
template <template <class, class, int> class Access, class M>
handler by_register(int bytes, std::size_t count) {
  if constexpr (sizeof(M) <= 2) {
    if (bytes == 2) {
      return by_count<Access, M, std::uint16_t>(count);
    }
  }
  if constexpr (sizeof(M) <= 4) {
    if (bytes == 4) {
      return by_count<Access, M, std::uint32_t>(count);
    }
  }
  return bytes == 8 ? by_count<Access, M, std::uint64_t>(count) : nullptr;
}
template <class M, class R, int N>
struct loads {
  static constexpr handler run = load<M, R, N>;
};
template <class M, class R, int N>
struct stores {
  static constexpr handler run = store<M, R, N>;
};

handler load_handler(int size, bool is_signed, int bytes, std::size_t count) {
  switch (size) {
  case 1:
    return is_signed ? by_register<loads, std::int8_t>(bytes, count)
                     : by_register<loads, std::uint8_t>(bytes, count);
  case 2:
    return is_signed ? by_register<loads, std::int16_t>(bytes, count)
                     : by_register<loads, std::uint16_t>(bytes, count);
  case 4:
    return is_signed ? by_register<loads, std::int32_t>(bytes, count)
                     : by_register<loads, std::uint32_t>(bytes, count);
  default:
    return by_register<loads, std::uint64_t>(bytes, count);
  }
}
handler store_handler(int size, int bytes, std::size_t count) {
  return size == 1   ? by_register<stores, std::uint8_t>(bytes, count)
         : size == 2 ? by_register<stores, std::uint16_t>(bytes, count)
         : size == 4 ? by_register<stores, std::uint32_t>(bytes, count)
                     : by_register<stores, std::uint64_t>(bytes, count);
}

bool lower_access(lowering& made, bool is_load) {
  const ptx::operand& value = made.from.arguments.at(is_load ? 0 : 1);
  const bool is_vector = value.form == ptx::operand::kind::vector;
  const std::size_t count = is_vector ? value.items.size() : 1;
  const auto item = [&](std::size_t i) -> const ptx::operand& {
    return is_vector ? value.items[i] : value;
  };
  int bytes = 0;
  for (std::size_t i = 0; i != count; ++i) {
    bytes = std::max(bytes, made.operands.width(item(i)));
  }
  if (bytes <= 0) {
    bytes = register_bytes(made.type);
  }
  const int size = ptx::size_of(made.type);
  if (size == 0 || size == 16 || static_cast<std::size_t>(size) * count > 16 || count == 3) {
    return false;
  }
  instruction& in = made.into;
  in.bytes = static_cast<std::uint8_t>(static_cast<std::size_t>(size) * count);
  in.atomic = made.which({"volatile", "relaxed", "acquire", "release"}) >= 0;
  in.system = made.which({"volatile", "sys"}) >= 0;
  for (std::size_t i = 0; i != count; ++i) {
    in.ref.at(i) =
        is_load ? made.operands.destination(item(i)) : made.operands.source(item(i), bytes);
  }
  const bool is_signed = ptx::is_signed(made.type);
  if (is_load && in.where == space::param && in.target == 1) {
    in.variant = static_cast<std::uint8_t>(bytes);
    in.flag = is_signed;
    in.run = load_parameter;
    return true;
  }
  in.run =
      is_load ? load_handler(size, is_signed, bytes, count) : store_handler(size, bytes, count);
  return in.run != nullptr;
}

}  // namespace

bool lower_memory(lowering& made) {
  const std::string_view opcode = made.opcode();
  if (opcode == "ld" || opcode == "ldu" || opcode == "st") {
    return !made.has("async") && lower_access(made, opcode != "st");
  }
  if (opcode == "nanosleep") {
    made.into.ctl = control::yield;
    return true;
  }
  made.into.system = made.has("sys");
  made.into.run = opcode == "membar" || opcode == "fence" ? fence : do_nothing;
  return !made.has("proxy") && !made.has("mbarrier_init");
}

}  // namespace cudasim
