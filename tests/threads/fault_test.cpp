// SPDX-License-Identifier: Apache-2.0
//
// Faults while threads work: system calls fail, the backend fails by number, by chance, from one
// call on, runs out or refuses to grow, and what fails changes under the threads. Each sees errors
// that it may see and keeps what it holds; afterwards nothing is lost.
#include "support.hpp"
#include <tidepool/control.hpp>
#include <tidepool/failing_backend.hpp>

#include <iterator>

namespace tidepool::test {
namespace {

constexpr std::size_t limit = 48 * mib;

/// What one thread does: tensors with patterns come, change and go, whatever fails.
class worker {
 public:
  worker(pool& p, int number, std::atomic<std::uint64_t>& refused)
      : pool_(p), refused_(refused), random_(static_cast<unsigned>(number)) {
    next_key_ = 1 + (static_cast<std::uint64_t>(number) << 32);
  }

  void step() {
    switch (const auto kind = random_() % 64) {
    case 0:
      return pool_.control().thread_idle();
    case 1:
      return (void)pool_.control().trim(random_() % 8 * mib);
    case 2:
      return pool_.control().tick();
    case 3:
      return prewarm();
    case 4:
      return part();
    case 5:
      return resize();
    default:
      held_.size() < 8 || (held_.size() < 40 && kind % 2 == 0) ? allocate() : free();
    }
  }
  void finish() {
    while (!held_.empty()) {
      free();
    }
  }

 private:
  [[nodiscard]] bool is_lack(errc code) {
    EXPECT_TRUE(code == errc::out_of_memory || code == errc::over_budget) << describe(code);
    refused_.fetch_add(1, std::memory_order_relaxed);
    return true;
  }
  marked& any_held() {
    std::swap(held_[random_() % held_.size()], held_.back());
    return held_.back();
  }
  void allocate() {
    const bool keyed = random_() % 16 == 0;
    result<tensor> made =
        pool_.try_allocate(some_size(random_), {}, {.key = keyed ? next_key_++ : 0});
    if (made) {
      held_.emplace_back(std::move(*made), static_cast<unsigned char>(random_()));
    } else {
      (void)is_lack(made.error().code);
    }
  }
  void free() {
    EXPECT_TRUE(any_held().intact()) << "a block belongs to one tensor";
    held_.pop_back();
  }
  void part() {
    if (held_.empty()) {
      return;
    }
    marked& whole = any_held();
    result<tensor> one = pool_.slice(whole.held, whole.held.bytes() / 2, whole.held.bytes() / 2);
    EXPECT_TRUE(one.has_value() || is_lack(one.error().code));
  }
  void resize() {
    if (held_.empty()) {
      return;
    }
    marked& one = any_held();
    const std::size_t before = one.held.bytes();
    if (before == 0) {
      return;
    }
    const errc code = pool_.resize(one.held, 1 + random_() % (2 * before));
    EXPECT_TRUE(code == errc::ok || code == errc::unsupported || is_lack(code));
    if (code == errc::ok) {
      one = marked(std::move(one.held), one.pattern);  // its last byte is another one now
    }
  }
  void prewarm() {
    try {
      (void)pool_.control().prewarm(
          {.items = {{1 + random_() % 100000, random_() % 10}}, .populate = false});
    } catch (const out_of_memory& why) {
      (void)is_lack(why.why().code);
    }
  }

  pool& pool_;
  std::atomic<std::uint64_t>& refused_;
  std::mt19937 random_;
  std::vector<marked> held_;
  std::uint64_t next_key_ = 1;
};

class Faults : public ::testing::TestWithParam<std::uint64_t> {  // every n-th system call fails
 protected:
  Faults() : Faults(make()) {}

  void run(int threads, const std::vector<failure_plan>& plans) {
    std::atomic<bool> stop{false};
    std::atomic<std::uint64_t> steps{0};
    std::vector<std::thread> running;
    for (int t = 0; t < threads; ++t) {
      running.emplace_back([&, t] {
        worker one(p, t, refused);
        while (!stop.load(std::memory_order_relaxed)) {
          one.step();
          steps.fetch_add(1, std::memory_order_relaxed);
        }
        one.finish();
      });
    }
    for (const failure_plan& plan : plans) {
      faults.order(plan);
      // Until it did what it is for. A thread that keeps to its cache calls no backend for a while.
      const std::uint64_t most = steps.load() + 20000;
      while (faults.failures() < 8 && steps.load(std::memory_order_relaxed) < most) {
        EXPECT_LE(p.control().statistics().devices[0].reserved_bytes, limit);
        std::this_thread::yield();
      }
      failed_calls += faults.failures();
    }
    stop = true;
    for (std::thread& t : running) {
      t.join();
    }
    faults.order({});
    for (int i = 0; i < 4; ++i) {
      (void)p.control().trim();  // a refused give-back is tried again by the next
    }
  }

  std::atomic<std::uint64_t> refused{0};
  std::uint64_t failed_calls = 0;
  failing_backend& faults;
  pool p;

 private:
  static std::unique_ptr<failing_backend> make() {
    return std::make_unique<failing_backend>(
        cpu::make_backend({.huge_pages = cpu::huge_pages::never,
                           .arena_bytes = 512 * mib,
                           .decay_ticks = 4,
                           .faults = {.fail_every = GetParam()}}));
  }
  explicit Faults(std::unique_ptr<failing_backend> made)
      : faults(*made),
        p(std::move(made),
          {.limit_bytes = limit, .thread_cache_bytes = 4 * mib, .ready_bytes = mib}) {}
};

TEST_P(Faults, LoseNothingWhileThreadsWork) {
  std::mt19937 random(7);
  std::vector<failure_plan> plans;
  for (int i = 0; i < 3 * effort(); ++i) {
    const std::array<failure_plan, 6> kinds{
        failure_plan{.probability = 0.3, .seed = random()},
        failure_plan{.exhaust_at = (1 + random() % 8) * mib},
        failure_plan{.refuse_growth = true},
        failure_plan{.fail_every = 2 + random() % 5, .halfway = true},
        failure_plan{.fail_from = 1 + random() % 50},
        failure_plan{.only = backend_call::refill, .probability = 0.9, .seed = random()}};
    plans.insert(plans.end(), std::begin(kinds), std::end(kinds));
  }
  run(4, plans);
  EXPECT_GT(failed_calls, 0U);
  EXPECT_GT(refused.load(), 0U) << "no thread ever saw an error";
  EXPECT_EQ(faults.handed_out_bytes(), 0U);
  EXPECT_EQ(p.control().statistics().misuses, 0U);
  expect_clean(p);
}

// All at once meet a backend that answers nothing any more: each gets an error, none waits for
// another for ever, and what they hold is theirs.
TEST_P(Faults, AllThreadsAtOnceMeetABackendThatHasNothing) {
  constexpr int threads = 4;
  std::array<std::vector<marked>, threads> held;
  in_threads(threads, [&](int t) {
    for (int i = 0; i < 10; ++i) {
      if (result<tensor> made = p.try_allocate(100000)) {
        held[static_cast<std::size_t>(t)].emplace_back(std::move(*made), 7);
      }
    }
  });
  for (int round = 0; round < 20 * effort(); ++round) {
    faults.order({.fail_from = 1});
    (void)p.control().trim();  // nobody keeps anything ready
    in_threads(threads, [&](int t) {
      EXPECT_EQ(p.try_allocate(200000).error().code, errc::out_of_memory);
      const std::vector<marked>& mine = held[static_cast<std::size_t>(t)];
      EXPECT_TRUE(
          std::all_of(mine.begin(), mine.end(), [](const marked& m) { return m.intact(); }));
    });
    faults.order({});
    EXPECT_EQ(p.control().verify(), nullptr);
  }
  for (std::vector<marked>& mine : held) {
    mine.clear();
  }
  for (int i = 0; i < 4; ++i) {
    (void)p.control().trim();
  }
  EXPECT_EQ(faults.handed_out_bytes(), 0U);
  expect_clean(p);
}

INSTANTIATE_TEST_SUITE_P(SystemCalls, Faults, ::testing::Values(0, 31), [](const auto& one) {
  return one.param == 0 ? std::string("work") : "fail_every_" + std::to_string(one.param);
});

}  // namespace
}  // namespace tidepool::test
