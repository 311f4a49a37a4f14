// SPDX-License-Identifier: Apache-2.0
//
// The public factories: options checked, the system bound to its backend.
#include "memory_backend.hpp"
#include "os_memory.hpp"
#include <tidepool/cpu/backend.hpp>
#include <tidepool/environment.hpp>
#include <tidepool/error.hpp>

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <new>
#include <utility>

namespace tidepool {
inline namespace v0 {
namespace cpu {

namespace {

constexpr std::size_t largest_arena_bytes = std::size_t{1} << 42;

/// The system, except that calls fail where fault_options orders it.
class ordered_faults final : public os_memory {
 public:
  explicit ordered_faults(const fault_options& faults) noexcept : faults_(faults) {}

 protected:
  int refuse(system_call /*call*/) noexcept override {
    const std::uint64_t number = asked_.fetch_add(1, std::memory_order_relaxed) + 1;
    const bool nth = number == faults_.fail_call;
    const bool every = faults_.fail_every != 0 && number % faults_.fail_every == 0;
    return nth || every ? ENOMEM : 0;
  }

 private:
  const fault_options faults_;
  std::atomic<std::uint64_t> asked_{0};
};

struct system_owner {
  ordered_faults os;
};

/// A memory_backend with the system it works on. The order of the bases keeps `os` alive longest.
class host_backend final : private system_owner, public memory_backend {
 public:
  explicit host_backend(const backend_options& options) noexcept
      : system_owner{ordered_faults(options.faults)}, memory_backend(options, os) {}
};

// Options that the program left at their defaults may come from the environment.
backend_options with_environment(backend_options options) noexcept {
  if (options.arena_bytes == backend_options{}.arena_bytes) {
    options.arena_bytes = environment_bytes("arena_bytes").value_or(options.arena_bytes);
  }
  fault_options& faults = options.faults;
  if (faults.fail_call == 0) {
    faults.fail_call = environment_count("fail_call").value_or(0);
  }
  if (faults.fail_every == 0) {
    faults.fail_every = environment_count("fail_every").value_or(0);
  }
  if (faults.exhaust_at == SIZE_MAX) {
    faults.exhaust_at = environment_bytes("exhaust_at").value_or(SIZE_MAX);
  }
  if (environment_flag("no_huge_pages")) {
    options.huge_pages = huge_pages::never;
  }
  return options;
}

}  // namespace

status check_options(const backend_options& options, const os_memory& os) noexcept {
  const device where = options.device;
  const auto invalid = [&](const char* text) noexcept {
    return status{.code = errc::invalid_argument, .where = where, .text = text};
  };
  if (where.kind() != device_kind::cpu || where.ordinal() != 0) {
    return invalid("the CPU backend serves device::cpu() or device::cpu(node)");
  }
  if (options.huge_pages > huge_pages::always) {
    return invalid("no such policy for huge pages");
  }
  if (options.arena_bytes > largest_arena_bytes) {
    return invalid("an arena has at most 4 TiB");
  }
  if (where.node() != device::any_node && !os.has_node(where.node())) {
    return {.code = errc::unknown_device, .where = where, .text = "no such NUMA node"};
  }
  if (os.system_page_bytes() != page_bytes) {
    return {.code = errc::unsupported, .where = where, .text = "the system's pages are not 4 KiB"};
  }
  return {};
}

result<std::unique_ptr<backend>> try_make_backend(const backend_options& given) noexcept {
  const backend_options options = with_environment(given);
  if (const status why = check_options(options, os_memory{}); !why.ok()) {
    return why;
  }
  std::unique_ptr<host_backend> made(new (std::nothrow) host_backend(options));
  if (made == nullptr) {
    return status{.code = errc::out_of_memory, .where = options.device};
  }
  if (const status why = made->prepare(); !why.ok()) {
    return why;
  }
  return std::unique_ptr<backend>(std::move(made));
}

std::unique_ptr<backend> make_backend(const backend_options& options) {
  result<std::unique_ptr<backend>> made = try_make_backend(options);
  if (!made) {
    throw_status(made.error());
  }
  return std::move(*made);
}

}  // namespace cpu
}  // namespace v0
}  // namespace tidepool
