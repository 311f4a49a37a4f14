// SPDX-License-Identifier: Apache-2.0
//
// Builds the operations of a replay_plan from the allocations and frees of a trace, which decode()
// hands over in the trace's order, and refuses events that break the rules. Not thread-safe.
#pragma once

#include "tidepool/replay/plan.hpp"
#include "trace/reader.hpp"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <unordered_map>
#include <unordered_set>
#include <vector>

namespace tidepool::bench {

class operation_builder {
 public:
  explicit operation_builder(const decode_options& options) noexcept : options_(options) {}

  [[nodiscard]] trace::status add_allocation(const trace::event_view& seen);
  [[nodiscard]] trace::status add_free(const trace::event_view& seen);
  /// The plan without what other events of the trace say: names, categories, devices, accesses.
  /// Post: the builder is not used again.
  [[nodiscard]] replay_plan take();

 private:
  static constexpr std::uint32_t no_slot = ~std::uint32_t{0};
  struct live_tensor {
    std::uint64_t bytes = 0;
    std::uint32_t slot = no_slot;  // no_slot: left out
    std::uint16_t stream = 0;      // the plan's number
    std::uint8_t device = 0;       // a free does not say it again
  };

  [[nodiscard]] trace::status check_size(const trace::event_view& seen) const;
  void count_allocation(std::uint64_t bytes);
  void count_free(std::uint64_t bytes);
  void recycle_slots();
  [[nodiscard]] std::vector<replay_op>* list_of(std::uint16_t thread);
  [[nodiscard]] std::optional<std::uint16_t> stream_of(std::uint8_t device, std::uint16_t stream);

  const decode_options options_;
  replay_plan plan_;
  std::unordered_map<std::uint64_t, live_tensor> live_;
  std::unordered_map<std::uint16_t, std::size_t> threads_;
  std::unordered_map<std::uint32_t, std::uint16_t> streams_;
  std::unordered_set<std::uint64_t> sizes_;
  std::uint64_t live_bytes_ = 0;
  std::uint64_t live_tensors_ = 0;
};

}  // namespace tidepool::bench
