// SPDX-License-Identifier: Apache-2.0
//
// Callbacks of the C interface: misuse handler, observer, release of adopted memory, placement.
#include "support.hpp"

#include <atomic>
#include <thread>

namespace {

struct seen {
  std::atomic<int> allocations{0};
  std::atomic<int> frees{0};
  std::atomic<int> failures{0};
  tidepool_tensor_info last{};
  tidepool_failure failure{};
};

void on_allocate(const tidepool_tensor_info* made, void* context) {
  static_cast<seen*>(context)->last = *made;
  ++static_cast<seen*>(context)->allocations;
}
void on_free(const tidepool_tensor_info* ending, void* context) {
  static_cast<seen*>(context)->last = *ending;
  ++static_cast<seen*>(context)->frees;
}
void on_failure(const tidepool_failure* why, void* context) {
  static_cast<seen*>(context)->failure = *why;
  ++static_cast<seen*>(context)->failures;
}

class CApiCallbacks : public c_api_pool {
 protected:
  [[nodiscard]] tidepool_observer observer() {
    auto made = sized<tidepool_observer>();
    made.on_allocate = on_allocate;
    made.on_free = on_free;
    made.on_failure = on_failure;
    made.context = &events;
    return made;
  }
  seen events;
};

TEST_F(CApiCallbacks, MisuseIsReportedWithItsKind) {
  const tidepool_tensor made = allocate(64);
  free(made.id);
  EXPECT_EQ(tidepool_deallocate(pool, made.id), TIDEPOOL_STALE_ID);
  EXPECT_EQ(tidepool_deallocate(pool, 12345), TIDEPOOL_STALE_ID);
  const tidepool_tensor pinned = allocate(64);
  EXPECT_EQ(tidepool_unpin(pool, pinned.id), TIDEPOOL_INVALID_ARGUMENT);
  free(pinned.id);
  ASSERT_EQ(misuses.size(), 3U);
  const std::uint32_t kinds[] = {TIDEPOOL_MISUSE_STALE_FREE, TIDEPOOL_MISUSE_FOREIGN_ID,
                                 TIDEPOOL_MISUSE_UNBALANCED};
  const tidepool_tensor_id ids[] = {made.id, 12345, pinned.id};
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(misuses[i].kind, kinds[i]) << i;
    EXPECT_EQ(misuses[i].id, ids[i]) << i;
    EXPECT_EQ(misuses[i].count, i + 1);
    EXPECT_EQ(misuses[i].size, sizeof(tidepool_misuse_report));
    EXPECT_GT(std::strlen(misuses[i].text), 10U);
  }
}

TEST_F(CApiCallbacks, AnObserverSeesAllocationsFreesAndFailures) {
  const tidepool_observer calls = observer();
  ASSERT_EQ(tidepool_set_observer(pool, &calls), TIDEPOOL_OK);
  const tidepool_tensor made = allocate(300);
  EXPECT_EQ(events.allocations, 1);
  EXPECT_EQ(events.last.size, sizeof(tidepool_tensor_info));
  EXPECT_EQ(events.last.id, made.id);
  EXPECT_EQ(events.last.data, made.data);
  EXPECT_EQ(events.last.bytes, 300U);
  EXPECT_EQ(events.last.where, cpu);
  events.last = {};
  free(made.id);
  EXPECT_EQ(events.frees, 1);
  EXPECT_EQ(events.last.id, made.id);
  tidepool_tensor out{};
  EXPECT_EQ(tidepool_allocate(pool, SIZE_MAX, cpu, nullptr, &out), TIDEPOOL_OUT_OF_MEMORY);
  EXPECT_EQ(events.failures, 1);
  EXPECT_EQ(events.failure.status, TIDEPOOL_OUT_OF_MEMORY);
  EXPECT_EQ(events.failure.requested, SIZE_MAX);
  EXPECT_EQ(events.failure.where, cpu);
  EXPECT_EQ(events.failure.size, sizeof(tidepool_failure));

  ASSERT_EQ(tidepool_set_observer(pool, nullptr), TIDEPOOL_OK);
  free(allocate(300).id);
  EXPECT_EQ(events.allocations, 1);
  EXPECT_EQ(events.frees, 1);
}

TEST_F(CApiCallbacks, CallbacksOfAnObserverAreOptional) {
  const auto nothing = sized<tidepool_observer>();
  ASSERT_EQ(tidepool_set_observer(pool, &nothing), TIDEPOOL_OK);
  free(allocate(300).id);
  tidepool_tensor out{};
  EXPECT_EQ(tidepool_allocate(pool, 8, tidepool_device_cuda(0), nullptr, &out),
            TIDEPOOL_UNKNOWN_DEVICE);
  ASSERT_EQ(tidepool_set_observer(pool, nullptr), TIDEPOOL_OK);
}

// The struct of callbacks is copied, and a detached observer stays valid for calls under way.
TEST_F(CApiCallbacks, ObserversComeAndGoWhileOthersAllocate) {
  std::atomic<bool> stop{false};
  std::thread worker([&] {
    while (!stop) {
      tidepool_tensor made{};
      ASSERT_EQ(tidepool_allocate(pool, 128, cpu, nullptr, &made), TIDEPOOL_OK);
      ASSERT_EQ(tidepool_deallocate(pool, made.id), TIDEPOOL_OK);
    }
  });
  seen counted;
  for (int i = 0; i < 200; ++i) {
    auto calls = sized<tidepool_observer>();
    calls.on_allocate = [](const tidepool_tensor_info*, void* context) {
      ++static_cast<seen*>(context)->allocations;
    };
    calls.context = &counted;
    ASSERT_EQ(tidepool_set_observer(pool, &calls), TIDEPOOL_OK);
    calls = {};
    std::this_thread::yield();
  }
  while (counted.allocations == 0) {
    std::this_thread::yield();
  }
  stop = true;
  worker.join();
  EXPECT_EQ(tidepool_set_observer(pool, nullptr), TIDEPOOL_OK);
}

struct released {
  void* data = nullptr;
  std::size_t bytes = 0;
  int times = 0;
};
void on_release(void* data, std::size_t bytes, void* context) {
  auto* const to = static_cast<released*>(context);
  *to = {data, bytes, to->times + 1};
}

TEST_F(CApiCallbacks, AdoptedMemoryIsReleasedOnceWithItsLastReference) {
  char memory[100];
  released done;
  auto options = sized<tidepool_adopt_options>();
  options.release = on_release;
  options.context = &done;
  options.key = 3;
  options.lifecycle = TIDEPOOL_LIFECYCLE_INACTIVE;
  options.tracked = 1;
  ASSERT_EQ(tidepool_intern(pool, "mapped file", &options.name), TIDEPOOL_OK);
  tidepool_tensor made{};
  ASSERT_EQ(tidepool_adopt(pool, memory, sizeof memory, cpu, &options, &made), TIDEPOOL_OK);
  EXPECT_EQ(made.data, memory);
  const tidepool_tensor_info about = info(made.id);
  EXPECT_EQ(about.flags, TIDEPOOL_FLAG_ADOPTED | TIDEPOOL_FLAG_KEYED | TIDEPOOL_FLAG_TRACKED);
  EXPECT_EQ(about.category, TIDEPOOL_CATEGORY_OTHER) << "the default of foreign memory";
  EXPECT_EQ(about.lifecycle, TIDEPOOL_LIFECYCLE_INACTIVE);
  EXPECT_EQ(about.name, options.name);
  EXPECT_EQ(about.key, 3U);
  tidepool_tensor part{};
  ASSERT_EQ(tidepool_slice(pool, made.id, 10, 20, &part), TIDEPOOL_OK);
  free(made.id);
  EXPECT_EQ(done.times, 0) << "a slice still uses it";
  free(part.id);
  EXPECT_EQ(done.times, 1);
  EXPECT_EQ(done.data, memory);
  EXPECT_EQ(done.bytes, sizeof memory);
}

TEST_F(CApiCallbacks, ARefusedAdoptionReleasesNothing) {
  char memory[8];
  released done;
  auto options = sized<tidepool_adopt_options>();
  options.release = on_release;
  options.context = &done;
  tidepool_tensor made{};
  EXPECT_EQ(tidepool_adopt(pool, memory, 8, tidepool_device_cuda(0), &options, &made),
            TIDEPOOL_UNKNOWN_DEVICE);
  options.lifecycle = 99;
  EXPECT_EQ(tidepool_adopt(pool, memory, 8, cpu, &options, &made), TIDEPOOL_INVALID_ARGUMENT);
  EXPECT_EQ(done.times, 0);
}

struct placed {
  std::size_t bytes = 0;
  tidepool_allocation_options options{};
  tidepool_device answer = 0;
};
tidepool_device place(std::size_t bytes, const tidepool_allocation_options* options,
                      void* context) {
  auto* const to = static_cast<placed*>(context);
  to->bytes = bytes;
  to->options = *options;
  return to->answer;
}

TEST_F(CApiCallbacks, APlacementPolicyChoosesAndSeesTheRequest) {
  placed request{.answer = cpu};
  auto options = sized<tidepool_pool_options>();
  options.placement = place;
  options.placement_context = &request;
  tidepool_pool* const placing = make(&options);
  auto wanted = sized<tidepool_allocation_options>();
  wanted.category = TIDEPOOL_CATEGORY_WEIGHT;
  wanted.lifecycle = TIDEPOOL_LIFECYCLE_INACTIVE;
  wanted.key = 8;
  wanted.alignment = 128;
  tidepool_tensor made{};
  const tidepool_device automatic = tidepool_device_automatic();
  ASSERT_EQ(tidepool_allocate(placing, 999, automatic, &wanted, &made), TIDEPOOL_OK);
  EXPECT_EQ(request.bytes, 999U);
  EXPECT_EQ(request.options.size, sizeof wanted);
  EXPECT_EQ(request.options.category, TIDEPOOL_CATEGORY_WEIGHT);
  EXPECT_EQ(request.options.lifecycle, TIDEPOOL_LIFECYCLE_INACTIVE);
  EXPECT_EQ(request.options.key, 8U);
  EXPECT_EQ(request.options.alignment, 128U);
  EXPECT_EQ(tidepool_deallocate(placing, made.id), TIDEPOOL_OK);
  request.answer = tidepool_device_cuda(0);
  EXPECT_EQ(tidepool_allocate(placing, 999, automatic, &wanted, &made), TIDEPOOL_UNKNOWN_DEVICE);
  tidepool_pool_destroy(placing);
}

}  // namespace
