// SPDX-License-Identifier: Apache-2.0
//
// access_store: entries of tensors, and making and dropping domains.
#include "access/store.hpp"

#include <exception>
#include <new>

namespace tidepool {
inline namespace v0 {
namespace detail {

access_store::~access_store() {
  for (std::uint32_t i = 0; i < domain_count_.load(std::memory_order_relaxed); ++i) {
    delete domains_[i].load(std::memory_order_relaxed);
  }
}

bool access_store::is_entry(tensor_id id) const noexcept {
  return (id.value() & tag_mask) == how_.pool_tag && slot_of(id) < tensors_.size() &&
         tensors_.at(slot_of(id)).generation == generation_of(id.value()) &&
         generation_of(id.value()) != 0 && (id.value() & free_bit) == 0;
}

void access_store::observe(std::uint64_t tick) noexcept {
  std::uint64_t latest = now();
  while (latest < tick && !now_.compare_exchange_weak(latest, tick, std::memory_order_relaxed)) {
  }
}

// The first entry opens the table, so a pool without entries reserves nothing for it.
bool access_store::open_tensors() noexcept {
  if (has_tensors_.load(std::memory_order_acquire)) {
    return true;
  }
  const std::lock_guard lock(layout_mutex_);
  if (has_tensors_.load(std::memory_order_relaxed)) {
    return true;
  }
  const bool opened = tensors_.open(how_.slots, {.kernels = how_.kernels,
                                                 .half_life = how_.half_life,
                                                 .huge_pages = how_.huge_pages,
                                                 .elsewhere = this});
  has_tensors_.store(opened, std::memory_order_release);
  return opened;
}

// A thread may track a tensor while another one frees it. Then this call may come after the slot's
// next tensor got its entry, or it may leave an entry of the old tensor in the slot. Both are
// harmless, because the later generation wins.
bool access_store::begin(tensor_id id, std::uint32_t attributes) noexcept {
  if (!open_tensors()) {
    return false;
  }
  const std::size_t slot = slot_of(id);
  for (;;) {
    tensor_id left_over;
    {
      const std::lock_guard lock(tensors_);
      const access_record& r = tensors_.at(slot);
      if (r.generation >= generation_of(id.value())) {
        return true;
      }
      if (r.generation == 0 || (r.attributes & (entry_bound | entry_divided)) == 0) {
        tensors_.begin(slot, generation_of(id.value()), attributes, now());
        return true;
      }
      left_over = id_at(slot);
    }
    end(left_over);
  }
}

void access_store::end(tensor_id id) noexcept {
  if (!has_tensors_.load(std::memory_order_acquire)) {
    return;
  }
  tensors_.lock();
  const bool is_ours = is_entry(id);
  const bool is_plain =
      is_ours && (tensors_.at(slot_of(id)).attributes & (entry_bound | entry_divided)) == 0;
  if (is_plain) {
    tensors_.end(slot_of(id));
  }
  tensors_.unlock();
  if (is_ours && !is_plain) {
    const std::lock_guard lock(layout_mutex_);
    end_elsewhere(id);
  }
}

errc access_store::divide(tensor_id id, std::uint32_t parts) noexcept {
  if (!has_tensors_.load(std::memory_order_acquire)) {
    return errc::stale_id;
  }
  const std::lock_guard lock(layout_mutex_);
  divided_tensor made{.id = id, .attributes = 0, .parts = {}};
  try {
    made.parts.resize(parts);
    divided_.reserve(divided_.size() + 1);
  } catch (const std::exception&) {
    return errc::out_of_memory;
  }
  const std::lock_guard table_lock(tensors_);
  if (!is_entry(id)) {
    return errc::stale_id;
  }
  access_record& r = tensors_.at(slot_of(id));
  if (const divided_tensor* const known = find_divided(id); known != nullptr) {
    return known->parts.size() == parts ? errc::ok : errc::invalid_argument;
  }
  if (parts == 0 || (r.attributes & entry_bound) != 0) {
    return parts == 0 ? errc::ok : errc::invalid_argument;
  }
  made.attributes = r.attributes & all_attributes;
  for (part_entry& each : made.parts) {
    each.kept = {.count = 0, .tick = now(), .score = 0, .exponent = 0};
  }
  try {
    divided_.insert_or_assign(slot_of(id), std::move(made));
  } catch (const std::exception&) {
    return errc::out_of_memory;
  }
  r.attributes |= entry_divided;
  return errc::ok;
}

result<domain> access_store::make_domain(const domain_options& options) noexcept {
  constexpr std::size_t most = UINT32_MAX - 63;
  std::size_t number = 0;
  while (number < how_.devices.size() && how_.devices[number] != options.where) {
    ++number;
  }
  if (options.size == 0 || options.size > most ||
      static_cast<unsigned>(options.lifecycle) >= lifecycle_count) {
    return errc::invalid_argument;
  }
  if (options.standalone && number == how_.devices.size()) {
    return status{.code = errc::unknown_device, .where = options.where};
  }
  const std::lock_guard lock(layout_mutex_);
  const std::uint32_t count = domain_count_.load(std::memory_order_relaxed);
  if (count == most_domains) {
    return errc::too_many;
  }
  std::unique_ptr<domain_table> made(new (std::nothrow) domain_table);
  if (made == nullptr || !made->table.open(options.size, {.kernels = how_.kernels,
                                                          .half_life = how_.half_life,
                                                          .huge_pages = how_.huge_pages})) {
    return errc::out_of_memory;
  }
  if (options.standalone) {
    const std::uint32_t attributes = make_attributes(number, options.category, options.lifecycle);
    for (std::size_t i = 0; i < options.size; ++i) {
      made->table.begin(i, 1, attributes, now());
    }
  } else {
    made->owners_memory = address_space::reserve(options.size * sizeof(owner));
    if (!made->owners_memory) {
      return errc::out_of_memory;
    }
    made->owners = static_cast<owner*>(made->owners_memory.data());
  }
  made->number = count;
  domains_[count].store(made.release(), std::memory_order_release);
  domain_count_.store(count + 1, std::memory_order_release);
  return name_of_domain(count);
}

access_store::domain_table* access_store::find_domain(domain which) const noexcept {
  const std::uint64_t number = (which.value() & 0xffffffffU) - 1;  // wraps for the empty domain
  if (which.value() >> 32 != how_.pool_tag ||
      number >= domain_count_.load(std::memory_order_acquire)) {
    return nullptr;
  }
  domain_table& found = domain_at(static_cast<std::uint32_t>(number));
  return found.dropped.load(std::memory_order_acquire) ? nullptr : &found;
}

errc access_store::drop_domain(domain which) noexcept {
  const std::lock_guard lock(layout_mutex_);
  domain_table* const gone = find_domain(which);
  if (gone == nullptr) {
    return errc::not_found;
  }
  gone->dropped.store(true, std::memory_order_release);
  const bool has_tensors = has_tensors_.load(std::memory_order_acquire);
  if (has_tensors) {
    tensors_.lock();
    tensors_.drain();
  }
  gone->table.lock();
  gone->table.drain();
  for (std::size_t i = 0; gone->owners != nullptr && i < gone->table.size(); ++i) {
    if (gone->table.is_entry(i)) {
      release_element(*gone, i);
    }
  }
  gone->table.clear();
  gone->owners_memory.clear();
  gone->table.unlock();
  if (has_tensors) {
    tensors_.unlock();
  }
  return errc::ok;
}

void access_store::flush() noexcept {
  const auto visit = [](access_table& table) {
    if (table.log().has_any()) {
      table.lock();
      table.unlock();
    }
  };
  if (has_tensors_.load(std::memory_order_acquire)) {
    visit(tensors_);
  }
  for (std::uint32_t i = 0; i < domain_count_.load(std::memory_order_acquire); ++i) {
    visit(domain_at(i).table);
  }
}

void access_store::lock_for_fork() noexcept {
  layout_mutex_.lock();
  tensors_.lock_for_fork();
  for (std::uint32_t i = 0; i < domain_count_.load(std::memory_order_acquire); ++i) {
    domain_at(i).table.lock_for_fork();
  }
}

void access_store::unlock_after_fork() noexcept {
  for (std::uint32_t i = 0; i < domain_count_.load(std::memory_order_acquire); ++i) {
    domain_at(i).table.unlock_after_fork();
  }
  tensors_.unlock_after_fork();
  layout_mutex_.unlock();
}

access_table* access_store::table_for_test(domain which) noexcept {
  domain_table* const found = find_domain(which);
  return found == nullptr ? nullptr : &found->table;
}

}  // namespace detail
}  // namespace v0
}  // namespace tidepool
