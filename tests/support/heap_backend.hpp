// SPDX-License-Identifier: Apache-2.0
//
// heap_backend: the smallest backend there can be, over aligned_alloc. Every block is claimed and
// allocated by itself and goes back to the heap when it is taken back, so reserved bytes == bytes
// in blocks handed out, and ASan sees every use after the pool gave a block away. It remembers
// what it handed out, on which stream, and counts what comes back wrongly; calls can be refused.
// Thread-safe. For tests of any folder.
#pragma once

#include <tidepool/backend.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <map>
#include <mutex>
#include <span>
#include <utility>
#include <vector>

namespace tidepool::test {

/// What outlives the backend, for the test to look at.
struct heap_log {
  std::atomic<std::size_t> handed_out{0};     ///< blocks, now
  std::atomic<std::size_t> made{0};           ///< blocks, ever
  std::atomic<std::size_t> wrong_returns{0};  ///< blocks taken back that were not out as given
  std::atomic<std::int64_t> left{INT64_MAX};  ///< blocks until every further one is refused
  std::atomic<std::uint64_t> stream_ids{0};   ///< streams asked for their number

  // Of a stream-ordered backend.
  std::mutex mutex;
  std::map<void*, std::vector<stream_ref>> returned;      ///< last time, in the order of these
  std::vector<std::pair<stream_ref, stream_ref>> orders;  ///< earlier, later
  std::vector<stream_ref> retired;
  /// Called by refill and allocate_large before they begin, with no lock held; set it before use.
  std::function<void()> on_call;
};

class heap_backend final : public backend {
 public:
  explicit heap_backend(heap_log& log, device where = device::cpu(), std::size_t alignment = 64,
                        bool stream_ordered = false)
      : log_(log),
        description_{.where = where,
                     .name = "heap",
                     .alignment = alignment,
                     .stream_ordered = stream_ordered} {}
  heap_backend(const heap_backend&) = delete;
  heap_backend& operator=(const heap_backend&) = delete;
  ~heap_backend() override {
    for (const auto& [data, held] : out_) {
      std::free(data);
    }
  }

  /// Blocks handed out on the stream, now.
  [[nodiscard]] std::size_t blocks_on(const stream_ref& stream) const {
    const std::lock_guard lock(mutex_);
    std::size_t n = 0;
    for (const auto& [data, held] : out_) {
      n += held.stream == stream ? 1 : 0;
    }
    return n;
  }
  [[nodiscard]] bool was_for_capture(void* data) const {
    const std::lock_guard lock(mutex_);
    return out_.at(data).for_capture;
  }
  /// The stream that the block was asked for on. Pre: data is a block handed out.
  [[nodiscard]] stream_ref stream_of(void* data) const {
    const std::lock_guard lock(mutex_);
    return out_.at(data).stream;
  }

  [[nodiscard]] std::span<const device_description> devices() const noexcept override {
    return {&description_, 1};
  }
  void attach(backend_host& host) noexcept override { host_ = &host; }

  [[nodiscard]] refill_result refill(const block_request& request,
                                     std::span<block> blocks) noexcept override {
    tell();
    refill_result answer;
    for (; answer.count < blocks.size(); ++answer.count) {
      const result<block> one = make(request);
      if (!one) {
        answer.why = one.error();
        break;
      }
      blocks[answer.count] = *one;
    }
    return answer;
  }

  [[nodiscard]] result<block> allocate_large(const block_request& request) noexcept override {
    tell();
    return make(request);
  }

  void take_back(device /*where*/, std::span<const block> blocks,
                 stream_ref stream) noexcept override {
    give_back(blocks, {&stream, 1});
  }
  void take_back_after(device /*where*/, const block& what,
                       std::span<const stream_ref> streams) noexcept override {
    give_back({&what, 1}, streams);
  }
  [[nodiscard]] result<std::uint64_t> stream_id(device /*where*/,
                                                const stream_ref& stream) noexcept override {
    const std::lock_guard lock(mutex_);
    ++log_.stream_ids;
    return id_of(stream);
  }
  [[nodiscard]] bool is_recycled(device /*where*/, const stream_ref& stream,
                                 std::uint64_t id) const noexcept override {
    const std::lock_guard lock(mutex_);
    return id_of(stream) != id;
  }
  /// From now on the handle is that of another stream.
  void recycle(const stream_ref& stream) {
    const std::lock_guard lock(mutex_);
    ++recycled_[stream.handle];
  }
  /// As a backend that has just found out that the handle is another stream's.
  void refuse_until_retired(const stream_ref& stream) {
    const std::lock_guard lock(mutex_);
    refused_ = stream.handle;
  }
  void retire(device /*where*/, const stream_ref& stream) noexcept override {
    {
      const std::lock_guard lock(mutex_);
      refused_ = refused_ == stream.handle ? nullptr : refused_;
    }
    const std::lock_guard lock(log_.mutex);
    log_.retired.push_back(stream);
  }
  /// As if all streams captured from now on.
  void refuse_waits(bool refused) { refuses_waits_ = refused; }
  [[nodiscard]] status synchronise(device /*where*/, stream_ref /*stream*/) noexcept override {
    return refuses_waits_ ? status{.code = errc::stream_captures} : status{};
  }
  [[nodiscard]] status order(device /*where*/, const stream_ref& earlier,
                             const stream_ref& later) noexcept override {
    const std::lock_guard lock(log_.mutex);
    log_.orders.emplace_back(earlier, later);
    return {};
  }

 private:
  [[nodiscard]] std::uint64_t id_of(const stream_ref& stream) const noexcept {
    if (stream.kind == stream_kind::per_thread) {
      thread_local const char here = 0;
      return reinterpret_cast<std::uintptr_t>(&here);
    }
    const auto known = recycled_.find(stream.handle);
    return reinterpret_cast<std::uintptr_t>(stream.handle) +
           (known == recycled_.end() ? 0 : known->second);
  }
  void give_back(std::span<const block> blocks, std::span<const stream_ref> streams) noexcept {
    for (const block& b : blocks) {
      if (description_.stream_ordered) {
        const std::lock_guard lock(log_.mutex);
        log_.returned[b.data].assign(streams.begin(), streams.end());
      }
      {
        const std::lock_guard lock(mutex_);
        const auto known = out_.find(b.data);
        if (known == out_.end() || known->second.what.bytes != b.bytes ||
            known->second.what.cookie != b.cookie) {
          log_.wrong_returns.fetch_add(1);
          continue;
        }
        out_.erase(known);
        reserved_ -= b.bytes;
      }
      std::free(b.data);
      log_.handed_out.fetch_sub(1);
      host_->unclaim(description_.where, b.bytes);
    }
  }

 public:
  [[nodiscard]] std::size_t trim(device /*where*/, std::size_t /*keep*/) noexcept override {
    return 0;
  }

  [[nodiscard]] memory_info memory(device /*where*/) const noexcept override {
    const std::lock_guard lock(mutex_);
    return {.reserved_bytes = reserved_, .address_space_bytes = reserved_};
  }

  [[nodiscard]] const char* verify() const noexcept override {
    const std::lock_guard lock(mutex_);
    std::size_t sum = 0;
    for (const auto& [data, held] : out_) {
      sum += held.what.bytes;
    }
    return sum == reserved_ ? nullptr : "reserved bytes == sum of the blocks handed out";
  }

 private:
  struct handed_out {
    block what;
    stream_ref stream;
    bool for_capture;
  };
  void tell() const {
    if (log_.on_call) {
      log_.on_call();
    }
  }
  [[nodiscard]] result<block> make(const block_request& request) noexcept {
    const auto refused = [&](errc code) {
      return status{.code = code, .requested = request.bytes, .where = request.where};
    };
    if (!request.may_grow || log_.left.fetch_sub(1) <= 0) {
      return refused(errc::out_of_memory);
    }
    {
      const std::lock_guard lock(mutex_);
      if (refused_ != nullptr && refused_ == request.stream.handle) {
        return refused(errc::not_found);
      }
    }
    const std::size_t unit = description_.alignment;
    if (request.bytes > std::size_t{1} << 36) {  // sanitizers end the process instead
      return refused(errc::out_of_memory);
    }
    const std::size_t bytes = (request.bytes + unit - 1) / unit * unit;
    if (!host_->claim(description_.where, bytes)) {
      return refused(errc::over_budget);
    }
    const std::size_t rounded =
        (bytes + request.alignment - 1) / request.alignment * request.alignment;
    void* const data = std::aligned_alloc(request.alignment, rounded);
    if (data == nullptr) {
      host_->unclaim(description_.where, bytes);
      return refused(errc::out_of_memory);
    }
    const std::lock_guard lock(mutex_);
    const block made{data, bytes, log_.made.fetch_add(1) * 7919 + 1};
    out_.emplace(data, handed_out{made, request.stream, request.for_capture});
    reserved_ += bytes;
    log_.handed_out.fetch_add(1);
    return made;
  }

  heap_log& log_;
  device_description description_;
  backend_host* host_ = nullptr;
  std::atomic<bool> refuses_waits_{false};
  mutable std::mutex mutex_;
  std::map<void*, handed_out> out_;          // guarded by mutex_
  std::map<void*, std::uint64_t> recycled_;  // guarded by mutex_
  void* refused_ = nullptr;                  // guarded by mutex_
  std::size_t reserved_ = 0;                 // guarded by mutex_
};

}  // namespace tidepool::test
