// SPDX-License-Identifier: Apache-2.0
//
// The defaults of a backend's optional functions and of the observer's.
#include <tidepool/backend.hpp>
#include <tidepool/observer.hpp>

#include <cstring>

namespace tidepool {
inline namespace v0 {

namespace {
[[nodiscard]] bool host_accessible(const backend& source, device where) noexcept {
  for (const device_description& description : source.devices()) {
    if (description.where == where) {
      return description.host_accessible;
    }
  }
  return false;
}
}  // namespace

backend::~backend() = default;

std::size_t backend::decay(device) noexcept {
  return 0;
}

result<std::size_t> backend::extend(device, const block&, std::size_t) noexcept {
  return errc::unsupported;
}

std::size_t backend::populate(device, std::span<const block>, unsigned) noexcept {
  return 0;
}

void backend::take_back_after(device where, const block& what,
                              std::span<const stream_ref> streams) noexcept {
  take_back(where, std::span(&what, 1), streams.front());
}

result<std::uint64_t> backend::stream_id(device, const stream_ref& stream) noexcept {
  return std::uint64_t{reinterpret_cast<std::uintptr_t>(stream.handle)};
}

void backend::retire(device, const stream_ref&) noexcept {}

status backend::order(device, const stream_ref&, const stream_ref&) noexcept {
  return {};
}

bool backend::is_capturing(device, const stream_ref&) const noexcept {
  return false;
}

void backend::set_capture_scope(device, const stream_ref&, bool) noexcept {}

bool backend::is_recycled(device, const stream_ref&, std::uint64_t) const noexcept {
  return false;
}

status backend::prefetch(device where, std::span<const std::byte>, device, stream_ref) noexcept {
  return {.code = errc::unsupported, .where = where};
}

status backend::advise(device where, std::span<const std::byte>, const advice_request&) noexcept {
  return {.code = errc::unsupported, .where = where};
}

status backend::copy(device where, void* dst, const void* src, std::size_t bytes,
                     stream_ref) noexcept {
  if (!host_accessible(*this, where)) {
    return {.code = errc::unsupported, .where = where};
  }
  if (bytes != 0) {
    std::memmove(dst, src, bytes);
  }
  return {};
}

status backend::fill(device where, void* dst, std::uint8_t value, std::size_t bytes,
                     stream_ref) noexcept {
  if (!host_accessible(*this, where)) {
    return {.code = errc::unsupported, .where = where};
  }
  if (bytes != 0) {
    std::memset(dst, value, bytes);
  }
  return {};
}

status backend::synchronise(device, stream_ref) noexcept {
  return {};
}

const access_kernels* backend::kernels_for_access() const noexcept {
  return nullptr;
}

const char* backend::verify() const noexcept {
  return nullptr;
}

allocation_observer::~allocation_observer() = default;
void allocation_observer::on_failure(const status&) noexcept {}

}  // namespace v0
}  // namespace tidepool
