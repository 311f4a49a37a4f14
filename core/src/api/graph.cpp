// SPDX-License-Identifier: Apache-2.0
//
// graph_arena and capture_scope: owners of the arenas and scopes that pool/capture.cpp opens and
// closes.
#include "pool/pool_core.hpp"
#include <tidepool/error.hpp>
#include <tidepool/graph.hpp>
#include <tidepool/pool.hpp>

#include <utility>

namespace tidepool {
inline namespace v0 {

graph_arena::graph_arena(pool& owner, device where) {
  result<graph_arena> made = try_create(owner, where);
  if (!made) {
    throw_status(made.error());
  }
  *this = std::move(*made);
}

result<graph_arena> graph_arena::try_create(pool& owner, device where) noexcept {
  const result<detail::lane*> made = owner.core_->open_arena(where);
  if (!made) {
    return made.error();
  }
  return graph_arena(owner.core_, *made);
}

graph_arena& graph_arena::operator=(graph_arena&& other) noexcept {
  if (this != &other) {
    reset();
    core_ = std::exchange(other.core_, nullptr);
    lane_ = std::exchange(other.lane_, nullptr);
  }
  return *this;
}

void graph_arena::reset(const stream_ref& last) noexcept {
  if (lane_ != nullptr) {
    std::exchange(core_, nullptr)->close_arena(*std::exchange(lane_, nullptr), last);
  }
}

std::size_t graph_arena::free_bytes() const noexcept {
  return lane_ == nullptr ? 0 : core_->free_bytes_in(*lane_);
}

capture_scope::capture_scope(graph_arena& arena, const stream_ref& stream)
    : capture_scope([&] {
        result<capture_scope> made = try_create(arena, stream);
        if (!made) {
          throw_status(made.error());
        }
        return std::move(*made);
      }()) {}

result<capture_scope> capture_scope::try_create(graph_arena& arena,
                                                const stream_ref& stream) noexcept {
  if (!arena) {
    return status{.code = errc::invalid_argument, .text = "an empty graph_arena"};
  }
  const result<detail::lane*> captured = arena.core_->begin_capture(*arena.lane_, stream);
  if (!captured) {
    return captured.error();
  }
  return capture_scope(arena.core_, *captured, arena.lane_);
}

capture_scope::~capture_scope() {
  if (core_ != nullptr) {
    core_->end_capture(*stream_);
  }
}

}  // namespace v0
}  // namespace tidepool
