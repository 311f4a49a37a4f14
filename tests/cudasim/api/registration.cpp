// SPDX-License-Identifier: Apache-2.0
//
// What nvcc's generated code calls before main: fat binaries, kernels and variables. Nothing is
// read of them yet.
#include "api/call.hpp"

using namespace cudasim;

namespace {

fat_binary* binary_of(void** handle) {
  return reinterpret_cast<fat_binary*>(handle);
}

}  // namespace

extern "C" {

void** __cudaRegisterFatBinary(void* wrapper);
void __cudaRegisterFatBinaryEnd(void** handle);
void __cudaUnregisterFatBinary(void** handle);
char __cudaInitModule(void** handle);
void __cudaRegisterFunction(void** handle, const char* host, char*, const char* name, int, uint3*,
                            uint3*, dim3*, dim3*, int*);
void __cudaRegisterVar(void** handle, char* host, char*, const char* name, int, std::size_t size,
                       int, int);
void __cudaRegisterManagedVar(void** handle, void** host, char*, const char* name, int,
                              std::size_t size, int, int);

void** __cudaRegisterFatBinary(void* wrapper) {
  auto* const made = new fat_binary;  // until the end of the process
  made->wrapper = wrapper;
  return reinterpret_cast<void**>(made);
}

void __cudaRegisterFatBinaryEnd(void**) {}
void __cudaUnregisterFatBinary(void**) {}
char __cudaInitModule(void**) {
  return 1;
}

void __cudaRegisterFunction(void** handle, const char* host, char*, const char* name, int, uint3*,
                            uint3*, dim3*, dim3*, int*) {
  runtime& r = runtime::get();
  const std::lock_guard guard(r.lock);
  auto made = std::make_unique<function>();
  made->binary = binary_of(handle);
  made->name = name;
  r.function_handles.insert(made.get());
  r.functions[host] = std::move(made);
}

void __cudaRegisterVar(void** handle, char* host, char*, const char* name, int, std::size_t size,
                       int, int) {
  runtime& r = runtime::get();
  const std::lock_guard guard(r.lock);
  r.symbols[host] = {binary_of(handle), name, size};
}

// The host's pointer has to be valid from the start, so the module is loaded now.
void __cudaRegisterManagedVar(void** handle, void** host, char*, const char* name, int,
                              std::size_t size, int, int) {
  runtime& r = runtime::get();
  const std::lock_guard guard(r.lock);
  const symbol made{binary_of(handle), name, size};
  r.symbols[host] = made;
  if (r.set.devices == 0) {
    return;
  }
  try {
    *host = reinterpret_cast<void*>(r.symbol_address(made, 0));
  } catch (const refusal&) {
    *host = nullptr;  // a report says why
  }
}

}  // extern "C"
