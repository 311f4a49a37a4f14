// SPDX-License-Identifier: Apache-2.0
//
// pool_core: the root behind a pool handle. It has six parts with their own state, locks and tests,
// and steps that use them. It lives until the handle and the last tensor are gone.
//
// Parts call downwards only: operation_count, lanes < incidents < directory < block_stock <
// thread_caches. Steps call parts and other steps; core/src/pool/README.md lists the file of each
// step.
//
// Lock order: observer mutex -> process mutex -> mutex of caches -> ready lists, lanes -> indexes
// -> slot table -> backend. Callbacks run with no lock held; only an observer runs with the
// observer mutex held, shared.
#pragma once

#include "cache/demand.hpp"
#include "pool/block_stock.hpp"
#include "pool/directory.hpp"
#include "pool/incidents.hpp"
#include "pool/lanes.hpp"
#include "pool/operation_count.hpp"
#include "pool/thread_caches.hpp"
#include <tidepool/backend.hpp>
#include <tidepool/debug.hpp>
#include <tidepool/observer.hpp>
#include <tidepool/options.hpp>
#include <tidepool/prewarm.hpp>
#include <tidepool/statistics.hpp>
#include <tidepool/tensor.hpp>
#include <tidepool/transfer.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

namespace tidepool {
inline namespace v0 {
namespace detail {

class access_store;
class debug_layer;
struct findings;

class alignas(cache_line) pool_core {
 public:
  // Hot: every warm operation reads these. Records and keys are the first members of their parts.
  std::ptrdiff_t gate = 0;       // offset_of_gate: this pool's entry in each thread's table
  std::uint32_t lane0_bits = 0;  // device of lane 0; never equal to a device when not plain enough
  detail::directory directory{lanes};
  detail::lanes lanes;

  operation_count operations;
  detail::incidents incidents;
  block_stock stock;
  thread_caches caches;
  std::unique_ptr<access_store> accesses;  // never null; see entries.hpp
  std::unique_ptr<debug_layer> debug;      // null: no debug mode is on
  const pool_options settings;
  pool_core* next_in_process = nullptr;  // guarded by process_mutex

  // Making (make.cpp) and closing (closing.cpp).
  [[nodiscard]] static result<pool_core*> make(std::vector<std::unique_ptr<backend>> backends,
                                               const pool_options& options) noexcept;
  /// Returns the number of live tensors; by force, of tensors that it ended. Idempotent.
  std::size_t close(close_mode how) noexcept;
  [[nodiscard]] bool is_closed() const noexcept { return operations.is_closed(); }
  /// Users hold ids only, so after a close by force no handle is dropped by itself.
  void has_no_handles() noexcept { has_handles_ = false; }
  void drop_handle() noexcept;
  /// Ends this thread's operation.
  void leave() noexcept;
  [[nodiscard]] bool forget_handle(record& slot, std::uint64_t id) noexcept;

  // fork (fork.cpp), with the process mutex held.
  void pause_for_fork() noexcept;
  void resume_after_fork() noexcept;
  void continue_in_child(bool has_barrier) noexcept;

  // Allocation: allocate.cpp, requests.cpp, obtain.cpp, climb.cpp.
  [[nodiscard]] raw_tensor allocate(allocation_request request) noexcept;
  [[nodiscard]] result<lane*> check_request(allocation_request& request) noexcept;
  /// Finds a free slot for the demand and counts it as an allocation; see obtain.cpp.
  [[nodiscard]] obtained obtain(const block_demand& demand, front_cache* cache) noexcept;
  [[nodiscard]] backend::refill_result climb(const block_demand& demand, std::span<record*> out,
                                             const status& why) noexcept;
  [[nodiscard]] status last_failure_on(device where, std::size_t bytes, errc code) const noexcept;

  // Free (free.cpp). `cache` is the calling thread's; null: it has none.
  errc deallocate(tensor_id id, const stream_ref& stream) noexcept;
  errc deallocate(tensor_id id, const stream_ref& stream, front_cache* cache) noexcept;
  errc report_misuse(misuse_kind kind, tensor_id id) noexcept;

  // References and parts (references.cpp, parts.cpp).
  errc retain(tensor_id id) noexcept;
  [[nodiscard]] result<void*> pin(tensor_id id) noexcept;
  errc unpin(tensor_id id) noexcept;
  [[nodiscard]] result<raw_tensor> adopt(void* data, std::size_t bytes, device where,
                                         const adopt_options& options) noexcept;
  [[nodiscard]] result<raw_tensor> slice(tensor_id parent_id, std::size_t offset,
                                         std::size_t bytes) noexcept;
  errc resize(tensor_id id, std::size_t bytes) noexcept;
  [[nodiscard]] result<raw_tensor> make_loose(lane& where, std::uint64_t key,
                                              const loose_tensor& what) noexcept;

  // Knowledge (knowledge.cpp).
  [[nodiscard]] result<tensor_id> find(const void* data) noexcept;
  [[nodiscard]] result<tensor_id> find(std::uint64_t key) noexcept;
  [[nodiscard]] result<name_id> intern(std::string_view text) noexcept;
  [[nodiscard]] std::string_view name(name_id id) noexcept;
  [[nodiscard]] result<category> add_category(std::string_view text,
                                              std::uint8_t priority) noexcept;
  errc set_lifecycle(tensor_id id, lifecycle state) noexcept;
  errc set_tag(tensor_id id, std::uint64_t mask, std::uint64_t value) noexcept;
  template <class F>
  errc change_header(tensor_id id, F&& f) noexcept {
    const errc why = directory.change_header(id, f);
    return why == errc::stale_id ? report_misuse(misuse_kind::stale_use, id) : why;
  }
  void notify_made(tensor_id id) noexcept;
  void notify_ended(tensor_id id) noexcept;

  // Streams (streams.cpp, stream_order.cpp). A lane is made at the stream's first use.
  [[nodiscard]] result<stream_ref> attach(device where, stream_ref stream) noexcept;
  errc retire(device where, const stream_ref& stream) noexcept;
  void retire_lane(lane& gone, const stream_ref& last) noexcept;
  void retire_recycled(lane& gone) noexcept;
  [[nodiscard]] result<lane*> lane_for(device_entry& device, const stream_ref& stream,
                                       front_cache* cache) noexcept;
  errc record_use(tensor_id id, const stream_ref& stream) noexcept;
  [[nodiscard]] static bool order(const lane& earlier, const lane& later) noexcept;
  /// Returns the lane in whose order a reference ends.
  [[nodiscard]] free_order order_of_free(record& slot, const stream_ref& stream,
                                         front_cache* cache) noexcept;
  void end_block(record& slot, const ended_block& how) noexcept;

  // Graphs (capture.cpp).
  [[nodiscard]] result<lane*> open_arena(device where) noexcept;
  void close_arena(lane& arena, const stream_ref& stream) noexcept;
  [[nodiscard]] result<lane*> begin_capture(lane& arena, const stream_ref& stream) noexcept;
  void end_capture(lane& stream) noexcept;
  [[nodiscard]] static std::size_t free_bytes_in(const lane& arena) noexcept;

  // Data (transfer.cpp).
  [[nodiscard]] status copy(const copy_request& request) noexcept;
  [[nodiscard]] status fill(tensor_id id, std::uint8_t value, const stream_ref& stream) noexcept;
  [[nodiscard]] status prefetch(tensor_id id, device to, const stream_ref& stream) noexcept;
  [[nodiscard]] status advise(tensor_id id, const advice_request& request) noexcept;
  [[nodiscard]] status synchronise(device where, const stream_ref& stream) noexcept;

  // Memory (memory.cpp, prewarm.cpp). A null device is the whole pool.
  std::size_t recall(bool reserves_too) noexcept;
  [[nodiscard]] trim_report trim(device_entry& where, std::size_t keep_bytes) noexcept;
  [[nodiscard]] trim_report trim(std::size_t keep_bytes) noexcept;
  trim_report set_limits(device_entry* where, const memory_limits& limits) noexcept;
  void reset_peaks() noexcept;
  void tick() noexcept;
  void thread_idle() noexcept;
  [[nodiscard]] memory_info memory(const device_entry& device) noexcept;
  [[nodiscard]] result<prewarm_report> prewarm(const prewarm_plan& plan) noexcept;

  // Observation (statistics.cpp, report.cpp, invariants.cpp). All but verify throw std::bad_alloc.
  [[nodiscard]] tidepool::statistics statistics();
  [[nodiscard]] pool_report make_report(const status& failure);
  void set_observer(allocation_observer* observer) noexcept;
  [[nodiscard]] const char* verify() noexcept;

  // Debug modes (debug_steps.cpp). Where debug is null the first four do nothing.
  std::size_t check_memory() noexcept;
  [[nodiscard]] tidepool::debug_counts debug_counts() noexcept;
  [[nodiscard]] footprint footprint_of(const device_entry& device,
                                       const footprint& asked) const noexcept;
  [[nodiscard]] std::optional<memory_damage> past_of(tensor_id id) noexcept;
  [[nodiscard]] leak_report leaks();
  // Pre: debug is not null, and no lock is held.
  void begin_checked(record& slot, tensor_id id, const footprint& asked) noexcept;
  void end_checked(record& slot, std::uint64_t bytes) noexcept;
  std::size_t shrink_quarantine(std::size_t keep_bytes) noexcept;
  std::size_t report_findings(const findings& all) noexcept;
  void report_at_close() noexcept;

 private:
  explicit pool_core(const pool_options& options);
  ~pool_core();
  [[nodiscard]] status open(std::vector<std::unique_ptr<backend>> backends);
  void destroy() noexcept;
  void finish_close() noexcept;
  [[nodiscard]] record* end_all() noexcept;

  unsigned tag_ = 0;
  std::atomic<std::size_t> ended_{0};  // tensors that force ended and close has not returned yet
  bool has_handles_ = true;
};

}  // namespace detail
}  // namespace v0
}  // namespace tidepool

#include "pool/operation.hpp"
