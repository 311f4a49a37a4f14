// SPDX-License-Identifier: Apache-2.0
//
// Programs on devices: a fat binary is parsed once per device, when something of it is first used;
// its kernels are decoded when they are first launched. Guarded by the runtime's lock.
#pragma once

#include "machine/kernel.hpp"

#include <cstddef>
#include <map>
#include <memory>
#include <string>

namespace cudasim {

struct device_module {
  ptx::program program;
  symbol_table symbols;
  std::map<std::string, std::unique_ptr<kernel>, std::less<>> kernels;
};
struct fat_binary {
  const void* wrapper = nullptr;
  std::map<int, std::unique_ptr<device_module>> modules;  // by device
};
struct function {
  static constexpr int usual_dynamic_shared = 48 * 1024;
  fat_binary* binary = nullptr;
  std::string name;
  int max_dynamic_shared = usual_dynamic_shared;
};
struct symbol {
  fat_binary* binary = nullptr;
  std::string name;
  std::size_t size = 0;
};

}  // namespace cudasim
