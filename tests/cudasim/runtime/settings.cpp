// SPDX-License-Identifier: Apache-2.0
//
// Reading of environment variables, all prefixed CUDASIM_. Numbers may end in K, M or G.
#include "runtime/settings.hpp"

#include <cstdio>
#include <cstdlib>

namespace cudasim {
namespace {

std::string text(const char* name) {
  const char* const value = std::getenv((std::string("CUDASIM_") + name).c_str());
  return value == nullptr ? "" : value;
}

std::uint64_t number(const char* name, std::uint64_t otherwise) {
  const std::string value = text(name);
  if (value.empty()) {
    return otherwise;
  }
  char* end = nullptr;
  const double parsed = std::strtod(value.c_str(), &end);
  const std::string unit = end;
  const int shift = unit == "G" ? 30 : unit == "M" ? 20 : unit == "K" ? 10 : unit.empty() ? 0 : -1;
  if (end == value.c_str() || shift < 0 || parsed < 0) {
    std::fprintf(stderr, "cudasim: CUDASIM_%s is '%s'; it must be a number, as in 512M\n", name,
                 value.c_str());
    std::exit(2);
  }
  return static_cast<std::uint64_t>(parsed * static_cast<double>(std::uint64_t{1} << shift));
}

bool flag(const char* name, bool otherwise) {
  return number(name, otherwise ? 1 : 0) != 0;
}

}  // namespace

bool settings::lacks(const char* feature) const {
  return ("," + without + ",").find("," + std::string(feature) + ",") != std::string::npos;
}

settings read_settings() {
  const settings usual;
  settings read;
  read.devices = static_cast<int>(number("DEVICES", 1));
  read.memory_bytes = number("MEMORY", usual.memory_bytes);
  read.poison_bytes = number("POISON", usual.poison_bytes);
  read.seed = number("SEED", 0);
  read.eager = flag("EAGER", usual.eager);
  read.async = flag("ASYNC", usual.async);
  read.workers = static_cast<unsigned>(number("WORKERS", usual.workers));
  read.races = flag("RACES", usual.races);
  read.host_races = flag("HOST_RACES", usual.host_races);
  read.leaks = flag("LEAKS", usual.leaks);
  read.fail = flag("FAIL", usual.fail);
  read.quiet = flag("QUIET", usual.quiet);
  read.hide = flag("HIDE", usual.hide);
  read.statistics = flag("STATS", usual.statistics);
  read.sectors = flag("SECTORS", usual.sectors);
  read.reuse = flag("REUSE", usual.reuse);
  read.handle_reuse = flag("HANDLE_REUSE", usual.handle_reuse);
  read.identity_in_captures = flag("IDENTITY_IN_CAPTURES", usual.identity_in_captures);
  read.pending_limit = number("PENDING_LIMIT", usual.pending_limit);
  read.foreign_captures = number("FOREIGN_CAPTURES", usual.foreign_captures);
  read.driver_version = static_cast<int>(number("DRIVER", 13000));
  read.without = text("WITHOUT");
  read.faults = text("FAULTS");
  return read;
}

}  // namespace cudasim
