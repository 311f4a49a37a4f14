// SPDX-License-Identifier: Apache-2.0
//
// Traces for the tests of the replay: written to a file that is removed with the object.
#pragma once

#include "tidepool/replay/plan.hpp"
#include "trace/writer.hpp"

#include <gtest/gtest.h>

#include <stdlib.h>
#include <unistd.h>

#include <cstdio>
#include <string>
#include <vector>

namespace tidepool::bench {

class temporary_trace {
 public:
  explicit temporary_trace(const std::vector<trace::event>& events,
                           const std::vector<std::string>& categories = {},
                           const std::vector<std::string>& names = {}) {
    char name[] = "/tmp/tidepool-test-XXXXXX";
    const int file = mkstemp(name);
    EXPECT_GE(file, 0);
    close(file);
    path_ = name;
    trace::result<trace::writer> out = trace::writer::create(path_);
    EXPECT_TRUE(out.has_value());
    EXPECT_TRUE(out->device("cpu").has_value());
    EXPECT_TRUE(out->device("cuda:0").has_value());
    for (const std::string& text : categories) {
      EXPECT_TRUE(out->category(text).has_value());
    }
    for (const std::string& text : names) {
      EXPECT_TRUE(out->name(text).has_value());
    }
    for (const trace::event& each : events) {
      EXPECT_TRUE(out->append(each).ok());
    }
    EXPECT_TRUE(out->close().ok());
  }
  temporary_trace(const temporary_trace&) = delete;
  temporary_trace& operator=(const temporary_trace&) = delete;
  ~temporary_trace() { std::remove(path_.c_str()); }

  [[nodiscard]] const std::string& path() const noexcept { return path_; }

 private:
  std::string path_;
};

/// The plan of a trace that must decode. Not inlined: g++ 12 at -O3 takes the alternative of a
/// result for a null pointer (-Wnull-dereference) where it sees both it and its use.
[[gnu::noinline]] inline replay_plan& plan_of(trace::result<replay_plan>& decoded) {
  EXPECT_TRUE(decoded.has_value());
  return decoded.value();
}
[[gnu::noinline]] inline const trace::error& error_of(const trace::result<replay_plan>& decoded) {
  EXPECT_FALSE(decoded.has_value());
  return decoded.error();
}

struct event_fields {
  std::uint64_t id = 1;
  std::uint64_t bytes = 0;
  std::uint16_t thread = 0;
  std::uint8_t category = 0;
  std::uint32_t name = 0;
  std::uint32_t generation = 0;
  std::uint16_t stream = 0;
  std::uint8_t device = 0;
};

inline trace::event allocation_event(const event_fields& of) {
  trace::event made;
  made.kind = trace::event_kind::alloc;
  made.id = of.id;
  made.bytes = of.bytes;
  made.thread = of.thread;
  made.category = of.category;
  made.name = of.name;
  made.generation = of.generation;
  made.stream = of.stream;
  made.device = of.device;
  return made;
}

/// A read of a whole tensor.
inline trace::event read_event(const event_fields& of) {
  trace::event made;
  made.kind = trace::event_kind::touch;
  made.detail = static_cast<std::uint8_t>(trace::access::read);
  made.id = of.id;
  made.thread = of.thread;
  made.generation = of.generation;
  return made;
}

inline trace::event free_event(const event_fields& of) {
  trace::event made;
  made.kind = trace::event_kind::free;
  made.id = of.id;
  made.thread = of.thread;
  made.generation = of.generation;
  made.stream = of.stream;
  return made;
}

}  // namespace tidepool::bench
