// SPDX-License-Identifier: Apache-2.0
//
// latency_check: the mean latency that statistics() reports beside the one that this program
// measures, for patterns of use that differ in how many operations are slow. The pool samples its
// warm operations; this program reads the clock once per chunk of operations. Each round uses a new
// pool, so both means are those of the same operations, from the pool's first one to its last.
//
// Patterns: pairs frees each tensor at once; batches keeps 32 tensors alive; bursts allocates all
// tensors and then frees them all; hand-over allocates in one thread and frees in another; mixed
// runs pairs and then a burst in one pool.
// Measured times contain the loop and the public interface, about a nanosecond per operation.
#include <tidepool/control.hpp>
#include <tidepool/cpu/backend.hpp>
#include <tidepool/pool.hpp>
#include <tidepool/statistics.hpp>

#include <algorithm>
#include <atomic>
#include <charconv>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <string_view>
#include <thread>
#include <vector>

namespace {

using tidepool::pool;
using tidepool::raw_tensor;
using tidepool::tensor_id;

constexpr const char* usage = "usage: latency_check [--operations N] [--rounds N] [--json]\n"
                              "Prints the medians over the rounds of reported and measured ns.\n";
constexpr std::size_t chunk = 512;

struct options {
  std::size_t operations = 1'000'000;
  std::size_t rounds = 9;
  bool json = false;
};

[[noreturn]] void fail(const char* reason) {
  std::fprintf(stderr, "latency_check: %s\n%s", reason, usage);
  std::exit(2);
}

/// Nanoseconds and operations of one kind, as this program saw them.
struct total {
  double ns = 0;
  double operations = 0;

  [[nodiscard]] double mean() const { return operations == 0 ? 0 : ns / operations; }
  template <class F>
  void time(std::size_t count, F&& work) {
    using clock = std::chrono::steady_clock;
    const clock::time_point begin = clock::now();
    work();
    ns += std::chrono::duration<double, std::nano>(clock::now() - begin).count();
    operations += static_cast<double>(count);
  }
};

struct measured {
  total allocate;
  total free;
  total both;  // where allocations and frees alternate, the clock cannot tell them apart
};

/// What a pattern does: operations on tensors of one size in one pool.
struct task {
  pool& from;
  std::size_t bytes = 0;
  std::size_t operations = 0;
};

// A failure would be an id of 0 then, which nothing checks: the pools have no limit. A call of its
// own would be measured too.
[[gnu::always_inline]] inline tensor_id take(const task& of) {
  return of.from.allocate_raw(of.bytes)->id;
}

void pairs(const task& of, measured& sums) {
  for (std::size_t done = 0; done < of.operations; done += chunk) {
    sums.both.time(2 * chunk, [&] {
      for (std::size_t i = 0; i < chunk; ++i) {
        of.from.deallocate(take(of));
      }
    });
  }
}

/// Allocates `size` tensors and frees them, again and again.
void batches(const task& of, std::size_t size, measured& sums) {
  std::vector<tensor_id> held(size);
  for (std::size_t done = 0; done < of.operations; done += size) {
    for (std::size_t first = 0; first < size; first += chunk) {
      const std::size_t count = std::min(chunk, size - first);
      sums.allocate.time(count, [&] {
        for (std::size_t i = first; i < first + count; ++i) {
          held[i] = take(of);
        }
      });
    }
    for (std::size_t first = 0; first < size; first += chunk) {
      const std::size_t count = std::min(chunk, size - first);
      sums.free.time(count, [&] {
        for (std::size_t i = first; i < first + count; ++i) {
          of.from.deallocate(held[i]);
        }
      });
    }
  }
}

void hand_over(const task& of, measured& sums) {
  std::vector<tensor_id> held(of.operations / chunk * chunk);
  std::atomic<std::size_t> ready{0};
  std::jthread other([&] {
    for (std::size_t first = 0; first < held.size(); first += chunk) {
      while (ready.load(std::memory_order_acquire) <= first) {
        std::this_thread::yield();
      }
      sums.free.time(chunk, [&] {
        for (std::size_t i = first; i < first + chunk; ++i) {
          of.from.deallocate(held[i]);
        }
      });
    }
  });
  for (std::size_t first = 0; first < held.size(); first += chunk) {
    sums.allocate.time(chunk, [&] {
      for (std::size_t i = first; i < first + chunk; ++i) {
        held[i] = take(of);
      }
    });
    ready.store(first + chunk, std::memory_order_release);
  }
}

void run(std::string_view pattern, const task& of, measured& sums) {
  if (pattern == "pairs") {
    pairs(of, sums);
  } else if (pattern == "batches") {
    batches(of, 32, sums);
  } else if (pattern == "bursts") {
    batches(of, of.operations, sums);
  } else if (pattern == "mixed") {
    // Both kinds together, as the pairs cannot be told apart.
    measured burst;
    pairs(of, sums);
    batches(of, of.operations, burst);
    sums.both.ns += burst.allocate.ns + burst.free.ns;
    sums.both.operations += burst.allocate.operations + burst.free.operations;
  } else {
    hand_over(of, sums);
  }
}

struct row {
  std::string_view pattern;
  std::size_t bytes = 0;
  const char* operation = "";
  std::vector<double> measured_ns{};
  std::vector<double> reported_ns{};
  std::vector<double> samples{};
};

[[nodiscard]] double median(std::vector<double> of) {
  std::sort(of.begin(), of.end());
  return of[(of.size() - 1) / 2];
}

/// One pool's life: what it reports goes beside what was measured.
void play(const options& chosen, row& allocate, row& free, row& both) {
  pool target(tidepool::cpu::make_backend());
  measured sums;
  run(allocate.pattern, {target, allocate.bytes, chosen.operations}, sums);
  const tidepool::statistics s = target.control().statistics();
  const auto add = [](row& to, const total& seen, double mean_ns, std::uint64_t samples) {
    if (seen.operations != 0) {
      to.measured_ns.push_back(seen.mean());
      to.reported_ns.push_back(mean_ns);
      to.samples.push_back(static_cast<double>(samples));
    }
  };
  add(allocate, sums.allocate, s.allocate.mean_ns, s.allocate.samples);
  add(free, sums.free, s.free.mean_ns, s.free.samples);
  add(both, sums.both, (s.allocate.mean_ns + s.free.mean_ns) / 2,
      s.allocate.samples + s.free.samples);
}

void print(const options& chosen, const std::vector<row>& rows) {
  if (chosen.json) {
    std::printf("{\"format_version\": 1, \"operations\": %zu, \"rounds\": %zu, \"rows\": [",
                chosen.operations, chosen.rounds);
  } else {
    std::printf("%-10s %6s %-9s %12s %12s %8s %9s\n", "pattern", "bytes", "operation",
                "measured ns", "reported ns", "ratio", "samples");
  }
  const char* separator = "";
  for (const row& each : rows) {
    const double seen = median(each.measured_ns);
    const double reported = median(each.reported_ns);
    std::printf(chosen.json ? "%s{\"pattern\": \"%s\", \"bytes\": %zu, \"operation\": \"%s\", "
                              "\"measured_ns\": %.3f, \"reported_ns\": %.3f, \"ratio\": %.3f, "
                              "\"samples\": %.0f}"
                            : "%s%-10s %6zu %-9s %12.2f %12.2f %8.2f %9.0f\n",
                separator, each.pattern.data(), each.bytes, each.operation, seen, reported,
                reported / seen, median(each.samples));
    separator = chosen.json ? ", " : "";
  }
  std::fputs(chosen.json ? "]}\n" : "", stdout);
}

void check(const options& chosen) {
  std::vector<row> rows;
  for (const char* const pattern : {"pairs", "batches", "bursts", "hand-over", "mixed"}) {
    for (const std::size_t bytes : {std::size_t{64}, std::size_t{4096}}) {
      for (const char* const operation : {"allocate", "free", "both"}) {
        rows.push_back({.pattern = pattern, .bytes = bytes, .operation = operation});
      }
    }
  }
  // Rounds are interleaved, so that a load that comes and goes meets all patterns alike.
  for (std::size_t round = 0; round < chosen.rounds; ++round) {
    for (std::size_t i = 0; i < rows.size(); i += 3) {
      play(chosen, rows[i], rows[i + 1], rows[i + 2]);
    }
  }
  std::erase_if(rows, [](const row& each) { return each.measured_ns.empty(); });
  print(chosen, rows);
}

std::size_t number(std::string_view text) {
  std::size_t value = 0;
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (failure != std::errc{} || end != text.data() + text.size() || value == 0) {
    fail("a number is expected");
  }
  return value;
}

options parse(int argc, char** argv) {
  options chosen;
  for (int i = 1; i < argc; ++i) {
    const std::string_view key = argv[i];
    if (key == "--help") {
      std::fputs(usage, stdout);
      std::exit(0);
    }
    if (key == "--json") {
      chosen.json = true;
    } else if (i + 1 < argc && key == "--operations") {
      chosen.operations = std::max(number(argv[++i]), chunk);
    } else if (i + 1 < argc && key == "--rounds") {
      chosen.rounds = number(argv[++i]);
    } else {
      fail("an option is unknown or lacks its value");
    }
  }
  return chosen;
}

}  // namespace

int main(int argc, char** argv) {
  const options chosen = parse(argc, argv);
  try {
    check(chosen);
    return 0;
  } catch (const std::exception& failure) {
    std::fprintf(stderr, "latency_check: %s\n", failure.what());
    return 1;
  }
}
