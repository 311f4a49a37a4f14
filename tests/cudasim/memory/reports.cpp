// SPDX-License-Identifier: Apache-2.0
//
// Counting and printing of reports, one line each on standard error.
#include "memory/reports.hpp"

#include <cstdio>
#include <utility>

namespace cudasim {
namespace {

constexpr std::array<const char*, reports::kinds> names{
    "out-of-bounds access",
    "access to unallocated memory",
    "use after free",
    "use before allocation",
    "unordered use",
    "unordered free",
    "race",
    "misaligned access",
    "deadlock",
    "leak",
    "stale handle",
    "kernel fault",
    "unsupported",
    "spoilt capture",
    "call at a thread's end",
    "call in a forked child",
};

std::size_t index_of(finding kind) {
  return static_cast<std::size_t>(kind);
}

}  // namespace

const char* name_of(finding kind) {
  return names.at(index_of(kind));
}

void reports::add(finding kind, const std::string& text) {
  const std::lock_guard guard(mutex_);
  ++untaken_.at(index_of(kind));
  latest_ = std::string(name_of(kind)) + ": " + text;
  if (!quiet_ && ++total_.at(index_of(kind)) <= printed_at_most) {
    std::fprintf(stderr, "cudasim: REPORT %s\n", latest_.c_str());
  }
}

std::uint64_t reports::take(finding kind) {
  const std::lock_guard guard(mutex_);
  return std::exchange(untaken_.at(index_of(kind)), 0);
}

std::uint64_t reports::untaken(finding kind) const {
  const std::lock_guard guard(mutex_);
  return untaken_.at(index_of(kind));
}

std::uint64_t reports::untaken() const {
  const std::lock_guard guard(mutex_);
  std::uint64_t sum = 0;
  for (const std::uint64_t count : untaken_) {
    sum += count;
  }
  return sum;
}

std::string reports::latest() const {
  const std::lock_guard guard(mutex_);
  return latest_;
}

void reports::set_quiet(bool quiet) {
  const std::lock_guard guard(mutex_);
  quiet_ = quiet;
}

}  // namespace cudasim
