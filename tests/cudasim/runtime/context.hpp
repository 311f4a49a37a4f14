// SPDX-License-Identifier: Apache-2.0
//
// Contexts: each device's primary one, those that programs create, and every thread's stack of
// them. The top of the stack is the thread's current context, and decides the current device. No
// memory or stream belongs to a context here; they belong to devices. All but the stack is guarded
// by the runtime's lock.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace cudasim {

struct context {
  int device = 0;
  bool is_primary = false;
  bool is_active = false;     // it exists on the device
  std::uint64_t id = 0;       // never given twice; a primary one has a new id when it is made again
  std::uint64_t retains = 0;  // of a primary one, by the driver's interface
};

/// Without a destructor, so that calls from destructors at the end of a thread still find it.
struct context_stack {
  std::array<context*, 64> all{};
  std::size_t depth = 0;
  [[nodiscard]] context* top() const { return depth == 0 ? nullptr : all[depth - 1]; }
  void set_top(context* to) {
    if (depth == 0) {
      depth = 1;
    }
    all[depth - 1] = to;
  }
};
inline thread_local context_stack contexts;

class runtime;
/// Makes the device's primary context unless it exists.
context& primary_context(runtime& r, int device);
/// As cudaSetDevice: the thread's current context is the device's primary one.
void use_primary_context(runtime& r, int device);
/// Before a call of the runtime that needs a context: makes the current device's where the thread
/// has none. Which calls do not need one is known by name.
void open_context_for(runtime& r, const char* call);
/// The reset of a device ends its primary context.
void end_primary_context(int device);
/// The primary and the other contexts that exist on a device.
unsigned contexts_on(int device);
/// The driver's function about contexts; null where there is none of that name.
void* context_entry(const char* name);

}  // namespace cudasim
