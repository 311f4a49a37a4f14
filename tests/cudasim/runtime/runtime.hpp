// SPDX-License-Identifier: Apache-2.0
//
// The state of the simulated CUDA runtime and what its parts do with it: the scheduler, memory,
// copies, modules and launches each have their own file. One plain mutex guards all of it; only
// host functions run without it. API functions never call each other (the mutex is not recursive).
#pragma once

#include "memory/address_space.hpp"
#include "memory/allocation_table.hpp"
#include "memory/host_guard.hpp"
#include "memory/race_log.hpp"
#include "memory/reports.hpp"
#include "runtime/counters.hpp"
#include "runtime/foreign_capture.hpp"
#include "runtime/graph.hpp"
#include "runtime/handles.hpp"
#include "runtime/injection.hpp"
#include "runtime/module.hpp"
#include "runtime/pool.hpp"
#include "runtime/settings.hpp"
#include "runtime/stream.hpp"

#include <cuda_runtime_api.h>

#include <array>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <tuple>
#include <unordered_map>
#include <utility>
#include <vector>

namespace cudasim {

// An error that an API function answers. Thrown, as every function ends in the same place.
struct refusal {
  cudaError_t error;
};
[[noreturn]] inline void refuse(cudaError_t error) {
  throw refusal{error};
}
inline void require(bool holds, cudaError_t otherwise) {
  if (!holds) {
    refuse(otherwise);
  }
}

struct device {
  std::uint64_t allocated = 0;  // by cudaMalloc, VMM and modules; pools count their own
  std::uint64_t allocated_high = 0;
  pool* default_pool = nullptr;
  pool* current_pool = nullptr;
  pool* graph_pool = nullptr;  // of graphs' allocation nodes
  stream* legacy = nullptr;
  vector_clock retired;           // of destroyed blocking streams, which legacy work follows
  std::vector<stream*> blocking;  // streams that the legacy stream waits for
  unsigned flags = 0;
  std::map<cudaLimit, std::size_t> limits;
};

struct launch_request {
  function* what = nullptr;
  dim3 grid;
  dim3 block;
  void** arguments = nullptr;
  std::size_t dynamic_shared = 0;
  bool cooperative = false;
};

class runtime {
 public:
  /// Never destroyed: programs call it while they exit.
  static runtime& get();

  // Scheduler.
  stream& find_stream(cudaStream_t);
  /// The same, for what the legacy stream may not do while blocking streams capture.
  stream& stream_of(cudaStream_t);
  stream& make_stream(int device, unsigned flags, int priority);
  /// The same, for which programs have no name.
  stream& make_nameless_stream(int device, unsigned flags, int priority);
  void destroy_stream(stream&);
  operation_ptr enqueue(stream&, std::string name, std::function<void(operation&)> run,
                        std::vector<operation_ptr> after = {}, bool unlocked = false);
  bool step();  // runs one operation that is ready; false if there is none
  void run_until(const std::function<bool()>& done);
  void wait(const operation_ptr&);
  void synchronize(stream&);
  void synchronize_device(int device);
  void synchronize_all();
  void poll();                          // the host asked whether something is done: time passes
  void observe(const operation& done);  // the host knows that it is
  void fail(cudaError_t, finding, const std::string& what);
  void run_on_thread();  // from now on
  void leak_report();    // of what is there now
  void stop();           // at the end of the process

  // Handles. Those of destroyed objects are reported as stale, until another object has them.
  event& event_of(cudaEvent_t);
  event& make_event();
  void forget_event(event&);
  pool& pool_of(cudaMemPool_t);
  template <class T>
  void note_stale(const char* what, const T* handle) {
    if (stale_.count(handle) != 0) {
      findings.add(finding::stale_handle, std::string(call_name) + " on a destroyed " + what);
    }
  }

  void mark_stale(const void* handle) { stale_.insert(handle); }

  // Memory.
  [[nodiscard]] std::uint64_t reserved_on(int device) const;
  std::uint64_t take_device(int device, std::uint64_t bytes);  // 0 if the device is full
  void give_device(const allocation&);
  allocation_ptr add_allocation(std::uint64_t base, std::uint64_t bytes, memory_kind, int device);
  void drop_allocation(const allocation_ptr&);
  void* allocate_from(pool&, stream&, std::size_t bytes);
  void free_in(stream&, void* address);
  std::uint64_t take_block(pool&, const stream&, std::uint64_t bytes, operation_ptr& wait_for);
  /// The allocation in `to` of an address that is the pool's or a graph's already.
  void begin_allocation(stream& to, const allocation&, const operation_ptr& wait_for);
  graph_node& add_node(graph&, const std::string& name, cudaGraphNodeType,
                       std::function<void(stream&)> issue, std::vector<graph_node*> after);
  void begin_capture(stream&, capture wanted);
  graph* end_capture(stream&);
  /// Refuses what may not be called while streams capture, by the modes of their captures and of
  /// this thread. Like all that follow, it spoils the captures that are in the way.
  void require_safe_in_capture();
  void require_no_capture_on(int device);
  void require_not_captured(const stream&);
  /// The stream of a question that drivers refuse while the stream captures, and that spoils the
  /// capture, unless its mode is relaxed; so does one elsewhere that forbids this thread the
  /// unsafe.
  const stream& identify(cudaStream_t);
  /// A stream whose captured work the capture's own stream has waited for takes part no more.
  /// False: it is no such stream.
  bool leave_joined_capture(stream&);
  void require_no_implicit_wait(const stream&, bool spoils);
  /// The stream takes part in the capture that the event was recorded in.
  void capture_wait(stream&, const event&);
  /// Adds the last node of a stream that captures.
  graph_node& capture_node(stream&, const std::string& name, cudaGraphNodeType,
                           std::function<void(stream&)> issue);
  void launch_graph(const node_list&, stream& in);

  // Captures that other threads seem to begin and end between two calls (foreign_capture.hpp).
  void set_foreign_seed(std::uint64_t seed);
  /// A moment between two calls.
  void let_others_capture();
  /// As if the other thread had come to the end of its capture, if there is one.
  void end_foreign_capture();
  /// False: it was another thread's capture, which has ended instead, as the call is not one that
  /// is watched.
  bool is_in_the_way(const stream& captured);
  /// Likewise; else the capture is spoilt.
  bool spoil(const stream& captured);
  /// If the stream's capture is another thread's: that must not have happened to it.
  void report_foreign(const stream& captured, const char* what);
  void trim_pools_after_wait();
  void reset_device(int device);
  pool& make_pool(const pool::properties&);
  /// The default or current pool of a location, for one type of memory.
  pool& located_pool(const cudaMemLocation&, cudaMemAllocationType, bool is_default);
  void set_located_pool(const cudaMemLocation&, cudaMemAllocationType, pool&);
  [[nodiscard]] bool is_pageable(const void*) const;

  // Between processes.
  ticket export_memory(void*);  // of cudaMalloc
  void* open_memory(const ticket&);
  void close_memory(void*);
  pool& import_pool(int descriptor);
  ticket export_pooled(void*);
  void* import_pooled(pool&, const ticket&);
  void end_import(const allocation_ptr&);  // of pooled memory, when its free executes
  ticket export_event(event&);
  event& open_event(const ticket&);
  void count_records(event&);  // from now on, where all processes see it
  void record(event&, stream&);
  /// The latest record by any process.
  record_point latest_record(const event&);
  void wait(const record_point&);
  void wait_in(stream&, const record_point&);

  // Copies and fills.
  struct rectangle {
    std::size_t width = 0;
    std::size_t height = 1;
    std::size_t depth = 1;
    bool is_carried = false;  // by the driver, from device to device
  };
  struct pitched {
    char* at = nullptr;
    std::size_t pitch = 0;   // bytes from row to row
    std::size_t height = 0;  // rows from slice to slice
  };
  void copy(const pitched& to, const pitched& from, const rectangle&, stream&, bool waits);
  void copy(void* to, const void* from, std::size_t bytes, stream& in, bool waits) {
    copy({static_cast<char*>(to), bytes, 1},
         {static_cast<char*>(const_cast<void*>(from)), bytes, 1}, {bytes, 1, 1}, in, waits);
  }
  void check_direction(const void* to, const void* from, cudaMemcpyKind) const;
  void fill(const pitched&, int value, unsigned element_bytes, const rectangle&, stream&);

  // Accesses of the host to memory that it shares with devices.
  void note_host_accesses();  // that the guard has seen since the last time
  void check_host_access(const host_guard::access&, std::uint64_t bytes);

  // Modules and launches.
  device_module& module_of(fat_binary&, int device);
  const kernel& kernel_of(const function&, int device);
  function& function_of(const void* host_function);
  std::uint64_t symbol_address(const symbol&, int device);
  symbol& symbol_of(const void* host_symbol);
  void start(stream&, const launch_request&);

  std::mutex lock;
  std::condition_variable_any changed;
  settings set;
  std::mt19937_64 random;
  reports findings;
  race_log races{findings};
  host_guard pages;
  allocation_table memory{findings, races};
  counters counts;
  injection faults;
  foreign_capture foreign;
  const char* call_name = "";  // the API function that runs
  cudaError_t sticky = cudaSuccess;
  vector_clock host;  // what all host threads know to be done
  address_space device_space;
  address_space host_space;
  std::vector<device> devices;
  std::vector<std::unique_ptr<stream>> streams;  // by index, destroyed ones too
  std::map<const pool*, std::unique_ptr<pool>> pools;
  std::set<event*> events;
  std::map<const graph*, std::unique_ptr<graph>> graphs;
  std::map<const graph*, std::unique_ptr<graph>> executable_graphs;
  // Default and current pools of the host, NUMA nodes and managed memory, made when asked for.
  std::map<std::tuple<int, int, int>, std::array<pool*, 2>> located_pools;
  peer_set peers;
  std::unordered_map<const void*, std::unique_ptr<function>> functions;  // by host function
  std::set<const function*> function_handles;
  std::unordered_map<const void*, symbol> symbols;
  std::set<fat_binary*> binaries;  // that have modules

 private:
  runtime();
  void set_up_devices();
  void run_thread();
  void add_dependencies(operation&, stream&);
  void execute_operation(const operation_ptr&);
  void run_host_function(operation&);
  void advance_host();  // what the host does from now on is later than what it has enqueued
  operation_ptr choose_ready();
  stream* choose_foreign_stream();
  void wait_for_room(const stream&);
  char* where(std::uint64_t address, std::size_t bytes, bool write, operation& by, bool is_carried);
  void copy_now(operation& by, const pitched& to, const pitched& from, const rectangle&,
                const char* staged);
  void place_variables(device_module&, int device);
  void initialise(device_module&);
  void reset_memory(int device);
  void reset_handles(int device);
  void check_launch(const kernel&, const launch_request&) const;
  const std::shared_ptr<export_table>& exports();
  std::shared_ptr<shared_entry> find_shared(const ticket&, export_table::kind,
                                            cudaError_t otherwise, int& memory_descriptor);
  allocation_ptr map_shared(const std::shared_ptr<shared_entry>&, memory_kind, int descriptor);
  void unmap_shared(const allocation_ptr&);
  void add_leak(bool& is_reported, const std::string& text);

  std::uint64_t executed_ = 0;   // operations that have run
  std::map<int, stream*> busy_;  // streams with a queue, by index
  std::set<const void*> stale_;  // handles that name nothing
  handle_stock stream_handles_;
  std::unordered_map<const void*, stream*> by_handle_;
  std::vector<std::unique_ptr<event>> spare_events_;             // the latest last
  std::map<std::pair<std::uint64_t, int>, stream*> per_thread_;  // by thread and device
  unsigned captures_ = 0;                                        // that have not ended
  std::uint64_t latest_capture_ = 0;
  std::uint64_t host_tick_ = 0;  // operations that the host has enqueued
  // Of accesses since then, in the race log: by code and host function.
  std::map<std::pair<std::uint64_t, std::uint32_t>, std::uint32_t> host_ids_;
  std::shared_ptr<export_table> exports_;  // made when something is exported
  // What another process's record may be ordered after: all that came before a record of ours.
  // Which of it, only that process knows; so races may be missed, and none is made up.
  vector_clock published_;
  std::thread worker_;  // in asynchronous mode
  bool stopping_ = false;
};

/// Of this thread; never given twice.
[[nodiscard]] std::uint64_t thread_number();

inline thread_local int current_device = 0;
inline thread_local cudaError_t last_error = cudaSuccess;
inline thread_local bool null_is_per_thread = false;  // in ..._ptsz and ..._ptds
inline thread_local bool is_host_function = false;    // it may call nothing of CUDA
inline thread_local bool is_watched = false;          // cudasim_watch(1)
inline thread_local cudaStreamCaptureMode capture_mode = cudaStreamCaptureModeGlobal;

}  // namespace cudasim
