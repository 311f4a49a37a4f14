// SPDX-License-Identifier: Apache-2.0
//
// Structs of callers that were compiled with an older or a later version of the header.
#include "support.hpp"

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

}  // namespace
