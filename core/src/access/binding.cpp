// SPDX-License-Identifier: Apache-2.0
//
// access_store: binding elements of a domain to entries. Before a binding changes, its caller takes
// the table's lock and drains the log. So a batch that was recorded before the change counts for
// the old entry, and a later one for the new entry.
#include "access/store.hpp"

#include <cstring>

namespace tidepool {
inline namespace v0 {
namespace detail {

access_store::divided_tensor* access_store::find_divided(tensor_id id) noexcept {
  const auto found = divided_.find(slot_of(id));
  return found == divided_.end() || found->second.id != id ? nullptr : &found->second;
}

// Unbinds an element. Its figures go back to the entry's own record or part.
void access_store::release_element(domain_table& in, std::size_t index) noexcept {
  if (!in.table.is_entry(index)) {
    return;
  }
  const owner whose = std::exchange(in.owners[index], owner{});
  const access_table::figures counted = in.table.read(index);
  in.table.end(index);
  if (whose.part == whole_tensor) {
    access_record& home = tensors_.at(slot_of(whose.id));
    home.attributes &= ~entry_bound;
    home.score = 0;
    tensors_.write(slot_of(whose.id), counted);
  } else {
    part_entry& home = find_divided(whose.id)->parts[whose.part];
    home = {.where = {}, .kept = counted};
  }
}

// Takes the figures of an entry that moves to another element, and empties its old one. Pre: the
// caller holds the lock of `locked`.
access_table::figures access_store::take_from(const place& from, domain_table& locked) noexcept {
  domain_table& old = domain_at(from.domain - 1);
  if (&old != &locked) {
    old.table.lock();
  }
  old.table.drain();
  const access_table::figures counted = old.table.read(from.index);
  old.table.end(from.index);
  old.owners[from.index] = {};
  if (&old != &locked) {
    old.table.unlock();
  }
  return counted;
}

// Pre: the entry exists.
void access_store::place_entry(domain_table& in, std::size_t index, const owner& entry) noexcept {
  const owner& now_there = in.owners[index];
  if (in.table.is_entry(index) && now_there.id == entry.id && now_there.part == entry.part) {
    return;
  }
  release_element(in, index);
  const place here{.domain = in.number + 1, .index = static_cast<std::uint32_t>(index)};
  const std::size_t slot = slot_of(entry.id);
  access_table::figures counted;
  std::uint32_t attributes = 0;
  if (entry.part == whole_tensor) {
    access_record& home = tensors_.at(slot);
    attributes = home.attributes & all_attributes;
    if ((home.attributes & entry_bound) != 0) {
      counted = take_from({.domain = static_cast<std::uint32_t>(home.count) + 1,
                           .index = static_cast<std::uint32_t>(home.tick)},
                          in);
    } else {
      counted = tensors_.read(slot);
    }
    home.count = here.domain - 1;
    home.tick = here.index;
    home.score = 0;
    home.attributes |= entry_bound;
  } else {
    divided_tensor& tensor = *find_divided(entry.id);
    part_entry& home = tensor.parts[entry.part];
    attributes = tensor.attributes;
    counted = home.where.domain != 0 ? take_from(home.where, in) : home.kept;
    home.where = here;
  }
  bindings_ = bindings_ == UINT32_MAX ? 1 : bindings_ + 1;
  in.table.begin(index, bindings_, attributes, counted.tick);
  in.table.write(index, counted);
  in.owners[index] = entry;
}

errc access_store::bind(domain to, std::size_t first, std::span<const tensor_id> ids) noexcept {
  const std::lock_guard lock(layout_mutex_);
  domain_table* const in = find_domain(to);
  if (in == nullptr) {
    return errc::not_found;
  }
  if (in->owners == nullptr || first > in->table.size() || ids.size() > in->table.size() - first) {
    return errc::invalid_argument;
  }
  const bool has_tensors = has_tensors_.load(std::memory_order_acquire);
  if (!has_tensors) {
    for (const tensor_id id : ids) {
      if (id) {
        return errc::stale_id;
      }
    }
    return errc::ok;
  }
  const std::lock_guard tensors_lock(tensors_);
  for (const tensor_id id : ids) {
    if (id && !is_entry(id)) {
      return errc::stale_id;
    }
    if (id && (tensors_.at(slot_of(id)).attributes & entry_divided) != 0) {
      return errc::invalid_argument;
    }
  }
  tensors_.drain();
  const std::lock_guard domain_lock(in->table);
  in->table.drain();
  for (std::size_t i = 0; i < ids.size(); ++i) {
    if (ids[i]) {
      place_entry(*in, first + i, {.id = ids[i], .part = whole_tensor, .unused = 0});
    } else {
      release_element(*in, first + i);
    }
  }
  return errc::ok;
}

errc access_store::bind_parts(domain to, std::size_t first, tensor_id id,
                              part_range parts) noexcept {
  const std::lock_guard lock(layout_mutex_);
  domain_table* const in = find_domain(to);
  if (in == nullptr) {
    return errc::not_found;
  }
  if (!has_tensors_.load(std::memory_order_acquire)) {
    return errc::stale_id;
  }
  const std::lock_guard tensors_lock(tensors_);
  if (!is_entry(id)) {
    return errc::stale_id;
  }
  const divided_tensor* const tensor = find_divided(id);
  if (tensor == nullptr || in->owners == nullptr || parts.first > tensor->parts.size()) {
    return errc::invalid_argument;
  }
  const std::size_t available = tensor->parts.size() - parts.first;
  const std::size_t count = parts.count == 0 ? available : parts.count;
  if (count > available || first > in->table.size() || count > in->table.size() - first) {
    return errc::invalid_argument;
  }
  tensors_.drain();
  const std::lock_guard domain_lock(in->table);
  in->table.drain();
  for (std::size_t i = 0; i < count; ++i) {
    place_entry(*in, first + i,
                {.id = id, .part = static_cast<std::uint32_t>(parts.first + i), .unused = 0});
  }
  return errc::ok;
}

// Ends an entry that is bound or has parts. Pre: layout_mutex_ is held.
void access_store::end_elsewhere(tensor_id id) noexcept {
  const std::lock_guard tensors_lock(tensors_);
  if (!is_entry(id)) {
    return;
  }
  const auto empty = [this](const place& where) {
    domain_table& in = domain_at(where.domain - 1);
    const std::lock_guard domain_lock(in.table);
    in.table.end(where.index);
    in.owners[where.index] = {};
  };
  const access_record& r = tensors_.at(slot_of(id));
  if ((r.attributes & entry_bound) != 0) {
    empty({.domain = static_cast<std::uint32_t>(r.count) + 1,
           .index = static_cast<std::uint32_t>(r.tick)});
  }
  if (const divided_tensor* const tensor = find_divided(id); tensor != nullptr) {
    for (const part_entry& each : tensor->parts) {
      if (each.where.domain != 0) {
        empty(each.where);
      }
    }
    divided_.erase(slot_of(id));
  }
  tensors_.end(slot_of(id));
}

void access_store::set_attributes(tensor_id id, std::uint32_t mask, std::uint32_t value) noexcept {
  if (!has_tensors_.load(std::memory_order_acquire)) {
    return;
  }
  const auto change = [&](std::uint32_t& attributes) { attributes = (attributes & ~mask) | value; };
  tensors_.lock();
  const bool is_ours = is_entry(id);
  const bool is_plain =
      is_ours && (tensors_.at(slot_of(id)).attributes & (entry_bound | entry_divided)) == 0;
  if (is_plain) {
    change(tensors_.at(slot_of(id)).attributes);
  }
  tensors_.unlock();
  if (!is_ours || is_plain) {
    return;
  }
  const std::lock_guard lock(layout_mutex_);
  const std::lock_guard tensors_lock(tensors_);
  if (!is_entry(id)) {
    return;
  }
  const auto change_at = [&](const place& where) {
    domain_table& in = domain_at(where.domain - 1);
    const std::lock_guard domain_lock(in.table);
    change(in.table.at(where.index).attributes);
  };
  access_record& r = tensors_.at(slot_of(id));
  change(r.attributes);
  if ((r.attributes & entry_bound) != 0) {
    change_at({.domain = static_cast<std::uint32_t>(r.count) + 1,
               .index = static_cast<std::uint32_t>(r.tick)});
  }
  if (divided_tensor* const tensor = find_divided(id); tensor != nullptr) {
    change(tensor->attributes);
    for (const part_entry& each : tensor->parts) {
      if (each.where.domain != 0) {
        change_at(each.where);
      }
    }
  }
}

// Applies a use of a bound tensor to the record of its element. Pre: the tensors' lock is held, so
// the tensor stays bound to that element meanwhile.
bool access_store::forward(const access_record& from, std::uint32_t weight,
                           std::uint64_t tick) noexcept {
  domain_table& in = domain_at(static_cast<std::uint32_t>(from.count));
  std::array<std::uint32_t, 1 + access_lookahead> index;
  index.fill(static_cast<std::uint32_t>(from.tick));
  access_report report;
  const std::lock_guard lock(in.table);
  in.table.apply({.indices = index.data(), .weights = &weight, .n = 1, .tick = tick}, report);
  return report.recorded == 1;
}

}  // namespace detail
}  // namespace v0
}  // namespace tidepool
