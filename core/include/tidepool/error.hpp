// SPDX-License-Identifier: Apache-2.0
//
// Exceptions of the throwing front door. Nothing below the front door throws; destructors, frees,
// trim and statistics never do.
#pragma once

#include <tidepool/device.hpp>
#include <tidepool/export.hpp>
#include <tidepool/result.hpp>

#include <cstddef>
#include <memory>
#include <new>
#include <stdexcept>

namespace tidepool {
inline namespace v0 {

struct pool_report;

/// Any failure that is not a lack of memory.
class TIDEPOOL_EXPORT error : public std::runtime_error {
 public:
  explicit error(const status& why);
  error(const error&) = default;
  ~error() override;
  [[nodiscard]] const status& why() const noexcept { return why_; }

 private:
  status why_;
};

/// The device, the system or a limit has no room. It carries the figures that say why.
class TIDEPOOL_EXPORT out_of_memory : public std::bad_alloc {
 public:
  /// requested, limit, reserved: bytes. limit is SIZE_MAX where none is set.
  out_of_memory(const status& why, std::size_t limit, std::size_t reserved,
                std::shared_ptr<const pool_report> report = nullptr) noexcept;
  out_of_memory(const out_of_memory&) noexcept = default;
  ~out_of_memory() override;

  [[nodiscard]] const char* what() const noexcept override;
  [[nodiscard]] std::size_t requested() const noexcept { return why_.requested; }
  [[nodiscard]] std::size_t limit() const noexcept { return limit_; }
  [[nodiscard]] std::size_t reserved() const noexcept { return reserved_; }
  [[nodiscard]] tidepool::device device() const noexcept { return why_.where; }
  [[nodiscard]] const status& why() const noexcept { return why_; }
  /// Says where the pool's memory was at that moment and what to do; to_text and to_json
  /// (report.hpp) make text of it. Null if there was no memory for the report itself.
  [[nodiscard]] const pool_report* report() const noexcept { return report_.get(); }

 private:
  status why_;
  std::size_t limit_;
  std::size_t reserved_;
  std::shared_ptr<const pool_report> report_;
  char text_[512];
};

/// Throws out_of_memory, a std::bad_alloc, for out_of_memory and over_budget; else throws error.
[[noreturn]] TIDEPOOL_EXPORT void throw_status(const status& why);

}  // namespace v0
}  // namespace tidepool
