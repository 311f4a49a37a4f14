// SPDX-License-Identifier: Apache-2.0
//
// A pool and what the test knows of it. Every step goes through a member, which runs the library
// within the faults and then looks: an answer is right or a clear error, an error changed nothing,
// all invariants hold, and no byte is lost (live + cached + free == reserved).
#pragma once

#include "../support/sizes.hpp"
#include "faults.hpp"
#include <tidepool/pool.hpp>

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace tidepool::test {

class world {
 public:
  world();
  ~world();
  world(const world&) = delete;
  world& operator=(const world&) = delete;

  /// False: making failed with a clear error, and the scenario is over.
  [[nodiscard]] bool is_open() const { return pool_.has_value(); }
  [[nodiscard]] pool& get() { return *pool_; }

  /// The tensor's number, or nothing where a clear error was answered.
  std::optional<std::size_t> allocate(std::size_t bytes, const allocation_options& options = {});
  std::optional<std::size_t> slice(std::size_t of, std::size_t offset, std::size_t bytes);
  void free(std::size_t which);
  /// The n-th of those alive.
  void free_nth(std::size_t n);
  void share(std::size_t which);
  void pin_and_unpin(std::size_t which);
  void resize(std::size_t which, std::size_t bytes);
  void find(std::size_t which);
  void trim(std::size_t keep_bytes);
  void tick();
  void prewarm(std::size_t bytes, std::size_t count);
  void intern(const std::string& text);
  void count();
  void idle();
  void adopt();
  /// Ends the pool with what is alive, then the rest.
  void close();
  /// Frees everything.
  void free_all();
  /// After the faults: all works, and all memory goes back.
  void recover();

  [[nodiscard]] std::size_t size() const { return tensors_.size(); }

 private:
  struct known {
    tensor handle;
    tensor second;  // what share answered
    tensor_id id;
    std::optional<std::size_t> parent;
    std::size_t parts = 0;  // which keep it alive
    bool is_freed = false;
    unsigned char* data = nullptr;
    std::size_t bytes = 0;
    bool owns_block = true;
    unsigned char pattern = 0;
  };
  void sound();
  void expect_clear(const status& why);
  std::optional<std::size_t> add(result<tensor>&& made, bool owns_block);
  static void fill(const known& t);

  std::optional<pool> pool_;
  std::map<std::size_t, known> tensors_;
  std::size_t next_ = 0;
  std::uint64_t misuses_ = 0;
  bool closed_ = false;
  int adopted_ = 0;
};

}  // namespace tidepool::test
