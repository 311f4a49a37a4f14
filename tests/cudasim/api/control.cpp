// SPDX-License-Identifier: Apache-2.0
//
// The functions of cudasim.h: reports, faults, seeds and counts for tests.
#include "api/call.hpp"

#include <cudasim.h>

#include <algorithm>
#include <cstring>
#include <utility>

using namespace cudasim;

static_assert(static_cast<int>(finding::unsupported) == CUDASIM_UNSUPPORTED);
static_assert(static_cast<int>(finding::race) == CUDASIM_RACE);
static_assert(static_cast<int>(finding::leak) == CUDASIM_LEAK);
static_assert(static_cast<int>(finding::spoilt_capture) == CUDASIM_SPOILT_CAPTURE);

namespace {

template <class F>
auto locked(F body) {
  runtime& r = runtime::get();
  const std::lock_guard guard(r.lock);
  r.note_host_accesses();
  return body(r);
}

void give_text(const std::string& from, char* to, unsigned long long bytes) {
  if (bytes != 0) {
    const std::size_t copied = std::min<std::size_t>(from.size(), bytes - 1);
    std::memcpy(to, from.data(), copied);
    to[copied] = '\0';
  }
}

void check_access(const void* at, unsigned long long bytes, bool write, const void* code) {
  locked([&](runtime& r) {
    r.check_host_access({reinterpret_cast<std::uint64_t>(at), reinterpret_cast<std::uint64_t>(code),
                         nullptr, write},
                        bytes);
  });
}

}  // namespace

extern "C" {

unsigned long long cudasim_take_reports(enum cudasim_finding kind) {
  return locked([&](runtime& r) { return r.findings.take(static_cast<finding>(kind)); });
}

unsigned long long cudasim_untaken_reports(void) {
  return locked([](runtime& r) { return r.findings.untaken(); });
}

unsigned long long cudasim_latest_report(char* text, unsigned long long bytes) {
  const std::string latest = locked([](runtime& r) { return r.findings.latest(); });
  give_text(latest, text, bytes);
  return latest.size();
}

void cudasim_report_leaks(void) {
  locked([](runtime& r) { r.leak_report(); });
}

void cudasim_set_quiet(int quiet) {
  runtime::get().findings.set_quiet(quiet != 0);
}

void cudasim_host_read(const void* at, unsigned long long bytes) {
  check_access(at, bytes, false, __builtin_return_address(0));
}

void cudasim_host_write(void* at, unsigned long long bytes) {
  check_access(at, bytes, true, __builtin_return_address(0));
}

void cudasim_clear_error(void) {
  locked([](runtime& r) { r.sticky = cudaSuccess; });
  last_error = cudaSuccess;
}

void cudasim_set_seed(unsigned long long seed) {
  locked([&](runtime& r) {
    r.set.seed = seed;
    r.random.seed(seed);
  });
}

void cudasim_fail_call(const char* function, unsigned long long nth, int error, int stays) {
  locked([&](runtime& r) {
    r.faults.plant(function == nullptr ? "" : function, nth, error,
                   stays != 0 ? injection::effect::stays : injection::effect::once);
  });
}

void cudasim_lose_device(const char* function, unsigned long long nth, int error) {
  locked([&](runtime& r) {
    r.faults.plant(function == nullptr ? "" : function, nth, error,
                   injection::effect::loses_device);
  });
}

unsigned long long cudasim_faults_struck(char* function, unsigned long long bytes) {
  return locked([&](runtime& r) {
    give_text(r.faults.latest(), function, bytes);
    return r.faults.struck();
  });
}

void cudasim_fail_no_call(void) {
  locked([](runtime& r) { r.faults.clear(); });
}

void cudasim_set_foreign_captures(unsigned long long seed) {
  locked([&](runtime& r) { r.set_foreign_seed(seed); });
}

int cudasim_watch(int watched) {
  runtime::get().foreign.has_watched = true;
  return std::exchange(is_watched, watched != 0) ? 1 : 0;
}

void cudasim_lend_stream(void* handle) {
  locked([&](runtime& r) {
    for (const auto& each : r.streams) {
      if (each->handle == handle && !each->destroyed) {
        r.foreign.lent.insert(each.get());
      }
    }
  });
}

unsigned long long cudasim_foreign_captures(void) {
  return locked([](runtime& r) { return r.foreign.begun; });
}

void cudasim_set_pending_limit(unsigned long long operations) {
  locked([&](runtime& r) { r.set.pending_limit = operations; });
}

unsigned long long cudasim_pending(void* handle) {
  return locked([&](runtime& r) {
    unsigned long long n = 0;
    for (const auto& each : r.streams) {
      n += each->handle == handle && !each->destroyed ? each->queue.size() : 0;
    }
    return n;
  });
}

void cudasim_set_memory(unsigned long long bytes) {
  locked([&](runtime& r) { r.set.memory_bytes = bytes; });
}

void cudasim_set_reuse(int reuse) {
  locked([&](runtime& r) { r.set.reuse = reuse != 0; });
}

void cudasim_count_sectors(int count) {
  locked([&](runtime& r) { r.set.sectors = count != 0; });
}

unsigned long long cudasim_calls(const char* function) {
  return locked([&](runtime& r) {
    unsigned long long sum = 0;
    for (const auto& [name, count] : r.counts.calls) {
      sum += function == nullptr || name == function ? count : 0;
    }
    if (function != nullptr) {
      const auto found = r.counts.context_calls.find(function);
      sum += found == r.counts.context_calls.end() ? 0 : found->second;
    }
    return sum;
  });
}

unsigned cudasim_contexts(int device) {
  return locked([&](runtime&) { return contexts_on(device); });
}

struct cudasim_counts cudasim_get_counts(void) {
  return locked([](runtime& r) {
    const counters& c = r.counts;
    return cudasim_counts{c.launches,      c.copies,          c.bytes_to_device,
                          c.bytes_to_host, c.bytes_on_device, c.bytes_filled};
  });
}

struct cudasim_kernel_counts cudasim_get_kernel_counts(const char* part) {
  return locked([&](runtime& r) {
    cudasim_kernel_counts sum{};
    for (const auto& [name, of] : r.counts.kernels) {
      if (part == nullptr || name.find(part) != std::string::npos) {
        sum.launches += of.launches;
        sum.thread_instructions += of.done.thread_instructions;
        sum.atomics += of.done.atomics;
        sum.sectors_read += of.done.sectors_read;
        sum.sectors_written += of.done.sectors_written;
      }
    }
    return sum;
  });
}

void cudasim_reset_counts(void) {
  locked([](runtime& r) { r.counts = {}; });
}

}  // extern "C"
