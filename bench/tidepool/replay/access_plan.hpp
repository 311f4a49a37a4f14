// SPDX-License-Identifier: Apache-2.0
//
// access_plan: the recorded reads of a trace, decoded before any clock runs into steps that name
// tensors by number. accesses.hpp replays it.
//
// A batch is what was read of tracked tensors between two marks of the trace (a layer, a
// step), or until one of them is freed. Tracked are tensors of evictable categories, and those
// that the trace says are; reads of others are counted as left out.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace tidepool::bench {

struct access_plan {
  /// The part of a read that reads the whole tensor.
  static constexpr std::uint32_t whole = UINT32_MAX;

  struct tensor {
    std::uint32_t name = 0;         ///< number of the trace's name
    std::uint8_t category = 0;      ///< number of the trace's category
    std::uint32_t parts = 0;        ///< 0: none were read
    std::size_t first_element = 0;  ///< of its parts, in the domain
  };
  enum class step_kind : std::uint8_t { begin, end, read };
  struct step {
    step_kind kind;
    std::uint32_t first;  ///< begin, end: the tensor; read: the first of its reads
    std::uint32_t count;  ///< read: how many reads the batch has
  };
  struct read {
    std::uint32_t tensor;
    std::uint32_t part;  ///< or `whole`
  };

  std::vector<tensor> tensors;
  std::vector<step> steps;
  std::vector<read> reads;
  std::size_t elements = 0;    ///< size of the domain that holds the parts of all tensors
  std::uint64_t left_out = 0;  ///< reads of tensors without an entry
};

}  // namespace tidepool::bench
