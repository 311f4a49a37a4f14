// SPDX-License-Identifier: Apache-2.0
//
// Graphs: nodes that issue operations into the stream that a graph is launched in, or into lanes
// beside it, so that only dependencies order them. Guarded by the runtime's lock.
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
  int device = 0;
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

using node_list = std::vector<std::shared_ptr<graph_node>>;

struct graph {
  node_list nodes;
  std::shared_ptr<graph_memory> memory = std::make_shared<graph_memory>();
  std::string created_by;
  bool leak_reported = false;
  bool spoilt = false;       // its capture will end without it
  bool frees_first = false;  // a launch ends what an earlier one has left allocated
};

/// Copies of the nodes in an order that respects their dependencies; empty if they form a circle.
[[nodiscard]] node_list in_order(const graph&);
/// A graph with such nodes cannot be another one's child.
[[nodiscard]] bool has_memory_nodes(const node_list&);

}  // namespace cudasim
