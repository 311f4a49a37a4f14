// SPDX-License-Identifier: Apache-2.0
//
// What a pool can be asked to do, as printable values. Tensors are named by an index into those
// that were ever made, modulo their number, so a list stays meaningful when operations are taken
// out.
#pragma once

#include <cstddef>
#include <cstdint>
#include <ostream>
#include <random>
#include <string>
#include <variant>
#include <vector>

namespace tidepool::test {

struct allocate {
  std::size_t bytes;
  std::size_t alignment;
  unsigned category;
  std::uint64_t key;
};
struct free_one {
  std::size_t which;
};
struct share_one {
  std::size_t which;
};
struct slice_one {
  std::size_t which;
  std::size_t offset;
  std::size_t bytes;
};
struct resize_one {
  std::size_t which;
  std::size_t bytes;
};
struct pin_one {
  std::size_t which;
};
struct unpin_one {
  std::size_t which;
};
struct set_one {
  std::size_t which;
  unsigned lifecycle;
  unsigned category;
};
struct look {
  std::size_t which;
};
struct trim_all {
  std::size_t keep;
};
struct prewarm_some {
  std::size_t bytes;
  std::size_t count;
};
struct name_one {
  std::size_t which;
  unsigned name;  // 0: none; the last: one that the pool does not know
};
struct adopt_one {
  std::size_t bytes;
  unsigned category;
  std::uint64_t key;
};
struct observe {
  bool on;
};
struct close_pool {};
struct thread_idle {};
struct tick {};
struct count_all {};

using operation = std::variant<allocate, free_one, share_one, slice_one, resize_one, pin_one,
                               unpin_one, set_one, look, trim_all, prewarm_some, name_one,
                               adopt_one, observe, close_pool, thread_idle, tick, count_all>;

inline std::ostream& operator<<(std::ostream& out, const operation& what) {
  struct printer {
    std::ostream& to;
    void operator()(const allocate& o) const {
      to << "allocate{" << o.bytes << ", " << o.alignment << ", " << o.category << ", " << o.key
         << "}";
    }
    void operator()(const free_one& o) const { to << "free_one{" << o.which << "}"; }
    void operator()(const share_one& o) const { to << "share_one{" << o.which << "}"; }
    void operator()(const slice_one& o) const {
      to << "slice_one{" << o.which << ", " << o.offset << ", " << o.bytes << "}";
    }
    void operator()(const resize_one& o) const {
      to << "resize_one{" << o.which << ", " << o.bytes << "}";
    }
    void operator()(const pin_one& o) const { to << "pin_one{" << o.which << "}"; }
    void operator()(const unpin_one& o) const { to << "unpin_one{" << o.which << "}"; }
    void operator()(const set_one& o) const {
      to << "set_one{" << o.which << ", " << o.lifecycle << ", " << o.category << "}";
    }
    void operator()(const look& o) const { to << "look{" << o.which << "}"; }
    void operator()(const trim_all& o) const { to << "trim_all{" << o.keep << "}"; }
    void operator()(const prewarm_some& o) const {
      to << "prewarm_some{" << o.bytes << ", " << o.count << "}";
    }
    void operator()(const name_one& o) const {
      to << "name_one{" << o.which << ", " << o.name << "}";
    }
    void operator()(const adopt_one& o) const {
      to << "adopt_one{" << o.bytes << ", " << o.category << ", " << o.key << "}";
    }
    void operator()(const observe& o) const { to << "observe{" << (o.on ? "true}" : "false}"); }
    void operator()(const close_pool&) const { to << "close_pool{}"; }
    void operator()(const thread_idle&) const { to << "thread_idle{}"; }
    void operator()(const tick&) const { to << "tick{}"; }
    void operator()(const count_all&) const { to << "count_all{}"; }
  };
  std::visit(printer{out}, what);
  return out;
}

inline constexpr unsigned known_names = 4;

/// `steps` random operations: mostly allocations and frees, sizes of all kinds, often equal ones.
/// Every other seed closes the pool then, and goes on for a while.
[[nodiscard]] inline std::vector<operation> random_operations(std::uint64_t seed,
                                                              std::size_t steps) {
  std::mt19937_64 random(seed);
  const auto below = [&](std::size_t n) -> std::size_t { return random() % n; };
  std::vector<std::size_t> favourites;
  for (int i = 0; i < 6; ++i) {
    favourites.push_back(1 + below(std::size_t{1} << (6 + below(16))));
  }
  const auto size = [&]() -> std::size_t {
    switch (below(16)) {
    case 0:
      return 0;
    case 1:
      return 1 + below(std::size_t{1} << below(23));
    case 2:
      return (std::size_t{1} << (6 + below(15))) + below(3) - 1;
    default:
      return favourites[below(favourites.size())];
    }
  };
  // Slow changes of temper: the pool fills up and drains.
  std::vector<operation> list;
  std::size_t hunger = 50;
  const bool closes = seed % 2 == 0;
  for (std::size_t i = 0; i < steps + (closes ? 60 : 0); ++i) {
    if (i == steps) {
      list.push_back(close_pool{});
    }
    if (i % 64 == 0) {
      hunger = 25 + below(50);
    }
    const std::size_t which = below(1 << 16);
    const std::size_t kind = below(100);
    if (kind < hunger) {
      list.push_back(allocate{size(), below(8) == 0 ? std::size_t{1} << below(15) : 0,
                              below(3) == 0 ? static_cast<unsigned>(below(16)) : 0,
                              below(12) == 0 ? 1 + below(20) : 0});
    } else if (kind < 80) {
      list.push_back(free_one{which});
    } else {
      switch (below(17)) {
      case 0:
      case 1:
        list.push_back(share_one{which});
        break;
      case 2:
      case 3:
        list.push_back(slice_one{which, below(200), below(200)});
        break;
      case 4:
        list.push_back(resize_one{which, size()});
        break;
      case 5:
        list.push_back(pin_one{which});
        break;
      case 6:
        list.push_back(unpin_one{which});
        break;
      case 7:
        list.push_back(
            set_one{which, static_cast<unsigned>(below(5)), static_cast<unsigned>(below(16))});
        break;
      case 8:
      case 9:
        list.push_back(look{which});
        break;
      case 10:
        list.push_back(below(2) == 0 ? operation{thread_idle{}} : operation{tick{}});
        break;
      case 11:
        list.push_back(count_all{});
        break;
      case 12:
        list.push_back(name_one{which, static_cast<unsigned>(below(known_names + 2))});
        break;
      case 13:
      case 14:
        list.push_back(adopt_one{below(4) == 0 ? 0 : 1 + below(5000),
                                 static_cast<unsigned>(below(16)),
                                 below(4) == 0 ? 1 + below(20) : 0});
        break;
      case 15:
        list.push_back(observe{below(2) == 0});
        break;
      default:
        list.push_back(below(2) == 0 ? operation{trim_all{below(2) * below(16 << 20)}}
                                     : operation{prewarm_some{1 + below(100000), below(12)}});
        break;
      }
    }
  }
  return list;
}

}  // namespace tidepool::test
