// SPDX-License-Identifier: Apache-2.0
//
// A pool of the C interface beside what is known of it, and one step for a few bytes of input.
#pragma once

#include "input.hpp"
#include <tidepool.h>
#include <tidepool/cpu.h>

#include <cstddef>
#include <cstdint>
#include <map>
#include <vector>

namespace tidepool::test {

template <class T>
T sized(input& in) {
  T made{};
  // Mostly the right size; else shorter, longer, or none at all.
  const std::uint8_t kind = in.byte();
  made.size = kind < 224 ? sizeof(T) : kind < 248 ? 8U * (kind % 32U) : std::size_t{kind} - 248;
  return made;
}

/// May the library read or write so much of T? Sizes beyond the struct are for other tests.
template <class T>
bool fits(const T& what) {
  return what.size <= sizeof(T);
}

class c_program {
 public:
  explicit c_program(input& in);
  ~c_program();
  c_program(const c_program&) = delete;
  c_program& operator=(const c_program&) = delete;

  void step();
  void check();
  /// Frees all, by whatever holds it, and closes.
  void finish();

 private:
  struct known {
    std::uint32_t own = 1;   // references that this program may end
    std::uint32_t pins = 0;  // a pin is a reference too
    std::uint32_t parts = 0;
    tidepool_tensor_id parent = 0;
    unsigned char* data = nullptr;
    std::size_t bytes = 0;
    bool owns_block = false;
    unsigned char pattern = 0;
  };

  [[nodiscard]] tidepool_tensor_id pick();
  [[nodiscard]] tidepool_tensor_id forged();
  void add(const tidepool_tensor& made, std::size_t bytes, bool owns_block);
  void drop(tidepool_tensor_id id);
  void expect(tidepool_tensor_id id, tidepool_status code);
  tidepool_allocation_options options();

  void allocate();
  void allocate_many();
  void adopt();
  void slice();
  void references();
  void resize();
  void change();
  void look();
  void names();
  void memory();
  void texts();
  void nulls();

  input& in_;
  tidepool_pool* pool_ = nullptr;
  std::map<tidepool_tensor_id, known> live_;
  std::vector<tidepool_tensor_id> ever_;
  unsigned char pattern_ = 0;
  std::uint64_t misuses_ = 0;
  int adopted_ = 0;
  alignas(64) unsigned char foreign_[256] = {};
};

}  // namespace tidepool::test
