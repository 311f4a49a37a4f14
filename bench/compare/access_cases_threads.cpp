// SPDX-License-Identifier: Apache-2.0
//
// D5: two threads that record the same ids.
#include "compare/case_parts.hpp"
#include "compare/rivals.hpp"
#include "streams/streams.hpp"
#include <tidepool/access_tracker.hpp>
#include <tidepool/cpu/backend.hpp>
#include <tidepool/pool.hpp>

#include <barrier>
#include <mutex>
#include <thread>

namespace tidepool::bench::compare {

namespace {

// Threads that do one thing at the same time, again and again.
class crew {
 public:
  explicit crew(unsigned n) : begin_(n + 1), end_(n + 1) {
    for (unsigned t = 0; t < n; ++t) {
      threads_.emplace_back([this, t] {
        for (;;) {
          begin_.arrive_and_wait();
          if (work_ == nullptr) {
            return;
          }
          (*work_)(t);
          end_.arrive_and_wait();
        }
      });
    }
  }
  ~crew() {
    work_ = nullptr;
    begin_.arrive_and_wait();
    for (std::thread& each : threads_) {
      each.join();
    }
  }
  void run(const std::function<void(unsigned)>& work) {
    work_ = &work;
    begin_.arrive_and_wait();
    end_.arrive_and_wait();
  }

 private:
  std::barrier<> begin_;
  std::barrier<> end_;
  const std::function<void(unsigned)>* work_ = nullptr;
  std::vector<std::thread> threads_;
};

}  // namespace

std::vector<row> two_threads(const case_settings& settings) {
  std::vector<row> all;
  for (const std::size_t batch : {std::size_t{1024}, std::size_t{65'536}}) {
    for (const bool is_zipf : {false, true}) {
      if (settings.progress) {
        settings.progress("D5");
      }
      constexpr std::uint32_t size = 1000;
      const ids stream = is_zipf ? streams::zipf_indices(1 << 20, size, 1.0, 5)
                                 : streams::uniform_indices(1 << 20, size, 5);
      pool p{cpu::make_backend()};
      const domain d = *p.accesses().make_domain({.size = size, .standalone = true});
      atomic_table atomics(size);
      reference_table locked(size);
      std::mutex mutex;
      crew threads(2);
      const auto batches = [&](auto&& each) {
        for (std::size_t at = 0; at < stream.size(); at += batch) {
          each(part(stream, at, batch));
        }
      };
      std::uint64_t now = 0;
      const std::function<void(unsigned)> ours = [&](unsigned) {
        batches([&](std::span<const std::int32_t> b) {
          (void)p.accesses().record({.where = d, .indices = b, .tick = now});
        });
      };
      const std::function<void(unsigned)> by_atomics = [&](unsigned) {
        batches([&](std::span<const std::int32_t> b) { (void)atomics.record(b, now); });
      };
      const std::function<void(unsigned)> by_mutex = [&](unsigned) {
        batches([&](std::span<const std::int32_t> b) {
          const std::lock_guard lock(mutex);
          (void)locked.record(b, mode::occurrence, now);
        });
      };
      const auto in_crew = [&](const std::function<void(unsigned)>& work) {
        return [&] {
          ++now;
          threads.run(work);
        };
      };
      append(all, hold({.name = "D5",
                        .pattern = std::string(is_zipf ? "zipf 1.0" : "uniform") + ", same ids, " +
                                   std::to_string(batch) + " ids",
                        .size = size,
                        .threads = 2,
                        .units = static_cast<double>(stream.size()),
                        .ours = {"tidepool", in_crew(ours)},
                        .rivals = {{"relaxed atomics", in_crew(by_atomics), 0.15},
                                   {"scalar, one mutex", in_crew(by_mutex)}}},
                       settings.how));
    }
  }
  return all;
}

}  // namespace tidepool::bench::compare
