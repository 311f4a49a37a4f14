// SPDX-License-Identifier: Apache-2.0
//
// ptxcheck FILE...: decodes every kernel of programs (executables and objects, by their fat
// binaries' PTX) or of .ptx files, and lists what cudasim does not support. Fails if there is any.
#include "machine/fatbin.hpp"
#include "machine/kernel.hpp"

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <exception>
#include <fstream>
#include <iterator>
#include <map>
#include <string>
#include <string_view>
#include <vector>

using namespace cudasim;

namespace {

struct totals {
  int kernels = 0;
  std::size_t instructions = 0;
  std::map<std::string, int> missing;
};

std::string read_file(const char* path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) {
    throw std::runtime_error("cannot be read");
  }
  return {std::istreambuf_iterator<char>(in), {}};
}

// All images in a file, found by their magic number: what an executable's wrappers point to.
std::vector<std::string> ptx_of(const std::string& file) {
  if (file.starts_with("//") || file.find(".version") < 4096) {
    return {file};
  }
  constexpr std::uint32_t magic = 0xBA55ED50;
  const std::string_view pattern(reinterpret_cast<const char*>(&magic), sizeof magic);
  std::vector<std::string> found;
  for (std::size_t at = file.find(pattern); at != file.npos; at = file.find(pattern, at + 4)) {
    std::uint64_t body = 0;
    if (at + 16 > file.size()) {
      break;
    }
    std::memcpy(&body, file.data() + at + 8, sizeof body);
    if (body > file.size() - at - 16) {
      continue;
    }
    struct {
      std::uint32_t magic = 0x466243B1;
      std::uint32_t version = 1;
      const char* data = nullptr;
      void* extra = nullptr;
    } wrapper;
    wrapper.data = file.data() + at;
    found.push_back(extract_ptx(&wrapper, 80));
  }
  return found;
}

void check(const std::string& text, totals& sum) {
  const ptx::program program = ptx::parse(text);
  symbol_table symbols;
  for (const ptx::variable& placed : program.variables) {
    symbols[placed.name] = 0x1000;
  }
  for (const auto& [name, function] : program.functions) {
    if (function.is_entry) {
      const kernel made = decode(program, function, symbols);
      ++sum.kernels;
      sum.instructions += made.code.size();
      for (const std::string& what : made.unsupported) {
        ++sum.missing[what];
      }
    }
  }
}

}  // namespace

int main(int count, char** arguments) {
  totals sum;
  int unreadable = 0;
  for (int i = 1; i < count; ++i) {
    try {
      for (const std::string& text : ptx_of(read_file(arguments[i]))) {
        if (!text.empty()) {
          check(text, sum);
        }
      }
    } catch (const std::exception& error) {
      std::fprintf(stderr, "%s: %s\n", arguments[i], error.what());
      ++unreadable;
    }
  }
  std::printf("%d kernels, %zu instructions in %d files\n", sum.kernels, sum.instructions,
              count - 1);
  for (const auto& [what, times] : sum.missing) {
    std::printf("%d x %s\n", times, what.c_str());
  }
  return unreadable != 0 || !sum.missing.empty() || sum.kernels == 0 ? 1 : 0;
}
