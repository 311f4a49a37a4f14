// SPDX-License-Identifier: Apache-2.0
//
//   statics            pools and tensors in statics and thread-locals of two files
//   statics main_ends  the same where the last thread, which ends the process, is not the first
//   statics <plugin>   and in a library that is loaded and unloaded
// Its exit code is the result: nothing may crash or hang on the way out. 77: cannot be tested here.
#include "statics.hpp"

#include "../support/sanitizers.hpp"
#include <tidepool/control.hpp>

#include <dlfcn.h>
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <string_view>
#include <thread>

#if defined(__SANITIZE_ADDRESS__)
// Asked when the process ends. glibc runs no destructors of thread-local objects of
// a main thread that ends first; the pool gets that thread's cache back by its pthread key.
extern "C" int __lsan_is_turned_off();  // NOLINT: the sanitizer's name
extern "C" int __lsan_is_turned_off() {
  return 1;
}
#endif

namespace tidepool::test {

namespace {
std::vector<tensor> before_the_pool;
}  // namespace
pool static_pool(cpu::make_backend({.arena_bytes = std::size_t{256} << 20}));
namespace {
std::vector<tensor> after_the_pool;
thread_local std::vector<tensor> of_the_thread;

void fill() {
  for (std::size_t i = 0; i < 50; ++i) {
    before_the_pool.push_back(static_pool.allocate(i * 100));
    after_the_pool.push_back(static_pool.allocate(i * 1000));
    of_the_thread.push_back(other_pool().allocate(i * 100));
    other_tensors().push_back((i % 2 == 0 ? static_pool : other_pool()).allocate(100));
  }
}

int load_and_unload(const char* plugin) {
  std::vector<tensor> given(20);
  for (tensor& one : given) {
    void* const library = ::dlopen(plugin, RTLD_NOW | RTLD_LOCAL);
    if (library == nullptr) {
      std::fprintf(stderr, "%s\n", ::dlerror());
      return 3;
    }
    const auto use = reinterpret_cast<void (*)(pool*)>(::dlsym(library, "plugin_use"));
    const auto give = reinterpret_cast<void (*)(tensor*)>(::dlsym(library, "plugin_give"));
    use(&static_pool);
    std::thread([&] { use(&static_pool); }).join();
    give(&one);
    ::dlclose(library);
    static_cast<unsigned char*>(one.data())[4999] = 1;  // its pool is closed, it is not
    const pid_t child = ::fork();
    if (child == 0) {
      ::alarm(60);
      one.reset();
      ::_exit(static_pool.control().verify() == nullptr ? 0 : 1);
    }
    int how = 1;
    ::waitpid(child, &how, 0);
    if (how != 0 || static_pool.control().verify() != nullptr) {
      std::fprintf(stderr, "child %d\n", how);
      return 1;
    }
  }
  return 0;
}

// The process ends by the end of its last thread, with 0.
[[noreturn]] void end_main_first() {
  static const pthread_t first = ::pthread_self();
  std::thread([] {
    ::pthread_join(first, nullptr);
    fill();
    if (static_pool.control().statistics().threads != 1 ||
        static_pool.control().verify() != nullptr) {
      ::_exit(1);
    }
  }).detach();
  ::pthread_exit(nullptr);
}

}  // namespace
}  // namespace tidepool::test

int main(int count, char** words) {
  ::alarm(300);
  const bool main_ends = count > 1 && std::string_view(words[1]) == "main_ends";
  if (main_ends && tidepool::test::thread_sanitized) {
    std::fprintf(stderr, "skipped: in any process whose main thread ends first the runtime of "
                         "GCC 12's ThreadSanitizer hangs or fails a check of its own\n");
    return 77;
  }
  tidepool::test::fill();
  if (main_ends) {
    tidepool::test::end_main_first();
  }
  return count > 1 ? tidepool::test::load_and_unload(words[1]) : 0;
}
