// SPDX-License-Identifier: Apache-2.0
//
// Little address space, and filters that refuse system calls: a pool works with what it gets or
// says what it lacks; it never takes the process down. Each case in a child of its own.
#include "support.hpp"
#include <tidepool/control.hpp>
#include <tidepool/error.hpp>

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <optional>

namespace tidepool::test {
namespace {

std::size_t figure_of_process(const char* name) {
  std::FILE* const file = std::fopen("/proc/self/status", "r");
  std::array<char, 256> line{};
  std::size_t found = 0;
  while (file != nullptr &&
         std::fgets(line.data(), static_cast<int>(line.size()), file) != nullptr) {
    if (std::strncmp(line.data(), name, std::strlen(name)) == 0) {
      found = std::strtoull(line.data() + std::strlen(name) + 1, nullptr, 10) * kib;
    }
  }
  if (file != nullptr) {
    std::fclose(file);
  }
  return found;
}

enum { works = 0, refused = 3, cannot_limit = 4 };

/// Everything by default, as a user has it, with `more` bytes left to the process.
[[noreturn]] void live_on(int resource, const char* figure, std::size_t more) {
  const rlim_t limit = figure_of_process(figure) + more;
  const rlimit both{limit, limit};
  if (::setrlimit(resource, &both) != 0) {
    ::_exit(cannot_limit);
  }
  // qemu-user says that it limits, and does not.
  void* const beyond = ::mmap(nullptr, more + 1024 * mib, PROT_READ | PROT_WRITE,
                              MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (beyond != MAP_FAILED) {
    ::_exit(cannot_limit);
  }
  std::optional<pool> p;
  try {
    p.emplace(cpu::make_backend());
  } catch (const out_of_memory& e) {
    require(std::strstr(e.what(), "ulimit") != nullptr, "the next step is named");
    require(e.requested() != 0, "the numbers are there");
    ::_exit(refused);
  } catch (const std::bad_alloc&) {
    ::_exit(refused);  // the system's own, where not even small objects fit
  }
  std::vector<tensor> held;
  std::size_t failures = 0;
  for (std::size_t i = 0; i < 400; ++i) {
    if (result<tensor> made = p->try_allocate(i % 50 == 0 ? mib : i * 10)) {
      if (made->data() != nullptr) {
        std::memset(made->data(), 1, made->bytes());
      }
      held.push_back(std::move(*made));
    } else {
      require(made.error().code == errc::out_of_memory, "the code of a failure");
      require(made.error().requested != 0, "the numbers of a failure");
      ++failures;
    }
  }
  require(imbalance(*p), "balance");
  require(failures < 400 || more < 64 * mib, "something fits");
  if (more >= 512 * mib) {
    require(failures == 0, "all fits");
    // What the pool reserves for later must leave room for the rest of the program.
    void* const others = std::malloc(more / 16);
    require(others != nullptr, "others have room");
    std::free(others);
    std::thread([&] { p->allocate(100 * kib).reset(); }).join();
  }
  held.clear();
  (void)p->control().trim();
  p.reset();
  ::_exit(works);
}

TEST(SmallMachine, WithLittleAddressSpace) {
  if (sanitized) {
    GTEST_SKIP() << "sanitizers need all addresses";
  }
  int worked = 0;
  int gave_up = 0;
  for (const std::size_t more :
       {std::size_t{0}, 256 * kib, mib, 8 * mib, 32 * mib, 64 * mib, 96 * mib, 128 * mib, 160 * mib,
        192 * mib, 256 * mib, 384 * mib, 512 * mib, 1024 * mib, 4096 * mib, 65536 * mib}) {
    const int how = in_child([&] { live_on(RLIMIT_AS, "VmSize:", more); });
    if (how == cannot_limit) {
      GTEST_SKIP() << "this system does not limit addresses";
    }
    EXPECT_TRUE(how == works || how == refused) << how << " with " << more / mib << " MiB";
    EXPECT_TRUE(how == works || more < 256 * mib) << how << " with " << more / mib << " MiB";
    worked += how == works ? 1 : 0;
    gave_up += how == refused ? 1 : 0;
  }
  EXPECT_GT(worked, 0);
  EXPECT_GT(gave_up, 0);
}

TEST(SmallMachine, WithLittleData) {
  if (sanitized) {
    GTEST_SKIP() << "sanitizers need all addresses";
  }
  for (const std::size_t more : {std::size_t{0}, mib, 8 * mib, 64 * mib, 512 * mib, 4096 * mib}) {
    const int how = in_child([&] { live_on(RLIMIT_DATA, "VmData:", more); });
    if (how == cannot_limit) {
      GTEST_SKIP() << "this system does not limit data";
    }
    EXPECT_TRUE(how == works || (how == refused && more < 64 * mib))
        << how << " with " << more / mib;
  }
}

#if defined(__x86_64__)
constexpr std::uint32_t this_machine = AUDIT_ARCH_X86_64;
#else
constexpr std::uint32_t this_machine = AUDIT_ARCH_AARCH64;
#endif

/// From here on this process and its children get `error` for these calls. False: the system lets
/// nobody install a filter (qemu, some containers).
bool refuse(const std::vector<long>& calls, int error) {
  std::vector<sock_filter> program{
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, arch)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, this_machine, 1, 0),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
  };
  for (const long call : calls) {
    program.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<std::uint32_t>(call), 0, 1));
    program.push_back(
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | static_cast<std::uint32_t>(error)));
  }
  program.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
  const sock_fprog filter{static_cast<unsigned short>(program.size()), program.data()};
  return ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter, 0, 0) == 0;
}

struct filter_case {
  const char* name;
  std::vector<long> calls;
  bool threads;    // may be made: glibc needs mprotect for their stacks
  bool sanitizes;  // sanitizers live with it
};

std::vector<filter_case> filter_cases() {
  return {
      {"membarrier", {SYS_membarrier}, true, true},
      {"madvise", {SYS_madvise}, true, false},
      {"both", {SYS_membarrier, SYS_madvise}, true, false},
      {"mprotect", {SYS_mprotect, SYS_mremap}, false, false},
      {"mbind", {SYS_mbind, SYS_mremap}, true, true},
      {"all", {SYS_membarrier, SYS_madvise, SYS_mprotect, SYS_mremap, SYS_mbind}, false, false},
  };
}

constexpr int no_filter = 5;

void work(pool& p, bool threads) {
  use_everything(p);
  if (threads) {
    const load others(p, 2);
    for (int i = 0; i < 20; ++i) {
      (void)p.control().trim();
      p.allocate(100 * kib).reset();
    }
  }
  (void)p.control().trim();  // what is ready counts for a plan
  prewarm_plan plan;
  plan.items.push_back({.bytes = mib, .count = 3});
  plan.threads = 1;
  require(p.control().prewarm(plan).populated_bytes == 3 * mib, "pages are made present");
  const tensor kept = p.allocate(100 * kib);
  std::memset(kept.data(), 5, kept.bytes());
  std::vector<tensor> held;
  for (int i = 0; i < 20; ++i) {
    held.push_back(p.allocate(mib));
    std::memset(held.back().data(), 6, mib);
  }
  held.clear();
  (void)p.control().trim();
  require(p.control().memory({}).reserved_bytes < mib, "memory goes back");
  require(static_cast<unsigned char*>(kept.data())[kept.bytes() - 1] == 5, "what is alive stays");
  const tensor again = p.allocate(4 * mib);
  require(static_cast<unsigned char*>(again.data())[mib] == 0, "pages that went back are new");
  require(imbalance(p), "balance");
}

TEST(StrictMachine, FiltersThatStandBeforeThePool) {
  for (const filter_case& c : filter_cases()) {
    for (const int error : {EPERM, ENOSYS}) {
      if (sanitized && !c.sanitizes) {
        continue;
      }
      const int how = in_child([&] {
        if (!refuse(c.calls, error)) {
          ::_exit(no_filter);
        }
        for (int i = 0; i < 3; ++i) {
          pool p(small_cpu());
          work(p, c.threads);
        }
      });
      if (how == no_filter) {
        GTEST_SKIP() << "no filter can be installed here";
      }
      EXPECT_EQ(how, 0) << c.name << " refused with " << error;
    }
  }
}

TEST(StrictMachine, FiltersThatComeAfterThePool) {
  for (const filter_case& c : filter_cases()) {
    if (sanitized && !c.sanitizes) {
      continue;
    }
    const int how = in_child([&] {
      pool p(small_cpu());
      p.allocate(100).reset();
      if (!refuse(c.calls, EPERM)) {
        ::_exit(no_filter);
      }
      work(p, c.threads);
      require(in_child([&] { work(p, c.threads); }) == 0, "a child of fork under the filter");
      work(p, c.threads);
    });
    if (how == no_filter) {
      GTEST_SKIP() << "no filter can be installed here";
    }
    EXPECT_EQ(how, 0) << c.name;
  }
}

}  // namespace
}  // namespace tidepool::test
