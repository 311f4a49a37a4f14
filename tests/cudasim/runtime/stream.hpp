// SPDX-License-Identifier: Apache-2.0
//
// Operations, the streams that they run in, and events. An operation runs when it heads its
// stream's queue and what it waits for is done. Guarded by the runtime's lock.
#pragma once

#include "memory/clock.hpp"
#include "memory/export_table.hpp"

#include <cuda_runtime_api.h>

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace cudasim {

struct stream;
struct graph;
struct graph_node;

struct operation {
  actor who;
  std::function<void(operation&)> run;
  stream* in = nullptr;
  std::vector<std::shared_ptr<operation>> after;
  std::function<bool()> ready;  // asked for what another process does; empty: nothing
  bool done = false;
  bool running = false;
  bool unlocked = false;  // runs without the lock: host functions
  double time = 0;        // when it was done, in seconds
};
using operation_ptr = std::shared_ptr<operation>;

// What a stream captures: which graph, begun by which stream and thread, and the last nodes of this
// stream.
struct capture {
  graph* into = nullptr;
  stream* origin = nullptr;
  std::vector<graph_node*> last;
  cudaStreamCaptureMode mode = cudaStreamCaptureModeGlobal;
  bool owns_graph = true;  // made for it; else the program's
  bool ended = false;
  std::uint64_t thread = 0;
  std::uint64_t id = 0;  // 0: none
};

struct stream {
  int index = 0;           // in vector clocks, and the stream's id
  void* handle = nullptr;  // another stream's once this one is destroyed
  int device = 0;
  int priority = 0;
  unsigned flags = 0;
  bool blocking = true;  // waits for the legacy stream
  bool legacy = false;
  bool destroyed = false;
  std::uint64_t tick = 0;
  std::uint64_t dice = 0;  // its random priority
  vector_clock clock;
  std::deque<operation_ptr> queue;
  operation_ptr last;
  capture capturing;
  std::vector<stream*> lanes;  // where graphs launched here run what may run beside it
  std::string created_by;      // empty: not by the program
  bool leak_reported = false;

  [[nodiscard]] bool is_capturing() const { return capturing.into != nullptr; }
};

// A record of an event, by this process or by another one.
struct record_point {
  operation_ptr local;
  std::shared_ptr<shared_entry> foreign;
  std::uint64_t number = 0;  // of the foreign record; 0: there is none

  [[nodiscard]] bool is_done() const {
    return local != nullptr ? local->done : number == 0 || foreign->has_completed(number);
  }
};

struct event {
  int device = 0;
  operation_ptr recorded;
  unsigned flags = 0;
  capture captured;  // of the recording, if that was captured
  // Of interprocess events: the records of all processes are counted.
  std::shared_ptr<shared_entry> shared;
  std::uint64_t number = 0;  // of `recorded`
  std::string created_by;
  bool leak_reported = false;
};

}  // namespace cudasim
