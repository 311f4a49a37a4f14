// SPDX-License-Identifier: Apache-2.0
//
// reader::state: file header, chunks and footer. Sizes come from the file, so each is checked
// against the limits of wire.hpp before memory is taken for it, and each checksum before the bytes
// under it are believed.
#include "trace/failure.hpp"
#include "trace/reader_state.hpp"

#include <algorithm>
#include <cstring>
#include <string_view>

namespace tidepool::bench::trace {
namespace {

/// Tag, kind or version byte for a message: as text where printable.
std::string printable(std::span<const char> text) {
  std::string out = "'";
  for (const char c : text) {
    out += c >= ' ' && c <= '~' ? c : '?';
  }
  return out + "'";
}

}  // namespace

error reader::state::short_read(const char* what) const {
  if (source_.has_failed()) {
    return make_error(errc::io, source_.offset(), std::string("cannot read the ") + what);
  }
  return make_error(errc::truncated, source_.offset(),
                    std::string("the file ends within the ") + what);
}

status reader::state::read_head() {
  std::array<std::byte, file_header_bytes> bytes{};
  const std::size_t got = source_.read(bytes);
  const std::size_t compared = std::min(got, magic_bytes - 1);
  if (got == 0 || std::memcmp(bytes.data(), magic.data(), compared) != 0) {
    if (source_.has_failed()) {
      return short_read("file header");
    }
    return make_error(errc::not_a_trace, 0, "the file does not begin with \"tidepool trace\"");
  }
  if (got >= magic_bytes && static_cast<char>(bytes[magic_bytes - 1]) != magic.back()) {
    const char version = static_cast<char>(bytes[magic_bytes - 1]);
    return make_error(errc::wrong_version, magic_bytes - 1,
                      "the trace is of version " + printable({&version, 1}) +
                          ", this reader knows version 1");
  }
  if (got < bytes.size()) {
    return short_read("file header");
  }
  if (!is_header_intact(bytes)) {
    return make_error(errc::damaged, 0, "the file header's checksum does not fit");
  }
  header = decode_file_header(bytes);
  if (header.required_features != 0) {
    return make_error(errc::unsupported, 24,
                      "the trace needs features (bits " + number(header.required_features) +
                          ") that this reader does not know");
  }
  if (header.record_bytes != event_bytes) {
    return make_error(errc::unsupported, 20,
                      "records of " + number(header.record_bytes) + " bytes, expected 48");
  }
  if (header.clock > clock_kind::nanoseconds) {
    return make_error(errc::unsupported, 22, "unknown clock");
  }
  if (header.header_bytes < file_header_bytes || header.header_bytes > limits::header_bytes) {
    return make_error(errc::over_limit, 18,
                      "a file header of " + number(header.header_bytes) + " bytes");
  }
  if (header.metadata_bytes > limits::metadata_bytes) {
    return make_error(errc::over_limit, 32,
                      "metadata of " + number(header.metadata_bytes) + " bytes, at most " +
                          number(limits::metadata_bytes) + " are allowed");
  }
  std::vector<std::byte> rest(header.header_bytes - file_header_bytes);
  if (source_.read(rest) != rest.size()) {
    return short_read("file header");
  }
  const std::uint64_t metadata_offset = source_.offset();
  std::vector<std::byte> text(header.metadata_bytes);
  if (source_.read(text) != text.size()) {
    return short_read("metadata");
  }
  if (crc32(text) != header.metadata_crc) {
    return make_error(errc::damaged, metadata_offset, "the metadata's checksum does not fit");
  }
  metadata.assign(reinterpret_cast<const char*>(text.data()), text.size());
  return {};
}

status reader::state::check_chunk(const chunk_header& chunk) const {
  const auto refuse = [&](errc code, std::string reason) {
    return make_error(code, chunk_offset_, std::move(reason));
  };
  if (chunk.stored_bytes > limits::chunk_stored_bytes ||
      chunk.raw_bytes > limits::chunk_raw_bytes) {
    return refuse(errc::over_limit, "a chunk of " + number(chunk.stored_bytes) + " bytes (" +
                                        number(chunk.raw_bytes) + " unpacked), at most " +
                                        number(limits::chunk_raw_bytes) + " are allowed");
  }
  if (chunk.first_event != event_count) {
    return refuse(errc::damaged, "the chunk begins with event " + number(chunk.first_event) +
                                     ", expected " + number(event_count) +
                                     ": a chunk is missing or out of order");
  }
  if (chunk.codec > codec_kind::zstd || chunk.filter > filter_kind::delta_planes) {
    return refuse(errc::unsupported, "unknown codec or filter of a chunk");
  }
  if (chunk.codec == codec_kind::stored && chunk.stored_bytes != chunk.raw_bytes) {
    return refuse(errc::damaged, "a stored chunk's two sizes differ");
  }
  return {};
}

/// The chunk's bytes, decompressed: a view of stored_ or raw_.
result<std::span<const std::byte>> reader::state::unpack(const chunk_header& chunk) {
  if (chunk.codec == codec_kind::stored) {
    return std::span<const std::byte>(stored_);
  }
  if (!decompressor_) {
    decompressor_.reset(ZSTD_createDCtx());
    if (!decompressor_) {
      return memory_error();
    }
  }
  raw_.resize(chunk.raw_bytes);
  const std::size_t size = ZSTD_decompressDCtx(decompressor_.get(), raw_.data(), raw_.size(),
                                               stored_.data(), stored_.size());
  if (ZSTD_isError(size) != 0) {
    return make_error(errc::damaged, chunk_offset_,
                      std::string("zstd cannot unpack the chunk: ") + ZSTD_getErrorName(size));
  }
  if (size != raw_.size()) {
    return make_error(errc::damaged, chunk_offset_,
                      "the chunk unpacks to " + number(size) + " bytes, its header says " +
                          number(raw_.size()));
  }
  return std::span<const std::byte>(raw_);
}

status reader::state::load_events(const chunk_header& chunk, std::span<const std::byte> raw) {
  if (chunk.event_count == 0 || chunk.event_count > raw.size() / event_bytes) {
    return make_error(errc::damaged, chunk_offset_,
                      "a chunk of " + number(raw.size()) + " bytes cannot hold " +
                          number(chunk.event_count) + " events");
  }
  const std::size_t record_area = std::size_t{chunk.event_count} * event_bytes;
  records_.resize(chunk.event_count);
  if (chunk.filter == filter_kind::delta_planes) {
    unfilter_records(raw.first(record_area), records_);
  } else {
    std::memcpy(records_.data(), raw.data(), record_area);
  }
  extras_ = raw.subspan(record_area);
  cursor_ = 0;
  return {};
}

status reader::state::load_footer(const chunk_header& chunk, std::span<const std::byte> raw) {
  if (chunk.event_count != 0 || raw.size() < footer_bytes) {
    return make_error(errc::damaged, chunk_offset_, "the footer is too short");
  }
  totals sums;
  std::memcpy(&sums, raw.data(), sizeof(sums));
  if (sums.events != event_count) {
    return make_error(errc::damaged, chunk_offset_,
                      "the footer counts " + number(sums.events) + " events, the trace has " +
                          number(event_count));
  }
  const std::uint64_t end = source_.offset();
  std::byte one{};
  if (source_.read({&one, 1}) != 0) {
    return make_error(errc::damaged, end, "bytes follow the footer");
  }
  footer = sums;
  return {};
}

/// Makes the next chunk of events current; false at the footer or on failure.
bool reader::state::load_chunk() {
  for (;;) {
    chunk_offset_ = source_.offset();
    std::array<std::byte, chunk_header_bytes> bytes{};
    const std::size_t got = source_.read(bytes);
    if (got != bytes.size()) {
      fail(got != 0 || source_.has_failed()
               ? short_read("chunk header")
               : make_error(errc::truncated, chunk_offset_, "the file ends without a footer"));
      return false;
    }
    if (!is_header_intact(bytes)) {
      fail(make_error(errc::damaged, chunk_offset_, "the chunk header's checksum does not fit"));
      return false;
    }
    const chunk_header chunk = decode_chunk_header(bytes);
    if (const status checked = check_chunk(chunk); !checked) {
      fail(checked.error());
      return false;
    }
    stored_.resize(chunk.stored_bytes);
    if (source_.read(stored_) != stored_.size()) {
      fail(short_read("chunk"));
      return false;
    }
    if (crc32(stored_) != chunk.stored_crc) {
      fail(make_error(errc::damaged, chunk_offset_, "the chunk's checksum does not fit"));
      return false;
    }
    const bool is_events = chunk.tag == events_tag;
    if (!is_events && chunk.tag != footer_tag) {
      if (chunk.tag[0] >= 'a' && chunk.tag[0] <= 'z') {
        continue;
      }
      fail(make_error(errc::unsupported, chunk_offset_,
                      "a required chunk of unknown kind " + printable(chunk.tag)));
      return false;
    }
    const auto raw = unpack(chunk);
    if (!raw) {
      fail(raw.error());
      return false;
    }
    const status loaded = is_events ? load_events(chunk, *raw) : load_footer(chunk, *raw);
    if (!loaded) {
      fail(loaded.error());
      return false;
    }
    return is_events;
  }
}

}  // namespace tidepool::bench::trace
