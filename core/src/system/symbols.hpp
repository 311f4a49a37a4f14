// SPDX-License-Identifier: Apache-2.0
//
// symbol_finder: finds the function at an address in the symbol tables of the program and its
// libraries. It reads the full tables in the files, because programs seldom export their functions
// to dladdr. It is slow and meant for reports.
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
  std::size_t offset = 0;     ///< of the address in the function, or in the module if unknown
  std::string_view module;    ///< path; "": unknown
  bool in_program = false;    ///< false: in a shared library
};

class symbol_finder {
 public:
  symbol_finder() noexcept;
  ~symbol_finder();
  symbol_finder(const symbol_finder&) = delete;
  symbol_finder& operator=(const symbol_finder&) = delete;

  /// Finds the symbol at an address. For a return address pass the byte before it, because the
  /// address itself may be the first one of the next function. The views are valid as long as the
  /// finder. Throws std::bad_alloc. Cost: the first look-up in a module reads its table.
  [[nodiscard]] symbol find(const void* address);
  /// Counts the leading addresses that belong to tidepool itself and not to its callers.
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
