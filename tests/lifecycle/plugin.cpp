// SPDX-License-Identifier: Apache-2.0
//
// A shared library that is loaded and unloaded at run time: it uses the program's pool, and it has
// a pool in static storage, whose tensors it gives away. Its statics are destroyed by dlclose.
#include <tidepool/control.hpp>
#include <tidepool/cpu/backend.hpp>
#include <tidepool/pool.hpp>

#include <thread>
#include <vector>

namespace {

std::vector<tidepool::tensor>& kept() {
  static std::vector<tidepool::tensor> all;
  return all;
}
tidepool::pool& own_pool() {
  static tidepool::pool only(tidepool::cpu::make_backend({.arena_bytes = std::size_t{256} << 20}),
                             {.max_tensors = 4096});
  return only;
}

}  // namespace

extern "C" [[gnu::visibility("default")]] void plugin_use(tidepool::pool* programs);
extern "C" [[gnu::visibility("default")]] void plugin_give(tidepool::tensor* to);
extern "C" [[gnu::visibility("default")]] int plugin_work(void);

void plugin_use(tidepool::pool* programs) {
  thread_local tidepool::tensor mine;
  mine = programs->allocate(2000);
  kept().push_back(programs->allocate(100));
  std::thread([&] { kept().push_back(programs->allocate(70'000)); }).join();
}

void plugin_give(tidepool::tensor* to) {
  *to = own_pool().allocate(5000);
  kept().push_back(own_pool().allocate(100));  // destroyed before or after its pool
}

int plugin_work() {
  std::vector<tidepool::tensor> held;
  for (std::size_t i = 0; i < 100; ++i) {
    held.push_back(own_pool().allocate(i * 100));
  }
  return own_pool().control().verify() == nullptr ? 0 : 1;
}
