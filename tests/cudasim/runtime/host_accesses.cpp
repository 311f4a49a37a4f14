// SPDX-License-Identifier: Apache-2.0
//
// What the host does to memory that it shares with devices, as the race checker sees it: the host
// is one more stream, whose ticks are what it enqueues. An operation follows what the host did
// before it was enqueued, and the host follows what it has waited for.
#include "runtime/runtime.hpp"

#include <dlfcn.h>

#include <cstdio>
#include <cstring>

namespace cudasim {
namespace {

// As addr2line wants it. No name of a function: those of programs are not in dynamic tables.
std::string place_of(std::uint64_t code) {
  Dl_info found{};
  if (code == 0 || dladdr(reinterpret_cast<void*>(code), &found) == 0 ||
      found.dli_fname == nullptr) {
    return "";
  }
  const char* const slash = std::strrchr(found.dli_fname, '/');
  char text[64];
  std::snprintf(
      text, sizeof text, "+%#llx",
      static_cast<unsigned long long>(code - reinterpret_cast<std::uint64_t>(found.dli_fbase)));
  return std::string(" at ") + (slash == nullptr ? found.dli_fname : slash + 1) + text;
}

}  // namespace

void runtime::advance_host() {
  host.set(-1, ++host_tick_);
  host_ids_.clear();
  pages.close();
}

void runtime::check_host_access(const host_guard::access& what, std::uint64_t bytes) {
  if (!set.races || !races.is_shared(what.address)) {
    return;
  }
  actor who;
  if (what.by != nullptr) {
    who = *what.by;
    who.host_tick = host_tick_;
  } else {
    who.name = "host code";
    who.tick = host_tick_;
  }
  who.name += place_of(what.code);
  who.clock.join(host);
  // One id for what one place does between two calls, so that a loop is one report.
  std::uint32_t& known = host_ids_[{what.code, what.by == nullptr ? 0 : what.by->id}];
  if (known == 0) {
    races.enter(who);
    known = who.id;
  }
  who.id = known;
  race_checker(races, who).access(what.address, bytes, what.write, false);
}

void runtime::note_host_accesses() {
  pages.take([&](const host_guard::access& what) { check_host_access(what, 1); });
}

void runtime::observe(const operation& done) {
  note_host_accesses();
  host.join(done.who.clock);
  if (!pages.is_closed() || !busy_.empty()) {
    return;
  }
  for (const auto& known : streams) {
    if (!host.covers(known->index, known->tick)) {
      return;
    }
  }
  pages.open();  // so that system calls may use shared memory again
}

}  // namespace cudasim
