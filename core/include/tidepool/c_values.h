// SPDX-License-Identifier: Apache-2.0
//
// Constants of the C interface: codes, categories, flags and other enumerations. Included by
// <tidepool/c_types.h>. C11 and C++. Values are stable, and equal to those of the C++ enumerations.
#pragma once

// C has no scopes for enumerators: they carry the macros' prefix and case.
// NOLINTBEGIN(readability-identifier-naming)
enum {
  TIDEPOOL_OK = 0,
  TIDEPOOL_OUT_OF_MEMORY = 1,        // the device or the system has no more
  TIDEPOOL_OVER_BUDGET = 2,          // a limit set by the user would be passed
  TIDEPOOL_INVALID_ARGUMENT = 3,     // a null pointer, a size, an option that cannot be
  TIDEPOOL_UNKNOWN_DEVICE = 4,       // no backend of this pool serves that device
  TIDEPOOL_STALE_ID = 5,             // the tensor is gone: freed, freed twice or never made here
  TIDEPOOL_KEY_IN_USE = 6,           // a live tensor already has this key
  TIDEPOOL_NOT_FOUND = 7,            // no live tensor has this key or this address
  TIDEPOOL_UNSUPPORTED = 8,          // the backend cannot do this
  TIDEPOOL_BACKEND_UNAVAILABLE = 9,  // built without it, or no device present
  TIDEPOOL_DEVICE_LOST = 10,         // a sticky device error: every later call answers this
  TIDEPOOL_DRIVER_ERROR = 11,        // a system or driver call failed
  TIDEPOOL_CLOSED = 12,              // the pool is closed
  TIDEPOOL_TOO_MANY = 13,            // a table is full: pools, tensors, references, streams, names
  TIDEPOOL_STREAM_CAPTURES = 14      // the stream is being captured into a graph
};

enum {
  TIDEPOOL_CATEGORY_TEMPORARY = 0,
  TIDEPOOL_CATEGORY_ACTIVATION = 1,
  TIDEPOOL_CATEGORY_WORKSPACE = 2,
  TIDEPOOL_CATEGORY_INPUT = 3,
  TIDEPOOL_CATEGORY_OUTPUT = 4,
  TIDEPOOL_CATEGORY_STAGING = 5,
  TIDEPOOL_CATEGORY_COMMUNICATION = 6,
  TIDEPOOL_CATEGORY_GRADIENT = 7,
  TIDEPOOL_CATEGORY_WEIGHT = 8,
  TIDEPOOL_CATEGORY_KV_CACHE = 9,
  TIDEPOOL_CATEGORY_EXPERT = 10,
  TIDEPOOL_CATEGORY_EMBEDDING = 11,
  TIDEPOOL_CATEGORY_ADAPTER = 12,
  TIDEPOOL_CATEGORY_OPTIMIZER = 13,
  TIDEPOOL_CATEGORY_PERSISTENT = 14,
  TIDEPOOL_CATEGORY_OTHER = 15
};

enum {
  TIDEPOOL_LIFECYCLE_AUTOMATIC = 0,   // a request, never an answer: the category decides
  TIDEPOOL_LIFECYCLE_TEMPORARY = 1,   // expected to be freed soon
  TIDEPOOL_LIFECYCLE_PERSISTENT = 2,  // expected to stay
  TIDEPOOL_LIFECYCLE_INACTIVE = 3,    // not needed now; first candidate for eviction
  TIDEPOOL_LIFECYCLE_COMPRESSED = 4,  // its bytes are held compressed
  TIDEPOOL_LIFECYCLE_EVICTED = 5      // its bytes are on another device than wanted
};

// Bits of tidepool_tensor_info.flags.
enum {
  TIDEPOOL_FLAG_PINNED_IN_PLACE = 1,  // between pin and unpin
  TIDEPOOL_FLAG_SHARED = 2,           // more than one reference was ever handed out
  TIDEPOOL_FLAG_TRACKED = 4,          // has an access entry
  TIDEPOOL_FLAG_MOVABLE = 8,          // data may move; read between pin and unpin
  TIDEPOOL_FLAG_ADOPTED = 16,         // foreign memory
  TIDEPOOL_FLAG_SLICE = 32,           // a part of another tensor's block
  TIDEPOOL_FLAG_KEYED = 64,           // has a caller's key
  TIDEPOOL_FLAG_USED_ELSEWHERE = 128  // other streams than its own use it
};

enum {
  TIDEPOOL_STREAM_NONE = 0,       // no stream: host order
  TIDEPOOL_STREAM_ORDINARY = 1,   // a stream the application made
  TIDEPOOL_STREAM_LEGACY = 2,     // CUDA's legacy default stream
  TIDEPOOL_STREAM_PER_THREAD = 3  // CUDA's per-thread default stream
};

// How the memory of a CUDA device comes from the driver: tidepool_device_with_memory.
enum {
  TIDEPOOL_MEMORY_POOLED = 0,   // slabs from a stream-ordered pool of the driver
  TIDEPOOL_MEMORY_PLAIN = 1,    // cudaMalloc slabs, for RDMA and legacy IPC
  TIDEPOOL_MEMORY_GROWABLE = 2  // mapped address space: blocks can be extended in place
};

// How managed memory will be used.
enum {
  TIDEPOOL_ADVICE_READ_MOSTLY = 0,         // copies may be kept where it is read
  TIDEPOOL_ADVICE_PREFERRED_LOCATION = 1,  // stays on the device while it can
  TIDEPOOL_ADVICE_ACCESSED_BY = 2          // the device keeps it mapped
};

enum {
  TIDEPOOL_PRESSURE_SOFT_LIMIT = 0,  // it will succeed in any case, but beyond a soft limit
  TIDEPOOL_PRESSURE_HARD_LIMIT = 1,  // it fails unless something is given up: a hard limit
  TIDEPOOL_PRESSURE_EXHAUSTED = 2    // it fails: the device or the system has no more
};

enum {
  TIDEPOOL_MISUSE_STALE_FREE = 0,   // freed twice, or freed after its slot was reused
  TIDEPOOL_MISUSE_FOREIGN_ID = 1,   // an id that this pool never made
  TIDEPOOL_MISUSE_STALE_USE = 2,    // use of an id after its tensor was freed
  TIDEPOOL_MISUSE_RACING_FREE = 3,  // two threads freed one tensor at the same time
  TIDEPOOL_MISUSE_UNBALANCED = 4,   // unpin without pin
  TIDEPOOL_MISUSE_AFTER_CLOSE = 5,  // allocation from a closed pool, or free of what force ended
  TIDEPOOL_MISUSE_UNRETIRED_STREAM = 9,  // a stream was destroyed without being retired before
  // Found by debug modes only:
  TIDEPOOL_MISUSE_OVERFLOW = 6,         // bytes behind a tensor were written
  TIDEPOOL_MISUSE_UNDERFLOW = 7,        // bytes before a tensor were written
  TIDEPOOL_MISUSE_WRITE_AFTER_FREE = 8  // bytes of a tensor were written after its end
};

enum {
  TIDEPOOL_GUARD_NONE = 0,
  TIDEPOOL_GUARD_CANARY = 1,  // a pattern before and behind the bytes of a tensor
  TIDEPOOL_GUARD_PAGES = 2    // a page behind them that nobody may touch
};
// NOLINTEND(readability-identifier-naming)
