// SPDX-License-Identifier: Apache-2.0
//
// Wrong arguments: sizes, alignments, names, keys and devices that cannot be. Errors, no misuses.
#include "scene.hpp"

#include <array>

namespace tidepool::test {

namespace {

errc allocate(scene& s, std::size_t bytes, const allocation_options& options = {}) {
  return s.p.try_allocate(bytes, device::cpu(), options).error().code;
}

}  // namespace

std::vector<misuse> wrong_arguments() {
  return {
      {"allocate_all_bytes_there_are", errc::out_of_memory, nothing,
       [](scene& s) { return allocate(s, SIZE_MAX); }},
      {"allocate_more_than_can_be_rounded_up", errc::out_of_memory, nothing,
       [](scene& s) { return allocate(s, SIZE_MAX - 62, {.alignment = 4096}); }},
      {"allocate_minus_one_as_a_signed_size", errc::out_of_memory, nothing,
       [](scene& s) { return allocate(s, SIZE_MAX / 2 + 1); }},
      {"allocate_by_an_alignment_of_three", errc::invalid_argument, nothing,
       [](scene& s) { return allocate(s, 100, {.alignment = 3}); }},
      {"allocate_by_an_alignment_of_the_highest_bit", errc::invalid_argument, nothing,
       [](scene& s) { return allocate(s, 100, {.alignment = SIZE_MAX / 2 + 1}); }},
      {"allocate_of_an_unknown_category", errc::invalid_argument, nothing,
       [](scene& s) { return allocate(s, 100, {.category = static_cast<category>(200)}); }},
      {"allocate_of_an_unknown_lifecycle", errc::invalid_argument, nothing,
       [](scene& s) { return allocate(s, 100, {.lifecycle = static_cast<lifecycle>(77)}); }},
      {"allocate_with_a_name_of_nobody", errc::invalid_argument, nothing,
       [](scene& s) { return allocate(s, 100, {.name = name_id::from_value(12345)}); }},
      {"allocate_with_a_key_in_use", errc::key_in_use, nothing,
       [](scene& s) {
         const tensor first = s.p.allocate(100, {}, {.key = 9});
         return allocate(s, 100, {.key = 9});
       }},
      {"allocate_on_a_device_of_nobody", errc::unknown_device, nothing,
       [](scene& s) { return s.p.try_allocate(100, device::cuda(3)).error().code; }},
      {"allocate_nothing_on_a_device_of_nobody", errc::unknown_device, nothing,
       [](scene& s) { return s.p.try_allocate(0, device::cuda(3)).error().code; }},
      {"allocate_a_batch_of_none", errc::ok, nothing,
       [](scene& s) { return s.p.allocate_n(100, {}); }},
      {"allocate_a_batch_with_one_key", errc::invalid_argument, nothing,
       [](scene& s) {
         std::array<raw_tensor, 2> made;
         return s.p.allocate_n(100, made, {}, {.key = 4});
       }},
      {"allocate_a_batch_too_large", errc::out_of_memory, nothing,
       [](scene& s) {
         std::array<raw_tensor, 3> made;
         const errc code = s.p.allocate_n(std::size_t{1} << 46, made);
         return made[0].id || made[0].data != nullptr ? errc::ok : code;
       }},
      {"adopt_null_with_a_size", errc::invalid_argument, nothing,
       [](scene& s) { return s.p.try_adopt(nullptr, 10).error().code; }},
      {"adopt_with_a_key_in_use_does_not_release", errc::key_in_use, nothing,
       [](scene& s) {
         const tensor first = s.p.allocate(100, {}, {.key = 9});
         int released = 0;
         const adopt_options how{
             .key = 9,
             .release = [](void*, std::size_t, void* n) { ++*static_cast<int*>(n); },
             .context = &released};
         const errc code = s.p.try_adopt(&released, 4, {}, how).error().code;
         return released == 0 ? code : errc::ok;
       }},
      {"resize_to_nothing", errc::unsupported, nothing,
       [](scene& s) {
         tensor t = s.p.allocate(100);
         return s.p.resize(t, 0);
       }},
      {"resize_to_all_bytes_there_are", errc::out_of_memory, nothing,
       [](scene& s) {
         tensor t = s.p.allocate(2 * mib);
         return s.p.resize(t, SIZE_MAX);
       }},
      {"set_an_unknown_category", errc::invalid_argument, nothing,
       [](scene& s) { return s.p.set_category(s.bystander().id(), static_cast<category>(99)); }},
      {"set_an_unknown_lifecycle", errc::invalid_argument, nothing,
       [](scene& s) { return s.p.set_lifecycle(s.bystander().id(), static_cast<lifecycle>(99)); }},
      {"set_a_name_of_nobody", errc::invalid_argument, nothing,
       [](scene& s) { return s.p.set_name(s.bystander().id(), name_id::from_value(12345)); }},
      {"trim_of_a_device_of_nobody", errc::ok, nothing,
       [](scene& s) {
         return s.p.control().trim(device::cuda(1), 0).released_bytes == 0 ? errc::ok
                                                                           : errc::unknown_device;
       }},
      {"retire_a_stream_that_nobody_attached", errc::ok, nothing,
       [](scene& s) {
         return s.p.retire(device::cpu(), stream_ref{.handle = &s, .kind = stream_kind::ordinary});
       }},
      {"prewarm_of_nothing", errc::ok, nothing,
       [](scene& s) {
         return s.p.control().prewarm({.items = {{0, 10}, {10, 0}}}).blocks == 0
                    ? errc::ok
                    : errc::invalid_argument;
       }},
  };
}

}  // namespace tidepool::test
