// SPDX-License-Identifier: Apache-2.0
//
// Probes of processes and threads: contexts, ends of threads and of the process, a reset by the
// application, a forked child.
#include "../../cuda/touch.hpp"
#include "probe.hpp"
#include <tidepool/control.hpp>

#include <cuda.h>

#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <thread>

namespace tidepool::first_run {

namespace {

const device gpu = device::cuda(0);
constexpr stream_ref own_default{.kind = stream_kind::per_thread};

// 1: the primary context exists; -1: it cannot be asked.
[[nodiscard]] int context_of(int ordinal) {
  const auto ask = reinterpret_cast<decltype(&cuDevicePrimaryCtxGetState)>(
      driver_function("cuDevicePrimaryCtxGetState"));
  unsigned flags = 0;
  int is_active = -1;
  return ask == nullptr || ask(ordinal, &flags, &is_active) != CUDA_SUCCESS ? -1 : is_active;
}

void contexts(findings& found) {
  int gpus = 0;
  found.expect(cudaGetDeviceCount(&gpus), "cudaGetDeviceCount");
  const std::unique_ptr<pool> p = make_pool();
  const auto current =
      reinterpret_cast<decltype(&cuCtxGetCurrent)>(driver_function("cuCtxGetCurrent"));
  std::thread([&] {
    CUcontext before = nullptr;
    CUcontext after = nullptr;
    found.expect(current != nullptr, "no cuCtxGetCurrent");
    if (current == nullptr) {
      return;
    }
    static_cast<void>(current(&before));
    for (const device_description& about : p->devices()) {
      p->allocate(8 * mib, about.where).reset();
    }
    p->control().tick();
    static_cast<void>(p->control().trim());
    static_cast<void>(current(&after));
    found.expect(before == nullptr, "a fresh thread has a context");
    found.expect(after == before, "a thread's current context is not what it was");
  }).join();
  for (int i = 0; i < gpus; ++i) {
    found.number("context_of_gpu_" + std::to_string(i), context_of(i));
    found.expect(i == 0 || context_of(i) != 1, "a context on a GPU that nobody asked for");
  }
}

void thread_ends(findings& found) {
  test::load_kernels();
  const std::unique_ptr<pool> p = make_pool();
  const int threads = is_simulated() ? 50 : 1000;
  for (int i = 0; i < threads; i += 10) {
    std::vector<std::thread> some;
    for (int t = 0; t < 10; ++t) {
      some.emplace_back([&] {
        const result<tensor> made = p->try_allocate(mib, gpu, {.stream = own_default});
        found.expect(made.has_value(), made ? "" : to_string(made.error()));
        if (made) {
          test::launch_fill(static_cast<unsigned*>(made->data()), 1024, 1, cudaStreamPerThread);
        }
      });
    }
    for (std::thread& each : some) {
      each.join();
    }
  }
  found.expect(cudaDeviceSynchronize(), "wait");
  static_cast<void>(p->control().trim());
  found.number("reserved_after_trim", static_cast<double>(p->control().memory(gpu).reserved_bytes));
  found.expect(p->control().verify() == nullptr, "the pool is damaged");
}

void reset_by_application(findings& found) {
  std::unique_ptr<pool> p = make_pool();
  tensor t = p->allocate(8 * mib, gpu);
  found.expect(cudaDeviceReset(), "cudaDeviceReset");
  const result<tensor> none = p->try_allocate(256 * mib, gpu);
  found.expect(!none && none.error().code == errc::device_lost,
               none ? "memory after a reset" : to_string(none.error()));
  t.reset();
  p.reset();
  const std::unique_ptr<pool> again = make_pool();
  found.expect(again->try_allocate(mib, gpu).has_value(), "no memory in a new pool");
}

void forked_child(findings& found) {
  std::unique_ptr<pool> p = make_pool();
  tensor t = p->allocate(8 * mib, gpu);
  const pid_t child = ::fork();
  if (child == 0) {
    const bool is_lost = !p->try_allocate(256 * mib, gpu);
    t.reset();
    static_cast<void>(p->control().trim());
    p.reset();
    ::_exit(is_lost ? 0 : 1);
  }
  int how = 0;
  found.expect(child > 0 && ::waitpid(child, &how, 0) == child, "fork");
  found.expect(WIFEXITED(how) && WEXITSTATUS(how) == 0, "the child did not end well");
  found.expect(p->try_allocate(64 * mib, gpu).has_value(), "no memory in the parent");
}

constexpr std::array probes{
    probe{"contexts", "which contexts exist, and what a thread's current one is (D3)", contexts},
    probe{"thread_ends", "do threads with work in flight end well (D16)", thread_ends},
    probe{"reset", "a reset by the application (D14, D16)", reset_by_application},
    probe{"fork", "a forked child that gives memory back (D16)", forked_child}};

}  // namespace

std::span<const probe> process_probes() {
  return probes;
}

}  // namespace tidepool::first_run
