// SPDX-License-Identifier: Apache-2.0
//
// The envelope of a trace file: file header, chunk headers, footer, checksum, filter, and the
// limits that keep a hostile file from making a reader allocate. Pure functions over bytes: no
// input or output, no state. For the reader, the writer and tests; programs want reader.hpp and
// writer.hpp.
#pragma once

#include "trace/event.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace tidepool::bench::trace {

/// The first 16 bytes of every trace; the last of them is the version.
inline constexpr std::string_view magic = "tidepool trace 1";
inline constexpr std::size_t magic_bytes = 16;
static_assert(magic.size() == magic_bytes);

inline constexpr std::size_t file_header_bytes = 48;
inline constexpr std::size_t chunk_header_bytes = 40;
inline constexpr std::size_t footer_bytes = 9 * sizeof(std::uint64_t);

/// Limits of the format. A writer never exceeds them, a reader refuses what does.
namespace limits {
inline constexpr std::uint32_t metadata_bytes = 1u << 20;
inline constexpr std::uint32_t header_bytes = 4096;
inline constexpr std::uint32_t chunk_raw_bytes = 16u << 20;
inline constexpr std::uint32_t chunk_stored_bytes = chunk_raw_bytes + (chunk_raw_bytes >> 7);
inline constexpr std::uint32_t text_bytes = 4096;
inline constexpr std::uint32_t list_bytes = 8u << 20;
inline constexpr std::uint32_t names = 1u << 20;
inline constexpr std::uint64_t names_bytes = 64u << 20;
inline constexpr std::uint64_t tensor_bytes = std::uint64_t{1} << 48;
inline constexpr std::uint8_t alignment_log2 = 32;
}  // namespace limits

/// What `event::time` counts.
enum class clock_kind : std::uint16_t {
  logical = 0,      ///< a sequence number: recording again gives the same bytes
  nanoseconds = 1,  ///< since the start of the recording
};

enum class codec_kind : std::uint16_t { stored = 0, zstd = 1 };
/// delta: each of the six 64-bit words of a record minus the same word of the record before
/// (modulo 2^64), then byte planes: byte 0 of word 0 of all records, byte 1, ... byte 47.
enum class filter_kind : std::uint16_t { none = 0, delta_planes = 1 };

/// Four letters; a small first letter marks a chunk that readers may skip.
using chunk_tag = std::array<char, 4>;
inline constexpr chunk_tag events_tag{'E', 'V', 'T', 'S'};
inline constexpr chunk_tag footer_tag{'F', 'O', 'O', 'T'};

struct file_header {
  std::uint16_t minor_version = 0;
  std::uint16_t header_bytes = file_header_bytes;  ///< a longer header's rest is skipped
  std::uint16_t record_bytes = event_bytes;
  clock_kind clock = clock_kind::logical;
  std::uint32_t required_features = 0;  ///< unknown bits: refuse
  std::uint32_t optional_features = 0;  ///< unknown bits: ignore
  std::uint32_t metadata_bytes = 0;
  std::uint32_t metadata_crc = 0;
};

struct chunk_header {
  chunk_tag tag = events_tag;
  codec_kind codec = codec_kind::stored;
  filter_kind filter = filter_kind::none;
  std::uint64_t first_event = 0;  ///< number of the chunk's first event in the trace
  std::uint32_t event_count = 0;
  std::uint32_t stored_bytes = 0;  ///< in the file, after this header
  std::uint32_t raw_bytes = 0;     ///< event_count * 48 + extras
  std::uint32_t stored_crc = 0;
};

/// What the events add up to; the footer of a complete trace.
struct totals {
  std::uint64_t events = 0;           ///< records of every kind
  std::uint64_t allocs = 0;           ///< alloc events that succeeded
  std::uint64_t frees = 0;            ///< free events
  std::uint64_t touches = 0;          ///< tensors touched: each id of a touch_tensors counts
  std::uint64_t failed_allocs = 0;    ///< alloc events with outcome out_of_memory
  std::uint64_t allocated_bytes = 0;  ///< sum over allocs
  std::uint64_t peak_live_bytes =
      0;                         ///< highest sum of live tensors' bytes, all devices, unrounded
  std::uint64_t live_bytes = 0;  ///< at the end
  std::uint64_t last_time = 0;

  friend bool operator==(const totals&, const totals&) = default;
};
static_assert(sizeof(totals) == footer_bytes && std::is_trivially_copyable_v<totals>);

/// CRC-32 (IEEE 802.3, as zlib's crc32).
[[nodiscard]] std::uint32_t crc32(std::span<const std::byte> bytes) noexcept;

/// The bytes of a header, its own checksum included.
[[nodiscard]] std::array<std::byte, file_header_bytes> encode(const file_header& header) noexcept;
[[nodiscard]] std::array<std::byte, chunk_header_bytes> encode(const chunk_header& header) noexcept;

/// The fields of a header. The caller checks header_crc() first.
[[nodiscard]] file_header decode_file_header(
    std::span<const std::byte, file_header_bytes> bytes) noexcept;
[[nodiscard]] chunk_header decode_chunk_header(
    std::span<const std::byte, chunk_header_bytes> bytes) noexcept;

/// True if the last four bytes are the checksum of those before.
[[nodiscard]] bool is_header_intact(std::span<const std::byte> bytes) noexcept;

/// Applies filter delta_planes. pre: planes.size() == records.size() * 48.
void filter_records(std::span<const event> records, std::span<std::byte> planes) noexcept;
/// Undoes it. pre: as above.
void unfilter_records(std::span<const std::byte> planes, std::span<event> records) noexcept;

}  // namespace tidepool::bench::trace
