// SPDX-License-Identifier: Apache-2.0
//
// writer::state: file header, chunks and footer go out. Events come in by writer_events.cpp.
#include "trace/writer_state.hpp"

#include <cerrno>
#include <cstring>

namespace tidepool::bench::trace {

status writer::state::write_head(const writer_options& options) {
  if (options.metadata.size() > limits::metadata_bytes) {
    return make_error(errc::over_limit, "metadata of more than 1 MiB");
  }
  const auto text = std::as_bytes(std::span(options.metadata));
  file_header header;
  header.clock = options.clock;
  header.metadata_bytes = static_cast<std::uint32_t>(text.size());
  header.metadata_crc = crc32(text);
  if (!sink_.write(encode(header)) || !sink_.write(text)) {
    return make_error(errc::io, std::string("cannot write: ") + std::strerror(errno));
  }
  if (level_ != 0) {
    compressor_.reset(ZSTD_createCCtx());
    if (!compressor_) {
      return memory_error();
    }
    ZSTD_CCtx_setParameter(compressor_.get(), ZSTD_c_compressionLevel, level_);
    ZSTD_CCtx_setParameter(compressor_.get(), ZSTD_c_checksumFlag, 1);
  }
  return {};
}

status writer::state::flush() {
  if (records_.empty()) {
    return {};
  }
  chunk_header header;
  header.first_event = event_count_ - records_.size();
  header.event_count = static_cast<std::uint32_t>(records_.size());
  const std::size_t record_area = records_.size() * event_bytes;
  raw_.resize(record_area + extras_.size());
  if (level_ != 0) {
    header.filter = filter_kind::delta_planes;
    filter_records(records_, std::span(raw_).first(record_area));
  } else {
    std::memcpy(raw_.data(), records_.data(), record_area);
  }
  std::copy(extras_.begin(), extras_.end(),
            raw_.begin() + static_cast<std::ptrdiff_t>(record_area));
  records_.clear();
  extras_.clear();
  return write_chunk(header, raw_);
}

status writer::state::write_chunk(chunk_header header, std::span<const std::byte> raw) {
  std::span<const std::byte> stored = raw;
  if (level_ != 0 && header.tag == events_tag) {
    packed_.resize(ZSTD_compressBound(raw.size()));
    const std::size_t size =
        ZSTD_compress2(compressor_.get(), packed_.data(), packed_.size(), raw.data(), raw.size());
    if (ZSTD_isError(size) != 0) {
      return make_error(errc::out_of_memory,
                        std::string("zstd cannot compress: ") + ZSTD_getErrorName(size));
    }
    header.codec = codec_kind::zstd;
    stored = std::span<const std::byte>(packed_).first(size);
  }
  header.raw_bytes = static_cast<std::uint32_t>(raw.size());
  header.stored_bytes = static_cast<std::uint32_t>(stored.size());
  header.stored_crc = crc32(stored);
  if (!sink_.write(encode(header)) || !sink_.write(stored)) {
    return make_error(errc::io, std::string("cannot write: ") + std::strerror(errno));
  }
  return {};
}

status writer::state::close() {
  if (is_closed_) {
    return make_error(errc::invalid, "the trace is closed");
  }
  if (status flushed = flush(); !flushed) {
    return flushed;
  }
  const totals sums = book_.sums();
  chunk_header header;
  header.tag = footer_tag;
  header.first_event = event_count_;
  if (status written = write_chunk(header, std::as_bytes(std::span(&sums, 1))); !written) {
    return written;
  }
  is_closed_ = true;
  if (!sink_.close()) {
    return make_error(errc::io, std::string("cannot finish the file: ") + std::strerror(errno));
  }
  return {};
}

}  // namespace tidepool::bench::trace
