// SPDX-License-Identifier: Apache-2.0
//
// The reset of a device: all that the program has made on it ends, its settings and the program's
// variables are as at the start. What no device owns stays: graphs, virtual memory of the driver,
// pools of host memory.
#include "runtime/runtime.hpp"

#include <vector>

namespace cudasim {

void runtime::reset_memory(int ordinal) {
  std::vector<allocation_ptr> all;
  for (const auto& [base, kept] : memory.all_issued()) {
    if (kept->device == ordinal && !kept->is_program && kept->allocated_by != "cuMemMap") {
      all.push_back(kept);
    }
  }
  for (const allocation_ptr& gone : all) {
    if (gone->pool == nullptr && gone->imported != nullptr) {
      gone->imported->opened = 1;
      close_memory(reinterpret_cast<void*>(gone->base));
    } else if (gone->pool == nullptr && gone->allocated_by != "cudaMalloc" &&
               gone->kind == memory_kind::device) {  // of a graph, which owns the addresses
      memory.retract(gone);
      memory.finish(gone, nullptr, true);
    } else if (gone->pool == nullptr) {
      drop_allocation(gone);
      if (gone->kind == memory_kind::registered) {
        pages.remove(gone->base);
        races.unwatch(gone->base);
      }
    } else {
      free_in(*devices.at(static_cast<std::size_t>(ordinal)).legacy,
              reinterpret_cast<void*>(gone->base));
    }
  }
  synchronize_device(ordinal);
}

void runtime::reset_handles(int ordinal) {
  for (const auto& each : streams) {
    if (each->device == ordinal && !each->created_by.empty() && !each->destroyed) {
      destroy_stream(*each);
    }
  }
  const std::vector<event*> all_events(events.begin(), events.end());
  for (event* const each : all_events) {
    if (each->device == ordinal) {
      forget_event(*each);
    }
  }
  for (const auto& [handle, each] : pools) {
    const pool::properties& of = each->made_with();
    if (of.kind == memory_kind::device && of.device == ordinal && !each->created_by.empty()) {
      each->destroyed = true;
      mark_stale(handle);
    }
    if (of.kind == memory_kind::device && of.device == ordinal) {
      each->set_usual_attributes();
      each->trim(0);
    }
  }
}

// Immediate, says the manual; work that is queued is still run here, as a host function may wait
// for it.
void runtime::reset_device(int ordinal) {
  require_no_capture_on(ordinal);
  synchronize_device(ordinal);
  reset_memory(ordinal);
  reset_handles(ordinal);
  device& of = devices.at(static_cast<std::size_t>(ordinal));
  of.current_pool = of.default_pool;
  of.graph_pool->release_threshold = ~std::uint64_t{0};
  of.flags = 0;
  of.limits.clear();
  std::erase_if(peers, [&](const std::pair<int, int>& pair) {
    return pair.first == ordinal || pair.second == ordinal;
  });
  trim_pools_after_wait();
  for (fat_binary* const each : binaries) {
    if (const auto found = each->modules.find(ordinal); found != each->modules.end()) {
      initialise(*found->second);
    }
  }
}

}  // namespace cudasim
