// SPDX-License-Identifier: Apache-2.0
//
// One pool for very many random operations while its memory comes and goes: system calls fail, the
// backend fails by chance, runs out at a level, or refuses to grow. The model is a fixed table, so
// that 10^8 operations take minutes and no memory. What is lost by one in a million is found here.
// TIDEPOOL_TEST_STEPS: operations. The seed is TIDEPOOL_TEST_SEED, 1 where it is not set.
#include "../support/amount.hpp"
#include "../support/small_cpu.hpp"
#include <tidepool/control.hpp>
#include <tidepool/cpu/backend.hpp>
#include <tidepool/failing_backend.hpp>
#include <tidepool/pool.hpp>

#include <gtest/gtest.h>

#include <array>
#include <cstdint>
#include <iostream>
#include <memory>
#include <string>
#include <utility>

namespace tidepool::test {
namespace {

class generator {
 public:
  explicit generator(std::uint64_t seed) : state_(seed * 2 + 1) {}
  std::uint64_t next() {  // xorshift64*
    state_ ^= state_ >> 12;
    state_ ^= state_ << 25;
    state_ ^= state_ >> 27;
    return state_ * 0x2545f4914f6cdd1d;
  }
  std::size_t below(std::size_t n) { return (next() >> 33) % n; }

 private:
  std::uint64_t state_;
};

struct place {
  tensor held;
  tensor second;  // shared with it, or a part of it
  std::uint64_t pattern = 0;
  std::uint64_t key = 0;
  bool has_part = false;
};

class long_run {
 public:
  explicit long_run(std::uint64_t seed) : long_run(seed, make()) {}

  void run(std::uint64_t steps) {
    for (std::uint64_t i = 1; i <= steps && !::testing::Test::HasFailure(); ++i) {
      step();
      if (i % 8192 == 0) {
        faults_.order(next_plan());
      }
      if (i % 65536 == 0) {
        check(i);
      }
    }
    finish(steps);
  }

 private:
  static std::unique_ptr<failing_backend> make() {
    return std::make_unique<failing_backend>(
        cpu::make_backend({.huge_pages = cpu::huge_pages::never,
                           .arena_bytes = 64 * mib,
                           .decay_ticks = 4,
                           .faults = {.fail_every = 31}}));
  }
  long_run(std::uint64_t seed, std::unique_ptr<failing_backend> made)
      : random_(seed),
        faults_(*made),
        pool_(std::move(made),
              {.limit_bytes = 48 * mib, .thread_cache_bytes = 8 * mib, .ready_bytes = 2 * mib}) {}

  failure_plan next_plan() {
    failure_plan plan{.seed = random_.next()};
    switch (random_.below(8)) {
    case 0:
      plan.probability = 0.3;
      break;
    case 1:
      plan.exhaust_at = (4 + random_.below(24)) * mib;
      break;
    case 2:
      plan.refuse_growth = true;
      break;
    case 3:
      plan.fail_every = 2 + random_.below(5);
      plan.halfway = true;
      break;
    case 4:
      plan.fail_from = 1 + random_.below(500);
      break;
    default:
      break;
    }
    return plan;
  }

  std::size_t size() {
    switch (random_.below(64)) {
    case 0:
      return 0;
    case 1:
      return mib + random_.below(3 * mib);
    case 2:
      return 1 + random_.below(std::size_t{1} << 18);
    default:
      return 64 + 96 * random_.below(8) + (random_.below(8) == 0 ? 8192 : 0);
    }
  }

  static void mark(tensor& t, std::uint64_t pattern) {
    if (t.bytes() >= sizeof pattern) {
      auto words = t.as<std::uint64_t>();
      words.front() = pattern;
      words.back() = pattern;
    }
  }
  void expect_marked(const place& at) {
    if (at.held.bytes() >= sizeof at.pattern) {
      const auto words = at.held.as<std::uint64_t>();
      if (words.front() != at.pattern || words.back() != at.pattern) {
        ADD_FAILURE() << "a block belongs to one tensor";
      }
    }
  }
  void expect_lack(errc code) {
    if (code != errc::out_of_memory && code != errc::over_budget) {
      ADD_FAILURE() << describe(code);
    }
    ++refused_;
  }

  void step() {
    place& at = places_[random_.below(places_.size())];
    switch (const std::size_t kind = random_.below(1024); kind) {
    case 0:
      (void)pool_.control().trim(random_.below(8) * mib);
      return;
    case 1:
      pool_.control().tick();
      return;
    case 2:
      pool_.control().thread_idle();
      return;
    case 3:
      try {
        (void)pool_.control().prewarm(
            {.items = {{1 + random_.below(100000), random_.below(10)}}, .populate = false});
      } catch (const out_of_memory&) {
        ++refused_;
      }
      return;
    default:
      if (!at.held) {
        fill(at, kind);
      } else if (kind < 900) {
        empty(at);
      } else {
        change(at, kind);
      }
    }
  }

  void fill(place& at, std::size_t kind) {
    allocation_options options;
    options.category = kind % 16 == 0 ? category::weight : category::temporary;
    options.alignment = kind % 32 == 1 ? std::size_t{1} << random_.below(14) : 0;
    options.key = kind % 32 == 2 ? ++keys_ : 0;
    result<tensor> made = pool_.try_allocate(size(), {}, options);
    if (!made) {
      expect_lack(made.error().code);
      return;
    }
    at.held = std::move(*made);
    at.key = options.key;
    at.pattern = random_.next();
    at.has_part = false;
    mark(at.held, at.pattern);
    ++live_;
    requested_ += at.held.bytes();
  }

  void empty(place& at) {
    expect_marked(at);
    live_ -= at.second && at.has_part ? 2 : 1;
    requested_ -= at.held.bytes();
    if (at.pattern % 2 == 0) {
      at.second.reset();
      at.held.reset();
    } else {
      at.held.reset();
      at.second.reset();
    }
  }

  void change(place& at, std::size_t kind) {
    expect_marked(at);
    if (kind % 4 == 0 && !at.second) {
      at.second = std::move(*pool_.share(at.held));
      at.has_part = false;
    } else if (kind % 4 == 1 && !at.second && at.held.bytes() != 0) {
      at.second = std::move(*pool_.slice(at.held, at.held.bytes() / 2, at.held.bytes() / 2));
      at.has_part = true;
      ++live_;
    } else if (kind % 4 == 2 && !at.second && at.held.bytes() != 0) {
      const std::size_t before = at.held.bytes();
      const errc code = pool_.resize(at.held, 1 + random_.below(2 * before));
      if (code == errc::ok) {
        requested_ += at.held.bytes() - before;
        mark(at.held, at.pattern);
      } else if (code != errc::unsupported) {
        expect_lack(code);
      }
    } else if (at.key != 0) {
      const result<tensor_id> found = pool_.find(at.key);
      EXPECT_TRUE(found.has_value() && *found == at.held.id());
    } else {
      const result<tensor_info> info = pool_.info(at.held.id());
      EXPECT_TRUE(info.has_value() && info->bytes == at.held.bytes());
    }
  }

  // Nothing is lost: the sums of the pool, of its backend and of this table.
  void check(std::uint64_t step) {
    const char* const broken = pool_.control().verify();
    EXPECT_EQ(broken, nullptr) << broken << " after " << step;
    const statistics s = pool_.control().statistics();
    const device_statistics& d = s.devices[0];
    const memory_info held = pool_.control().memory(d.where);
    EXPECT_EQ(s.total.live, live_) << "after " << step;
    EXPECT_EQ(s.total.requested_bytes, requested_) << "after " << step;
    EXPECT_EQ(d.live_bytes + d.cached_bytes + held.free_bytes, d.reserved_bytes) << step;
    EXPECT_EQ(d.live_bytes + d.cached_bytes, faults_.handed_out_bytes()) << step;
    EXPECT_LE(d.reserved_bytes, 48 * mib);
    EXPECT_EQ(s.misuses, 0U);
  }

  void finish(std::uint64_t steps) {
    check(steps);
    faults_.order({});
    for (place& at : places_) {
      if (at.held) {
        empty(at);
      }
    }
    check(steps);
    for (int i = 0; i < 4; ++i) {
      (void)pool_.control().trim();  // one system call in 31 fails; the next trim tries again
    }
    EXPECT_EQ(pool_.control().trim().reserved_bytes, 0U);
    EXPECT_EQ(faults_.handed_out_bytes(), 0U);
    check(steps);
    EXPECT_TRUE(steps < 100000 || refused_ != 0);
    std::cout << steps << " steps, " << refused_ << " refused\n";
  }

  generator random_;
  std::array<place, 1500> places_;
  failing_backend& faults_;
  pool pool_;
  std::uint64_t keys_ = 0;
  std::size_t live_ = 0;
  std::size_t requested_ = 0;
  std::uint64_t refused_ = 0;
};

TEST(LongRun, NothingIsLostWhileMemoryComesAndGoes) {
  const auto run = std::make_unique<long_run>(amount("TIDEPOOL_TEST_SEED", 1));
  run->run(amount("TIDEPOOL_TEST_STEPS", 1000000));
}

}  // namespace
}  // namespace tidepool::test
