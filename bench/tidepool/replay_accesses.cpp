// SPDX-License-Identifier: Apache-2.0
//
// Decoding reads, and replaying them.
#include "replay_accesses.hpp"

#include "make_pool.hpp"
#include "samples.hpp"
#include <tidepool/access_tracker.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <unordered_map>
#include <unordered_set>
#include <utility>

namespace tidepool::bench {
namespace {

struct tracked_tensor {
  std::uint32_t name = 0;
  std::uint8_t category = 0;
  std::uint32_t parts = 0;        // 0: none were read
  std::size_t first_element = 0;  // of its parts, in the domain
};

enum class step_kind : std::uint8_t { begin, end, read };

struct access_step {
  step_kind kind;
  std::uint32_t tensor;  // begin, end: which; read: the first of its reads
  std::uint32_t count;   // of reads
};

struct one_read {
  std::uint32_t tensor;
  std::uint32_t part;  // UINT32_MAX: the whole
};

struct access_plan {
  std::vector<tracked_tensor> tensors;
  std::vector<access_step> steps;
  std::vector<one_read> reads;
  std::vector<std::string> names;
  std::vector<std::string> categories;
  std::size_t elements = 0;
  std::uint64_t left_out = 0;
};

bool is_evictable_name(std::string_view text) {
  static constexpr std::array names{"weight",  "kv_cache",  "expert",     "embedding",
                                    "adapter", "optimizer", "persistent", "other"};
  return std::find(names.begin(), names.end(), text) != names.end();
}

class access_decoder {
 public:
  explicit access_decoder(trace::reader& input) : input_(input) {}

  access_plan run() {
    while (const trace::event_view* seen = input_.next()) {
      take(*seen);
    }
    flush();
    for (tracked_tensor& each : plan_.tensors) {
      each.first_element = plan_.elements;
      plan_.elements += each.parts;
    }
    return std::move(plan_);
  }

 private:
  void take(const trace::event_view& seen) {
    const trace::event& record = seen.record;
    switch (record.kind) {
    case trace::event_kind::define_name:
      define(plan_.names, record.id, seen.text());
      break;
    case trace::event_kind::define_category:
      define(plan_.categories, record.category, seen.text());
      break;
    case trace::event_kind::alloc:
      begin(record);
      break;
    case trace::event_kind::free:
      end(record.id);
      break;
    case trace::event_kind::touch:
      read(record, record.id, UINT32_MAX);
      break;
    case trace::event_kind::touch_tensors:
      for (std::size_t i = 0; i < seen.ids().size(); ++i) {
        read(record, seen.ids()[i], UINT32_MAX);
      }
      break;
    case trace::event_kind::touch_parts:
      for (std::size_t i = 0; i < seen.parts().size(); ++i) {
        read(record, record.id, seen.parts()[i]);
      }
      break;
    case trace::event_kind::mark_begin:
    case trace::event_kind::mark_end:
      flush();
      break;
    default:
      break;
    }
  }

  static void define(std::vector<std::string>& texts, std::size_t index, std::string_view text) {
    texts.resize(std::max(texts.size(), index + 1));
    texts[index] = text;
  }

  void begin(const trace::event& record) {
    const bool has_text = record.category < plan_.categories.size();
    const bool tracked = (record.flags & trace::event_flags::tracked) != 0 ||
                         (has_text && is_evictable_name(plan_.categories[record.category]));
    if (!tracked || record.detail == static_cast<std::uint8_t>(trace::outcome::out_of_memory)) {
      return;
    }
    const auto number = static_cast<std::uint32_t>(plan_.tensors.size());
    live_[record.id] = number;
    plan_.tensors.push_back({.name = record.name, .category = record.category});
    plan_.steps.push_back({step_kind::begin, number, 0});
  }

  void end(std::uint64_t id) {
    const auto found = live_.find(id);
    if (found == live_.end()) {
      return;
    }
    if (pending_.count(found->second) != 0) {
      flush();
    }
    plan_.steps.push_back({step_kind::end, found->second, 0});
    live_.erase(found);
  }

  void read(const trace::event& record, std::uint64_t id, std::uint32_t part) {
    constexpr std::uint32_t most_parts = 1U << 20;  // of all tensors together
    if ((record.detail & static_cast<std::uint8_t>(trace::access::read)) == 0) {
      return;
    }
    const auto found = live_.find(id);
    if (found == live_.end() || (part != UINT32_MAX && part >= most_parts)) {
      ++plan_.left_out;
      return;
    }
    if (part != UINT32_MAX) {
      std::uint32_t& parts = plan_.tensors[found->second].parts;
      const std::uint32_t more = std::max(parts, part + 1) - parts;
      if (all_parts_ + more > most_parts) {
        ++plan_.left_out;
        return;
      }
      parts += more;
      all_parts_ += more;
    }
    pending_.insert(found->second);
    plan_.reads.push_back({found->second, part});
    ++pending_reads_;
  }

  void flush() {
    if (pending_reads_ != 0) {
      plan_.steps.push_back({step_kind::read,
                             static_cast<std::uint32_t>(plan_.reads.size() - pending_reads_),
                             static_cast<std::uint32_t>(pending_reads_)});
    }
    pending_.clear();
    pending_reads_ = 0;
  }

  trace::reader& input_;
  access_plan plan_;
  std::unordered_map<std::uint64_t, std::uint32_t> live_;
  std::unordered_set<std::uint32_t> pending_;
  std::size_t pending_reads_ = 0;
  std::size_t all_parts_ = 0;
};

// One pass over a plan: a pool, the tensors that live, the clock.
class access_pass {
 public:
  access_pass(const access_plan& plan, pool& target) : plan_(plan), pool_(target) {
    if (const result<domain> made = pool_.accesses().make_domain({.size = plan.elements}); made) {
      parts_ = *made;
    }
    for (const std::string& name : plan.names) {
      names_.push_back(pool_.intern(name));
    }
    for (const std::string& name : plan.categories) {
      categories_.push_back(bench::category_of(pool_, name));
    }
    live_.resize(plan.tensors.size());
  }
  access_pass(const access_pass&) = delete;
  access_pass& operator=(const access_pass&) = delete;
  ~access_pass() {
    for (const tensor_id id : live_) {
      (void)pool_.deallocate(id);
    }
  }

  double run(access_figures& figures) {
    double total = 0;
    for (std::size_t at = 0; at < plan_.steps.size();) {
      const access_step& step = plan_.steps[at];
      if (step.kind == step_kind::begin) {
        begin(step.tensor);
        ++at;
      } else if (step.kind == step_kind::end) {
        (void)pool_.deallocate(std::exchange(live_[step.tensor], {}));
        ++at;
      } else {
        total += read_stretch(at, figures);
      }
    }
    return total;
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
  void begin(std::uint32_t number) {
    const tracked_tensor& t = plan_.tensors[number];
    const result<raw_tensor> made = pool_.allocate_raw(
        0, pool_.devices().front().where,
        {.category = t.category < categories_.size() ? categories_[t.category] : category::other,
         .tracked = true,
         .name = t.name < names_.size() ? names_[t.name] : name_id{}});
    if (!made) {
      return;
    }
    live_[number] = made->id;
    if (t.parts != 0) {
      (void)pool_.accesses().track(made->id, t.parts);
      (void)pool_.accesses().bind_parts(parts_, t.first_element, made->id);
    }
  }

  // All batches from here to the next tensor's begin or end, timed together.
  double read_stretch(std::size_t& at, access_figures& figures) {
    batches_.clear();
    whole_.clear();
    elements_.clear();
    for (; at < plan_.steps.size() && plan_.steps[at].kind == step_kind::read; ++at) {
      const access_step& step = plan_.steps[at];
      batch next{whole_.size(), 0, elements_.size(), 0};
      for (std::uint32_t i = step.tensor; i < step.tensor + step.count; ++i) {
        const one_read& read = plan_.reads[i];
        if (read.part == UINT32_MAX) {
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
    for (const batch& each : batches_) {
      figures.batches += (each.tensors != 0 ? 1U : 0U) + (each.parts != 0 ? 1U : 0U);
      figures.reads += each.tensors + each.parts;
    }
    return std::chrono::duration<double, std::nano>(end - begin).count();
  }

  struct batch {
    std::size_t first_tensor;
    std::size_t tensors;
    std::size_t first_part;
    std::size_t parts;
  };
  const access_plan& plan_;
  pool& pool_;
  domain parts_;
  std::vector<name_id> names_;
  std::vector<category> categories_;
  std::vector<tensor_id> live_;
  std::vector<batch> batches_;
  std::vector<tensor_id> whole_;
  std::vector<std::int64_t> elements_;
  std::uint64_t tick_ = 0;
};

}  // namespace

trace::result<access_figures> replay_accesses(const std::string& path, unsigned passes) noexcept {
  try {
    trace::result<trace::reader> input = trace::reader::open(path);
    if (!input) {
      return input.error();
    }
    const access_plan plan = access_decoder(*input).run();
    if (input->failure()) {
      return *input->failure();
    }
    access_figures figures;
    std::vector<float> times;
    for (unsigned i = 0; i < std::max(passes, 1U); ++i) {
      result<pool> made = make_pool({.tensors = plan.tensors.size()});
      if (!made) {
        return trace::error{.code = trace::errc::out_of_memory, .reason = "no pool for accesses"};
      }
      access_pass pass(plan, *made);
      figures = {};
      const double ns = pass.run(figures);
      if (figures.reads != 0) {
        times.push_back(static_cast<float>(ns / static_cast<double>(figures.reads)));
      }
      figures.hottest = pass.rank(true);
      figures.coldest = pass.rank(false);
    }
    figures.ns_per_read = quantile(times, 0.5);
    figures.left_out = plan.left_out;
    return figures;
  } catch (const std::exception& failure) {
    return trace::error{.code = trace::errc::out_of_memory, .reason = failure.what()};
  }
}

}  // namespace tidepool::bench
