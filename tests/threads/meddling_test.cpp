// SPDX-License-Identifier: Apache-2.0
//
// Threads that work while others count, trim, look, observe, change, close and misuse.
#include "support.hpp"

#include <functional>

namespace tidepool::test {
namespace {

/// Works in `workers` threads until `meddle` has run `times` times in this one.
void work_while(pool& p, int workers, int times, const std::function<void(int)>& meddle) {
  std::atomic<bool> stop{false};
  std::vector<std::thread> threads;
  for (int t = 0; t < workers; ++t) {
    threads.emplace_back([&, t] {
      std::mt19937 random(static_cast<unsigned>(t));
      std::vector<marked> held;
      while (!stop.load(std::memory_order_relaxed)) {
        if (held.size() < 20 || random() % 2 == 0) {
          held.emplace_back(p.allocate(some_size(random)), static_cast<unsigned char>(random()));
        }
        if (held.size() > 10) {
          std::swap(held[random() % held.size()], held.back());
          EXPECT_TRUE(held.back().intact());
          held.pop_back();
        }
      }
    });
  }
  for (int i = 0; i < times; ++i) {
    meddle(i);
  }
  stop = true;
  for (std::thread& t : threads) {
    t.join();
  }
}

TEST(Meddling, StatisticsAreConsistentAtEveryMoment) {
  pool p(small_cpu());
  statistics before = p.control().statistics();
  work_while(p, 3, 200 * effort(), [&](int) {
    const statistics s = p.control().statistics();
    EXPECT_GE(s.total.allocations, before.total.allocations);
    EXPECT_GE(s.total.frees, before.total.frees);
    EXPECT_EQ(s.total.front_hits + s.total.ready_hits + s.total.refills, s.total.allocations);
    EXPECT_LT(s.total.live, 1000U);
    before = s;
  });
  expect_clean(p);
}

TEST(Meddling, TrimAndIdleThreadsTakeNothingThatIsInUse) {
  pool p(small_cpu());
  work_while(p, 3, 150 * effort(), [&](int i) {
    (void)p.control().trim(i % 3 == 0 ? 0 : 4 * mib);
    p.control().tick();
    p.control().thread_idle();
  });
  expect_clean(p);
}

TEST(Meddling, ALimitMakesThreadsRecallEachOther) {
  pool p(small_cpu(), {.limit_bytes = 24 * mib});
  std::atomic<int> refused{0};
  in_threads(4, [&](int t) {
    std::mt19937 random(static_cast<unsigned>(t));
    std::vector<marked> held;
    for (int i = 0; i < 1500 * effort(); ++i) {
      result<tensor> made = p.try_allocate(random() % (256 * kib));
      if (made) {
        held.emplace_back(std::move(*made), static_cast<unsigned char>(random()));
      } else {
        EXPECT_EQ(made.error().code, errc::over_budget);
        refused.fetch_add(1);
      }
      while (held.size() > 45 || (!made && !held.empty() && random() % 4 != 0)) {
        EXPECT_TRUE(held.back().intact());
        held.pop_back();
        if (held.size() <= 45) {
          break;
        }
      }
    }
  });
  EXPECT_LE(p.control().statistics().devices[0].peak_reserved_bytes, 24 * mib);
  expect_clean(p);
}

TEST(Meddling, InfoIsNeverAMixtureOfTwoTensors) {
  // Each tensor's name tells its size: what info answers must agree with itself.
  pool p(small_cpu());
  std::vector<name_id> names;
  for (int i = 0; i < 32; ++i) {
    names.push_back(p.intern(std::to_string(i)));
  }
  constexpr std::size_t watched = 64;
  std::array<std::atomic<std::uint64_t>, watched> ids{};
  std::atomic<bool> stop{false};
  std::vector<std::thread> workers;
  for (std::size_t t = 0; t < 2; ++t) {
    workers.emplace_back([&, t] {
      std::mt19937 random(static_cast<unsigned>(t));
      std::array<tensor, watched / 2> held;
      while (!stop.load(std::memory_order_relaxed)) {
        const std::size_t i = random() % held.size();
        const std::size_t n = random() % names.size();
        held[i].reset();
        const auto what = static_cast<category>(n % 8);
        held[i] = p.allocate(n * 16 + 1, {}, {.category = what, .name = names[n]});
        ids[t * held.size() + i].store(held[i].id().value(), std::memory_order_release);
      }
    });
  }
  int consistent = 0;
  for (int i = 0; i < 100000 * effort() || consistent < 1000; ++i) {
    const tensor_id id = tensor_id::from_value(
        ids[static_cast<std::size_t>(i) % watched].load(std::memory_order_acquire));
    const result<tensor_info> info = p.info(id);
    if (!info || !info->name) {
      std::this_thread::yield();
      continue;  // gone, or its name is not written yet
    }
    ++consistent;
    const std::size_t n = info->name.value() - names.front().value();
    ASSERT_EQ(info->bytes, n * 16 + 1);
    ASSERT_EQ(static_cast<std::size_t>(info->category), n % 8);
    ASSERT_EQ(info->id, id);
    ASSERT_GE(info->capacity, info->bytes);
  }
  stop = true;
  for (std::thread& t : workers) {
    t.join();
  }
  expect_clean(p);
}

TEST(Meddling, FindAndSettersWhileBlocksComeAndGo) {
  pool p(small_cpu(), {.thread_cache_bytes = mib, .ready_bytes = 64 * kib});
  tensor mine = p.allocate(5000, {}, {.key = 12345});
  const name_id name = p.intern("mine");
  work_while(p, 3, 2000 * effort(), [&](int i) {
    EXPECT_EQ(*p.find(mine.data()), mine.id());
    EXPECT_EQ(*p.find(std::uint64_t{12345}), mine.id());
    EXPECT_EQ(p.set_lifecycle(mine.id(), static_cast<lifecycle>(i % 5)), errc::ok);
    EXPECT_EQ(p.set_name(mine.id(), i % 2 == 0 ? name : name_id{}), errc::ok);
    EXPECT_EQ(p.set_category(mine.id(), static_cast<category>(i % 16)), errc::ok);
    EXPECT_TRUE(p.pin(mine.id()).has_value());
    EXPECT_EQ(p.unpin(mine.id()), errc::ok);
  });
  const tensor_info info = *p.info(mine.id());
  EXPECT_EQ(info.references, 1U);
  EXPECT_EQ(info.pins, 0U);
  mine.reset();
  expect_clean(p);
}

// The first look-up enters what there is, while each allocation and each free binds and unbinds.
TEST(Meddling, TheFirstFindWhileBlocksComeAndGo) {
  for (int round = 0; round < 40 * effort(); ++round) {
    pool p(small_cpu(), {.thread_cache_bytes = 0, .ready_bytes = 0, .max_tensors = 1 << 12});
    std::vector<tensor> others;
    for (int i = 0; i < 300; ++i) {
      others.push_back(p.allocate(100 * kib));  // takes the walk some time
    }
    std::atomic<int> ready{0};
    const auto find_the_last = [&] {  // which is entered last
      for (++ready; ready != 2;) {
        std::this_thread::yield();
      }
      const result<tensor_id> found = p.find(others.back().data());
      EXPECT_TRUE(found && *found == others.back().id());
    };
    work_while(p, 2, 1, [&](int) {
      std::thread second(find_the_last);
      find_the_last();
      second.join();
    });
    others.clear();
    expect_clean(p);
  }
}

class counting_observer final : public allocation_observer {
 public:
  void on_allocate(const tensor_info&) noexcept override { made.fetch_add(1); }
  void on_free(const tensor_info&) noexcept override { freed.fetch_add(1); }
  std::atomic<std::uint64_t> made{0};
  std::atomic<std::uint64_t> freed{0};
};

TEST(Meddling, ObserversComeAndGo) {
  struct gone {
    std::unique_ptr<counting_observer> observer;
    std::uint64_t made;
    std::uint64_t freed;
  };
  pool p(small_cpu());
  std::vector<gone> kept;
  work_while(p, 3, 200 * effort(), [&](int i) {
    auto seen = std::make_unique<counting_observer>();
    p.control().set_observer(seen.get());
    if (i % 2 == 0) {
      std::this_thread::yield();
      p.control().set_observer(nullptr);
      seen.reset();  // from here on nobody may call it, else a sanitizer finds it or the test dies
      return;
    }
    // Three threads allocate all the time: it is called soon, and the bound is never reached.
    for (int n = 0; n < 100000 && seen->made.load() + seen->freed.load() == 0; ++n) {
      std::this_thread::yield();
    }
    p.control().set_observer(nullptr);
    const std::uint64_t made = seen->made.load();
    const std::uint64_t freed = seen->freed.load();
    kept.push_back({std::move(seen), made, freed});  // its counts show whether anybody calls it
  });
  std::uint64_t made = 0;
  std::uint64_t freed = 0;
  for (const gone& each : kept) {
    EXPECT_EQ(each.observer->made.load(), each.made);
    EXPECT_EQ(each.observer->freed.load(), each.freed);
    EXPECT_GT(each.made + each.freed, 0U);
    made += each.made;
    freed += each.freed;
  }
  EXPECT_LE(made, p.control().statistics().total.allocations);
  EXPECT_LE(freed, p.control().statistics().total.frees);
  expect_clean(p);
}

TEST(Meddling, CloseWhileThreadsUseEveryFunction) {
  // Every operation finds an open or a closed pool, never one in between; the last tensor ends it.
  for (int round = 0; round < 60 * effort(); ++round) {
    auto p = std::make_unique<pool>(
        small_cpu(),
        pool_options{.max_tensors = 1 << 14, .on_misuse = [](const misuse_report&, void*) {}});
    std::array<std::vector<tensor>, 4> kept;
    std::atomic<int> begun{0};
    std::thread closer([&] {
      while (begun.load() < 4) {
        std::this_thread::yield();
      }
      (void)p->close();
    });
    in_threads(4, [&](int t) {
      std::mt19937 random(static_cast<unsigned>(round * 4 + t));
      std::vector<tensor>& mine = kept[static_cast<std::size_t>(t)];
      for (int i = 0; i < 400; ++i) {
        if (i == 50) {
          begun.fetch_add(1);
        }
        result<tensor> made = p->try_allocate(some_size(random), {},
                                              {.category = static_cast<category>(random() % 16)});
        if (!made) {
          EXPECT_EQ(made.error().code, errc::closed);
        } else {
          mine.push_back(std::move(*made));
        }
        if (!mine.empty()) {
          const tensor_id id = mine.back().id();
          EXPECT_TRUE(p->pin(id).has_value());
          EXPECT_EQ(p->unpin(id), errc::ok);
          EXPECT_TRUE(p->info(id).has_value());
          if (result<tensor> part = p->slice(mine.back(), 0, 0)) {
            mine.push_back(std::move(*part));
          }
        }
        while (mine.size() > 10) {
          mine.erase(mine.begin());
        }
      }
    });
    closer.join();
    if (round % 2 == 0) {
      EXPECT_EQ(p->control().verify(), nullptr);
    }
    p.reset();
    in_threads(4, [&](int t) { kept[static_cast<std::size_t>(t)].clear(); });
  }
}

TEST(Meddling, PoolsOpenAndCloseUnderThreadsThatGoOn) {
  // A thread's cache of a closed pool is used for the next pool.
  std::mutex mutex;
  auto current = std::make_shared<pool>(small_cpu());
  std::atomic<bool> stop{false};
  std::vector<std::thread> threads;
  for (int t = 0; t < 3; ++t) {
    threads.emplace_back([&, t] {
      std::mt19937 random(static_cast<unsigned>(t));
      std::vector<marked> held;
      while (!stop.load(std::memory_order_relaxed)) {
        std::shared_ptr<pool> p;
        {
          const std::lock_guard lock(mutex);
          p = current;
        }
        for (int i = 0; i < 50; ++i) {
          result<tensor> made = p->try_allocate(some_size(random));
          if (made) {
            held.emplace_back(std::move(*made), static_cast<unsigned char>(random()));
          }
        }
        p.reset();
        std::shuffle(held.begin(), held.end(), random);
        while (held.size() > 30) {
          EXPECT_TRUE(held.back().intact());
          held.pop_back();
        }
      }
    });
  }
  for (int i = 0; i < 100 * effort(); ++i) {
    auto next = std::make_shared<pool>(
        small_cpu(), pool_options{.on_misuse = [](const misuse_report&, void*) {}});
    const std::lock_guard lock(mutex);
    (void)current->close();
    current = std::move(next);
  }
  stop = true;
  for (std::thread& t : threads) {
    t.join();
  }
  EXPECT_EQ(current->control().verify(), nullptr);
}

TEST(Meddling, RacingDoubleFreesGiveNoBlockToTwoOwners) {
  std::atomic<std::uint64_t> reports{0};
  pool p(small_cpu(),
         {.on_misuse = [](const misuse_report&,
                          void* c) { static_cast<std::atomic<std::uint64_t>*>(c)->fetch_add(1); },
          .misuse_context = &reports});
  constexpr std::size_t n = 64;
  std::array<std::atomic<std::uint64_t>, n> ids{};
  std::atomic<int> phase{0};
  const int rounds = 60 * effort();
  std::atomic<int> arrived{0};
  const auto barrier = [&](int& mine) {
    if (arrived.fetch_add(1) + 1 == 2) {
      arrived = 0;
      phase.fetch_add(1);
    } else {
      while (phase.load() == mine) {
        std::this_thread::yield();
      }
    }
    ++mine;
  };
  in_threads(2, [&](int t) {
    int mine = 0;
    for (int r = 0; r < rounds; ++r) {
      if (t == 0) {
        for (std::size_t i = 0; i < n; ++i) {
          ids[i] = p.allocate(100).release().value();
        }
      }
      barrier(mine);
      // The same ids, freed by both at once.
      for (std::size_t i = 0; i < n; ++i) {
        (void)p.deallocate(tensor_id::from_value(ids[i].load()));
      }
      barrier(mine);
      if (t == 0 && r % 8 == 0) {
        (void)p.control().trim();
      }
      barrier(mine);
    }
  });
  // Whatever the races left behind: everything given out now is given out once.
  std::vector<marked> held;
  for (int i = 0; i < 500; ++i) {
    held.emplace_back(p.allocate(100), static_cast<unsigned char>(i));
  }
  for (const marked& m : held) {
    EXPECT_TRUE(m.intact());
  }
  EXPECT_GT(reports.load(), 0U);
  held.clear();
}

}  // namespace
}  // namespace tidepool::test
