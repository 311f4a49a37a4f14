// SPDX-License-Identifier: Apache-2.0
//
// How much later work of another stream a hand-over waits for.
#include "support.hpp"

#include <array>
#include <utility>

namespace tidepool::test {
namespace {

// What b gets was freed long before a's latest work. The simulator runs streams in any order that
// their waits allow, so with some seed b is first, if it does not wait for that work. All of the
// budget is in use but for the first block and one in which the later work is done.
class LaterWork : public CudaBackend {
 protected:
  /// True: b's work was done before the latest of a.
  [[nodiscard]] bool is_passed(std::size_t bytes, unsigned frees) {
    const test_stream a(*tested, 1);
    const test_stream b(*tested, 2);
    const block first = make_large(16 * mib, a.ref());
    const block room = make_large(12 * mib, a.ref());
    std::array rest{make_large(36 * mib, a.ref()), make_large(31 * mib, b.ref())};
    give_back(make_large(1 * mib, b.ref()), b.ref());
    keep_busy(first, a.get());
    give_back(first, a.ref());
    give_back(room, a.ref());
    for (unsigned i = 0; i != frees; ++i) {
      const block what = make_large(bytes, a.ref());
      EXPECT_EQ(what.data, room.data);
      fill(what, i, a.get());
      give_back(what, a.ref());
    }
    struct {
      bool is_a_done = false;
      bool is_passed = false;
    } seen;
    using type = decltype(seen);
    expect_success(cudaLaunchHostFunc(
        a.get(), [](void* at) { static_cast<type*>(at)->is_a_done = true; }, &seen));
    give_back(make_large(4 * mib, a.ref()), a.ref());
    const block second = make_large(16 * mib, b.ref());
    EXPECT_EQ(second.data, first.data);
    fill(second, 2, b.get());
    expect_success(cudaLaunchHostFunc(
        b.get(),
        [](void* at) { static_cast<type*>(at)->is_passed = !static_cast<type*>(at)->is_a_done; },
        &seen));
    b.wait();
    a.wait();
    give_back(second, b.ref());
    tested->take_back(where, rest, b.ref());
    b.wait();
    (void)tested->trim(where, 0);
    return seen.is_passed;
  }
};

TEST_F(LaterWork, IsNotWaitedForBeyondTheBoundsOfEarlyEvents) {
  if (cudasim_is_present() == 0) {
    GTEST_SKIP() << "needs the simulator's order of streams";
  }
  host.limit = 96 * mib;
  for (const auto& [bytes, frees] : {std::pair{64 * kib, 33U}, std::pair{11 * mib, 4U}}) {
    unsigned passed = 0;
    for (unsigned seed = 1; seed != 33; ++seed) {
      cudasim_set_seed(seed);
      passed += is_passed(bytes, frees) ? 1 : 0;
    }
    cudasim_set_seed(0);
    EXPECT_GT(passed, 0U) << frees << " frees of " << bytes << " bytes later";
  }
}

}  // namespace
}  // namespace tidepool::test
