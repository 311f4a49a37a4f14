// SPDX-License-Identifier: Apache-2.0
//
// What a figure was measured on.
#include "tidepool/machine.hpp"

#include <sched.h>
#include <stdlib.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <fstream>
#include <sstream>
#include <string_view>

#ifndef TIDEPOOL_BENCH_BUILD_TYPE
#define TIDEPOOL_BENCH_BUILD_TYPE ""
#endif

namespace tidepool::bench {
namespace {

/// The rest of the first line of `path` that begins with `key`, without blanks, colon and tabs.
std::string value_of(const char* path, std::string_view key) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with(key)) {
      const std::size_t begin = line.find_first_not_of(" \t:", key.size());
      return begin == std::string::npos ? std::string{} : line.substr(begin);
    }
  }
  return {};
}

/// A field of /proc/meminfo; those are in KiB.
std::uint64_t meminfo_bytes(std::string_view key) {
  std::istringstream text(value_of("/proc/meminfo", key));
  std::uint64_t kibibytes = 0;
  text >> kibibytes;
  return kibibytes * 1024;
}

std::string chosen_huge_pages() {
  const std::string line = value_of("/sys/kernel/mm/transparent_hugepage/enabled", "");
  const std::size_t open = line.find('[');
  const std::size_t close = line.find(']');
  return open == std::string::npos || close == std::string::npos
             ? std::string{}
             : line.substr(open + 1, close - open - 1);
}

unsigned usable_cores() {
  cpu_set_t set;
  return sched_getaffinity(0, sizeof set, &set) == 0 ? static_cast<unsigned>(CPU_COUNT(&set)) : 0;
}

std::string compiler_text() {
#if defined(__clang__)
  return "clang " __clang_version__;
#elif defined(__GNUC__)
  return "g++ " __VERSION__;
#else
  return "";
#endif
}

}  // namespace

machine this_machine() {
  machine answer;
  answer.cpu = value_of("/proc/cpuinfo", "model name");
  answer.cores = usable_cores();
  utsname system{};
  if (uname(&system) == 0) {
    answer.kernel = std::string(system.sysname) + " " + system.release;
  }
  answer.memory_bytes = meminfo_bytes("MemTotal");
  answer.page_bytes = static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE));
  answer.huge_pages = chosen_huge_pages();
  double load = 0;
  if (getloadavg(&load, 1) == 1) {
    answer.load = load;
  }
  answer.compiler = compiler_text();
  answer.build_type = TIDEPOOL_BENCH_BUILD_TYPE;
  return answer;
}

std::uint64_t available_memory_bytes() {
  return meminfo_bytes("MemAvailable");
}

}  // namespace tidepool::bench
