// SPDX-License-Identifier: Apache-2.0
//
// Tables that processes share: how they are made, found and filled. What a foreign file says is
// checked before it is used, as anybody may hand over any file.
#include "memory/export_table.hpp"

#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

namespace cudasim {
namespace {

constexpr std::uint32_t slots = 16384;

}  // namespace

struct export_table::contents {
  std::uint64_t magic;
  std::uint64_t owner;
  std::int32_t process;
  std::int32_t descriptor;
  description made_with;
  entry entries[slots];
};

std::shared_ptr<export_table> export_table::create(const description& wanted,
                                                   std::uint64_t memory_bytes) {
  static_assert(sizeof(contents) <= memory_offset);
  static_assert(std::atomic<std::uint64_t>::is_always_lock_free, "processes share no locks");
  std::uint64_t owner = 0;
  const int descriptor = memfd_create("cudasim exports", MFD_CLOEXEC);
  if (descriptor < 0) {
    return nullptr;
  }
  void* mapped = MAP_FAILED;
  if (ftruncate(descriptor, static_cast<off_t>(memory_offset + memory_bytes)) == 0 &&
      getrandom(&owner, sizeof owner, 0) == sizeof owner) {
    mapped = mmap(nullptr, memory_offset, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
  }
  if (mapped == MAP_FAILED) {
    close(descriptor);
    return nullptr;
  }
  auto* const made = static_cast<contents*>(mapped);  // a new file is zero
  made->owner = owner;
  made->process = getpid();
  made->descriptor = descriptor;
  made->made_with = wanted;
  made->magic = magic;
  return std::shared_ptr<export_table>(new export_table(descriptor, made));
}

std::shared_ptr<export_table> export_table::attach(int descriptor) {
  struct stat about {};
  void* mapped = MAP_FAILED;
  if (fstat(descriptor, &about) == 0 && S_ISREG(about.st_mode) &&
      static_cast<std::uint64_t>(about.st_size) >= memory_offset) {
    mapped = mmap(nullptr, memory_offset, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
  }
  if (mapped == MAP_FAILED || static_cast<contents*>(mapped)->magic != magic) {
    if (mapped != MAP_FAILED) {
      munmap(mapped, memory_offset);
    }
    close(descriptor);
    return nullptr;
  }
  return std::shared_ptr<export_table>(
      new export_table(descriptor, static_cast<contents*>(mapped)));
}

export_table::~export_table() {
  munmap(mapped_, memory_offset);
  close(descriptor_);
}

ticket export_table::add(const item& wanted) {
  ticket made;
  std::uint32_t slot = used_slots_;
  if (!free_slots_.empty()) {
    slot = free_slots_.back();
    free_slots_.pop_back();
  } else if (used_slots_ == slots) {
    return made;
  } else {
    ++used_slots_;
  }
  entry& filled = mapped_->entries[slot];
  filled.offset = wanted.offset;
  filled.size = wanted.size;
  filled.device = wanted.device;
  filled.is_live = 0;
  filled.recorded = 0;
  filled.completed = 0;
  made.magic = magic;
  made.owner = mapped_->owner;
  made.generation = filled.generation.load(std::memory_order_relaxed) + 1;
  made.kind = static_cast<std::uint32_t>(wanted.what);
  made.slot = slot;
  made.process = mapped_->process;
  made.descriptor = mapped_->descriptor;
  filled.generation.store(made.generation, std::memory_order_release);
  return made;
}

void export_table::withdraw(const ticket& gone) {
  mapped_->entries[gone.slot].generation.store(gone.generation + 1, std::memory_order_release);
  free_slots_.push_back(gone.slot);
}

export_table::entry* export_table::find(const ticket& wanted) const {
  const bool is_known =
      wanted.owner == mapped_->owner && wanted.slot < slots && wanted.generation % 2 == 1;
  return is_known ? &mapped_->entries[wanted.slot] : nullptr;
}

export_table::description export_table::made_with() const {
  return mapped_->made_with;
}

std::uint64_t export_table::owner() const {
  return mapped_->owner;
}

}  // namespace cudasim
