// SPDX-License-Identifier: Apache-2.0
//
// The tickers of both interfaces, and the thread behind them.
#include "api/c_api.hpp"
#include "api/tick_thread.hpp"
#include <tidepool/control.hpp>
#include <tidepool/ticker.hpp>

#include <unistd.h>

#include <stdexcept>
#include <utility>

struct tidepool_ticker {
  std::unique_ptr<tidepool::detail::tick_thread> thread;
};

namespace tidepool {
inline namespace v0 {
namespace detail {

::pid_t tick_thread::this_process() noexcept {
  return ::getpid();
}

tick_thread::~tick_thread() {
  {
    const std::lock_guard lock(mutex_);
    ends_ = true;
  }
  wake_.notify_one();
  thread_.join();
}

void tick_thread::run(target called, std::chrono::milliseconds every) {
  std::unique_lock lock(mutex_);
  while (!wake_.wait_for(lock, every, [this] { return ends_; })) {
    lock.unlock();
    called.tick(called.what);
    lock.lock();
  }
}

void tick_thread::end(std::unique_ptr<tick_thread> one) noexcept {
  if (one != nullptr && one->process_ != this_process()) {
    (void)one.release();  // NOLINT(bugprone-unused-return-value): lost on purpose
  }
}

}  // namespace detail

struct ticker::state : detail::tick_thread {
  using tick_thread::tick_thread;
};

ticker::ticker(pool& which, std::chrono::milliseconds every) {
  if (every <= std::chrono::milliseconds::zero()) {
    throw std::invalid_argument("tidepool::ticker: the interval must be > 0");
  }
  const detail::tick_thread::target called{
      [](void* what) { static_cast<pool*>(what)->control().tick(); }, &which};
  state_ = std::make_unique<state>(called, every);
}

ticker::~ticker() {
  state::end(std::move(state_));
}

ticker::ticker(ticker&&) noexcept = default;

ticker& ticker::operator=(ticker&& other) noexcept {
  if (this != &other) {
    state::end(std::exchange(state_, std::move(other.state_)));
  }
  return *this;
}

}  // namespace v0
}  // namespace tidepool

using namespace tidepool;          // NOLINT: the functions below are outside of all namespaces
using namespace tidepool::detail;  // NOLINT

tidepool_status tidepool_ticker_create(tidepool_pool* pool, std::uint32_t milliseconds,
                                       tidepool_ticker** out) {
  if (out == nullptr) {
    return null_argument();
  }
  *out = nullptr;
  if (pool == nullptr) {
    return null_argument();
  }
  constexpr std::uint32_t usual = 1000;
  const tick_thread::target called{[](void* what) { static_cast<pool_core*>(what)->tick(); },
                                   pool->core};
  try {
    auto made = std::make_unique<tidepool_ticker>();
    made->thread = std::make_unique<tick_thread>(
        called, std::chrono::milliseconds(milliseconds == 0 ? usual : milliseconds));
    *out = made.release();
    return TIDEPOOL_OK;
  } catch (const std::exception&) {
    return fail(errc::out_of_memory, "no thread for a ticker");
  }
}

void tidepool_ticker_destroy(tidepool_ticker* ticker) {
  const std::unique_ptr<tidepool_ticker> one(ticker);
  if (one != nullptr) {
    tick_thread::end(std::move(one->thread));
  }
}
