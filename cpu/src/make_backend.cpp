// SPDX-License-Identifier: Apache-2.0
//
// The public factories: options checked, the system bound to its backend.
#include "memory_backend.hpp"
#include "os_memory.hpp"
#include <tidepool/cpu/backend.hpp>
#include <tidepool/error.hpp>

#include <new>
#include <utility>

namespace tidepool {
inline namespace v0 {
namespace cpu {

namespace {

constexpr std::size_t largest_arena_bytes = std::size_t{1} << 42;

struct system_owner {
  os_memory os;
};

/// A memory_backend with the system it works on. The order of the bases keeps `os` alive longest.
class host_backend final : private system_owner, public memory_backend {
 public:
  explicit host_backend(const backend_options& options) noexcept : memory_backend(options, os) {}
};

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

result<std::unique_ptr<backend>> try_make_backend(const backend_options& options) noexcept {
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
