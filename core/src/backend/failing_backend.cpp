// SPDX-License-Identifier: Apache-2.0
//
// failing_backend: the plan judges each call, which is then forwarded or fails. Bytes that a call
// may hand out are set aside before the call, so that two calls at the same time cannot pass the
// level together.
#include <tidepool/failing_backend.hpp>

#include <algorithm>
#include <utility>

namespace tidepool {
inline namespace v0 {

namespace {

// xorshift64*: Vigna, An experimental exploration of Marsaglia's xorshift generators (2016).
std::uint64_t next_random(std::uint64_t& state) noexcept {
  state ^= state >> 12;
  state ^= state << 25;
  state ^= state >> 27;
  return state * 0x2545f4914f6cdd1d;
}

constexpr double two_to_53 = 9007199254740992.0;

status failure(errc code, device where, std::size_t bytes) noexcept {
  return {.code = code, .requested = bytes, .where = where, .text = "ordered of failing_backend"};
}

}  // namespace

failing_backend::failing_backend(std::unique_ptr<backend> inner, const failure_plan& plan) noexcept
    : inner_(std::move(inner)) {
  order(plan);
}

failing_backend::~failing_backend() = default;

void failing_backend::order(const failure_plan& plan) noexcept {
  const std::lock_guard lock(mutex_);
  plan_ = plan;
  random_ = plan.seed * 2 + 1;  // never 0
  calls_ = {};
  counted_ = 0;
  failures_ = 0;
}

std::uint64_t failing_backend::calls(backend_call what) const noexcept {
  const std::lock_guard lock(mutex_);
  return calls_[static_cast<unsigned>(what)];
}

std::uint64_t failing_backend::calls() const noexcept {
  const std::lock_guard lock(mutex_);
  return counted_;
}

std::uint64_t failing_backend::failures() const noexcept {
  const std::lock_guard lock(mutex_);
  return failures_;
}

std::size_t failing_backend::handed_out_bytes() const noexcept {
  const std::lock_guard lock(mutex_);
  return handed_out_;
}

// Judges a call by the plan. The call may hand out `wanted` bytes; this sets as many of them aside
// as there is room for.
failing_backend::verdict failing_backend::judge(backend_call what, std::size_t wanted) noexcept {
  const std::lock_guard lock(mutex_);
  ++calls_[static_cast<unsigned>(what)];
  verdict is{.code = plan_.code, .may_grow = !plan_.refuse_growth};
  if (!plan_.only || *plan_.only == what) {
    const std::uint64_t number = ++counted_;
    const double chance = static_cast<double>(next_random(random_) >> 11) / two_to_53;
    is.fails = number == plan_.fail_call || (plan_.fail_from != 0 && number >= plan_.fail_from) ||
               (plan_.fail_every != 0 && number % plan_.fail_every == 0) ||
               chance < plan_.probability;
  }
  const std::size_t room = plan_.exhaust_at - std::min(plan_.exhaust_at, handed_out_);
  is.halfway = is.fails && plan_.halfway;
  is.set_aside = is.fails && !is.halfway ? 0 : std::min(room, wanted);
  handed_out_ += is.set_aside;
  failures_ += is.fails ? 1 : 0;
  return is;
}

// Counts the bytes that the call handed out, which may be more than it was asked for.
void failing_backend::settle(const verdict& before, std::size_t handed_out) noexcept {
  const std::lock_guard lock(mutex_);
  handed_out_ = handed_out_ - before.set_aside + handed_out;
}

std::span<const device_description> failing_backend::devices() const noexcept {
  return inner_->devices();
}

void failing_backend::attach(backend_host& host) noexcept {
  inner_->attach(host);
}

backend::refill_result failing_backend::refill(const block_request& request,
                                               std::span<block> blocks) noexcept {
  const verdict is = judge(backend_call::refill, request.bytes * blocks.size());
  std::size_t most = is.set_aside / request.bytes;
  if (is.halfway) {
    most = std::min(most, blocks.size() / 2);
  }
  refill_result made;
  if (most != 0) {
    block_request passed = request;
    passed.may_grow = request.may_grow && is.may_grow;
    made = inner_->refill(passed, blocks.first(most));
  }
  settle(is, made.count * request.bytes);
  if (made.why.ok() && made.count != blocks.size()) {
    made.why = failure(is.fails ? is.code : errc::out_of_memory, request.where, request.bytes);
  }
  return made;
}

result<block> failing_backend::allocate_large(const block_request& request) noexcept {
  const verdict is = judge(backend_call::allocate_large, request.bytes);
  if (is.fails || is.set_aside != request.bytes) {
    settle(is, 0);
    return failure(is.fails ? is.code : errc::out_of_memory, request.where, request.bytes);
  }
  block_request passed = request;
  passed.may_grow = request.may_grow && is.may_grow;
  result<block> made = inner_->allocate_large(passed);
  settle(is, made ? made->bytes : 0);
  return made;
}

void failing_backend::take_back(device where, std::span<const block> blocks,
                                stream_ref stream) noexcept {
  std::size_t bytes = 0;
  for (const block& what : blocks) {
    bytes += what.bytes;
  }
  {
    const std::lock_guard lock(mutex_);
    handed_out_ -= bytes;
  }
  inner_->take_back(where, blocks, stream);
}

void failing_backend::take_back_after(device where, const block& what,
                                      std::span<const stream_ref> streams) noexcept {
  {
    const std::lock_guard lock(mutex_);
    handed_out_ -= what.bytes;
  }
  inner_->take_back_after(where, what, streams);
}

result<std::uint64_t> failing_backend::stream_id(device where, const stream_ref& stream) noexcept {
  const verdict is = judge(backend_call::stream_id, 0);
  if (is.fails) {
    return failure(is.code, where, 0);
  }
  return inner_->stream_id(where, stream);
}

bool failing_backend::is_capturing(device where, const stream_ref& stream) const noexcept {
  return inner_->is_capturing(where, stream);
}

bool failing_backend::is_recycled(device where, const stream_ref& stream,
                                  std::uint64_t id) const noexcept {
  return inner_->is_recycled(where, stream, id);
}

void failing_backend::set_capture_scope(device where, const stream_ref& stream,
                                        bool is_open) noexcept {
  inner_->set_capture_scope(where, stream, is_open);
}

void failing_backend::retire(device where, const stream_ref& stream) noexcept {
  inner_->retire(where, stream);
}

status failing_backend::order(device where, const stream_ref& earlier,
                              const stream_ref& later) noexcept {
  const verdict is = judge(backend_call::order, 0);
  return is.fails ? failure(is.code, where, 0) : inner_->order(where, earlier, later);
}

status failing_backend::prefetch(device where, std::span<const std::byte> range, device to,
                                 stream_ref stream) noexcept {
  const verdict is = judge(backend_call::prefetch, 0);
  return is.fails ? failure(is.code, where, range.size())
                  : inner_->prefetch(where, range, to, stream);
}

status failing_backend::advise(device where, std::span<const std::byte> range,
                               const advice_request& request) noexcept {
  const verdict is = judge(backend_call::advise, 0);
  return is.fails ? failure(is.code, where, range.size()) : inner_->advise(where, range, request);
}

std::size_t failing_backend::trim(device where, std::size_t keep_bytes) noexcept {
  return judge(backend_call::trim, 0).fails ? 0 : inner_->trim(where, keep_bytes);
}

std::size_t failing_backend::decay(device where) noexcept {
  return judge(backend_call::decay, 0).fails ? 0 : inner_->decay(where);
}

memory_info failing_backend::memory(device where) const noexcept {
  return inner_->memory(where);
}

result<std::size_t> failing_backend::extend(device where, const block& what,
                                            std::size_t bytes) noexcept {
  const std::size_t added = bytes - std::min(bytes, what.bytes);
  const verdict is = judge(backend_call::extend, added);
  if (is.fails || is.set_aside != added || !is.may_grow) {
    settle(is, 0);
    return failure(is.fails ? is.code : errc::out_of_memory, where, bytes);
  }
  result<std::size_t> made = inner_->extend(where, what, bytes);
  settle(is, made ? *made - what.bytes : 0);
  return made;
}

std::size_t failing_backend::populate(device where, std::span<const block> blocks,
                                      unsigned threads) noexcept {
  return judge(backend_call::populate, 0).fails ? 0 : inner_->populate(where, blocks, threads);
}

status failing_backend::copy(device where, void* dst, const void* src, std::size_t bytes,
                             stream_ref stream) noexcept {
  const verdict is = judge(backend_call::copy, 0);
  return is.fails ? failure(is.code, where, bytes) : inner_->copy(where, dst, src, bytes, stream);
}

status failing_backend::fill(device where, void* dst, std::uint8_t value, std::size_t bytes,
                             stream_ref stream) noexcept {
  const verdict is = judge(backend_call::fill, 0);
  return is.fails ? failure(is.code, where, bytes) : inner_->fill(where, dst, value, bytes, stream);
}

status failing_backend::synchronise(device where, stream_ref stream) noexcept {
  const verdict is = judge(backend_call::synchronise, 0);
  return is.fails ? failure(is.code, where, 0) : inner_->synchronise(where, stream);
}

const char* failing_backend::verify() const noexcept {
  return inner_->verify();
}

}  // namespace v0
}  // namespace tidepool
