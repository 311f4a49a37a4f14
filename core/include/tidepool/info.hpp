// SPDX-License-Identifier: Apache-2.0
//
// Answers about tensors, devices, memory and misuse: plain values.
#pragma once

#include <tidepool/attributes.hpp>
#include <tidepool/device.hpp>
#include <tidepool/ids.hpp>
#include <tidepool/stream.hpp>

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace tidepool {
inline namespace v0 {

/// A consistent copy of a tensor's record.
struct tensor_info {
  tensor_id id = {};
  void* data = nullptr;
  std::size_t bytes = 0;     ///< requested
  std::size_t capacity = 0;  ///< length of the block, >= bytes; of a slice: its own bytes
  device where = {};
  tidepool::category category = category::temporary;
  tidepool::lifecycle lifecycle = lifecycle::temporary;
  tensor_flags flags = tensor_flags::none;
  name_id name = {};
  std::uint32_t references = 0;  ///< >= 1 while alive
  std::uint32_t pins = 0;        ///< pin() minus unpin()
  std::uint32_t stream = 0;      ///< dense number of the stream it was allocated on, 0: none
  std::uint64_t key = 0;         ///< 0: none
  tensor_id parent = {};         ///< of a slice: the tensor whose block it shares
};

/// One block of device memory under one name: what allocate_raw answers.
struct raw_tensor {
  void* data = nullptr;
  tensor_id id = {};
};

/// The properties of a device. The texts are valid as long as its backend lives.
struct device_description {
  device where = {};
  std::string_view name;        ///< for people
  std::size_t alignment = 64;   ///< of every block, a power of two
  std::size_t total_bytes = 0;  ///< physical size, 0: unknown
  bool host_accessible = true;
  bool stream_ordered = false;  ///< frees are ordered by streams
  bool can_populate = false;
  bool can_extend = false;
  bool can_migrate = false;  ///< prefetch and advise do something
};

/// Answer of trim: how much went back to the system, and what kept the other bytes,
///   reserved == in_use + pending + cached + stranded.
struct trim_report {
  std::size_t released_bytes = 0;  ///< given back to the system by this call
  std::size_t reserved_bytes = 0;  ///< still backed afterwards
  std::size_t in_use_bytes = 0;    ///< blocks of live tensors
  std::size_t pending_bytes = 0;   ///< freed, but a stream has not passed the free yet
  std::size_t cached_bytes = 0;    ///< freed by other threads meanwhile; now in ready lists
  std::size_t stranded_bytes = 0;  ///< free, but in a page or slab together with live blocks
  /// One static sentence about the largest of these figures, or null when reserved_bytes is no more
  /// than the caller asked to keep.
  const char* kept_by = nullptr;
};

/// Kinds of misuse.
enum class misuse_kind : std::uint8_t {
  stale_free = 0,        ///< freed twice, or freed after its slot was reused
  foreign_id = 1,        ///< an id that this pool never made
  stale_use = 2,         ///< use of an id after its tensor was freed
  racing_free = 3,       ///< two threads freed one tensor at the same time, found afterwards
  unbalanced = 4,        ///< unpin without pin, release without reference
  after_close = 5,       ///< allocation from a closed pool, or free of a tensor that force ended
  unretired_stream = 9,  ///< a stream was destroyed without pool::retire and its handle came again
  // Found by debug modes (debug.hpp) only:
  overflow = 6,          ///< bytes behind a tensor were written
  underflow = 7,         ///< bytes before a tensor were written
  write_after_free = 8,  ///< bytes of a tensor were written after its end
};
inline constexpr unsigned misuse_kind_count = 10;

struct memory_damage;

struct misuse_report {
  misuse_kind kind = misuse_kind::stale_free;
  tensor_id id = {};
  std::uint64_t count = 0;     ///< misuses seen by this pool so far, this one included
  const char* text = nullptr;  ///< one static sentence
  /// What was damaged (debug.hpp), for overflow, underflow and write_after_free; else null. It is
  /// valid during the call.
  const memory_damage* damage = nullptr;
};

}  // namespace v0
}  // namespace tidepool
