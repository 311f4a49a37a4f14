// SPDX-License-Identifier: Apache-2.0
//
// incidents: reports to the misuse handler, to stderr and to the observer.
#include "pool/incidents.hpp"

#include "pool/operation_entry.hpp"
#include "system/uncancellable.hpp"

#include <cstdio>
#include <exception>
#include <memory>
#include <mutex>
#include <thread>

namespace tidepool {
inline namespace v0 {
namespace detail {

namespace {

// Most damages that one pool reports on stderr, because one error in a program may damage memory
// many times.
constexpr std::uint64_t most_told_damages = 32;

[[nodiscard]] const char* sentence_of(misuse_kind kind) noexcept {
  static constexpr std::array<const char*, misuse_kind_count> sentences{
      "a tensor was freed twice, or after its slot was used again",
      "an id that this pool never made",
      "a tensor was used after it was freed",
      "two threads freed one tensor at the same time",
      "unpin without pin, or release without reference",
      "an allocation from a closed pool, or a free of a tensor that force had ended",
      "bytes behind a tensor were written",
      "bytes before a tensor were written",
      "bytes of a tensor were written after its end",
      "a stream was destroyed without pool::retire, and its handle was given to another",
  };
  return sentences[static_cast<unsigned>(kind)];
}

// The warm path hands an error code on, and nothing else. The rest of the status waits here.
struct thread_failure {
  const incidents* in = nullptr;
  status why = {};
};
[[gnu::tls_model("global-dynamic")]] constinit thread_local thread_failure latest_failure;

}  // namespace

void incidents::count_misuse(misuse_kind kind) noexcept {
  by_kind_[static_cast<unsigned>(kind)].fetch_add(1, std::memory_order_relaxed);
  misuses_.fetch_add(1, std::memory_order_relaxed);
}

errc incidents::report_misuse(misuse_kind kind, tensor_id id,
                              const memory_damage* damage) noexcept {
  count_misuse(kind);
  const misuse_report report{
      .kind = kind, .id = id, .count = misuses(), .text = sentence_of(kind), .damage = damage};
  if (handler_ != nullptr) {
    const callback outside;
    handler_(report, context_);
  } else {
    tell_on_stderr(report);
  }
  return kind == misuse_kind::after_close ? errc::closed : errc::stale_id;
}

void incidents::tell_on_stderr(const misuse_report& report) noexcept {
  const uncancellable writing;
  if (report.damage == nullptr) {
    if (!told_.exchange(true, std::memory_order_relaxed)) {
      std::fprintf(stderr,
                   "tidepool: misuse: %s (id 0x%016llx); nothing was changed; further ones are "
                   "only counted (statistics().misuses)\n",
                   report.text, static_cast<unsigned long long>(report.id.value()));
    }
    return;
  }
  if (report.count > most_told_damages) {
    return;
  }
  try {
    std::fprintf(stderr, "tidepool: misuse: %s\n%s", report.text, to_text(*report.damage).c_str());
  } catch (const std::exception&) {
    std::fprintf(stderr, "tidepool: misuse: %s (id 0x%016llx)\n", report.text,
                 static_cast<unsigned long long>(report.id.value()));
  }
}

template <class F>
void incidents::tell_observer(F&& call) noexcept {
  if (!is_observed()) {
    return;
  }
  const std::shared_lock lock(observer_mutex_);
  if (observer_ != nullptr) {
    const callback outside(in_observer::yes);
    call(*observer_);
  }
}

void incidents::made(const tensor_info& info) noexcept {
  tell_observer([&](allocation_observer& observer) { observer.on_allocate(info); });
}

void incidents::ended(const tensor_info& info) noexcept {
  tell_observer([&](allocation_observer& observer) { observer.on_free(info); });
}

void incidents::failed(const status& why) noexcept {
  latest_failure = {this, why};
  failures_.fetch_add(1, std::memory_order_relaxed);
  events.fail(why);
  tell_observer([&](allocation_observer& observer) { observer.on_failure(why); });
}

status incidents::last_failure(errc code) const noexcept {
  const thread_failure& latest = latest_failure;
  return latest.in == this && latest.why.code == code ? latest.why : status{.code = code};
}

void incidents::set_observer(allocation_observer* observer) noexcept {
  std::unique_lock lock(observer_mutex_, std::try_to_lock);
  while (!lock.owns_lock()) {
    {
      // The previous observer is in a call, which may last long, so fork must not wait for this
      // operation.
      const callback outside;
      std::this_thread::yield();
    }
    (void)lock.try_lock();
  }
  observer_ = observer;
  observed_.store(observer != nullptr, std::memory_order_release);
}

void incidents::continue_in_child(unsigned own) noexcept {
  // Threads that vanished in the fork held it shared and can never unlock it.
  std::construct_at(&observer_mutex_);
  for (unsigned i = 0; i < own; ++i) {
    observer_mutex_.lock_shared();
  }
}

}  // namespace detail
}  // namespace v0
}  // namespace tidepool
