// SPDX-License-Identifier: Apache-2.0
//
// Copies and fills of linear memory, pitched memory and symbols. Arrays and textures are missing.
#include "api/call.hpp"

#include <array>

using namespace cudasim;

namespace {

using pitched = runtime::pitched;

char* bytes_at(const void* address) {
  return static_cast<char*>(const_cast<void*>(address));
}

void copy_linear(runtime& r, void* dst, const void* src, std::size_t bytes, cudaMemcpyKind kind,
                 cudaStream_t in, bool waits) {
  r.check_direction(dst, src, kind);
  r.copy(dst, src, bytes, r.stream_of(in), waits);
}

void copy_rows(runtime& r, const pitched& to, const pitched& from, std::size_t width,
               std::size_t height, cudaMemcpyKind kind, cudaStream_t in, bool waits) {
  require(width <= to.pitch && width <= from.pitch, cudaErrorInvalidPitchValue);
  r.check_direction(to.at, from.at, kind);
  r.copy(to, from, {width, height, 1}, r.stream_of(in), waits);
}

void* in_symbol(runtime& r, const void* host_symbol, std::size_t bytes, std::size_t offset) {
  const symbol& of = r.symbol_of(host_symbol);
  require(offset <= of.size && bytes <= of.size - offset, cudaErrorInvalidValue);
  return reinterpret_cast<void*>(r.symbol_address(of, current_device) + offset);
}

void copy_3d(runtime& r, const cudaMemcpy3DParms* how, cudaStream_t in, bool waits) {
  const cudaMemcpy3DParms& p = target(how);
  require(p.srcArray == nullptr && p.dstArray == nullptr, cudaErrorNotSupported);
  const auto at = [](const cudaPitchedPtr& base, const cudaPos& where) {
    return bytes_at(base.ptr) + (where.z * base.ysize + where.y) * base.pitch + where.x;
  };
  r.check_direction(p.dstPtr.ptr, p.srcPtr.ptr, p.kind);
  r.copy({at(p.dstPtr, p.dstPos), p.dstPtr.pitch, p.dstPtr.ysize},
         {at(p.srcPtr, p.srcPos), p.srcPtr.pitch, p.srcPtr.ysize},
         {p.extent.width, p.extent.height, p.extent.depth}, r.stream_of(in), waits);
}

void fill_linear(runtime& r, void* dst, int value, std::size_t bytes, cudaStream_t in) {
  r.fill({bytes_at(dst), bytes, 1}, value, 1, {bytes, 1, 1}, r.stream_of(in));
}

void fill_3d(runtime& r, const cudaPitchedPtr& to, int value, const cudaExtent& shape,
             cudaStream_t in) {
  r.fill({bytes_at(to.ptr), to.pitch, to.ysize}, value, 1, {shape.width, shape.height, shape.depth},
         r.stream_of(in));
}

// Names both devices, so the driver carries the bytes where they cannot reach each other.
void copy_between(runtime& r, void* dst, const void* src, std::size_t bytes, stream& in,
                  bool waits) {
  r.copy({bytes_at(dst), bytes, 1}, {bytes_at(src), bytes, 1}, {bytes, 1, 1, true}, in, waits);
}

}  // namespace

extern "C" {

cudaError_t cudaMemcpy(void* dst, const void* src, std::size_t n, cudaMemcpyKind kind) {
  return call(__func__, [&](runtime& r) { copy_linear(r, dst, src, n, kind, nullptr, true); });
}

cudaError_t cudaMemcpyAsync(void* dst, const void* src, std::size_t n, cudaMemcpyKind kind,
                            cudaStream_t in) {
  return call(__func__, [&](runtime& r) { copy_linear(r, dst, src, n, kind, in, false); });
}

// Follows all work of both devices. The host waits too, which the real one need not do.
cudaError_t cudaMemcpyPeer(void* dst, int to, const void* src, int from, std::size_t n) {
  return call(__func__, [&](runtime& r) {
    static_cast<void>(device_at(r, from));
    r.synchronize_device(from);
    r.synchronize_device(to);
    copy_between(r, dst, src, n, *device_at(r, to).legacy, true);
  });
}

cudaError_t cudaMemcpyPeerAsync(void* dst, int to, const void* src, int from, std::size_t n,
                                cudaStream_t in) {
  return call(__func__, [&](runtime& r) {
    static_cast<void>(device_at(r, from));
    static_cast<void>(device_at(r, to));
    copy_between(r, dst, src, n, r.stream_of(in), false);
  });
}

cudaError_t cudaMemcpy2D(void* dst, std::size_t dst_pitch, const void* src, std::size_t src_pitch,
                         std::size_t width, std::size_t height, cudaMemcpyKind kind) {
  return call(__func__, [&](runtime& r) {
    copy_rows(r, {bytes_at(dst), dst_pitch, height}, {bytes_at(src), src_pitch, height}, width,
              height, kind, nullptr, true);
  });
}

cudaError_t cudaMemcpy2DAsync(void* dst, std::size_t dst_pitch, const void* src,
                              std::size_t src_pitch, std::size_t width, std::size_t height,
                              cudaMemcpyKind kind, cudaStream_t in) {
  return call(__func__, [&](runtime& r) {
    copy_rows(r, {bytes_at(dst), dst_pitch, height}, {bytes_at(src), src_pitch, height}, width,
              height, kind, in, false);
  });
}

cudaError_t cudaMemcpy3D(const cudaMemcpy3DParms* how) {
  return call(__func__, [&](runtime& r) { copy_3d(r, how, nullptr, true); });
}

cudaError_t cudaMemcpy3DAsync(const cudaMemcpy3DParms* how, cudaStream_t in) {
  return call(__func__, [&](runtime& r) { copy_3d(r, how, in, false); });
}

cudaError_t cudaMemcpyToSymbol(const void* to, const void* src, std::size_t n, std::size_t offset,
                               cudaMemcpyKind) {
  return call(__func__, [&](runtime& r) {
    r.copy(in_symbol(r, to, n, offset), src, n, r.stream_of(nullptr), true);
  });
}

cudaError_t cudaMemcpyFromSymbol(void* dst, const void* from, std::size_t n, std::size_t offset,
                                 cudaMemcpyKind) {
  return call(__func__, [&](runtime& r) {
    r.copy(dst, in_symbol(r, from, n, offset), n, r.stream_of(nullptr), true);
  });
}

cudaError_t cudaMemcpyToSymbolAsync(const void* to, const void* src, std::size_t n,
                                    std::size_t offset, cudaMemcpyKind, cudaStream_t in) {
  return call(__func__, [&](runtime& r) {
    r.copy(in_symbol(r, to, n, offset), src, n, r.stream_of(in), false);
  });
}

cudaError_t cudaMemcpyFromSymbolAsync(void* dst, const void* from, std::size_t n,
                                      std::size_t offset, cudaMemcpyKind, cudaStream_t in) {
  return call(__func__, [&](runtime& r) {
    r.copy(dst, in_symbol(r, from, n, offset), n, r.stream_of(in), false);
  });
}

// Asynchronous for device memory, as the real one is.
cudaError_t cudaMemset(void* dst, int value, std::size_t n) {
  return call(__func__, [&](runtime& r) { fill_linear(r, dst, value, n, nullptr); });
}

cudaError_t cudaMemsetAsync(void* dst, int value, std::size_t n, cudaStream_t in) {
  return call(__func__, [&](runtime& r) { fill_linear(r, dst, value, n, in); });
}

cudaError_t cudaMemset2D(void* dst, std::size_t pitch, int value, std::size_t width,
                         std::size_t height) {
  return call(__func__, [&](runtime& r) {
    r.fill({bytes_at(dst), pitch, height}, value, 1, {width, height, 1}, r.stream_of(nullptr));
  });
}

cudaError_t cudaMemset2DAsync(void* dst, std::size_t pitch, int value, std::size_t width,
                              std::size_t height, cudaStream_t in) {
  return call(__func__, [&](runtime& r) {
    r.fill({bytes_at(dst), pitch, height}, value, 1, {width, height, 1}, r.stream_of(in));
  });
}

cudaError_t cudaMemset3D(cudaPitchedPtr to, int value, cudaExtent shape) {
  return call(__func__, [&](runtime& r) { fill_3d(r, to, value, shape, nullptr); });
}

cudaError_t cudaMemset3DAsync(cudaPitchedPtr to, int value, cudaExtent shape, cudaStream_t in) {
  return call(__func__, [&](runtime& r) { fill_3d(r, to, value, shape, in); });
}

cudaError_t cudaGetSymbolAddress(void** out, const void* host_symbol) {
  return call(__func__, [&](runtime& r) {
    target(out) =
        reinterpret_cast<void*>(r.symbol_address(r.symbol_of(host_symbol), current_device));
  });
}

cudaError_t cudaGetSymbolSize(std::size_t* out, const void* host_symbol) {
  return call(__func__, [&](runtime& r) { target(out) = r.symbol_of(host_symbol).size; });
}

}  // extern "C"
