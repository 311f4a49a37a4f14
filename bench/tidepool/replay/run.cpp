// SPDX-License-Identifier: Apache-2.0
//
// Builds the allocators, runs their passes in turn on all threads and sums up.
#include "tidepool/replay/run.hpp"

#include "tidepool/machine.hpp"
#include "tidepool/progress_bar.hpp"
#include "tidepool/quantity.hpp"
#include "tidepool/replay/contestants.hpp"
#include "tidepool/replay/make_pool.hpp"
#include "tidepool/replay/samples.hpp"
#include "tidepool/replay/streams.hpp"
#include "tidepool/replay/vocabulary.hpp"
#include <tidepool/control.hpp>

#include <malloc.h>
#include <sys/resource.h>

#include <array>
#include <barrier>
#include <memory>
#include <random>
#include <span>
#include <thread>
#include <utility>
#include <variant>

namespace tidepool::bench {
namespace {

using any_contestant = std::variant<pool_contestant, stream_pool_contestant, aligned_contestant,
                                    malloc_contestant, naive_contestant, null_contestant>;

template <class Contestant>
inline constexpr bool is_tidepool = std::is_same_v<Contestant, pool_contestant> ||
                                    std::is_same_v<Contestant, stream_pool_contestant>;

std::uint64_t page_faults_of_this_thread() noexcept {
  rusage usage{};
  return getrusage(RUSAGE_THREAD, &usage) == 0
             ? static_cast<std::uint64_t>(usage.ru_minflt + usage.ru_majflt)
             : 0;
}

/// What the C library holds from the system, now and (used by the harness itself) before.
struct heap_survey {
  std::uint64_t before = 0;
  std::uint64_t held = 0;

  static std::uint64_t used_now() noexcept {
    const struct mallinfo2 heap = mallinfo2();
    return heap.uordblks + heap.hblkhd;
  }
  static void take(void* context) noexcept {
    const struct mallinfo2 heap = mallinfo2();
    static_cast<heap_survey*>(context)->held = heap.arena + heap.hblkhd;
  }
};

/// What one thread saw of one contestant.
struct thread_tally {
  std::vector<pass_record> rounds;  ///< [0] is the cold one
  std::uint64_t faults = 0;
  std::uint64_t cold_faults = 0;
};

class session {
 public:
  /// `streams` has the plan's streams; it is empty where the device has none.
  session(replay_plan& plan, const replay_settings& settings, pool& target,
          std::span<const stream_ref> streams)
      : plan_(plan),
        settings_(settings),
        pool_(target),
        streams_(streams),
        threads_(settings.copies != 0 ? settings.copies
                                      : static_cast<unsigned>(plan.threads.size())),
        barrier_(static_cast<std::ptrdiff_t>(threads_)) {
    choose_contestants();
    make_schedule();
    make_tallies();
  }

  replay_figures run() {
    {
      std::vector<std::jthread> others;
      for (unsigned index = 1; index < threads_; ++index) {
        others.emplace_back([this, index] { work(index); });
      }
      work(0);
    }
    progress_.finish();
    return sum_up();
  }

 private:
  struct turn {
    unsigned round = 0;
    std::size_t contestant = 0;
  };

  void choose_contestants() {
    if (streams_.empty()) {
      contestants_.emplace_back(pool_contestant(pool_, settings_.where));
    } else {
      contestants_.emplace_back(stream_pool_contestant(pool_, settings_.where, streams_));
    }
    if (settings_.peers) {
      contestants_.emplace_back(aligned_contestant());
      contestants_.emplace_back(malloc_contestant());
      contestants_.emplace_back(naive_contestant(naive_));
    }
    contestants_.emplace_back(null_contestant());
    surveys_.resize(contestants_.size());
  }

  void make_schedule() {
    std::vector<std::size_t> order(contestants_.size());
    for (std::size_t i = 0; i < order.size(); ++i) {
      order[i] = i;
    }
    std::mt19937 random(20240229);  // NOLINT: the same order in every run, on purpose
    for (unsigned round = 0; round <= settings_.warm_passes; ++round) {
      for (const std::size_t contestant : order) {
        schedule_.push_back({round, contestant});
      }
      std::shuffle(order.begin(), order.end(), random);
    }
    progress_.start(settings_.progress, schedule_.size());
  }

  /// All memory that the harness needs is taken here, so that no pass contains its allocations.
  void make_tallies() {
    tallies_.resize(threads_);
    for (unsigned index = 0; index < threads_; ++index) {
      const std::size_t chunks = chunk_count(ops_of(index).size(), settings_.chunk);
      tallies_[index].resize(contestants_.size());
      for (thread_tally& tally : tallies_[index]) {
        tally.rounds.resize(settings_.warm_passes + 1);
        for (pass_record& record : tally.rounds) {
          record.chunk_ns.assign(chunks, 0.0F);
        }
      }
    }
    const std::size_t arrays = settings_.copies != 0 ? threads_ : 1;
    for (std::size_t i = 0; i < arrays; ++i) {
      slots_.push_back(std::make_unique<replay_slot[]>(plan_.slot_count));
    }
  }

  [[nodiscard]] bool has_shared_slots() const noexcept { return settings_.copies == 0; }
  [[nodiscard]] const std::vector<replay_op>& ops_of(unsigned index) const noexcept {
    return plan_.threads[settings_.copies != 0 ? 0 : index];
  }

  void work(unsigned index) {
    std::vector<any_contestant> own = contestants_;
    for (const turn& now : schedule_) {
      barrier_.arrive_and_wait();
      std::visit([&](auto& contestant) { take_turn(contestant, index, now); }, own[now.contestant]);
      barrier_.arrive_and_wait();
      if (index == 0 || !has_shared_slots()) {
        std::visit(
            [&](auto& contestant) {
              free_rest(contestant,
                        {slots_[has_shared_slots() ? 0 : index].get(), plan_.slot_count});
            },
            own[now.contestant]);
      }
      if (index == 0) {
        after_turn(now);
      }
    }
  }

  template <class Contestant>
  void take_turn(Contestant& contestant, unsigned index, const turn& now) {
    thread_tally& tally = tallies_[index][now.contestant];
    pass_settings how{.touch = settings_.touch, .chunk = settings_.chunk};
    if constexpr (std::is_same_v<Contestant, null_contestant>) {
      // It has no memory to write all of.
      how.touch = how.touch == touch_mode::all ? touch_mode::none : how.touch;
    } else if constexpr (!is_tidepool<Contestant>) {
      if (now.round == 0 && threads_ == 1) {
        heap_survey& survey = surveys_[now.contestant];
        survey.before = heap_survey::used_now();
        how.survey = heap_survey::take;
        how.context = &survey;
        how.survey_at = plan_.peak_operation;
      }
    }
    const std::uint64_t before = page_faults_of_this_thread();
    run_pass(contestant, {ops_of(index), slots_[has_shared_slots() ? 0 : index].get()}, how,
             tally.rounds[now.round]);
    (now.round == 0 ? tally.cold_faults : tally.faults) += page_faults_of_this_thread() - before;
  }

  void after_turn(const turn& now) {
    if (now.round == 0 && now.contestant == 0) {
      cold_ = pool_.control().statistics();
    }
    progress_.step();
  }

  [[nodiscard]] const device_statistics* own_device(const statistics& all) const noexcept {
    for (const device_statistics& each : all.devices) {
      if (each.where == settings_.where) {
        return &each;
      }
    }
    return nullptr;
  }

  replay_figures sum_up() {
    replay_figures figures;
    figures.threads = threads_;
    const std::uint64_t copies = settings_.copies != 0 ? settings_.copies : 1;
    figures.operations = plan_.operations * copies;
    figures.peak_live_bytes = plan_.peak_live_bytes * copies;
    for (std::size_t i = 0; i < contestants_.size(); ++i) {
      figures.contestants.push_back(sum_up_one(i, figures.operations));
    }
    add_pool_figures(figures);
    return figures;
  }

  contestant_figures sum_up_one(std::size_t contestant, std::uint64_t operations) {
    contestant_figures figures;
    figures.name = std::visit([](const auto& each) { return each.name; }, contestants_[contestant]);
    std::vector<float> cold;
    std::vector<float> warm;
    std::uint64_t faults = 0;
    std::uint64_t cold_faults = 0;
    for (const std::vector<thread_tally>& thread : tallies_) {
      const thread_tally& tally = thread[contestant];
      faults += tally.faults;
      cold_faults += tally.cold_faults;
      for (std::size_t round = 0; round < tally.rounds.size(); ++round) {
        const pass_record& record = tally.rounds[round];
        std::vector<float>& into = round == 0 ? cold : warm;
        into.insert(into.end(), record.chunk_ns.begin(), record.chunk_ns.end());
        figures.failures += record.failures;
      }
    }
    figures.mean_ns = mean(warm);
    figures.median_ns = quantile(warm, 0.5);
    figures.p99_ns = quantile(warm, 0.99);
    figures.cold_median_ns = quantile(cold, 0.5);
    const double per_pass = operations == 0 ? 1 : static_cast<double>(operations);
    figures.page_faults = static_cast<double>(faults) / (per_pass * settings_.warm_passes);
    figures.cold_page_faults = static_cast<double>(cold_faults) / per_pass;
    if (surveys_[contestant].held > surveys_[contestant].before) {
      figures.peak_reserved_bytes = surveys_[contestant].held - surveys_[contestant].before;
    }
    return figures;
  }

  void add_pool_figures(replay_figures& figures) const {
    const statistics all = pool_.control().statistics();
    const statistics warm = all.since(cold_);
    contestant_figures& own = figures.contestants.front();
    own.hit_rate_cold = cold_.total.hit_rate();
    own.hit_rate = warm.total.hit_rate();
    const device_statistics* const end = own_device(all);
    const device_statistics* const early = own_device(cold_);
    if (end != nullptr && early != nullptr) {
      own.peak_reserved_bytes = end->peak_reserved_bytes;
      own.system_calls = static_cast<double>(end->system_calls - early->system_calls) /
                         (static_cast<double>(figures.operations) * settings_.warm_passes);
    }
    figures.misuses = all.misuses;
    figures.leaked = all.total.live;
  }

  replay_plan& plan_;
  const replay_settings settings_;
  pool& pool_;
  const std::span<const stream_ref> streams_;
  naive_pool naive_;
  const unsigned threads_;
  std::barrier<> barrier_;
  std::vector<any_contestant> contestants_;
  std::vector<heap_survey> surveys_;
  std::vector<turn> schedule_;
  std::vector<std::vector<thread_tally>> tallies_;     // [thread][contestant]
  std::vector<std::unique_ptr<replay_slot[]>> slots_;  // one array, or one per copy
  statistics cold_;
  progress_bar progress_;
};

/// Gives the operations the names and categories of the pool.
void rename_to(pool& target, replay_plan& plan) {
  const vocabulary words(target, plan);
  for (std::vector<replay_op>& list : plan.threads) {
    for (replay_op& op : list) {
      op.rename(static_cast<std::uint8_t>(words.category_of(op.category())),
                words.name_of(op.name()).value());
    }
  }
}

/// Empty, or why this machine's memory does not allow the replay.
std::string memory_objection(const replay_plan& plan, const replay_settings& settings) {
  const std::uint64_t available = available_memory_bytes();
  const std::uint64_t copies = settings.copies != 0 ? settings.copies : 1;
  // While the peers run, the pool still keeps what it holds.
  const double need = static_cast<double>(plan.peak_live_bytes) * static_cast<double>(copies) *
                      (settings.peers ? 2 : 1);
  if (settings.touch == touch_mode::all && available != 0 &&
      need > 0.8 * static_cast<double>(available)) {
    return "--touch all would write to " + bytes_text(plan.peak_live_bytes * copies) +
           (settings.peers ? ", twice with peers" : "") + ", more than 80 % of the " +
           bytes_text(available) + " of memory available now; use --touch line" +
           (settings.peers ? ", --no-peers or fewer threads" : " or fewer threads");
  }
  return {};
}

/// The plan of prewarm_mode; empty for none.
prewarm_plan chosen_prewarm(const replay_plan& plan, const replay_settings& settings) {
  if (settings.prewarm == prewarm_mode::seed) {
    return prewarm_plan::seed(settings.where);
  }
  prewarm_plan chosen;
  if (settings.prewarm == prewarm_mode::trace) {
    chosen = prewarm_plan::from_sizes(plan.sizes, settings.where);
    for (prewarm_item& item : chosen.items) {
      item.count *= settings.copies != 0 ? settings.copies : 1;
    }
  }
  return chosen;
}

bool is_stream_ordered(const pool& of, device where) noexcept {
  for (const device_description& each : of.devices()) {
    if (each.where == where) {
      return each.stream_ordered;
    }
  }
  return false;
}

}  // namespace

replay_outcome run_replay(replay_plan& plan, const replay_settings& settings) {
  if (std::string objection = memory_objection(plan, settings); !objection.empty()) {
    return {.figures = {}, .failure = {std::move(objection)}};
  }
  const std::uint64_t copies = settings.copies != 0 ? settings.copies : 1;
  result<pool> made = make_pool({.where = settings.where,
                                 .limit_bytes = settings.limit_bytes,
                                 .tensors = plan.peak_tensors * copies});
  if (!made) {
    return {.figures = {}, .failure = {failure_text(made.error(), settings.where)}};
  }
  rename_to(*made, plan);
  const prewarm_plan prewarm = chosen_prewarm(plan, settings);
  const std::uint64_t available = available_memory_bytes();
  if (available != 0 &&
      static_cast<double>(prewarm.total_bytes()) > 0.8 * static_cast<double>(available)) {
    return {.figures = {},
            .failure = {"prewarming would populate " + bytes_text(prewarm.total_bytes()) +
                        ", more than 80 % of the " + bytes_text(available) +
                        " of memory available now"}};
  }
  std::uint64_t prewarmed_bytes = 0;
  if (!prewarm.items.empty()) {
    try {
      prewarmed_bytes = made->control().prewarm(prewarm).bytes;
    } catch (const out_of_memory& lack) {
      return {.figures = {}, .failure = {std::string("prewarming failed: ") + lack.what()}};
    }
  }
  const bool ordered = is_stream_ordered(*made, settings.where);
  const result<replay_streams> streams =
      replay_streams::make(*made, settings.where, ordered ? plan.streams : 0);
  if (!streams) {
    return {.figures = {}, .failure = {"no streams: " + to_string(streams.error())}};
  }
  session all(plan, settings, *made, ordered ? streams->refs() : std::span<const stream_ref>{});
  replay_figures figures = all.run();
  figures.prewarmed_bytes = prewarmed_bytes;
  figures.streams = static_cast<std::uint32_t>(streams->refs().size() - 1);
  return {.figures = std::move(figures), .failure = {}};
}

}  // namespace tidepool::bench
