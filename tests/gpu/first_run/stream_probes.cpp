// SPDX-License-Identifier: Apache-2.0
//
// Probes of streams: handles that come again, destroyed ones, a full queue, several GPUs, and what
// a miss costs.
#include "../../cuda/touch.hpp"
#include "kernels.hpp"
#include "probe.hpp"
#include <tidepool/control.hpp>
#include <tidepool/cuda/stream.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <thread>

namespace tidepool::first_run {

namespace {

const device gpu = device::cuda(0);

void recycled_handle(findings& found) {
  test::load_kernels();
  const std::unique_ptr<pool> p = make_pool();
  static_cast<void>(p->control().set_limits(gpu, {.hard = 64 * mib}));
  tensor wrong = p->allocate(sizeof(unsigned), gpu);
  auto* const wrong_words = static_cast<unsigned*>(wrong.data());
  found.expect(cudaMemset(wrong_words, 0, sizeof(unsigned)), "memset");
  cudaStream_t first = nullptr;
  found.expect(cudaStreamCreateWithFlags(&first, cudaStreamNonBlocking), "create");
  {
    const tensor t = p->allocate(48 * mib, gpu, {.stream = cuda::stream(first)});
    if (!is_simulated()) {
      launch_busy(50, first);
    }
    test::launch_fill(static_cast<unsigned*>(t.data()), 1024, 7, first);
  }
  found.expect(cudaStreamDestroy(first), "destroy");
  std::vector<cudaStream_t> made(1);
  do {
    found.expect(cudaStreamCreateWithFlags(&made.back(), cudaStreamNonBlocking), "create");
    made.push_back(nullptr);
  } while (made[made.size() - 2] != first && made.size() < 4096);
  made.pop_back();
  const bool came_again = made.back() == first;
  found.number("streams_until_it_came_again", came_again ? static_cast<double>(made.size()) : 0);
  const cudaStream_t next = made.back();
  {
    const result<tensor> t = p->try_allocate(48 * mib, gpu, {.stream = cuda::stream(next)});
    found.expect(t.has_value(), t ? "" : to_string(t.error()));
    if (t) {
      auto* const words = static_cast<unsigned*>(t->data());
      test::launch_fill(words, 1024, 8, next);
      if (!is_simulated()) {
        launch_busy(60, next);
      }
      test::launch_check(words, 1024, 8, wrong_words, next);
    }
    found.expect(cudaDeviceSynchronize(), "wait");
  }
  unsigned count = 1;
  found.expect(cudaMemcpy(&count, wrong_words, sizeof count, cudaMemcpyDefault), "copy");
  found.number("wrong_words", count);
  found.note(came_again ? "the handle came again" : "no handle came again");
  static_cast<void>(p->retire(gpu, cuda::stream(next)));
  for (const cudaStream_t each : made) {
    static_cast<void>(cudaStreamDestroy(each));
  }
}

void destroyed_handle(findings& found) {
  cudaStream_t gone = nullptr;
  cudaEvent_t event = nullptr;
  found.expect(cudaStreamCreateWithFlags(&gone, cudaStreamNonBlocking), "create");
  found.expect(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), "create");
  found.expect(cudaStreamDestroy(gone), "destroy");
  cudaStreamCaptureStatus now{};
  found.number("is_capturing", cudaStreamIsCapturing(gone, &now));
  found.number("event_record", cudaEventRecord(event, gone));
  found.number("stream_query", cudaStreamQuery(gone));
  static_cast<void>(cudaGetLastError());
  static_cast<void>(cudaEventDestroy(event));
}

// The host function at the queue's head waits until another thread has been served.
void full_queue(findings& found) {
  test::load_kernels();
  const std::unique_ptr<pool> p = make_pool();
  const stream a(p.get());
  const stream b(p.get());
  struct shared_state {
    tensor held;
    std::atomic<bool> is_open{false};
  } shared;
  shared.held = p->allocate(mib, gpu, {.stream = a.ref()});
  tensor t = p->allocate(mib, gpu, {.stream = a.ref()});
  found.expect(cudaLaunchHostFunc(
                   a.get(),
                   [](void* at) {
                     auto& state = *static_cast<shared_state*>(at);
                     state.is_open.wait(false);
                     state.held.reset();
                   },
                   &shared),
               "host function");
  std::thread other([&] {
    for (int i = 0; i < 200; ++i) {
      const result<tensor> made = p->try_allocate((1 + i % 7) * mib, gpu, {.stream = b.ref()});
      found.expect(made.has_value(), "an allocation beside a full queue");
    }
    shared.is_open = true;
    shared.is_open.notify_all();
  });
  double longest = 0;
  for (int i = 0; i < 2000; ++i) {
    longest = std::max(longest, microseconds_of([&] {
                         test::launch_fill(static_cast<unsigned*>(t.data()), 64, 1, a.get());
                       }));
  }
  other.join();
  found.expect(cudaStreamSynchronize(a.get()), "wait");
  found.number("longest_launch_microseconds", longest);
}

void several_gpus(findings& found) {
  int gpus = 0;
  static_cast<void>(cudaGetDeviceCount(&gpus));
  if (gpus < 2) {
    found.skip("this machine has one GPU");
    return;
  }
  const std::unique_ptr<pool> p = make_pool();
  found.expect(cudaSetDevice(1), "cudaSetDevice");
  const stream foreign;
  const result<tensor> refused = p->try_allocate(64 * mib, gpu, {.stream = foreign.ref()});
  found.expect(!refused && refused.error().code == errc::invalid_argument,
               "a stream of another GPU is served");
  int can = 0;
  found.expect(cudaDeviceCanAccessPeer(&can, 1, 0), "cudaDeviceCanAccessPeer");
  found.number("peer_access", can);
  for (const device where : {gpu, gpu.with(memory_kind::growable)}) {
    const result<tensor> t = p->try_allocate(4 * mib, where);
    if (!t) {
      continue;
    }
    test::launch_fill(static_cast<unsigned*>(t->data()), 1024, 3, foreign.get());
    const cudaError_t error = cudaStreamSynchronize(foreign.get());
    found.number(where == gpu ? "pool_from_peer" : "mapped_from_peer", error);
    found.expect(can == 0 || error == cudaSuccess, "a peer cannot reach the memory");
  }
}

void miss_latency(findings& found) {
  test::load_kernels();
  for (const unsigned busy : {1U, 8U, 64U}) {
    const std::unique_ptr<pool> p = make_pool();
    std::vector<std::unique_ptr<stream>> streams;
    std::vector<tensor> held;
    for (unsigned i = 0; i < busy; ++i) {
      streams.push_back(std::make_unique<stream>(p.get()));
      held.push_back(p->allocate(4 * mib, gpu, {.stream = streams.back()->ref()}));
      if (!is_simulated()) {
        launch_busy(100, streams.back()->get());
      }
    }
    held.clear();
    static_cast<void>(p->control().trim(gpu, SIZE_MAX));
    const stream own(p.get());
    std::vector<double> each;
    for (int i = 0; i < 20; ++i) {
      each.push_back(microseconds_of(
          [&] { held.push_back(p->allocate(8 * mib, gpu, {.stream = own.ref()})); }));
    }
    std::sort(each.begin(), each.end());
    found.number("miss_microseconds." + std::to_string(busy) + "_busy", each[each.size() / 2]);
    held.clear();
    const int pairs = is_simulated() ? 1000 : 1000000;
    const double all = microseconds_of([&] {
      for (int i = 0; i < pairs; ++i) {
        p->allocate(64 * kib, gpu, {.stream = own.ref()}).reset();
      }
    });
    found.number("warm_pair_nanoseconds." + std::to_string(busy) + "_busy", 1e3 * all / pairs);
    found.expect(cudaDeviceSynchronize(), "wait");
  }
}

constexpr std::array probes{
    probe{"recycled_handle",
          "is memory of a destroyed stream safe when its handle comes again (D4)", recycled_handle},
    probe{"destroyed_handle", "is a destroyed handle an error or a crash", destroyed_handle, false,
          true},
    probe{"full_queue", "does a full queue hold up other threads (D10)", full_queue, false},
    probe{"several_gpus", "streams and accesses of another GPU (D5, D6)", several_gpus},
    probe{"miss_latency", "what a miss costs with 1, 8 and 64 busy streams (D11)", miss_latency}};

}  // namespace

std::span<const probe> stream_probes() {
  return probes;
}

}  // namespace tidepool::first_run
