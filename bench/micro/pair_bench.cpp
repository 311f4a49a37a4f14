// SPDX-License-Identifier: Apache-2.0
//
// pair_bench: what an allocation and its free cost together, for one allocator, one size and one
// pattern, in a fresh process. peers.py runs it for ours and for its peers in turn; a peer is
// loaded with LD_PRELOAD under --allocator malloc.
//
// Patterns: lifo frees what was just allocated; random64 and random1024 keep so many alive and
// replace a random one.
// Times contain the loop (--allocator null shows what it costs); nothing is subtracted.
#include "naive/naive_pool.hpp"
#include <tidepool/control.hpp>
#include <tidepool/cpu/backend.hpp>
#include <tidepool/pool.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <barrier>
#include <charconv>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace {

using tidepool::bench::naive_pool;

struct options {
  std::string allocator = "tidepool";
  std::size_t bytes = 65536;
  std::string pattern = "lifo";
  bool touch = false;  // the first 64 bytes of each allocation
  unsigned threads = 1;
  unsigned chunks = 7;
  unsigned chunk_ms = 20;
  std::size_t alignment = 0;  // of malloc and naive; 0: malloc's own
  bool json = false;
};

constexpr const char* usage =
    "usage: pair_bench [--allocator tidepool|malloc|naive|null] [--size BYTES]\n"
    "                  [--pattern lifo|random64|random1024] [--touch none|line] [--threads N]\n"
    "                  [--chunks 7] [--chunk-ms 20] [--alignment BYTES] [--json]\n"
    "Prints the median and the least ns per allocate+free pair over the chunks.\n"
    "--alignment: of malloc and naive; default what malloc gives (16), tidepool gives 64.\n";

struct held {
  void* data = nullptr;
  std::uint64_t id = 0;
};

struct tidepool_allocator {
  tidepool::pool* pool;
  std::size_t bytes;
  [[nodiscard]] held take() const noexcept {
    const auto made = pool->allocate_raw(bytes);
    return made ? held{made->data, made->id.value()} : held{};
  }
  void give(held what) const noexcept {
    pool->deallocate(tidepool::tensor_id::from_value(what.id));
  }
};

struct malloc_allocator {
  std::size_t bytes;
  [[nodiscard]] held take() const noexcept { return {std::malloc(bytes), 0}; }
  void give(held what) const noexcept { std::free(what.data); }
};

struct aligned_allocator {
  std::size_t bytes;  // a multiple of alignment
  std::size_t alignment;
  [[nodiscard]] held take() const noexcept { return {std::aligned_alloc(alignment, bytes), 0}; }
  void give(held what) const noexcept { std::free(what.data); }
};

struct naive_allocator {
  naive_pool* pool;
  std::size_t bytes;
  std::size_t alignment;
  [[nodiscard]] held take() const noexcept {
    const naive_pool::allocation made = pool->allocate(bytes, 0, alignment);
    return {made.data, made.id};
  }
  void give(held what) const noexcept { pool->deallocate(what.id); }
};

struct null_allocator {
  void* data;
  [[nodiscard]] held take() const noexcept { return {data, 1}; }
  void give(held /*what*/) const noexcept {}
};

/// Keeps the compiler from seeing that an allocation is not used.
inline void use(held& what, bool touch, std::size_t bytes) noexcept {
  if (touch && what.data != nullptr) {
    std::memset(what.data, 1, bytes < 64 ? bytes : 64);
  }
  asm volatile("" : "+r"(what.data), "+r"(what.id) : : "memory");
}

[[noreturn]] void fail(const char* reason) {
  std::fprintf(stderr, "pair_bench: %s\n%s", reason, usage);
  std::exit(2);
}

template <class Allocator>
void lifo(const Allocator& from, std::uint64_t pairs, const options& chosen) {
  for (std::uint64_t i = 0; i < pairs; ++i) {
    held made = from.take();
    use(made, chosen.touch, chosen.bytes);
    from.give(made);
  }
}

/// A thread's own set of live allocations and its random numbers.
struct live_set {
  std::vector<held> live;  // 64 or 1024
  unsigned shift = 58;     // of a random number, to make an index of it
  std::uint64_t random = 0x9e3779b97f4a7c15;
};

template <class Allocator>
void random_set(const Allocator& from, std::uint64_t pairs, const options& chosen, live_set& set) {
  for (std::uint64_t i = 0; i < pairs; ++i) {
    set.random ^= set.random << 13;
    set.random ^= set.random >> 7;
    set.random ^= set.random << 17;
    held& slot = set.live[set.random >> set.shift];
    from.give(slot);
    slot = from.take();
    use(slot, chosen.touch, chosen.bytes);
  }
}

/// One thread's part of a measurement: its live allocations, and the loop that is timed.
template <class Allocator>
class pair_thread {
 public:
  pair_thread(const Allocator& from, const options& chosen, unsigned index)
      : from_(from), chosen_(chosen), is_lifo_(chosen.pattern == "lifo") {
    set_.random += index;
    if (is_lifo_) {
      return;
    }
    set_.shift = chosen.pattern == "random64" ? 58 : 54;
    set_.live.resize(std::size_t{1} << (64 - set_.shift));
    for (held& slot : set_.live) {
      slot = from_.take();
      use(slot, chosen_.touch, chosen_.bytes);
    }
  }
  pair_thread(const pair_thread&) = delete;
  pair_thread& operator=(const pair_thread&) = delete;
  ~pair_thread() {
    for (const held& slot : set_.live) {
      if (slot.data != nullptr) {
        from_.give(slot);
      }
    }
  }

  /// Runs `pairs` pairs. The time of all of them in ns.
  [[nodiscard]] double run(std::uint64_t pairs) {
    using clock = std::chrono::steady_clock;
    const clock::time_point begin = clock::now();
    is_lifo_ ? lifo(from_, pairs, chosen_) : random_set(from_, pairs, chosen_, set_);
    return std::chrono::duration<double, std::nano>(clock::now() - begin).count();
  }

  /// Warms up. How many pairs fill a chunk.
  [[nodiscard]] std::uint64_t calibrate() {
    const double wanted = chosen_.chunk_ms * 1e6;
    std::uint64_t pairs = 64;
    double took = run(pairs);
    while (took < wanted / 8 && pairs < std::uint64_t{1} << 40) {
      pairs *= 2;
      took = run(pairs);
    }
    const double ratio = wanted / std::max(took, 1.0);
    return std::max<std::uint64_t>(16,
                                   static_cast<std::uint64_t>(ratio * static_cast<double>(pairs)));
  }

 private:
  const Allocator& from_;
  const options& chosen_;
  const bool is_lifo_;
  live_set set_;
};

struct measurement {
  std::vector<double> chunks;  // ns per pair of each chunk, the mean of all threads
  std::uint64_t pairs = 0;     // of one chunk and thread
};

template <class Allocator>
measurement measure(const Allocator& from, const options& chosen) {
  std::vector<std::vector<double>> times(chosen.threads, std::vector<double>(chosen.chunks));
  std::barrier together(static_cast<std::ptrdiff_t>(chosen.threads));
  std::atomic<std::uint64_t> calibrated = 0;

  const auto work = [&](unsigned index) {
    pair_thread thread(from, chosen, index);
    // Every thread warms up; what the first one finds holds for all.
    const std::uint64_t found = thread.calibrate();
    if (index == 0) {
      calibrated = found;
    }
    together.arrive_and_wait();
    const std::uint64_t pairs = calibrated;
    for (double& time : times[index]) {
      together.arrive_and_wait();
      time = thread.run(pairs) / static_cast<double>(pairs);
    }
  };
  {
    std::vector<std::jthread> others;
    for (unsigned index = 1; index < chosen.threads; ++index) {
      others.emplace_back(work, index);
    }
    work(0);
  }
  measurement answer{.chunks = std::vector<double>(chosen.chunks), .pairs = calibrated};
  for (unsigned i = 0; i < chosen.chunks; ++i) {
    for (const std::vector<double>& own : times) {
      answer.chunks[i] += own[i] / chosen.threads;
    }
  }
  return answer;
}

void print(const options& chosen, const measurement& measured) {
  std::vector<double> chunks = measured.chunks;
  std::sort(chunks.begin(), chunks.end());
  const double least = chunks.front();
  const double median = chunks[(chunks.size() - 1) / 2];
  if (!chosen.json) {
    std::printf("%s, %zu bytes, %s, touch %s, %u threads: median %.2f, min %.2f ns per pair\n",
                chosen.allocator.c_str(), chosen.bytes, chosen.pattern.c_str(),
                chosen.touch ? "line" : "none", chosen.threads, median, least);
    return;
  }
  std::printf("{\"format_version\": 1, \"allocator\": \"%s\", \"size\": %zu, \"pattern\": \"%s\", "
              "\"touch\": \"%s\", \"threads\": %u, \"alignment\": %zu, \"pairs_per_chunk\": %llu, "
              "\"median_ns\": %.4f, \"min_ns\": %.4f, \"chunks_ns\": [",
              chosen.allocator.c_str(), chosen.bytes, chosen.pattern.c_str(),
              chosen.touch ? "line" : "none", chosen.threads, chosen.alignment,
              static_cast<unsigned long long>(measured.pairs), median, least);
  const char* separator = "";
  for (const double each : chunks) {
    std::printf("%s%.4f", separator, each);
    separator = ", ";
  }
  std::printf("]}\n");
}

std::size_t number(std::string_view text) {
  std::size_t value = 0;
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (failure != std::errc{} || end != text.data() + text.size()) {
    fail("a number is expected");
  }
  return value;
}

unsigned count(std::string_view text, unsigned most) {
  const std::size_t value = number(text);
  if (value < 1 || value > most) {
    fail("a count is out of range");
  }
  return static_cast<unsigned>(value);
}

std::string one_of(std::string_view text, std::initializer_list<std::string_view> allowed) {
  if (std::find(allowed.begin(), allowed.end(), text) == allowed.end()) {
    fail("an option has an unknown value");
  }
  return std::string(text);
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
      continue;
    }
    if (++i == argc) {
      fail("an option is unknown or lacks its value");
    }
    const std::string_view value = argv[i];
    if (key == "--allocator") {
      chosen.allocator = one_of(value, {"tidepool", "malloc", "naive", "null"});
    } else if (key == "--size") {
      chosen.bytes = std::max<std::size_t>(1, number(value));
    } else if (key == "--pattern") {
      chosen.pattern = one_of(value, {"lifo", "random64", "random1024"});
    } else if (key == "--touch") {
      chosen.touch = one_of(value, {"none", "line"}) == "line";
    } else if (key == "--threads") {
      chosen.threads = count(value, 256);
    } else if (key == "--chunks") {
      chosen.chunks = count(value, 100000);
    } else if (key == "--chunk-ms") {
      chosen.chunk_ms = count(value, 60000);
    } else if (key == "--alignment") {
      chosen.alignment = number(value);
      if ((chosen.alignment & (chosen.alignment - 1)) != 0) {
        fail("an alignment is a power of two");
      }
    } else {
      fail("an option is unknown");
    }
  }
  return chosen;
}

int run(const options& chosen) {
  measurement measured;
  const std::size_t alignment = std::max<std::size_t>(chosen.alignment, 1);
  const std::size_t rounded = (chosen.bytes + alignment - 1) & ~(alignment - 1);
  if (chosen.allocator == "tidepool") {
    tidepool::pool pool(tidepool::cpu::make_backend());
    measured = measure(tidepool_allocator{&pool, chosen.bytes}, chosen);
    if (pool.control().statistics().failures != 0) {
      fail("out of memory");
    }
  } else if (chosen.allocator == "naive") {
    naive_pool pool;
    measured = measure(naive_allocator{&pool, chosen.bytes, alignment}, chosen);
  } else if (chosen.allocator == "null") {
    std::array<std::byte, 64> scratch{};
    measured = measure(null_allocator{scratch.data()}, chosen);
  } else if (alignment > 16) {
    measured = measure(aligned_allocator{rounded, alignment}, chosen);
  } else {
    measured = measure(malloc_allocator{chosen.bytes}, chosen);
  }
  print(chosen, measured);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const options chosen = parse(argc, argv);
  try {
    return run(chosen);
  } catch (const std::exception& failure) {
    std::fprintf(stderr, "pair_bench: %s\n", failure.what());
    return 1;
  }
}
