// SPDX-License-Identifier: Apache-2.0
//
// Threads that work on many streams of one device while streams are attached and retired. The
// backend remembers for which stream it made each block: no tensor is ever in another's.
#include "../support/heap_backend.hpp"
#include "support.hpp"

#include <utility>

namespace tidepool::test {
namespace {

constexpr device gpu = device::cuda(0);

[[nodiscard]] stream_ref raw_stream(std::uintptr_t n) {
  return {.handle = reinterpret_cast<void*>(0x1000 + 16 * n), .kind = stream_kind::ordinary};
}

TEST(Streams, ThreadsThatAttachOneStreamAtOnceGetOneNumber) {
  heap_log log;
  pool p(std::make_unique<heap_backend>(log, gpu, 64, true));
  constexpr std::uintptr_t streams = 500;
  std::array<std::vector<std::uint32_t>, 4> numbers;
  in_threads(4, [&](int t) {
    for (std::uintptr_t n = 0; n < streams; ++n) {
      const result<stream_ref> made = p.attach(gpu, raw_stream(n));
      numbers[static_cast<std::size_t>(t)].push_back(made ? made->number : 0);
    }
  });
  for (const std::vector<std::uint32_t>& seen : numbers) {
    EXPECT_EQ(seen, numbers[0]);
  }
  std::sort(numbers[0].begin(), numbers[0].end());
  EXPECT_EQ(std::unique(numbers[0].begin(), numbers[0].end()), numbers[0].end());
  EXPECT_EQ(numbers[0].front(), 1U);
  EXPECT_EQ(numbers[0].back(), streams);
}

TEST(Streams, TensorsTravelBetweenThreadsAndStreams) {
  heap_log log;
  {
    auto made = std::make_unique<heap_backend>(log, gpu, 64, true);
    pool p(std::move(made), {.thread_cache_bytes = 2 * mib, .ready_bytes = mib});
    std::vector<stream_ref> streams{{}};
    for (std::uintptr_t n = 1; n < 24; ++n) {  // more than threads cache for
      streams.push_back(*p.attach(gpu, raw_stream(n)));
    }
    struct cell {
      std::mutex mutex;
      marked held;
    };
    std::array<cell, 61> table;
    std::atomic<int> working{4};
    in_threads(5, [&](int t) {
      std::mt19937 random(static_cast<unsigned>(t) + 41);
      if (t == 4) {  // retires under the others' hands: only what is free goes back
        while (working.load() != 0) {
          (void)p.retire(gpu, streams[1 + random() % (streams.size() - 1)]);
          (void)p.attach(gpu, raw_stream(random() % 24));
          std::this_thread::yield();
        }
        return;
      }
      for (int i = 0; i < 2500 * effort(); ++i) {
        const stream_ref& own = streams[random() % streams.size()];
        marked mine(p.allocate(1 + random() % 3000, gpu, {.stream = own}),
                    static_cast<unsigned char>(random()));
        cell& c = table[random() % table.size()];
        {
          const std::lock_guard lock(c.mutex);
          std::swap(mine, c.held);
        }
        EXPECT_TRUE(mine.intact());
        if (random() % 2 == 0) {  // on any stream, by any thread
          EXPECT_EQ(p.deallocate(mine.held.release(), streams[random() % streams.size()]),
                    errc::ok);
        }
      }
      working.fetch_sub(1);
    });
    for (cell& c : table) {
      c.held = {};
    }
    for (const stream_ref& s : streams) {
      (void)p.retire(gpu, s);  // the thread above has retired some already
    }
    EXPECT_EQ(p.control().trim().reserved_bytes, 0U);
    expect_clean(p);
  }
  EXPECT_EQ(log.handed_out.load(), 0U);
  EXPECT_EQ(log.wrong_returns.load(), 0U);
}

}  // namespace
}  // namespace tidepool::test
