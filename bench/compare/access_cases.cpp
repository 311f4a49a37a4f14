// SPDX-License-Identifier: Apache-2.0
//
// What the cases measure. Targets: those of issue 6.
#include "compare/access_cases.hpp"

#include "compare/case_parts.hpp"
#include "compare/rivals.hpp"
#include "streams/streams.hpp"
#include <tidepool/access_tracker.hpp>
#include <tidepool/cpu/backend.hpp>
#include <tidepool/pool.hpp>

#include <stdexcept>
#include <utility>

namespace tidepool::bench::compare {

namespace {

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

std::vector<row> run(const domain_contest& of, const case_settings& settings) {
  if (settings.progress) {
    settings.progress(of.name + " " + of.pattern);
  }
  pool p{cpu::make_backend()};
  const domain d = *p.accesses().make_domain({.size = of.size, .standalone = true});
  reference_table scalar(of.size);
  const mode how = of.how == access_mode::once ? mode::once : mode::occurrence;
  const auto batches = [&of](auto&& each) {
    for (std::size_t at = 0; at < of.stream.size(); at += of.batch) {
      each(part(of.stream, at, of.batch));
    }
  };
  contest held{
      .name = of.name,
      .pattern = of.pattern + ", " + std::to_string(of.batch) + " ids",
      .size = of.size,
      .units = static_cast<double>(of.stream.size()),
      .ours = {"tidepool",
               [&] {
                 batches([&](std::span<const std::int32_t> b) {
                   require(
                       p.accesses()
                           .record({.where = d, .indices = b, .mode = of.how, .tick = ++batch_tick})
                           .has_value(),
                       "a batch failed");
                 });
               }},
      .rivals = {{"scalar reference",
                  [&] {
                    batches([&](std::span<const std::int32_t> b) {
                      (void)scalar.record(b, how, ++batch_tick);
                    });
                  },
                  of.target}}};
  if (of.memory_target != 0) {
    held.rivals.push_back({"random read-modify-write", [&] { scalar.read_modify_write(of.stream); },
                           of.memory_target});
  }
  return hold(held, settings.how);
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
  for (const std::size_t batch : {std::size_t{1024}, std::size_t{65'536}, std::size_t{1} << 20}) {
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
  for (const std::size_t batch : {std::size_t{65'536}, std::size_t{1} << 20}) {
    append(all,
           run({"D4", "uniform", size, streams::uniform_indices(1 << 22, size, 4), batch, 1.0, 1.2},
               settings));
    append(all,
           run({"D4", "zipf 1.0", size, streams::zipf_indices(1 << 22, size, 1.0, 4), batch, 0.75},
               settings));
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
