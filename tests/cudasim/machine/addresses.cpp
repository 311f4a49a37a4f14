// SPDX-License-Identifier: Apache-2.0
//
// Resolution of addresses, the hottest code of the machine besides the arithmetic.
#include "machine/addresses.hpp"

#include "machine/lanes.hpp"

#include <algorithm>
#include <mutex>

namespace cudasim {
namespace {

void read_addresses(const warp& w, const instruction& in, std::uint64_t* address) {
  const auto offset = static_cast<std::uint64_t>(in.immediate);
  if (in.narrow_address) {
    const auto* const base = source_lanes<std::uint32_t>(w, in.ref[7]);
    for (int l = 0; l < lane_count; ++l) {
      address[l] = base[l] + offset;
    }
  } else {
    const auto* const base = source_lanes<std::uint64_t>(w, in.ref[7]);
    for (int l = 0; l < lane_count; ++l) {
      address[l] = base[l] + offset;
    }
  }
}

range expected_range(const block& home, const instruction& in, bool write) {
  switch (in.where) {
  case space::global:
    return home.hot[write ? 1 : 0];
  case space::shared:
    return {0, home.shared_bytes, 0};
  case space::local:
    return {0, home.of->code->local_bytes, 0};
  case space::param:
    break;
  }
  return {0, home.of->parameters.size(), 0};
}

// True if a lane of m lies outside of `inside` or is not aligned.
bool any_strays(const warp& w, const instruction& in, lane_mask m, const range& inside,
                const std::uint64_t* address) {
  const std::uint64_t low = inside.low;
  const std::uint64_t limit = inside.size - in.bytes;
  const std::uint64_t misaligned = in.bytes - 1u;
  std::uint64_t strays = inside.size < in.bytes ? 1 : 0;
  if ((m & w.live) == all_lanes) {
    for (int l = 0; l < lane_count; ++l) {
      strays |= static_cast<std::uint64_t>(address[l] - low > limit) | (address[l] & misaligned);
    }
  } else {
    for (int l = 0; l < lane_count; ++l) {
      const std::uint64_t stray =
          static_cast<std::uint64_t>(address[l] - low > limit) | (address[l] & misaligned);
      strays |= stray * ((m >> l) & 1);
    }
  }
  return strays != 0;
}

void raise_stray(const warp& w, const instruction& in, int lane, std::uint64_t address) {
  const char* const name = in.where == space::shared  ? "shared"
                           : in.where == space::local ? "local"
                                                      : "parameter";
  raise(w, in, lane, fault_code::illegal_address, finding::out_of_bounds,
        "access of " + std::to_string(in.bytes) + " bytes at offset " + std::to_string(address) +
            " of " + std::to_string(expected_range(*w.home, in, false).size) + " bytes of " + name +
            " memory");
}

void count_sectors(warp& w, lane_mask m, bool write, unsigned bytes, const std::uint64_t* address) {
  std::array<std::uint64_t, 2 * lane_count> sectors;
  std::size_t count = 0;
  each_lane(m, [&](int l) {
    sectors[count++] = address[l] / 32;
    if ((address[l] + bytes - 1) / 32 != address[l] / 32) {
      sectors[count++] = (address[l] + bytes - 1) / 32;
    }
  });
  std::sort(sectors.begin(), sectors.begin() + static_cast<std::ptrdiff_t>(count));
  const auto end =
      std::unique(sectors.begin(), sectors.begin() + static_cast<std::ptrdiff_t>(count));
  (write ? w.counts.sectors_written : w.counts.sectors_read) +=
      static_cast<std::uint64_t>(end - sectors.begin());
}

bool is_own_memory(const block& home, std::uint64_t address) {
  const auto shared = reinterpret_cast<std::uint64_t>(home.shared);
  return address - shared < home.shared_bytes;
}

// Where memory that is not global lies: the same for all lanes, or each lane's own.
void add_base(const warp& w, const instruction& in, const std::uint64_t* address, char** host) {
  const block& home = *w.home;
  const bool is_local = in.where == space::local;
  char* const base = in.where == space::shared ? home.shared
                     : is_local                ? local_base(w, 0)
                                               : const_cast<char*>(home.of->parameters.data());
  const std::uint64_t stride = is_local ? home.of->code->local_bytes : 0;
  std::uint64_t offset = 0;
  for (int l = 0; l < lane_count; ++l, offset += stride) {
    host[l] = base + (address[l] + offset);
  }
}

// True if the lanes access neighbours, as they mostly do.
bool is_one_run(const std::uint64_t* address, std::uint64_t bytes) {
  std::uint64_t differs = 0;
  for (int l = 1; l < lane_count; ++l) {
    differs |= (address[l] - address[l - 1]) ^ bytes;
  }
  return differs == 0;
}

void check_races(race_checker& races, const instruction& in, lane_mask m, bool write,
                 const std::uint64_t* address) {
  if (in.system) {
    races.note_system_access(address[std::countr_zero(m) % lane_count]);
  }
  if (m == all_lanes && is_one_run(address, in.bytes)) {
    races.access(address[0], std::uint64_t{in.bytes} * lane_count, write, in.atomic);
    return;
  }
  each_lane(m, [&](int l) { races.access(address[l], in.bytes, write, in.atomic); });
}

}  // namespace

void find_addresses(warp& w, const instruction& in, lane_mask m, bool write, char** host) {
  std::uint64_t address[lane_count];
  read_addresses(w, in, address);
  const range inside = expected_range(*w.home, in, write);
  const bool is_global = in.where == space::global;
  bool resolved = false;
  if (any_strays(w, in, m, inside, address)) [[unlikely]] {
    each_lane(m, [&](int l) {
      if ((address[l] & (in.bytes - 1u)) != 0) {
        raise(w, in, l, fault_code::misaligned_address, finding::misaligned,
              "access of " + std::to_string(in.bytes) + " bytes at address " +
                  std::to_string(address[l]) + ", which is no multiple of that,");
      }
      if (is_global) {
        host[l] = resolve(w, in, l, address[l], in.bytes, write);
      } else if (!inside.holds(address[l], in.bytes)) {
        raise_stray(w, in, l, address[l]);
      }
    });
    resolved = is_global;
  }
  if (is_global) {
    const launch& of = *w.home->of;
    if (!resolved) {
      for (int l = 0; l < lane_count; ++l) {
        host[l] = reinterpret_cast<char*>(address[l] + inside.delta);
      }
    }
    if (w.home->races != nullptr) {
      check_races(*w.home->races, in, m, write, address);
    }
    if (of.count_sectors && !is_own_memory(*w.home, address[std::countr_zero(m)])) {
      count_sectors(w, m, write, in.bytes, address);
    }
    return;
  }
  add_base(w, in, address, host);
}

char* resolve(warp& w, const instruction& in, int lane, std::uint64_t address, unsigned bytes,
              bool write) {
  block& home = *w.home;
  range& hot = home.hot[write ? 1 : 0];
  const auto found = [&](const range& in_range) {
    hot = in_range;
    return reinterpret_cast<char*>(address + in_range.delta);
  };
  if (hot.holds(address, bytes)) {
    return found(hot);
  }
  const launch& of = *home.of;
  const std::uint64_t local_bytes = home.warps.size() * lane_count * of.code->local_bytes;
  const std::array<range, 4> windows{{
      {reinterpret_cast<std::uint64_t>(home.shared), home.shared_bytes, 0},
      {reinterpret_cast<std::uint64_t>(home.local), local_bytes, 0},
      {reinterpret_cast<std::uint64_t>(of.parameters.data()), of.parameters.size(), 0},
      {reinterpret_cast<std::uint64_t>(of.workspace.data()), sizeof of.workspace, 0},
  }};
  for (const range& window : windows) {
    if (window.holds(address, bytes)) {
      return found(window);
    }
  }
  std::vector<range>& known = home.resolved[write ? 1 : 0];
  for (const range& before : known) {
    if (before.holds(address, bytes)) {
      return found(before);
    }
  }
  static std::mutex resolving;  // workers share the port
  const std::lock_guard guard(resolving);
  try {
    known.push_back(of.memory->resolve(address, bytes, write));
  } catch (const fault& f) {
    raise(w, in, lane, f.code, f.kind, f.what());
  }
  return found(known.back());
}

}  // namespace cudasim
