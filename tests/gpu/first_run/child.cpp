// SPDX-License-Identifier: Apache-2.0
//
// run_child: fork and exec of /proc/self/exe, so that a probe inherits nothing of CUDA.
#include "child.hpp"

#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <csignal>

namespace tidepool::first_run {

child_end run_child(const std::string& probe_name, double limit_seconds) {
  using clock = std::chrono::steady_clock;
  child_end end;
  std::array<int, 2> ends{};
  if (::pipe(ends.data()) != 0) {
    end.status = 127;
    return end;
  }
  const auto begin = clock::now();
  const pid_t child = ::fork();
  if (child == 0) {
    static_cast<void>(::setpgid(0, 0));
    static_cast<void>(::dup2(ends[1], STDOUT_FILENO));
    static_cast<void>(::close(ends[0]));
    static_cast<void>(::close(ends[1]));
    static_cast<void>(::execl("/proc/self/exe", "first_run", "--probe", probe_name.c_str(),
                              static_cast<char*>(nullptr)));
    ::_exit(127);
  }
  static_cast<void>(::close(ends[1]));
  const auto seconds = [&] { return std::chrono::duration<double>(clock::now() - begin).count(); };
  // The pipe ends with the child and what it has started.
  for (bool is_open = child > 0; is_open;) {
    const double left = limit_seconds - seconds();
    pollfd wanted{ends[0], POLLIN, 0};
    const int ready = left <= 0 ? 0 : ::poll(&wanted, 1, static_cast<int>(left * 1000) + 1);
    if (ready == 0) {
      end.is_hang = true;
      static_cast<void>(::kill(-child, SIGKILL));
      break;
    }
    std::array<char, 4096> some{};
    const ssize_t n = ::read(ends[0], some.data(), some.size());
    is_open = n > 0;
    end.printed.append(some.data(), n > 0 ? static_cast<std::size_t>(n) : 0);
  }
  int how = 0;
  static_cast<void>(::waitpid(child, &how, 0));
  static_cast<void>(::close(ends[0]));
  end.seconds = seconds();
  end.signal = WIFSIGNALED(how) && !end.is_hang ? WTERMSIG(how) : 0;
  end.status = WIFEXITED(how) ? WEXITSTATUS(how) : 0;
  return end;
}

}  // namespace tidepool::first_run
