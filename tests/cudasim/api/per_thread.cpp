// SPDX-License-Identifier: Apache-2.0
//
// What programs call that are built with nvcc --default-stream per-thread: the same functions, for
// which the null stream is the thread's own. The headers declare them for such programs only.
#include "api/call.hpp"

using namespace cudasim;

namespace {

template <class... Parameters, class... Arguments>
cudaError_t with_per_thread_stream(cudaError_t (*function)(Parameters...), Arguments... arguments) {
  null_is_per_thread = true;
  const cudaError_t error = function(arguments...);
  null_is_per_thread = false;
  return error;
}

}  // namespace

extern "C" {

cudaError_t cudaEventRecordWithFlags_ptsz(cudaEvent_t event, cudaStream_t stream,
                                          unsigned int flags) {
  return with_per_thread_stream(cudaEventRecordWithFlags, event, stream, flags);
}

cudaError_t cudaEventRecord_ptsz(cudaEvent_t event, cudaStream_t stream) {
  return with_per_thread_stream(cudaEventRecord, event, stream);
}

cudaError_t cudaFreeAsync_ptsz(void* address, cudaStream_t h_stream) {
  return with_per_thread_stream(cudaFreeAsync, address, h_stream);
}

cudaError_t cudaGetDriverEntryPointByVersion_ptsz(const char* symbol, void** func_ptr,
                                                  unsigned int cuda_version,
                                                  unsigned long long flags,
                                                  cudaDriverEntryPointQueryResult* driver_status) {
  return with_per_thread_stream(cudaGetDriverEntryPointByVersion, symbol, func_ptr, cuda_version,
                                flags, driver_status);
}

cudaError_t cudaGetDriverEntryPoint_ptsz(const char* symbol, void** func_ptr,
                                         unsigned long long flags,
                                         cudaDriverEntryPointQueryResult* driver_status) {
  return with_per_thread_stream(cudaGetDriverEntryPoint, symbol, func_ptr, flags, driver_status);
}

cudaError_t cudaGraphLaunch_ptsz(cudaGraphExec_t graph_exec, cudaStream_t stream) {
  return with_per_thread_stream(cudaGraphLaunch, graph_exec, stream);
}

cudaError_t cudaGraphUpload_ptsz(cudaGraphExec_t graph_exec, cudaStream_t stream) {
  return with_per_thread_stream(cudaGraphUpload, graph_exec, stream);
}

cudaError_t cudaLaunchCooperativeKernel_ptsz(const void* func, dim3 grid_dim, dim3 block_dim,
                                             void** args, std::size_t shared_mem,
                                             cudaStream_t stream) {
  return with_per_thread_stream(cudaLaunchCooperativeKernel, func, grid_dim, block_dim, args,
                                shared_mem, stream);
}

cudaError_t cudaLaunchHostFunc_ptsz(cudaStream_t stream, cudaHostFn_t fn, void* user_data) {
  return with_per_thread_stream(cudaLaunchHostFunc, stream, fn, user_data);
}

cudaError_t cudaLaunchKernelExC_ptsz(const cudaLaunchConfig_t* config, const void* func,
                                     void** args) {
  return with_per_thread_stream(cudaLaunchKernelExC, config, func, args);
}

cudaError_t cudaLaunchKernel_ptsz(const void* func, dim3 grid_dim, dim3 block_dim, void** args,
                                  std::size_t shared_mem, cudaStream_t stream) {
  return with_per_thread_stream(cudaLaunchKernel, func, grid_dim, block_dim, args, shared_mem,
                                stream);
}

cudaError_t cudaMallocAsync_ptsz(void** address, std::size_t size, cudaStream_t h_stream) {
  return with_per_thread_stream(cudaMallocAsync, address, size, h_stream);
}

cudaError_t cudaMallocFromPoolAsync_ptsz(void** address, std::size_t size, cudaMemPool_t mem_pool,
                                         cudaStream_t stream) {
  return with_per_thread_stream(cudaMallocFromPoolAsync, address, size, mem_pool, stream);
}

cudaError_t cudaMemDiscardAndPrefetchBatchAsync_ptsz(
    void** dptrs, std::size_t* sizes, std::size_t count, cudaMemLocation* prefetch_locs,
    std::size_t* prefetch_loc_idxs, std::size_t num_prefetch_locs, unsigned long long flags,
    cudaStream_t stream) {
  return with_per_thread_stream(cudaMemDiscardAndPrefetchBatchAsync, dptrs, sizes, count,
                                prefetch_locs, prefetch_loc_idxs, num_prefetch_locs, flags, stream);
}

cudaError_t cudaMemDiscardBatchAsync_ptsz(void** dptrs, std::size_t* sizes, std::size_t count,
                                          unsigned long long flags, cudaStream_t stream) {
  return with_per_thread_stream(cudaMemDiscardBatchAsync, dptrs, sizes, count, flags, stream);
}

cudaError_t cudaMemPrefetchAsync_ptsz(const void* address, std::size_t count,
                                      cudaMemLocation location, unsigned int flags,
                                      cudaStream_t stream) {
  return with_per_thread_stream(cudaMemPrefetchAsync, address, count, location, flags, stream);
}

cudaError_t cudaMemPrefetchBatchAsync_ptsz(void** dptrs, std::size_t* sizes, std::size_t count,
                                           cudaMemLocation* prefetch_locs,
                                           std::size_t* prefetch_loc_idxs,
                                           std::size_t num_prefetch_locs, unsigned long long flags,
                                           cudaStream_t stream) {
  return with_per_thread_stream(cudaMemPrefetchBatchAsync, dptrs, sizes, count, prefetch_locs,
                                prefetch_loc_idxs, num_prefetch_locs, flags, stream);
}

cudaError_t cudaMemcpy2DAsync_ptsz(void* dst, std::size_t dpitch, const void* src,
                                   std::size_t spitch, std::size_t width, std::size_t height,
                                   cudaMemcpyKind kind, cudaStream_t stream) {
  return with_per_thread_stream(cudaMemcpy2DAsync, dst, dpitch, src, spitch, width, height, kind,
                                stream);
}

cudaError_t cudaMemcpy2D_ptds(void* dst, std::size_t dpitch, const void* src, std::size_t spitch,
                              std::size_t width, std::size_t height, cudaMemcpyKind kind) {
  return with_per_thread_stream(cudaMemcpy2D, dst, dpitch, src, spitch, width, height, kind);
}

cudaError_t cudaMemcpy3DAsync_ptsz(const cudaMemcpy3DParms* p, cudaStream_t stream) {
  return with_per_thread_stream(cudaMemcpy3DAsync, p, stream);
}

cudaError_t cudaMemcpy3D_ptds(const cudaMemcpy3DParms* p) {
  return with_per_thread_stream(cudaMemcpy3D, p);
}

cudaError_t cudaMemcpyAsync_ptsz(void* dst, const void* src, std::size_t count, cudaMemcpyKind kind,
                                 cudaStream_t stream) {
  return with_per_thread_stream(cudaMemcpyAsync, dst, src, count, kind, stream);
}

cudaError_t cudaMemcpyBatchAsync_ptsz(void* const* dsts, const void* const* srcs,
                                      const std::size_t* sizes, std::size_t count,
                                      cudaMemcpyAttributes* attrs, std::size_t* attrs_idxs,
                                      std::size_t num_attrs, cudaStream_t stream) {
  return with_per_thread_stream(cudaMemcpyBatchAsync, dsts, srcs, sizes, count, attrs, attrs_idxs,
                                num_attrs, stream);
}

cudaError_t cudaMemcpyFromSymbolAsync_ptsz(void* dst, const void* symbol, std::size_t count,
                                           std::size_t offset, cudaMemcpyKind kind,
                                           cudaStream_t stream) {
  return with_per_thread_stream(cudaMemcpyFromSymbolAsync, dst, symbol, count, offset, kind,
                                stream);
}

cudaError_t cudaMemcpyFromSymbol_ptds(void* dst, const void* symbol, std::size_t count,
                                      std::size_t offset, cudaMemcpyKind kind) {
  return with_per_thread_stream(cudaMemcpyFromSymbol, dst, symbol, count, offset, kind);
}

cudaError_t cudaMemcpyToSymbolAsync_ptsz(const void* symbol, const void* src, std::size_t count,
                                         std::size_t offset, cudaMemcpyKind kind,
                                         cudaStream_t stream) {
  return with_per_thread_stream(cudaMemcpyToSymbolAsync, symbol, src, count, offset, kind, stream);
}

cudaError_t cudaMemcpyToSymbol_ptds(const void* symbol, const void* src, std::size_t count,
                                    std::size_t offset, cudaMemcpyKind kind) {
  return with_per_thread_stream(cudaMemcpyToSymbol, symbol, src, count, offset, kind);
}

cudaError_t cudaMemcpy_ptds(void* dst, const void* src, std::size_t count, cudaMemcpyKind kind) {
  return with_per_thread_stream(cudaMemcpy, dst, src, count, kind);
}

cudaError_t cudaMemset2DAsync_ptsz(void* address, std::size_t pitch, int value, std::size_t width,
                                   std::size_t height, cudaStream_t stream) {
  return with_per_thread_stream(cudaMemset2DAsync, address, pitch, value, width, height, stream);
}

cudaError_t cudaMemset2D_ptds(void* address, std::size_t pitch, int value, std::size_t width,
                              std::size_t height) {
  return with_per_thread_stream(cudaMemset2D, address, pitch, value, width, height);
}

cudaError_t cudaMemset3DAsync_ptsz(cudaPitchedPtr pitched_dev_ptr, int value, cudaExtent extent,
                                   cudaStream_t stream) {
  return with_per_thread_stream(cudaMemset3DAsync, pitched_dev_ptr, value, extent, stream);
}

cudaError_t cudaMemset3D_ptds(cudaPitchedPtr pitched_dev_ptr, int value, cudaExtent extent) {
  return with_per_thread_stream(cudaMemset3D, pitched_dev_ptr, value, extent);
}

cudaError_t cudaMemsetAsync_ptsz(void* address, int value, std::size_t count, cudaStream_t stream) {
  return with_per_thread_stream(cudaMemsetAsync, address, value, count, stream);
}

cudaError_t cudaMemset_ptds(void* address, int value, std::size_t count) {
  return with_per_thread_stream(cudaMemset, address, value, count);
}

cudaError_t cudaStreamAddCallback_ptsz(cudaStream_t stream, cudaStreamCallback_t callback,
                                       void* user_data, unsigned int flags) {
  return with_per_thread_stream(cudaStreamAddCallback, stream, callback, user_data, flags);
}

cudaError_t cudaStreamAttachMemAsync_ptsz(cudaStream_t stream, void* address, std::size_t length,
                                          unsigned int flags) {
  return with_per_thread_stream(cudaStreamAttachMemAsync, stream, address, length, flags);
}

cudaError_t cudaStreamBeginCapture_ptsz(cudaStream_t stream, cudaStreamCaptureMode mode) {
  return with_per_thread_stream(cudaStreamBeginCapture, stream, mode);
}

cudaError_t cudaStreamCopyAttributes_ptsz(cudaStream_t dst_stream, cudaStream_t src_stream) {
  return with_per_thread_stream(cudaStreamCopyAttributes, dst_stream, src_stream);
}

cudaError_t cudaStreamEndCapture_ptsz(cudaStream_t stream, cudaGraph_t* p_graph) {
  return with_per_thread_stream(cudaStreamEndCapture, stream, p_graph);
}

cudaError_t cudaStreamGetCaptureInfo_ptsz(cudaStream_t stream,
                                          cudaStreamCaptureStatus* capture_status_out,
                                          unsigned long long* id_out, cudaGraph_t* graph_out,
                                          const cudaGraphNode_t** dependencies_out,
                                          const cudaGraphEdgeData** edge_data_out,
                                          std::size_t* num_dependencies_out) {
  return with_per_thread_stream(cudaStreamGetCaptureInfo, stream, capture_status_out, id_out,
                                graph_out, dependencies_out, edge_data_out, num_dependencies_out);
}

cudaError_t cudaStreamGetDevice_ptsz(cudaStream_t h_stream, int* device) {
  return with_per_thread_stream(cudaStreamGetDevice, h_stream, device);
}

cudaError_t cudaStreamGetFlags_ptsz(cudaStream_t h_stream, unsigned int* flags) {
  return with_per_thread_stream(cudaStreamGetFlags, h_stream, flags);
}

cudaError_t cudaStreamGetId_ptsz(cudaStream_t h_stream, unsigned long long* stream_id) {
  return with_per_thread_stream(cudaStreamGetId, h_stream, stream_id);
}

cudaError_t cudaStreamGetPriority_ptsz(cudaStream_t h_stream, int* priority) {
  return with_per_thread_stream(cudaStreamGetPriority, h_stream, priority);
}

cudaError_t cudaStreamIsCapturing_ptsz(cudaStream_t stream,
                                       cudaStreamCaptureStatus* p_capture_status) {
  return with_per_thread_stream(cudaStreamIsCapturing, stream, p_capture_status);
}

cudaError_t cudaStreamQuery_ptsz(cudaStream_t stream) {
  return with_per_thread_stream(cudaStreamQuery, stream);
}

cudaError_t cudaStreamSynchronize_ptsz(cudaStream_t stream) {
  return with_per_thread_stream(cudaStreamSynchronize, stream);
}

cudaError_t cudaStreamUpdateCaptureDependencies_ptsz(cudaStream_t stream,
                                                     cudaGraphNode_t* dependencies,
                                                     const cudaGraphEdgeData* dependency_data,
                                                     std::size_t num_dependencies,
                                                     unsigned int flags) {
  return with_per_thread_stream(cudaStreamUpdateCaptureDependencies, stream, dependencies,
                                dependency_data, num_dependencies, flags);
}

cudaError_t cudaStreamWaitEvent_ptsz(cudaStream_t stream, cudaEvent_t event, unsigned int flags) {
  return with_per_thread_stream(cudaStreamWaitEvent, stream, event, flags);
}

}  // extern "C"
