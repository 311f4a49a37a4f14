// SPDX-License-Identifier: Apache-2.0
//
// Structs of callers that were compiled with an older or a later version of the header.
#include "support.hpp"

#include <array>
#include <memory>

namespace {

// A struct of a later version: T and one more field.
template <class T>
struct later {
  T known{};
  std::uint64_t more = 0;
};
// A struct of an older version, in memory of exactly its length: ASan sees what is read beyond it.
template <class T>
class older {
 public:
  older(const T& from, std::size_t size) : bytes_(std::make_unique<std::uint64_t[]>(size / 8)) {
    T copy = from;
    copy.size = size;
    std::memcpy(bytes_.get(), &copy, size);
  }
  [[nodiscard]] T* get() { return reinterpret_cast<T*>(bytes_.get()); }
  [[nodiscard]] T read() const {
    T copy{};
    std::size_t size = 0;
    std::memcpy(&size, bytes_.get(), sizeof size);
    std::memcpy(&copy, bytes_.get(), size);
    return copy;
  }

 private:
  std::unique_ptr<std::uint64_t[]> bytes_;
};

constexpr std::size_t wrong_sizes[] = {0, 7, 9, 20, 4104, SIZE_MAX, SIZE_MAX - 7};

class CApiStructs : public c_api_pool {
 protected:
  tidepool_status allocate_with(const tidepool_allocation_options* options) {
    tidepool_tensor made{};
    const tidepool_status answer = tidepool_allocate(pool, 100, cpu, options, &made);
    EXPECT_EQ(made.id != 0, answer == TIDEPOOL_OK);
    if (made.id != 0) {
      last = info(made.id);
      free(made.id);
    }
    return answer;
  }
  tidepool_tensor_info last{};
};

TEST_F(CApiStructs, SizesThatCannotBeAreRefused) {
  for (const std::size_t size : wrong_sizes) {
    const auto set = [&](auto made) {
      made.size = size;
      return made;
    };
    const auto options = set(tidepool_allocation_options{});
    EXPECT_EQ(allocate_with(&options), TIDEPOOL_INVALID_ARGUMENT) << size;
    EXPECT_NE(last_error().find("size of a struct"), std::string::npos);
    tidepool_tensor out{};
    EXPECT_EQ(tidepool_allocate_n(pool, 8, cpu, &options, &out, 1), TIDEPOOL_INVALID_ARGUMENT);
    const auto adopt = set(tidepool_adopt_options{});
    EXPECT_EQ(tidepool_adopt(pool, &out, 1, cpu, &adopt, &out), TIDEPOOL_INVALID_ARGUMENT);
    const auto observer = set(tidepool_observer{});
    EXPECT_EQ(tidepool_set_observer(pool, &observer), TIDEPOOL_INVALID_ARGUMENT);
    const auto plan = set(tidepool_prewarm_plan{});
    EXPECT_EQ(tidepool_prewarm(pool, cpu, &plan, nullptr), TIDEPOOL_INVALID_ARGUMENT);
    const auto pool_options = set(tidepool_pool_options{});
    tidepool_backend* backend = host_memory();
    tidepool_pool* other = pool;
    EXPECT_EQ(tidepool_pool_create(&backend, 1, &pool_options, &other), TIDEPOOL_INVALID_ARGUMENT);
    EXPECT_EQ(other, nullptr);
    const auto cpu_options = set(tidepool_cpu_backend_options{});
    EXPECT_EQ(tidepool_cpu_backend_create(&cpu_options, &backend), TIDEPOOL_INVALID_ARGUMENT);
    EXPECT_EQ(backend, nullptr);

    auto about = set(tidepool_tensor_info{});
    const tidepool_tensor tensor = allocate(8);
    EXPECT_EQ(tidepool_info(pool, tensor.id, &about), TIDEPOOL_INVALID_ARGUMENT);
    free(tensor.id);
    auto description = set(tidepool_device_description{});
    EXPECT_EQ(tidepool_describe_device(pool, 0, &description), TIDEPOOL_INVALID_ARGUMENT);
    auto memory = set(tidepool_memory_info{});
    EXPECT_EQ(tidepool_memory(pool, cpu, &memory), TIDEPOOL_INVALID_ARGUMENT);
    auto sums = set(tidepool_statistics{});
    EXPECT_EQ(tidepool_statistics_read(pool, cpu, &sums), TIDEPOOL_INVALID_ARGUMENT);
    auto trimmed = set(tidepool_trim_report{});
    EXPECT_EQ(tidepool_trim(pool, cpu, 0, &trimmed), TIDEPOOL_INVALID_ARGUMENT);
    EXPECT_EQ(tidepool_trim_all(pool, 0, &trimmed), TIDEPOOL_INVALID_ARGUMENT);
    auto warmed = set(tidepool_prewarm_report{});
    const auto good_plan = sized<tidepool_prewarm_plan>();
    EXPECT_EQ(tidepool_prewarm(pool, cpu, &good_plan, &warmed), TIDEPOOL_INVALID_ARGUMENT);
    EXPECT_EQ(tidepool_prewarm_seed(pool, cpu, &warmed), TIDEPOOL_INVALID_ARGUMENT);
    std::size_t count = 1;
    auto entry = set(tidepool_access_info{});
    EXPECT_EQ(tidepool_older_than(pool, 1, nullptr, &entry, &count, nullptr),
              TIDEPOOL_INVALID_ARGUMENT);
    auto category_sums = set(tidepool_category_accesses{});
    EXPECT_EQ(tidepool_accesses_by_category(pool, nullptr, &category_sums, &count),
              TIDEPOOL_INVALID_ARGUMENT);
    auto ages = set(tidepool_access_ages{});
    EXPECT_EQ(tidepool_age_histogram(pool, nullptr, &ages), TIDEPOOL_INVALID_ARGUMENT);
    auto totals = set(tidepool_access_totals{});
    EXPECT_EQ(tidepool_total_accesses(pool, &totals), TIDEPOOL_INVALID_ARGUMENT);
    auto predictor = set(tidepool_access_predictor{});
    predictor.observe = [](const tidepool_access_batch*, void*) {};
    EXPECT_EQ(tidepool_set_access_predictor(pool, &predictor), TIDEPOOL_INVALID_ARGUMENT);
  }
  EXPECT_EQ(statistics().allocations, std::size(wrong_sizes)) << "a refused call did something";
}

TEST_F(CApiStructs, FieldsBeyondAnOldersCallersStructHaveTheirDefaults) {
  auto options = sized<tidepool_allocation_options>();
  options.key = 7;
  options.category = TIDEPOOL_CATEGORY_WEIGHT;
  options.alignment = 4096;
  ASSERT_EQ(allocate_with(&options), TIDEPOOL_OK);
  EXPECT_EQ(last.key, 7U);
  EXPECT_EQ(last.category, TIDEPOOL_CATEGORY_WEIGHT);

  older<tidepool_allocation_options> with_key(options, 32);  // size, stream, key
  ASSERT_EQ(allocate_with(with_key.get()), TIDEPOOL_OK);
  EXPECT_EQ(last.key, 7U);
  EXPECT_EQ(last.category, TIDEPOOL_CATEGORY_TEMPORARY);

  older<tidepool_allocation_options> nothing(options, 8);
  ASSERT_EQ(allocate_with(nothing.get()), TIDEPOOL_OK);
  EXPECT_EQ(last.key, 0U);
}

TEST_F(CApiStructs, OlderPoolOptionsKeepTheLimitAndNoHandler) {
  auto options = sized<tidepool_pool_options>();
  options.limit_bytes = std::size_t{1} << 20;
  options.minimum_alignment = 12345;  // not a power of two: refused where it is read
  older<tidepool_pool_options> limit_only(options, 16);
  tidepool_pool* const other = make(limit_only.get());
  ASSERT_NE(other, nullptr);
  tidepool_tensor out{};
  EXPECT_EQ(tidepool_allocate(other, 2 << 20, cpu, nullptr, &out), TIDEPOOL_OVER_BUDGET);
  tidepool_pool_destroy(other);
}

TEST_F(CApiStructs, LaterOptionsAreTakenOnlyWhenTheirUnknownPartIsZero) {
  later<tidepool_allocation_options> options;
  options.known.size = sizeof options;
  options.known.key = 9;
  ASSERT_EQ(allocate_with(&options.known), TIDEPOOL_OK);
  EXPECT_EQ(last.key, 9U);
  options.more = std::uint64_t{1} << 56;  // the last byte alone
  EXPECT_EQ(allocate_with(&options.known), TIDEPOOL_INVALID_ARGUMENT);

  later<tidepool_cpu_backend_options> cpu_options;
  cpu_options.known.size = sizeof cpu_options;
  cpu_options.more = 1;
  tidepool_backend* backend = nullptr;
  EXPECT_EQ(tidepool_cpu_backend_create(&cpu_options.known, &backend), TIDEPOOL_INVALID_ARGUMENT);
}

TEST_F(CApiStructs, AnswersFillWhatTheCallerHas) {
  const tidepool_tensor tensor = allocate(100);
  older<tidepool_tensor_info> first(tidepool_tensor_info{}, 32);  // size, id, data, bytes
  ASSERT_EQ(tidepool_info(pool, tensor.id, first.get()), TIDEPOOL_OK);
  EXPECT_EQ(first.read().size, 32U) << "the caller's size stays";
  EXPECT_EQ(first.read().id, tensor.id);
  EXPECT_EQ(first.read().bytes, 100U);

  later<tidepool_tensor_info> more;
  more.known.size = sizeof more;
  more.more = ~std::uint64_t{0};
  ASSERT_EQ(tidepool_info(pool, tensor.id, &more.known), TIDEPOOL_OK);
  EXPECT_EQ(more.known.size, sizeof more);
  EXPECT_EQ(more.known.references, 1U);
  EXPECT_EQ(more.more, 0U) << "what this version does not know is zero";
  free(tensor.id);
}

TEST_F(CApiStructs, AFailedAnswerLeavesTheCallersStructAlone) {
  auto about = sized<tidepool_tensor_info>();
  about.bytes = 77;
  EXPECT_EQ(tidepool_info(pool, 1, &about), TIDEPOOL_STALE_ID);
  EXPECT_EQ(about.bytes, 77U);
}

TEST_F(CApiStructs, ReservedFieldsMustBeZero) {
  auto options = sized<tidepool_adopt_options>();
  options.reserved = 1;
  tidepool_tensor out{};
  EXPECT_EQ(tidepool_adopt(pool, &out, 1, cpu, &options, &out), TIDEPOOL_INVALID_ARGUMENT);
}

class CApiAccessStructs : public CApiStructs {
 protected:
  CApiAccessStructs() {
    auto options = sized<tidepool_domain_options>();
    options.elements = 3;
    options.standalone = 1;
    options.where = cpu;
    options.category = 1;
    EXPECT_EQ(tidepool_domain_create(pool, &options, &batch.where), TIDEPOOL_OK) << last_error();
    batch.indices = &index;
    batch.count = 1;
    batch.tick = 1;
    EXPECT_EQ(tidepool_record_access(pool, &batch, nullptr), TIDEPOOL_OK) << last_error();
  }
  const std::int32_t index = 2;
  tidepool_access_batch batch = sized<tidepool_access_batch>();
};

TEST_F(CApiAccessStructs, AnswersFillWhatTheCallerHas) {
  older<tidepool_access_ages> first_ages(tidepool_access_ages{}, 32);  // size, now, entries[0..1]
  ASSERT_EQ(tidepool_age_histogram(pool, nullptr, first_ages.get()), TIDEPOOL_OK);
  EXPECT_EQ(first_ages.read().size, 32U);
  EXPECT_EQ(first_ages.read().now, 1U);
  EXPECT_EQ(first_ages.read().entries[1], 2U);
  older<tidepool_access_totals> first_totals(tidepool_access_totals{}, 24);
  ASSERT_EQ(tidepool_total_accesses(pool, first_totals.get()), TIDEPOOL_OK);
  EXPECT_EQ(first_totals.read().recorded, 1U);

  later<tidepool_access_ages> ages;
  ages.known.size = sizeof ages;
  ages.more = ~std::uint64_t{0};
  ASSERT_EQ(tidepool_age_histogram(pool, nullptr, &ages.known), TIDEPOOL_OK);
  EXPECT_EQ(ages.known.size, sizeof ages);
  EXPECT_EQ(ages.known.entries[0], 1U);
  EXPECT_EQ(ages.more, 0U);
  later<tidepool_access_totals> totals;
  totals.known.size = sizeof totals;
  totals.more = ~std::uint64_t{0};
  ASSERT_EQ(tidepool_total_accesses(pool, &totals.known), TIDEPOOL_OK);
  EXPECT_EQ(totals.known.batches, 1U);
  EXPECT_EQ(totals.more, 0U);
}

TEST_F(CApiAccessStructs, ArraysOfAnswersHaveTheCallersStride) {
  std::array<later<tidepool_access_info>, 2> infos{};
  infos[0].known.size = sizeof infos[0];
  infos[1].more = ~std::uint64_t{0};
  std::size_t count = 2;
  ASSERT_EQ(tidepool_older_than(pool, 2, nullptr, &infos[0].known, &count, nullptr), TIDEPOOL_OK);
  ASSERT_EQ(count, 2U);
  EXPECT_EQ(infos[1].known.index, 1U);
  EXPECT_EQ(infos[1].known.size, sizeof infos[1]);
  EXPECT_EQ(infos[1].more, 0U);

  std::array<later<tidepool_category_accesses>, 2> sums{};
  sums[0].known.size = sizeof sums[0];
  ASSERT_EQ(tidepool_accesses_by_category(pool, nullptr, &sums[0].known, &count), TIDEPOOL_OK);
  EXPECT_EQ(sums[1].known.entries, 3U);
  EXPECT_EQ(sums[1].known.count, 1U);
  EXPECT_EQ(sums[1].known.size, sizeof sums[1]);

  // Of an older version: size and entries only, 2 elements in 32 bytes.
  const auto bytes = std::make_unique<std::uint64_t[]>(4);
  bytes[0] = 16;
  auto* const old = reinterpret_cast<tidepool_category_accesses*>(bytes.get());
  ASSERT_EQ(tidepool_accesses_by_category(pool, nullptr, old, &count), TIDEPOOL_OK);
  EXPECT_EQ(bytes[2], 16U);
  EXPECT_EQ(bytes[3], 3U);
}

TEST_F(CApiAccessStructs, PredictorsOfOtherVersions) {
  int called = 0;
  later<tidepool_access_predictor> predictor;
  predictor.known.size = sizeof predictor;
  predictor.known.observe = [](const tidepool_access_batch*, void* context) {
    ++*static_cast<int*>(context);
  };
  predictor.known.context = &called;
  ASSERT_EQ(tidepool_set_access_predictor(pool, &predictor.known), TIDEPOOL_OK);
  predictor.more = 1;
  EXPECT_EQ(tidepool_set_access_predictor(pool, &predictor.known), TIDEPOOL_INVALID_ARGUMENT);
  EXPECT_EQ(tidepool_record_access(pool, &batch, nullptr), TIDEPOOL_OK);
  EXPECT_EQ(called, 1);

  auto without_context = predictor.known;
  without_context.observe = [](const tidepool_access_batch*, void* context) {
    EXPECT_EQ(context, nullptr) << "read beyond the caller's struct";
  };
  older<tidepool_access_predictor> shorter(without_context, 16);
  ASSERT_EQ(tidepool_set_access_predictor(pool, shorter.get()), TIDEPOOL_OK);
  EXPECT_EQ(tidepool_record_access(pool, &batch, nullptr), TIDEPOOL_OK);
  EXPECT_EQ(called, 1);
}

}  // namespace
