// SPDX-License-Identifier: Apache-2.0
//
// slab_source: the defaults. Slabs have 2 to 32 MiB; nothing optional is supported.
#include "slabs/slab_source.hpp"

namespace tidepool {
inline namespace v0 {
namespace cuda {

slab_source::~slab_source() = default;

std::size_t slab_source::smallest_slab() const noexcept {
  return std::size_t{2} << 20;
}

std::size_t slab_source::largest_slab() const noexcept {
  return std::size_t{32} << 20;
}

result<slab> slab_source::extend(const slab& /*what*/, std::size_t bytes) noexcept {
  return status{.code = errc::unsupported, .requested = bytes, .where = description().where};
}

std::size_t slab_source::held_bytes(std::size_t in_slabs) const noexcept {
  return in_slabs;
}

std::size_t slab_source::populate(std::span<const block> /*blocks*/,
                                  unsigned /*threads*/) noexcept {
  return 0;
}

status slab_source::prefetch(std::span<const std::byte> range, device /*to*/,
                             void* /*stream*/) noexcept {
  return {.code = errc::unsupported, .requested = range.size(), .where = description().where};
}

status slab_source::advise(std::span<const std::byte> range,
                           const advice_request& /*request*/) noexcept {
  return {.code = errc::unsupported, .requested = range.size(), .where = description().where};
}

}  // namespace cuda
}  // namespace v0
}  // namespace tidepool
