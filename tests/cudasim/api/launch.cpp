// SPDX-License-Identifier: Apache-2.0
//
// Launches, and what a program asks about its kernels: attributes, occupancy.
#include "api/call.hpp"

#include <algorithm>
#include <vector>

using namespace cudasim;

namespace {

constexpr int registers_per_block = 65536;
constexpr int most_registers = 255;
constexpr std::size_t most_dynamic_shared = 163 * 1024;
constexpr std::size_t shared_per_multiprocessor = 164 * 1024;
constexpr std::size_t reserved_shared = 1024;

cudaError_t start(const char* name, const void* host_function, dim3 grid, dim3 block,
                  void** arguments, std::size_t shared, cudaStream_t in, bool cooperative) {
  return call(name, [&](runtime& r) {
    r.start(r.stream_of(in),
            {&r.function_of(host_function), grid, block, arguments, shared, cooperative});
  });
}

int registers_of(const kernel& code, int threads) {
  return std::min({most_registers, static_cast<int>(code.registers),
                   registers_per_block / std::max(1, threads)});
}

int resident_blocks(const kernel& code, int threads, std::size_t dynamic_shared) {
  require(threads > 0, cudaErrorInvalidValue);
  if (threads > code.max_threads) {
    return 0;
  }
  const int warps = (threads + lane_count - 1) / lane_count;
  const std::size_t shared = code.shared_bytes + dynamic_shared + reserved_shared;
  const int registers = registers_of(code, std::max(threads, code.max_threads));
  return std::min({32, 64 / warps, static_cast<int>(shared_per_multiprocessor / shared),
                   registers_per_block / std::max(1, registers * warps * lane_count)});
}

struct pushed_call {
  dim3 grid;
  dim3 block;
  std::size_t shared;
  cudaStream_t in;
};
thread_local std::vector<pushed_call> pushed;

}  // namespace

extern "C" {

// What nvcc's code for kernel<<<...>>>() calls, and the headers do not declare.
unsigned __cudaPushCallConfiguration(dim3 grid, dim3 block, std::size_t shared, cudaStream_t in);
cudaError_t __cudaPopCallConfiguration(dim3* grid, dim3* block, std::size_t* shared, void* in);
cudaError_t __cudaGetKernel(cudaKernel_t* out, const void* host_function);
cudaError_t __cudaLaunchKernel(cudaKernel_t, dim3, dim3, void**, std::size_t, cudaStream_t);
cudaError_t __cudaLaunchKernel_ptsz(cudaKernel_t, dim3, dim3, void**, std::size_t, cudaStream_t);

unsigned __cudaPushCallConfiguration(dim3 grid, dim3 block, std::size_t shared, cudaStream_t in) {
  pushed.push_back({grid, block, shared, in});
  return 0;
}

cudaError_t __cudaPopCallConfiguration(dim3* grid, dim3* block, std::size_t* shared, void* in) {
  if (pushed.empty()) {
    return last_error = cudaErrorMissingConfiguration;
  }
  const pushed_call top = pushed.back();
  pushed.pop_back();
  *grid = top.grid;
  *block = top.block;
  *shared = top.shared;
  *static_cast<cudaStream_t*>(in) = top.in;
  return cudaSuccess;
}

cudaError_t __cudaGetKernel(cudaKernel_t* out, const void* host_function) {
  return call("cudaGetKernel", [&](runtime& r) {
    target(out) = reinterpret_cast<cudaKernel_t>(&r.function_of(host_function));
  });
}

cudaError_t cudaGetKernel(cudaKernel_t* out, const void* host_function) {
  return __cudaGetKernel(out, host_function);
}

cudaError_t cudaLaunchKernel(const void* function, dim3 grid, dim3 block, void** arguments,
                             std::size_t shared, cudaStream_t in) {
  return start(__func__, function, grid, block, arguments, shared, in, false);
}

cudaError_t __cudaLaunchKernel(cudaKernel_t function, dim3 grid, dim3 block, void** arguments,
                               std::size_t shared, cudaStream_t in) {
  return start("cudaLaunchKernel", function, grid, block, arguments, shared, in, false);
}

cudaError_t __cudaLaunchKernel_ptsz(cudaKernel_t function, dim3 grid, dim3 block, void** arguments,
                                    std::size_t shared, cudaStream_t in) {
  return start("cudaLaunchKernel", function, grid, block, arguments, shared,
               in == nullptr ? cudaStreamPerThread : in, false);
}

cudaError_t cudaLaunchCooperativeKernel(const void* function, dim3 grid, dim3 block,
                                        void** arguments, std::size_t shared, cudaStream_t in) {
  return start(__func__, function, grid, block, arguments, shared, in, true);
}

// Attributes that ask for overlap (programmatic launch) may be ignored; clusters are missing.
cudaError_t cudaLaunchKernelExC(const cudaLaunchConfig_t* how, const void* function,
                                void** arguments) {
  return call(__func__, [&](runtime& r) {
    const cudaLaunchConfig_t& wanted = target(how);
    bool cooperative = false;
    for (unsigned i = 0; i != wanted.numAttrs; ++i) {
      const cudaLaunchAttribute& attribute = wanted.attrs[i];
      cooperative |=
          attribute.id == cudaLaunchAttributeCooperative && attribute.val.cooperative != 0;
      const auto& cluster = attribute.val.clusterDim;
      require(attribute.id != cudaLaunchAttributeClusterDimension ||
                  cluster.x * cluster.y * cluster.z == 1,
              cudaErrorNotSupported);
    }
    r.start(r.stream_of(wanted.stream), {&r.function_of(function), wanted.gridDim, wanted.blockDim,
                                         arguments, wanted.dynamicSmemBytes, cooperative});
  });
}

cudaError_t cudaFuncGetAttributes(cudaFuncAttributes* out, const void* function) {
  return call(__func__, [&](runtime& r) {
    const cudasim::function& of = r.function_of(function);
    const kernel& code = r.kernel_of(of, current_device);
    cudaFuncAttributes& made = target(out);
    made = {};
    made.sharedSizeBytes = code.shared_bytes;
    made.localSizeBytes = code.local_bytes;
    made.maxThreadsPerBlock = code.max_threads;
    made.numRegs = registers_of(code, code.max_threads);
    made.ptxVersion = r.module_of(*of.binary, current_device).program.architecture;
    made.binaryVersion = 80;
    made.maxDynamicSharedSizeBytes = of.max_dynamic_shared;
    made.preferredShmemCarveout = -1;
  });
}

cudaError_t cudaFuncSetAttribute(const void* function, cudaFuncAttribute which, int value) {
  return call(__func__, [&](runtime& r) {
    cudasim::function& of = r.function_of(function);
    if (which == cudaFuncAttributeMaxDynamicSharedMemorySize) {
      require(value >= 0 && static_cast<std::size_t>(value) <= most_dynamic_shared,
              cudaErrorInvalidValue);
      of.max_dynamic_shared = value;
    }
  });
}

cudaError_t cudaFuncSetCacheConfig(const void* function, cudaFuncCache) {
  return call(__func__, [&](runtime& r) { static_cast<void>(r.function_of(function)); });
}

cudaError_t cudaFuncGetName(const char** out, const void* function) {
  return call(__func__, [&](runtime& r) { target(out) = r.function_of(function).name.c_str(); });
}

cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int* blocks,
                                                                   const void* function,
                                                                   int threads, std::size_t shared,
                                                                   unsigned) {
  return call(__func__, [&](runtime& r) {
    target(blocks) =
        resident_blocks(r.kernel_of(r.function_of(function), current_device), threads, shared);
  });
}

cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, const void* function,
                                                          int threads, std::size_t shared) {
  return call(__func__, [&](runtime& r) {
    target(blocks) =
        resident_blocks(r.kernel_of(r.function_of(function), current_device), threads, shared);
  });
}

cudaError_t cudaOccupancyAvailableDynamicSMemPerBlock(std::size_t* bytes, const void* function,
                                                      int blocks, int threads) {
  return call(__func__, [&](runtime& r) {
    const kernel& code = r.kernel_of(r.function_of(function), current_device);
    require(blocks > 0 && threads > 0, cudaErrorInvalidValue);
    const std::size_t each = shared_per_multiprocessor / static_cast<std::size_t>(blocks);
    const std::size_t taken = code.shared_bytes + reserved_shared;
    target(bytes) = each > taken ? std::min(most_dynamic_shared, each - taken) : 0;
  });
}

}  // extern "C"
