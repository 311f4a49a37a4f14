// SPDX-License-Identifier: Apache-2.0
//
// Page protection and the signal handler of the host guard.
#include "memory/host_guard.hpp"

#include "machine/types.hpp"

#include <signal.h>
#include <sys/mman.h>
#include <ucontext.h>

#include <cerrno>
#include <cstdio>

namespace cudasim {
namespace {

// The handler has no other way to them. Set once, before the handler is.
host_guard* only = nullptr;
struct sigaction before;

// In the thread's static block: the handler must not allocate.
[[gnu::tls_model("initial-exec")]] thread_local const actor* acting = nullptr;

bool protect(std::uint64_t low, std::uint64_t bytes, int protection) noexcept {
  return mprotect(reinterpret_cast<void*>(low), bytes, protection) == 0;
}

#if defined(__x86_64__)
constexpr bool knows_writes = true;
void read_context(const ucontext_t& from, host_guard::access& into) {
  constexpr greg_t write_bit = 2;  // of the processor's page fault error code
  into.write = (from.uc_mcontext.gregs[REG_ERR] & write_bit) != 0;
  into.code = static_cast<std::uint64_t>(from.uc_mcontext.gregs[REG_RIP]);
}
#else
// A write looks like a read, so that it is found only against another write.
constexpr bool knows_writes = false;
void read_context(const ucontext_t&, host_guard::access&) {}
#endif

void pass_on(int number, siginfo_t* info, void* context) {
  if ((before.sa_flags & SA_SIGINFO) != 0) {
    before.sa_sigaction(number, info, context);
  } else if (before.sa_handler != SIG_DFL && before.sa_handler != SIG_IGN) {
    before.sa_handler(number);
  } else {
    signal(number, SIG_DFL);  // the instruction faults again, and that ends the process
    if (info->si_code <= 0) {
      ::raise(number);  // somebody sent it
    }
  }
}

void handle_fault(int number, siginfo_t* info, void* context) {
  const int kept = errno;
  host_guard::access what;
  what.address = reinterpret_cast<std::uint64_t>(info->si_addr);
  what.by = acting;
  read_context(*static_cast<const ucontext_t*>(context), what);
  // Only a fault of protection: a signal that somebody sent carries no address.
  if (info->si_code != SEGV_ACCERR || !only->handle(what)) {
    pass_on(number, info, context);
  }
  errno = kept;
}

}  // namespace

void host_guard::set_acting(const actor* by) noexcept {
  acting = by;
}

void host_guard::install() {
  only = this;
  struct sigaction mine {};
  mine.sa_sigaction = handle_fault;
  mine.sa_flags = SA_SIGINFO | SA_ONSTACK;
  sigemptyset(&mine.sa_mask);
  installed_ = sigaction(SIGSEGV, &mine, &before) == 0;
  if (!installed_) {
    std::perror("cudasim: no signal handler, so accesses of the host are not checked");
  }
}

void host_guard::add(std::uint64_t low, std::uint64_t bytes, bool own) {
  const std::uint64_t begin = align_up(low, host_page);
  const std::uint64_t end = (low + bytes) / host_page * host_page;
  if (!installed_ || begin >= end) {
    return;
  }
  for (part& each : parts_) {
    if (each.size == 0) {
      each.own = own;
      each.low = begin;
      each.size = end - begin;
      each.shut = false;
      any_open_ = true;
      return;
    }
  }
}

void host_guard::remove(std::uint64_t low) {
  const std::uint64_t begin = align_up(low, host_page);
  for (part& each : parts_) {
    if (each.size != 0 && each.low == begin) {
      protect(begin, each.size, PROT_READ | PROT_WRITE);
      each.size = 0;
    }
  }
}

// What nobody touched is closed still: that saves most calls, each of which changes whole tables.
void host_guard::close_where(bool own) {
  for (part& each : parts_) {
    if (each.size != 0 && (each.own || !own) && !each.shut.exchange(true)) {
      protect(each.low, each.size, PROT_NONE);
    }
  }
}

void host_guard::open_part(part& which) {
  protect(which.low, which.size, PROT_READ | PROT_WRITE);
  which.shut = false;
}

void host_guard::close() {
  if (!installed_) {
    return;
  }
  if (any_open_.exchange(false) || !closed_) {
    close_where(false);
  }
  closed_ = true;
}

void host_guard::open() {
  if (!closed_) {
    return;
  }
  closed_ = false;
  for (part& each : parts_) {
    if (each.size != 0) {
      open_part(each);
    }
  }
}

void host_guard::open_own() {
  simulating_ = closed_;
}

void host_guard::close_own() {
  simulating_ = false;
  if (closed_) {
    close_where(true);
  }
}

void host_guard::note_down(const access& what) noexcept {
  note& mine = notes_[next_note_++ % most_notes];
  int expected = note::empty;
  if (mine.now.compare_exchange_strong(expected, note::claimed)) {
    mine.what = what;
    mine.now.store(note::full, std::memory_order_release);
    any_noted_ = true;
  }
}

bool host_guard::handle(const access& what) noexcept {
  for (part& each : parts_) {
    const std::uint64_t low = each.low;
    const std::uint64_t size = each.size;
    if (what.address - low >= size) {
      continue;
    }
    if (simulating_ && each.own) {
      open_part(each);
      any_open_ = true;
      return true;
    }
    // After a read the page stays closed for writes, so that the first one is seen as well.
    const int allowed = what.write || !knows_writes ? PROT_READ | PROT_WRITE : PROT_READ;
    note_down(what);
    // If the kernel has no room to split the mapping, all of it is opened.
    const bool opened = protect(what.address / host_page * host_page, host_page, allowed) ||
                        protect(low, size, PROT_READ | PROT_WRITE);
    each.shut = false;
    any_open_ = true;
    return opened;
  }
  return false;
}

}  // namespace cudasim
