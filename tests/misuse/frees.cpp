// SPDX-License-Identifier: Apache-2.0
//
// Wrong frees: twice, in every order and from everywhere, and of what was never a tensor here.
#include "scene.hpp"

#include <array>
#include <mutex>
#include <string>

namespace tidepool::test {

namespace {

tensor_id id_of(std::uint64_t value) {
  return tensor_id::from_value(value);
}

}  // namespace

std::vector<misuse> wrong_frees() {
  return {
      {"double_free_immediate", errc::stale_id, stale_free,
       [](scene& s) {
         const tensor_id a = s.freed();
         return s.p.deallocate(a);
       }},
      {"double_free_delayed", errc::stale_id, stale_free,
       [](scene& s) {
         const tensor_id a = s.freed();
         for (std::size_t i = 0; i < 1000; ++i) {
           (void)s.freed(1 + i * 7);
         }
         return s.p.deallocate(a);
       }},
      {"double_free_interleaved", errc::stale_id, stale_free,
       [](scene& s) {
         const tensor_id a = s.raw();
         const tensor_id b = s.raw();
         (void)s.p.deallocate(a);
         (void)s.p.deallocate(b);
         return s.p.deallocate(a);
       }},
      {"double_free_after_reuse_of_the_slot", errc::stale_id, stale_free,
       [](scene& s) {
         const tensor_id a = s.freed();
         const tensor again = s.p.allocate(100);
         return s.p.deallocate(a);
       }},
      {"double_free_after_a_thousand_reuses", errc::stale_id, stale_free,
       [](scene& s) {
         const tensor_id a = s.freed();
         for (int i = 0; i < 1000; ++i) {
           (void)s.freed();
         }
         return s.p.deallocate(a);
       }},
      {"double_free_of_a_large_tensor", errc::stale_id, stale_free,
       [](scene& s) {
         const tensor_id a = s.freed(2 * mib);
         return s.p.deallocate(a);
       }},
      {"double_free_of_a_persistent_tensor", errc::stale_id, stale_free,
       [](scene& s) {
         const tensor_id a = s.freed(100, {.category = category::weight});
         return s.p.deallocate(a);
       }},
      {"double_free_of_a_movable_tensor", errc::stale_id, stale_free,
       [](scene& s) {
         const tensor_id a = s.freed(100, {.movable = true});
         return s.p.deallocate(a);
       }},
      {"double_free_of_zero_bytes", errc::stale_id, stale_free,
       [](scene& s) {
         const tensor_id a = s.freed(0);
         return s.p.deallocate(a);
       }},
      {"double_free_after_the_memory_went_to_the_system", errc::stale_id, stale_free,
       [](scene& s) {
         const tensor_id a = s.freed(2 * mib);
         (void)s.p.control().trim();
         return s.p.deallocate(a);
       }},
      {"double_free_by_another_thread", errc::stale_id, stale_free,
       [](scene& s) {
         const tensor_id a = s.freed();
         errc code = errc::ok;
         scene::in_thread([&] { code = s.p.deallocate(a); });
         return code;
       }},
      {"double_free_of_what_an_ended_thread_freed", errc::stale_id, stale_free,
       [](scene& s) {
         const tensor_id a = s.raw();
         scene::in_thread([&] { (void)s.p.deallocate(a); });
         return s.p.deallocate(a);
       }},
      {"free_by_eight_threads_in_turn", errc::stale_id, stale_free,
       [](scene& s) {
         const tensor_id a = s.raw();
         std::mutex turn;
         std::vector<std::thread> threads;
         errc worst = errc::ok;
         for (int i = 0; i < 8; ++i) {
           threads.emplace_back([&] {
             const std::lock_guard lock(turn);
             if (const errc code = s.p.deallocate(a); code != errc::ok) {
               worst = code;
             }
           });
         }
         for (std::thread& t : threads) {
           t.join();
         }
         return worst;
       },
       7},
      {"double_free_in_one_batch", errc::stale_id, stale_free,
       [](scene& s) {
         const tensor_id a = s.raw();
         const std::array ids{a, s.raw(), a};
         return s.p.deallocate_n(ids);
       }},
      {"a_stale_id_in_a_batch_keeps_no_other_alive", errc::stale_id, stale_free,
       [](scene& s) {
         const std::array ids{s.raw(), s.freed(5 * kib), tensor_id{}, s.raw(2 * mib)};
         return s.p.deallocate_n(ids);
       }},
      {"double_free_on_a_stream", errc::stale_id, stale_free,
       [](scene& s) {
         const tensor_id a = s.freed();
         return s.p.deallocate(a, stream_ref{.handle = &s, .kind = stream_kind::ordinary});
       }},
      {"handle_dropped_after_its_id_was_freed", errc::ok, stale_free,
       [](scene& s) {
         tensor handle = s.p.allocate(100);
         const errc code = s.p.deallocate(handle.id());
         handle.reset();
         return code;
       }},
      {"double_free_of_a_keyed_tensor_whose_key_is_taken_again", errc::stale_id, stale_free,
       [](scene& s) {
         const tensor_id a = s.freed(100, {.key = 7});
         const tensor heir = s.p.allocate(100, {}, {.key = 7});
         const errc code = s.p.deallocate(a);
         return s.p.find(std::uint64_t{7}).has_value() ? code : errc::not_found;
       }},
      {"double_free_of_adopted_memory_releases_once", errc::stale_id, stale_free,
       [](scene& s) {
         int released = 0;
         const adopt_options how{
             .release = [](void*, std::size_t, void* n) { ++*static_cast<int*>(n); },
             .context = &released};
         const tensor_id a = s.p.adopt(&released, sizeof released, {}, how).release();
         (void)s.p.deallocate(a);
         const errc code = s.p.deallocate(a);
         return released == 1 ? code : errc::invalid_argument;
       }},
      {"double_free_inside_the_release_callback", errc::ok, stale_free,
       [](scene& s) {
         struct self_freeing {
           scene& of;
           tensor_id id;
         } wrong{s, {}};
         const adopt_options how{.release =
                                     [](void*, std::size_t, void* context) {
                                       auto& w = *static_cast<self_freeing*>(context);
                                       (void)w.of.p.deallocate(w.id);
                                     },
                                 .context = &wrong};
         wrong.id = s.p.adopt(&wrong, sizeof wrong, {}, how).release();
         return s.p.deallocate(wrong.id);
       }},
      {"double_free_inside_the_misuse_handler", errc::stale_id, stale_free,
       [](scene& s) {
         const tensor_id a = s.freed();
         s.free_again = a;
         return s.p.deallocate(a);
       },
       2},
      {"double_free_after_close", errc::stale_id, stale_free,
       [](scene& s) {
         const tensor_id a = s.freed();
         (void)s.p.close();
         return s.p.deallocate(a);
       }},

      {"free_of_another_pools_tensor", errc::stale_id, foreign,
       [](scene& s) {
         pool other(small_cpu());
         const tensor theirs = other.allocate(100);
         const errc code = s.p.deallocate(theirs.id());
         return other.info(theirs.id()).has_value() ? code : errc::not_found;
       }},
      {"free_of_a_dead_pools_tensor", errc::stale_id, foreign,
       [](scene& s) {
         tensor_id theirs;
         {
           pool other(small_cpu());
           theirs = other.allocate(100).release();
           (void)other.deallocate(theirs);
         }
         return s.p.deallocate(theirs);
       }},
      {"free_of_an_address_as_an_id", errc::stale_id, foreign,
       [](scene& s) {
         return s.p.deallocate(id_of(reinterpret_cast<std::uintptr_t>(s.bystander().data())));
       }},
      {"free_of_all_bits", errc::stale_id, foreign,
       [](scene& s) { return s.p.deallocate(id_of(~std::uint64_t{0})); }},
      {"free_of_the_highest_bit", errc::stale_id, foreign,
       [](scene& s) { return s.p.deallocate(id_of(std::uint64_t{1} << 63)); }},
      {"free_of_an_id_of_another_pools_tag", errc::stale_id, foreign,
       [](scene& s) { return s.p.deallocate(id_of(s.bystander().id().value() ^ 2)); }},
      {"free_of_a_slot_beyond_all_that_were_made", errc::stale_id, foreign,
       [](scene& s) {
         return s.p.deallocate(id_of(s.bystander().id().value() + (std::uint64_t{1000000} << 6)));
       }},
      {"free_of_a_later_generation", errc::stale_id, stale_free,
       [](scene& s) {
         return s.p.deallocate(id_of(s.bystander().id().value() + (std::uint64_t{1} << 32)));
       }},
      {"free_of_an_earlier_generation", errc::stale_id, stale_free,
       [](scene& s) {
         return s.p.deallocate(id_of(s.bystander().id().value() - (std::uint64_t{1} << 32)));
       }},
      {"free_of_the_null_id", errc::ok, nothing,
       [](scene& s) { return s.p.deallocate(tensor_id{}); }},
      {"free_of_an_empty_batch", errc::ok, nothing, [](scene& s) { return s.p.deallocate_n({}); }},
      {"free_of_a_batch_of_null_ids", errc::ok, nothing,
       [](scene& s) { return s.p.deallocate_n(std::array<tensor_id, 3>{}); }},
      {"free_on_a_stream_that_nobody_attached", errc::ok, nothing,
       [](scene& s) {
         return s.p.deallocate(s.raw(), stream_ref{.handle = &s, .kind = stream_kind::ordinary});
       }},
      {"free_after_close", errc::ok, nothing,
       [](scene& s) {
         const tensor_id a = s.raw();
         (void)s.p.close();
         return s.p.deallocate(a);
       }},
  };
}

}  // namespace tidepool::test
