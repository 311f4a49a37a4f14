// SPDX-License-Identifier: Apache-2.0
//
// The CUDA backend for C: device, pinned and managed memory of one GPU. It exists in every build:
// without CUDA, or without a GPU, it answers so. See <tidepool.h> for pools, errors and the rules
// about `size`. A cudaStream_t s is the tidepool_stream {s, TIDEPOOL_STREAM_ORDINARY, 0}.
#pragma once

#include <tidepool/c_types.h>
#include <tidepool/export.hpp>

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

// For decay_ticks: free slabs go back to the driver only by trim.
#define TIDEPOOL_CUDA_NO_DECAY UINT32_MAX

// For peers: the other GPUs that may access the GPU's memory in kernels and copies of their own.
#define TIDEPOOL_CUDA_PEERS_ALL 0    // every GPU that can
#define TIDEPOOL_CUDA_PEERS_NONE 1   // no other GPU
#define TIDEPOOL_CUDA_PEERS_THESE 2  // those of peer_ordinals

typedef struct tidepool_cuda_backend_options {
  size_t size;
  uint32_t ordinal;      // the GPU, as the CUDA runtime numbers them
  uint32_t decay_ticks;  // a slab that was free for so many tidepool_tick goes back; default 16
  // What to serve, in this order; NULL: all that the GPU can do.
  const tidepool_device* devices;
  size_t device_count;            // at most 16
  uint64_t nvtx;                  // not 0: tools behind NVTX are told
  uint64_t peers;                 // TIDEPOOL_CUDA_PEERS_...
  const uint32_t* peer_ordinals;  // other GPUs, for TIDEPOOL_CUDA_PEERS_THESE; else NULL
  size_t peer_count;              // at most 63
} tidepool_cuda_backend_options;

// A backend for the memory of one GPU. options may be NULL. To be given to tidepool_pool_create, or
// else to tidepool_backend_destroy.
// Errors: backend_unavailable (built without CUDA, no driver or one too old, no GPU),
// unknown_device, invalid_argument, unsupported (a device that the GPU cannot serve, or a peer that
// cannot reach it), out_of_memory, driver_error.
// *out is NULL then.
TIDEPOOL_EXPORT tidepool_status
tidepool_cuda_backend_create(const tidepool_cuda_backend_options* options, tidepool_backend** out);

#ifdef __cplusplus
}
#endif
