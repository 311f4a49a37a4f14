// SPDX-License-Identifier: Apache-2.0
//
// The CPU backend for C: host memory for tidepool_device_cpu(), or for one NUMA node. See
// <tidepool.h> for pools, errors and the rules about `size`.
#pragma once

#include <tidepool/c_types.h>
#include <tidepool/export.hpp>

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

// NOLINTBEGIN(readability-identifier-naming): C has no scopes for enumerators
enum {
  TIDEPOOL_CPU_HUGE_PAGES_AUTOMATIC = 0,  // where they pay: arenas of blocks above 64 KiB
  TIDEPOOL_CPU_HUGE_PAGES_NEVER = 1,
  TIDEPOOL_CPU_HUGE_PAGES_ALWAYS = 2
};
// NOLINTEND(readability-identifier-naming)

// For decay_ticks: free memory goes back to the system only by trim.
#define TIDEPOOL_CPU_NO_DECAY UINT32_MAX

typedef struct tidepool_cpu_backend_options {
  size_t size;
  size_t arena_bytes;    // address space reserved at a time, up to 4 TiB; default 64 GiB, or
                         // TIDEPOOL=arena_bytes=BYTES (tidepool/environment.hpp)
  uint32_t on_one_node;  // not 0: serves tidepool_device_cpu_node(numa_node) alone
  uint32_t numa_node;    // 0..254
  uint32_t huge_pages;   // TIDEPOOL_CPU_HUGE_PAGES_...
  uint32_t decay_ticks;  // memory free for so many tidepool_tick goes back; default 16
  // Faults to order, for tests of programs that must survive them: what the system would answer if
  // it had no more. Calls are the backend's memory calls (mmap, munmap, mprotect, madvise, mbind)
  // in the order in which it makes them, from 1, those of its making included. What is 0 may come
  // from the environment (tidepool/environment.hpp).
  uint64_t fail_call;   // this call fails with ENOMEM
  uint64_t fail_every;  // so does each whose number this divides
  size_t exhaust_at;    // bytes: no more than this is backed, as without memory
} tidepool_cpu_backend_options;

// A backend for host memory. options may be NULL. To be given to tidepool_pool_create, or else to
// tidepool_backend_destroy.
// Errors: invalid_argument, unknown_device (no such node), out_of_memory (no address space),
// unsupported (the system's pages are not 4 KiB). *out is NULL then.
TIDEPOOL_EXPORT tidepool_status
tidepool_cpu_backend_create(const tidepool_cpu_backend_options* options, tidepool_backend** out);

#ifdef __cplusplus
}
#endif
