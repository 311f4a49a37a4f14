// SPDX-License-Identifier: Apache-2.0
//
// Null arguments, each in each place: an error and its text, outputs cleared, nothing changed.
#include "support.hpp"

namespace {

class CApiNull : public c_api_pool {
 protected:
  /// The call was refused, and the refusal is the thread's last error.
  static void refused(tidepool_status answer) {
    EXPECT_EQ(answer, TIDEPOOL_INVALID_ARGUMENT);
    EXPECT_NE(last_error().find("null argument"), std::string::npos) << last_error();
    // Another error, so that the next refusal has to write its own.
    tidepool_tensor_id id = 0;
    tidepool_backend* backend = host_memory();
    tidepool_pool* other = nullptr;
    ASSERT_EQ(tidepool_pool_create(&backend, 1, nullptr, &other), TIDEPOOL_OK);
    EXPECT_EQ(tidepool_find_key(other, 1, &id), TIDEPOOL_NOT_FOUND);
    tidepool_pool_destroy(other);
    EXPECT_EQ(last_error(), "not found");
  }
};

TEST_F(CApiNull, MakingPoolsAndBackends) {
  refused(tidepool_cpu_backend_create(nullptr, nullptr));
  tidepool_pool* made = pool;
  refused(tidepool_pool_create(nullptr, 1, nullptr, &made));
  EXPECT_EQ(made, nullptr) << "the output is cleared";
  tidepool_backend* backend = host_memory();
  refused(tidepool_pool_create(&backend, 1, nullptr, nullptr));
  refused(tidepool_pool_close(nullptr, nullptr));
  EXPECT_EQ(tidepool_pool_close(pool, nullptr), TIDEPOOL_OK) << "live is optional";
  tidepool_pool_destroy(nullptr);
  tidepool_backend_destroy(nullptr);
}

TEST_F(CApiNull, Allocating) {
  tidepool_tensor out{&out, 1};
  refused(tidepool_allocate(nullptr, 8, cpu, nullptr, &out));
  EXPECT_TRUE(out.data == nullptr && out.id == 0);
  refused(tidepool_allocate(pool, 8, cpu, nullptr, nullptr));
  out = {&out, 1};
  refused(tidepool_allocate_n(nullptr, 8, cpu, nullptr, &out, 1));
  EXPECT_TRUE(out.data == nullptr && out.id == 0);
  refused(tidepool_allocate_n(pool, 8, cpu, nullptr, nullptr, 1));
  EXPECT_EQ(tidepool_allocate_n(pool, 8, cpu, nullptr, nullptr, 0), TIDEPOOL_OK);
  out = {&out, 1};
  refused(tidepool_adopt(nullptr, &out, 1, cpu, nullptr, &out));
  EXPECT_TRUE(out.data == nullptr && out.id == 0);
  refused(tidepool_adopt(pool, &out, 1, cpu, nullptr, nullptr));
  EXPECT_EQ(tidepool_adopt(pool, nullptr, 1, cpu, nullptr, &out), TIDEPOOL_INVALID_ARGUMENT);
}

TEST_F(CApiNull, Freeing) {
  const tidepool_tensor_id none = 0;
  refused(tidepool_deallocate(nullptr, 1));
  refused(tidepool_deallocate_on(nullptr, 1, {}));
  refused(tidepool_deallocate_n(nullptr, &none, 1));
  refused(tidepool_deallocate_n(pool, nullptr, 1));
  EXPECT_EQ(tidepool_deallocate_n(pool, nullptr, 0), TIDEPOOL_OK);
  refused(tidepool_release(nullptr, 1));
}

TEST_F(CApiNull, ReferencesAndParts) {
  tidepool_tensor out{&out, 1};
  void* data = &out;
  refused(tidepool_retain(nullptr, 1));
  refused(tidepool_slice(nullptr, 1, 0, 0, &out));
  EXPECT_TRUE(out.data == nullptr && out.id == 0);
  const tidepool_tensor whole = allocate(64);
  refused(tidepool_slice(pool, whole.id, 0, 8, nullptr));
  refused(tidepool_pin(nullptr, 1, &data));
  EXPECT_EQ(data, nullptr);
  refused(tidepool_pin(pool, whole.id, nullptr));
  EXPECT_EQ(info(whole.id).references, 1U) << "a refused pin or slice left a reference";
  refused(tidepool_unpin(nullptr, 1));
  refused(tidepool_resize(nullptr, 1, 8));
  free(whole.id);
}

TEST_F(CApiNull, Knowledge) {
  auto about = sized<tidepool_tensor_info>();
  tidepool_tensor_id id = 0;
  tidepool_name name = 0;
  tidepool_category made = 0;
  refused(tidepool_info(nullptr, 1, &about));
  refused(tidepool_info(pool, 1, nullptr));
  refused(tidepool_find(nullptr, &id, &id));
  refused(tidepool_find(pool, &id, nullptr));
  EXPECT_EQ(tidepool_find(pool, nullptr, &id), TIDEPOOL_NOT_FOUND);
  refused(tidepool_find_key(nullptr, 1, &id));
  refused(tidepool_find_key(pool, 1, nullptr));
  refused(tidepool_set_lifecycle(nullptr, 1, TIDEPOOL_LIFECYCLE_INACTIVE));
  refused(tidepool_set_category(nullptr, 1, TIDEPOOL_CATEGORY_WEIGHT));
  refused(tidepool_set_name(nullptr, 1, 0));
  refused(tidepool_intern(nullptr, "n", &name));
  refused(tidepool_intern(pool, nullptr, &name));
  refused(tidepool_intern(pool, "n", nullptr));
  refused(tidepool_register_category(nullptr, "n", 1, &made));
  refused(tidepool_register_category(pool, nullptr, 1, &made));
  refused(tidepool_register_category(pool, "n", 1, nullptr));
  EXPECT_STREQ(tidepool_name_text(nullptr, 1), "");
  EXPECT_STREQ(tidepool_category_name(nullptr, 1), "");
  EXPECT_EQ(tidepool_eviction_priority(nullptr, 1), 0);
  EXPECT_EQ(tidepool_device_count(nullptr), 0U);
}

TEST_F(CApiNull, StreamsMemoryAndObservation) {
  auto description = sized<tidepool_device_description>();
  auto memory = sized<tidepool_memory_info>();
  auto sums = sized<tidepool_statistics>();
  auto plan = sized<tidepool_prewarm_plan>();
  tidepool_stream stream{};
  refused(tidepool_describe_device(nullptr, 0, &description));
  refused(tidepool_describe_device(pool, 0, nullptr));
  refused(tidepool_attach(nullptr, cpu, &stream));
  refused(tidepool_attach(pool, cpu, nullptr));
  refused(tidepool_retire(nullptr, cpu, stream));
  refused(tidepool_trim(nullptr, cpu, 0, nullptr));
  refused(tidepool_trim_all(nullptr, 0, nullptr));
  refused(tidepool_tick(nullptr));
  refused(tidepool_thread_idle(nullptr));
  refused(tidepool_ticker_create(pool, 1, nullptr));
  auto* ticker = reinterpret_cast<tidepool_ticker*>(pool);
  refused(tidepool_ticker_create(nullptr, 1, &ticker));
  EXPECT_EQ(ticker, nullptr) << "the output is cleared";
  tidepool_ticker_destroy(nullptr);
  refused(tidepool_prewarm(nullptr, cpu, &plan, nullptr));
  refused(tidepool_prewarm(pool, cpu, nullptr, nullptr));
  plan.item_count = 1;  // and no items
  refused(tidepool_prewarm(pool, cpu, &plan, nullptr));
  refused(tidepool_prewarm_seed(nullptr, cpu, nullptr));
  refused(tidepool_memory(nullptr, cpu, &memory));
  refused(tidepool_memory(pool, cpu, nullptr));
  refused(tidepool_statistics_read(nullptr, cpu, &sums));
  refused(tidepool_statistics_read(pool, cpu, nullptr));
  refused(tidepool_set_observer(nullptr, nullptr));
  char text[8];
  EXPECT_EQ(tidepool_statistics_text(nullptr, text, sizeof text), 0U);
  EXPECT_EQ(tidepool_statistics_json(nullptr, text, sizeof text), 0U);
  EXPECT_EQ(tidepool_statistics_text(pool, nullptr, 8), 0U);
  EXPECT_EQ(tidepool_statistics_json(pool, nullptr, 8), 0U);
  EXPECT_EQ(tidepool_last_error(nullptr, 8), 0U);
  EXPECT_EQ(tidepool_verify(nullptr), nullptr);
}

TEST_F(CApiNull, QuestionsAboutAccesses) {
  auto infos = sized<tidepool_access_info>();
  auto sums = sized<tidepool_category_accesses>();
  auto ages = sized<tidepool_access_ages>();
  auto totals = sized<tidepool_access_totals>();
  std::size_t count = 1;
  std::size_t found = 0;
  refused(tidepool_older_than(nullptr, 1, nullptr, &infos, &count, &found));
  refused(tidepool_older_than(pool, 1, nullptr, nullptr, &count, &found));
  refused(tidepool_older_than(pool, 1, nullptr, &infos, nullptr, &found));
  refused(tidepool_accesses_by_category(nullptr, nullptr, &sums, &count));
  refused(tidepool_accesses_by_category(pool, nullptr, nullptr, &count));
  refused(tidepool_accesses_by_category(pool, nullptr, &sums, nullptr));
  refused(tidepool_age_histogram(nullptr, nullptr, &ages));
  refused(tidepool_age_histogram(pool, nullptr, nullptr));
  refused(tidepool_total_accesses(nullptr, &totals));
  refused(tidepool_total_accesses(pool, nullptr));
  auto predictor = sized<tidepool_access_predictor>();
  refused(tidepool_set_access_predictor(nullptr, &predictor));
  refused(tidepool_set_access_predictor(pool, &predictor));  // no function in it
  EXPECT_EQ(tidepool_set_access_predictor(pool, nullptr), TIDEPOOL_OK);
  EXPECT_EQ(count, 1U);
}

}  // namespace
