// SPDX-License-Identifier: Apache-2.0
//
// Captures of other threads: when they begin and end, what their streams are, and what is reported.
// A moment is before a call that is watched, so also between a question whether a stream captures
// and the call that relies on the answer.
#include "runtime/context.hpp"
#include "runtime/runtime.hpp"

#include <algorithm>
#include <array>
#include <iterator>
#include <utility>

namespace cudasim {
namespace {

// One in so many moments. A function of an allocator makes some ten calls: a capture begins within
// most of them, and lasts for a few of them.
constexpr unsigned begins = 6;
constexpr unsigned ends = 24;

// Other threads' numbers begin with 1.
constexpr std::uint64_t foreign_thread = 0;

bool is_counted(const foreign_capture& now) {
  return is_watched || !now.has_watched;
}

}  // namespace

void runtime::set_foreign_seed(std::uint64_t seed) {
  end_foreign_capture();
  foreign.seed = seed;
  foreign.random.seed(seed);
}

// A stream that the program has lent, or one that it does not know, of a device in use.
stream* runtime::choose_foreign_stream() {
  const auto dice = foreign.random();
  if (!foreign.lent.empty() && dice % 2 == 0) {
    stream* const chosen =
        *std::next(foreign.lent.begin(), static_cast<long>(dice / 2 % foreign.lent.size()));
    return chosen->is_capturing() ? nullptr : chosen;
  }
  std::size_t ordinal = dice / 2 % devices.size();
  if (contexts_on(static_cast<int>(ordinal)) == 0) {
    ordinal = static_cast<std::size_t>(current_device);
  }
  foreign.own.resize(devices.size());
  stream*& own = foreign.own[ordinal];
  if (own == nullptr) {
    own = &make_nameless_stream(static_cast<int>(ordinal), cudaStreamNonBlocking, 0);
  }
  return own;
}

void runtime::let_others_capture() {
  if (foreign.seed == 0 || !is_counted(foreign)) {
    return;
  }
  if (foreign.origin != nullptr) {
    if (foreign.random() % ends == 0) {
      end_foreign_capture();
    }
    return;
  }
  stream* const origin = foreign.random() % begins == 0 ? choose_foreign_stream() : nullptr;
  if (origin == nullptr) {
    return;
  }
  constexpr std::array modes{cudaStreamCaptureModeGlobal, cudaStreamCaptureModeThreadLocal,
                             cudaStreamCaptureModeRelaxed};
  const bool is_lent = foreign.lent.count(origin) != 0;
  foreign.into = std::make_unique<graph>();
  capture wanted;
  wanted.into = foreign.into.get();
  wanted.mode = is_lent ? modes.at(foreign.random() % modes.size()) : modes[0];
  begin_capture(*origin, wanted);
  origin->capturing.thread = foreign_thread;
  foreign.origin = origin;
  foreign.is_reported = false;
  ++foreign.begun;
}

void runtime::end_foreign_capture() {
  if (std::exchange(foreign.origin, nullptr) == nullptr) {
    return;
  }
  for (const auto& each : streams) {
    if (each->capturing.into == foreign.into.get()) {
      each->capturing = {};
    }
  }
  for (event* const each : events) {
    each->captured.ended |= each->captured.into == foreign.into.get();
  }
  --captures_;
  foreign.into = nullptr;
}

bool runtime::is_in_the_way(const stream& captured) {
  const bool is_foreign =
      foreign.origin != nullptr && captured.capturing.into == foreign.into.get();
  if (is_foreign && !is_counted(foreign)) {
    end_foreign_capture();
    return false;
  }
  return true;
}

bool runtime::spoil(const stream& captured) {
  if (!is_in_the_way(captured)) {
    return false;
  }
  captured.capturing.into->spoilt = true;
  report_foreign(captured, "has spoilt");
  return true;
}

// Once for each capture: what follows is a consequence.
void runtime::report_foreign(const stream& captured, const char* what) {
  if (foreign.origin == nullptr || captured.capturing.into != foreign.into.get() ||
      std::exchange(foreign.is_reported, true)) {
    return;
  }
  findings.add(finding::spoilt_capture,
               std::string(call_name) + " " + what +
                   " the capture that another thread has begun on " +
                   (foreign.lent.count(foreign.origin) != 0 ? "the program's" : "its own") +
                   " stream " + std::to_string(foreign.origin->index) + " of device " +
                   std::to_string(foreign.origin->device));
}

}  // namespace cudasim
