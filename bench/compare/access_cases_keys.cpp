// SPDX-License-Identifier: Apache-2.0
//
// D6 and D7: callers' keys, and tensor ids instead of them.
#include "compare/case_parts.hpp"
#include "compare/rivals.hpp"
#include "streams/streams.hpp"
#include <tidepool/access_tracker.hpp>
#include <tidepool/cpu/backend.hpp>
#include <tidepool/pool.hpp>

namespace tidepool::bench::compare {

namespace {

// Callers' ids are any numbers: hashes of objects, sequence ids, addresses.
std::uint64_t key_of(std::size_t i) {
  return streams::generator(i)() | 1;
}

// A pool whose tensors have the keys key_of(0) .. key_of(n - 1) and no bytes.
struct keyed_pool {
  explicit keyed_pool(std::size_t n)
      : p({cpu::make_backend()}, {.max_tensors = n + (std::size_t{1} << 16)}) {
    tensors.reserve(n);
    for (std::size_t i = 0; i < n; ++i) {
      const result<raw_tensor> made =
          p.allocate_raw(0, {}, {.category = category::kv_cache, .key = key_of(i)});
      require(made.has_value(), "no memory for the tensors");
      tensors.push_back(made->id);
    }
  }
  ~keyed_pool() { (void)p.deallocate_n(tensors); }
  keyed_pool(const keyed_pool&) = delete;
  keyed_pool& operator=(const keyed_pool&) = delete;

  pool p;
  std::vector<tensor_id> tensors;
};

std::vector<std::size_t> key_sizes(const case_settings& settings) {
  return settings.quick ? std::vector<std::size_t>{100'000}
                        : std::vector<std::size_t>{100'000, 10'000'000};
}

}  // namespace

std::vector<row> keys_case(const case_settings& settings) {
  std::vector<row> all;
  for (const std::size_t size : key_sizes(settings)) {
    if (settings.progress) {
      settings.progress("D6, " + std::to_string(size) + " keys");
    }
    keyed_pool ours(size);
    probe_table probe(size);
    for (std::size_t i = 0; i < size; ++i) {
      probe.insert(key_of(i), static_cast<std::uint32_t>(i));
    }
    locked_map map(size);
    for (std::size_t i = 0; i < size; ++i) {
      map.insert(key_of(i));
    }
    for (const bool is_zipf : {false, true}) {
      constexpr std::size_t batch = 65'536;
      const auto n = static_cast<std::uint32_t>(size);
      const ids chosen = is_zipf ? streams::zipf_indices(1 << 20, n, 1.0, 6)
                                 : streams::uniform_indices(1 << 20, n, 6);
      std::vector<std::uint64_t> keys;
      for (const std::int32_t id : chosen) {
        keys.push_back(key_of(static_cast<std::size_t>(id)));
      }
      const auto batches = [&](auto&& each) {
        for (std::size_t at = 0; at < keys.size(); at += batch) {
          each(std::span<const std::uint64_t>(keys).subspan(at, batch));
        }
      };
      using span = std::span<const std::uint64_t>;
      append(
          all,
          hold({.name = "D6",
                .pattern = std::string(is_zipf ? "zipf 1.0" : "uniform") + ", keys",
                .size = size,
                .unit = "ns/key",
                .units = static_cast<double>(keys.size()),
                .ours = {"tidepool",
                         [&] {
                           batches([&](span b) {
                             const auto done =
                                 ours.p.accesses().record({.keys = b, .tick = ++batch_tick});
                             require(done && done->recorded == b.size(), "a key was not found");
                           });
                         }},
                .rivals = {{"scalar probe",
                            [&] { batches([&](span b) { (void)probe.record(b, ++batch_tick); }); },
                            size > 1'000'000 ? 0.75 : 0.5},
                           {"mutex and unordered_map",
                            [&] { batches([&](span b) { (void)map.record(b, ++batch_tick); }); },
                            0.05}}},
               settings.how));
    }
  }
  return all;
}

std::vector<row> tensor_ids_case(const case_settings& settings) {
  std::vector<row> all;
  for (const std::size_t size : key_sizes(settings)) {
    if (settings.progress) {
      settings.progress("D7, " + std::to_string(size) + " tensors");
    }
    keyed_pool ours(size);
    for (const bool is_zipf : {false, true}) {
      constexpr std::size_t batch = 65'536;
      const auto n = static_cast<std::uint32_t>(size);
      const ids chosen = is_zipf ? streams::zipf_indices(1 << 20, n, 1.0, 7)
                                 : streams::uniform_indices(1 << 20, n, 7);
      std::vector<tensor_id> named;
      std::vector<std::uint64_t> keys;
      for (const std::int32_t id : chosen) {
        named.push_back(ours.tensors[static_cast<std::size_t>(id)]);
        keys.push_back(key_of(static_cast<std::size_t>(id)));
      }
      append(all, hold({.name = "D7",
                        .pattern = std::string(is_zipf ? "zipf 1.0" : "uniform") + ", tensor ids",
                        .size = size,
                        .units = static_cast<double>(named.size()),
                        .ours = {"tidepool",
                                 [&] {
                                   for (std::size_t at = 0; at < named.size(); at += batch) {
                                     (void)ours.p.accesses().record(
                                         {.tensors = std::span(named).subspan(at, batch),
                                          .tick = ++batch_tick});
                                   }
                                 }},
                        .rivals = {{"tidepool, by key",
                                    [&] {
                                      for (std::size_t at = 0; at < keys.size(); at += batch) {
                                        (void)ours.p.accesses().record(
                                            {.keys = std::span(keys).subspan(at, batch),
                                             .tick = ++batch_tick});
                                      }
                                    },
                                    0.5}}},
                       settings.how));
    }
  }
  return all;
}

}  // namespace tidepool::bench::compare
