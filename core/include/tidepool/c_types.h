// SPDX-License-Identifier: Apache-2.0
//
// Types of the C interface: values, options, answers and callbacks. Included by <tidepool.h>, which
// has the functions. C11 and C++; fixed-width integers only, for the sake of other languages.
//
// Structs that begin with `size` may grow at their end. The caller sets size = sizeof the struct it
// was compiled with:
//   options  fields beyond it have their defaults; a struct longer than the library knows is
//            refused (TIDEPOOL_INVALID_ARGUMENT) unless the unknown bytes are zero;
//   answers  at most size bytes are written; bytes unknown to the library become zero;
//   reports to callbacks carry the library's size.
// A size of 0, or one that is no multiple of 8, is refused. `reserved` must be 0. In options 0
// means the default, so `{.size = sizeof options}` is always right.
#pragma once

#include <tidepool/c_values.h>
#include <tidepool/export.hpp>

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

// What went wrong; equal in value to tidepool::errc.
typedef int32_t tidepool_status;
// A place for memory: the bits of tidepool::device; made by tidepool_device_cpu() and the like.
typedef uint32_t tidepool_device;
// Names one tensor of one pool for ever; 0 names nothing.
typedef uint64_t tidepool_tensor_id;
// An interned name of one pool; 0 names nothing.
typedef uint32_t tidepool_name;
// What a tensor is: 0..15 built in, 16..255 from tidepool_register_category.
typedef uint8_t tidepool_category;
// In which state a tensor is. One more than tidepool::lifecycle, so that 0 is the default.
typedef uint8_t tidepool_lifecycle;

// A pool; see tidepool_pool_create.
typedef struct tidepool_pool tidepool_pool;
// Ticks a pool from a thread of its own; see tidepool_ticker_create.
typedef struct tidepool_ticker tidepool_ticker;
// Memory for work that is captured into a graph; see tidepool_graph_arena_create.
typedef struct tidepool_graph_arena tidepool_graph_arena;
// A stream that takes its memory from an arena; see tidepool_capture_begin.
typedef struct tidepool_capture tidepool_capture;
// A source of memory, made by tidepool_cpu_backend_create and the like; given to a pool.
typedef struct tidepool_backend tidepool_backend;

// In pool options: no bound, and nothing at all (0 is the default).
#define TIDEPOOL_UNLIMITED SIZE_MAX
#define TIDEPOOL_NOTHING (SIZE_MAX - 1)

// One block of device memory under one name. A failed call leaves {NULL, 0}.
typedef struct tidepool_tensor {
  void* data;
  tidepool_tensor_id id;
} tidepool_tensor;

// A queue of device work. All zero: none. `number` is given by tidepool_attach.
typedef struct tidepool_stream {
  void* handle;
  uint32_t kind;
  uint32_t number;
} tidepool_stream;

typedef struct tidepool_allocation_options {
  size_t size;
  tidepool_stream stream;        // the memory is usable in this stream's order
  uint64_t key;                  // caller's own id for tidepool_find_key
  size_t alignment;              // bytes, a power of two up to 1 GiB; 0: the device's default
  tidepool_name name;            // from tidepool_intern
  tidepool_category category;    // 0: temporary
  tidepool_lifecycle lifecycle;  // 0: the category decides
  uint8_t movable;               // not 0: the pool may move it while it is not pinned
  uint8_t tracked;               // not 0: give it an access entry even if its category has none
} tidepool_allocation_options;

// Called once when the last reference is gone, outside every lock.
typedef void (*tidepool_release_callback)(void* data, size_t bytes, void* context);

typedef struct tidepool_adopt_options {
  size_t size;
  uint64_t key;
  tidepool_release_callback release;  // may be NULL
  void* context;
  tidepool_name name;
  tidepool_category category;    // 0: TIDEPOOL_CATEGORY_OTHER
  tidepool_lifecycle lifecycle;  // 0: the category decides
  uint8_t tracked;
  uint8_t reserved;
} tidepool_adopt_options;

typedef struct tidepool_misuse_report {
  size_t size;
  tidepool_tensor_id id;
  uint64_t count;    // misuses seen by this pool so far, this one included
  const char* text;  // one static sentence
  uint32_t kind;     // TIDEPOOL_MISUSE_...
  uint32_t reserved;
  // Of a damage that a debug mode found, else 0; of a stale id only the first two and the last two.
  // Pointers are valid during the call.
  const void* data;      // of the tensor
  size_t bytes;          // of the tensor
  int64_t offset;        // of the first damaged byte from data
  size_t damaged_bytes;  // from the first to the last one
  const char* name;      // of the tensor, "": none
  const char* details;   // lines for people, with call sites where recorded
} tidepool_misuse_report;

// Called outside every lock, on the thread that did it.
typedef void (*tidepool_misuse_handler)(const tidepool_misuse_report* report, void* context);
// Chooses a device for tidepool_device_automatic(). Must answer a device that the pool has.
typedef tidepool_device (*tidepool_placement_policy)(size_t bytes,
                                                     const tidepool_allocation_options* options,
                                                     void* context);

// A consistent copy of a tensor's record.
typedef struct tidepool_tensor_info {
  size_t size;
  tidepool_tensor_id id;
  void* data;
  size_t bytes;               // requested
  size_t capacity;            // length of the block, >= bytes; of a slice: its own bytes
  uint64_t key;               // 0: none
  tidepool_tensor_id parent;  // of a slice: the tensor whose block it shares
  tidepool_device where;
  tidepool_name name;
  uint32_t references;  // >= 1 while alive; a pin is one too
  uint32_t pins;        // pin minus unpin
  uint32_t stream;      // dense number of the stream it was allocated on, 0: none
  tidepool_category category;
  tidepool_lifecycle lifecycle;
  uint8_t flags;  // TIDEPOOL_FLAG_...
  uint8_t reserved;
} tidepool_tensor_info;

// Bounds of reserved bytes, everything cached included, of a device or of a whole pool.
typedef struct tidepool_limits {
  size_t size;
  size_t
      hard;  // never passed; allocations fail when all was taken back and nothing is left to give
  size_t soft;  // passed only when all that was tried
} tidepool_limits;

// What a reclaim handler is asked. The candidates are the best to give up first: lowest eviction
// priority, inactive before others, the largest.
typedef struct tidepool_reclaim_request {
  size_t size;
  size_t bytes;  // what the allocation needs
  const tidepool_tensor_info* candidates;
  size_t candidate_count;  // at most 64
  tidepool_device where;
  uint32_t why;    // TIDEPOOL_PRESSURE_...
  uint32_t round;  // 0 for the first call of this allocation, then 1, 2, ...
  uint32_t reserved;
} tidepool_reclaim_request;

// Frees what it can spare and answers how many bytes, 0 for none. Called on the allocating thread
// with no lock held; allocations that it makes itself fail rather than call it again.
typedef size_t (*tidepool_reclaim_handler)(const tidepool_reclaim_request* request, void* context);

// Called when a pool closes with live tensors: some lines for people, valid during the call.
typedef void (*tidepool_leak_handler)(const char* text, void* context);

// Byte figures: 0 is the default, TIDEPOOL_UNLIMITED no bound, TIDEPOOL_NOTHING zero bytes.
typedef struct tidepool_pool_options {
  size_t size;
  size_t limit_bytes;         // reserved bytes per device, caches included; default: unlimited
  size_t minimum_alignment;   // of every allocation, a power of two; default: the device's
  size_t thread_cache_bytes;  // free bytes that one thread keeps ready; default 128 MiB
  size_t total_cache_bytes;   // the same over all threads; default 512 MiB
  size_t ready_bytes;         // free bytes kept ready centrally per device; default 32 MiB
  size_t max_tensors;         // alive or ready at once, 2^12 to 2^25; default 2^22
  size_t max_cached_lanes;    // that threads cache for, at most 4096; default 4096
  tidepool_misuse_handler on_misuse;  // default: one message on stderr, then only counted
  void* misuse_context;
  tidepool_placement_policy placement;  // default: the first device of the first backend
  void* placement_context;
  size_t soft_limit_bytes;           // of each device; see tidepool_limits; default: unlimited
  size_t total_limit_bytes;          // of all devices together; default: unlimited
  size_t total_soft_limit_bytes;     // of all devices together; default: unlimited
  tidepool_reclaim_handler reclaim;  // default: nothing is given up
  void* reclaim_context;
  // Debug modes, all off by default (tidepool/debug.hpp). The environment variable TIDEPOOL adds to
  // them and wins.
  size_t debug_quarantine_bytes;    // of ended tensors that are kept back and verified; 0: none
  uint32_t debug_call_site_frames;  // return addresses recorded per tensor, at most 16
  uint8_t debug_guard;              // TIDEPOOL_GUARD_...
  uint8_t debug_poison;             // not 0: fill new and ended tensors
  uint8_t debug_report_leaks;       // not 0: when the pool closes
  uint8_t debug_reserved;
  tidepool_leak_handler on_leaks;  // default: stderr
  void* leaks_context;
  uint64_t access_half_life;  // ticks in which an access loses half of its score; 0: no scores
} tidepool_pool_options;

typedef struct tidepool_failure {
  size_t size;
  size_t requested;  // bytes asked for
  const char* text;  // static text with more detail, or NULL
  tidepool_status status;
  int32_t native;  // errno or the driver's code, 0: none
  tidepool_device where;
  uint32_t reserved;
} tidepool_failure;

// Sees every allocation and free of a pool: called on the thread that allocates or frees, after an
// allocation and before a free; calls of different threads may overlap. Any callback may be NULL.
// They may use other pools, not this one.
typedef struct tidepool_observer {
  size_t size;
  void (*on_allocate)(const tidepool_tensor_info* made, void* context);
  void (*on_free)(const tidepool_tensor_info* ending, void* context);
  void (*on_failure)(const tidepool_failure* why, void* context);
  void* context;
} tidepool_observer;

typedef struct tidepool_device_description {
  size_t size;
  size_t alignment;    // of every block, a power of two
  size_t total_bytes;  // physical size, 0: unknown
  tidepool_device where;
  uint8_t host_accessible;
  uint8_t stream_ordered;  // frees are ordered by streams
  uint8_t can_populate;
  uint8_t can_extend;
  char name[64];  // for people; cut where longer
} tidepool_device_description;

typedef struct tidepool_memory_info {
  size_t size;
  size_t reserved_bytes;      // backed by the system now
  size_t free_bytes;          // of these, not in blocks handed out
  size_t largest_free_bytes;  // largest block that needs no growth
  size_t address_space_bytes;
  uint64_t system_calls;  // memory calls to the system or driver so far
  size_t pending_bytes;   // taken back, but a stream has still to come there
  size_t foreign_bytes;   // of the physical device, used by others; 0: unknown
} tidepool_memory_info;

// Bytes [src_offset, src_offset + bytes) of one tensor to [dst_offset, ...) of another.
typedef struct tidepool_copy_request {
  size_t size;
  tidepool_tensor_id dst;
  tidepool_tensor_id src;
  size_t dst_offset;
  size_t src_offset;
  size_t bytes;  // 0: all from src_offset on
  tidepool_stream stream;
} tidepool_copy_request;

typedef struct tidepool_advice {
  size_t size;
  uint32_t what;       // TIDEPOOL_ADVICE_...
  tidepool_device of;  // the device concerned; the host's is tidepool_device_cpu()
  uint64_t take_back;  // not 0: the inverse
} tidepool_advice;

typedef struct tidepool_trim_report {
  size_t size;
  size_t released_bytes;  // given back to the system by this call
  size_t reserved_bytes;  // still backed afterwards
  size_t in_use_bytes;    // blocks of live tensors
  size_t pending_bytes;   // freed, but a device's stream has not come there yet
  size_t cached_bytes;    // freed by other threads since
  size_t stranded_bytes;  // free, but in pages or slabs that live blocks stand in too
  const char* kept_by;    // what kept the most, in words (static), or NULL
} tidepool_trim_report;

// `count` free blocks that serve requests up to `bytes` bytes.
typedef struct tidepool_prewarm_item {
  size_t bytes;
  size_t count;
} tidepool_prewarm_item;

typedef struct tidepool_prewarm_plan {
  size_t size;
  const tidepool_prewarm_item* items;
  size_t item_count;
  uint32_t no_populate;  // not 0: leave the page faults to the first use
  uint32_t threads;      // that populate; 0: as many as the machine has, at most 8
} tidepool_prewarm_plan;

typedef struct tidepool_prewarm_report {
  size_t size;
  size_t blocks;
  size_t bytes;
  size_t populated_bytes;  // 0 where the backend cannot populate
} tidepool_prewarm_report;

// Exact at the moment of the call; peaks of several devices are added.
typedef struct tidepool_statistics {
  size_t size;
  uint64_t allocations;
  uint64_t frees;
  uint64_t front_hits;       // served from the calling thread's ready slots
  uint64_t ready_hits;       // served from the pool's ready slots
  uint64_t refills;          // served by asking the backend
  uint64_t requested_bytes;  // live now, as requested
  uint64_t live;             // tensors alive now; of one device: those with a block
  uint64_t reserved_bytes;   // backed by the system now
  uint64_t peak_reserved_bytes;
  uint64_t live_bytes;    // blocks of live tensors (>= requested_bytes)
  uint64_t cached_bytes;  // free blocks in caches and ready lists
  uint64_t system_calls;  // memory calls to the system or driver
  // Of the whole pool, whatever the device:
  uint64_t misuses;
  uint64_t failures;        // allocations that answered an error
  uint64_t recalls;         // times that caches of threads were taken back
  uint64_t threads;         // that have a cache
  double allocate_mean_ns;  // of sampled operations; 0 without samples
  double free_mean_ns;
  uint64_t has_fences;          // 1: warm operations fence: no membarrier here, or too many pools
  uint64_t live_without_block;  // of live: of zero bytes, adopted, slices; no other count has them
} tidepool_statistics;

#ifdef __cplusplus
}
#endif
