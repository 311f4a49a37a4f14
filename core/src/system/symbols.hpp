// SPDX-License-Identifier: Apache-2.0
//
// symbol_finder: the function at an address, from the symbol tables of the program and its
// libraries: also from the full ones in the files, as programs seldom export their functions to
// dladdr. For reports; slow.
//
// Thread safety: none; one user at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace tidepool {
inline namespace v0 {
namespace detail {

struct symbol {
  std::string_view function;  ///< mangled; "": unknown
  std::size_t offset = 0;     ///< of the address in the function, or in the module without one
  std::string_view module;    ///< path; "": unknown
  bool in_program = false;    ///< and not in a shared library
};

class symbol_finder {
 public:
  symbol_finder() noexcept;
  ~symbol_finder();
  symbol_finder(const symbol_finder&) = delete;
  symbol_finder& operator=(const symbol_finder&) = delete;

  /// Views are valid as long as the finder. A return address may be the first of the next function:
  /// ask for the byte before. Throws std::bad_alloc. Cost: a module's first time reads its table.
  [[nodiscard]] symbol find(const void* address);
  /// How many leading addresses belong to tidepool itself, and not to its callers.
  [[nodiscard]] std::size_t count_own(std::span<void* const> call_site);

 private:
  class loaded_file;
  void read_modules();
  std::vector<std::unique_ptr<loaded_file>> modules_;
  bool read_ = false;
};

/// "function(int)+0x12 (program)". Throws std::bad_alloc.
[[nodiscard]] std::string to_text(const symbol& what, const void* address);

}  // namespace detail
}  // namespace v0
}  // namespace tidepool
