// SPDX-License-Identifier: Apache-2.0
//
// The C interface: streams, tensors that several of them use, arenas for graphs, and data.
#include "api/c_api.hpp"

#include <new>

struct tidepool_graph_arena {
  tidepool::detail::pool_core* core;
  tidepool::detail::lane* lane;
};

struct tidepool_capture {
  tidepool::detail::pool_core* core;
  tidepool::detail::lane* stream;
};

namespace tidepool {
inline namespace v0 {
namespace detail {
namespace {

// Calls f(stream_ref) unless the pool is null or there is no such kind of stream.
template <class F>
[[nodiscard]] tidepool_status with_stream(const void* pool, const tidepool_stream& stream,
                                          F&& f) noexcept {
  stream_ref order;
  if (pool == nullptr) {
    return null_argument();
  }
  return read_stream(stream, order) ? f(order)
                                    : fail(errc::invalid_argument, "no such kind of stream");
}

[[nodiscard]] tidepool_status answer_status(const status& why) noexcept {
  return why.ok() ? TIDEPOOL_OK : record_error(why);
}

}  // namespace
}  // namespace detail
}  // namespace v0
}  // namespace tidepool

using namespace tidepool;          // NOLINT: the functions below are outside of all namespaces
using namespace tidepool::detail;  // NOLINT

tidepool_status tidepool_attach(tidepool_pool* pool, tidepool_device where,
                                tidepool_stream* stream) {
  if (stream == nullptr) {
    return null_argument();
  }
  return with_stream(pool, *stream, [&](const stream_ref& wanted) {
    const result<stream_ref> attached = pool->core->attach(device::from_bits(where), wanted);
    if (!attached) {
      return record_error(attached.error());
    }
    *stream = to_c(*attached);
    return tidepool_status{TIDEPOOL_OK};
  });
}

tidepool_status tidepool_retire(tidepool_pool* pool, tidepool_device where,
                                tidepool_stream stream) {
  return with_stream(pool, stream, [&](const stream_ref& ending) {
    return answer(pool->core->retire(device::from_bits(where), ending));
  });
}

tidepool_status tidepool_record_use(tidepool_pool* pool, tidepool_tensor_id id,
                                    tidepool_stream stream) {
  return with_stream(pool, stream, [&](const stream_ref& user) {
    return answer(pool->core->record_use(tensor_id::from_value(id), user));
  });
}

tidepool_status tidepool_synchronise(tidepool_pool* pool, tidepool_device where,
                                     tidepool_stream stream) {
  return with_stream(pool, stream, [&](const stream_ref& awaited) {
    return answer_status(pool->core->synchronise(device::from_bits(where), awaited));
  });
}

tidepool_status tidepool_copy(tidepool_pool* pool, const tidepool_copy_request* request) {
  tidepool_copy_request read{};
  if (pool == nullptr || request == nullptr) {
    return null_argument();
  }
  if (!read_c_struct(request, read)) {
    return bad_struct();
  }
  return with_stream(pool, read.stream, [&](const stream_ref& order) {
    return answer_status(pool->core->copy({.dst = tensor_id::from_value(read.dst),
                                           .src = tensor_id::from_value(read.src),
                                           .dst_offset = read.dst_offset,
                                           .src_offset = read.src_offset,
                                           .bytes = read.bytes == 0 ? SIZE_MAX : read.bytes,
                                           .stream = order}));
  });
}

tidepool_status tidepool_fill(tidepool_pool* pool, tidepool_tensor_id id, std::uint8_t value,
                              tidepool_stream stream) {
  return with_stream(pool, stream, [&](const stream_ref& order) {
    return answer_status(pool->core->fill(tensor_id::from_value(id), value, order));
  });
}

tidepool_status tidepool_prefetch_to(tidepool_pool* pool, tidepool_tensor_id id, tidepool_device to,
                                     tidepool_stream stream) {
  return with_stream(pool, stream, [&](const stream_ref& order) {
    return answer_status(
        pool->core->prefetch(tensor_id::from_value(id), device::from_bits(to), order));
  });
}

tidepool_status tidepool_advise(tidepool_pool* pool, tidepool_tensor_id id,
                                const tidepool_advice* advice) {
  tidepool_advice read{};
  if (pool == nullptr || advice == nullptr) {
    return null_argument();
  }
  if (!read_c_struct(advice, read)) {
    return bad_struct();
  }
  if (read.what > TIDEPOOL_ADVICE_ACCESSED_BY) {
    return fail(errc::invalid_argument, "no such advice");
  }
  return answer_status(
      pool->core->advise(tensor_id::from_value(id), {.what = static_cast<memory_advice>(read.what),
                                                     .of = device::from_bits(read.of),
                                                     .take_back = read.take_back != 0}));
}

tidepool_status tidepool_graph_arena_create(tidepool_pool* pool, tidepool_device where,
                                            tidepool_graph_arena** out) {
  if (out == nullptr) {
    return null_argument();
  }
  *out = nullptr;
  if (pool == nullptr) {
    return null_argument();
  }
  auto* const made = new (std::nothrow) tidepool_graph_arena{pool->core, nullptr};
  if (made == nullptr) {
    return fail(errc::out_of_memory);
  }
  const result<lane*> arena = pool->core->open_arena(device::from_bits(where));
  if (!arena) {
    delete made;
    return record_error(arena.error());
  }
  made->lane = *arena;
  *out = made;
  return TIDEPOOL_OK;
}

tidepool_status tidepool_graph_arena_destroy(tidepool_graph_arena* arena, tidepool_stream last) {
  if (arena == nullptr) {
    return TIDEPOOL_OK;
  }
  return with_stream(arena, last, [&](const stream_ref& order) {
    arena->core->close_arena(*arena->lane, order);
    delete arena;
    return tidepool_status{TIDEPOOL_OK};
  });
}

tidepool_status tidepool_capture_begin(tidepool_graph_arena* arena, tidepool_stream stream,
                                       tidepool_capture** out) {
  if (out == nullptr) {
    return null_argument();
  }
  *out = nullptr;
  return with_stream(arena, stream, [&](const stream_ref& captured) {
    auto* const made = new (std::nothrow) tidepool_capture{arena->core, nullptr};
    if (made == nullptr) {
      return fail(errc::out_of_memory);
    }
    const result<lane*> begun = arena->core->begin_capture(*arena->lane, captured);
    if (!begun) {
      delete made;
      return record_error(begun.error());
    }
    made->stream = *begun;
    *out = made;
    return tidepool_status{TIDEPOOL_OK};
  });
}

void tidepool_capture_end(tidepool_capture* capture) {
  if (capture != nullptr) {
    capture->core->end_capture(*capture->stream);
    delete capture;
  }
}
