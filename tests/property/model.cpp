// SPDX-License-Identifier: Apache-2.0
//
// The model.
#include "model.hpp"

#include "witnesses.hpp"

#include <algorithm>
#include <iterator>
#include <set>
#include <string>
#include <utility>

namespace tidepool::test {
namespace {

class runner {
 public:
  explicit runner(const model_options& options)
      : options_(options), pool_(options.make_backend(), with_handler(options.pool)) {
    for (unsigned i = 1; i <= known_names; ++i) {
      names_.push_back(pool_.intern("name " + std::to_string(i)));
    }
    names_.push_back(name_id::from_value(1000));
  }

  void step(const operation& what) { std::visit(*this, what); }
  void check() {
    require(reports_ == expected_reports_, "the misuse handler is called once per misuse");
    if (const char* const broken = pool_.control().verify()) {
      throw failed(broken);
    }
    const statistics s = pool_.control().statistics();
    std::size_t requested = 0;
    for (const auto& [id, t] : live_) {
      requested += t.has_block() ? t.bytes : 0;
      require(t.is_intact(t.bytes), "a block belongs to one tensor, to its last byte");
      require(t.adopted == nullptr || t.adopted->releases == 0, "released while it is alive");
    }
    for (const std::shared_ptr<adoption>& one : over_) {
      require(one->is_over(), "released once");
    }
    observer_.check(s.failures);
    require(s.total.live == live_.size(), "live tensors");
    require(s.total.requested_bytes == requested, "requested bytes");
    require(s.misuses == expected_reports_, "misuses");
    require(s.devices[0].reserved_bytes <= options_.pool.limit_bytes, "reserved <= limit");
    require_balance(s.devices[0], pool_.control().memory(s.devices[0].where));
    for (const auto& [key, id] : keys_) {
      require(pool_.find(key).has_value() && *pool_.find(key) == id, "find(key)");
    }
  }
  void finish() {
    check();
    while (!live_.empty()) {
      // Parts keep what they are part of: some tensor has a pin or a reference of its own.
      const auto next = std::find_if(live_.begin(), live_.end(), [](const auto& one) {
        return one.second.references != one.second.parts;
      });
      require(next != live_.end(), "somebody owns what is alive");
      if (next->second.pins != 0) {
        const tensor_id id = next->first;
        require(pool_.unpin(id) == errc::ok, "unpin");
        --next->second.pins;
        drop(id);
      } else {
        free_id(next->first);
      }
    }
    check();
    options_.end_faults(pool_);
    (*this)(observe{false});
    require(pool_.control().trim().reserved_bytes == 0, "freed and trimmed, nothing is reserved");
    check();
  }
  /// After a failure: lets go of the handles, whatever they are worth.
  void forget() {
    for (auto& [id, t] : live_) {
      (void)t.handle.release();
    }
  }

  void operator()(const allocate& o) {
    const allocation_options options{
        .category = static_cast<category>(o.category), .alignment = o.alignment, .key = o.key};
    result<tensor> made = pool_.try_allocate(o.bytes, {}, options);
    if (is_refused_by_closing(made.error().code)) {
      return;
    }
    if (o.key != 0 && keys_.count(o.key) != 0) {
      // Where there is no memory either, that is a right answer too.
      require(made.error().code == errc::key_in_use || options_.is_lack(made.error().code),
              "a key in use is refused");
      return;
    }
    if (!made) {
      require(options_.is_lack(made.error().code), "only a limit or a fault refuses");
      return;
    }
    live_tensor t;
    t.bytes = o.bytes;
    t.data = static_cast<unsigned char*>(made->data());
    t.key = o.key;
    t.category = o.category;
    t.lifecycle = static_cast<unsigned>(default_lifecycle(static_cast<category>(o.category)));
    t.pattern = ++pattern_;
    require((t.data == nullptr) == (o.bytes == 0), "data is null for zero bytes only");
    require((reinterpret_cast<std::uintptr_t>(t.data) &
             (std::max<std::size_t>(o.alignment, 64) - 1)) == 0,
            "alignment");
    t.fill();
    t.handle = std::move(*made);
    add(std::move(t));
  }
  void operator()(const free_one& o) {
    if (const tensor_id id = pick(o.which)) {
      free_id(id);
    }
  }
  void operator()(const share_one& o) {
    const tensor_id id = pick(o.which);
    if (expect(id, pool_.retain(id))) {
      ++live_.at(id).references;
    }
  }
  void operator()(const slice_one& o) {
    const auto of = live_.find(pick(o.which));
    if (of == live_.end()) {
      return;
    }
    live_tensor& whole = of->second;
    result<tensor> part = pool_.slice(whole.handle, o.offset, o.bytes);
    if (is_refused_by_closing(part.error().code)) {
      return;
    }
    require(part.has_value() == (o.offset <= whole.bytes && o.bytes <= whole.bytes - o.offset),
            "a slice is inside its tensor");
    if (!part) {
      require(part.error().code == errc::invalid_argument, "a slice outside is invalid");
      return;
    }
    ++whole.references;
    ++whole.parts;
    live_tensor t;
    t.bytes = o.bytes;
    t.data = whole.data == nullptr ? nullptr : whole.data + o.offset;
    t.category = whole.category;
    t.lifecycle = whole.lifecycle;
    t.name = whole.name;
    t.parent = of->first;
    require(part->data() == t.data, "a slice begins at its offset");
    t.handle = std::move(*part);
    add(std::move(t));
  }
  void operator()(const resize_one& o) {
    const auto it = live_.find(pick(o.which));
    if (it == live_.end()) {
      return;
    }
    live_tensor& t = it->second;
    const errc code = pool_.resize(t.handle, o.bytes);
    require(code == errc::ok || t.handle.bytes() == t.bytes, "a refused resize changes nothing");
    if (o.bytes == t.bytes) {
      require(code == errc::ok, "the same size is no change");
      return;
    }
    if (t.references != 1 || !t.has_block() || o.bytes == 0) {
      require(code == errc::unsupported,
              "shared, empty, partial and adopted tensors keep their size");
    } else if (code == errc::ok) {
      require(t.handle.data() == t.data && t.handle.bytes() == o.bytes, "in place");
      require(t.is_intact(std::min(t.bytes, o.bytes)), "resizing in place keeps the contents");
      t.bytes = o.bytes;
      t.fill();
    } else {
      require(o.bytes > t.bytes, "a block has room for less");
    }
  }
  void operator()(const pin_one& o) {
    const tensor_id id = pick(o.which);
    const result<void*> data = pool_.pin(id);
    if (expect(id, data.error().code)) {
      live_tensor& t = live_.at(id);
      require(*data == t.data, "pin answers the address");
      ++t.pins;
      ++t.references;
    }
  }
  void operator()(const unpin_one& o) {
    const tensor_id id = pick(o.which);
    const errc code = pool_.unpin(id);
    const auto it = live_.find(id);
    if (it != live_.end() && it->second.pins == 0) {
      ++expected_reports_;
      require(code == errc::invalid_argument, "unpin without pin");
    } else if (expect(id, code)) {
      --it->second.pins;
      drop(id);
    }
  }
  void operator()(const set_one& o) {
    const tensor_id id = pick(o.which);
    if (expect(id, pool_.set_lifecycle(id, static_cast<lifecycle>(o.lifecycle)))) {
      live_.at(id).lifecycle = o.lifecycle;
    }
    if (expect(id, pool_.set_category(id, static_cast<category>(o.category)))) {
      live_.at(id).category = o.category;
    }
  }
  void operator()(const look& o) {
    const tensor_id id = pick(o.which);
    const result<tensor_info> info = pool_.info(id);
    const auto it = live_.find(id);
    require(info.has_value() == (it != live_.end()), "info knows the living only");
    if (!info) {
      return;
    }
    const live_tensor& t = it->second;
    require(info->id == id && info->bytes == t.bytes && info->data == t.data &&
                info->key == t.key && info->references == t.references && info->pins == t.pins &&
                static_cast<unsigned>(info->category) == t.category &&
                static_cast<unsigned>(info->lifecycle) == t.lifecycle && info->parent == t.parent &&
                info->name == t.name && info->capacity >= t.bytes,
            "info equals the model");
    if (t.data != nullptr && !t.parent) {
      require(pool_.find(t.data).has_value() && *pool_.find(t.data) == id, "find(data)");
    }
  }
  void operator()(const trim_all& o) { (void)pool_.control().trim(o.keep); }
  void operator()(const prewarm_some& o) {
    try {
      (void)pool_.control().prewarm({.items = {{o.bytes, o.count}}, .populate = false});
      require(!is_closed_, "a closed pool makes nothing ready");
    } catch (const out_of_memory& why) {
      require(options_.is_lack(why.why().code), "only a limit or a fault refuses to prewarm");
    } catch (const error& why) {
      require(is_refused_by_closing(why.why().code), "only a closed pool refuses to prewarm");
    }
  }
  void operator()(const name_one& o) {
    const tensor_id id = pick(o.which);
    const name_id name = o.name == 0 ? name_id{} : names_[o.name - 1];
    const errc code = pool_.set_name(id, name);
    if (o.name > known_names) {
      require(code == errc::invalid_argument, "an unknown name is refused");
    } else if (expect(id, code)) {
      live_.at(id).name = name;
    }
  }
  void operator()(const adopt_one& o) {
    live_tensor t;
    t.adopted = std::make_shared<adoption>(o.bytes);
    t.data = t.adopted->memory.get();
    result<tensor> made = pool_.try_adopt(t.data, o.bytes, {},
                                          {.category = static_cast<category>(o.category),
                                           .key = o.key,
                                           .release = adoption::release,
                                           .context = t.adopted.get()});
    if (!made) {
      require(t.adopted->releases == 0, "what is not adopted is not released");
      require(is_refused_by_closing(made.error().code) ||
                  (o.key != 0 && keys_.count(o.key) != 0 && made.error().code == errc::key_in_use),
              "only a key in use is refused");
      return;
    }
    require(!is_closed_ && (o.key == 0 || keys_.count(o.key) == 0), "a key in use is refused");
    require(made->data() == t.data && made->bytes() == o.bytes, "adopted as it is");
    t.bytes = o.bytes;
    t.key = o.key;
    t.category = o.category;
    t.lifecycle = static_cast<unsigned>(default_lifecycle(static_cast<category>(o.category)));
    t.pattern = ++pattern_;
    t.fill();
    t.handle = std::move(*made);
    add(std::move(t));
  }
  void operator()(const observe& o) {
    const std::uint64_t failures = pool_.control().statistics().failures;
    observer_.check(failures);
    pool_.control().set_observer(o.on ? &observer_ : nullptr);
    observer_.attach(o.on, failures);
  }
  void operator()(const close_pool&) {
    require(pool_.close() == live_.size(), "closing counts what is alive");
    is_closed_ = true;
  }
  void operator()(const thread_idle&) { pool_.control().thread_idle(); }
  void operator()(const tick&) { pool_.control().tick(); }
  void operator()(const count_all&) { check(); }

 private:
  [[nodiscard]] pool_options with_handler(pool_options options) {
    options.on_misuse = [](const misuse_report&, void* context) {
      ++static_cast<runner*>(context)->reports_;
    };
    options.misuse_context = this;
    return options;
  }
  /// Was the call refused because the pool is closed? Then that is one misuse.
  [[nodiscard]] bool is_refused_by_closing(errc code) {
    require(is_closed_ == (code == errc::closed), "a closed pool says so, and no other");
    expected_reports_ += is_closed_ ? 1 : 0;
    return is_closed_;
  }
  void add(live_tensor&& t) {
    const tensor_id id = t.handle.id();
    observer_.expect(true, t);
    require(ever_.insert(id).second, "an id is new");
    made_.push_back(id);
    if (t.key != 0) {
      keys_[t.key] = id;
    }
    live_.emplace(id, std::move(t));
  }
  /// Any tensor ever made, the living more often than not.
  [[nodiscard]] tensor_id pick(std::size_t which) const {
    if (made_.empty()) {
      return {};
    }
    if (which % 8 != 0 && !live_.empty()) {
      return std::next(live_.begin(), static_cast<std::ptrdiff_t>(which / 8 % live_.size()))->first;
    }
    return made_[which / 8 % made_.size()];
  }
  /// Is the tensor alive? Then the call must have worked, else it was one misuse.
  bool expect(tensor_id id, errc code) {
    const bool alive = live_.count(id) != 0;
    expected_reports_ += alive ? 0 : 1;
    require(code == (alive ? errc::ok : errc::stale_id), "only the living can be used");
    return alive;
  }
  void free_id(tensor_id id) {
    const errc code = pool_.deallocate(id);
    if (const auto it = live_.find(id); it != live_.end() && !it->second.has_owner()) {
      ++expected_reports_;
      require(code == errc::stale_id, "pins and slices keep their references");
    } else if (expect(id, code)) {
      drop(id);
    }
  }
  void drop(tensor_id id) {
    live_tensor& t = live_.at(id);
    if (--t.references != 0) {
      return;
    }
    const tensor_id parent = t.parent;
    observer_.expect(false, t);
    if (t.adopted != nullptr) {
      require(t.adopted->is_over(), "the last reference releases what was adopted, once");
      over_.push_back(t.adopted);
    }
    keys_.erase(t.key);
    (void)t.handle.release();
    live_.erase(id);
    if (parent) {
      --live_.at(parent).parts;
      drop(parent);
    }
  }

  const model_options& options_;
  std::uint64_t reports_ = 0;
  std::uint64_t expected_reports_ = 0;
  std::map<tensor_id, live_tensor> live_;
  std::map<std::uint64_t, tensor_id> keys_;
  std::vector<tensor_id> made_;
  std::set<tensor_id> ever_;
  unsigned char pattern_ = 0;
  std::vector<name_id> names_;
  std::vector<std::shared_ptr<adoption>> over_;  // adopted, and ended since
  watcher observer_;
  bool is_closed_ = false;
  pool pool_;
};

}  // namespace

std::optional<std::string> run(const model_options& options, const std::vector<operation>& list) {
  std::size_t i = 0;
  try {
    runner both(options);
    try {
      for (; i < list.size(); ++i) {
        both.step(list[i]);
        if (i % options.check_every == 0) {
          both.check();
        }
      }
      both.finish();
    } catch (const failed&) {
      both.forget();
      throw;
    }
  } catch (const failed& why) {
    return why.what() + " at operation " + std::to_string(i) + " of " + std::to_string(list.size());
  }
  return std::nullopt;
}

}  // namespace tidepool::test
