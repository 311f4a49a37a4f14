// SPDX-License-Identifier: Apache-2.0
//
// The world's steps and its comparison.
#include "world.hpp"

#include <tidepool/control.hpp>
#include <tidepool/cpu/backend.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <iterator>
#include <new>
#include <utility>

namespace tidepool::test {

world::world() {
  const cpu::backend_options options{.arena_bytes = 64 * mib, .decay_ticks = 2};
  auto made = within([&] { return cpu::try_make_backend(options); });
  if (!made) {
    expect_clear(made.error());
    return;
  }
  std::vector<std::unique_ptr<backend>> list;
  list.push_back(std::move(*made));
  const pool_options how{
      .on_misuse = [](const misuse_report&,
                      void* context) { ++static_cast<world*>(context)->misuses_; },
      .misuse_context = this};
  auto opened = within([&] { return pool::try_create(std::move(list), how); });
  if (!opened) {
    expect_clear(opened.error());
    return;
  }
  pool_.emplace(std::move(*opened));
  sound();
}

world::~world() {
  if (is_open()) {
    free_all();
    EXPECT_EQ(misuses_, 0U);
    EXPECT_EQ(adopted_, 0) << "adopted memory that was not given back";
    within([&] { pool_.reset(); });
  }
}

void world::expect_clear(const status& why) {
  EXPECT_TRUE(why.code == errc::out_of_memory || why.code == errc::unsupported) << to_string(why);
  EXPECT_GT(faults.failed.load(), 0U) << "nothing failed, but: " << to_string(why);
}

// All that can be seen of the pool, against what this test knows.
void world::sound() {
  if (closed_) {
    return;
  }
  const char* const broken = pool_->control().verify();
  ASSERT_EQ(broken, nullptr) << broken;
  std::size_t requested = 0;
  for (const auto& [number, t] : tensors_) {
    const result<tensor_info> info = pool_->info(t.id);
    ASSERT_TRUE(info.has_value());
    EXPECT_EQ(info->data, t.data);
    EXPECT_EQ(info->bytes, t.bytes);
    requested += t.owns_block ? t.bytes : 0;
    if (t.owns_block && t.bytes != 0) {
      ASSERT_EQ(t.data[0], t.pattern);
      ASSERT_EQ(t.data[t.bytes - 1], t.pattern);
    }
  }
  const statistics s = pool_->control().statistics();
  const device_statistics& d = s.devices[0];
  const memory_info held = pool_->control().memory(device::cpu());
  EXPECT_EQ(s.total.live, tensors_.size());
  EXPECT_EQ(s.total.requested_bytes, requested);
  EXPECT_EQ(d.live_bytes + d.cached_bytes + held.free_bytes, d.reserved_bytes);
  EXPECT_EQ(held.reserved_bytes, d.reserved_bytes);
}

void world::fill(const known& t) {
  if (t.bytes != 0 && t.owns_block) {
    t.data[0] = t.pattern;
    t.data[t.bytes - 1] = t.pattern;
  }
}

std::optional<std::size_t> world::add(result<tensor>&& made, bool owns_block) {
  std::optional<std::size_t> number;
  if (made) {
    number = next_++;
    known t;
    t.data = static_cast<unsigned char*>(made->data());
    t.bytes = made->bytes();
    t.owns_block = owns_block && t.bytes != 0;
    t.pattern = static_cast<unsigned char>(next_);
    t.id = made->id();
    t.handle = std::move(*made);
    fill(t);
    tensors_.emplace(*number, std::move(t));
  } else {
    expect_clear(made.error());
  }
  sound();
  return number;
}

std::optional<std::size_t> world::allocate(std::size_t bytes, const allocation_options& options) {
  return add(within([&] { return pool_->try_allocate(bytes, device::cpu(), options); }), true);
}

std::optional<std::size_t> world::slice(std::size_t of, std::size_t offset, std::size_t bytes) {
  const tensor& whole = tensors_.at(of).handle;
  const auto number = add(within([&] { return pool_->slice(whole, offset, bytes); }), false);
  if (number) {
    tensors_.at(*number).parent = of;
    ++tensors_.at(of).parts;
  }
  return number;
}

void world::adopt() {
  static char bytes[64];
  const adopt_options how{
      .release = [](void*, std::size_t,
                    void* context) { --static_cast<world*>(context)->adopted_; },
      .context = this};
  ++adopted_;
  if (!add(within([&] { return pool_->try_adopt(bytes, sizeof bytes, device::cpu(), how); }),
           false)) {
    --adopted_;
  }
}

void world::free(std::size_t which) {
  known& t = tensors_.at(which);
  tensor ending = std::move(t.handle);
  tensor second = std::move(t.second);
  t.is_freed = true;
  if (t.parts == 0) {
    const std::optional<std::size_t> parent = t.parent;
    tensors_.erase(which);
    if (parent && --tensors_.at(*parent).parts == 0 && tensors_.at(*parent).is_freed) {
      tensors_.erase(*parent);
    }
  }
  within([&] {
    ending.reset();
    second.reset();
  });
  sound();
}

void world::free_nth(std::size_t n) {
  free(std::next(tensors_.begin(), static_cast<std::ptrdiff_t>(n))->first);
}

void world::share(std::size_t which) {
  known& t = tensors_.at(which);
  result<tensor> made = within([&] { return pool_->share(t.handle); });
  ASSERT_TRUE(made.has_value()) << "a reference needs no memory";
  t.second = std::move(*made);
  sound();
}

void world::pin_and_unpin(std::size_t which) {
  const known& t = tensors_.at(which);
  const result<void*> data = within([&] { return pool_->pin(t.handle.id()); });
  ASSERT_TRUE(data.has_value());
  EXPECT_EQ(*data, t.data);
  EXPECT_EQ(within([&] { return pool_->unpin(t.handle.id()); }), errc::ok);
  sound();
}

void world::resize(std::size_t which, std::size_t bytes) {
  known& t = tensors_.at(which);
  const errc code = within([&] { return pool_->resize(t.handle, bytes); });
  EXPECT_TRUE(code == errc::ok || code == errc::out_of_memory || code == errc::unsupported);
  if (code == errc::ok) {
    EXPECT_EQ(t.handle.data(), t.data);
    t.bytes = bytes;
    fill(t);
  }
  EXPECT_EQ(t.handle.bytes(), t.bytes);
  sound();
}

void world::find(std::size_t which) {
  const known& t = tensors_.at(which);
  const result<tensor_id> found = within([&] { return pool_->find(t.data); });
  if (found) {
    EXPECT_EQ(*found, t.handle.id());
  } else {
    expect_clear(found.error());
  }
  sound();
}

void world::trim(std::size_t keep_bytes) {
  const std::uint64_t failed = faults.failed;
  const trim_report report =
      within([&] { return pool_->control().trim(device::cpu(), keep_bytes); });
  if (faults.failed == failed) {
    // A span that holds one small tensor stays whole.
    constexpr std::size_t longest_span = 512 * kib;
    const std::size_t stays = report.in_use_bytes + tensors_.size() * longest_span;
    EXPECT_LE(report.reserved_bytes, std::max(keep_bytes, stays));
  }
  sound();
}

void world::tick() {
  within([&] { pool_->control().tick(); });
  sound();
}

void world::prewarm(std::size_t bytes, std::size_t count) {
  const prewarm_item item{bytes, count};
  try {
    within([&] {
      return pool_->control().prewarm({.items = {item}, .populate = true, .threads = 1});
    });
  } catch (const std::bad_alloc&) {
    EXPECT_GT(faults.failed.load(), 0U);
  }
  sound();
}

void world::intern(const std::string& text) {
  const result<name_id> made = within([&] { return pool_->try_intern(text); });
  if (made) {
    EXPECT_EQ(pool_->name(*made), text);
  } else {
    expect_clear(made.error());
  }
  sound();
}

void world::count() {
  try {
    within([&] {
      (void)to_json(pool_->control().statistics());
      (void)to_text(pool_->control().statistics());
    });
  } catch (const std::bad_alloc&) {
    EXPECT_GT(faults.failed.load(), 0U);
  }
  const char* const broken = within([&] { return pool_->control().verify(); });
  EXPECT_TRUE(broken == nullptr || faults.failed.load() > 0U) << broken;
  sound();
}

void world::idle() {
  within([&] { pool_->control().thread_idle(); });
  sound();
}

void world::close() {
  EXPECT_EQ(within([&] { return pool_->close(); }), tensors_.size());
  closed_ = true;
  EXPECT_EQ(within([&] { return pool_->try_allocate(64); }).error().code, errc::closed);
  --misuses_;  // that one
}

void world::free_all() {
  while (!tensors_.empty()) {
    free(tensors_.rbegin()->first);  // parts before what they are part of
  }
}

void world::recover() {
  free_all();
  if (closed_) {
    return;
  }
  for (const std::size_t bytes : {std::size_t{100}, std::size_t{70000}, 6 * mib}) {
    EXPECT_TRUE(allocate(bytes, {.key = 1000 + bytes}).has_value());
  }
  free_all();
  const trim_report left = pool_->control().trim();
  EXPECT_EQ(left.reserved_bytes, 0U);
  EXPECT_EQ(left.in_use_bytes, 0U);
  sound();
}

}  // namespace tidepool::test
