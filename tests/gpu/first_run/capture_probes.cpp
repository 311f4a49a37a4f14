// SPDX-License-Identifier: Apache-2.0
//
// Probes of captures: what may be asked of a stream that captures, forks and joins, captures
// against other threads, and a first launch within one.
#include "../../cuda/touch.hpp"
#include "kernels.hpp"
#include "probe.hpp"
#include <tidepool/control.hpp>
#include <tidepool/graph.hpp>

#include <cuda.h>

#include <array>
#include <atomic>
#include <thread>

namespace tidepool::first_run {

namespace {

struct mode {
  const char* name;
  cudaStreamCaptureMode value;
};
constexpr std::array modes{mode{"global", cudaStreamCaptureModeGlobal},
                           mode{"thread_local", cudaStreamCaptureModeThreadLocal},
                           mode{"relaxed", cudaStreamCaptureModeRelaxed}};

[[nodiscard]] bool ends_well(cudaStream_t stream) {
  cudaGraph_t graph = nullptr;
  const cudaError_t error = cudaStreamEndCapture(stream, &graph);
  if (graph != nullptr) {
    static_cast<void>(cudaGraphDestroy(graph));
  }
  static_cast<void>(cudaGetLastError());
  return error == cudaSuccess && graph != nullptr;
}

cudaError_t ask_id(cudaStream_t of) {
  unsigned long long id = 0;
  return cudaStreamGetId(of, &id);
}
cudaError_t ask_context(cudaStream_t of) {
  CUcontext context = nullptr;
  const auto ask = reinterpret_cast<decltype(&cuStreamGetCtx)>(driver_function("cuStreamGetCtx"));
  return ask == nullptr ? cudaErrorSymbolNotFound : static_cast<cudaError_t>(ask(of, &context));
}
cudaError_t ask_state(cudaStream_t of) {
  cudaStreamCaptureStatus now{};
  return cudaStreamIsCapturing(of, &now);
}
struct question {
  const char* name;
  cudaError_t (*ask)(cudaStream_t);
};
constexpr std::array questions{question{"get_id", ask_id}, question{"get_context", ask_context},
                               question{"is_capturing", ask_state}};

// 1 means that the capture survived the question. Nothing but is_capturing has to.
void capture_questions(findings& found) {
  const stream captured;
  const stream other;
  for (const mode& how : modes) {
    for (const question& what : questions) {
      for (const bool is_relaxed : {false, true}) {
        for (const bool is_own : {true, false}) {
          found.expect(cudaStreamBeginCapture(captured.get(), how.value), "begin");
          cudaError_t error = cudaSuccess;
          std::thread([&] {
            cudaStreamCaptureMode exchanged = cudaStreamCaptureModeRelaxed;
            if (is_relaxed) {
              static_cast<void>(cudaThreadExchangeStreamCaptureMode(&exchanged));
            }
            error = what.ask(is_own ? captured.get() : other.get());
          }).join();
          const bool is_sound = ends_well(captured.get());
          found.number(std::string(what.name) + "." + how.name + (is_relaxed ? ".exchanged" : "") +
                           (is_own ? ".same_stream" : ".other_stream"),
                       is_sound ? 1 : 0);
          found.expect(is_sound || what.ask != ask_state, "IsCapturing ends a capture");
          // With the mode exchanged, and of another stream: this is what the backend does.
          found.expect((is_sound && error == cudaSuccess) || !is_relaxed || is_own,
                       "a relaxed question about another stream is refused");
        }
      }
    }
  }
}

void replay_twice(findings& found, cudaGraph_t graph, cudaStream_t in) {
  cudaGraphExec_t exec = nullptr;
  found.expect(cudaGraphInstantiate(&exec, graph, 0), "instantiate");
  found.expect(cudaGraphLaunch(exec, in), "launch");
  found.expect(cudaGraphLaunch(exec, in), "launch");
  found.expect(cudaStreamSynchronize(in), "replay");
  found.expect(cudaGraphExecDestroy(exec), "destroy");
  found.expect(cudaGraphDestroy(graph), "destroy");
}

void order(cudaStream_t earlier, cudaStream_t later) {
  cudaEvent_t event = nullptr;
  static_cast<void>(cudaEventCreateWithFlags(&event, cudaEventDisableTiming));
  static_cast<void>(cudaEventRecord(event, earlier));
  static_cast<void>(cudaStreamWaitEvent(later, event, 0));
  static_cast<void>(cudaEventDestroy(event));
}

void fork_join(findings& found) {
  test::load_kernels();
  const std::unique_ptr<pool> p = make_pool();
  const device gpu = device::cuda(0);
  const stream a(p.get());
  const stream b(p.get());
  static_cast<void>(p->attach(gpu, b.ref()));
  tensor wrong = p->allocate(sizeof(unsigned), gpu);
  auto* const wrong_words = static_cast<unsigned*>(wrong.data());
  found.expect(cudaMemset(wrong_words, 0, sizeof(unsigned)), "memset");
  graph_arena arena(*p, gpu);
  cudaGraph_t graph = nullptr;
  {
    const capture_scope scope(arena, a.ref());
    found.expect(cudaStreamBeginCapture(a.get(), cudaStreamCaptureModeGlobal), "begin");
    for (unsigned i = 0; i < 4; ++i) {
      tensor t = p->allocate(mib, gpu, {.stream = a.ref()});
      auto* const words = static_cast<unsigned*>(t.data());
      test::launch_fill(words, 1024, i, a.get());
      order(a.get(), b.get());
      test::launch_check(words, 1024, i, wrong_words, b.get());
      found.expect(p->record_use(t.id(), b.ref()) == errc::ok, "record_use in a capture");
    }
    order(b.get(), a.get());
    found.expect(cudaStreamEndCapture(a.get(), &graph), "the capture's end");
  }
  if (graph != nullptr) {
    replay_twice(found, graph, a.get());
  }
  unsigned count = 1;
  found.expect(cudaMemcpy(&count, wrong_words, sizeof count, cudaMemcpyDefault), "copy");
  found.expect(count == 0, "wrong words after a replay");
  found.number("wrong_words", count);
  arena.reset(a.ref());
}

// Two threads capture, two others do all that asks streams.
void capture_loop(findings& found) {
  const std::unique_ptr<pool> p = make_pool();
  const device gpu = device::cuda(0);
  static_cast<void>(p->control().set_limits(gpu, {.hard = 96 * mib}));
  const unsigned captures = is_simulated() ? 20 : 5000;
  std::atomic<unsigned> capturing{2};
  std::atomic<unsigned> spoilt{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 2; ++i) {
    threads.emplace_back([&] {
      const stream own(p.get());
      graph_arena arena(*p, gpu);
      for (unsigned n = 0; n < captures; ++n) {
        p->allocate(4 * mib, gpu, {.stream = own.ref()}).reset();
        const capture_scope scope(arena, own.ref());
        if (cudaStreamBeginCapture(own.get(), cudaStreamCaptureModeGlobal) != cudaSuccess) {
          continue;
        }
        p->allocate(mib, gpu, {.stream = own.ref()}).reset();
        spoilt += ends_well(own.get()) ? 0 : 1;
      }
      arena.reset(own.ref());
      --capturing;
    });
    threads.emplace_back([&] {
      const stream own(p.get());
      while (capturing != 0) {
        std::vector<tensor> held;
        while (result<tensor> made = p->try_allocate(8 * mib, gpu, {.stream = own.ref()})) {
          held.push_back(std::move(*made));
        }
        held.clear();
        p->control().tick();
        static_cast<void>(p->control().trim());
      }
    });
  }
  for (std::thread& each : threads) {
    each.join();
  }
  found.number("captures", 2.0 * captures);
  found.number("spoilt", spoilt);
  found.expect(spoilt == 0, "a capture ended without a graph");
}

void first_launch(findings& found) {
  void* word = nullptr;
  found.expect(cudaMalloc(&word, sizeof(unsigned)), "cudaMalloc");
  const stream captured;
  found.expect(cudaStreamBeginCapture(captured.get(), cudaStreamCaptureModeGlobal), "begin");
  launch_late(static_cast<unsigned*>(word), captured.get());
  const cudaError_t error = cudaGetLastError();
  const bool is_sound = ends_well(captured.get());
  found.number("launch_error", error);
  found.number("survived", is_sound ? 1 : 0);
  found.note(is_sound ? "a kernel may be launched first in a capture"
                      : "kernels have to be loaded before a capture");
  found.expect(cudaFree(word), "cudaFree");
}

constexpr std::array probes{
    probe{"capture_questions", "which questions end a capture, by mode and thread (D1)",
          capture_questions},
    probe{"fork_join", "does a captured fork and join replay with the right contents (D2)",
          fork_join},
    probe{"capture_loop", "do ticks, trims and misses of others spoil captures (D7)", capture_loop},
    probe{"first_launch", "may a kernel be launched first in a global capture", first_launch}};

}  // namespace

std::span<const probe> capture_probes() {
  return probes;
}

}  // namespace tidepool::first_run
