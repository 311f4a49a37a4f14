// SPDX-License-Identifier: Apache-2.0
//
//   loader <plugin>
// A program that knows nothing of tidepool loads a library that does, in threads that live longer
// than the library, again and again, and forks meanwhile.
#include <dlfcn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <thread>

int main(int count, char** words) {
  if (count != 2) {
    return 2;
  }
  for (int round = 0; round < 20; ++round) {
    std::atomic<int> step{0};
    std::atomic<int> wrong{0};
    void* const library = ::dlopen(words[1], RTLD_NOW | RTLD_LOCAL);
    if (library == nullptr) {
      std::fprintf(stderr, "%s\n", ::dlerror());
      return 3;
    }
    const auto work = reinterpret_cast<int (*)()>(::dlsym(library, "plugin_work"));
    std::thread user([&] {
      wrong += work();
      step = 1;
      while (step != 2) {
        std::this_thread::yield();
      }
    });
    while (step != 1) {
      std::this_thread::yield();
    }
    wrong += work();
    const pid_t child = ::fork();
    if (child == 0) {
      ::alarm(60);
      ::_exit(work());
    }
    int how = 1;
    ::waitpid(child, &how, 0);
    ::dlclose(library);
    step = 2;
    user.join();
    if (wrong != 0 || how != 0) {
      std::fprintf(stderr, "round %d: %d wrong, child %d\n", round, wrong.load(), how);
      return 1;
    }
  }
  return 0;
}
