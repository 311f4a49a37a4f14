// SPDX-License-Identifier: Apache-2.0
//
// A model of access entries by maps, and random work for the pool and the model: tensors, parts,
// domains, bindings, batches in every mode and mixture.
#pragma once

#include "support.hpp"
#include <tidepool/access_tracker.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <tuple>
#include <vector>

namespace tidepool::test {

using name = std::pair<std::uint64_t, std::uint32_t>;  // tensor id, part

struct figures {
  std::uint64_t count = 0;
  std::uint64_t tick = 0;
  category what = category::weight;
  bool operator==(const figures&) const = default;
};

class world {
 public:
  explicit world(std::uint64_t seed) : random_(seed) {
    for (const std::size_t size : {7U, 64U, 3000U}) {
      domains_.push_back({*p.accesses().make_domain({.size = size}), size, {}});
    }
  }

  void run(int steps) {
    for (int i = 0; i < steps && !::testing::Test::HasFailure(); ++i) {
      step();
    }
    compare_all();
    EXPECT_EQ(p.control().verify(), nullptr);
  }

 private:
  struct held {
    tensor_id id;
    std::uint32_t parts = 0;
    std::uint64_t key = 0;
  };
  struct modelled_domain {
    domain handle;
    std::size_t size = 0;
    std::map<std::uint64_t, name> bound;
  };

  std::uint64_t below(std::uint64_t n) { return n == 0 ? 0 : random_() % n; }

  void step() {
    switch (below(12)) {
    case 0:
    case 1:
      make();
      break;
    case 2:
      end();
      break;
    case 3:
      bind();
      break;
    case 4:
      recategorise();
      break;
    case 5:
    case 6:
      record_tensors(false);
      break;
    case 7:
      record_tensors(true);
      break;
    default:
      record_indices();
      break;
    }
  }

  void make() {
    const bool keyed = below(2) == 0;
    const std::uint64_t key = keyed ? ++last_key_ : 0;
    held made{.id = p.allocate_raw(64, {}, {.category = category::weight, .key = key})->id,
              .parts = static_cast<std::uint32_t>(below(3) == 0 ? 1 + below(20) : 0),
              .key = key};
    // The tick of creation is the first use.
    entries_[{made.id.value(), whole_tensor}] = {.count = 0, .tick = now_};
    if (made.parts != 0) {
      EXPECT_EQ(p.accesses().track(made.id, made.parts), errc::ok);
      for (std::uint32_t i = 0; i < made.parts; ++i) {
        entries_[{made.id.value(), i}] = {.count = 0, .tick = now_};
      }
    }
    tensors_.push_back(made);
  }

  void end() {
    if (tensors_.empty()) {
      return;
    }
    const std::size_t i = below(tensors_.size());
    const held gone = tensors_[i];
    tensors_.erase(tensors_.begin() + static_cast<std::ptrdiff_t>(i));
    EXPECT_EQ(p.deallocate(gone.id), errc::ok);
    dead_.push_back(gone.id);
    std::erase_if(entries_, [&](const auto& e) { return e.first.first == gone.id.value(); });
    for (modelled_domain& d : domains_) {
      std::erase_if(d.bound, [&](const auto& b) { return b.second.first == gone.id.value(); });
    }
  }

  void place(modelled_domain& d, std::uint64_t index, const name& what) {
    for (modelled_domain& each : domains_) {
      std::erase_if(each.bound, [&](const auto& b) { return b.second == what; });
    }
    d.bound[index] = what;
  }

  void bind() {
    modelled_domain& d = domains_[below(domains_.size())];
    if (tensors_.empty()) {
      return;
    }
    const held& what = tensors_[below(tensors_.size())];
    if (what.parts != 0) {
      const auto first = static_cast<std::uint32_t>(below(what.parts));
      const auto count = static_cast<std::uint32_t>(1 + below(what.parts - first));
      const std::uint64_t at = below(d.size);
      const errc done =
          p.accesses().bind_parts(d.handle, at, what.id, {.first = first, .count = count});
      ASSERT_EQ(done, at + count <= d.size ? errc::ok : errc::invalid_argument);
      for (std::uint32_t i = 0; done == errc::ok && i < count; ++i) {
        place(d, at + i, {what.id.value(), first + i});
      }
      return;
    }
    std::vector<tensor_id> ids;
    const std::uint64_t count = 1 + below(4);
    for (std::uint64_t i = 0; i < count; ++i) {
      const held& some = tensors_[below(tensors_.size())];
      ids.push_back(some.parts != 0 || below(4) == 0 ? tensor_id{} : some.id);
    }
    const std::uint64_t at = below(d.size);
    const errc done = p.accesses().bind(d.handle, at, ids);
    ASSERT_EQ(done, at + count <= d.size ? errc::ok : errc::invalid_argument);
    for (std::uint64_t i = 0; done == errc::ok && i < count; ++i) {
      if (ids[i]) {
        place(d, at + i, {ids[i].value(), whole_tensor});
      } else {
        d.bound.erase(at + i);
      }
    }
  }

  void recategorise() {
    if (tensors_.empty()) {
      return;
    }
    const held& what = tensors_[below(tensors_.size())];
    const auto to = static_cast<category>(8 + below(8));
    EXPECT_EQ(p.set_category(what.id, to), errc::ok);
    for (auto& [key, entry] : entries_) {
      if (key.first == what.id.value()) {
        entry.what = to;
      }
    }
  }

  // What is added, by the model: the entry that each id leads to, or none.
  void expect_batch(const access_batch& batch, const std::vector<std::optional<name>>& targets,
                    access_report expected) {
    std::set<name> seen;
    for (std::size_t i = 0; i < targets.size(); ++i) {
      if (!targets[i]) {
        continue;
      }
      if (batch.mode == access_mode::once && !seen.insert(*targets[i]).second) {
        ++expected.duplicates;
        continue;
      }
      figures& entry = entries_.at(*targets[i]);
      entry.count += batch.mode == access_mode::weighted ? batch.weights[i] : 1;
      entry.tick = std::max(entry.tick, batch.tick);
      ++expected.recorded;
    }
    now_ = std::max(now_, batch.tick);
    const result<access_report> report = p.accesses().record(batch);
    ASSERT_TRUE(report.has_value()) << report.error().text;
    EXPECT_EQ(report->recorded, expected.recorded);
    EXPECT_EQ(report->padding, expected.padding);
    EXPECT_EQ(report->masked, expected.masked);
    EXPECT_EQ(report->out_of_range, expected.out_of_range);
    EXPECT_EQ(report->stale, expected.stale);
    EXPECT_EQ(report->duplicates, expected.duplicates);
    EXPECT_EQ(report->deferred, 0U);
  }

  std::uint64_t some_tick() { return below(4) == 0 ? 1 + below(now_ + 1) : now_ + 1 + below(5); }
  access_mode some_mode() { return static_cast<access_mode>(below(3)); }
  std::vector<std::uint32_t> some_weights(access_mode mode, std::size_t n) {
    std::vector<std::uint32_t> weights(mode == access_mode::weighted ? n : 0);
    for (auto& w : weights) {
      w = static_cast<std::uint32_t>(below(4) == 0 ? 0 : random_());
    }
    return weights;
  }
  std::size_t some_length() {
    const std::array<std::uint64_t, 4> most{9, 40, 1100, 5000};
    return 1 + below(most[below(4)]);
  }

  void record_tensors(bool by_key) {
    std::vector<tensor_id> ids;
    std::vector<std::uint64_t> keys;
    std::vector<std::optional<name>> targets;
    const std::size_t n = some_length();
    const access_mode mode = some_mode();
    const std::vector<std::uint32_t> weights = some_weights(mode, n);
    std::vector<std::uint8_t> mask(below(3) == 0 ? n : 0);
    access_report expected;
    for (std::size_t i = 0; i < n; ++i) {
      const bool lives = !tensors_.empty() && below(8) != 0;
      const held& some = lives ? tensors_[below(tensors_.size())] : held{};
      tensor_id id = lives ? some.id : dead_.empty() ? tensor_id{} : dead_[below(dead_.size())];
      std::uint64_t key = lives ? some.key : below(2) == 0 ? last_key_ + 7 : 0;
      if (below(50) == 0) {
        id = tensor_id::from_value(random_() & ~std::uint64_t{63});  // no pool has tag 0
      }
      ids.push_back(id);
      keys.push_back(key);
      targets.emplace_back();
      if (!mask.empty()) {
        mask[i] = static_cast<std::uint8_t>(below(3));
      }
      const bool masked = (!mask.empty() && mask[i] == 0) || (!weights.empty() && weights[i] == 0);
      if (by_key ? key == 0 : id == tensor_id{}) {
        ++expected.padding;
      } else if (!by_key && (id.value() & 63) == 0) {
        ++expected.out_of_range;
      } else if (masked) {
        ++expected.masked;
      } else if (!lives) {
        ++expected.stale;
      } else {
        targets.back() = name{some.id.value(), whole_tensor};
      }
    }
    access_batch batch{.mode = mode, .tick = some_tick(), .weights = weights, .mask = mask};
    by_key ? void(batch.keys = keys) : void(batch.tensors = ids);
    expect_batch(batch, targets, expected);
  }

  // Rows of indices, as wild as a layout allows.
  struct indexed {
    access_layout layout;
    std::vector<std::uint64_t> bases;
    std::vector<std::int64_t> ids;
    std::size_t tokens = 0;
    std::size_t token_stride = 0;
    std::size_t layer_stride = 0;

    [[nodiscard]] std::size_t size() const { return layout.layers * tokens * layout.k; }
    [[nodiscard]] std::uint64_t base(std::size_t layer) const {
      return bases.empty() ? layer * layout.extent : bases[layer];
    }
  };

  indexed some_rows(const modelled_domain& d) {
    indexed rows;
    access_layout& layout = rows.layout;
    const bool flat = below(2) == 0;
    if (!flat) {
      layout = {.layers = 1 + below(4), .tokens = 1 + below(300), .k = 1 + below(8)};
      layout.token_stride = below(2) == 0 ? 0 : layout.k + below(3);
      layout.layer_stride =
          below(2) == 0 ? 0 : layout.tokens * std::max(layout.token_stride, layout.k) + below(9);
      layout.extent = below(2) == 0 ? d.size / layout.layers : 0;
      for (std::size_t l = 0; below(2) == 0 && l < layout.layers; ++l) {
        rows.bases.push_back(below(d.size + 1));
      }
      rows.bases.resize(rows.bases.size() == layout.layers ? rows.bases.size() : 0);
    }
    // Enough ids for bins, sometimes: 4 for each element.
    rows.tokens = flat ? (below(6) == 0 ? d.size * 4 + below(99) : some_length()) : layout.tokens;
    rows.token_stride = layout.token_stride != 0 ? layout.token_stride : layout.k;
    rows.layer_stride =
        layout.layer_stride != 0 ? layout.layer_stride : rows.tokens * rows.token_stride;
    rows.ids.resize(flat ? rows.size()
                         : layout.layers * rows.layer_stride + rows.tokens * rows.token_stride);
    for (auto& id : rows.ids) {
      id = some_index(d);
    }
    return rows;
  }

  std::int64_t some_index(const modelled_domain& d) {
    if (below(20) == 0) {
      return -1;
    }
    if (below(30) == 0) {
      return static_cast<std::int64_t>(below(2 * d.size)) - 3;
    }
    if (below(3) != 0 && !d.bound.empty()) {
      const auto steps = static_cast<std::ptrdiff_t>(below(d.bound.size()));
      return static_cast<std::int64_t>(std::next(d.bound.begin(), steps)->first);
    }
    return static_cast<std::int64_t>(below(d.size));
  }

  void record_indices() {
    const modelled_domain& d = domains_[below(domains_.size())];
    indexed rows = some_rows(d);
    rows.layout.bases = rows.bases;
    const std::vector<std::int32_t> narrow(rows.ids.begin(), rows.ids.end());
    access_batch batch{.where = d.handle,
                       .indices = below(2) == 0 ? access_indices(rows.ids) : access_indices(narrow),
                       .layout = rows.layout,
                       .mode = some_mode(),
                       .tick = some_tick()};
    const std::vector<std::uint32_t> weights = some_weights(batch.mode, rows.size());
    std::vector<std::uint8_t> mask(below(3) == 0 ? rows.tokens : 0);
    for (auto& m : mask) {
      m = static_cast<std::uint8_t>(below(3));
    }
    batch.weights = weights;
    batch.mask = mask;
    std::vector<std::optional<name>> targets(rows.size());
    access_report expected;
    std::set<std::uint64_t> stale_once;
    for (std::size_t i = 0; i < rows.size(); ++i) {
      const std::size_t token = i / rows.layout.k % rows.tokens;
      const std::size_t layer = i / rows.layout.k / rows.tokens;
      const std::int64_t id =
          rows.ids[layer * rows.layer_stride + token * rows.token_stride + i % rows.layout.k];
      const std::uint64_t rest = d.size - rows.base(layer);
      const std::uint64_t extent =
          rows.layout.extent == 0 ? rest : std::min<std::uint64_t>(rest, rows.layout.extent);
      const std::uint64_t element = rows.base(layer) + static_cast<std::uint64_t>(id);
      if (!mask.empty() && mask[token] == 0) {
        ++expected.masked;
      } else if (static_cast<std::uint64_t>(id) >= extent) {
        ++(id == -1 ? expected.padding : expected.out_of_range);
      } else if (!weights.empty() && weights[i] == 0) {
        ++expected.masked;
      } else if (const auto b = d.bound.find(element); b != d.bound.end()) {
        targets[i] = b->second;
      } else if (batch.mode == access_mode::once && !stale_once.insert(element).second) {
        ++expected.duplicates;
      } else {
        ++expected.stale;
      }
    }
    expect_batch(batch, targets, expected);
  }

  /// All entries, and a query's order.
  void compare_all();

  std::mt19937_64 random_;
  pool p{small_cpu()};
  std::map<name, figures> entries_;
  std::vector<held> tensors_;
  std::vector<tensor_id> dead_;
  std::vector<modelled_domain> domains_;
  std::uint64_t last_key_ = 0;
  std::uint64_t now_ = 0;
};

}  // namespace tidepool::test
