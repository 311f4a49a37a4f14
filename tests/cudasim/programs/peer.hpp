// SPDX-License-Identifier: Apache-2.0
//
// A second process for tests: the test program starts itself again and runs one disabled test
// there. Both sides talk over a channel, which ends when one of them does, so that nobody waits for
// what never comes. The program is started and not forked, as CUDA cannot be used after a fork.
#pragma once

#include <cuda_runtime.h>
#include <gtest/gtest.h>

#include <fcntl.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <initializer_list>
#include <stdexcept>
#include <string>
#include <vector>

class channel {
 public:
  explicit channel(int socket) : socket_(socket) {}
  channel(const channel&) = delete;
  channel& operator=(const channel&) = delete;
  ~channel() { close(); }
  void close() {
    if (socket_ >= 0) {
      ::close(socket_);
    }
    socket_ = -1;
  }

  template <class T>
  void send(const T& value) const {
    check(::send(socket_, &value, sizeof value, MSG_NOSIGNAL) == sizeof value, "send");
  }
  template <class T>
  T receive() const {
    T value;
    check(::recv(socket_, &value, sizeof value, 0) == sizeof value, "receive");
    return value;
  }
  // A word that says: you may go on.
  void signal() const { send(char{1}); }
  void await() const { receive<char>(); }

  void send_descriptor(int descriptor) const {
    packet made;
    made.header.msg_controllen = sizeof made.control;
    cmsghdr* const part = CMSG_FIRSTHDR(&made.header);
    part->cmsg_level = SOL_SOCKET;
    part->cmsg_type = SCM_RIGHTS;
    part->cmsg_len = CMSG_LEN(sizeof descriptor);
    std::memcpy(CMSG_DATA(part), &descriptor, sizeof descriptor);
    check(sendmsg(socket_, &made.header, MSG_NOSIGNAL) == 1, "send a descriptor");
  }
  int receive_descriptor() const {
    packet made;
    made.header.msg_controllen = sizeof made.control;
    check(recvmsg(socket_, &made.header, MSG_CMSG_CLOEXEC) == 1, "receive a descriptor");
    const cmsghdr* const part = CMSG_FIRSTHDR(&made.header);
    check(part != nullptr && part->cmsg_type == SCM_RIGHTS, "find a descriptor");
    int descriptor = -1;
    std::memcpy(&descriptor, CMSG_DATA(part), sizeof descriptor);
    return descriptor;
  }

 private:
  struct packet {
    char byte = 0;
    iovec data{&byte, 1};
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
    msghdr header{};
    packet() {
      header.msg_iov = &data;
      header.msg_iovlen = 1;
      header.msg_control = control;
    }
  };
  static void check(bool holds, const char* what) {
    if (!holds) {
      throw std::runtime_error(std::string("the other process is gone: cannot ") + what);
    }
  }
  int socket_;
};

// Where a test that runs in the second process finds its channel.
inline constexpr int channel_descriptor = 100;

// Fixtures of the first process' tests, and of those that it runs in the second.
class first_process : public ::testing::Test {
 protected:
  ~first_process() override { cudaGetLastError(); }
};
class second_process : public first_process {
 protected:
  const channel parent{channel_descriptor};
};

class peer : public channel {
 public:
  // Runs the test DISABLED_<name>; settings are A=b of its environment.
  explicit peer(const std::string& name, std::initializer_list<std::string> settings = {})
      : peer(make_sockets(), name, settings) {}
  ~peer() { join(); }
  pid_t process() const { return process_; }

  // Waits for the process, whose test must have succeeded and have left no report.
  void join() {
    close();
    if (process_ > 0) {
      int status = 0;
      EXPECT_EQ(waitpid(process_, &status, 0), process_);
      EXPECT_TRUE(WIFEXITED(status));
      EXPECT_EQ(WEXITSTATUS(status), 0) << "in the second process";
      process_ = 0;
    }
  }

 private:
  struct sockets {
    int here;
    int there;
  };
  static sockets make_sockets() {
    int both[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, both) != 0) {
      throw std::runtime_error("no sockets");
    }
    return {both[0], both[1]};
  }
  peer(sockets both, const std::string& name, std::initializer_list<std::string> settings)
      : channel(both.here) {
    std::string filter = "--gtest_filter=*.DISABLED_" + name;
    std::string program = "/proc/self/exe";
    std::string with_disabled = "--gtest_also_run_disabled_tests";
    char* const arguments[] = {program.data(), filter.data(), with_disabled.data(), nullptr};
    std::vector<std::string> texts(settings);
    for (char** each = environ; *each != nullptr; ++each) {
      if (std::strncmp(*each, "GTEST_", 6) != 0) {  // the test runs once
        texts.emplace_back(*each);
      }
    }
    std::vector<char*> environment;
    for (std::string& text : texts) {
      environment.push_back(text.data());
    }
    environment.push_back(nullptr);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, both.there, channel_descriptor);
    EXPECT_EQ(
        posix_spawn(&process_, program.c_str(), &actions, nullptr, arguments, environment.data()),
        0);
    posix_spawn_file_actions_destroy(&actions);
    ::close(both.there);
  }
  pid_t process_ = 0;
};
