// SPDX-License-Identifier: Apache-2.0
//
// The C interface: allocation, references and parts, what the pool knows about tensors.
#include "api/allocate_all.hpp"
#include "api/c_api.hpp"

#include <algorithm>
#include <span>

namespace tidepool {
inline namespace v0 {
namespace detail {
namespace {

[[nodiscard]] bool read_options(const tidepool_allocation_options* from,
                                allocation_options& to) noexcept {
  tidepool_allocation_options read{};
  stream_ref stream;
  if (!read_c_struct(from, read) || !read_stream(read.stream, stream)) {
    return false;
  }
  to = {.stream = stream,
        .category = static_cast<category>(read.category),
        .lifecycle = lifecycle_from_c(read.lifecycle),
        .movable = read.movable != 0,
        .tracked = read.tracked != 0,
        .name = name_id::from_value(read.name),
        .alignment = read.alignment,
        .key = read.key};
  return true;
}

[[nodiscard]] tidepool_status allocate_one(pool_core& core, std::size_t bytes, device where,
                                           const allocation_options& options,
                                           tidepool_tensor& out) noexcept {
  const raw_tensor made = detail::allocate(&core, bytes, where, options);
  if (!made.id) {
    out = {};
    return record_error(failure_status(&core, made, bytes, where));
  }
  out = {made.data, made.id.value()};
  return TIDEPOOL_OK;
}

[[nodiscard]] tidepool_status answer_tensor(const result<raw_tensor>& made,
                                            tidepool_tensor& out) noexcept {
  if (!made) {
    out = {};
    return record_error(made.error());
  }
  out = {made->data, made->id.value()};
  return TIDEPOOL_OK;
}

[[nodiscard]] tidepool_status answer_id(const result<tensor_id>& found,
                                        tidepool_tensor_id& out) noexcept {
  out = found ? found->value() : 0;
  return found ? TIDEPOOL_OK : record_error(found.error());
}

}  // namespace
}  // namespace detail
}  // namespace v0
}  // namespace tidepool

using namespace tidepool;          // NOLINT: the functions below are outside of all namespaces
using namespace tidepool::detail;  // NOLINT

tidepool_status tidepool_allocate(tidepool_pool* pool, std::size_t bytes, tidepool_device where,
                                  const tidepool_allocation_options* options,
                                  tidepool_tensor* out) {
  if (out == nullptr) {
    return null_argument();
  }
  *out = {};
  if (pool == nullptr) {
    return null_argument();
  }
  allocation_options wanted;
  if (options != nullptr && !read_options(options, wanted)) {
    return bad_struct();
  }
  return allocate_one(*pool->core, bytes, device::from_bits(where), wanted, *out);
}

tidepool_status tidepool_allocate_n(tidepool_pool* pool, std::size_t bytes, tidepool_device where,
                                    const tidepool_allocation_options* options,
                                    tidepool_tensor* out, std::size_t count) {
  if (out == nullptr && count != 0) {
    return null_argument();
  }
  std::fill_n(out, count, tidepool_tensor{});
  if (pool == nullptr) {
    return null_argument();
  }
  allocation_options wanted;
  if (options != nullptr && !read_options(options, wanted)) {
    return bad_struct();
  }
  return record_error(
      allocate_all({pool->core, bytes, device::from_bits(where), wanted}, std::span(out, count)));
}

tidepool_status tidepool_deallocate(tidepool_pool* pool, tidepool_tensor_id id) {
  return pool == nullptr ? null_argument()
                         : answer(deallocate_id(pool->core, tensor_id::from_value(id)));
}

tidepool_status tidepool_deallocate_on(tidepool_pool* pool, tidepool_tensor_id id,
                                       tidepool_stream stream) {
  stream_ref order;
  if (pool == nullptr) {
    return null_argument();
  }
  if (!read_stream(stream, order)) {
    return fail(errc::invalid_argument, "no such kind of stream");
  }
  return answer(deallocate_on(pool->core, tensor_id::from_value(id), order));
}

tidepool_status tidepool_deallocate_n(tidepool_pool* pool, const tidepool_tensor_id* ids,
                                      std::size_t count) {
  if (pool == nullptr || (ids == nullptr && count != 0)) {
    return null_argument();
  }
  errc first = errc::ok;
  for (std::size_t i = 0; i < count; ++i) {
    const errc code = deallocate_id(pool->core, tensor_id::from_value(ids[i]));
    first = first == errc::ok ? code : first;
  }
  return answer(first);
}

tidepool_status tidepool_adopt(tidepool_pool* pool, void* data, std::size_t bytes,
                               tidepool_device where, const tidepool_adopt_options* options,
                               tidepool_tensor* out) {
  if (out == nullptr) {
    return null_argument();
  }
  *out = {};
  if (pool == nullptr) {
    return null_argument();
  }
  tidepool_adopt_options read{};
  if (options != nullptr && (!read_c_struct(options, read) || read.reserved != 0)) {
    return bad_struct();
  }
  const adopt_options wanted{.category = read.category == 0 ? category::other
                                                            : static_cast<category>(read.category),
                             .lifecycle = lifecycle_from_c(read.lifecycle),
                             .tracked = read.tracked != 0,
                             .name = name_id::from_value(read.name),
                             .key = read.key,
                             .release = read.release,
                             .context = read.context};
  return answer_tensor(pool->core->adopt(data, bytes, device::from_bits(where), wanted), *out);
}

tidepool_status tidepool_retain(tidepool_pool* pool, tidepool_tensor_id id) {
  return pool == nullptr ? null_argument() : answer(pool->core->retain(tensor_id::from_value(id)));
}

tidepool_status tidepool_release(tidepool_pool* pool, tidepool_tensor_id id) {
  return tidepool_deallocate(pool, id);
}

tidepool_status tidepool_slice(tidepool_pool* pool, tidepool_tensor_id of, std::size_t offset,
                               std::size_t bytes, tidepool_tensor* out) {
  if (out == nullptr) {
    return null_argument();
  }
  *out = {};
  return pool == nullptr
             ? null_argument()
             : answer_tensor(pool->core->slice(tensor_id::from_value(of), offset, bytes), *out);
}

tidepool_status tidepool_pin(tidepool_pool* pool, tidepool_tensor_id id, void** data) {
  if (data == nullptr) {
    return null_argument();
  }
  *data = nullptr;
  if (pool == nullptr) {
    return null_argument();
  }
  const result<void*> address = pool->core->pin(tensor_id::from_value(id));
  if (!address) {
    return record_error(address.error());
  }
  *data = *address;
  return TIDEPOOL_OK;
}

tidepool_status tidepool_unpin(tidepool_pool* pool, tidepool_tensor_id id) {
  return pool == nullptr ? null_argument() : answer(pool->core->unpin(tensor_id::from_value(id)));
}

tidepool_status tidepool_resize(tidepool_pool* pool, tidepool_tensor_id id, std::size_t bytes) {
  return pool == nullptr ? null_argument()
                         : answer(pool->core->resize(tensor_id::from_value(id), bytes));
}

tidepool_status tidepool_info(const tidepool_pool* pool, tidepool_tensor_id id,
                              tidepool_tensor_info* out) {
  if (const tidepool_status why = check_answer(pool, out); why != TIDEPOOL_OK) {
    return why;
  }
  const std::optional<tensor_info> info = pool->core->directory.read(tensor_id::from_value(id));
  if (!info) {
    return fail(errc::stale_id);
  }
  write_c_struct(to_c(*info), out);
  return TIDEPOOL_OK;
}

tidepool_status tidepool_find(const tidepool_pool* pool, const void* data,
                              tidepool_tensor_id* out) {
  return pool == nullptr || out == nullptr ? null_argument()
                                           : answer_id(pool->core->find(data), *out);
}

tidepool_status tidepool_find_key(const tidepool_pool* pool, std::uint64_t key,
                                  tidepool_tensor_id* out) {
  return pool == nullptr || out == nullptr ? null_argument()
                                           : answer_id(pool->core->find(key), *out);
}

tidepool_status tidepool_set_lifecycle(tidepool_pool* pool, tidepool_tensor_id id,
                                       tidepool_lifecycle state) {
  return pool == nullptr ? null_argument()
                         : answer(pool->core->set_lifecycle(tensor_id::from_value(id),
                                                            lifecycle_from_c(state)));
}

tidepool_status tidepool_set_category(tidepool_pool* pool, tidepool_tensor_id id,
                                      tidepool_category what) {
  if (pool == nullptr) {
    return null_argument();
  }
  if (!pool->core->directory.categories.is_known(static_cast<category>(what))) {
    return fail(errc::invalid_argument, "unknown category: register it first");
  }
  return answer(pool->core->set_tag(tensor_id::from_value(id), std::uint64_t{0xff} << 32,
                                    std::uint64_t{what} << 32));
}

tidepool_status tidepool_set_name(tidepool_pool* pool, tidepool_tensor_id id, tidepool_name name) {
  if (pool == nullptr) {
    return null_argument();
  }
  if (name > pool->core->directory.names.last()) {
    return fail(errc::invalid_argument, "unknown name id: intern the name in this pool first");
  }
  return answer(pool->core->set_tag(tensor_id::from_value(id), 0xffffffffU, name));
}

tidepool_status tidepool_intern(tidepool_pool* pool, const char* text, tidepool_name* out) {
  if (pool == nullptr || text == nullptr || out == nullptr) {
    return null_argument();
  }
  const result<name_id> name = pool->core->intern(text);
  *out = name ? name->value() : 0;
  return name ? TIDEPOOL_OK : record_error(name.error());
}

const char* tidepool_name_text(const tidepool_pool* pool, tidepool_name name) {
  return pool == nullptr ? "" : c_string(pool->core->name(name_id::from_value(name)));
}

tidepool_status tidepool_register_category(tidepool_pool* pool, const char* name,
                                           std::uint8_t eviction_priority, tidepool_category* out) {
  if (pool == nullptr || name == nullptr || out == nullptr) {
    return null_argument();
  }
  const result<category> made = pool->core->add_category(name, eviction_priority);
  if (!made) {
    return record_error(made.error());
  }
  *out = static_cast<tidepool_category>(*made);
  return TIDEPOOL_OK;
}

const char* tidepool_category_name(const tidepool_pool* pool, tidepool_category what) {
  return pool == nullptr
             ? ""
             : c_string(pool->core->directory.categories.name(static_cast<category>(what)));
}

std::uint8_t tidepool_eviction_priority(const tidepool_pool* pool, tidepool_category what) {
  return pool == nullptr ? std::uint8_t{0}
                         : pool->core->directory.categories.priority(static_cast<category>(what));
}
