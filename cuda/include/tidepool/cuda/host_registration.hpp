// SPDX-License-Identifier: Apache-2.0
//
// host_registration: memory that the application owns, a mapped model file for instance, made known
// to the GPUs so that they read it where it is. Not every system can do that with every mapping, so
// the answer says what was done. No CUDA header is needed.
//
// Thread safety: register_host from any thread; one host_registration belongs to one thread.
#pragma once

#include <tidepool/export.hpp>
#include <tidepool/result.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

namespace tidepool {
inline namespace v0 {
namespace cuda {

/// The outcome of a registration: how the GPUs reach the memory.
enum class host_reach : std::uint8_t {
  none = 0,        ///< nothing is registered
  read_only = 1,   ///< the GPUs read the memory in place and may not write
  read_write = 2,  ///< the GPUs read and write the memory in place
  /// The GPUs read it in place, through private copies of its pages: a mapped file now takes memory
  /// of its own for all that is registered, and later changes of the file are not seen.
  private_copy = 3,
  staging = 4,  ///< not possible here: copy through pinned memory, device::pinned(gpu)
};

struct registration_options {
  std::uint16_t ordinal = 0;  ///< a GPU of the process; all can reach what is registered
  /// May pages be copied where nothing else helps (host_reach::private_copy)?
  bool may_copy_pages = true;
};

/// Ends a registration; host_registration keeps it until then.
class TIDEPOOL_EXPORT registered_memory {
 public:
  registered_memory() = default;
  registered_memory(const registered_memory&) = delete;
  registered_memory& operator=(const registered_memory&) = delete;
  virtual ~registered_memory();
  /// Ends it. On an error all is as before.
  [[nodiscard]] virtual status release() noexcept = 0;
};

/// Owns a registration, not the memory, which has to outlive it unchanged in its place.
class TIDEPOOL_EXPORT host_registration {
 public:
  host_registration() noexcept = default;
  host_registration(host_registration&& other) noexcept;
  host_registration& operator=(host_registration&& other) noexcept;
  /// Calls reset() and ignores its answer.
  ~host_registration();

  [[nodiscard]] host_reach how() const noexcept { return how_; }
  [[nodiscard]] std::span<const std::byte> memory() const noexcept { return memory_; }
  /// The address at which kernels find the first byte; null for none and staging.
  [[nodiscard]] const void* device_data() const noexcept { return device_data_; }
  /// The last refusal on the way to how(), which says why it is not better. ok() if there was none.
  [[nodiscard]] const status& why() const noexcept { return why_; }

  /// Ends the registration. Pre: no work that reads the memory is under way; the call does not wait
  /// for it. Post: how() == none, or an error and nothing has changed. A forked child only forgets
  /// the registration, which stays the parent's.
  [[nodiscard]] status reset() noexcept;

  struct parts {
    host_reach how = host_reach::none;
    std::span<const std::byte> memory;
    const void* device_data = nullptr;
    status why;
    std::unique_ptr<registered_memory> owner;
  };
  explicit host_registration(parts made) noexcept;

 private:
  std::unique_ptr<registered_memory> owner_;
  std::span<const std::byte> memory_;
  const void* device_data_ = nullptr;
  status why_;
  host_reach how_ = host_reach::none;
};

/// Registers memory that GPUs will only read. Tried in this order: registered as it is, for reading
/// (where the GPU can do that); registered for reading and writing, if the host may write there;
/// the same through private copies of the pages, if the mapping is private and options allow it.
/// Afterwards the mapping is protected as it was. If nothing works, the answer is staging, which is
/// not an error.
/// Pre: memory stays mapped. Errors: invalid_argument (empty, not mapped, parts are registered
/// already), backend_unavailable, unknown_device, device_lost, out_of_memory.
/// Cost: the pages are read in and locked; seconds for many GiB.
[[nodiscard]] TIDEPOOL_EXPORT result<host_registration> register_host(
    std::span<const std::byte> memory, const registration_options& options = {}) noexcept;
/// Registers memory that GPUs will read and write: read_write or staging. Errors: as above;
/// invalid_argument too where the host itself may not write.
[[nodiscard]] TIDEPOOL_EXPORT result<host_registration> register_host(
    std::span<std::byte> memory, const registration_options& options = {}) noexcept;

}  // namespace cuda
}  // namespace v0
}  // namespace tidepool
