// SPDX-License-Identifier: Apache-2.0
//
// Nodes of graphs: how they are added, by hand or by capture, and their order.
#include "runtime/graph.hpp"

#include "runtime/runtime.hpp"

#include <algorithm>
#include <set>

namespace cudasim {

std::vector<std::shared_ptr<graph_node>> in_order(const graph& of) {
  std::vector<std::shared_ptr<graph_node>> ordered;
  std::set<const graph_node*> done;
  while (ordered.size() != of.nodes.size()) {
    const std::size_t before = ordered.size();
    for (const auto& node : of.nodes) {
      const bool is_ready =
          std::all_of(node->after.begin(), node->after.end(),
                      [&](graph_node* earlier) { return done.count(earlier) != 0; });
      if (done.count(node.get()) == 0 && is_ready) {
        ordered.push_back(node);
        done.insert(node.get());
      }
    }
    if (ordered.size() == before) {
      return {};
    }
  }
  return ordered;
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

graph_node& runtime::capture_node(stream& of, const std::string& name, cudaGraphNodeType type,
                                  std::function<void(stream&)> issue) {
  graph_node& made = add_node(*of.capturing.into, name, type, std::move(issue), of.capturing.last);
  of.capturing.last = {&made};
  return made;
}

}  // namespace cudasim
