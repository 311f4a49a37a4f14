// SPDX-License-Identifier: Apache-2.0
//
// What the model keeps of a tensor, and those who see tensors come and go: an observer of the pool,
// and the callback that adopted memory is released by.
#pragma once

#include <tidepool/pool.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace tidepool::test {

class failed {
 public:
  explicit failed(std::string what) : what_(std::move(what)) {}
  [[nodiscard]] const std::string& what() const { return what_; }

 private:
  std::string what_;
};

inline void require(bool holds, const char* what) {
  if (!holds) {
    throw failed(what);
  }
}

/// Every backed byte is in a tensor, in a cache, or free in the backend.
inline void require_balance(const device_statistics& of, const memory_info& held) {
  require(of.live_bytes + of.cached_bytes + held.free_bytes == of.reserved_bytes,
          "live + cached + free == reserved");
}

/// Memory of ours that a pool adopted. It goes when it is released, so that ASan sees later uses.
struct adoption {
  explicit adoption(std::size_t n) : memory(n == 0 ? nullptr : new unsigned char[n]), bytes(n) {}

  static void release(void* data, std::size_t bytes, void* context) noexcept {
    auto& self = *static_cast<adoption*>(context);
    self.as_adopted = data == self.memory.get() && bytes == self.bytes;
    ++self.releases;
    self.memory.reset();
  }
  [[nodiscard]] bool is_over() const { return releases == 1 && as_adopted; }

  std::unique_ptr<unsigned char[]> memory;
  std::size_t bytes;
  unsigned releases = 0;
  bool as_adopted = false;  ///< the last release named what was adopted
};

struct live_tensor {
  tensor handle;  // stands for one of the references
  std::size_t bytes = 0;
  unsigned char* data = nullptr;
  std::uint64_t key = 0;
  std::uint32_t references = 1;
  std::uint32_t pins = 0;
  std::uint32_t parts = 0;  // slices of it
  unsigned category = 0;
  unsigned lifecycle = 0;
  name_id name = {};
  unsigned char pattern = 0;
  tensor_id parent = {};
  std::shared_ptr<adoption> adopted = {};

  /// Is a reference left that is no pin's and no slice's?
  [[nodiscard]] bool has_owner() const { return references > pins + parts; }
  /// Does it own a block of the pool?
  [[nodiscard]] bool has_block() const { return !parent && adopted == nullptr && bytes != 0; }

  /// Writes its pattern: all of the beginning, then a byte of each page, and the last one.
  void fill() const {
    for (std::size_t i = 0; i < bytes; i += i < 512 ? 1 : 4096) {
      data[i] = pattern;
    }
    if (bytes != 0) {
      data[bytes - 1] = pattern;
    }
  }
  /// Are its first n bytes as filled? Parts say nothing.
  [[nodiscard]] bool is_intact(std::size_t n) const {
    if (parent || n == 0) {
      return true;
    }
    return data[0] == pattern && data[std::min<std::size_t>(n - 1, 511)] == pattern &&
           data[n / 8192 * 4096 + (n < 8192 ? 0 : 512)] == pattern &&
           (n != bytes || data[n - 1] == pattern);
  }
};

/// One call of an observer.
struct notice {
  bool is_made = false;
  tensor_id id = {};
  std::size_t bytes = 0;
  const void* data = nullptr;
  std::uint64_t key = 0;
  std::uint32_t references = 0;
  std::uint32_t pins = 0;
  unsigned category = 0;
  unsigned lifecycle = 0;
  name_id name = {};
  tensor_id parent = {};

  notice(bool made, const tensor_info& what)
      : is_made(made),
        id(what.id),
        bytes(what.bytes),
        data(what.data),
        key(what.key),
        references(what.references),
        pins(what.pins),
        category(static_cast<unsigned>(what.category)),
        lifecycle(static_cast<unsigned>(what.lifecycle)),
        name(what.name),
        parent(what.parent) {}
  /// What should be seen: the first or the last reference of a tensor.
  notice(bool made, const live_tensor& what)
      : is_made(made),
        id(what.handle.id()),
        bytes(what.bytes),
        data(what.data),
        key(what.key),
        references(1),
        category(what.category),
        lifecycle(what.lifecycle),
        name(what.name),
        parent(what.parent) {}
  friend bool operator==(const notice&, const notice&) = default;
};

/// Sees what the pool tells, knows what it should tell, and compares: each first and last reference
/// while it is attached, in order and once, and each failure.
class watcher final : public allocation_observer {
 public:
  void on_allocate(const tensor_info& made) noexcept override { seen_.emplace_back(true, made); }
  void on_free(const tensor_info& ending) noexcept override { seen_.emplace_back(false, ending); }
  void on_failure(const status& /*why*/) noexcept override { ++failures_; }

  /// `failures`: as the pool's statistics count them now.
  void attach(bool on, std::uint64_t failures) {
    is_attached_ = on;
    unseen_ = failures - failures_;
  }
  void expect(bool made, const live_tensor& what) {
    if (is_attached_) {
      expected_.emplace_back(made, what);
    }
  }
  void check(std::uint64_t failures) {
    require(seen_ == expected_, "the observer sees each tensor come and go once");
    require(!is_attached_ || failures_ == failures - unseen_,
            "the observer sees each failure once");
    seen_.clear();
    expected_.clear();
  }

 private:
  std::vector<notice> seen_;
  std::vector<notice> expected_;
  std::uint64_t failures_ = 0;
  std::uint64_t unseen_ = 0;  // failures while it was not attached
  bool is_attached_ = false;
};

}  // namespace tidepool::test
