// SPDX-License-Identifier: Apache-2.0
//
// Questions and changes of users to the directory, with the steps that must follow a change.
#include "pool/entries.hpp"
#include "pool/pool_core.hpp"

namespace tidepool {
inline namespace v0 {
namespace detail {

result<tensor_id> pool_core::find(std::uint64_t key) noexcept {
  const operation guard(*this);
  return directory.find(key);
}

result<tensor_id> pool_core::find(const void* data) noexcept {
  const operation guard(*this);
  return directory.pointers.find(data);
}

result<name_id> pool_core::intern(std::string_view text) noexcept {
  const operation guard(*this);
  return directory.names.intern(text);
}

std::string_view pool_core::name(name_id id) noexcept {
  const operation guard(*this);
  return directory.names.text(id);
}

result<category> pool_core::add_category(std::string_view text, std::uint8_t priority) noexcept {
  const operation guard(*this);
  return directory.categories.add(text, priority);
}

errc pool_core::set_lifecycle(tensor_id id, lifecycle state) noexcept {
  const operation guard(*this);
  if (static_cast<unsigned>(state) >= lifecycle_count) {
    return errc::invalid_argument;
  }
  const errc why = change_header(id, [&](std::uint64_t& header) {
    header = (header & ~lifecycle_mask) | bits_of(state);
    return errc::ok;
  });
  if (why == errc::ok) {
    refresh_entry(*this, id);
  }
  return why;
}

errc pool_core::set_tag(tensor_id id, std::uint64_t mask, std::uint64_t value) noexcept {
  const operation guard(*this);
  if (!directory.change_tag(id, mask, value)) {
    return report_misuse(misuse_kind::stale_use, id);
  }
  if (category_of(mask) != category::temporary) {
    refresh_entry(*this, id);
  }
  return errc::ok;
}

void* current_data(pool_core* core, tensor_id id) noexcept {
  const std::optional<tensor_info> info = core->directory.read(id);
  return info ? info->data : nullptr;
}

device current_device(pool_core* core, tensor_id id) noexcept {
  const std::optional<tensor_info> info = core->directory.read(id);
  return info ? info->where : device{};
}

}  // namespace detail
}  // namespace v0
}  // namespace tidepool
