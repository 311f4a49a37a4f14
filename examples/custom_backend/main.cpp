// SPDX-License-Identifier: Apache-2.0
//
// A backend of the application's own: heap_backend hands out aligned_alloc's memory as
// device::user(0), in one pool with the CPU backend. Clone it to bring any memory into a pool.
// core/include/tidepool/backend.hpp has the contracts.
#include <tidepool/control.hpp>
#include <tidepool/cpu/backend.hpp>
#include <tidepool/pool.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <memory>
#include <span>
#include <stdexcept>
#include <string_view>
#include <utility>
#include <vector>

namespace {

using tidepool::block;
using tidepool::block_request;
using tidepool::device;

// [backend]
// Reserved bytes == bytes of all blocks handed out: nothing free is kept, the pool does that.
class heap_backend final : public tidepool::backend {
 public:
  // Which devices, and what they can. Constant, so a member is answered.
  [[nodiscard]] std::span<const tidepool::device_description> devices() const noexcept override {
    return {&description_, 1};
  }
  // Once, before everything else: whom to ask for a share of the limit.
  void attach(tidepool::backend_host& host) noexcept override { host_ = &host; }

  // Several blocks of one size. On failure: those made so far, and why there are no more.
  [[nodiscard]] refill_result refill(const block_request& request,
                                     std::span<block> blocks) noexcept override {
    refill_result answer;
    for (; answer.count < blocks.size(); ++answer.count) {
      const tidepool::result<block> one = allocate_large(request);
      if (!one) {
        answer.why = one.error();
        break;
      }
      blocks[answer.count] = *one;
    }
    return answer;
  }
  // One block. The limit is claimed first, and given back if the memory does not come.
  [[nodiscard]] tidepool::result<block> allocate_large(
      const block_request& request) noexcept override {
    const std::size_t bytes = (request.bytes + request.alignment - 1) & ~(request.alignment - 1);
    if (!request.may_grow) {
      return tidepool::errc::out_of_memory;  // only what is held already: that is nothing
    }
    if (!host_->claim(request.where, bytes)) {
      return tidepool::errc::over_budget;
    }
    void* const data = std::aligned_alloc(request.alignment, bytes);
    if (data == nullptr) {
      host_->unclaim(request.where, bytes);
      return tidepool::errc::out_of_memory;
    }
    reserved_bytes_ += bytes;
    ++system_calls_;
    return block{.data = data, .bytes = bytes, .cookie = 0};  // cookie: for backends with a use
  }
  // Blocks of any sizes come back as they were handed out. A device would wait for the stream.
  void take_back(device where, std::span<const block> blocks,
                 tidepool::stream_ref) noexcept override {
    for (const block& one : blocks) {
      std::free(one.data);
      reserved_bytes_ -= one.bytes;
      host_->unclaim(where, one.bytes);
    }
    system_calls_ += blocks.size();
  }
  // Nothing free is kept, so there is nothing to give back.
  std::size_t trim(device, std::size_t) noexcept override { return 0; }
  [[nodiscard]] tidepool::memory_info memory(device) const noexcept override {
    return {.reserved_bytes = reserved_bytes_, .system_calls = system_calls_};
  }

  // Left out, and what the pool does then:
  //   decay             keeps nothing, so nothing can be free for long
  //   extend            the heap cannot grow in place: pool::resize answers "unsupported"
  //   populate          page faults come with the first use
  //   copy, fill        the defaults, memmove and memset: the memory is host accessible
  //   synchronise       no streams, nothing to wait for
  //   verify  two counters; a backend with structures walks them here

 private:
  const tidepool::device_description description_{
      .where = device::user(0), .name = "heap", .alignment = 64};
  tidepool::backend_host* host_ = nullptr;  // outlives this backend
  std::atomic<std::size_t> reserved_bytes_{0};
  std::atomic<std::uint64_t> system_calls_{0};
};
// [/backend]

void verify(bool holds, const char* claim) {
  if (!holds) {
    throw std::runtime_error(claim);
  }
}

void run() {
  // [compose]
  std::vector<std::unique_ptr<tidepool::backend>> backends;
  backends.push_back(tidepool::cpu::make_backend());
  backends.push_back(std::make_unique<heap_backend>());
  tidepool::pool pool{std::move(backends)};

  tidepool::tensor ours = pool.allocate(1000, device::user(0));
  tidepool::tensor theirs = pool.allocate(1000, device::cpu());
  // [/compose]
  verify(ours.where() == device::user(0) && theirs.where() == device::cpu(), "two devices");
  std::memset(ours.data(), 1, ours.bytes());
  verify(pool.control().memory(device::user(0)).reserved_bytes >= 1000,
         "the backend backs the tensor");

  ours.reset();
  const std::uint64_t before = pool.control().memory(device::user(0)).system_calls;
  ours = pool.allocate(1000, device::user(0));
  verify(pool.control().memory(device::user(0)).system_calls == before, "the pool kept the block");
  const tidepool::tensor large = pool.allocate(std::size_t{5} << 20, device::user(0));
  std::memset(large.data(), 2, large.bytes());
  verify(pool.resize(ours, 100000) == tidepool::errc::unsupported, "extend is left out");
  std::printf("%s", tidepool::to_text(pool.control().statistics()).c_str());
}

}  // namespace

int main(int count, char** arguments) {
  if (count > 1) {
    std::printf("usage: custom_backend\nStatus: 0 all as promised, 1 not so.\n");
    return std::string_view{arguments[1]} == "--help" ? 0 : 1;
  }
  try {
    run();
    return 0;
  } catch (const std::exception& failure) {
    std::fprintf(stderr, "custom_backend: %s\n", failure.what());
    return 1;
  }
}
