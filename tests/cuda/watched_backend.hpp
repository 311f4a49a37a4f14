// SPDX-License-Identifier: Apache-2.0
//
// watched_backend: a backend that tells cudasim which calls are its own, so that those of the test
// around it are not taken for them when another thread's capture is spoilt (cudasim_watch). It
// forwards everything; on a real runtime that is all it does. Thread-safe as the backend is.
#pragma once

#include "../cudasim/include/cudasim.h"
#include <tidepool/backend.hpp>
#include <tidepool/cuda/backend.hpp>

#include <memory>
#include <utility>

namespace tidepool::test {

/// While it lives, calls of this thread are those of the code under test.
class watched_calls {
 public:
  explicit watched_calls(bool is_watched = true) noexcept
      : before_(cudasim_is_present() != 0 ? cudasim_watch(is_watched ? 1 : 0) : 0) {}
  ~watched_calls() {
    if (cudasim_is_present() != 0) {
      (void)cudasim_watch(before_);
    }
  }
  watched_calls(const watched_calls&) = delete;
  watched_calls& operator=(const watched_calls&) = delete;

 private:
  const int before_;
};

/// From here to the test's end, other threads capture nothing: the end of a pool, and a trim while
/// work of unknown streams is under way, may wait for the whole device, which no capture survives.
inline void end_foreign_captures() noexcept {
  if (cudasim_is_present() != 0) {
    cudasim_set_foreign_captures(0);
  }
}

class watched_backend final : public backend {
 public:
  explicit watched_backend(std::unique_ptr<backend> wrapped) noexcept
      : wrapped_(std::move(wrapped)) {}
  ~watched_backend() override {
    const watched_calls watched;
    wrapped_.reset();
  }

  [[nodiscard]] std::span<const device_description> devices() const noexcept override {
    return wrapped_->devices();
  }
  void attach(backend_host& host) noexcept override { wrapped_->attach(host); }
  [[nodiscard]] refill_result refill(const block_request& request,
                                     std::span<block> blocks) noexcept override {
    const watched_calls watched;
    return wrapped_->refill(request, blocks);
  }
  [[nodiscard]] result<block> allocate_large(const block_request& request) noexcept override {
    const watched_calls watched;
    return wrapped_->allocate_large(request);
  }
  void take_back(device where, std::span<const block> blocks, stream_ref stream) noexcept override {
    const watched_calls watched;
    wrapped_->take_back(where, blocks, stream);
  }
  void take_back_after(device where, const block& what,
                       std::span<const stream_ref> streams) noexcept override {
    const watched_calls watched;
    wrapped_->take_back_after(where, what, streams);
  }
  [[nodiscard]] result<std::uint64_t> stream_id(device where,
                                                const stream_ref& stream) noexcept override {
    const watched_calls watched;
    return wrapped_->stream_id(where, stream);
  }
  void retire(device where, const stream_ref& stream) noexcept override {
    const watched_calls watched;
    wrapped_->retire(where, stream);
  }
  void set_capture_scope(device where, const stream_ref& stream, bool is_open) noexcept override {
    const watched_calls watched;
    wrapped_->set_capture_scope(where, stream, is_open);
  }
  [[nodiscard]] status order(device where, const stream_ref& earlier,
                             const stream_ref& later) noexcept override {
    const watched_calls watched;
    return wrapped_->order(where, earlier, later);
  }
  [[nodiscard]] bool is_capturing(device where, const stream_ref& stream) const noexcept override {
    const watched_calls watched;
    return wrapped_->is_capturing(where, stream);
  }
  [[nodiscard]] bool is_recycled(device where, const stream_ref& stream,
                                 std::uint64_t id) const noexcept override {
    const watched_calls watched;
    return wrapped_->is_recycled(where, stream, id);
  }
  std::size_t trim(device where, std::size_t keep_bytes) noexcept override {
    const watched_calls watched;
    return wrapped_->trim(where, keep_bytes);
  }
  std::size_t decay(device where) noexcept override {
    const watched_calls watched;
    return wrapped_->decay(where);
  }
  [[nodiscard]] memory_info memory(device where) const noexcept override {
    const watched_calls watched;
    return wrapped_->memory(where);
  }
  [[nodiscard]] result<std::size_t> extend(device where, const block& what,
                                           std::size_t bytes) noexcept override {
    const watched_calls watched;
    return wrapped_->extend(where, what, bytes);
  }
  std::size_t populate(device where, std::span<const block> blocks,
                       unsigned threads) noexcept override {
    const watched_calls watched;
    return wrapped_->populate(where, blocks, threads);
  }
  [[nodiscard]] status copy(device where, void* dst, const void* src, std::size_t bytes,
                            stream_ref stream) noexcept override {
    const watched_calls watched;
    return wrapped_->copy(where, dst, src, bytes, stream);
  }
  [[nodiscard]] status fill(device where, void* dst, std::uint8_t value, std::size_t bytes,
                            stream_ref stream) noexcept override {
    const watched_calls watched;
    return wrapped_->fill(where, dst, value, bytes, stream);
  }
  [[nodiscard]] status prefetch(device where, std::span<const std::byte> range, device target,
                                stream_ref stream) noexcept override {
    const watched_calls watched;
    return wrapped_->prefetch(where, range, target, stream);
  }
  [[nodiscard]] status advise(device where, std::span<const std::byte> range,
                              const advice_request& request) noexcept override {
    const watched_calls watched;
    return wrapped_->advise(where, range, request);
  }
  [[nodiscard]] status synchronise(device where, stream_ref stream) noexcept override {
    const watched_calls watched;
    return wrapped_->synchronise(where, stream);
  }
  [[nodiscard]] const access_kernels* kernels_for_access() const noexcept override {
    return wrapped_->kernels_for_access();
  }
  [[nodiscard]] const char* verify() const noexcept override {
    const watched_calls watched;
    return wrapped_->verify();
  }

 private:
  std::unique_ptr<backend> wrapped_;
};

/// The CUDA backend, watched.
[[nodiscard]] inline result<std::unique_ptr<backend>> try_make_watched(
    const cuda::backend_options& options = {}) {
  const watched_calls watched;
  result<std::unique_ptr<backend>> made = cuda::try_make_backend(options);
  if (!made) {
    return made;
  }
  return std::unique_ptr<backend>(new watched_backend(std::move(*made)));
}

}  // namespace tidepool::test
