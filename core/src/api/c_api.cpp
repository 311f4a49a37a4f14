// SPDX-License-Identifier: Apache-2.0
//
// The C interface: errors, devices, pools and their callbacks.
#include "api/c_api.hpp"

#include "system/format.hpp"
#include <tidepool/version.hpp>

#include <utility>

namespace tidepool {
inline namespace v0 {

namespace {
// Only error paths read it, so it uses the global-dynamic model and leaves the scarce initial-exec
// space to the gates of the warm path.
[[gnu::tls_model("global-dynamic")]] constinit thread_local status last_error;
}  // namespace

tidepool_status record_error(const status& why) noexcept {
  if (!why.ok()) {
    last_error = why;
  }
  return static_cast<tidepool_status>(why.code);
}

namespace detail {

tidepool_allocation_options to_c(const allocation_options& options) noexcept {
  return {.size = sizeof(tidepool_allocation_options),
          .stream = to_c(options.stream),
          .key = options.key,
          .alignment = options.alignment,
          .name = options.name.value(),
          .category = static_cast<tidepool_category>(options.category),
          .lifecycle = to_c(options.lifecycle),
          .movable = options.movable ? std::uint8_t{1} : std::uint8_t{0},
          .tracked = options.tracked ? std::uint8_t{1} : std::uint8_t{0}};
}

tidepool_tensor_info to_c(const tensor_info& info) noexcept {
  return {.size = sizeof(tidepool_tensor_info),
          .id = info.id.value(),
          .data = info.data,
          .bytes = info.bytes,
          .capacity = info.capacity,
          .key = info.key,
          .parent = info.parent.value(),
          .where = info.where.bits(),
          .name = info.name.value(),
          .references = info.references,
          .pins = info.pins,
          .stream = info.stream,
          .category = static_cast<tidepool_category>(info.category),
          .lifecycle = to_c(info.lifecycle),
          .flags = static_cast<std::uint8_t>(info.flags),
          .reserved = 0};
}

class c_observer final : public allocation_observer {
 public:
  explicit c_observer(const tidepool_observer& calls) noexcept : calls_(calls) {}
  void on_allocate(const tensor_info& made) noexcept override {
    if (calls_.on_allocate != nullptr) {
      const tidepool_tensor_info info = to_c(made);
      calls_.on_allocate(&info, calls_.context);
    }
  }
  void on_free(const tensor_info& ending) noexcept override {
    if (calls_.on_free != nullptr) {
      const tidepool_tensor_info info = to_c(ending);
      calls_.on_free(&info, calls_.context);
    }
  }
  void on_failure(const status& why) noexcept override {
    if (calls_.on_failure != nullptr) {
      const tidepool_failure failure{.size = sizeof(tidepool_failure),
                                     .requested = why.requested,
                                     .text = why.text,
                                     .status = static_cast<tidepool_status>(why.code),
                                     .native = why.native,
                                     .where = why.where.bits(),
                                     .reserved = 0};
      calls_.on_failure(&failure, calls_.context);
    }
  }

 private:
  const tidepool_observer calls_;
};

namespace {

device call_placement(std::size_t bytes, const allocation_options& options, void* context) {
  const tidepool_pool_options& callbacks = static_cast<tidepool_pool*>(context)->options;
  const tidepool_allocation_options seen = to_c(options);
  return device::from_bits(callbacks.placement(bytes, &seen, callbacks.placement_context));
}

std::size_t call_reclaim_handler(const reclaim_request& request, void* context) {
  const tidepool_pool_options& options = static_cast<tidepool_pool*>(context)->options;
  std::array<tidepool_tensor_info, 64> candidates;
  const std::size_t count = std::min(candidates.size(), request.candidates.size());
  for (std::size_t i = 0; i < count; ++i) {
    candidates[i] = to_c(request.candidates[i]);
  }
  const tidepool_reclaim_request seen{.size = sizeof(tidepool_reclaim_request),
                                      .bytes = request.bytes,
                                      .candidates = candidates.data(),
                                      .candidate_count = count,
                                      .where = request.where.bits(),
                                      .why = static_cast<std::uint32_t>(request.why),
                                      .round = request.round,
                                      .reserved = 0};
  return options.reclaim(&seen, options.reclaim_context);
}

[[nodiscard]] std::size_t figure(std::size_t from_c, std::size_t otherwise) noexcept {
  return from_c == 0 ? otherwise : from_c == TIDEPOOL_NOTHING ? 0 : from_c;
}

[[nodiscard]] pool_options options_of(tidepool_pool& handle) noexcept {
  const tidepool_pool_options& from = handle.options;
  const pool_options defaults;
  return {
      .limit_bytes = figure(from.limit_bytes, defaults.limit_bytes),
      .soft_limit_bytes = figure(from.soft_limit_bytes, defaults.soft_limit_bytes),
      .total_limit_bytes = figure(from.total_limit_bytes, defaults.total_limit_bytes),
      .total_soft_limit_bytes =
          figure(from.total_soft_limit_bytes, defaults.total_soft_limit_bytes),
      .reclaim = from.reclaim == nullptr ? nullptr : call_reclaim_handler,
      .reclaim_context = &handle,
      .minimum_alignment = figure(from.minimum_alignment, defaults.minimum_alignment),
      .thread_cache_bytes = figure(from.thread_cache_bytes, defaults.thread_cache_bytes),
      .total_cache_bytes = figure(from.total_cache_bytes, defaults.total_cache_bytes),
      .ready_bytes = figure(from.ready_bytes, defaults.ready_bytes),
      .max_tensors = figure(from.max_tensors, defaults.max_tensors),
      .max_cached_lanes = figure(from.max_cached_lanes, defaults.max_cached_lanes),
      .on_misuse = from.on_misuse == nullptr ? nullptr : call_misuse_handler,
      .misuse_context = &handle,
      .placement = from.placement == nullptr ? nullptr : call_placement,
      .placement_context = &handle,
      .access_half_life = from.access_half_life,
      .debug = debug_options_of(handle),
  };
}

[[nodiscard]] tidepool_status make_pool(std::vector<std::unique_ptr<backend>> backends,
                                        const tidepool_pool_options* options, tidepool_pool** out) {
  auto handle = std::make_unique<tidepool_pool>();
  if (options != nullptr &&
      (!read_c_struct(options, handle->options) || !has_valid_debug_modes(handle->options))) {
    return bad_struct();
  }
  const result<pool_core*> core = pool_core::make(std::move(backends), options_of(*handle));
  if (!core) {
    return record_error(core.error());
  }
  handle->core = *core;
  handle->core->has_no_handles();
  *out = handle.release();
  return TIDEPOOL_OK;
}

// Stands for a device whose number does not fit; no pool has it.
constexpr tidepool_device no_device = 0x0effffff;

[[nodiscard]] tidepool_device numbered(device_kind kind, int ordinal) noexcept {
  return ordinal < 0 || ordinal > 0xffff
             ? no_device
             : device{kind, static_cast<std::uint16_t>(ordinal), device::any_node}.bits();
}
[[nodiscard]] tidepool_device on_node(device_kind kind, int node) noexcept {
  return node < 0 || node >= device::any_node
             ? no_device
             : device{kind, 0, static_cast<std::uint8_t>(node)}.bits();
}

}  // namespace
}  // namespace detail
}  // namespace v0
}  // namespace tidepool

tidepool_pool::tidepool_pool() = default;
tidepool_pool::~tidepool_pool() = default;

using namespace tidepool;          // NOLINT: the functions below are outside of all namespaces
using namespace tidepool::detail;  // NOLINT

const char* tidepool_version(void) {
  return version();
}
static_assert(TIDEPOOL_VERSION_MAJOR == version_major && TIDEPOOL_VERSION_MINOR == version_minor &&
              TIDEPOOL_VERSION_PATCH == version_patch);

const char* tidepool_status_text(tidepool_status code) {
  return describe(static_cast<errc>(code));
}

std::size_t tidepool_last_error(char* buffer, std::size_t size) {
  if (last_error.ok() || (buffer == nullptr && size != 0)) {
    return 0;
  }
  try {
    return write_text(to_string(last_error), buffer, size);
  } catch (const std::exception&) {  // there is no memory for the sentence, so use the short text
    return write_text(describe(last_error.code), buffer, size);
  }
}

tidepool_device tidepool_device_cpu(void) {
  return device::cpu().bits();
}
tidepool_device tidepool_device_cpu_node(int numa_node) {
  return on_node(device_kind::cpu, numa_node);
}
tidepool_device tidepool_device_cuda(int ordinal) {
  return numbered(device_kind::cuda, ordinal);
}
tidepool_device tidepool_device_pinned(int gpu) {
  return numbered(device_kind::pinned, gpu);
}
tidepool_device tidepool_device_pinned_node(int numa_node) {
  return on_node(device_kind::pinned, numa_node);
}
tidepool_device tidepool_device_managed(int gpu) {
  return numbered(device_kind::managed, gpu);
}
tidepool_device tidepool_device_with_memory(tidepool_device where, std::uint32_t memory_kind) {
  return memory_kind > TIDEPOOL_MEMORY_GROWABLE
             ? no_device
             : device::from_bits(where)
                   .with(static_cast<tidepool::memory_kind>(memory_kind))
                   .bits();
}
tidepool_device tidepool_device_user(int ordinal) {
  return numbered(device_kind::user, ordinal);
}
tidepool_device tidepool_device_automatic(void) {
  return placement::automatic.bits();
}

std::size_t tidepool_device_text(tidepool_device where, char* buffer, std::size_t size) {
  if (buffer == nullptr && size != 0) {
    (void)null_argument();
    return 0;
  }
  try {
    return write_text(device_name(device::from_bits(where)), buffer, size);
  } catch (const std::exception&) {
    (void)fail(errc::out_of_memory);
    return 0;
  }
}

tidepool_status tidepool_pool_create(tidepool_backend* const* backends, std::size_t count,
                                     const tidepool_pool_options* options, tidepool_pool** out) {
  if (out != nullptr) {
    *out = nullptr;
  }
  if (backends == nullptr) {
    return null_argument();
  }
  std::size_t owned = 0;  // backends that `sources` owns; if it throws, the others are destroyed
  try {
    std::vector<std::unique_ptr<backend>> sources;
    sources.reserve(count);
    bool twice = false;
    for (; owned < count; ++owned) {
      // A backend that the caller names twice would be destroyed twice.
      const bool again = backends[owned] != nullptr &&
                         std::find(backends, backends + owned, backends[owned]) != backends + owned;
      twice = twice || again;
      sources.push_back(from_c(again ? nullptr : backends[owned]));
    }
    if (out == nullptr) {
      return null_argument();
    }
    return twice ? fail(errc::invalid_argument, "a backend is given twice")
                 : make_pool(std::move(sources), options, out);
  } catch (const std::exception&) {
    for (; owned < count; ++owned) {
      tidepool_backend_destroy(backends[owned]);
    }
    return fail(errc::out_of_memory, "making a pool");
  }
}

tidepool_status tidepool_pool_close(tidepool_pool* pool, std::size_t* live) {
  if (pool == nullptr) {
    return null_argument();
  }
  const std::size_t left = pool->core->close(tidepool::close_mode::orderly);
  if (live != nullptr) {
    *live = left;
  }
  return TIDEPOOL_OK;
}

tidepool_status tidepool_pool_force_close(tidepool_pool* pool, std::size_t* ended) {
  if (pool == nullptr) {
    return null_argument();
  }
  const std::size_t count = pool->core->close(tidepool::close_mode::force);
  if (ended != nullptr) {
    *ended = count;
  }
  return TIDEPOOL_OK;
}

void tidepool_pool_destroy(tidepool_pool* pool) {
  if (pool == nullptr) {
    return;
  }
  const std::unique_ptr<tidepool_pool> handle(pool);
  pool->core->set_observer(nullptr);
  pool->core->drop_handle();
}

void tidepool_backend_destroy(tidepool_backend* backend) {
  (void)from_c(backend);
}

tidepool_status tidepool_set_observer(tidepool_pool* pool, const tidepool_observer* observer) {
  if (pool == nullptr) {
    return null_argument();
  }
  if (observer == nullptr) {
    pool->core->set_observer(nullptr);
    return TIDEPOOL_OK;
  }
  tidepool_observer calls{};
  if (!read_c_struct(observer, calls)) {
    return bad_struct();
  }
  try {
    auto made = std::make_unique<c_observer>(calls);
    c_observer* const current = made.get();
    {
      const operation guard(*pool->core);  // makes fork wait, so that it finds the lock free
      const std::lock_guard lock(pool->observers_mutex);
      pool->observers.push_back(std::move(made));
    }
    pool->core->set_observer(current);
    return TIDEPOOL_OK;
  } catch (const std::exception&) {
    return fail(errc::out_of_memory, "attaching an observer");
  }
}
