// SPDX-License-Identifier: Apache-2.0
//
// Fuzz target: any bytes are tensors, domains, bindings and batches, whose sizes, layouts, ids,
// weights and masks need not fit together. A batch is refused and changes nothing, or every id of
// it is accounted for; all structures hold at the end. What batches add is compared with a model by
// tests/core; here the shapes are as wild as can be.
#include "../support/small_cpu.hpp"
#include "input.hpp"
#include <tidepool/access_tracker.hpp>
#include <tidepool/control.hpp>
#include <tidepool/pool.hpp>

#include <array>
#include <utility>
#include <vector>

namespace tidepool::fuzz {
namespace {

constexpr std::size_t most_steps = 60;

class world {
 public:
  explicit world(input& in)
      : in_(in), p_(test::small_cpu(), {.on_misuse = ignore, .access_half_life = in.byte()}) {}

  void run() {
    for (std::size_t i = 0; i < most_steps && !in_.is_empty(); ++i) {
      step();
    }
    const access_totals totals = p_.accesses().totals();
    require(totals.recorded == recorded_ && totals.stale == stale_, "totals == sum of reports");
    const char* const broken = p_.control().verify();
    require(broken == nullptr, broken);
    check_queries();
  }

 private:
  static void ignore(const misuse_report&, void*) {}

  void step() {
    switch (in_.byte() % 8) {
    case 0:
      make();
      break;
    case 1:
      if (!tensors_.empty()) {
        tensors_.erase(tensors_.begin() +
                       in_.byte() % static_cast<std::ptrdiff_t>(tensors_.size()));
      }
      break;
    case 2:
      (void)p_.accesses().track(some_id(), in_.byte() % 40);
      break;
    case 3:
      if (domains_.size() < 8) {
        const result<domain> made =
            p_.accesses().make_domain({.size = in_.size(12),
                                       .standalone = in_.byte() % 2 == 0,
                                       .category = static_cast<category>(in_.byte())});
        domains_.push_back(made ? *made : domain{});
      }
      break;
    case 4:
      bind();
      break;
    default:
      record();
      break;
    }
  }

  void make() {
    const std::uint64_t key = in_.byte() % 16;
    result<tensor> made = p_.try_allocate(
        in_.byte(), {}, {.category = static_cast<category>(in_.byte() % 16), .key = key});
    if (made) {
      seen_.push_back(made->id());
      tensors_.push_back(std::move(*made));
    }
  }

  // Alive, dead or never made.
  tensor_id some_id() {
    const std::uint8_t which = in_.byte();
    return which % 8 == 0  ? tensor_id::from_value(in_.number<std::uint64_t>())
           : seen_.empty() ? tensor_id{}
                           : seen_[which % seen_.size()];
  }
  domain some_domain() {
    const std::uint8_t which = in_.byte();
    return which % 16 == 0    ? domain::from_value(in_.number<std::uint64_t>())
           : domains_.empty() ? domain{}
                              : domains_[which % domains_.size()];
  }

  void bind() {
    const domain to = some_domain();
    switch (in_.byte() % 4) {
    case 0:
      (void)p_.accesses().bind_parts(to, in_.size(13), some_id(),
                                     {.first = in_.byte() % 45U, .count = in_.byte() % 45U});
      break;
    case 1:
      (void)p_.accesses().drop_domain(to);
      break;
    default: {
      std::vector<tensor_id> ids(in_.byte() % 9);
      for (tensor_id& id : ids) {
        id = some_id();
      }
      (void)p_.accesses().bind(to, in_.size(12), ids);
      break;
    }
    }
  }

  void record() {
    const std::uint8_t kind = in_.byte();
    std::vector<tensor_id> ids(kind % 4 == 0 ? in_.size(11) : 0);
    std::vector<std::uint64_t> keys(kind % 4 == 1 ? in_.size(11) : 0);
    std::vector<std::int32_t> narrow(kind % 4 == 2 ? in_.size(13) : 0);
    std::vector<std::int64_t> wide(kind % 4 == 3 ? in_.size(13) : 0);
    // A few values, repeated: batches are longer than inputs.
    std::array<std::uint64_t, 8> values{};
    for (std::uint64_t& value : values) {
      value = in_.byte() % 4 == 0 ? in_.number<std::uint64_t>() : in_.byte();
    }
    const auto fill = [&](auto& to, auto&& make) {
      for (std::size_t i = 0; i < to.size(); ++i) {
        to[i] = make(values[i * 7 % 8] + (i % 64 < 8 ? 0 : i % 5));
      }
    };
    for (tensor_id& id : ids) {
      id = seen_.empty() ? tensor_id{} : seen_[values[0]++ % seen_.size()];
    }
    fill(keys, [](std::uint64_t v) { return v; });
    fill(narrow, [](std::uint64_t v) { return static_cast<std::int32_t>(v); });
    fill(wide, [](std::uint64_t v) { return static_cast<std::int64_t>(v); });
    access_batch batch{.tensors = ids, .keys = keys, .where = some_domain()};
    batch.indices = wide.empty() ? access_indices(narrow) : access_indices(wide);
    batch.mode = static_cast<access_mode>(in_.byte() % 16 == 0 ? in_.byte() : in_.byte() % 3);
    batch.tick = in_.byte() % 4 == 0 ? in_.number<std::uint64_t>() : in_.byte();
    std::vector<std::uint64_t> bases;
    if ((kind & 16) != 0) {
      access_layout& layout = batch.layout;
      layout = {.layers = in_.byte() % 8U, .tokens = in_.byte() % 32U, .k = in_.byte() % 9U};
      layout.token_stride = (kind & 32) != 0 ? in_.size(8) : 0;
      layout.layer_stride = (kind & 64) != 0 ? in_.size(12) : 0;
      layout.extent = in_.byte();
      bases.resize((kind & 128) != 0 ? layout.layers : 0);
      for (std::uint64_t& base : bases) {
        base = in_.byte();
      }
      layout.bases = bases;
    }
    const std::size_t n = batch.size();
    const bool fits = in_.byte() % 16 != 0;
    std::vector<std::uint32_t> weights(batch.mode == access_mode::weighted ? (fits ? n : in_.byte())
                                                                           : 0);
    fill(weights, [](std::uint64_t v) { return static_cast<std::uint32_t>(v); });
    const std::size_t rows = batch.layout.tokens != 0 ? batch.layout.tokens : n;
    std::vector<std::uint8_t> mask(in_.byte() % 4 == 0 ? rows : 0);
    fill(mask, [](std::uint64_t v) { return static_cast<std::uint8_t>(v); });
    batch.weights = weights;
    batch.mask = mask;
    check(batch, n);
  }

  void check(const access_batch& batch, std::size_t n) {
    const result<access_report> done = p_.accesses().record(batch);
    if (!done) {
      const errc why = done.error().code;
      require(why == errc::invalid_argument || why == errc::not_found, "a defined error");
      return;
    }
    const access_report& r = *done;
    require(r.deferred == 0, "one thread never finds the lock taken");
    require(r.recorded + r.padding + r.masked + r.out_of_range + r.stale + r.duplicates == n,
            "every id is accounted for");
    recorded_ += r.recorded;
    stale_ += r.stale;
  }

  void check_queries() {
    std::array<access_info, 16> out;
    for (const access_order by : {access_order::tick, access_order::count, access_order::score}) {
      const std::size_t n = p_.accesses().coldest(out, by);
      for (std::size_t i = 1; i < n; ++i) {
        require(by != access_order::tick || out[i - 1].tick <= out[i].tick, "coldest first");
        require(by != access_order::count || out[i - 1].count <= out[i].count, "rarest first");
        require(by != access_order::score || out[i - 1].score <= out[i].score, "lowest first");
      }
    }
    std::uint64_t entries = 0;
    for (const std::uint64_t some : p_.accesses().age_histogram().entries) {
      entries += some;
    }
    require(entries == p_.accesses().ranked(access_order::count).size(), "each entry has an age");
  }

  input& in_;
  pool p_;
  std::vector<tensor> tensors_;
  std::vector<tensor_id> seen_;
  std::vector<domain> domains_;
  std::uint64_t recorded_ = 0;
  std::uint64_t stale_ = 0;
};

}  // namespace
}  // namespace tidepool::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  tidepool::fuzz::input in(std::span(data, size));
  tidepool::fuzz::world(in).run();
  return 0;
}
