// SPDX-License-Identifier: Apache-2.0
//
// Encoding and decoding of the envelope; see wire.hpp. Everything here is total: any bytes decode
// to some header, and judging it is the reader's task.
#include "trace/wire.hpp"

#include "trace/error.hpp"

#include <algorithm>

namespace tidepool::bench::trace {
namespace {

template <class Value>
void put(std::byte* at, Value value) noexcept {
  std::memcpy(at, &value, sizeof(value));
}

template <class Value>
Value get(const std::byte* at) noexcept {
  Value value;
  std::memcpy(&value, at, sizeof(value));
  return value;
}

using crc_tables = std::array<std::array<std::uint32_t, 256>, 8>;

/// Slicing-by-8: table k is the CRC of a byte followed by k zero bytes.
constexpr crc_tables make_crc_tables() noexcept {
  crc_tables tables{};
  for (std::uint32_t byte = 0; byte < 256; ++byte) {
    std::uint32_t crc = byte;
    for (int bit = 0; bit < 8; ++bit) {
      crc = (crc >> 1) ^ ((crc & 1u) != 0 ? 0xEDB88320u : 0u);
    }
    tables[0][byte] = crc;
  }
  for (std::size_t k = 1; k < tables.size(); ++k) {
    for (std::size_t byte = 0; byte < 256; ++byte) {
      const std::uint32_t crc = tables[k - 1][byte];
      tables[k][byte] = (crc >> 8) ^ tables[0][crc & 0xFFu];
    }
  }
  return tables;
}

constexpr crc_tables crc_table = make_crc_tables();

constexpr std::size_t words_per_record = event_bytes / sizeof(std::uint64_t);
using record_words = std::array<std::uint64_t, words_per_record>;

}  // namespace

std::uint32_t crc32(std::span<const std::byte> bytes) noexcept {
  std::uint32_t crc = 0xFFFFFFFFu;
  const std::byte* at = bytes.data();
  std::size_t left = bytes.size();
  for (; left >= 8; left -= 8, at += 8) {
    const std::uint64_t word = get<std::uint64_t>(at) ^ crc;
    crc = 0;
    for (std::size_t k = 0; k < 8; ++k) {
      crc ^= crc_table[7 - k][(word >> (8 * k)) & 0xFFu];
    }
  }
  for (; left != 0; --left, ++at) {
    crc = (crc >> 8) ^ crc_table[0][(crc ^ static_cast<std::uint32_t>(*at)) & 0xFFu];
  }
  return crc ^ 0xFFFFFFFFu;
}

std::array<std::byte, file_header_bytes> encode(const file_header& header) noexcept {
  std::array<std::byte, file_header_bytes> bytes{};
  std::memcpy(bytes.data(), magic.data(), magic_bytes);
  put(bytes.data() + 16, header.minor_version);
  put(bytes.data() + 18, header.header_bytes);
  put(bytes.data() + 20, header.record_bytes);
  put(bytes.data() + 22, header.clock);
  put(bytes.data() + 24, header.required_features);
  put(bytes.data() + 28, header.optional_features);
  put(bytes.data() + 32, header.metadata_bytes);
  put(bytes.data() + 36, header.metadata_crc);
  // Bytes 40..43 are reserved.
  put(bytes.data() + 44, crc32(std::span(bytes).first<file_header_bytes - 4>()));
  return bytes;
}

std::array<std::byte, chunk_header_bytes> encode(const chunk_header& header) noexcept {
  std::array<std::byte, chunk_header_bytes> bytes{};
  std::memcpy(bytes.data(), header.tag.data(), header.tag.size());
  put(bytes.data() + 4, header.codec);
  put(bytes.data() + 6, header.filter);
  put(bytes.data() + 8, header.first_event);
  put(bytes.data() + 16, header.event_count);
  put(bytes.data() + 20, header.stored_bytes);
  put(bytes.data() + 24, header.raw_bytes);
  put(bytes.data() + 28, header.stored_crc);
  // Bytes 32..35 are reserved.
  put(bytes.data() + 36, crc32(std::span(bytes).first<chunk_header_bytes - 4>()));
  return bytes;
}

file_header decode_file_header(std::span<const std::byte, file_header_bytes> bytes) noexcept {
  file_header header;
  header.minor_version = get<std::uint16_t>(bytes.data() + 16);
  header.header_bytes = get<std::uint16_t>(bytes.data() + 18);
  header.record_bytes = get<std::uint16_t>(bytes.data() + 20);
  header.clock = static_cast<clock_kind>(get<std::uint16_t>(bytes.data() + 22));
  header.required_features = get<std::uint32_t>(bytes.data() + 24);
  header.optional_features = get<std::uint32_t>(bytes.data() + 28);
  header.metadata_bytes = get<std::uint32_t>(bytes.data() + 32);
  header.metadata_crc = get<std::uint32_t>(bytes.data() + 36);
  return header;
}

chunk_header decode_chunk_header(std::span<const std::byte, chunk_header_bytes> bytes) noexcept {
  chunk_header header;
  std::memcpy(header.tag.data(), bytes.data(), header.tag.size());
  header.codec = static_cast<codec_kind>(get<std::uint16_t>(bytes.data() + 4));
  header.filter = static_cast<filter_kind>(get<std::uint16_t>(bytes.data() + 6));
  header.first_event = get<std::uint64_t>(bytes.data() + 8);
  header.event_count = get<std::uint32_t>(bytes.data() + 16);
  header.stored_bytes = get<std::uint32_t>(bytes.data() + 20);
  header.raw_bytes = get<std::uint32_t>(bytes.data() + 24);
  header.stored_crc = get<std::uint32_t>(bytes.data() + 28);
  return header;
}

bool is_header_intact(std::span<const std::byte> bytes) noexcept {
  if (bytes.size() < 4) {
    return false;
  }
  const std::span<const std::byte> body = bytes.first(bytes.size() - 4);
  return crc32(body) == get<std::uint32_t>(bytes.data() + body.size());
}

void filter_records(std::span<const event> records, std::span<std::byte> planes) noexcept {
  const std::size_t count = records.size();
  record_words before{};
  for (std::size_t i = 0; i < count; ++i) {
    const auto words = std::bit_cast<record_words>(records[i]);
    for (std::size_t w = 0; w < words_per_record; ++w) {
      const std::uint64_t delta = words[w] - before[w];
      for (std::size_t b = 0; b < 8; ++b) {
        planes[(w * 8 + b) * count + i] = static_cast<std::byte>(delta >> (8 * b));
      }
    }
    before = words;
  }
}

void unfilter_records(std::span<const std::byte> planes, std::span<event> records) noexcept {
  const std::size_t count = records.size();
  record_words words{};
  for (std::size_t i = 0; i < count; ++i) {
    for (std::size_t w = 0; w < words_per_record; ++w) {
      std::uint64_t delta = 0;
      for (std::size_t b = 0; b < 8; ++b) {
        delta |= static_cast<std::uint64_t>(planes[(w * 8 + b) * count + i]) << (8 * b);
      }
      words[w] += delta;
    }
    records[i] = std::bit_cast<event>(words);
  }
}

const char* to_string(errc code) noexcept {
  switch (code) {
  case errc::io:
    return "input/output";
  case errc::not_a_trace:
    return "not a trace";
  case errc::wrong_version:
    return "wrong version";
  case errc::truncated:
    return "truncated";
  case errc::damaged:
    return "damaged";
  case errc::unsupported:
    return "unsupported";
  case errc::over_limit:
    return "over a limit";
  case errc::invalid:
    return "invalid";
  case errc::syntax:
    return "syntax";
  case errc::out_of_memory:
    return "out of memory";
  }
  return "unknown";
}

std::string error::message() const {
  std::string text = to_string(code);
  if (line != no_position) {
    text += " at line " + std::to_string(line);
  }
  if (offset != no_position) {
    text += " at byte " + std::to_string(offset);
  }
  if (event != no_position) {
    text += ", event " + std::to_string(event);
  }
  return text + ": " + reason;
}

}  // namespace tidepool::bench::trace
