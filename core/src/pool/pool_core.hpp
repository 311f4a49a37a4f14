// SPDX-License-Identifier: Apache-2.0
//
// pool_core: the state behind a pool handle. It lives until the handle and the last tensor are
// gone.
//
// One allocation, step by step, and in which file each step lives: core/README.md.
//
// Lock order: observer_mutex_ -> process_mutex -> registry_mutex_ -> ready lists, lanes -> indexes
// -> slot table -> backend. Callbacks run with none of them held but observer_mutex_, shared, for
// the observer's own.
#pragma once

#include "cache/demand.hpp"
#include "cache/front_cache.hpp"
#include "cache/latency_sampler.hpp"
#include "pool/directory.hpp"
#include "pool/incidents.hpp"
#include "pool/lanes.hpp"
#include "pool/operation_count.hpp"
#include <tidepool/backend.hpp>
#include <tidepool/debug.hpp>
#include <tidepool/observer.hpp>
#include <tidepool/options.hpp>
#include <tidepool/prewarm.hpp>
#include <tidepool/statistics.hpp>
#include <tidepool/tensor.hpp>
#include <tidepool/transfer.hpp>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <utility>
#include <vector>

namespace tidepool {
inline namespace v0 {
namespace detail {

class access_store;
class debug_layer;
struct findings;

class alignas(cache_line) pool_core {
 public:
  // Hot: read by every warm operation, written once.
  std::ptrdiff_t gate = 0;       // offset_of_gate: this pool's entry in each thread's table
  std::uint32_t lane0_bits = 0;  // device of lane 0; never equal to a device when not plain enough
  detail::directory directory{lanes};
  detail::lanes lanes;

  // Making and ending (lifetime.cpp).
  [[nodiscard]] static result<pool_core*> make(std::vector<std::unique_ptr<backend>> backends,
                                               const pool_options& options) noexcept;
  /// Orderly: live tensors left. By force: tensors ended. Idempotent.
  std::size_t close(close_mode how) noexcept;
  /// Tensors are numbers only: none is dropped by itself after a close by force.
  void has_no_handles() noexcept { has_handles_ = false; }
  /// The handle is gone: closes, and destroys at once or with the last tensor.
  void drop_handle() noexcept;
  [[nodiscard]] bool is_closed() const noexcept { return operations.is_closed(); }
  /// Registers a new cache; false when the pool is closed. Called by the cache's thread.
  [[nodiscard]] bool register_cache(front_cache& cache) noexcept;
  /// Takes everything out of a cache and forgets it. Pre: its thread is here, or it is closed.
  void unregister_cache(front_cache& cache) noexcept;
  [[nodiscard]] std::size_t cached_lanes() const noexcept { return options_.max_cached_lanes; }
  /// May threads find their cache through their table? Else through the slow path only.
  [[nodiscard]] bool has_gate() const noexcept { return has_gate_; }
  [[nodiscard]] bool threads_keep_blocks() const noexcept {
    return options_.thread_cache_bytes != 0 && options_.max_cached_lanes != 0;
  }

  operation_count operations;
  detail::incidents incidents;

  // fork (fork.cpp). Called by pool_list.cpp with the process mutex held.
  void pause_for_fork() noexcept;
  void resume_after_fork() noexcept;
  void continue_in_child(bool has_barrier) noexcept;
  [[nodiscard]] unsigned tag() const noexcept { return tag_; }
  pool_core* next_in_process = nullptr;  // guarded by process_mutex

  // Allocation (allocate.cpp, obtain.cpp).
  [[nodiscard]] raw_tensor allocate(allocation_request request) noexcept;
  [[nodiscard]] raw_tensor allocate_empty(const allocation_request& request, lane& where) noexcept;
  [[nodiscard]] obtained obtain(const block_demand& demand, front_cache* cache) noexcept;
  [[nodiscard]] status last_failure_on(device where, std::size_t bytes, errc code) const noexcept;

  // Free (free.cpp).
  errc deallocate(tensor_id id, const stream_ref& stream) noexcept;
  /// Tells what is known of the id. Pre: no lock is held.
  errc report_misuse(misuse_kind kind, tensor_id id) noexcept;

  // Parts and references (parts.cpp).
  errc retain(tensor_id id) noexcept;
  [[nodiscard]] result<raw_tensor> adopt(void* data, std::size_t bytes, device where,
                                         const adopt_options& options) noexcept;
  [[nodiscard]] result<raw_tensor> slice(tensor_id of, std::size_t offset,
                                         std::size_t bytes) noexcept;
  [[nodiscard]] result<void*> pin(tensor_id id) noexcept;
  errc unpin(tensor_id id) noexcept;
  errc resize(tensor_id id, std::size_t bytes) noexcept;

  // Knowledge (knowledge.cpp).
  [[nodiscard]] result<tensor_id> find(const void* data) noexcept;
  [[nodiscard]] result<tensor_id> find(std::uint64_t key) noexcept;
  [[nodiscard]] result<name_id> intern(std::string_view text) noexcept;
  [[nodiscard]] std::string_view name(name_id id) noexcept;
  [[nodiscard]] result<category> add_category(std::string_view text,
                                              std::uint8_t priority) noexcept;
  /// directory::change_header, which reports what is not alive.
  template <class F>
  errc change_header(tensor_id id, F&& f) noexcept {
    const errc why = directory.change_header(id, f);
    return why == errc::stale_id ? report_misuse(misuse_kind::stale_use, id) : why;
  }
  errc set_lifecycle(tensor_id id, lifecycle state) noexcept;
  errc set_tag(tensor_id id, std::uint64_t mask, std::uint64_t value) noexcept;
  std::unique_ptr<access_store> accesses;  // never null; see entries.hpp

  // Streams (streams.cpp).
  [[nodiscard]] result<stream_ref> attach(device where, stream_ref stream) noexcept;
  errc retire(device where, const stream_ref& stream) noexcept;
  /// The lane in whose order the stream works; made on first use.
  [[nodiscard]] result<lane*> lane_for(device_entry& device, const stream_ref& stream) noexcept;
  [[nodiscard]] result<lane*> home_for(device_entry& device, const stream_ref& stream) noexcept;
  /// Those of per-thread default streams of a thread that ends, which calls this.
  void retire_lanes_of(std::uint64_t thread) noexcept;
  errc record_use(tensor_id id, const stream_ref& stream) noexcept;

  // Graphs (capture.cpp).
  [[nodiscard]] result<lane*> open_arena(device where) noexcept;
  /// Pre: arena is open; its blocks are free in the order of the stream.
  void close_arena(lane& arena, const stream_ref& stream) noexcept;
  [[nodiscard]] result<lane*> begin_capture(lane& arena, const stream_ref& stream) noexcept;
  void end_capture(lane& stream) noexcept;
  [[nodiscard]] static std::size_t free_bytes_in(const lane& arena) noexcept;

  // Data (transfer.cpp).
  [[nodiscard]] status read_live(tensor_id id, tensor_info& info) noexcept;
  void note_use(const tensor_info& used, const stream_ref& stream) noexcept;
  [[nodiscard]] status copy(const copy_request& request) noexcept;
  [[nodiscard]] status fill(tensor_id id, std::uint8_t value, const stream_ref& stream) noexcept;
  [[nodiscard]] status prefetch(tensor_id id, device to, const stream_ref& stream) noexcept;
  [[nodiscard]] status advise(tensor_id id, const advice_request& request) noexcept;
  [[nodiscard]] status synchronise(device where, const stream_ref& stream) noexcept;

  // Memory (recall.cpp, memory.cpp).
  /// All free blocks of all threads and ready lists go back to the backends; answers their bytes.
  std::size_t recall(bool reserves_too) noexcept;
  [[nodiscard]] trim_report trim(device_entry& where, std::size_t keep_bytes) noexcept;
  [[nodiscard]] static trim_report measure(const device_entry& where) noexcept;
  [[nodiscard]] trim_report trim(std::size_t keep_bytes) noexcept;
  void tick() noexcept;
  void thread_idle() noexcept;
  [[nodiscard]] memory_info memory(const device_entry& of) noexcept;
  [[nodiscard]] result<prewarm_report> prewarm(const prewarm_plan& plan) noexcept;
  /// Null: the whole pool's.
  trim_report set_limits(device_entry* where, const memory_limits& limits) noexcept;
  [[nodiscard]] memory_limits limits() const noexcept { return lanes.reserved.limits(); }
  void reset_peaks() noexcept;
  // For the interface.
  [[nodiscard]] std::span<const std::unique_ptr<device_entry>> devices() const noexcept {
    return lanes.devices();
  }
  [[nodiscard]] device_entry* find_device(device where) const noexcept { return lanes.find(where); }
  [[nodiscard]] std::span<const device_description> descriptions() const noexcept {
    return lanes.descriptions();
  }

  // Observation (recall.cpp, statistics.cpp, invariants.cpp).
  /// Throws std::bad_alloc.
  [[nodiscard]] tidepool::statistics statistics();
  /// failure: what it is about; ok: the last failure. Throws std::bad_alloc.
  [[nodiscard]] pool_report make_report(const status& failure);
  void set_observer(allocation_observer* observer) noexcept;
  [[nodiscard]] const char* verify() noexcept;

  // Debug modes (debug_steps.cpp).
  /// Looks at all guards and the quarantine, reports damages and returns their number.
  std::size_t check_memory() noexcept;
  [[nodiscard]] leak_report leaks();  // throws std::bad_alloc
  [[nodiscard]] tidepool::debug_counts debug_counts() noexcept;

  // Sampling (warm_path.cpp).
  /// Closes this thread's gate, so that the operation after `operations - 1` others is timed.
  void arm_sample(front_cache& cache, std::uint32_t operations) noexcept;
  /// Is the gate closed for a sample? Then it is open again: repeat the operation, and time it or
  /// call arm_sample again to have the next one timed.
  enum class sample { none, pass, time };
  [[nodiscard]] sample take_sample(front_cache* cache) noexcept;
  [[nodiscard]] bool take_slow_sample(front_cache* cache) noexcept;
  latency_sampler sampler;
  [[nodiscard]] bool is_observed() const noexcept { return incidents.is_observed(); }

 private:
  explicit pool_core(const pool_options& options);
  ~pool_core();

  // blocks.cpp
  [[nodiscard]] bool bind(lane& where, const block& what, record& slot) noexcept;
  void unbind(record& slot) noexcept;
  std::size_t give_to_backend(lane& where, record* list) noexcept;
  void give_back(lane& where, unsigned size_class, std::span<record* const> records) noexcept;
  void stow(lane& where, std::span<record* const> records, front_cache* cache) noexcept;
  void grow_limit(lane& where, unsigned size_class, front_cache& cache) noexcept;
  [[nodiscard]] std::optional<std::size_t> halve_richest(front_cache& cache, bool large,
                                                         std::size_t above,
                                                         std::span<record*> out) noexcept;
  void free_block(record& slot, std::uint64_t bytes, front_cache* cache) noexcept;
  void count_push(lane& where, unsigned size_class, std::uint64_t bytes) noexcept;
  void keep_centrally(lane& where, record& slot) noexcept;
  void count_pop(lane& where, unsigned size_class, std::uint64_t bytes, block_source from,
                 front_cache* cache) noexcept;
  [[nodiscard]] std::size_t ready_limit(unsigned size_class) const noexcept;
  [[nodiscard]] record* screen(record& slot) noexcept;
  [[nodiscard]] std::size_t wanted_batch(const block_demand& demand, front_cache& cache) noexcept;
  [[nodiscard]] record* pop_fitting(const block_demand& demand, front_cache& cache) noexcept;
  [[nodiscard]] std::size_t flush_large(lane& where, front_cache* cache) noexcept;
  void drain(front_cache& cache) noexcept;
  void drain(lane& where, front_cache& cache) noexcept;
  std::size_t drain_ready(bool reserves_too) noexcept;
  std::size_t drain_ready(lane& where, bool reserves_too) noexcept;
  void publish(lane& where, front_cache& cache) noexcept;

  // streams.cpp
  [[nodiscard]] result<lane*> open_lane(device_entry& device, const stream_ref& stream,
                                        std::uint64_t stream_id) noexcept;
  void retire_lane(lane& gone, const stream_ref& order) noexcept;
  void move_to_lane(record& slot, lane& to) noexcept;

  // stream_order.cpp
  static void order(const lane& earlier, const lane& later) noexcept;
  [[nodiscard]] lane* order_of_free(record& slot, const stream_ref& stream) noexcept;
  void end_block(record& slot, std::uint64_t bytes, lane* last, bool used_elsewhere,
                 front_cache* cache) noexcept;

  // obtain.cpp
  [[nodiscard]] backend::refill_result refill(const block_demand& demand, std::span<record*> out,
                                              bool may_grow) noexcept;

  // climb.cpp
  [[nodiscard]] backend::refill_result climb(const block_demand& demand, std::span<record*> out,
                                             const status& why) noexcept;
  [[nodiscard]] backend::refill_result refill_after_trim(const block_demand& demand,
                                                         std::span<record*> one) noexcept;
  [[nodiscard]] bool reclaim(const block_demand& demand, pressure why, unsigned round) noexcept;
  [[nodiscard]] std::size_t find_candidates(device where,
                                            std::span<tensor_info> best) const noexcept;

  // recall.cpp; pre: registry_mutex_ held
  template <class F, class After>
  void with_closed_gates(F&& f, After&& after) noexcept;
  template <class F>
  void with_closed_gates(F&& f) noexcept {
    with_closed_gates(f, [] {});
  }
  void open_gate(front_cache& cache) noexcept;
  void close_gate(front_cache& cache) noexcept;
  static void wait_for_owner(front_cache& cache) noexcept;

  // fork.cpp, closing.cpp
  friend class operation;
  void leave() noexcept;
  void destroy() noexcept;
  void inherit(front_cache& cache) noexcept;
  void detach_caches() noexcept;
  void finish_close() noexcept;
  [[nodiscard]] record* end_all() noexcept;
  void release_adopted(record* adopted) noexcept;
  [[nodiscard]] bool forget_handle(record& slot, std::uint64_t id) noexcept;

  // debug_steps.cpp
  /// What a block must have for a tensor that asks for this: the same, or room for guards.
  [[nodiscard]] footprint footprint_of(const device_entry& device,
                                       const footprint& asked) const noexcept;
  // Pre: debug_ is not null, and no lock is held.
  void begin_checked(record& slot, tensor_id id, const footprint& asked) noexcept;
  void end_checked(record& slot, std::uint64_t bytes) noexcept;
  void move_pointer(const record& slot, void* from) noexcept;
  std::size_t shrink_quarantine(std::size_t keep_bytes) noexcept;
  std::size_t report_findings(const findings& all) noexcept;
  [[nodiscard]] std::optional<memory_damage> past_of(tensor_id id) noexcept;
  void report_at_close() noexcept;

  [[nodiscard]] tensor_id finish_free(record& slot, tensor_flags flags, lane* last) noexcept;
  void rebin(lane& where, record& slot, std::uint64_t bytes) noexcept;
  [[nodiscard]] result<lane*> check_request(allocation_request& request) noexcept;
  [[nodiscard]] result<record*> open_loose(lane& where, std::uint64_t key) noexcept;
  void close_loose(record& slot, std::uint64_t key) noexcept;
  [[nodiscard]] raw_tensor make_loose(record& slot, const loose_tensor& what) noexcept;
  [[nodiscard]] raw_tensor publish_loose(record& slot, const loose_tensor& what) noexcept;
  void notify_made(tensor_id id) noexcept;
  void notify_ended(tensor_id id) noexcept;
  [[nodiscard]] bool front_open() const noexcept {  // pre: registry_mutex_ held
    return !is_closed() && !incidents.is_observed() && debug_ == nullptr && threads_keep_blocks();
  }

  const pool_options options_;
  bool fenced_;  // written by the only thread of a new child
  unsigned tag_ = 0;
  bool has_gate_ = false;
  std::unique_ptr<debug_layer> debug_;  // null: no debug mode is on

  std::mutex registry_mutex_;
  front_cache* caches_ = nullptr;  // guarded by registry_mutex_; linked through front_cache::next
  std::size_t cache_count_ = 0;    // guarded by registry_mutex_

  std::atomic<std::size_t> ended_{0};  // by force, not yet answered
  bool has_handles_ = true;

  std::atomic<std::uint32_t> climbing_{0};      // threads in the out-of-memory ladder
  std::atomic<std::size_t> front_capacity_{0};  // sum over caches of limit * size
  std::atomic<std::uint64_t> slow_frees_{0};
};

}  // namespace detail
}  // namespace v0
}  // namespace tidepool

#include "pool/operation.hpp"
