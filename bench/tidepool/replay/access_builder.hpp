// SPDX-License-Identifier: Apache-2.0
//
// Builds the access_plan of a trace from its events, which decode() hands over in the trace's
// order. It checks nothing that operation_builder checks. Not thread-safe.
#pragma once

#include "tidepool/replay/access_plan.hpp"
#include "trace/reader.hpp"

#include <cstddef>
#include <cstdint>
#include <unordered_map>
#include <unordered_set>

namespace tidepool::bench {

class access_builder {
 public:
  /// A tensor begins. `is_tracked`: its category is evictable, or the trace says that it is
  /// tracked.
  void add_allocation(const trace::event& record, bool is_tracked);
  void add_free(const trace::event& record);
  /// Takes the reads of a touch, touch_tensors or touch_parts.
  void add_touch(const trace::event_view& seen);
  /// Ends the batch, if one has begun.
  void end_batch();
  /// Post: the builder is empty.
  [[nodiscard]] access_plan take();

 private:
  void add_read(std::uint64_t id, std::uint32_t part);
  /// Makes the tensor's parts reach as far as `part`. False: there would be too many.
  [[nodiscard]] bool fit_part(std::uint32_t tensor, std::uint32_t part);

  access_plan plan_;
  std::unordered_map<std::uint64_t, std::uint32_t> live_;  // id to number of the tensor
  std::unordered_set<std::uint32_t> in_batch_;             // tensors
  std::size_t batch_reads_ = 0;
  std::size_t all_parts_ = 0;
};

}  // namespace tidepool::bench
