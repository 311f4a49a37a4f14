// SPDX-License-Identifier: Apache-2.0
//
// access_store: all access entries of one pool. An entry has its record in one of three places:
//   - An unbound tensor has it in the tensors' table, at the number of its slot, so that an id
//   leads
//     to its record at once.
//   - An element of a domain has it in the domain's own table, at its index. When an entry is bound
//     to the element, its figures move there, and they move back when it is unbound. So each entry
//     has one record with figures. The tensor's record then holds the place (entry_bound).
//   - A part that is bound to no element has it in `divided_`. No batch can add to such a part.
//
// Lock order: layout_mutex_ -> lock of the tensors' table -> locks of domains' tables -> stripes of
// logs. A thread may hold the locks of two domains only while it holds layout_mutex_.
// Files: store.cpp (entries, domains), binding.cpp, recording.cpp, query.cpp.
#pragma once

#include "access/table.hpp"
#include "record/record.hpp"
#include <tidepool/access.hpp>
#include <tidepool/result.hpp>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <unordered_map>
#include <vector>

namespace tidepool {
inline namespace v0 {
namespace detail {

class flat_index;

/// A record's attributes without flags.
[[nodiscard]] constexpr std::uint32_t make_attributes(std::size_t device_number, category what,
                                                      lifecycle state) noexcept {
  return static_cast<std::uint32_t>(device_number) |
         std::uint32_t{static_cast<std::uint8_t>(what)} << 8 |
         std::uint32_t{static_cast<std::uint8_t>(state)} << 16;
}
inline constexpr std::uint32_t category_attribute = 0xff00;
inline constexpr std::uint32_t lifecycle_attribute = 0xff0000;
inline constexpr std::uint32_t all_attributes = 0xffffff;
[[nodiscard]] constexpr category category_of_attributes(std::uint32_t attributes) noexcept {
  return static_cast<category>(attributes >> 8 & 0xff);
}
[[nodiscard]] constexpr lifecycle lifecycle_of_attributes(std::uint32_t attributes) noexcept {
  return static_cast<lifecycle>(attributes >> 16 & 0xff);
}

class access_store final : private access_table::forwarding {
 public:
  struct settings {
    std::size_t slots = 0;  // of the slot table
    std::uint64_t pool_tag = 0;
    std::uint64_t half_life = 0;
    const access_kernels* kernels = &scalar_access_kernels;
    const flat_index* keys = nullptr;
    std::vector<device> devices;  // by number
    bool huge_pages = true;
  };
  explicit access_store(settings how) noexcept : how_(std::move(how)) {}
  access_store(const access_store&) = delete;
  access_store& operator=(const access_store&) = delete;
  ~access_store();

  // Entries of tensors.
  /// Gives a tensor an entry. The thread that makes the tensor calls it before it publishes the
  /// tensor. False: there is no address space for the table.
  [[nodiscard]] bool begin(tensor_id id, std::uint32_t attributes) noexcept;
  /// Ends the entry of a tensor that ends, and the entries of its parts. It ignores an id that has
  /// no entry.
  void end(tensor_id id) noexcept;
  /// Changes the attributes of the entry and of its parts. Pre: mask is within all_attributes.
  void set_attributes(tensor_id id, std::uint32_t mask, std::uint32_t value) noexcept;
  /// Gives an entry parts. Errors: stale_id (the tensor has no entry), invalid_argument (it has
  /// another number of parts, or is bound), out_of_memory.
  [[nodiscard]] errc divide(tensor_id id, std::uint32_t parts) noexcept;

  // Domains (store.cpp, binding.cpp).
  [[nodiscard]] result<domain> make_domain(const domain_options& options) noexcept;
  errc drop_domain(domain which) noexcept;
  errc bind(domain to, std::size_t first, std::span<const tensor_id> ids) noexcept;
  errc bind_parts(domain to, std::size_t first, tensor_id id, part_range parts) noexcept;

  // Batches (recording.cpp).
  [[nodiscard]] result<access_report> record(const access_batch& batch) noexcept;
  void flush() noexcept;
  void set_predictor(access_predictor* predictor) noexcept {
    predictor_.store(predictor, std::memory_order_release);
  }

  // Queries (query.cpp).
  [[nodiscard]] result<access_info> find(tensor_id id, std::uint32_t part) noexcept;
  [[nodiscard]] result<access_info> find(domain within, std::uint64_t index) noexcept;
  struct ranking {
    access_order by = access_order::tick;
    bool descending = false;
    std::optional<std::uint64_t> older_than = {};  // entries whose tick is lower
  };
  [[nodiscard]] access_selection select(std::span<access_info> best, const ranking& how,
                                        const access_filter& filter) noexcept;
  /// The figures that a query compares before it builds the access_info of an entry.
  struct use_figures {
    std::uint64_t count;
    std::uint64_t tick;
    double score;
    tidepool::category category;
  };
  /// Calls wants(const use_figures&) for every entry that passes the filter, and
  /// f(const access_info&) for each entry for which the answer is true. Both run with locks held.
  template <class Wants, class F>
  void for_each(const access_filter& filter, Wants&& wants, F&& f) noexcept;
  [[nodiscard]] std::array<category_accesses, 256> by_category(
      const access_filter& filter) noexcept;
  [[nodiscard]] access_ages ages(const access_filter& filter) noexcept;
  [[nodiscard]] std::size_t count(const access_filter& filter) noexcept;
  [[nodiscard]] access_totals totals() noexcept;

  // For fork, which happens between these two calls. The pool is idle then, except that other
  // threads may record batches.
  void lock_for_fork() noexcept;
  void unlock_after_fork() noexcept;
  /// Null, or the first broken invariant. is_tracked(id): is that a live, tracked tensor?
  using tracked_test = bool (*)(const void* context, tensor_id id, std::uint32_t attributes);
  [[nodiscard]] const char* verify(tracked_test is_tracked, const void* context) noexcept;
  [[nodiscard]] std::size_t tracked() noexcept;

  /// For tests.
  [[nodiscard]] access_table* table_for_test(domain which) noexcept;
  [[nodiscard]] access_table& tensors_for_test() noexcept { return tensors_; }

 private:
  struct owner {
    tensor_id id;
    std::uint32_t part;
    std::uint32_t unused;
  };
  struct domain_table {
    access_table table;
    address_space owners_memory;
    owner* owners = nullptr;  // by index; guarded by the table's lock; null: standalone
    std::uint32_t number = 0;
    std::atomic<bool> dropped{false};
  };
  /// The element at which an entry stands. domain: its number + 1; 0: it stands in no domain.
  struct place {
    std::uint32_t domain = 0;
    std::uint32_t index = 0;
  };
  struct part_entry {
    place where;
    access_table::figures kept;  // while in no domain
  };
  struct divided_tensor {
    tensor_id id;
    std::uint32_t attributes = 0;
    std::vector<part_entry> parts;
  };
  static constexpr std::size_t most_domains = 1024;

  bool forward(const access_record& from, std::uint32_t weight,
               std::uint64_t tick) noexcept override;
  [[nodiscard]] bool open_tensors() noexcept;
  [[nodiscard]] domain_table* find_domain(domain which) const noexcept;
  [[nodiscard]] domain_table& domain_at(std::uint32_t number) const noexcept {
    return *domains_[number].load(std::memory_order_acquire);
  }
  [[nodiscard]] domain name_of_domain(std::uint32_t number) const noexcept {
    return domain::from_value(how_.pool_tag << 32 | (std::uint64_t{number} + 1));
  }
  [[nodiscard]] static std::size_t slot_of(tensor_id id) noexcept {
    return self_of(id.value()) >> slot_shift;
  }
  /// Pre: the tensors' lock is held, if the table is open.
  [[nodiscard]] bool is_entry(tensor_id id) const noexcept;
  /// Pre: an entry is there.
  [[nodiscard]] tensor_id id_at(std::size_t slot) const noexcept {
    return tensor_id::from_value(std::uint64_t{tensors_.at(slot).generation} << 32 |
                                 std::uint64_t{slot} << slot_shift | how_.pool_tag);
  }
  void observe(std::uint64_t tick) noexcept;
  [[nodiscard]] std::uint64_t now() const noexcept { return now_.load(std::memory_order_relaxed); }

  // binding.cpp. Pre: the caller holds layout_mutex_, the tensors' lock and the lock of `in`.
  void release_element(domain_table& in, std::size_t index) noexcept;
  void place_entry(domain_table& in, std::size_t index, const owner& entry) noexcept;
  [[nodiscard]] access_table::figures take_from(const place& from, domain_table& locked) noexcept;
  [[nodiscard]] divided_tensor* find_divided(tensor_id id) noexcept;
  void end_elsewhere(tensor_id id) noexcept;

  // recording.cpp
  template <class Source>
  [[nodiscard]] status record_from(const Source& source, access_table& table, std::uint64_t tick,
                                   access_report& report) noexcept;
  [[nodiscard]] status record_indices(const access_batch& batch, std::uint64_t tick,
                                      access_report& report) noexcept;

  // query.cpp
  [[nodiscard]] access_info info_of(const access_table& table, const access_record& r,
                                    const owner& whose) const noexcept;
  [[nodiscard]] access_info info_of(const divided_tensor& tensor,
                                    std::uint32_t part) const noexcept;
  /// Returns the present value of one unit of a stored score.
  [[nodiscard]] double score_unit(std::uint64_t exponent) const noexcept;
  [[nodiscard]] bool passes(std::uint32_t attributes, const access_filter& filter) const noexcept;
  [[nodiscard]] access_info info_at(const domain_table& in, std::size_t index) const noexcept;

  const settings how_;
  std::mutex layout_mutex_;
  // The tensors with parts, by slot; guarded by layout_mutex_.
  std::unordered_map<std::size_t, divided_tensor> divided_;
  std::uint32_t bindings_ = 0;            // guarded by layout_mutex_; generations of bound elements
  std::atomic<bool> has_tensors_{false};  // tensors_ is open
  access_table tensors_;
  std::array<std::atomic<domain_table*>, most_domains> domains_{};
  std::atomic<std::uint32_t> domain_count_{0};
  std::atomic<std::uint64_t> now_{0};
  std::atomic<access_predictor*> predictor_{nullptr};
};

}  // namespace detail
}  // namespace v0
}  // namespace tidepool
