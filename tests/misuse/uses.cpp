// SPDX-License-Identifier: Apache-2.0
//
// Wrong uses: of dead and foreign ids in every function that takes one, of closed pools, and of
// addresses that are no tensor's, in C++ and in C.
#include "scene.hpp"
#include <tidepool.h>
#include <tidepool/c_interop.hpp>
#include <tidepool/control.hpp>

namespace tidepool::test {

namespace {

errc find(scene& s, const void* data) {
  return s.p.find(data).error().code;
}

/// The same for C: a pool of its own with one tensor of 4 KiB, found by `offset` from its begin.
errc find_in_c(std::ptrdiff_t offset, bool free_before) {
  tidepool_backend* source = to_c(small_cpu());
  tidepool_pool* pool = nullptr;
  tidepool_tensor t{};
  if (tidepool_pool_create(&source, 1, nullptr, &pool) != TIDEPOOL_OK ||
      tidepool_allocate(pool, 4096, tidepool_device_cpu(), nullptr, &t) != TIDEPOOL_OK) {
    return errc::out_of_memory;
  }
  if (free_before) {
    (void)tidepool_deallocate(pool, t.id);
  }
  tidepool_tensor_id found = 0;
  const tidepool_status code =
      tidepool_find(pool, static_cast<const char*>(t.data) + offset, &found);
  if (!free_before) {
    (void)tidepool_deallocate(pool, t.id);
  }
  tidepool_pool_destroy(pool);
  return static_cast<errc>(code);
}

}  // namespace

std::vector<misuse> wrong_uses() {
  return {
      {"retain_after_free", errc::stale_id, stale_use,
       [](scene& s) { return s.p.retain(s.freed()); }},
      {"pin_after_free", errc::stale_id, stale_use,
       [](scene& s) { return s.p.pin(s.freed()).error().code; }},
      {"unpin_after_free", errc::stale_id, stale_use,
       [](scene& s) { return s.p.unpin(s.freed()); }},
      {"set_lifecycle_after_free", errc::stale_id, stale_use,
       [](scene& s) { return s.p.set_lifecycle(s.freed(), lifecycle::inactive); }},
      {"set_category_after_free", errc::stale_id, stale_use,
       [](scene& s) { return s.p.set_category(s.freed(), category::weight); }},
      {"set_name_after_free", errc::stale_id, stale_use,
       [](scene& s) { return s.p.set_name(s.freed(), {}); }},
      {"info_after_free", errc::stale_id, nothing,  // a question is no misuse
       [](scene& s) { return s.p.info(s.freed()).error().code; }},
      {"set_category_after_reuse_of_the_slot", errc::stale_id, stale_use,
       [](scene& s) {
         const tensor_id a = s.freed();
         const tensor again = s.p.allocate(100);
         return s.p.set_category(a, category::weight);
       }},
      {"retain_of_the_null_id", errc::stale_id, foreign,
       [](scene& s) { return s.p.retain(tensor_id{}); }},
      {"pin_of_the_null_id", errc::stale_id, foreign,
       [](scene& s) { return s.p.pin(tensor_id{}).error().code; }},
      {"unpin_of_the_null_id", errc::stale_id, foreign,
       [](scene& s) { return s.p.unpin(tensor_id{}); }},
      {"info_of_the_null_id", errc::stale_id, nothing,
       [](scene& s) { return s.p.info(tensor_id{}).error().code; }},
      {"set_category_of_the_null_id", errc::stale_id, foreign,
       [](scene& s) { return s.p.set_category(tensor_id{}, category::weight); }},
      {"retain_of_another_pools_tensor", errc::stale_id, foreign,
       [](scene& s) {
         pool other(small_cpu());
         const tensor theirs = other.allocate(100);
         return s.p.retain(theirs.id());
       }},
      {"pin_of_a_forged_id", errc::stale_id, foreign,
       [](scene& s) {
         return s.p.pin(tensor_id::from_value(s.bystander().id().value() ^ 1)).error().code;
       }},

      {"find_of_an_interior_address", errc::not_found, nothing,
       [](scene& s) { return find(s, s.bystander().as<char>().data() + 64); }},
      {"find_of_an_unaligned_address", errc::not_found, nothing,
       [](scene& s) { return find(s, s.bystander().as<char>().data() + 1); }},
      {"find_of_a_local_variable", errc::not_found, nothing,
       [](scene& s) {
         const int local = 0;
         return find(s, &local);
       }},
      {"find_of_null", errc::not_found, nothing, [](scene& s) { return find(s, nullptr); }},
      {"find_of_a_freed_address", errc::not_found, nothing,
       [](scene& s) {
         tensor gone = s.p.allocate(100);
         const void* const data = gone.data();
         gone.reset();
         return find(s, data);
       }},
      {"find_of_an_address_the_system_has_again", errc::not_found, nothing,
       [](scene& s) {
         tensor gone = s.p.allocate(8 * mib);
         const void* const data = gone.data();
         (void)find(s, data);
         gone.reset();
         (void)s.p.control().trim();
         return find(s, data);
       }},
      {"find_of_a_parts_address_inside_its_parent", errc::not_found, nothing,
       [](scene& s) {
         const tensor whole = s.p.allocate(100);
         const tensor part = std::move(*s.p.slice(whole, 64, 36));
         return find(s, part.data());
       }},
      {"find_of_another_pools_address", errc::not_found, nothing,
       [](scene& s) {
         pool other(small_cpu());
         const tensor theirs = other.allocate(100);
         return find(s, theirs.data());
       }},
      {"find_of_key_zero", errc::not_found, nothing,
       [](scene& s) { return s.p.find(std::uint64_t{0}).error().code; }},
      {"find_of_a_freed_key", errc::not_found, nothing,
       [](scene& s) {
         (void)s.freed(100, {.key = 5});
         return s.p.find(std::uint64_t{5}).error().code;
       }},
      {"find_in_c_of_an_interior_address", errc::not_found, nothing,
       [](scene&) { return find_in_c(64, false); }},
      {"find_in_c_of_an_unaligned_address", errc::not_found, nothing,
       [](scene&) { return find_in_c(3, false); }},
      {"find_in_c_of_a_freed_address", errc::not_found, nothing,
       [](scene&) { return find_in_c(0, true); }},
      {"find_in_c_of_a_living_one", errc::ok, nothing, [](scene&) { return find_in_c(0, false); }},

      {"allocate_after_close", errc::closed, closed,
       [](scene& s) {
         (void)s.p.close();
         return s.p.try_allocate(100).error().code;
       }},
      {"allocate_nothing_after_close", errc::closed, closed,
       [](scene& s) {
         (void)s.p.close();
         return s.p.try_allocate(0).error().code;
       }},
      {"adopt_after_close", errc::closed, closed,
       [](scene& s) {
         (void)s.p.close();
         return s.p.try_adopt(&s, 1).error().code;
       }},
      {"slice_after_close", errc::closed, closed,
       [](scene& s) {
         (void)s.p.close();
         return s.p.slice(s.bystander(), 0, 1).error().code;
       }},
      {"retain_and_release_after_close", errc::ok, nothing,
       [](scene& s) {
         (void)s.p.close();
         const errc code = s.p.retain(s.bystander().id());
         return code == errc::ok ? s.p.release(s.bystander().id()) : code;
       }},
      {"close_twice", errc::ok, nothing,
       [](scene& s) { return s.p.close() == s.p.close() ? errc::ok : errc::closed; }},
  };
}

}  // namespace tidepool::test
