// SPDX-License-Identifier: Apache-2.0
//
// The rungs of ladder.hpp, and register_host itself.
#include "registration/ladder.hpp"

#include <algorithm>
#include <cstdint>
#include <new>
#include <utility>

namespace tidepool {
inline namespace v0 {
namespace cuda {

namespace {

class locked final : public registered_memory {
 public:
  locked(registration_tools tools, const std::byte* data) noexcept
      : tools_(std::move(tools)), process_(tools_.system->process()), data_(data) {}
  [[nodiscard]] status release() noexcept override {
    if (tools_.system->process() != process_) {
      return {};
    }
    const status why = unregister_host(*tools_.gpu, data_);
    return why.code == errc::device_lost ? status{} : why;  // the driver's hold ends by itself
  }

  [[nodiscard]] driver& gpu() noexcept { return *tools_.gpu; }
  [[nodiscard]] host_system& system() noexcept { return *tools_.system; }

 private:
  const registration_tools tools_;
  const int process_;
  const std::byte* const data_;
};

/// One attempt to register memory. On an error nothing stays registered.
class ladder {
 public:
  ladder(driver& gpu, host_system& system, std::span<const std::byte> memory) noexcept
      : gpu_(gpu), system_(system), memory_(memory) {}

  /// A rung answers how the memory was registered, or staging if it was not and the next rung may
  /// be tried. An error means that no rung can help.
  [[nodiscard]] result<host_reach> lock(host_access access, host_reach reach) noexcept;
  /// Registers for reading and writing where the host itself may only read.
  [[nodiscard]] result<host_reach> lock_protected(host_reach reach) noexcept;
  [[nodiscard]] host_reach refuse(const char* text) noexcept {
    why_ = {.code = errc::unsupported, .requested = memory_.size(), .text = text};
    return host_reach::staging;
  }

  [[nodiscard]] const status& why() const noexcept { return why_; }
  [[nodiscard]] const void* device_data() const noexcept { return device_data_; }

 private:
  [[nodiscard]] bool protect(bool writable) noexcept;

  driver& gpu_;
  host_system& system_;
  std::span<const std::byte> memory_;
  const void* device_data_ = nullptr;
  status why_;
};

result<host_reach> ladder::lock(host_access access, host_reach reach) noexcept {
  status why = register_host(gpu_, memory_, access);
  if (why.ok()) {
    const result<void*> address = device_address(gpu_, memory_.data());
    if (address) {
      device_data_ = *address;
      return reach;
    }
    why = address.error();
    if (const status undone = unregister_host(gpu_, memory_.data()); !undone.ok()) {
      // Tried a second time, because nothing remembers the registration afterwards.
      static_cast<void>(unregister_host(gpu_, memory_.data()));
    }
  }
  if (why.code == errc::device_lost) {
    return why;
  }
  if (why.native == cudaErrorHostMemoryAlreadyRegistered) {
    why.code = errc::invalid_argument;
    why.text = "parts of the memory are registered already";
    return why;
  }
  why_ = why;
  return host_reach::staging;
}

bool ladder::protect(bool writable) noexcept {
  const std::size_t page = system_.page_bytes();
  const auto address = reinterpret_cast<std::uintptr_t>(memory_.data());
  const std::uintptr_t begin = address / page * page;
  const std::uintptr_t end = (address + memory_.size() + page - 1) / page * page;
  const int error = system_.protect(reinterpret_cast<void*>(begin), end - begin, writable);
  if (error != 0) {
    why_ = {.code = errc::driver_error,
            .native = error,
            .requested = memory_.size(),
            .text = "the protection of the mapping cannot be changed"};
  }
  return error == 0;
}

// Locking for writing makes the system copy each page of a private mapping. The mapping has to be
// writable only while that happens.
result<host_reach> ladder::lock_protected(host_reach reach) noexcept {
  if (!protect(true)) {
    return host_reach::staging;
  }
  result<host_reach> found = lock(host_access::read_write, reach);
  const status before = why_;
  if (protect(false) || protect(false)) {
    why_ = before;
  }
  return found;
}

[[nodiscard]] status invalid(const char* text, std::size_t bytes) noexcept {
  return {.code = errc::invalid_argument, .requested = bytes, .text = text};
}

/// Which rungs may be tried.
struct route {
  host_access access;
  bool has_read_only_rung;  ///< of the GPU
  bool may_copy_pages;
  host_system::protection mapped;
};

[[nodiscard]] result<host_reach> climb(ladder& rungs, const route& route) noexcept {
  if (route.access == host_access::read_only && route.has_read_only_rung) {
    result<host_reach> found = rungs.lock(host_access::read_only, host_reach::read_only);
    if (!found || *found != host_reach::staging) {
      return found;
    }
  }
  const host_system::protection& mapped = route.mapped;
  const bool copies = mapped.is_known && mapped.is_private && mapped.has_file;
  const host_reach reach = copies ? host_reach::private_copy : host_reach::read_write;
  if (copies && !route.may_copy_pages) {
    return rungs.refuse("only through copies of its pages, which the options forbid");
  }
  if (!mapped.is_known || mapped.is_writable) {
    return rungs.lock(host_access::read_write, reach);
  }
  if (mapped.is_private && !mapped.has_writable) {
    return rungs.lock_protected(reach);
  }
  return rungs.refuse(
      "a shared mapping that may not be written, and a GPU that cannot register it");
}

[[nodiscard]] result<host_registration> open_and_climb(std::span<const std::byte> memory,
                                                       host_access access,
                                                       const registration_options& options) {
  result<std::unique_ptr<driver>> gpu = driver::open(options.ordinal);
  if (!gpu) {
    return gpu.error();
  }
  std::unique_ptr<host_system> system(new (std::nothrow) host_system);
  if (system == nullptr) {
    return errc::out_of_memory;
  }
  return climb_ladder({std::move(*gpu), std::move(system)}, memory, access, options.may_copy_pages);
}

}  // namespace

result<host_registration> climb_ladder(registration_tools tools, std::span<const std::byte> memory,
                                       host_access access, bool may_copy_pages) noexcept {
  if (memory.empty() || memory.data() == nullptr) {
    return invalid("no memory to register", memory.size());
  }
  const host_system::protection mapped = tools.system->protection_of(memory.data(), memory.size());
  if (mapped.is_known && !(mapped.is_mapped && mapped.is_readable)) {
    return invalid("not all of the memory is mapped for reading", memory.size());
  }
  if (mapped.is_known && access == host_access::read_write && !mapped.is_writable) {
    return invalid("the host itself may not write there", memory.size());
  }
  std::unique_ptr<locked> owner(new (std::nothrow) locked(std::move(tools), memory.data()));
  if (owner == nullptr) {
    return errc::out_of_memory;
  }
  ladder rungs(owner->gpu(), owner->system(), memory);
  const bool has_read_only_rung =
      owner->gpu().attribute(cudaDevAttrHostRegisterReadOnlySupported) != 0;
  const result<host_reach> found =
      climb(rungs, {access, has_read_only_rung, may_copy_pages, mapped});
  if (!found) {
    return found.error();
  }
  if (*found == host_reach::staging) {
    owner.reset();
  }
  return host_registration({.how = *found,
                            .memory = memory,
                            .device_data = rungs.device_data(),
                            .why = rungs.why(),
                            .owner = std::move(owner)});
}

result<host_registration> register_host(std::span<const std::byte> memory,
                                        const registration_options& options) noexcept {
  return open_and_climb(memory, host_access::read_only, options);
}

result<host_registration> register_host(std::span<std::byte> memory,
                                        const registration_options& options) noexcept {
  return open_and_climb(memory, host_access::read_write, options);
}

}  // namespace cuda
}  // namespace v0
}  // namespace tidepool
