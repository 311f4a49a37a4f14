// SPDX-License-Identifier: Apache-2.0
//
// warm_pair N [stream]: warms a pool up, then runs N pairs of allocate_raw(64 KiB) and deallocate
// inside measured_pairs, which instruction_count.py has callgrind count. All instructions of that
// function and of what it calls are counted: the loop, the calls through the library's linkage
// table, the library's own work. With `stream` the pairs are in the order of an attached stream of
// a device that is not the pool's first: what core does for a GPU, without one.
#include <tidepool/cpu/backend.hpp>
#include <tidepool/pool.hpp>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <span>
#include <utility>
#include <vector>

namespace {

constexpr std::size_t bytes = 65536;

/// Host memory that says it is a device whose frees are ordered by streams.
class stream_ordered final : public tidepool::backend {
 public:
  stream_ordered() : inner_(tidepool::cpu::make_backend()), about_(inner_->devices().front()) {
    about_.where = tidepool::device::cuda(0);
    about_.alignment = 256;
    about_.stream_ordered = true;
  }
  [[nodiscard]] std::span<const tidepool::device_description> devices() const noexcept override {
    return {&about_, 1};
  }
  void attach(tidepool::backend_host&) noexcept override { inner_->attach(no_limit_); }
  [[nodiscard]] refill_result refill(const tidepool::block_request& request,
                                     std::span<tidepool::block> blocks) noexcept override {
    return inner_->refill(on_host(request), blocks);
  }
  [[nodiscard]] tidepool::result<tidepool::block> allocate_large(
      const tidepool::block_request& request) noexcept override {
    return inner_->allocate_large(on_host(request));
  }
  void take_back(tidepool::device, std::span<const tidepool::block> blocks,
                 tidepool::stream_ref) noexcept override {
    inner_->take_back(tidepool::device::cpu(), blocks, {});
  }
  std::size_t trim(tidepool::device, std::size_t keep_bytes) noexcept override {
    return inner_->trim(tidepool::device::cpu(), keep_bytes);
  }
  [[nodiscard]] tidepool::memory_info memory(tidepool::device) const noexcept override {
    return inner_->memory(tidepool::device::cpu());
  }

 private:
  class no_limit final : public tidepool::backend_host {
   public:
    [[nodiscard]] bool claim(tidepool::device, std::size_t) noexcept override { return true; }
    void unclaim(tidepool::device, std::size_t) noexcept override {}
  };
  [[nodiscard]] static tidepool::block_request on_host(tidepool::block_request request) noexcept {
    request.where = tidepool::device::cpu();
    request.stream = {};
    return request;
  }
  no_limit no_limit_;
  std::unique_ptr<tidepool::backend> inner_;
  tidepool::device_description about_;
};

[[nodiscard]] tidepool::pool make_pool(bool with_device) {
  std::vector<std::unique_ptr<tidepool::backend>> backends;
  backends.push_back(tidepool::cpu::make_backend());
  if (with_device) {
    backends.push_back(std::make_unique<stream_ordered>());
  }
  return tidepool::pool(std::move(backends));
}

}  // namespace

/// Answers the pairs that succeeded. extern "C": callgrind is told its name.
extern "C" __attribute__((noinline)) std::uint64_t measured_pairs(tidepool::pool& pool,
                                                                  std::uint64_t pairs);
extern "C" __attribute__((noinline)) std::uint64_t measured_stream_pairs(
    tidepool::pool& pool, std::uint64_t pairs, const tidepool::stream_ref& stream);

std::uint64_t measured_pairs(tidepool::pool& pool, std::uint64_t pairs) {
  std::uint64_t done = 0;
  for (std::uint64_t i = 0; i < pairs; ++i) {
    const tidepool::result<tidepool::raw_tensor> made = pool.allocate_raw(bytes);
    if (made && pool.deallocate(made->id) == tidepool::errc::ok) {
      ++done;
    }
  }
  return done;
}

std::uint64_t measured_stream_pairs(tidepool::pool& pool, std::uint64_t pairs,
                                    const tidepool::stream_ref& stream) {
  std::uint64_t done = 0;
  for (std::uint64_t i = 0; i < pairs; ++i) {
    const tidepool::result<tidepool::raw_tensor> made =
        pool.allocate_raw(bytes, tidepool::device::cuda(0), {.stream = stream});
    if (made && pool.deallocate(made->id) == tidepool::errc::ok) {
      ++done;
    }
  }
  return done;
}

int main(int argc, char** argv) {
  const bool on_stream = argc == 3 && std::strcmp(argv[2], "stream") == 0;
  const std::uint64_t pairs = argc >= 2 ? std::strtoull(argv[1], nullptr, 10) : 0;
  if (pairs == 0 || argc > 3 || (argc == 3 && !on_stream)) {
    std::fprintf(stderr, "usage: warm_pair PAIRS [stream]\n");
    return 2;
  }
  tidepool::pool pool = make_pool(on_stream);
  if (!on_stream) {
    return measured_pairs(pool, 1000) == 1000 && measured_pairs(pool, pairs) == pairs ? 0 : 1;
  }
  int handle = 0;
  const tidepool::result<tidepool::stream_ref> stream = pool.attach(
      tidepool::device::cuda(0), {.handle = &handle, .kind = tidepool::stream_kind::ordinary});
  return stream && measured_stream_pairs(pool, 1000, *stream) == 1000 &&
                 measured_stream_pairs(pool, pairs, *stream) == pairs
             ? 0
             : 1;
}
