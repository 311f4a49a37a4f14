// SPDX-License-Identifier: Apache-2.0
//
// The C interface: access entries and domains, recording, predictors. c_access_query.cpp has the
// queries.
#include "access/store.hpp"
#include "api/c_api.hpp"
#include "pool/entries.hpp"
#include <tidepool/access.h>

#include <cstdint>
#include <span>

namespace tidepool {
inline namespace v0 {
namespace detail {

namespace {

static_assert(sizeof(tensor_id) == sizeof(tidepool_tensor_id));
static_assert(static_cast<int>(access_mode::weighted) == TIDEPOOL_ACCESS_WEIGHTED);

[[nodiscard]] std::span<const tensor_id> ids_of(const tidepool_tensor_id* ids,
                                                std::size_t count) noexcept {
  return {reinterpret_cast<const tensor_id*>(ids), count};
}

[[nodiscard]] bool read_batch(const tidepool_access_batch& from, access_batch& to) noexcept {
  const auto* const narrow = static_cast<const std::int32_t*>(from.indices);
  const auto* const wide = static_cast<const std::int64_t*>(from.indices);
  const int kinds = (from.tensors != nullptr ? 1 : 0) + (from.keys != nullptr ? 1 : 0) +
                    (from.indices != nullptr ? 1 : 0);
  if (kinds != 1 && (kinds != 0 || from.count != 0)) {
    return false;
  }
  if (from.tensors != nullptr) {
    to.tensors = ids_of(from.tensors, from.count);
  } else if (from.keys != nullptr) {
    to.keys = {from.keys, from.count};
  } else if (from.indices != nullptr) {
    to.indices = from.indices_are_wide != 0 ? access_indices(std::span(wide, from.count))
                                            : access_indices(std::span(narrow, from.count));
  }
  to.where = domain::from_value(from.where);
  to.layout = {.layers = from.layers,
               .tokens = from.tokens,
               .k = from.k,
               .token_stride = from.token_stride,
               .layer_stride = from.layer_stride,
               .extent = from.extent,
               .bases = {from.bases, from.bases != nullptr ? from.layers : 0}};
  to.mode = static_cast<access_mode>(static_cast<std::uint8_t>(from.mode));
  to.tick = from.tick;
  const std::size_t ids = to.size();
  to.weights = {from.weights, from.weights != nullptr ? ids : 0};
  to.mask = {from.mask, from.mask == nullptr ? 0 : from.tokens != 0 ? from.tokens : ids};
  return from.mode <= TIDEPOOL_ACCESS_WEIGHTED;
}

// The inverse of read_batch.
[[nodiscard]] tidepool_access_batch batch_to_c(const access_batch& batch) noexcept {
  return {.size = sizeof(tidepool_access_batch),
          .count = !batch.tensors.empty() ? batch.tensors.size()
                   : !batch.keys.empty()  ? batch.keys.size()
                                          : batch.indices.size(),
          .tensors = reinterpret_cast<const tidepool_tensor_id*>(batch.tensors.data()),
          .keys = batch.keys.data(),
          .indices = batch.indices.data(),
          .where = batch.where.value(),
          .indices_are_wide = batch.indices.is_wide() ? 1U : 0U,
          .mode = static_cast<std::uint32_t>(batch.mode),
          .tick = batch.tick,
          .weights = batch.weights.data(),
          .mask = batch.mask.data(),
          .layers = batch.layout.layers,
          .tokens = batch.layout.tokens,
          .k = batch.layout.k,
          .token_stride = batch.layout.token_stride,
          .layer_stride = batch.layout.layer_stride,
          .extent = batch.layout.extent,
          .bases = batch.layout.bases.data()};
}

}  // namespace

void c_predictor::observe(const access_batch& batch) noexcept {
  const tidepool_access_batch seen = batch_to_c(batch);
  calls.observe(&seen, calls.context);  // the callback may set another predictor
}

}  // namespace detail
}  // namespace v0
}  // namespace tidepool

using namespace tidepool;          // NOLINT: the functions below are outside of all namespaces
using namespace tidepool::detail;  // NOLINT

tidepool_status tidepool_track(tidepool_pool* pool, tidepool_tensor_id id, std::uint32_t parts) {
  return pool == nullptr ? null_argument()
                         : answer(track(*pool->core, tensor_id::from_value(id), parts));
}

tidepool_status tidepool_domain_create(tidepool_pool* pool, const tidepool_domain_options* options,
                                       tidepool_domain* out) {
  if (out != nullptr) {
    *out = 0;
  }
  if (pool == nullptr || options == nullptr || out == nullptr) {
    return null_argument();
  }
  tidepool_domain_options wanted{};
  if (!read_c_struct(options, wanted)) {
    return bad_struct();
  }
  const auto what = static_cast<category>(wanted.category);
  if (!pool->core->directory.categories.is_known(what)) {
    return fail(errc::invalid_argument, "unknown category: register it first");
  }
  const lifecycle state = lifecycle_from_c(wanted.lifecycle);
  const result<domain> made = pool->core->accesses->make_domain(
      {.size = wanted.elements,
       .standalone = wanted.standalone != 0,
       .where = device::from_bits(wanted.where),
       .category = what,
       .lifecycle = state == lifecycle::automatic ? default_lifecycle(what) : state});
  if (!made) {
    return record_error(made.error());
  }
  *out = made->value();
  return TIDEPOOL_OK;
}

tidepool_status tidepool_domain_drop(tidepool_pool* pool, tidepool_domain which) {
  return pool == nullptr ? null_argument()
                         : answer(pool->core->accesses->drop_domain(domain::from_value(which)));
}

tidepool_status tidepool_bind(tidepool_pool* pool, tidepool_domain to, std::size_t first,
                              const tidepool_tensor_id* ids, std::size_t count) {
  if (pool == nullptr || (ids == nullptr && count != 0)) {
    return null_argument();
  }
  return answer(pool->core->accesses->bind(domain::from_value(to), first, ids_of(ids, count)));
}

tidepool_status tidepool_bind_parts(tidepool_pool* pool, tidepool_domain to, std::size_t first,
                                    tidepool_tensor_id id, std::uint32_t first_part,
                                    std::uint32_t count) {
  if (pool == nullptr) {
    return null_argument();
  }
  return answer(pool->core->accesses->bind_parts(domain::from_value(to), first,
                                                 tensor_id::from_value(id),
                                                 {.first = first_part, .count = count}));
}

tidepool_status tidepool_record_access(tidepool_pool* pool, const tidepool_access_batch* batch,
                                       tidepool_access_report* report) {
  if (pool == nullptr || batch == nullptr) {
    return null_argument();
  }
  tidepool_access_batch known{};
  if (!read_c_struct(batch, known) || !is_writable_if_any(report)) {
    return bad_struct();
  }
  access_batch asked;
  if (!read_batch(known, asked)) {
    return fail(errc::invalid_argument, "a batch has tensors, keys or indices, and a known mode");
  }
  const result<access_report> done = pool->core->accesses->record(asked);
  if (!done) {
    return record_error(done.error());
  }
  if (report != nullptr) {
    write_c_struct(tidepool_access_report{.size = sizeof(tidepool_access_report),
                                          .recorded = done->recorded,
                                          .deferred = done->deferred,
                                          .padding = done->padding,
                                          .masked = done->masked,
                                          .out_of_range = done->out_of_range,
                                          .stale = done->stale,
                                          .duplicates = done->duplicates},
                   report);
  }
  return TIDEPOOL_OK;
}

tidepool_status tidepool_flush_access(tidepool_pool* pool) {
  if (pool == nullptr) {
    return null_argument();
  }
  pool->core->accesses->flush();
  return TIDEPOOL_OK;
}

tidepool_status tidepool_prefetch(const tidepool_pool* pool, const tidepool_tensor_id* ids,
                                  std::size_t count, std::size_t bytes) {
  if (pool == nullptr || (ids == nullptr && count != 0)) {
    return null_argument();
  }
  prefetch(*pool->core, ids_of(ids, count), bytes);
  return TIDEPOOL_OK;
}

tidepool_status tidepool_set_access_predictor(tidepool_pool* pool,
                                              const tidepool_access_predictor* predictor) {
  if (pool == nullptr) {
    return null_argument();
  }
  if (predictor == nullptr) {
    pool->core->accesses->set_predictor(nullptr);
    return TIDEPOOL_OK;
  }
  tidepool_access_predictor calls{};
  if (!read_c_struct(predictor, calls)) {
    return bad_struct();
  }
  if (calls.observe == nullptr) {
    return null_argument();
  }
  pool->predictor.calls = calls;
  pool->core->accesses->set_predictor(&pool->predictor);
  return TIDEPOOL_OK;
}
