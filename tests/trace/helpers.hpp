// SPDX-License-Identifier: Apache-2.0
//
// What the trace tests share: making small and random traces, and reading one whole.
#pragma once

#include "trace/reader.hpp"
#include "trace/writer.hpp"

#include <gtest/gtest.h>

#include <optional>
#include <random>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace tidepool::bench::trace::test {

using byte_vector = std::vector<std::byte>;

/// The value of an outcome that must be good; a bad one ends the test with its message. The check
/// also shows g++ 12 that the value is there (-Wnull-dereference).
template <class T>
T must(result<T> outcome) {
  if (!outcome) {
    throw std::runtime_error(outcome.error().message());
  }
  return std::move(outcome).value();
}

struct owned_event {
  event record;
  byte_vector extra;
  friend bool operator==(const owned_event&, const owned_event&) = default;
};

/// A trace read to its end, or as far as it goes.
struct content {
  std::string metadata;
  std::vector<owned_event> events;
  std::optional<totals> footer;
  std::optional<error> failure;
  std::uint64_t skipped = 0;
};

inline content read_all(std::span<const std::byte> bytes) {
  content found;
  auto opened = reader::from_memory(bytes);
  if (!opened) {
    found.failure = opened.error();
    return found;
  }
  found.metadata = opened->metadata();
  while (const event_view* seen = opened->next()) {
    found.events.push_back({seen->record, {seen->extra.begin(), seen->extra.end()}});
  }
  found.failure = opened->failure();
  found.footer = opened->footer();
  found.skipped = opened->skipped_count();
  return found;
}

inline void expect_ok(const status& outcome) {
  EXPECT_TRUE(outcome.ok()) << outcome.error().message();
}

/// A valid trace with an event of every kind, in chunks of `chunk_events`.
inline byte_vector make_small(std::uint32_t chunk_events = 8, int level = 3) {
  byte_vector bytes;
  writer out = must(writer::to_memory(bytes, {.metadata = R"({"model":"tiny"})",
                                              .chunk_events = chunk_events,
                                              .compression_level = level}));
  const std::uint8_t cpu = must(out.device("cpu", 1u << 30));
  const std::uint8_t weight = must(out.category("weight"));
  const std::uint32_t name = must(out.name("blk.0.ffn"));
  const std::uint32_t load = must(out.name("load"));
  const auto add = [&](event record) { expect_ok(out.append(record)); };
  add({.time = 1, .name = load, .kind = event_kind::mark_begin, .detail = 1});
  add({.time = 2,
       .id = 1,
       .bytes = 4096,
       .name = name,
       .site = 77,
       .flags = event_flags::tracked,
       .kind = event_kind::alloc,
       .category = weight,
       .device = cpu,
       .alignment_log2 = 6});
  add({.time = 3, .id = 2, .bytes = 100, .stream = 1, .kind = event_kind::alloc});
  add({.time = 4, .id = 9, .bytes = 1u << 30, .kind = event_kind::alloc, .detail = 1});
  const std::vector<std::uint64_t> ids{1, 2};
  expect_ok(out.append_touch({.time = 5, .detail = 1}, ids));
  const std::vector<std::uint32_t> parts{0, 7, 3};
  expect_ok(out.append_touch({.time = 6, .id = 1, .detail = 1}, parts));
  add({.time = 7, .id = 2, .bytes = 50, .kind = event_kind::touch, .detail = 2});
  add({.time = 8, .id = 2, .kind = event_kind::retag, .category = weight});
  add({.time = 9, .bytes = 1200, .kind = event_kind::sync, .device = cpu});
  add({.time = 9, .id = 2, .bytes = 100, .stream = 1, .kind = event_kind::free});
  add({.time = 9, .bytes = 0, .kind = event_kind::trim});
  const std::string remark = "half-way";
  expect_ok(out.append({.time = 9, .kind = event_kind::comment}, std::as_bytes(std::span(remark))));
  add({.time = 10, .name = load, .kind = event_kind::mark_end, .detail = 1});
  expect_ok(out.close());
  return bytes;
}

/// A random trace that keeps every rule; `tensors` are allocated in all.
inline byte_vector make_random(std::uint64_t seed, int tensors, const writer_options& options,
                               std::vector<owned_event>* written = nullptr) {
  std::mt19937_64 random(seed);
  const auto below = [&](std::uint64_t n) { return random() % n; };
  byte_vector bytes;
  writer out = must(writer::to_memory(bytes, options));
  const auto keep = [&](event record, byte_vector extra = {}) {
    if (written != nullptr) {
      if (has_extra(record.kind)) {
        record.bytes = extra.size();
      }
      written->push_back({record, std::move(extra)});
    }
  };
  const std::string device = "cpu";
  const auto device_bytes = std::as_bytes(std::span(device));
  expect_ok(out.append({.kind = event_kind::define_device}, device_bytes));
  keep({.kind = event_kind::define_device}, {device_bytes.begin(), device_bytes.end()});
  struct live_tensor {
    std::uint64_t id, bytes;
    std::uint32_t generation;
  };
  std::vector<live_tensor> live;
  std::uint64_t time = 0;
  for (int made = 0; made < tensors || !live.empty();) {
    time += below(1000);
    event record{.time = time,
                 .stream = static_cast<std::uint16_t>(below(4)),
                 .thread = static_cast<std::uint16_t>(below(3))};
    const std::uint64_t dice = below(10);
    if (made < tensors && (dice < 4 || live.empty())) {
      record.kind = event_kind::alloc;
      record.id = std::uint64_t{1} + static_cast<std::uint64_t>(made) * 0x100000001u;
      record.bytes = below(std::uint64_t{1} << below(40));
      record.generation = static_cast<std::uint32_t>(random());
      record.alignment_log2 = static_cast<std::uint8_t>(below(12));
      record.site = static_cast<std::uint32_t>(random());
      live.push_back({record.id, record.bytes, record.generation});
      ++made;
    } else if (dice < 7) {
      std::vector<std::uint64_t> ids(1 + below(5));
      for (auto& id : ids) {
        id = live[below(live.size())].id;
      }
      record.kind = event_kind::touch_tensors;
      record.detail = static_cast<std::uint8_t>(1 + below(3));
      expect_ok(out.append_touch(record, ids));
      const auto raw = std::as_bytes(std::span(ids));
      keep(record, {raw.begin(), raw.end()});
      continue;
    } else {
      const std::size_t at = below(live.size());
      record.kind = event_kind::free;
      record.id = live[at].id;
      record.generation = live[at].generation;
      live.erase(live.begin() + static_cast<std::ptrdiff_t>(at));
    }
    expect_ok(out.append(record));
    keep(record);
  }
  expect_ok(out.close());
  return bytes;
}

}  // namespace tidepool::bench::trace::test
