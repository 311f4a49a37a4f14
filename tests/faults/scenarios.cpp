// SPDX-License-Identifier: Apache-2.0
//
// The scenarios. What each step expects is in world.cpp.
#include "scenarios.hpp"

#include <thread>

namespace tidepool::test {

const std::vector<scenario>& scenarios() {
  static const std::vector<scenario> all{
      {"small",
       [](world& w) {
         for (const std::size_t bytes :
              std::initializer_list<std::size_t>{1, 64, 100, 4096, 5000, 70000, 0, 300000}) {
           w.allocate(bytes);
           w.allocate(bytes);
         }
         w.free_all();
         w.allocate(100);
       }},
      {"large",
       [](world& w) {
         w.allocate(3 * mib / 2);
         w.allocate(5 * mib);
         w.allocate(50 * mib);
         w.allocate(100 * mib);  // more than an arena
         w.free_all();
         w.allocate(30 * mib, {.category = category::weight});
       }},
      {"aligned",
       [](world& w) {
         w.allocate(100, {.alignment = 4096});
         w.allocate(5000, {.alignment = 64 * kib});
         w.allocate(3 * mib, {.alignment = 4 * mib});
         w.free_all();
         w.allocate(100, {.alignment = 64 * kib});
       }},
      {"free in every order",
       [](world& w) {
         for (int round = 0; round < 3; ++round) {
           for (int i = 0; i < 12; ++i) {
             w.allocate(i % 3 == 0 ? 2 * mib : std::size_t{1000} << i % 5);
           }
           for (std::size_t i = 0; w.size() != 0; i = (i + 7) % 40) {
             w.free_nth(i % w.size());
           }
         }
       }},
      {"trim",
       [](world& w) {
         w.allocate(1000);
         const auto middle = w.allocate(8 * mib);
         w.allocate(100);
         if (middle) {
           w.free(*middle);
         }
         w.trim(4 * mib);
         w.allocate(6 * mib);
         w.trim(0);
         w.free_all();
         w.trim(0);
         w.allocate(8 * mib);
       }},
      {"decay",
       [](world& w) {
         w.allocate(8 * mib);
         w.allocate(1000);
         w.free_all();
         w.idle();
         for (int i = 0; i < 5; ++i) {
           w.tick();
         }
         w.allocate(3 * mib);
       }},
      {"prewarm",
       [](world& w) {
         w.prewarm(4096, 20);
         w.prewarm(3 * mib, 3);
         w.allocate(4096);
         w.allocate(3 * mib);
         w.prewarm(100 * mib, 1);
         w.trim(0);
       }},
      {"resize",
       [](world& w) {
         for (const std::size_t bytes : {4 * mib, std::size_t{5000}}) {
           if (const auto t = w.allocate(bytes)) {
             w.resize(*t, bytes / 2);
             w.resize(*t, bytes * 3);
             w.resize(*t, bytes * 20);
             w.allocate(bytes);
             w.resize(*t, bytes * 24);
           }
         }
       }},
      {"keys, names and addresses",
       [](world& w) {
         for (std::uint64_t key = 1; key < 80; ++key) {
           if (const auto t = w.allocate(100, {.key = key}); t && key % 16 == 0) {
             w.find(*t);
           }
         }
         w.intern("blk.0.a name that is too long for a small string");
         w.intern("short");
         w.intern("short");
         w.count();
       }},
      {"the index of addresses",  // grows while it is built: what a failed one has left is gone
       [](world& w) {
         for (const std::size_t bytes : {std::size_t{100}, std::size_t{5000}}) {
           std::optional<std::size_t> last;
           for (int i = 0; i < 150; ++i) {
             last = w.allocate(bytes);
           }
           if (last) {
             w.find(*last);
           }
           w.free_all();
           w.trim(0);
         }
       }},
      {"parts",
       [](world& w) {
         if (const auto t = w.allocate(10000)) {
           w.slice(*t, 100, 100);
           w.share(*t);
           w.pin_and_unpin(*t);
           const auto part = w.slice(*t, 0, 10000);
           w.free(*t);
           if (part) {
             w.free(*part);
           }
           w.free_all();
         }
         w.adopt();
         w.allocate(0, {.key = 5});
       }},
      {"close with the living",
       [](world& w) {
         w.allocate(1000);
         w.allocate(3 * mib);
         w.adopt();
         w.idle();
         w.close();
       }},
      {"threads one after another",
       [](world& w) {
         // Each leaves a full cache behind when the next begins, the first ones while still alive.
         for (int i = 0; i < 3; ++i) {
           std::thread([&] {
             w.allocate(3 * mib);
             w.allocate(1000);
             w.free_all();
             w.allocate(200);
             std::thread([&] {
               w.allocate(3 * mib);
               w.free_all();
             }).join();
             w.trim(0);
           }).join();
         }
         w.allocate(100);
       }},
  };
  return all;
}

}  // namespace tidepool::test
