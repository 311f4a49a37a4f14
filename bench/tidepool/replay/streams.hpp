// SPDX-License-Identifier: Apache-2.0
//
// The streams of one replay: as many as the trace has, made on the device's GPU and attached to the
// pool. Nothing but the pool's own events and waits is ever enqueued on them. Not thread-safe, but
// refs() may be read by all threads.
#pragma once

#include <tidepool/pool.hpp>

#include <cstddef>
#include <span>
#include <vector>

namespace tidepool::bench {

class replay_streams {
 public:
  /// Streams 1 to `count` for memory of `where`. Post on failure: none is left. The pool must
  /// outlive them. Errors: of make_device_stream and pool::attach; out_of_memory.
  [[nodiscard]] static result<replay_streams> make(pool& target, device where,
                                                   std::size_t count) noexcept;
  replay_streams(replay_streams&& other) noexcept = default;
  replay_streams& operator=(replay_streams&& other) = delete;
  /// Retires and destroys them. Pre: no other thread works on them.
  ~replay_streams();

  /// By the plan's numbers of streams; [0] is the device's default one.
  [[nodiscard]] std::span<const stream_ref> refs() const noexcept { return refs_; }

 private:
  replay_streams(pool& target, device where) : target_(&target), where_(where) {
    // Named, not left out: at the end of a tensor no stream means that of its allocation.
    refs_.push_back({.kind = stream_kind::legacy});
  }
  [[nodiscard]] status add() noexcept;

  pool* target_;
  device where_;
  std::vector<stream_ref> refs_;
};

}  // namespace tidepool::bench
