// SPDX-License-Identifier: Apache-2.0
//
// Replays the reads of a trace.
#include "tidepool/replay/accesses.hpp"

#include "tidepool/replay/make_pool.hpp"
#include "tidepool/replay/samples.hpp"
#include "tidepool/replay/vocabulary.hpp"
#include <tidepool/access_tracker.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <exception>
#include <span>
#include <utility>

namespace tidepool::bench {
namespace {

/// What one pass replayed and how long it took.
struct access_totals {
  double ns = 0;
  std::uint64_t reads = 0;
  std::uint64_t batches = 0;
};

// One pass over a plan: a pool, the tensors that live, the clock.
class access_pass {
 public:
  access_pass(const replay_plan& plan, pool& target)
      : plan_(plan.accesses), pool_(target), words_(target, plan) {
    if (const result<domain> made = pool_.accesses().make_domain({.size = plan_.elements}); made) {
      parts_ = *made;
    }
    live_.resize(plan_.tensors.size());
  }
  access_pass(const access_pass&) = delete;
  access_pass& operator=(const access_pass&) = delete;
  ~access_pass() {
    for (const tensor_id id : live_) {
      (void)pool_.deallocate(id);
    }
  }

  [[nodiscard]] access_totals run() {
    access_totals totals;
    for (auto step = plan_.steps.begin(); step != plan_.steps.end();) {
      if (step->kind == access_plan::step_kind::begin) {
        begin(step->first);
        ++step;
      } else if (step->kind == access_plan::step_kind::end) {
        (void)pool_.deallocate(std::exchange(live_[step->first], {}));
        ++step;
      } else {
        const auto next = std::find_if(step, plan_.steps.end(), [](const access_plan::step& each) {
          return each.kind != access_plan::step_kind::read;
        });
        gather({step, next});
        totals.ns += record_all();
        for (const batch& each : batches_) {
          totals.batches += (each.tensors != 0 ? 1U : 0U) + (each.parts != 0 ? 1U : 0U);
          totals.reads += each.tensors + each.parts;
        }
        step = next;
      }
    }
    return totals;
  }

  [[nodiscard]] std::vector<access_figures::ranked> rank(bool hottest) const {
    std::array<access_info, 5> best;
    const std::size_t n = hottest ? pool_.accesses().hottest(best, access_order::count)
                                  : pool_.accesses().coldest(best, access_order::count);
    std::vector<access_figures::ranked> answer;
    for (std::size_t i = 0; i < n; ++i) {
      const result<tensor_info> info = pool_.info(best[i].id);
      answer.push_back({.name = info ? std::string(pool_.name(info->name)) : std::string{},
                        .part = best[i].part,
                        .count = best[i].count});
    }
    return answer;
  }

 private:
  struct batch {
    std::size_t first_tensor;
    std::size_t tensors;
    std::size_t first_part;
    std::size_t parts;
  };

  void begin(std::uint32_t number) {
    const access_plan::tensor& one = plan_.tensors[number];
    const result<raw_tensor> made =
        pool_.allocate_raw(0, pool_.devices().front().where,
                           {.category = words_.category_of(one.category),
                            .tracked = true,
                            .name = words_.name_of(one.name)});
    if (!made) {
      return;
    }
    live_[number] = made->id;
    if (one.parts != 0) {
      (void)pool_.accesses().track(made->id, one.parts);
      (void)pool_.accesses().bind_parts(parts_, one.first_element, made->id);
    }
  }

  // Puts the ids and elements that batches read side by side, so that the clock sees calls only.
  void gather(std::span<const access_plan::step> steps) {
    batches_.clear();
    whole_.clear();
    elements_.clear();
    for (const access_plan::step& step : steps) {
      batch next{whole_.size(), 0, elements_.size(), 0};
      for (const access_plan::read& read : std::span(plan_.reads).subspan(step.first, step.count)) {
        if (read.part == access_plan::whole) {
          whole_.push_back(live_[read.tensor]);
          ++next.tensors;
        } else {
          elements_.push_back(
              static_cast<std::int64_t>(plan_.tensors[read.tensor].first_element + read.part));
          ++next.parts;
        }
      }
      batches_.push_back(next);
    }
  }

  // Records the gathered batches. The time in ns of all of them together.
  [[nodiscard]] double record_all() {
    const auto begin = std::chrono::steady_clock::now();
    for (const batch& each : batches_) {
      ++tick_;
      if (each.tensors != 0) {
        (void)pool_.accesses().record(
            {.tensors = std::span(whole_).subspan(each.first_tensor, each.tensors), .tick = tick_});
      }
      if (each.parts != 0) {
        const std::span<const std::int64_t> some =
            std::span(elements_).subspan(each.first_part, each.parts);
        (void)pool_.accesses().record({.where = parts_, .indices = some, .tick = tick_});
      }
    }
    const auto end = std::chrono::steady_clock::now();
    return std::chrono::duration<double, std::nano>(end - begin).count();
  }

  const access_plan& plan_;
  pool& pool_;
  const vocabulary words_;
  domain parts_;
  std::vector<tensor_id> live_;
  std::vector<batch> batches_;
  std::vector<tensor_id> whole_;
  std::vector<std::int64_t> elements_;
  std::uint64_t tick_ = 0;
};

}  // namespace

trace::result<access_figures> replay_accesses(const replay_plan& plan, unsigned passes) noexcept {
  try {
    access_figures figures;
    std::vector<float> times;
    for (unsigned i = 0; i < std::max(passes, 1U); ++i) {
      result<pool> made = make_pool({.tensors = plan.accesses.tensors.size()});
      if (!made) {
        return trace::error{.code = trace::errc::out_of_memory, .reason = "no pool for accesses"};
      }
      access_pass pass(plan, *made);
      const access_totals totals = pass.run();
      if (totals.reads != 0) {
        times.push_back(static_cast<float>(totals.ns / static_cast<double>(totals.reads)));
      }
      figures = {.reads = totals.reads,
                 .batches = totals.batches,
                 .left_out = plan.accesses.left_out,
                 .hottest = pass.rank(true),
                 .coldest = pass.rank(false)};
    }
    figures.ns_per_read = quantile(times, 0.5);
    return figures;
  } catch (const std::exception& failure) {
    return trace::error{.code = trace::errc::out_of_memory, .reason = failure.what()};
  }
}

}  // namespace tidepool::bench
