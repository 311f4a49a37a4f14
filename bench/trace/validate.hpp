// SPDX-License-Identifier: Apache-2.0
//
// Does a trace make sense? Reads it to its end and lists what is wrong with it: where (event number
// and byte) and why. Errors break a rule of README.md; warnings are legal and worth a look.
#pragma once

#include "trace/reader.hpp"

#include <cstdint>
#include <string>
#include <vector>

namespace tidepool::bench::trace {

enum class severity : std::uint8_t { warning, error };

struct finding {
  severity weight = severity::error;
  std::uint64_t event = no_position;   ///< number of the event, if it is about one
  std::uint64_t offset = no_position;  ///< byte in the file: of the chunk that holds the event
  std::string reason;

  /// One line for people: "error: event 12 (chunk at byte 340): free of tensor 7, which ...".
  [[nodiscard]] std::string message() const;
};

struct validate_options {
  std::size_t max_findings = 100;      ///< further ones are counted, not kept
  std::size_t max_tensors = 1u << 24;  ///< ids held at once; more is an error and ends the check
};

struct validation {
  std::vector<finding> findings;  ///< in the order of the trace
  std::uint64_t error_count = 0;
  std::uint64_t warning_count = 0;
  totals sums;  ///< recomputed from the events

  [[nodiscard]] bool is_valid() const noexcept { return error_count == 0; }
};

/// Checks the rest of the trace in `input`, which should be freshly opened.
/// cost: one pass; memory for every tensor id of the trace. Errors of the file itself (damage,
/// truncation) are findings too. Never throws: running out of memory is a finding.
[[nodiscard]] validation validate(reader& input, const validate_options& options = {}) noexcept;

}  // namespace tidepool::bench::trace
