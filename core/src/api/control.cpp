// SPDX-License-Identifier: Apache-2.0
//
// pool_control: each function finds its device and forwards to pool_core.
#include "pool/pool_core.hpp"
#include <tidepool/control.hpp>
#include <tidepool/error.hpp>

namespace tidepool {
inline namespace v0 {

trim_report pool_control::trim(std::size_t keep_bytes) noexcept {
  return core_->trim(keep_bytes);
}

trim_report pool_control::trim(device where, std::size_t keep_bytes) noexcept {
  detail::device_entry* const entry = core_->lanes.find(where);
  return entry == nullptr ? trim_report{} : core_->trim(*entry, keep_bytes);
}

result<trim_report> pool_control::set_limits(device where, const memory_limits& limits) noexcept {
  detail::device_entry* const entry = core_->lanes.find(where);
  if (entry == nullptr) {
    return status{.code = errc::unknown_device, .where = where};
  }
  return core_->set_limits(entry, limits);
}

trim_report pool_control::set_limits(const memory_limits& limits) noexcept {
  return core_->set_limits(nullptr, limits);
}

memory_limits pool_control::limits(device where) const noexcept {
  const detail::device_entry* const entry = core_->lanes.find(where);
  return entry == nullptr ? memory_limits{.hard = 0, .soft = 0} : entry->reserved.limits();
}

memory_limits pool_control::limits() const noexcept {
  return core_->lanes.reserved.limits();
}

void pool_control::reset_peaks() noexcept {
  core_->reset_peaks();
}

void pool_control::tick() noexcept {
  core_->tick();
}
void pool_control::thread_idle() noexcept {
  core_->thread_idle();
}

prewarm_report pool_control::prewarm(const prewarm_plan& plan) {
  const result<prewarm_report> report = core_->prewarm(plan);
  if (!report) {
    throw_status(report.error());
  }
  return *report;
}

memory_info pool_control::memory(device where) const noexcept {
  const detail::device_entry* const entry = core_->lanes.find(where);
  return entry == nullptr ? memory_info{} : core_->memory(*entry);
}

tidepool::statistics pool_control::statistics() const {
  return core_->statistics();
}

pool_report pool_control::report() const {
  return core_->make_report({});
}

void pool_control::set_observer(allocation_observer* observer) noexcept {
  core_->set_observer(observer);
}

std::size_t pool_control::check_memory() noexcept {
  return core_->check_memory();
}

leak_report pool_control::leaks() const {
  return core_->leaks();
}

tidepool::debug_counts pool_control::debug_counts() const noexcept {
  return core_->debug_counts();
}

const char* pool_control::verify() const noexcept {
  return core_->verify();
}

}  // namespace v0
}  // namespace tidepool
