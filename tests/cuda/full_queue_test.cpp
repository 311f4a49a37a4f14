// SPDX-License-Identifier: Apache-2.0
//
// A stream whose queue is full: whoever enqueues more waits until work is done. At its head is a
// host function that needs the pool. So the pool holds no lock while it enqueues; else the call
// would wait for a function that waits for the lock. A hang ends the process.
#include "pool_support.hpp"

#include <unistd.h>

#include <functional>

namespace tidepool::test {
namespace {

constexpr unsigned limit = 32;
constexpr unsigned usual_limit = 1024;
constexpr unsigned seconds_to_hang = 60;

/// What a host function does with the pool. The driver refuses calls of its own there, so the
/// second allocation may be refused too.
struct user {
  pool* p;
  tensor held;
  stream_ref stream;
  bool was_called = false;
};
void use(void* data) {
  auto& of = *static_cast<user*>(data);
  of.held.reset();
  (void)of.p->try_allocate(3 * mib, device::cuda(0), {.stream = of.stream});
  of.was_called = true;
}

struct enqueuing_call {
  const char* name;
  std::function<void(pool&, const pool_stream& full, const pool_stream& other)> act;
};

void allocate(pool& p, const pool_stream& on) {
  const tensor first = p.allocate(3 * mib, device::cuda(0), {.stream = on.raw()});
  const tensor second = p.allocate(3 * mib, device::cuda(0), {.stream = on.raw()});
}

const std::vector<enqueuing_call>& enqueuing_calls() {
  static const std::vector<enqueuing_call> all{
      {"FullStreamAllocates",
       [](pool& p, const pool_stream& full, const pool_stream&) { allocate(p, full); }},
      {"OtherStreamAllocates",
       [](pool& p, const pool_stream&, const pool_stream& other) { allocate(p, other); }},
      {"Trim", [](pool& p, const pool_stream&, const pool_stream&) { (void)p.control().trim(); }},
      {"Tick", [](pool& p, const pool_stream&, const pool_stream&) { p.control().tick(); }},
      {"Retire",
       [](pool& p, const pool_stream& full, const pool_stream&) {
         EXPECT_EQ(p.retire(device::cuda(0), full.raw()), errc::ok);
       }},
      {"Synchronise",
       [](pool& p, const pool_stream& full, const pool_stream&) {
         EXPECT_TRUE(p.synchronise(device::cuda(0), full.raw()).ok());
       }},
  };
  return all;
}

class FullQueue : public CudaPool, public ::testing::WithParamInterface<enqueuing_call> {
 protected:
  void run(bool uses_full_stream) {
    const wrong_words scratch;
    const pool_stream full(*p);
    const pool_stream other(*p);
    const pool_stream third(*p);
    const stream_ref used = uses_full_stream ? full.raw() : third.raw();
    tensor of_full = p->allocate(3 * mib, gpu, {.stream = full.raw()});
    tensor of_other = p->allocate(3 * mib, gpu, {.stream = other.raw()});
    user head{p.get(), p->allocate(3 * mib, gpu, {.stream = used}), used};
    // Nothing else is free, and nothing more can be had.
    (void)p->control().set_limits(gpu, {.hard = p->control().memory(gpu).reserved_bytes});
    std::vector<tensor> rest;
    while (result<tensor> more = p->try_allocate(mib, gpu, {.stream = third.raw()})) {
      rest.push_back(std::move(*more));
    }
    cudasim_set_pending_limit(limit);
    expect_success(cudaLaunchHostFunc(full.get(), use, &head));
    while (cudasim_pending(full.get()) != 0 && cudasim_pending(full.get()) != limit) {
      expect_success(cudaMemsetAsync(scratch.get(), 0, sizeof(unsigned), full.get()));
    }
    fill(block_of(of_other), 1, other.get());
    of_full.reset();
    of_other.reset();
    (void)alarm(seconds_to_hang);
    GetParam().act(*p, full, other);
    (void)alarm(0);
    expect_success(cudaStreamSynchronize(full.get()));
    EXPECT_TRUE(head.was_called);
    cudasim_set_pending_limit(usual_limit);
    (void)p->control().set_limits(gpu, {});
  }
};

TEST_P(FullQueue, WhoseHeadUsesThePoolGoesOn) {
  if (cudasim_is_present() == 0) {
    GTEST_SKIP() << "cudasim only: how much a driver's queue holds is not known";
  }
  for (const bool uses_full_stream : {true, false}) {
    SCOPED_TRACE(uses_full_stream ? "the head uses its own stream" : "the head uses another one");
    run(uses_full_stream);
  }
}

INSTANTIATE_TEST_SUITE_P(Calls, FullQueue, ::testing::ValuesIn(enqueuing_calls()),
                         [](const ::testing::TestParamInfo<enqueuing_call>& about) {
                           return std::string(about.param.name);
                         });

}  // namespace
}  // namespace tidepool::test
