// SPDX-License-Identifier: Apache-2.0
//
// Pools through the C interface: who owns a backend, options, closing, devices, memory, statistics.
#include "support.hpp"
#include <tidepool/c_interop.hpp>

#include <cstdlib>
#include <memory>
#include <span>
#include <thread>

namespace {

// Counts its destructions; allocates nothing.
class counted_backend final : public tidepool::backend {
 public:
  counted_backend(int& destroyed, std::uint16_t ordinal)
      : description_{.where = tidepool::device::user(ordinal),
                     .name = "a name that is much longer than the sixty-three letters that C has"},
        destroyed_(destroyed) {}
  counted_backend(const counted_backend&) = delete;
  counted_backend& operator=(const counted_backend&) = delete;
  ~counted_backend() override { ++destroyed_; }
  [[nodiscard]] std::span<const tidepool::device_description> devices() const noexcept override {
    return {&description_, 1};
  }
  void attach(tidepool::backend_host&) noexcept override {}
  [[nodiscard]] refill_result refill(const tidepool::block_request&,
                                     std::span<tidepool::block>) noexcept override {
    return {.count = 0, .why = {.code = tidepool::errc::device_lost, .native = 5}};
  }
  [[nodiscard]] tidepool::result<tidepool::block> allocate_large(
      const tidepool::block_request&) noexcept override {
    return tidepool::errc::device_lost;
  }
  void take_back(tidepool::device, std::span<const tidepool::block>,
                 tidepool::stream_ref) noexcept override {}
  std::size_t trim(tidepool::device, std::size_t) noexcept override { return 0; }
  [[nodiscard]] tidepool::memory_info memory(tidepool::device) const noexcept override {
    return {};
  }

 private:
  const tidepool::device_description description_;
  int& destroyed_;
};

class CApiPool : public c_api_pool {
 protected:
  [[nodiscard]] tidepool_backend* counted(std::uint16_t ordinal) {
    return tidepool::to_c(std::make_unique<counted_backend>(destroyed, ordinal));
  }
  int destroyed = 0;
};

TEST_F(CApiPool, ABackendWithoutAPoolIsDestroyedByItsOwner) {
  tidepool_backend_destroy(counted(0));
  EXPECT_EQ(destroyed, 1);
}

TEST_F(CApiPool, BackendsBelongToThePoolAlsoWhenMakingItFails) {
  tidepool_pool* made = nullptr;
  tidepool_backend* two[] = {counted(0), counted(1)};
  ASSERT_EQ(tidepool_pool_create(two, 2, nullptr, &made), TIDEPOOL_OK);
  EXPECT_EQ(tidepool_device_count(made), 2U);
  EXPECT_EQ(destroyed, 0);
  tidepool_pool_destroy(made);
  EXPECT_EQ(destroyed, 2);

  tidepool_backend* same_device[] = {counted(0), counted(0)};
  EXPECT_EQ(tidepool_pool_create(same_device, 2, nullptr, &made), TIDEPOOL_INVALID_ARGUMENT);
  EXPECT_EQ(destroyed, 4);
  EXPECT_EQ(made, nullptr);

  tidepool_backend* const one = counted(0);
  tidepool_backend* twice[] = {one, one, nullptr, one};
  EXPECT_EQ(tidepool_pool_create(twice, 4, nullptr, &made), TIDEPOOL_INVALID_ARGUMENT);
  EXPECT_EQ(destroyed, 5) << "destroyed once, not three times";

  tidepool_backend* with_null[] = {counted(0), nullptr};
  EXPECT_EQ(tidepool_pool_create(with_null, 2, nullptr, &made), TIDEPOOL_INVALID_ARGUMENT);
  EXPECT_EQ(destroyed, 6);

  const tidepool_pool_options bad{};  // size 0
  tidepool_backend* alone = counted(0);
  EXPECT_EQ(tidepool_pool_create(&alone, 1, &bad, &made), TIDEPOOL_INVALID_ARGUMENT);
  EXPECT_EQ(destroyed, 7);
  alone = counted(0);
  EXPECT_EQ(tidepool_pool_create(&alone, 1, nullptr, nullptr), TIDEPOOL_INVALID_ARGUMENT);
  EXPECT_EQ(destroyed, 8);
  EXPECT_EQ(tidepool_pool_create(&alone, 0, nullptr, &made), TIDEPOOL_INVALID_ARGUMENT);
  EXPECT_EQ(destroyed, 8) << "a count of 0 gives nothing away";
}

TEST_F(CApiPool, ErrorsOfABackendComeThrough) {
  tidepool_pool* made = nullptr;
  tidepool_backend* backend = counted(0);
  ASSERT_EQ(tidepool_pool_create(&backend, 1, nullptr, &made), TIDEPOOL_OK);
  tidepool_tensor out{};
  EXPECT_EQ(tidepool_allocate(made, 64, tidepool_device_user(0), nullptr, &out),
            TIDEPOOL_DEVICE_LOST);
  auto description = sized<tidepool_device_description>();
  ASSERT_EQ(tidepool_describe_device(made, 0, &description), TIDEPOOL_OK);
  EXPECT_EQ(std::strlen(description.name), sizeof description.name - 1) << "cut, with its zero";
  tidepool_pool_destroy(made);
}

TEST_F(CApiPool, OptionsOfTheCpuBackendAreChecked) {
  tidepool_backend* backend = nullptr;
  const auto answer = [&](auto change) {
    auto options = sized<tidepool_cpu_backend_options>();
    change(options);
    const tidepool_status made = tidepool_cpu_backend_create(&options, &backend);
    EXPECT_EQ(backend != nullptr, made == TIDEPOOL_OK);
    tidepool_backend_destroy(backend);
    return made;
  };
  EXPECT_EQ(answer([](auto&) {}), TIDEPOOL_OK);
  EXPECT_EQ(answer([](auto& o) { o.arena_bytes = std::size_t{1} << 30; }), TIDEPOOL_OK);
  EXPECT_EQ(answer([](auto& o) { o.decay_ticks = TIDEPOOL_CPU_NO_DECAY; }), TIDEPOOL_OK);
  EXPECT_EQ(answer([](auto& o) { o.huge_pages = TIDEPOOL_CPU_HUGE_PAGES_NEVER; }), TIDEPOOL_OK);
  EXPECT_EQ(answer([](auto& o) { o.huge_pages = 3; }), TIDEPOOL_INVALID_ARGUMENT);
  EXPECT_EQ(answer([](auto& o) { o.huge_pages = 257; }), TIDEPOOL_INVALID_ARGUMENT);
  EXPECT_EQ(answer([](auto& o) { o.numa_node = 1; }), TIDEPOOL_INVALID_ARGUMENT);
  EXPECT_EQ(answer([](auto& o) {
              o.on_one_node = 1;
              o.numa_node = 256;
            }),
            TIDEPOOL_INVALID_ARGUMENT);
  EXPECT_EQ(answer([](auto& o) {
              o.on_one_node = 1;
              o.numa_node = 254;
            }),
            TIDEPOOL_UNKNOWN_DEVICE);
}

TEST_F(CApiPool, FaultsOfTheCpuBackendAreOrdered) {
  const auto make_with = [](auto change) {
    auto options = sized<tidepool_cpu_backend_options>();
    options.huge_pages = TIDEPOOL_CPU_HUGE_PAGES_NEVER;
    change(options);
    tidepool_backend* backend = nullptr;
    EXPECT_EQ(tidepool_cpu_backend_create(&options, &backend), TIDEPOOL_OK) << last_error();
    tidepool_pool* made = nullptr;
    EXPECT_EQ(tidepool_pool_create(&backend, 1, nullptr, &made), TIDEPOOL_OK) << last_error();
    return made;
  };
  tidepool_tensor out{};
  tidepool_pool* small = make_with([](auto& o) { o.exhaust_at = std::size_t{1} << 20; });
  EXPECT_EQ(tidepool_allocate(small, std::size_t{4} << 20, cpu, nullptr, &out),
            TIDEPOOL_OUT_OF_MEMORY);
  EXPECT_EQ(tidepool_allocate(small, 1000, cpu, nullptr, &out), TIDEPOOL_OK);
  EXPECT_EQ(tidepool_deallocate(small, out.id), TIDEPOOL_OK);
  tidepool_pool_destroy(small);

  // The first call, alone or with all others, is one that the making cannot do without.
  for (const bool every : {false, true}) {
    auto options = sized<tidepool_cpu_backend_options>();
    (every ? options.fail_every : options.fail_call) = 1;
    auto* backend = reinterpret_cast<tidepool_backend*>(&options);
    EXPECT_EQ(tidepool_cpu_backend_create(&options, &backend), TIDEPOOL_OUT_OF_MEMORY) << every;
    EXPECT_EQ(backend, nullptr);
  }
}

// Memory that stayed free goes back after some ticks, and by nothing else.
TEST_F(CApiPool, ATickerTicks) {
  auto options = sized<tidepool_pool_options>();
  options.thread_cache_bytes = TIDEPOOL_NOTHING;
  tidepool_pool* const made = make(&options);
  tidepool_ticker* slow = nullptr;
  ASSERT_EQ(tidepool_ticker_create(made, UINT32_MAX, &slow), TIDEPOOL_OK);
  tidepool_ticker_destroy(slow);  // at once
  tidepool_ticker* usual = nullptr;
  ASSERT_EQ(tidepool_ticker_create(made, 0, &usual), TIDEPOOL_OK);
  tidepool_ticker_destroy(usual);
  tidepool_ticker* ticker = nullptr;
  ASSERT_EQ(tidepool_ticker_create(made, 1, &ticker), TIDEPOOL_OK);
  tidepool_tensor out{};
  ASSERT_EQ(tidepool_allocate(made, std::size_t{4} << 20, cpu, nullptr, &out), TIDEPOOL_OK);
  ASSERT_EQ(tidepool_deallocate(made, out.id), TIDEPOOL_OK);
  auto memory = sized<tidepool_memory_info>();
  do {
    ASSERT_EQ(tidepool_memory(made, cpu, &memory), TIDEPOOL_OK);
  } while (memory.reserved_bytes != 0);
  tidepool_ticker_destroy(ticker);
  tidepool_pool_destroy(made);
}

TEST_F(CApiPool, ABackendOfOneNodeServesThatNode) {
  auto options = sized<tidepool_cpu_backend_options>();
  options.on_one_node = 1;
  tidepool_backend* backend = nullptr;
  if (tidepool_cpu_backend_create(&options, &backend) == TIDEPOOL_UNKNOWN_DEVICE) {
    GTEST_SKIP() << last_error();
  }
  tidepool_pool* made = nullptr;
  ASSERT_EQ(tidepool_pool_create(&backend, 1, nullptr, &made), TIDEPOOL_OK);
  auto description = sized<tidepool_device_description>();
  ASSERT_EQ(tidepool_describe_device(made, 0, &description), TIDEPOOL_OK);
  EXPECT_EQ(description.where, tidepool_device_cpu_node(0));
  tidepool_pool_destroy(made);
}

TEST_F(CApiPool, PoolOptionsAreReadZeroMeansTheDefault) {
  auto options = sized<tidepool_pool_options>();
  options.max_tensors = 1;  // rounded up to 4096
  options.thread_cache_bytes = TIDEPOOL_NOTHING;
  tidepool_pool* const small = make(&options);
  std::vector<tidepool_tensor> out(4097);
  EXPECT_EQ(tidepool_allocate_n(small, 0, cpu, nullptr, out.data(), 4097), TIDEPOOL_TOO_MANY);
  EXPECT_EQ(out[0].id, 0U) << "all or none";
  auto sums = sized<tidepool_statistics>();
  EXPECT_EQ(tidepool_allocate(small, 64, cpu, nullptr, out.data()), TIDEPOOL_OK);
  EXPECT_EQ(tidepool_deallocate(small, out[0].id), TIDEPOOL_OK);
  EXPECT_EQ(tidepool_statistics_read(small, cpu, &sums), TIDEPOOL_OK);
  EXPECT_EQ(sums.threads, 0U) << "TIDEPOOL_NOTHING: threads keep nothing";
  tidepool_pool_destroy(small);

  const auto refused = [&](auto change) {
    auto wrong = sized<tidepool_pool_options>();
    change(wrong);
    tidepool_backend* backend = host_memory();
    tidepool_pool* made = nullptr;
    EXPECT_EQ(tidepool_pool_create(&backend, 1, &wrong, &made), TIDEPOOL_INVALID_ARGUMENT);
  };
  refused([](auto& o) { o.minimum_alignment = 3; });
  EXPECT_NE(last_error().find("minimum_alignment"), std::string::npos) << last_error();
  refused([](auto& o) { o.max_tensors = SIZE_MAX; });
  refused([](auto& o) { o.max_cached_lanes = 4097; });
}

TEST_F(CApiPool, StatisticsSayWhetherOperationsFence) {
  ::setenv("TIDEPOOL", "no_membarrier", 1);
  tidepool_pool* const fenced = make(nullptr);
  ::unsetenv("TIDEPOOL");
  auto sums = sized<tidepool_statistics>();
  EXPECT_EQ(tidepool_statistics_read(fenced, cpu, &sums), TIDEPOOL_OK);
  EXPECT_EQ(sums.has_fences, 1U);
  tidepool_pool_destroy(fenced);
}

TEST_F(CApiPool, AClosedPoolFreesAndAllocatesNothing) {
  const tidepool_tensor made = allocate(64);
  std::size_t live = 0;
  ASSERT_EQ(tidepool_pool_close(pool, &live), TIDEPOOL_OK);
  EXPECT_EQ(live, 1U);
  tidepool_tensor out{};
  EXPECT_EQ(tidepool_allocate(pool, 64, cpu, nullptr, &out), TIDEPOOL_CLOSED);
  EXPECT_EQ(tidepool_slice(pool, made.id, 0, 8, &out), TIDEPOOL_CLOSED);
  std::memset(made.data, 1, 64);
  free(made.id);
}

TEST_F(CApiPool, ForceEndsWhatIsAlive) {
  const tidepool_tensor made = allocate(64);
  std::size_t ended = 0;
  EXPECT_EQ(tidepool_pool_force_close(nullptr, &ended), TIDEPOOL_INVALID_ARGUMENT);
  ASSERT_EQ(tidepool_pool_close(pool, nullptr), TIDEPOOL_OK);
  ASSERT_EQ(tidepool_pool_force_close(pool, &ended), TIDEPOOL_OK);
  EXPECT_EQ(ended, 1U);
  EXPECT_EQ(tidepool_deallocate(pool, made.id), TIDEPOOL_CLOSED);
  ASSERT_EQ(tidepool_pool_force_close(pool, &ended), TIDEPOOL_OK);
  EXPECT_EQ(ended, 0U);
  ASSERT_EQ(tidepool_pool_force_close(pool, nullptr), TIDEPOOL_OK);
}

// Ids are numbers: pools whose ids nobody frees any more leave nothing behind, not even a tag.
TEST(CApiPoolByForce, LeavesNothingBehind) {
  for (int i = 0; i < 100; ++i) {
    tidepool_backend* backend = nullptr;
    ASSERT_EQ(tidepool_cpu_backend_create(nullptr, &backend), TIDEPOOL_OK);
    tidepool_pool* made = nullptr;
    ASSERT_EQ(tidepool_pool_create(&backend, 1, nullptr, &made), TIDEPOOL_OK) << i;
    tidepool_tensor kept{};
    ASSERT_EQ(tidepool_allocate(made, 64, tidepool_device_cpu(), nullptr, &kept), TIDEPOOL_OK);
    ASSERT_EQ(tidepool_pool_force_close(made, nullptr), TIDEPOOL_OK);
    tidepool_pool_destroy(made);
  }
}

TEST_F(CApiPool, DevicesAndMemoryAreDescribed) {
  EXPECT_EQ(tidepool_device_count(pool), 1U);
  auto description = sized<tidepool_device_description>();
  ASSERT_EQ(tidepool_describe_device(pool, 0, &description), TIDEPOOL_OK);
  EXPECT_EQ(description.where, cpu);
  EXPECT_EQ(description.host_accessible, 1);
  EXPECT_EQ(description.stream_ordered, 0);
  EXPECT_EQ(tidepool_describe_device(pool, 1, &description), TIDEPOOL_INVALID_ARGUMENT);

  const tidepool_tensor made = allocate(std::size_t{3} << 20);
  auto memory = sized<tidepool_memory_info>();
  ASSERT_EQ(tidepool_memory(pool, cpu, &memory), TIDEPOOL_OK);
  EXPECT_GE(memory.reserved_bytes, std::size_t{3} << 20);
  EXPECT_GE(memory.address_space_bytes, memory.reserved_bytes);
  free(made.id);
  auto trimmed = sized<tidepool_trim_report>();
  ASSERT_EQ(tidepool_trim(pool, cpu, 0, &trimmed), TIDEPOOL_OK);
  EXPECT_GE(trimmed.released_bytes, std::size_t{3} << 20);
  EXPECT_EQ(trimmed.reserved_bytes, 0U);
  EXPECT_EQ(trimmed.in_use_bytes, 0U);
  EXPECT_EQ(tidepool_trim_all(pool, 0, nullptr), TIDEPOOL_OK);
  const tidepool_device gpu = tidepool_device_cuda(0);
  EXPECT_EQ(tidepool_trim(pool, gpu, 0, nullptr), TIDEPOOL_UNKNOWN_DEVICE);
  EXPECT_EQ(tidepool_memory(pool, gpu, &memory), TIDEPOOL_UNKNOWN_DEVICE);
  EXPECT_EQ(tidepool_tick(pool), TIDEPOOL_OK);
  EXPECT_EQ(tidepool_thread_idle(pool), TIDEPOOL_OK);
}

TEST_F(CApiPool, StreamsOfAHostAreAcceptedWithoutANumber) {
  tidepool_stream stream{this, TIDEPOOL_STREAM_ORDINARY, 5};
  EXPECT_EQ(tidepool_attach(pool, cpu, &stream), TIDEPOOL_OK);
  EXPECT_EQ(stream.number, 0U);
  EXPECT_EQ(stream.handle, this);
  EXPECT_EQ(tidepool_retire(pool, cpu, stream), TIDEPOOL_OK);
  EXPECT_EQ(tidepool_attach(pool, tidepool_device_cuda(0), &stream), TIDEPOOL_UNKNOWN_DEVICE);
  EXPECT_EQ(tidepool_retire(pool, tidepool_device_cuda(0), stream), TIDEPOOL_UNKNOWN_DEVICE);
  stream.kind = 4;
  EXPECT_EQ(tidepool_attach(pool, cpu, &stream), TIDEPOOL_INVALID_ARGUMENT);
  EXPECT_EQ(tidepool_retire(pool, cpu, stream), TIDEPOOL_INVALID_ARGUMENT);
}

TEST_F(CApiPool, PrewarmedBlocksServeWithoutTheBackend) {
  const tidepool_prewarm_item items[] = {{4096, 10}, {100000, 2}};
  auto plan = sized<tidepool_prewarm_plan>();
  plan.items = items;
  plan.item_count = 2;
  plan.no_populate = 1;
  auto report = sized<tidepool_prewarm_report>();
  ASSERT_EQ(tidepool_prewarm(pool, cpu, &plan, &report), TIDEPOOL_OK);
  EXPECT_EQ(report.blocks, 12U);
  EXPECT_GE(report.bytes, 10 * 4096U + 2 * 100000U);
  EXPECT_EQ(report.populated_bytes, 0U);
  const std::uint64_t refills = statistics().refills;
  const tidepool_tensor made = allocate(4096);
  EXPECT_EQ(statistics().refills, refills);
  free(made.id);
  EXPECT_EQ(tidepool_prewarm(pool, tidepool_device_cuda(0), &plan, nullptr),
            TIDEPOOL_UNKNOWN_DEVICE);
  EXPECT_EQ(tidepool_prewarm_seed(pool, tidepool_device_cuda(0), nullptr), TIDEPOOL_UNKNOWN_DEVICE);
  auto limited = sized<tidepool_pool_options>();
  limited.limit_bytes = std::size_t{8} << 20;
  tidepool_pool* const small = make(&limited);
  EXPECT_EQ(tidepool_prewarm_seed(small, cpu, nullptr), TIDEPOOL_OVER_BUDGET) << "681 MiB";
  tidepool_pool_destroy(small);
}

TEST_F(CApiPool, StatisticsAsStructTextAndJson) {
  const tidepool_tensor made = allocate(1000);
  EXPECT_EQ(tidepool_deallocate(pool, 1), TIDEPOOL_STALE_ID);
  const tidepool_statistics sums = statistics();
  EXPECT_EQ(sums.size, sizeof sums);
  EXPECT_EQ(sums.allocations, 1U);
  EXPECT_EQ(sums.live, 1U);
  EXPECT_EQ(sums.requested_bytes, 1000U);
  EXPECT_EQ(sums.misuses, 1U);
  EXPECT_GE(sums.reserved_bytes, sums.live_bytes);
  auto of_gpu = sized<tidepool_statistics>();
  EXPECT_EQ(tidepool_statistics_read(pool, tidepool_device_cuda(0), &of_gpu),
            TIDEPOOL_UNKNOWN_DEVICE);

  std::vector<char> text(tidepool_statistics_json(pool, nullptr, 0) + 64, 'x');
  const std::size_t length = tidepool_statistics_json(pool, text.data(), text.size());
  ASSERT_LT(length, text.size());
  EXPECT_EQ(text[length], '\0');
  EXPECT_EQ(std::string(text.data()).find("{\"format_version\":1"), 0U);
  EXPECT_GT(tidepool_statistics_text(pool, text.data(), 10), 10U);
  EXPECT_EQ(text[9], '\0');
  EXPECT_STREQ(text.data(), "cpu: rese");
  free(made.id);
}

TEST_F(CApiPool, TheLastErrorIsTheThreadsOwn) {
  tidepool_tensor_id id = 0;
  EXPECT_EQ(tidepool_find_key(pool, 1, &id), TIDEPOOL_NOT_FOUND);
  std::string others = "?";
  std::thread([&] { others = last_error(); }).join();
  EXPECT_EQ(others, "");
  EXPECT_EQ(last_error(), "not found");
  char cut[5] = "xxxx";
  EXPECT_EQ(tidepool_last_error(cut, 4), 9U);
  EXPECT_STREQ(cut, "not");
}

}  // namespace
