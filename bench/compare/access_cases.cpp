// SPDX-License-Identifier: Apache-2.0
//
// What the cases measure. Targets: those of issue 6.
#include "compare/access_cases.hpp"

#include "compare/rivals.hpp"
#include "streams/streams.hpp"
#include <tidepool/cpu/backend.hpp>
#include <tidepool/pool.hpp>

#include <barrier>
#include <memory>
#include <stdexcept>
#include <thread>
#include <utility>

namespace tidepool::bench::compare {

namespace {

using ids = std::vector<std::int32_t>;

// A clock for the batches: each has the next tick.
std::uint64_t tick = 0;

void require(bool holds, const char* what) {
  if (!holds) {
    throw std::runtime_error(std::string("compare: ") + what);
  }
}

struct domain_contest {
  std::string name;
  std::string pattern;
  std::size_t size;
  ids stream;
  std::size_t batch;  ///< ids of one call
  double target = 0;
  double memory_target = 0;  ///< against the bare read-modify-write, where that is measured
  access_mode how = access_mode::occurrence;
};

std::span<const std::int32_t> part(const ids& stream, std::size_t begin, std::size_t batch) {
  return std::span(stream).subspan(begin, std::min(batch, stream.size() - begin));
}

std::vector<row> run(const domain_contest& of, const case_settings& settings) {
  if (settings.progress) {
    settings.progress(of.name + " " + of.pattern);
  }
  pool p{cpu::make_backend()};
  const domain d = *p.make_domain({.size = of.size, .standalone = true});
  reference_table scalar(of.size);
  const mode how = of.how == access_mode::once ? mode::once : mode::occurrence;
  const auto batches = [&of](auto&& each) {
    for (std::size_t at = 0; at < of.stream.size(); at += of.batch) {
      each(part(of.stream, at, of.batch));
    }
  };
  contest held{.name = of.name,
               .pattern = of.pattern + ", " + std::to_string(of.batch) + " ids",
               .size = of.size,
               .units = static_cast<double>(of.stream.size()),
               .ours = {"tidepool",
                        [&] {
                          batches([&](std::span<const std::int32_t> b) {
                            require(p.record_access(
                                         {.where = d, .indices = b, .mode = of.how, .tick = ++tick})
                                        .has_value(),
                                    "a batch failed");
                          });
                        }},
               .rivals = {{"scalar reference",
                           [&] {
                             batches([&](std::span<const std::int32_t> b) {
                               (void)scalar.record(b, how, ++tick);
                             });
                           },
                           of.target}}};
  if (of.memory_target != 0) {
    held.rivals.push_back({"random read-modify-write", [&] { scalar.read_modify_write(of.stream); },
                           of.memory_target});
  }
  return hold(held, settings.how);
}

void append(std::vector<row>& all, std::vector<row> more) {
  for (row& each : more) {
    all.push_back(std::move(each));
  }
}

ids one_in_hundred_is_padding(ids stream) {
  for (std::size_t i = 57; i < stream.size(); i += 100) {
    stream[i] = -1;
  }
  return stream;
}

// Steps of a model, flattened: the domain has the base of each layer.
ids moe_ids(const streams::moe_options& options, std::size_t steps) {
  streams::moe_stream stream(options);
  ids all;
  for (std::size_t s = 0; s < steps; ++s) {
    const streams::moe_stream::step step = stream.next();
    const std::size_t layer = step.experts.size() / options.shape.layers;
    for (std::size_t i = 0; i < step.experts.size(); ++i) {
      all.push_back(static_cast<std::int32_t>(i / layer * options.shape.experts) + step.experts[i]);
    }
  }
  return all;
}

std::vector<row> small_tables(const case_settings& settings) {
  std::vector<row> all;
  const auto zipf = [](std::size_t n) { return streams::zipf_indices(n, 1000, 1.0, 1); };
  append(all,
         run({"D1", "uniform", 1000, streams::uniform_indices(1 << 20, 1000, 1), 1024}, settings));
  append(all, run({"D1", "zipf 1.0", 1000, zipf(1 << 20), 1024}, settings));
  append(all,
         run({"D1", "zipf 1.0, 1 % padding", 1000, one_in_hundred_is_padding(zipf(1 << 20)), 1024},
             settings));
  append(all, run({"D1", "zipf 1.0", 1000, zipf(1 << 16), 8}, settings));
  append(all,
         run({"D1", "zipf 1.0, once per batch", 1000, zipf(1 << 20), 1024, 0, 0, access_mode::once},
             settings));
  const streams::moe_options decode{.shape = streams::moe_models[3], .batch = 64};
  append(all, run({"D1", "deepseek-v3 decode, batch 64, one call a step", decode.shape.entries(),
                   moe_ids(decode, 8), std::size_t{58} * 64 * 8},
                  settings));
  const streams::moe_options single{.shape = streams::moe_models[1], .batch = 1};
  append(all, run({"D1", "qwen3-30b decode, batch 1, one call a layer", single.shape.entries(),
                   moe_ids(single, 64), 8},
                  settings));
  return all;
}

std::vector<row> many_ids(const case_settings& settings) {
  std::vector<row> all;
  for (const std::size_t batch : {std::size_t{64'000}, std::size_t{1} << 20}) {
    append(all,
           run({"D2", "uniform", 1000, streams::uniform_indices(1 << 20, 1000, 2), batch, 0.45},
               settings));
    append(all,
           run({"D2", "zipf 1.0", 1000, streams::zipf_indices(1 << 20, 1000, 1.0, 2), batch, 0.45},
               settings));
  }
  append(all, run({"D2", "zipf 1.0, 1 % padding", 1000,
                   one_in_hundred_is_padding(streams::zipf_indices(1 << 20, 1000, 1.0, 2)), 64'000,
                   0.45},
                  settings));
  const streams::moe_options prompt{
      .shape = streams::moe_models[3], .prefill_every = 1, .prefill_tokens = 2048};
  append(all, run({"D2", "deepseek-v3 prefill, 2048 tokens", prompt.shape.entries(),
                   moe_ids(prompt, 1), std::size_t{58} * 2048 * 8, 0.45},
                  settings));
  return all;
}

std::vector<row> middle_tables(const case_settings& settings) {
  std::vector<row> all;
  constexpr std::uint32_t size = 100'000;
  for (const std::size_t batch : {1024, 65'536, 1 << 20}) {
    append(all,
           run({"D3", "uniform", size, streams::uniform_indices(1 << 20, size, 3), batch, 0.80},
               settings));
    append(all,
           run({"D3", "zipf 1.0", size, streams::zipf_indices(1 << 20, size, 1.0, 3), batch, 0.80},
               settings));
  }
  streams::kv_stream pages({.pages = size, .sequences = 256});
  ids read;
  for (int s = 0; s < 16; ++s) {
    const auto step = pages.next();
    read.insert(read.end(), step.begin(), step.end());
  }
  append(all,
         run({"D3", "KV pages of 256 sequences", size, std::move(read), 65'536, 0.80}, settings));
  return all;
}

std::vector<row> large_tables(const case_settings& settings) {
  std::vector<row> all;
  const std::uint32_t size = settings.quick ? 1'000'000 : 10'000'000;
  for (const std::size_t batch : {65'536, 1 << 20}) {
    append(all,
           run({"D4", "uniform", size, streams::uniform_indices(1 << 22, size, 4), batch, 1.0, 1.2},
               settings));
    append(all,
           run({"D4", "zipf 1.0", size, streams::zipf_indices(1 << 22, size, 1.0, 4), batch, 0.75},
               settings));
  }
  return all;
}

// Threads that do one thing at the same time, again and again.
class crew {
 public:
  explicit crew(unsigned n) : begin_(n + 1), end_(n + 1) {
    for (unsigned t = 0; t < n; ++t) {
      threads_.emplace_back([this, t] {
        for (;;) {
          begin_.arrive_and_wait();
          if (work_ == nullptr) {
            return;
          }
          (*work_)(t);
          end_.arrive_and_wait();
        }
      });
    }
  }
  ~crew() {
    work_ = nullptr;
    begin_.arrive_and_wait();
    for (std::thread& each : threads_) {
      each.join();
    }
  }
  void run(const std::function<void(unsigned)>& work) {
    work_ = &work;
    begin_.arrive_and_wait();
    end_.arrive_and_wait();
  }

 private:
  std::barrier<> begin_;
  std::barrier<> end_;
  const std::function<void(unsigned)>* work_ = nullptr;
  std::vector<std::thread> threads_;
};

std::vector<row> two_threads(const case_settings& settings) {
  std::vector<row> all;
  for (const std::size_t batch : {1024, 65'536}) {
    for (const bool is_zipf : {false, true}) {
      if (settings.progress) {
        settings.progress("D5");
      }
      constexpr std::uint32_t size = 1000;
      const ids stream = is_zipf ? streams::zipf_indices(1 << 20, size, 1.0, 5)
                                 : streams::uniform_indices(1 << 20, size, 5);
      pool p{cpu::make_backend()};
      const domain d = *p.make_domain({.size = size, .standalone = true});
      atomic_table atomics(size);
      reference_table locked(size);
      std::mutex mutex;
      crew threads(2);
      const auto batches = [&](auto&& each) {
        for (std::size_t at = 0; at < stream.size(); at += batch) {
          each(part(stream, at, batch));
        }
      };
      std::uint64_t now = 0;
      const std::function<void(unsigned)> ours = [&](unsigned) {
        batches([&](std::span<const std::int32_t> b) {
          (void)p.record_access({.where = d, .indices = b, .tick = now});
        });
      };
      const std::function<void(unsigned)> by_atomics = [&](unsigned) {
        batches([&](std::span<const std::int32_t> b) { (void)atomics.record(b, now); });
      };
      const std::function<void(unsigned)> by_mutex = [&](unsigned) {
        batches([&](std::span<const std::int32_t> b) {
          const std::lock_guard lock(mutex);
          (void)locked.record(b, mode::occurrence, now);
        });
      };
      const auto in_crew = [&](const std::function<void(unsigned)>& work) {
        return [&] {
          ++now;
          threads.run(work);
        };
      };
      append(all, hold({.name = "D5",
                        .pattern = std::string(is_zipf ? "zipf 1.0" : "uniform") + ", same ids, " +
                                   std::to_string(batch) + " ids",
                        .size = size,
                        .threads = 2,
                        .units = static_cast<double>(stream.size()),
                        .ours = {"tidepool", in_crew(ours)},
                        .rivals = {{"relaxed atomics", in_crew(by_atomics), 0.15},
                                   {"scalar, one mutex", in_crew(by_mutex)}}},
                       settings.how));
    }
  }
  return all;
}

// A pool whose tensors have the keys 1 .. n and no bytes.
struct keyed_pool {
  explicit keyed_pool(std::size_t n)
      : p({cpu::make_backend()}, {.max_tensors = n + (std::size_t{1} << 16)}) {
    tensors.reserve(n);
    for (std::size_t i = 0; i < n; ++i) {
      const result<raw_tensor> made =
          p.allocate_raw(0, {}, {.category = category::kv_cache, .key = i + 1});
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

std::vector<row> keys_case(const case_settings& settings) {
  std::vector<row> all;
  for (const std::size_t size : key_sizes(settings)) {
    if (settings.progress) {
      settings.progress("D6, " + std::to_string(size) + " keys");
    }
    keyed_pool ours(size);
    probe_table probe(size);
    for (std::size_t i = 0; i < size; ++i) {
      probe.insert(i + 1, static_cast<std::uint32_t>(i));
    }
    locked_map map(size);
    for (const bool is_zipf : {false, true}) {
      constexpr std::size_t batch = 65'536;
      const auto n = static_cast<std::uint32_t>(size);
      const ids chosen = is_zipf ? streams::zipf_indices(1 << 20, n, 1.0, 6)
                                 : streams::uniform_indices(1 << 20, n, 6);
      std::vector<std::uint64_t> keys;
      for (const std::int32_t id : chosen) {
        keys.push_back(static_cast<std::uint64_t>(id) + 1);
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
                             const auto done = ours.p.record_access({.keys = b, .tick = ++tick});
                             require(done && done->recorded == b.size(), "a key was not found");
                           });
                         }},
                .rivals = {{"scalar probe",
                            [&] { batches([&](span b) { (void)probe.record(b, ++tick); }); },
                            size > 1'000'000 ? 0.75 : 0.5},
                           {"mutex and unordered_map",
                            [&] { batches([&](span b) { (void)map.record(b, ++tick); }); }, 0.05}}},
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
        keys.push_back(static_cast<std::uint64_t>(id) + 1);
      }
      append(
          all,
          hold({.name = "D7",
                .pattern = std::string(is_zipf ? "zipf 1.0" : "uniform") + ", tensor ids",
                .size = size,
                .units = static_cast<double>(named.size()),
                .ours = {"tidepool",
                         [&] {
                           for (std::size_t at = 0; at < named.size(); at += batch) {
                             (void)ours.p.record_access(
                                 {.tensors = std::span(named).subspan(at, batch), .tick = ++tick});
                           }
                         }},
                .rivals = {{"tidepool, by key",
                            [&] {
                              for (std::size_t at = 0; at < keys.size(); at += batch) {
                                (void)ours.p.record_access(
                                    {.keys = std::span(keys).subspan(at, batch), .tick = ++tick});
                              }
                            },
                            0.5}}},
               settings.how));
    }
  }
  return all;
}

constexpr comparison_case cases[] = {
    {"D1", "batches of domain indices, 1e3 entries and models' tables", small_tables},
    {"D2", "the same, 64 ids and more for each entry", many_ids},
    {"D3", "1e5 entries", middle_tables},
    {"D4", "1e7 entries", large_tables},
    {"D5", "two threads, same ids", two_threads},
    {"D6", "callers' keys", keys_case},
    {"D7", "tensor ids instead of keys", tensor_ids_case},
};

}  // namespace

std::span<const comparison_case> all_cases() noexcept {
  return cases;
}

}  // namespace tidepool::bench::compare
