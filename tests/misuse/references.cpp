// SPDX-License-Identifier: Apache-2.0
//
// Wrong references: more releases than retains, pins that do not match, parts and their parents.
#include "scene.hpp"

namespace tidepool::test {

std::vector<misuse> wrong_references() {
  return {
      {"release_without_retain", errc::stale_id, stale_free,
       [](scene& s) {
         const tensor_id a = s.raw();
         (void)s.p.retain(a);
         (void)s.p.release(a);
         (void)s.p.release(a);
         return s.p.release(a);
       }},
      {"release_by_deallocate_and_once_more", errc::stale_id, stale_free,
       [](scene& s) {
         tensor one = s.p.allocate(100);
         tensor two = std::move(*s.p.share(one));
         const tensor_id a = one.id();
         one.reset();
         two.reset();
         return s.p.deallocate(a);
       }},
      {"retain_beyond_the_last_reference", errc::too_many, nothing,
       [](scene& s) {
         const tensor_id a = s.raw();
         errc code = errc::ok;
         int held = 1;
         while ((code = s.p.retain(a)) == errc::ok) {
           ++held;
         }
         while (held-- > 0) {
           (void)s.p.release(a);
         }
         return code;
       }},
      {"unpin_without_pin", errc::invalid_argument, unbalanced,
       [](scene& s) { return s.p.unpin(s.bystander().id()); }},
      {"unpin_twice", errc::invalid_argument, unbalanced,
       [](scene& s) {
         (void)s.p.pin(s.bystander().id());
         (void)s.p.unpin(s.bystander().id());
         return s.p.unpin(s.bystander().id());
       }},
      {"unpin_of_a_reference_that_is_no_pin", errc::invalid_argument, unbalanced,
       [](scene& s) {
         const tensor_id a = s.raw();
         (void)s.p.retain(a);
         const errc code = s.p.unpin(a);
         (void)s.p.release(a);
         (void)s.p.release(a);
         return code;
       }},
      {"unpin_after_the_end", errc::stale_id, stale_use,
       [](scene& s) {
         const tensor_id a = s.raw();
         (void)s.p.pin(a);
         (void)s.p.deallocate(a);  // the pin keeps it
         (void)s.p.unpin(a);       // and ends it
         return s.p.unpin(a);
       }},
      {"a_pinned_tensor_outlives_its_owner", errc::ok, nothing,
       [](scene& s) {
         const tensor_id a = s.raw();
         const result<void*> data = s.p.pin(a);
         (void)s.p.deallocate(a);
         const bool alive = s.p.info(a).has_value() && s.p.info(a)->data == *data;
         const errc code = s.p.unpin(a);
         return alive ? code : errc::stale_id;
       }},
      {"a_parent_freed_before_its_part_stays", errc::ok, nothing,
       [](scene& s) {
         tensor whole = s.p.allocate(100);
         const tensor part = std::move(*s.p.slice(whole, 50, 50));
         std::memset(whole.data(), 1, 100);
         whole.reset();
         return part.as<unsigned char>()[49] == 1 ? errc::ok : errc::stale_id;
       }},
      {"a_part_freed_twice", errc::stale_id, stale_free,
       [](scene& s) {
         const tensor whole = s.p.allocate(100);
         const tensor_id part = s.p.slice(whole, 50, 50)->release();
         (void)s.p.deallocate(part);
         const errc code = s.p.deallocate(part);
         return s.p.info(whole.id()).has_value() ? code : errc::not_found;
       }},
      {"a_parent_used_after_its_last_part", errc::stale_id, stale_use,
       [](scene& s) {
         tensor whole = s.p.allocate(100);
         tensor part = std::move(*s.p.slice(whole, 0, 100));
         const tensor_id a = whole.id();
         whole.reset();
         part.reset();
         return s.p.retain(a);
       }},
      {"a_part_of_a_part_of_a_freed_parent", errc::ok, nothing,
       [](scene& s) {
         tensor whole = s.p.allocate(100);
         tensor half = std::move(*s.p.slice(whole, 50, 50));
         const tensor quarter = std::move(*s.p.slice(half, 25, 25));
         const void* const end = whole.as<unsigned char>().data() + 75;
         whole.reset();
         half.reset();
         return quarter.data() == end ? errc::ok : errc::stale_id;
       }},
      {"a_slice_beyond_the_end", errc::invalid_argument, nothing,
       [](scene& s) { return s.p.slice(s.bystander(), 50, 51).error().code; }},
      {"a_slice_whose_end_overflows", errc::invalid_argument, nothing,
       [](scene& s) { return s.p.slice(s.bystander(), 50, SIZE_MAX - 20).error().code; }},
      {"a_slice_that_begins_beyond_the_end", errc::invalid_argument, nothing,
       [](scene& s) { return s.p.slice(s.bystander(), 101, 0).error().code; }},
      {"a_slice_of_a_tensor_that_was_moved_from", errc::stale_id, misuse_kind::foreign_id,
       [](scene& s) {
         tensor one = s.p.allocate(100);
         const tensor two = std::move(one);
         return s.p.slice(one, 0, 1).error().code;  // NOLINT(bugprone-use-after-move)
       }},
      {"a_slice_of_a_tensor_whose_id_was_freed", errc::stale_id, stale_use,
       [](scene& s) {
         tensor handle = s.p.allocate(100);
         (void)s.p.deallocate(handle.id());
         const errc code = s.p.slice(handle, 0, 1).error().code;
         (void)handle.release();
         return code;
       }},
      {"share_of_a_tensor_whose_id_was_freed", errc::stale_id, stale_use,
       [](scene& s) {
         tensor handle = s.p.allocate(100);
         (void)s.p.deallocate(handle.id());
         const errc code = s.p.share(handle).error().code;
         (void)handle.release();
         return code;
       }},
      {"resize_of_a_tensor_whose_id_was_freed", errc::stale_id, stale_use,
       [](scene& s) {
         tensor handle = s.p.allocate(100);
         (void)s.p.deallocate(handle.id());
         const errc code = s.p.resize(handle, 50);
         (void)handle.release();
         return code;
       }},
      {"resize_of_a_shared_tensor", errc::unsupported, nothing,
       [](scene& s) {
         tensor one = s.p.allocate(100);
         const tensor two = std::move(*s.p.share(one));
         return s.p.resize(one, 50);
       }},
      {"resize_of_a_tensor_with_parts", errc::unsupported, nothing,
       [](scene& s) {
         tensor whole = s.p.allocate(100);
         const tensor part = std::move(*s.p.slice(whole, 90, 10));
         return s.p.resize(whole, 50);
       }},
      {"resize_of_a_part", errc::unsupported, nothing,
       [](scene& s) {
         const tensor whole = s.p.allocate(100);
         tensor part = std::move(*s.p.slice(whole, 0, 10));
         return s.p.resize(part, 20);
       }},
      {"resize_of_another_pools_tensor", errc::stale_id, misuse_kind::foreign_id,
       [](scene& s) {
         pool other(small_cpu());
         tensor theirs = other.allocate(100);
         return s.p.resize(theirs, 50);
       }},
      {"share_of_another_pools_tensor", errc::stale_id, misuse_kind::foreign_id,
       [](scene& s) {
         pool other(small_cpu());
         const tensor theirs = other.allocate(100);
         return s.p.share(theirs).error().code;
       }},
      // A free too many while pins or slices keep the tensor: their references are not the owner's.
      {"a_free_too_many_of_a_parent", errc::stale_id, stale_free,
       [](scene& s) {
         tensor whole = s.p.allocate(100);
         const tensor part = std::move(*s.p.slice(whole, 10, 10));
         std::memset(whole.data(), 7, 100);
         const tensor_id a = whole.release();
         (void)s.p.deallocate(a);
         const errc code = s.p.deallocate(a);
         const bool intact = s.p.info(a).has_value() && s.p.info(a)->references == 1 &&
                             part.as<unsigned char>()[9] == 7;
         return intact ? code : errc::not_found;
       }},
      {"a_handle_dropped_after_its_id_was_freed", errc::ok, stale_free,
       [](scene& s) {
         tensor whole = s.p.allocate(100);
         const tensor part = std::move(*s.p.slice(whole, 0, 10));
         (void)s.p.deallocate(whole.id());
         whole.reset();
         return s.p.info(part.id()).has_value() ? errc::ok : errc::not_found;
       }},
      {"a_free_too_many_of_a_pinned_tensor", errc::stale_id, stale_free,
       [](scene& s) {
         const tensor_id a = s.raw();
         (void)s.p.pin(a);
         (void)s.p.deallocate(a);
         const errc code = s.p.deallocate(a);
         return s.p.unpin(a) == errc::ok ? code : errc::not_found;
       }},
      {"a_free_too_many_beside_pins_and_slices", errc::stale_id, stale_free,
       [](scene& s) {
         tensor whole = s.p.allocate(100);
         const tensor_id a = whole.id();
         tensor one = std::move(*s.p.slice(whole, 0, 10));
         tensor two = std::move(*s.p.slice(one, 0, 5));
         (void)s.p.pin(a);
         (void)s.p.pin(a);
         (void)s.p.unpin(a);
         (void)s.p.deallocate(whole.release());
         const errc code = s.p.deallocate(a);
         one.reset();
         two.reset();
         return s.p.unpin(a) == errc::ok && !s.p.info(a) ? code : errc::not_found;
       }},
      // The limit of what an id can tell: all owners of a tensor have the same one. A free too many
      // takes the reference of whoever is left, and is told when that one ends.
      {"a_free_too_many_is_told_by_the_last_owner", errc::ok, stale_free,
       [](scene& s) {
         tensor one = s.p.allocate(100);
         tensor two = std::move(*s.p.share(one));
         (void)s.p.deallocate(one.id());
         const errc code = s.p.deallocate(one.id());
         (void)one.release();
         two.reset();
         return code;
       }},
  };
}

}  // namespace tidepool::test
