// SPDX-License-Identifier: Apache-2.0
//
// The C interface of tidepool: a GPU-aware unified memory pool for tensors. The device is chosen at
// each allocation. Backends are made by their own headers (<tidepool/cpu.h>).
//
//   tidepool_backend* host = NULL;
//   tidepool_pool* pool = NULL;
//   tidepool_tensor t;
//   if (tidepool_cpu_backend_create(NULL, &host) == TIDEPOOL_OK &&
//       tidepool_pool_create(&host, 1, NULL, &pool) == TIDEPOOL_OK &&
//       tidepool_allocate(pool, 4096, tidepool_device_cpu(), NULL, &t) == TIDEPOOL_OK) ...
//
// Errors: functions answer a tidepool_status; what is said to answer something else answers 0, NULL
// or "" on failure. A null argument that is not said to be optional: TIDEPOOL_INVALID_ARGUMENT. No
// C++ exception leaves. tidepool_last_error has the details.
//
// Thread safety: every function may be called by any number of threads at once, except
// tidepool_pool_destroy and tidepool_backend_destroy. Callbacks must not throw or jump out.
//
// Cost: "warm" means that the calling thread has a fitting block ready: then an allocation or a
// free takes no lock and no system call. Other costs are said where they differ from one short
// lock.
#pragma once

#include <tidepool/access.h>
#include <tidepool/c_types.h>

#ifdef __cplusplus
extern "C" {
#endif

// The version of this header, and of the library that is running: "major.minor.patch", static.
#define TIDEPOOL_VERSION_MAJOR 0
#define TIDEPOOL_VERSION_MINOR 1
#define TIDEPOOL_VERSION_PATCH 0
TIDEPOOL_EXPORT const char* tidepool_version(void);

// --- Errors

// A short constant text for a code, e.g. "out of memory". Never NULL.
TIDEPOOL_EXPORT const char* tidepool_status_text(tidepool_status code);
// A sentence about the calling thread's last failed call, with its numbers, as snprintf does:
// writes at most size bytes with the final zero, answers the length without it. 0: no call failed
// so far. buffer may be NULL if size is 0. Success does not clear it.
TIDEPOOL_EXPORT size_t tidepool_last_error(char* buffer, size_t size);

// --- Devices. Numbers out of range name a device that no pool has.

TIDEPOOL_EXPORT tidepool_device tidepool_device_cpu(void);
TIDEPOOL_EXPORT tidepool_device tidepool_device_cpu_node(int numa_node);
TIDEPOOL_EXPORT tidepool_device tidepool_device_cuda(int ordinal);
// Page-locked host memory near one GPU, or of one NUMA node.
TIDEPOOL_EXPORT tidepool_device tidepool_device_pinned(int gpu);
TIDEPOOL_EXPORT tidepool_device tidepool_device_pinned_node(int numa_node);
TIDEPOOL_EXPORT tidepool_device tidepool_device_managed(int gpu);
// The same device by memory of another kind, TIDEPOOL_MEMORY_...: a place of its own.
TIDEPOOL_EXPORT tidepool_device tidepool_device_with_memory(tidepool_device where,
                                                            uint32_t memory_kind);
// A place served by the application's own backend.
TIDEPOOL_EXPORT tidepool_device tidepool_device_user(int ordinal);
// Instead of a device: the pool's placement policy chooses.
TIDEPOOL_EXPORT tidepool_device tidepool_device_automatic(void);
// "cpu", "cuda:0"; as snprintf does.
TIDEPOOL_EXPORT size_t tidepool_device_text(tidepool_device where, char* buffer, size_t size);

// --- Pools

// A pool from `count` backends. The backends are the pool's from the call on: also where it fails
// they must not be used again. options may be NULL.
// Pre: count >= 1, no backend null or given twice, no two serving the same device.
// Errors: invalid_argument, out_of_memory, too_many (63 pools). *out is NULL then.
TIDEPOOL_EXPORT tidepool_status tidepool_pool_create(tidepool_backend* const* backends,
                                                     size_t count,
                                                     const tidepool_pool_options* options,
                                                     tidepool_pool** out);
// Ends allocation; frees still work. Gives all free memory back. live (may be NULL): tensors left.
// Waits for operations of other threads; from a callback of the pool see tidepool/pool.hpp.
TIDEPOOL_EXPORT tidepool_status tidepool_pool_close(tidepool_pool* pool, size_t* live);
// Closes and ends every tensor, whatever its references: all memory goes back, release callbacks
// are called once, ids become stale (a free of one is reported as misuse after_close). ended (may
// be NULL): tensors ended by this call. Pre: nobody touches the tensors' data any more.
TIDEPOOL_EXPORT tidepool_status tidepool_pool_force_close(tidepool_pool* pool, size_t* ended);
// Closes and frees the pool. NULL is ignored. Tensors still alive: their data stays usable until
// the process ends and their release callbacks are never called, as nothing is left to free them
// through; tidepool_pool_close says whether there are any. Not while another thread uses the pool.
TIDEPOOL_EXPORT void tidepool_pool_destroy(tidepool_pool* pool);
// For a backend that was not given to a pool. NULL is ignored.
TIDEPOOL_EXPORT void tidepool_backend_destroy(tidepool_backend* backend);

// The devices served: their number, and the description of one. Errors: invalid_argument.
TIDEPOOL_EXPORT size_t tidepool_device_count(const tidepool_pool* pool);
TIDEPOOL_EXPORT tidepool_status tidepool_describe_device(const tidepool_pool* pool, size_t index,
                                                         tidepool_device_description* out);

// --- Allocation. options may be NULL everywhere.

// Memory for `bytes` bytes on `where`, uninitialised. Zero bytes is a valid tensor with null data.
// Alignment: the request's, at least 64 bytes and the device's own.
// Errors: out_of_memory, over_budget, unknown_device, invalid_argument, key_in_use, too_many,
// closed.
// Stream order: usable in options->stream's order. Cost: warm with options NULL or a plain request.
TIDEPOOL_EXPORT tidepool_status tidepool_allocate(tidepool_pool* pool, size_t bytes,
                                                  tidepool_device where,
                                                  const tidepool_allocation_options* options,
                                                  tidepool_tensor* out);
// `count` tensors of one kind, all or none. With a key: count <= 1. Errors: as tidepool_allocate.
TIDEPOOL_EXPORT tidepool_status tidepool_allocate_n(tidepool_pool* pool, size_t bytes,
                                                    tidepool_device where,
                                                    const tidepool_allocation_options* options,
                                                    tidepool_tensor* out, size_t count);
// Ends one reference; with the last one the memory is free (in the stream's order on stream-ordered
// devices). id 0 is ignored. Errors: stale_id: the misuse handler was called, nothing changed.
TIDEPOOL_EXPORT tidepool_status tidepool_deallocate(tidepool_pool* pool, tidepool_tensor_id id);
// The same in the order of `stream`: the memory is reused only by work ordered after it.
TIDEPOOL_EXPORT tidepool_status tidepool_deallocate_on(tidepool_pool* pool, tidepool_tensor_id id,
                                                       tidepool_stream stream);
// Answers the first error; the other ids are freed all the same. ids may be NULL if count is 0.
TIDEPOOL_EXPORT tidepool_status tidepool_deallocate_n(tidepool_pool* pool,
                                                      const tidepool_tensor_id* ids, size_t count);
// Memory that the pool does not own, under a record. Pre: [data, data + bytes) is valid until
// options->release was called; data may be NULL only if bytes is 0. Errors: as tidepool_allocate;
// release is not called then.
TIDEPOOL_EXPORT tidepool_status tidepool_adopt(tidepool_pool* pool, void* data, size_t bytes,
                                               tidepool_device where,
                                               const tidepool_adopt_options* options,
                                               tidepool_tensor* out);

// --- References and parts. Errors: stale_id, and what is said.

// One more reference, ended by release or deallocate, which are the same. too_many: 32767.
TIDEPOOL_EXPORT tidepool_status tidepool_retain(tidepool_pool* pool, tidepool_tensor_id id);
TIDEPOOL_EXPORT tidepool_status tidepool_release(tidepool_pool* pool, tidepool_tensor_id id);
// Bytes [offset, offset + bytes) of a tensor as a tensor of its own. It shares the block, which
// stays until the last part is gone. Errors: invalid_argument beyond the end, too_many, closed.
TIDEPOOL_EXPORT tidepool_status tidepool_slice(tidepool_pool* pool, tidepool_tensor_id of,
                                               size_t offset, size_t bytes, tidepool_tensor* out);
// The address, and a promise that it stays until the matching unpin. Needed only for movable
// tensors.
TIDEPOOL_EXPORT tidepool_status tidepool_pin(tidepool_pool* pool, tidepool_tensor_id id,
                                             void** data);
// Errors: invalid_argument without a pin.
TIDEPOOL_EXPORT tidepool_status tidepool_unpin(tidepool_pool* pool, tidepool_tensor_id id);
// Changes the size without moving the data. Pre: one reference, no slices.
// Errors: unsupported, out_of_memory, over_budget: nothing changed.
TIDEPOOL_EXPORT tidepool_status tidepool_resize(tidepool_pool* pool, tidepool_tensor_id id,
                                                size_t bytes);

// --- Knowledge

// A consistent copy of the record, without a lock. Pre: out->size is set. Errors: stale_id.
TIDEPOOL_EXPORT tidepool_status tidepool_info(const tidepool_pool* pool, tidepool_tensor_id id,
                                              tidepool_tensor_info* out);
// The tensor whose data begins at `data`, in a block of the pool or adopted, or that has the key.
// Slices are not looked for by address. Errors: not_found.
// Cost: the first look-up by address builds an index of all addresses.
TIDEPOOL_EXPORT tidepool_status tidepool_find(const tidepool_pool* pool, const void* data,
                                              tidepool_tensor_id* out);
TIDEPOOL_EXPORT tidepool_status tidepool_find_key(const tidepool_pool* pool, uint64_t key,
                                                  tidepool_tensor_id* out);
// These touch the record only, never the data. Errors: stale_id, invalid_argument.
TIDEPOOL_EXPORT tidepool_status tidepool_set_lifecycle(tidepool_pool* pool, tidepool_tensor_id id,
                                                       tidepool_lifecycle state);
TIDEPOOL_EXPORT tidepool_status tidepool_set_category(tidepool_pool* pool, tidepool_tensor_id id,
                                                      tidepool_category what);
TIDEPOOL_EXPORT tidepool_status tidepool_set_name(tidepool_pool* pool, tidepool_tensor_id id,
                                                  tidepool_name name);

// The id of a name, the same for equal names; at most 2^20. Errors: too_many, out_of_memory.
TIDEPOOL_EXPORT tidepool_status tidepool_intern(tidepool_pool* pool, const char* text,
                                                tidepool_name* out);
// The name; "" for 0 or one this pool never gave. Valid as long as the pool.
TIDEPOOL_EXPORT const char* tidepool_name_text(const tidepool_pool* pool, tidepool_name name);
// A category of the application's own; lower priority is evicted first. Errors: too_many.
TIDEPOOL_EXPORT tidepool_status tidepool_register_category(tidepool_pool* pool, const char* name,
                                                           uint8_t eviction_priority,
                                                           tidepool_category* out);
// "" and 0 for unknown categories. 255: never evicted.
TIDEPOOL_EXPORT const char* tidepool_category_name(const tidepool_pool* pool,
                                                   tidepool_category what);
TIDEPOOL_EXPORT uint8_t tidepool_eviction_priority(const tidepool_pool* pool,
                                                   tidepool_category what);

// --- Streams, of devices that are stream-ordered; elsewhere they are accepted and mean nothing. No
// stream, and the legacy one, are the device's default stream.

// Gives a stream of `where` its dense number: *stream with it makes later calls cheapest. Streams
// that were not attached are, at their first use. Errors: unknown_device, invalid_argument,
// too_many.
TIDEPOOL_EXPORT tidepool_status tidepool_attach(tidepool_pool* pool, tidepool_device where,
                                                tidepool_stream* stream);
// To be called before the stream is destroyed; no other thread works on it meanwhile. Its live
// tensors end in the order of the default stream unless another is named. Errors: unknown_device,
// not_found, invalid_argument.
TIDEPOOL_EXPORT tidepool_status tidepool_retire(tidepool_pool* pool, tidepool_device where,
                                                tidepool_stream stream);
// The tensor is used by work on `stream`, too: when it ends, its memory serves others only after
// what that stream has been given until then. Errors: stale_id, unsupported (adopted memory),
// out_of_memory, too_many, invalid_argument.
TIDEPOOL_EXPORT tidepool_status tidepool_record_use(tidepool_pool* pool, tidepool_tensor_id id,
                                                    tidepool_stream stream);
// Waits until all that was enqueued on the stream is done. Errors: unknown_device, device_lost,
// invalid_argument.
TIDEPOOL_EXPORT tidepool_status tidepool_synchronise(tidepool_pool* pool, tidepool_device where,
                                                     tidepool_stream stream);

// --- Graphs. Memory of work that is captured must serve nobody else while the graph is replayed:
// between capture_begin and capture_end, what is allocated on the stream comes from the arena.

// Pre: the pool is destroyed after the arena. Errors: unknown_device, unsupported (the device
// orders no streams), too_many, out_of_memory. *out is NULL then.
TIDEPOOL_EXPORT tidepool_status tidepool_graph_arena_create(tidepool_pool* pool,
                                                            tidepool_device where,
                                                            tidepool_graph_arena** out);
// Gives the memory back in the order of `last`, the stream of the last replay. NULL is ignored.
// Pre: nothing is captured with it, and no graph that uses it is replayed afterwards. Errors:
// invalid_argument: nothing has changed.
TIDEPOOL_EXPORT tidepool_status tidepool_graph_arena_destroy(tidepool_graph_arena* arena,
                                                             tidepool_stream last);
// One stream for an arena at a time. Pre: the arena is destroyed after capture_end. Errors:
// invalid_argument, as tidepool_attach. *out is NULL then.
TIDEPOOL_EXPORT tidepool_status tidepool_capture_begin(tidepool_graph_arena* arena,
                                                       tidepool_stream stream,
                                                       tidepool_capture** out);
// NULL is ignored.
TIDEPOOL_EXPORT void tidepool_capture_end(tidepool_capture* capture);

// --- Data. Enqueued on the stream; between tensors of host memory done when the call returns.
// Errors: stale_id, invalid_argument (a range beyond the end), unsupported, driver_error,
// device_lost; then nothing was enqueued.

TIDEPOOL_EXPORT tidepool_status tidepool_copy(tidepool_pool* pool,
                                              const tidepool_copy_request* request);
// Every byte of the tensor becomes `value`.
TIDEPOOL_EXPORT tidepool_status tidepool_fill(tidepool_pool* pool, tidepool_tensor_id id,
                                              uint8_t value, tidepool_stream stream);
// Moves managed memory to a device, tidepool_device_cpu() for the host. unsupported elsewhere.
TIDEPOOL_EXPORT tidepool_status tidepool_prefetch_to(tidepool_pool* pool, tidepool_tensor_id id,
                                                     tidepool_device to, tidepool_stream stream);
// How managed memory will be used. unsupported elsewhere.
TIDEPOOL_EXPORT tidepool_status tidepool_advise(tidepool_pool* pool, tidepool_tensor_id id,
                                                const tidepool_advice* advice);

// --- Memory. report may be NULL; if not, report->size is set.

// Takes all free blocks back from threads and gives memory to the system until at most keep_bytes
// are reserved on `where`, or on each device (_all). Live tensors are not touched. Errors:
// unknown_device. Cost: interrupts each thread's cache once (about 10 us each), then system calls.
TIDEPOOL_EXPORT tidepool_status tidepool_trim(tidepool_pool* pool, tidepool_device where,
                                              size_t keep_bytes, tidepool_trim_report* report);
TIDEPOOL_EXPORT tidepool_status tidepool_trim_all(tidepool_pool* pool, size_t keep_bytes,
                                                  tidepool_trim_report* report);
// Limits of one device, or with tidepool_device_automatic() of all together. Lower ones than what
// is reserved: free memory is given back at once, and growth fails until live tensors end. Errors:
// unknown_device, invalid_argument.
TIDEPOOL_EXPORT tidepool_status tidepool_set_limits(tidepool_pool* pool, tidepool_device where,
                                                    const tidepool_limits* limits,
                                                    tidepool_trim_report* report);
// Pre: out->size is set. Errors: unknown_device.
TIDEPOOL_EXPORT tidepool_status tidepool_limits_read(const tidepool_pool* pool,
                                                     tidepool_device where, tidepool_limits* out);
// The peaks in statistics and reports count from now on.
TIDEPOOL_EXPORT tidepool_status tidepool_reset_peaks(tidepool_pool* pool);
// Gives back what stayed free for long, the caches of threads that did nothing since the last tick
// included. For an idle moment.
TIDEPOOL_EXPORT tidepool_status tidepool_tick(tidepool_pool* pool);
// Calls tidepool_tick from a thread of its own, every so many milliseconds (0: 1000), the first
// time after that long. No pool starts a thread by itself. Pre: the pool is not destroyed before
// the ticker. After a fork the child has no such thread: make another one there.
// Errors: invalid_argument, out_of_memory (no thread can be had). *out is NULL then.
TIDEPOOL_EXPORT tidepool_status tidepool_ticker_create(tidepool_pool* pool, uint32_t milliseconds,
                                                       tidepool_ticker** out);
// Waits for a tick under way. NULL is ignored. Not while another thread does the same.
TIDEPOOL_EXPORT void tidepool_ticker_destroy(tidepool_ticker* ticker);
// Gives the calling thread's ready blocks to the others.
TIDEPOOL_EXPORT tidepool_status tidepool_thread_idle(tidepool_pool* pool);
// Makes blocks ready. Errors: as tidepool_allocate; blocks made before a failure stay ready.
TIDEPOOL_EXPORT tidepool_status tidepool_prewarm(tidepool_pool* pool, tidepool_device where,
                                                 const tidepool_prewarm_plan* plan,
                                                 tidepool_prewarm_report* report);
// 256/128/64/32/16 blocks of 4 KiB/64 KiB/512 KiB/4 MiB/32 MiB, populated; 681 MiB.
TIDEPOOL_EXPORT tidepool_status tidepool_prewarm_seed(tidepool_pool* pool, tidepool_device where,
                                                      tidepool_prewarm_report* report);
// Pre: out->size is set. Errors: unknown_device.
TIDEPOOL_EXPORT tidepool_status tidepool_memory(const tidepool_pool* pool, tidepool_device where,
                                                tidepool_memory_info* out);

// --- Observation. Cost: statistics and invariants interrupt each thread's cache once.

// Of one device, or of all together: tidepool_device_automatic(). Pre: out->size is set.
TIDEPOOL_EXPORT tidepool_status tidepool_statistics_read(tidepool_pool* pool, tidepool_device where,
                                                         tidepool_statistics* out);
// All figures as a table for people, or as one JSON object; as snprintf does: writes at most size
// bytes with the final zero, answers the length without it, 0 on failure. buffer may be NULL if
// size is 0. Two calls are two moments: the second may need more.
TIDEPOOL_EXPORT size_t tidepool_statistics_text(tidepool_pool* pool, char* buffer, size_t size);
TIDEPOOL_EXPORT size_t tidepool_statistics_json(tidepool_pool* pool, char* buffer, size_t size);
// Where the memory is, who holds it, what happened last and what to do about the last failure; as
// the two above. Cost: reads the record of every tensor.
TIDEPOOL_EXPORT size_t tidepool_report_text(tidepool_pool* pool, char* buffer, size_t size);
TIDEPOOL_EXPORT size_t tidepool_report_json(tidepool_pool* pool, char* buffer, size_t size);
// Copies the callbacks; NULL detaches. After the call returns no further call into the previous
// observer begins. Errors: invalid_argument, out_of_memory.
TIDEPOOL_EXPORT tidepool_status tidepool_set_observer(tidepool_pool* pool,
                                                      const tidepool_observer* observer);
// With debug modes: looks at the bytes around all tensors and at the quarantine now, and reports
// each damage to the misuse handler. damages may be NULL. Errors: invalid_argument.
TIDEPOOL_EXPORT tidepool_status tidepool_check_memory(tidepool_pool* pool, size_t* damages);
// What is alive, by category, name and call site, for people; as tidepool_statistics_text.
TIDEPOOL_EXPORT size_t tidepool_leaks_text(tidepool_pool* pool, char* buffer, size_t size);
// Walks all structures: NULL, or the first broken invariant in words (static text). For tests.
TIDEPOOL_EXPORT const char* tidepool_verify(tidepool_pool* pool);

#ifdef __cplusplus
}
#endif
