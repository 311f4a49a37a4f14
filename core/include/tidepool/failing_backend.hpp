// SPDX-License-Identifier: Apache-2.0
//
// failing_backend: a backend around another one whose calls fail as ordered. Tests use it to see
// whether a program survives when the memory that it asks for is not there.
//
//   auto failing = std::make_unique<tidepool::failing_backend>(tidepool::cpu::make_backend());
//   tidepool::failing_backend& faults = *failing;  // valid as long as the pool
//   tidepool::pool pool{std::move(failing)};
//
//   load_model(pool);
//   faults.order({.refuse_growth = true});             // from here on: no more memory
//   EXPECT_FALSE(run_step(pool).ok());                 // answers, does not crash
//   faults.order({});                                  // and when there is memory again
//   EXPECT_TRUE(run_step(pool).ok());
//
//   // Every position: the n-th call fails, and all after it, so that no retry helps.
//   for (std::uint64_t n = 1; n <= calls_of_one_step; ++n) {
//     faults.order({.fail_from = n});
//     ...
//   }
//
// The pool asks again before it lets an allocation fail (core/src/pool/README.md), so a single
// failed call usually has no effect. Calls are counted from the last order().
//
// Thread safety: any thread may call all members at any time. Cost: one mutex per call, never on
// the warm path.
#pragma once

#include <tidepool/backend.hpp>
#include <tidepool/export.hpp>
#include <tidepool/result.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>

namespace tidepool {
inline namespace v0 {

/// The functions of a backend that may fail. trim and decay cannot fail, but may give nothing back.
enum class backend_call : std::uint8_t {
  refill = 0,
  allocate_large = 1,
  extend = 2,
  populate = 3,
  trim = 4,
  decay = 5,
  copy = 6,
  fill = 7,
  synchronise = 8,
  stream_id = 9,
  order = 10,
  prefetch = 11,
  advise = 12,
};
inline constexpr unsigned backend_call_count = 13;

/// The calls that fail: each one that any of these fields names. By default none fails.
struct failure_plan {
  /// Only calls of this kind count and fail by number or chance. No value: calls of all kinds do.
  std::optional<backend_call> only = std::nullopt;
  std::uint64_t fail_call = 0;   ///< the n-th call, from 1; 0: none
  std::uint64_t fail_from = 0;   ///< the n-th call and all after it; 0: none
  std::uint64_t fail_every = 0;  ///< each whose number this divides; 0: none
  double probability = 0;        ///< of each call, 0..1; the same calls for the same seed
  std::uint64_t seed = 1;
  /// A refill that fails hands out half of the blocks first.
  bool halfway = false;
  /// Most bytes in blocks handed out. Blocks handed out before the order count, too.
  std::size_t exhaust_at = SIZE_MAX;
  /// Use only memory that the backend already holds, as if every limit were reached.
  bool refuse_growth = false;
  /// The error of a failed call. After out_of_memory, over_budget and too_many the pool takes
  /// memory back and asks again.
  errc code = errc::out_of_memory;
};

class TIDEPOOL_EXPORT failing_backend final : public backend {
 public:
  /// Pre: inner is not null.
  explicit failing_backend(std::unique_ptr<backend> inner, const failure_plan& plan = {}) noexcept;
  ~failing_backend() override;

  /// Lets calls fail by this plan from now on, and counts calls from 1 again.
  void order(const failure_plan& plan) noexcept;
  /// Calls of one kind since the last order, failed ones included.
  [[nodiscard]] std::uint64_t calls(backend_call what) const noexcept;
  /// Calls that the plan counts, since the last order.
  [[nodiscard]] std::uint64_t calls() const noexcept;
  /// Calls that failed by the plan since the last order.
  [[nodiscard]] std::uint64_t failures() const noexcept;
  /// Bytes in blocks that the pool has now.
  [[nodiscard]] std::size_t handed_out_bytes() const noexcept;

  // The functions of backend: each call is forwarded, or fails.
  [[nodiscard]] std::span<const device_description> devices() const noexcept override;
  void attach(backend_host& host) noexcept override;
  [[nodiscard]] refill_result refill(const block_request& request,
                                     std::span<block> blocks) noexcept override;
  [[nodiscard]] result<block> allocate_large(const block_request& request) noexcept override;
  void take_back(device where, std::span<const block> blocks, stream_ref stream) noexcept override;
  void take_back_after(device where, const block& what,
                       std::span<const stream_ref> streams) noexcept override;
  [[nodiscard]] result<std::uint64_t> stream_id(device where,
                                                const stream_ref& stream) noexcept override;
  [[nodiscard]] bool is_capturing(device where, const stream_ref& stream) const noexcept override;
  [[nodiscard]] bool is_recycled(device where, const stream_ref& stream,
                                 std::uint64_t id) const noexcept override;
  void retire(device where, const stream_ref& stream) noexcept override;
  void set_capture_scope(device where, const stream_ref& stream, bool is_open) noexcept override;
  [[nodiscard]] status order(device where, const stream_ref& earlier,
                             const stream_ref& later) noexcept override;
  std::size_t trim(device where, std::size_t keep_bytes) noexcept override;
  std::size_t decay(device where) noexcept override;
  [[nodiscard]] memory_info memory(device where) const noexcept override;
  [[nodiscard]] result<std::size_t> extend(device where, const block& what,
                                           std::size_t bytes) noexcept override;
  std::size_t populate(device where, std::span<const block> blocks,
                       unsigned threads) noexcept override;
  [[nodiscard]] status copy(device where, void* dst, const void* src, std::size_t bytes,
                            stream_ref stream) noexcept override;
  [[nodiscard]] status fill(device where, void* dst, std::uint8_t value, std::size_t bytes,
                            stream_ref stream) noexcept override;
  [[nodiscard]] status prefetch(device where, std::span<const std::byte> range, device to,
                                stream_ref stream) noexcept override;
  [[nodiscard]] status advise(device where, std::span<const std::byte> range,
                              const advice_request& request) noexcept override;
  [[nodiscard]] status synchronise(device where, stream_ref stream) noexcept override;
  [[nodiscard]] const char* verify() const noexcept override;

 private:
  struct verdict {
    bool fails = false;
    bool halfway = false;
    errc code = errc::ok;
    bool may_grow = true;
    std::size_t set_aside = 0;  // bytes counted as handed out before the call
  };
  [[nodiscard]] verdict judge(backend_call what, std::size_t wanted) noexcept;
  void settle(const verdict& before, std::size_t handed_out) noexcept;

  const std::unique_ptr<backend> inner_;
  mutable std::mutex mutex_;
  failure_plan plan_;                                      // guarded by mutex_
  std::uint64_t random_ = 1;                               // guarded by mutex_
  std::array<std::uint64_t, backend_call_count> calls_{};  // guarded by mutex_
  std::uint64_t counted_ = 0;                              // guarded by mutex_
  std::uint64_t failures_ = 0;                             // guarded by mutex_
  std::size_t handed_out_ = 0;                             // guarded by mutex_: bytes
};

}  // namespace v0
}  // namespace tidepool
