// SPDX-License-Identifier: Apache-2.0
//
// Memory of blocks of a kernel, and what is kept of it from kernel to kernel. A block_memory
// belongs to one thread at a time; kept_memory may be made by any.
#pragma once

#include <cstddef>
#include <memory>
#include <mutex>
#include <new>
#include <utility>
#include <vector>

namespace cudasim {

// Memory of a block's registers and variables, reused from block to block.
class block_memory {
 public:
  char* need(std::size_t bytes) {
    if (bytes > bytes_) {
      data_.reset(static_cast<char*>(::operator new(bytes, alignment)));
      bytes_ = bytes;
    }
    return data_.get();
  }

 private:
  static constexpr std::align_val_t alignment{1024};
  struct deleter {
    void operator()(char* data) const { ::operator delete(data, alignment); }
  };
  std::unique_ptr<char, deleter> data_;
  std::size_t bytes_ = 0;
};

// Kept from kernel to kernel. Not one for each thread: a kernel may run while a thread ends, when
// its own objects are gone (a call of CUDA in the destructor of a thread-local object).
class kept_memory {
 public:
  kept_memory() {
    const std::lock_guard guard(all().mutex);
    if (!all().unused.empty()) {
      memory_ = std::move(all().unused.back());
      all().unused.pop_back();
    }
  }
  ~kept_memory() {
    const std::lock_guard guard(all().mutex);
    all().unused.push_back(std::move(memory_));
  }
  kept_memory(const kept_memory&) = delete;
  kept_memory& operator=(const kept_memory&) = delete;
  block_memory& get() { return memory_; }

 private:
  struct store {
    std::mutex mutex;
    std::vector<block_memory> unused;  // guarded by mutex
  };
  static store& all() {
    static store& only = *new store;  // there for as long as any thread is
    return only;
  }
  block_memory memory_;
};

}  // namespace cudasim
