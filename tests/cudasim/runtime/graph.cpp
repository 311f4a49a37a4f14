// SPDX-License-Identifier: Apache-2.0
//
// Nodes of graphs: how they are added, by hand or by capture, and their order.
#include "runtime/graph.hpp"

#include "runtime/runtime.hpp"

#include <algorithm>
#include <map>
#include <set>

namespace cudasim {

node_list in_order(const graph& of) {
  node_list ordered;
  std::map<const graph_node*, graph_node*> copies;
  while (ordered.size() != of.nodes.size()) {
    const std::size_t before = ordered.size();
    for (const auto& node : of.nodes) {
      const bool is_ready =
          std::all_of(node->after.begin(), node->after.end(),
                      [&](graph_node* earlier) { return copies.count(earlier) != 0; });
      if (copies.count(node.get()) == 0 && is_ready) {
        auto copy = std::make_shared<graph_node>(*node);
        for (graph_node*& earlier : copy->after) {
          earlier = copies[earlier];
        }
        copies[node.get()] = copy.get();
        ordered.push_back(std::move(copy));
      }
    }
    if (ordered.size() == before) {
      return {};
    }
  }
  return ordered;
}

bool has_memory_nodes(const node_list& nodes) {
  return std::any_of(nodes.begin(), nodes.end(), [](const auto& node) {
    return node->type == cudaGraphNodeTypeMemAlloc || node->type == cudaGraphNodeTypeMemFree;
  });
}

// A node goes on in the lane of a node that it follows, if nobody else has; otherwise in a new
// one. A graph that is a chain stays in the stream itself.
void runtime::launch_graph(const node_list& nodes, stream& in) {
  struct node_place {
    stream* lane;
    operation_ptr last;
  };
  std::map<const graph_node*, node_place> places;
  std::set<const stream*> used;
  std::size_t lanes_taken = 0;
  const operation_ptr begun = enqueue(in, "cudaGraphLaunch", [](operation&) {});
  for (const auto& node : nodes) {
    stream* lane = used.empty() ? &in : nullptr;
    std::vector<operation_ptr> after{begun};
    for (const graph_node* earlier : node->after) {
      const node_place& of = places[earlier];
      after.push_back(of.last);
      if (lane == nullptr && of.lane->last == of.last) {
        lane = of.lane;
      }
    }
    if (lane == nullptr) {
      if (lanes_taken == in.lanes.size()) {
        in.lanes.push_back(&make_stream(in.device, cudaStreamNonBlocking, 0));
      }
      lane = in.lanes[lanes_taken++];
    }
    used.insert(lane);
    enqueue(
        *lane, "graph node", [](operation&) {}, after);
    if (node->issue) {
      node->issue(*lane);
    }
    places[node.get()] = {lane, lane->last};
  }
  std::vector<operation_ptr> all;
  for (const auto& [node, of] : places) {
    all.push_back(of.last);
  }
  enqueue(
      in, "end of graph", [](operation&) {}, all);
}

graph_node& runtime::add_node(graph& to, const std::string& name, cudaGraphNodeType type,
                              std::function<void(stream&)> issue, std::vector<graph_node*> after) {
  auto made = std::make_shared<graph_node>();
  made->name = name;
  made->type = type;
  made->issue = std::move(issue);
  made->after = std::move(after);
  to.nodes.push_back(made);
  return *made;
}

}  // namespace cudasim
