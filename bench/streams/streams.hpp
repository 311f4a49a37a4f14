// SPDX-License-Identifier: Apache-2.0
//
// Streams of accesses as inference makes them: which experts a router chooses, which pages of a KV
// cache attention reads. Deterministic by seed. What real traces show and uniform numbers do not:
// skew that differs from layer to layer, tokens that keep their experts for a while, hot sets that
// change with the task, prompts between decoded tokens, pages that are shared for long beside
// pages that are used once. Sizes: those of models in use (moe_models).
#pragma once

#include "streams/zipf.hpp"

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace tidepool::bench::streams {

struct moe_shape {
  std::string_view name;
  std::uint32_t layers = 0;
  std::uint32_t experts = 0;  ///< of one layer
  std::uint32_t k = 0;        ///< chosen for each token and layer
  [[nodiscard]] constexpr std::size_t entries() const noexcept {
    return std::size_t{layers} * experts;
  }
};
inline constexpr moe_shape moe_models[] = {
    {"gpt-oss-120b", 36, 128, 4}, {"qwen3-30b-a3b", 48, 128, 8}, {"qwen3-235b", 94, 128, 8},
    {"deepseek-v3", 58, 256, 8},  {"kimi-k2", 60, 384, 8},       {"qwen3.5-397b", 60, 512, 10},
};

struct moe_options {
  moe_shape shape = moe_models[3];
  std::uint32_t batch = 64;         ///< sequences that decode at once
  double exponent = 0.6;            ///< of Zipf's law in each layer
  double keeps = 0.3;               ///< probability that a choice is the one of the step before
  std::uint32_t phase_steps = 64;   ///< after which a quarter of each layer's ranking is shuffled
  std::uint32_t prefill_every = 0;  ///< each such step is a prompt's chunk; 0: none
  std::uint32_t prefill_tokens = 2048;
  std::uint64_t seed = 1;
};

/// Experts chosen by a router. The experts of one token in one layer are distinct.
class moe_stream {
 public:
  explicit moe_stream(const moe_options& options);

  struct step {
    /// [layers, tokens, k], numbers within the layer; valid until the next step.
    std::span<const std::int32_t> experts;
    std::uint32_t tokens = 0;
    bool is_prefill = false;
  };
  [[nodiscard]] step next();
  [[nodiscard]] const moe_options& options() const noexcept { return options_; }

 private:
  void change_phase();
  void choose(std::uint32_t layer, const std::int32_t* before, std::int32_t* out);

  moe_options options_;
  generator random_;
  zipf ranks_;
  std::vector<std::int32_t> ranking_;  // [layers, experts]: the expert of each rank
  std::vector<std::int32_t> last_;     // [layers, batch, k] of the decoding sequences
  std::vector<std::int32_t> now_;
  std::uint64_t steps_ = 0;
};

struct kv_options {
  std::uint32_t pages = 35000;
  std::uint32_t sequences = 64;
  std::uint32_t pages_read = 256;      ///< by each sequence and step (sparse attention)
  double shared = 0.4;                 ///< of what is read, from prefixes that many sequences share
  double exponent = 1.0;               ///< of Zipf's law among shared pages
  std::uint32_t sequence_steps = 500;  ///< mean life of a sequence
  std::uint64_t seed = 1;
};

/// Pages read by attention: two classes of reuse. The first tenth of the pages are prefixes that
/// are used for the whole run; the others belong to a sequence, grow with it and change owner with
/// its end.
class kv_stream {
 public:
  explicit kv_stream(const kv_options& options);
  /// Page numbers of one step; valid until the next one.
  [[nodiscard]] std::span<const std::int32_t> next();
  [[nodiscard]] const kv_options& options() const noexcept { return options_; }

 private:
  struct sequence {
    std::uint32_t first = 0;  // of its pages
    std::uint32_t held = 1;   // grows to its share
    std::uint32_t tokens = 0;
  };
  kv_options options_;
  generator random_;
  std::uint32_t shared_pages_;
  std::uint32_t share_;  // pages of one sequence, at most
  zipf ranks_;
  std::vector<sequence> sequences_;
  std::vector<std::int32_t> now_;
};

/// Plain streams of n indices below `size`, for kernels: Zipf's law over a shuffled order, so that
/// neighbours in the table are not neighbours in hotness; or uniform ones.
[[nodiscard]] std::vector<std::int32_t> zipf_indices(std::size_t n, std::uint32_t size,
                                                     double exponent, std::uint64_t seed);
[[nodiscard]] std::vector<std::int32_t> uniform_indices(std::size_t n, std::uint32_t size,
                                                        std::uint64_t seed);

}  // namespace tidepool::bench::streams
