// SPDX-License-Identifier: Apache-2.0
//
// What a trace consists of: counts, sizes, the exact peak of live bytes and who held it, lifetimes.
// For an idea of a trace before replaying it, and for the figures in a README.
#pragma once

#include "trace/error.hpp"
#include "trace/reader.hpp"

#include <cstdint>
#include <string>
#include <vector>

namespace tidepool::bench::trace {

struct category_summary {
  std::string name;  ///< "unspecified" for category 0
  std::uint64_t allocs = 0;
  std::uint64_t allocated_bytes = 0;
  std::uint64_t own_peak_bytes = 0;  ///< the category's own highest sum
  std::uint64_t bytes_at_peak = 0;   ///< its share when the whole trace was at its peak
};

struct size_summary {
  std::uint64_t bytes = 0;
  std::uint64_t count = 0;
};

struct phase_summary {
  std::string name;
  std::uint64_t events = 0;  ///< of all threads, while the phase was the innermost open one
  std::uint64_t allocs = 0;
  std::uint64_t peak_live_bytes = 0;
};

/// Lifetimes in events, from a tensor's alloc to its free; tensors never freed are left out.
struct lifetime_summary {
  std::uint64_t count = 0;
  std::uint64_t p50 = 0;
  std::uint64_t p90 = 0;
  std::uint64_t p99 = 0;
  std::uint64_t max = 0;
};

struct summary {
  totals sums;
  std::uint64_t peak_event = 0;    ///< number of the event that reached the peak first
  std::uint64_t peak_tensors = 0;  ///< highest number of live tensors
  std::uint64_t live_tensors = 0;  ///< at the end
  std::uint64_t distinct_sizes = 0;
  std::vector<size_summary> common_sizes;  ///< the 16 most frequent, most frequent first
  std::vector<category_summary> categories;
  std::vector<phase_summary> phases;  ///< in the order of their first mark
  lifetime_summary lifetimes;
};

/// Reads `input` to its end. A file with damage, or with events that make no sense, is an error
/// that says so: run validate() for the whole list.
/// cost: one pass; 8 bytes per free, and memory for every live tensor and distinct size.
[[nodiscard]] result<summary> summarize(reader& input) noexcept;

/// As a table for people, several lines; as JSON, one object. May throw std::bad_alloc only.
[[nodiscard]] std::string to_text(const summary& figures);
[[nodiscard]] std::string to_json(const summary& figures);

}  // namespace tidepool::bench::trace
