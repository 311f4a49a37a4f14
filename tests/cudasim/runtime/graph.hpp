// SPDX-License-Identifier: Apache-2.0
//
// Graphs: nodes that issue operations into the stream that a graph is launched in, one after
// another in an order that their dependencies allow. Guarded by the runtime's lock.
#pragma once

#include "runtime/pool.hpp"
#include "runtime/stream.hpp"

#include <cuda_runtime_api.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <vector>

namespace cudasim {

struct graph_node {
  std::string name;
  cudaGraphNodeType type = cudaGraphNodeTypeEmpty;
  std::function<void(stream&)> issue;  // empty: nothing to do
  std::vector<graph_node*> after;
  std::uint64_t address = 0;  // of memory nodes
  std::uint64_t bytes = 0;
};

// Memory that a graph's allocation nodes own: addresses stay, so that each launch finds them. All
// executable graphs made of one graph share it; it goes back to its pool with the last of them.
class graph_memory {
 public:
  graph_memory() = default;
  graph_memory(const graph_memory&) = delete;
  graph_memory& operator=(const graph_memory&) = delete;
  ~graph_memory() {
    for (const auto& [from, address] : blocks_) {
      from->give(address, nullptr);
    }
  }
  void own(pool& from, std::uint64_t address) { blocks_.insert({&from, address}); }

 private:
  std::set<std::pair<pool*, std::uint64_t>> blocks_;
};

struct graph {
  std::vector<std::shared_ptr<graph_node>> nodes;
  std::shared_ptr<graph_memory> memory = std::make_shared<graph_memory>();
  std::string created_by;
  bool leak_reported = false;
};

/// The nodes in an order that respects their dependencies; empty if they form a circle.
[[nodiscard]] std::vector<std::shared_ptr<graph_node>> in_order(const graph&);

}  // namespace cudasim
