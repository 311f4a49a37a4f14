// SPDX-License-Identifier: Apache-2.0
//
// The conformance suite on the CUDA backend, for each device that it serves.
#include "../conformance/conformance.hpp"

#include "watched_backend.hpp"
#include <tidepool/cuda/backend.hpp>

#include <utility>

namespace tidepool::test {
namespace {

/// A backend seen as if it served one device alone.
class only final : public backend {
 public:
  only(std::unique_ptr<backend> all, std::size_t number)
      : all_(std::move(all)), about_(all_->devices()[number]) {}

  [[nodiscard]] std::span<const device_description> devices() const noexcept override {
    return {&about_, 1};
  }
  void attach(backend_host& host) noexcept override { all_->attach(host); }
  [[nodiscard]] refill_result refill(const block_request& request,
                                     std::span<block> blocks) noexcept override {
    return all_->refill(request, blocks);
  }
  [[nodiscard]] result<block> allocate_large(const block_request& request) noexcept override {
    return all_->allocate_large(request);
  }
  void take_back(device where, std::span<const block> blocks, stream_ref stream) noexcept override {
    all_->take_back(where, blocks, stream);
  }
  std::size_t trim(device where, std::size_t keep_bytes) noexcept override {
    return all_->trim(where, keep_bytes);
  }
  std::size_t decay(device where) noexcept override { return all_->decay(where); }
  [[nodiscard]] memory_info memory(device where) const noexcept override {
    return all_->memory(where);
  }
  [[nodiscard]] result<std::size_t> extend(device where, const block& what,
                                           std::size_t bytes) noexcept override {
    return all_->extend(where, what, bytes);
  }
  std::size_t populate(device where, std::span<const block> blocks,
                       unsigned threads) noexcept override {
    return all_->populate(where, blocks, threads);
  }
  [[nodiscard]] status copy(device where, void* dst, const void* src, std::size_t bytes,
                            stream_ref stream) noexcept override {
    return all_->copy(where, dst, src, bytes, stream);
  }
  [[nodiscard]] status fill(device where, void* dst, std::uint8_t value, std::size_t bytes,
                            stream_ref stream) noexcept override {
    return all_->fill(where, dst, value, bytes, stream);
  }
  [[nodiscard]] status synchronise(device where, stream_ref stream) noexcept override {
    return all_->synchronise(where, stream);
  }
  [[nodiscard]] const char* verify() const noexcept override { return all_->verify(); }

 private:
  std::unique_ptr<backend> all_;
  device_description about_;
};

[[nodiscard]] std::string name_of(const device_description& about) {
  static constexpr const char* kinds[] = {"cpu", "cuda", "pinned", "managed"};
  static constexpr const char* memories[] = {"", "_plain", "_growable"};
  return std::string(kinds[static_cast<unsigned>(about.where.kind())]) +
         memories[static_cast<unsigned>(about.where.memory())];
}

[[nodiscard]] std::vector<backend_case> cases() {
  std::vector<backend_case> made;
  const result<std::unique_ptr<backend>> all = cuda::try_make_backend();
  for (std::size_t i = 0; all && i != (*all)->devices().size(); ++i) {
    made.push_back({name_of((*all)->devices()[i]),
                    [i] { return std::make_unique<only>(*try_make_watched(), i); }});
  }
  return made;
}

GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(BackendConformance);
INSTANTIATE_TEST_SUITE_P(cuda, BackendConformance, ::testing::ValuesIn(cases()), name_of_case);

}  // namespace
}  // namespace tidepool::test
