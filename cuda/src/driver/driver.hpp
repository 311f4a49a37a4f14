// SPDX-License-Identifier: Apache-2.0
//
// driver: the CUDA runtime as the backend sees it, for one GPU. Each function is one call of the
// runtime with what belongs to it: the GPU's context made current and the thread's own restored,
// stream capture of other threads left in peace, the runtime's code translated into a status,
// the thread's last error cleared of what we caused, and the call counted. No memory is kept here.
//
// A sticky error (the context is gone) is remembered: from then on every function answers
// device_lost and calls nobody. Thread safety: every function from any thread. No function throws.
#pragma once

#include "driver/context.hpp"
#include "driver/peers.hpp"
#include <tidepool/result.hpp>
#include <tidepool/stream.hpp>

#include <cuda_runtime_api.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>

namespace tidepool {
inline namespace v0 {
namespace cuda {

/// What a stream is doing, as far as it matters for recording and waiting.
enum class capture_state : std::uint8_t {
  none,      ///< work may be enqueued
  captures,  ///< what is enqueued goes into a graph
  blocked,   ///< the legacy stream, while a stream that it would wait for captures
};

struct physical_memory {
  std::size_t free_bytes = 0;
  std::size_t total_bytes = 0;
};

/// While it lives, the calling thread may make calls (allocations, queries, waits) that would
/// otherwise fail during a capture elsewhere in the process, or end that capture. They enter no
/// graph.
class outside_captures {
 public:
  outside_captures() noexcept;
  ~outside_captures();
  outside_captures(const outside_captures&) = delete;
  outside_captures& operator=(const outside_captures&) = delete;

 private:
  cudaStreamCaptureMode previous_ = cudaStreamCaptureModeRelaxed;
  bool is_exchanged_;
};

class driver {
 public:
  driver(const driver&) = delete;
  driver& operator=(const driver&) = delete;
  ~driver();
  /// Errors: backend_unavailable (no driver, too old a driver, no GPU), unknown_device.
  [[nodiscard]] static result<std::unique_ptr<driver>> open(std::uint16_t ordinal) noexcept;

  [[nodiscard]] int ordinal() const noexcept { return ordinal_; }
  [[nodiscard]] std::string_view name() const noexcept { return name_.data(); }
  [[nodiscard]] std::size_t total_bytes() const noexcept { return total_bytes_; }
  [[nodiscard]] int attribute(cudaDeviceAttr which) noexcept;  // 0 where it cannot be asked
  /// GPUs that the process sees.
  [[nodiscard]] int gpu_count() const noexcept { return gpu_count_; }
  /// The GPUs that may access this one's memory.
  [[nodiscard]] const peer_list& peers() const noexcept { return peers_; }
  // Called while the backend is made, before other threads know the driver.
  void set_peers(const peer_list& chosen) noexcept { peers_ = chosen; }
  void leave_out(int peer) noexcept { peers_.remove(peer); }
  /// Does the hardware let the other GPU access this one's memory?
  [[nodiscard]] result<bool> can_be_reached_from(int other) noexcept;
  [[nodiscard]] std::uint64_t calls() const noexcept {
    return calls_.load(std::memory_order_relaxed);
  }
  /// Also in a forked child: no CUDA call is made there.
  [[nodiscard]] bool is_lost() const noexcept {
    return lost_.load(std::memory_order_relaxed) != 0 || is_forked();
  }
  /// The answer of every function once the device is lost. Pre: is_lost().
  [[nodiscard]] status lost() const noexcept;

  // How calls are made, here and in files that have calls of their own. `call` answers cudaError_t;
  // `text` is static and says what failed.
  /// Translates and counts one call that was made.
  [[nodiscard]] status answer(cudaError_t error, const char* text) noexcept;
  // The GPU's context is the calling thread's current one meanwhile, for each of them: a call about
  // a handle alone would otherwise make a context of GPU 0 on a thread that has none. If it cannot
  // be made current, the call is not made at all.
  /// For calls that no capture may record or refuse.
  template <class F>
  [[nodiscard]] status on_device(const char* text, F call) noexcept {
    if (is_lost()) {
      return lost();
    }
    return answer(in_context([&]() noexcept {
                    const outside_captures relaxed;
                    return call();
                  }),
                  text);
  }
  /// For calls that enqueue into a stream or ask about one. A capture may record or refuse them.
  template <class F>
  [[nodiscard]] status in_stream(const char* text, F call) noexcept {
    return is_lost() ? lost() : answer(in_context(call), text);
  }

  [[nodiscard]] result<physical_memory> memory() noexcept;

  // Streams. Handles cudaStreamLegacy and cudaStreamPerThread mean this GPU's, and the calling
  // thread's.
  /// Pre: the stream's state is not captures: the question would end the capture without a graph.
  [[nodiscard]] result<std::uint64_t> stream_id(cudaStream_t stream) noexcept;
  /// The same for a stream that is seen for the first time. Error: invalid_argument, for a stream
  /// of another GPU: an event of this one cannot be recorded there.
  [[nodiscard]] result<std::uint64_t> id_of_new_stream(const stream_ref& stream) noexcept;
  [[nodiscard]] result<capture_state> state_of(cudaStream_t stream) noexcept;
  /// The number of the capture that the stream takes part in; 0: of none, or of one that is spoilt.
  [[nodiscard]] result<std::uint64_t> capture_of(cudaStream_t stream) noexcept;
  /// For checks: the call is not counted, and the answer is false if the driver gives none.
  [[nodiscard]] bool is_capturing(cudaStream_t stream) const noexcept;
  /// Likewise: is the handle that of another stream than the one with this number? Pre: the
  /// stream's state is none.
  [[nodiscard]] bool is_recycled(cudaStream_t stream, std::uint64_t id) const noexcept;
  /// Error: stream_captures.
  [[nodiscard]] status synchronise(cudaStream_t stream) noexcept;
  [[nodiscard]] status synchronise_device() noexcept;
  /// A stream that does not wait for the legacy default stream.
  [[nodiscard]] result<cudaStream_t> make_stream() noexcept;
  [[nodiscard]] status destroy_stream(cudaStream_t stream) noexcept;

  // Events, without timing.
  [[nodiscard]] result<cudaEvent_t> make_event() noexcept;
  [[nodiscard]] status destroy_event(cudaEvent_t event) noexcept;
  /// Pre: the stream's state is none.
  [[nodiscard]] status record(cudaEvent_t event, cudaStream_t stream) noexcept;
  [[nodiscard]] result<bool> is_done(cudaEvent_t event) noexcept;
  [[nodiscard]] status wait_on_host(cudaEvent_t event) noexcept;
  /// Pre: the stream's state is none.
  [[nodiscard]] status wait(cudaStream_t stream, cudaEvent_t event) noexcept;

  // Memory.
  [[nodiscard]] result<void*> allocate(std::size_t bytes) noexcept;
  [[nodiscard]] status release(void* data) noexcept;
  [[nodiscard]] result<cudaMemPool_t> make_pool() noexcept;
  /// Lets another GPU access all memory of the pool.
  [[nodiscard]] status open_to(int peer, cudaMemPool_t pool) noexcept;
  [[nodiscard]] status destroy_pool(cudaMemPool_t pool) noexcept;
  [[nodiscard]] result<void*> allocate(cudaMemPool_t pool, std::size_t bytes,
                                       cudaStream_t stream) noexcept;
  [[nodiscard]] status release(void* data, cudaStream_t stream) noexcept;
  [[nodiscard]] status trim(cudaMemPool_t pool) noexcept;
  /// Bytes of the GPU's memory that the pool holds, handed out or not.
  [[nodiscard]] result<std::size_t> reserved_by(cudaMemPool_t pool) noexcept;

  /// Between memory of any GPUs and of the host. Memory of two GPUs may be out of reach for each
  /// other.
  [[nodiscard]] status copy(void* dst, const void* src, std::size_t bytes,
                            cudaStream_t stream) noexcept;
  [[nodiscard]] status fill(void* dst, std::uint8_t value, std::size_t bytes,
                            cudaStream_t stream) noexcept;

 private:
  explicit driver(int ordinal) noexcept;
  [[nodiscard]] bool is_forked() const noexcept;

  [[nodiscard]] status open_context() noexcept;
  /// Asks without counting. False: the driver gives no answer.
  template <class F>
  [[nodiscard]] bool answers(F question) const noexcept;
  [[nodiscard]] result<int> gpu_of(const void* data) noexcept;
  template <class F>
  [[nodiscard]] cudaError_t in_context(F call) const noexcept {
    const current_context here(context_);
    return here.error() == cudaSuccess ? call() : here.error();
  }

  const int ordinal_;
  const unsigned forks_at_opening_;
  primary_context context_;
  std::array<char, 256> name_{};
  std::size_t total_bytes_ = 0;
  int gpu_count_ = 1;
  peer_list peers_;
  std::atomic<std::uint64_t> calls_{0};
  std::atomic<int> lost_{0};  // the sticky error
};

/// The runtime's handle of a stream of ours: none and legacy are the legacy default stream.
[[nodiscard]] cudaStream_t handle_of(const stream_ref& stream) noexcept;

}  // namespace cuda
}  // namespace v0
}  // namespace tidepool
