// SPDX-License-Identifier: Apache-2.0
//
// The pool handle: its functions forward to pool_core and throw where the interface throws.
#include "api/allocate_all.hpp"
#include "pool/pool_core.hpp"
#include <tidepool/pool.hpp>

#include <exception>
#include <utility>

namespace tidepool {
inline namespace v0 {

namespace {
[[nodiscard]] detail::pool_core* make_or_throw(std::vector<std::unique_ptr<backend>> backends,
                                               const pool_options& options) {
  result<detail::pool_core*> core = detail::pool_core::make(std::move(backends), options);
  if (!core) {
    throw_status(core.error());
  }
  return *core;
}

[[nodiscard]] std::vector<std::unique_ptr<backend>> list_of(std::unique_ptr<backend> single) {
  std::vector<std::unique_ptr<backend>> backends;
  backends.push_back(std::move(single));
  return backends;
}
}  // namespace

pool::pool(std::vector<std::unique_ptr<backend>> backends, const pool_options& options)
    : core_(make_or_throw(std::move(backends), options)) {}

pool::pool(std::unique_ptr<backend> single, const pool_options& options)
    : core_(make_or_throw(list_of(std::move(single)), options)) {}

result<pool> pool::try_create(std::vector<std::unique_ptr<backend>> backends,
                              const pool_options& options) noexcept {
  result<detail::pool_core*> core = detail::pool_core::make(std::move(backends), options);
  if (!core) {
    return core.error();
  }
  return pool(*core);
}

pool::pool(pool&& other) noexcept : core_(std::exchange(other.core_, nullptr)) {}

pool& pool::operator=(pool&& other) noexcept {
  if (this != &other) {
    if (core_ != nullptr) {
      core_->drop_handle();
    }
    core_ = std::exchange(other.core_, nullptr);
  }
  return *this;
}

pool::~pool() {
  if (core_ != nullptr) {
    core_->drop_handle();
  }
}

errc pool::allocate_n(std::size_t bytes, std::span<raw_tensor> made, device where,
                      const allocation_options& options) noexcept {
  return detail::allocate_all({core_, bytes, where, options}, made).code;
}

errc pool::deallocate(tensor_id id, const stream_ref& stream) noexcept {
  return detail::deallocate_on(core_, id, stream);
}

errc pool::deallocate_n(std::span<const tensor_id> ids) noexcept {
  errc first = errc::ok;
  for (const tensor_id id : ids) {
    const errc code = detail::deallocate_id(core_, id);
    first = first == errc::ok ? code : first;
  }
  return first;
}

tensor pool::adopt(void* data, std::size_t bytes, device where, const adopt_options& options) {
  result<tensor> made = try_adopt(data, bytes, where, options);
  if (!made) {
    throw_status(made.error());
  }
  return std::move(*made);
}

result<tensor> pool::try_adopt(void* data, std::size_t bytes, device where,
                               const adopt_options& options) noexcept {
  const result<raw_tensor> made = core_->adopt(data, bytes, where, options);
  if (!made) {
    return made.error();
  }
  return tensor{core_, made->id, made->data, bytes};
}

result<tensor> pool::share(const tensor& shared) noexcept {
  if (shared.core_ != core_) {
    return core_->report_misuse(misuse_kind::stale_use, shared.id_);
  }
  if (const errc code = core_->retain(shared.id_); code != errc::ok) {
    return code;
  }
  return tensor{core_, shared.id_, shared.data_, shared.bytes_};
}

errc pool::retain(tensor_id id) noexcept {
  return core_->retain(id);
}

result<tensor> pool::slice(const tensor& whole, std::size_t offset, std::size_t bytes) noexcept {
  if (whole.core_ != core_) {
    return core_->report_misuse(misuse_kind::stale_use, whole.id_);
  }
  const result<raw_tensor> made = core_->slice(whole.id_, offset, bytes);
  if (!made) {
    return made.error();
  }
  return tensor{core_, made->id, made->data, bytes};
}

result<void*> pool::pin(tensor_id id) noexcept {
  return core_->pin(id);
}
errc pool::unpin(tensor_id id) noexcept {
  return core_->unpin(id);
}

errc pool::resize(tensor& resized, std::size_t bytes) noexcept {
  if (resized.core_ != core_) {
    return core_->report_misuse(misuse_kind::stale_use, resized.id_);
  }
  const errc code = core_->resize(resized.id_, bytes);
  if (code == errc::ok) {
    resized.bytes_ = bytes;
  }
  return code;
}

result<tensor_info> pool::info(tensor_id id) const noexcept {
  const std::optional<tensor_info> info = core_->directory.read(id);
  return info ? result<tensor_info>(*info) : status{.code = errc::stale_id};
}

result<tensor_id> pool::find(const void* data) const noexcept {
  return core_->find(data);
}
result<tensor_id> pool::find(std::uint64_t key) const noexcept {
  return core_->find(key);
}

errc pool::set_lifecycle(tensor_id id, lifecycle state) noexcept {
  return core_->set_lifecycle(id, state);
}

errc pool::set_category(tensor_id id, category what) noexcept {
  if (!core_->directory.categories.is_known(what)) {
    return errc::invalid_argument;
  }
  return core_->set_tag(id, std::uint64_t{0xff} << 32,
                        std::uint64_t{static_cast<std::uint8_t>(what)} << 32);
}

errc pool::set_name(tensor_id id, name_id name) noexcept {
  if (name.value() > core_->directory.names.last()) {
    return errc::invalid_argument;
  }
  return core_->set_tag(id, 0xffffffffU, name.value());
}

name_id pool::intern(std::string_view name) {
  const result<name_id> id = core_->intern(name);
  if (!id) {
    throw_status(id.error());
  }
  return *id;
}

result<name_id> pool::try_intern(std::string_view name) noexcept {
  return core_->intern(name);
}

std::string_view pool::name(name_id id) const noexcept {
  return core_->name(id);
}

category pool::register_category(std::string_view name, std::uint8_t eviction_priority) {
  const result<category> made = core_->add_category(name, eviction_priority);
  if (!made) {
    throw_status(made.error());
  }
  return *made;
}

std::string_view pool::category_name(category what) const noexcept {
  return core_->directory.categories.name(what);
}

std::uint8_t pool::eviction_priority(category what) const noexcept {
  return core_->directory.categories.priority(what);
}

std::span<const device_description> pool::devices() const noexcept {
  return core_->lanes.descriptions();
}

result<stream_ref> pool::attach(device where, stream_ref stream) noexcept {
  return core_->attach(where, stream);
}

errc pool::retire(device where, const stream_ref& stream) noexcept {
  return core_->retire(where, stream);
}

errc pool::record_use(tensor_id id, const stream_ref& stream) noexcept {
  return core_->record_use(id, stream);
}

status pool::copy(const copy_request& request) noexcept {
  return core_->copy(request);
}

status pool::fill(tensor_id id, std::uint8_t value, const stream_ref& stream) noexcept {
  return core_->fill(id, value, stream);
}

status pool::prefetch(tensor_id id, device to, const stream_ref& stream) noexcept {
  return core_->prefetch(id, to, stream);
}

status pool::advise(tensor_id id, const advice_request& request) noexcept {
  return core_->advise(id, request);
}

status pool::synchronise(device where, const stream_ref& stream) noexcept {
  return core_->synchronise(where, stream);
}

std::size_t pool::close(close_mode how) noexcept {
  return core_->close(how == close_mode::force ? close_mode::force : close_mode::orderly);
}

}  // namespace v0
}  // namespace tidepool
