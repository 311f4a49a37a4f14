// SPDX-License-Identifier: Apache-2.0
//
// How the streams are drawn.
#include "streams/streams.hpp"

#include <algorithm>
#include <numeric>

namespace tidepool::bench::streams {

namespace {

void shuffle(std::span<std::int32_t> values, generator& random) {
  for (std::size_t i = values.size(); i > 1; --i) {
    std::swap(values[i - 1], values[random.below(i)]);
  }
}

}  // namespace

moe_stream::moe_stream(const moe_options& options)
    : options_(options),
      random_(options.seed),
      ranks_(options.shape.experts, options.exponent),
      ranking_(options.shape.entries()) {
  for (std::uint32_t l = 0; l < options.shape.layers; ++l) {
    const auto layer =
        std::span(ranking_).subspan(std::size_t{l} * options.shape.experts, options.shape.experts);
    std::iota(layer.begin(), layer.end(), 0);
    shuffle(layer, random_);
  }
}

// A new task: every fourth rank gets another expert.
void moe_stream::change_phase() {
  const std::uint32_t experts = options_.shape.experts;
  for (std::uint32_t l = 0; l < options_.shape.layers; ++l) {
    for (std::uint32_t i = 0; i < experts / 4; ++i) {
      std::swap(ranking_[l * std::size_t{experts} + random_.below(experts)],
                ranking_[l * std::size_t{experts} + random_.below(experts)]);
    }
  }
}

void moe_stream::choose(std::uint32_t layer, const std::int32_t* before, std::int32_t* out) {
  const std::uint32_t k = options_.shape.k;
  const std::int32_t* const ranking = &ranking_[std::size_t{layer} * options_.shape.experts];
  for (std::uint32_t j = 0; j < k; ++j) {
    std::int32_t expert = -1;
    bool keeps = before != nullptr && random_.unit() < options_.keeps;
    do {
      expert = keeps ? before[j] : ranking[ranks_(random_)];
      keeps = false;
    } while (std::find(out, out + j, expert) != out + j);
    out[j] = expert;
  }
}

moe_stream::step moe_stream::next() {
  const moe_shape& shape = options_.shape;
  ++steps_;
  if (options_.phase_steps != 0 && steps_ % options_.phase_steps == 0) {
    change_phase();
  }
  const bool is_prefill = options_.prefill_every != 0 && steps_ % options_.prefill_every == 0;
  const std::uint32_t tokens = is_prefill ? options_.prefill_tokens : options_.batch;
  now_.resize(std::size_t{shape.layers} * tokens * shape.k);
  std::size_t at = 0;
  for (std::uint32_t l = 0; l < shape.layers; ++l) {
    for (std::uint32_t t = 0; t < tokens; ++t, at += shape.k) {
      // A prompt's neighbours are like each other, a decoded token is like its predecessor.
      const std::int32_t* const before = is_prefill      ? t == 0 ? nullptr : &now_[at - shape.k]
                                              : last_.empty() ? nullptr
                                                         : &last_[at];
      choose(l, before, &now_[at]);
    }
  }
  if (!is_prefill) {
    last_ = now_;
  }
  return {.experts = now_, .tokens = tokens, .is_prefill = is_prefill};
}

kv_stream::kv_stream(const kv_options& options)
    : options_(options),
      random_(options.seed),
      shared_pages_(std::max(1U, options.pages / 10)),
      share_(std::max(1U, (options.pages - std::min(options.pages, shared_pages_)) /
                              std::max(1U, options.sequences))),
      ranks_(shared_pages_, options.exponent),
      sequences_(options.sequences) {
  for (std::uint32_t i = 0; i < options.sequences; ++i) {
    sequences_[i].first = std::min(shared_pages_ + i * share_, options.pages - share_);
    sequences_[i].held = static_cast<std::uint32_t>(1 + random_.below(share_));
  }
}

std::span<const std::int32_t> kv_stream::next() {
  constexpr std::uint32_t page_tokens = 16;
  now_.clear();
  for (sequence& each : sequences_) {
    if (random_.below(std::max(1U, options_.sequence_steps)) == 0) {
      each.held = 1;  // its end, and the next one's beginning in the same pages
      each.tokens = 0;
    } else if (++each.tokens % page_tokens == 0) {
      each.held = std::min(each.held + 1, share_);
    }
    for (std::uint32_t i = 0; i < options_.pages_read; ++i) {
      const bool is_shared = random_.unit() < options_.shared;
      now_.push_back(static_cast<std::int32_t>(
          is_shared ? ranks_(random_)
                    // Late pages more often than early ones.
                    : each.first + std::max(random_.below(each.held), random_.below(each.held))));
    }
  }
  return now_;
}

std::vector<std::int32_t> zipf_indices(std::size_t n, std::uint32_t size, double exponent,
                                       std::uint64_t seed) {
  generator random(seed);
  std::vector<std::int32_t> order(size);
  std::iota(order.begin(), order.end(), 0);
  shuffle(order, random);
  const zipf ranks(size, exponent);
  std::vector<std::int32_t> indices(n);
  for (std::int32_t& index : indices) {
    index = order[ranks(random)];
  }
  return indices;
}

std::vector<std::int32_t> uniform_indices(std::size_t n, std::uint32_t size, std::uint64_t seed) {
  generator random(seed);
  std::vector<std::int32_t> indices(n);
  for (std::int32_t& index : indices) {
    index = static_cast<std::int32_t>(random.below(size));
  }
  return indices;
}

}  // namespace tidepool::bench::streams
