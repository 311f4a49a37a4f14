// SPDX-License-Identifier: Apache-2.0
//
// The streaming reader. Sizes come from the file, so each is checked against the limits of wire.hpp
// before memory is taken for it, and each checksum before the bytes under it are believed.
#include "trace/reader.hpp"

#include "trace/source.hpp"

#include <zstd.h>

#include <array>
#include <cerrno>
#include <exception>
#include <new>
#include <vector>

namespace tidepool::bench::trace {
namespace {

struct decompressor_deleter {
  void operator()(ZSTD_DCtx* context) const noexcept { ZSTD_freeDCtx(context); }
};

error make_error(errc code, std::uint64_t offset, std::string reason) {
  error failure;
  failure.code = code;
  failure.offset = offset;
  failure.reason = std::move(reason);
  return failure;
}

/// Short enough for the small-string buffer: making it cannot fail again.
error memory_error() noexcept {
  return {.code = errc::out_of_memory, .reason = "no memory"};
}

std::string number(std::uint64_t value) {
  return std::to_string(value);
}

/// Tag, kind or version byte for a message: as text where printable.
std::string printable(std::span<const char> text) {
  std::string out = "'";
  for (const char c : text) {
    out += c >= ' ' && c <= '~' ? c : '?';
  }
  return out + "'";
}

std::string hex_byte(std::uint8_t value) {
  constexpr std::string_view digits = "0123456789abcdef";
  return std::string("0x") + digits[value >> 4] + digits[value & 15u];
}

}  // namespace

class reader::state {
 public:
  explicit state(byte_source source) noexcept : source_(std::move(source)) {}

  status read_head();
  const event_view* next();
  void fail(error failure) noexcept { failure_ = std::move(failure); }

  file_header header;
  std::string metadata;
  std::optional<totals> footer;
  std::uint64_t event_count = 0;
  std::uint64_t skipped_count = 0;
  std::vector<std::string> names;
  std::array<std::optional<std::string>, 256> categories;
  std::array<std::optional<std::string>, 256> devices;

  [[nodiscard]] const std::optional<error>& failure() const noexcept { return failure_; }

 private:
  bool load_chunk();
  status check_chunk(const chunk_header& chunk) const;
  status load_events(const chunk_header& chunk, std::span<const std::byte> raw);
  status load_footer(const chunk_header& chunk, std::span<const std::byte> raw);
  result<std::span<const std::byte>> unpack(const chunk_header& chunk);
  status take_event();
  status take_definition();
  status define(std::optional<std::string>& entry, const char* what, unsigned index);
  [[nodiscard]] error event_error(errc code, std::string reason) const;
  [[nodiscard]] error short_read(const char* what) const;

  byte_source source_;
  std::unique_ptr<ZSTD_DCtx, decompressor_deleter> decompressor_;
  std::vector<std::byte> stored_;  // the chunk as in the file
  std::vector<std::byte> raw_;     // the chunk decompressed
  std::vector<event> records_;
  std::span<const std::byte> extras_;  // of raw_: not yet handed out
  std::size_t cursor_ = 0;             // next record of records_
  std::uint64_t chunk_offset_ = 0;
  std::uint64_t names_bytes_ = 0;
  event_view current_;
  std::optional<error> failure_;
};

error reader::state::short_read(const char* what) const {
  if (source_.has_failed()) {
    return make_error(errc::io, source_.offset(), std::string("cannot read the ") + what);
  }
  return make_error(errc::truncated, source_.offset(),
                    std::string("the file ends within the ") + what);
}

error reader::state::event_error(errc code, std::string reason) const {
  error failure = make_error(code, chunk_offset_, std::move(reason));
  failure.event = event_count;
  return failure;
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

status reader::state::define(std::optional<std::string>& entry, const char* what, unsigned index) {
  if (entry.has_value()) {
    return event_error(errc::invalid,
                       std::string(what) + " " + number(index) + " is defined a second time");
  }
  entry.emplace(current_.text());
  return {};
}

status reader::state::take_definition() {
  const event& record = current_.record;
  const std::size_t length = current_.extra.size();
  if (length > limits::text_bytes) {
    return event_error(errc::over_limit, "a text of " + number(length) + " bytes, at most " +
                                             number(limits::text_bytes) + " are allowed");
  }
  if (record.kind == event_kind::define_category) {
    if (record.category == 0) {
      return event_error(errc::invalid, "category 0 means unspecified and cannot be defined");
    }
    return define(categories[record.category], "category", record.category);
  }
  if (record.kind == event_kind::define_device) {
    return define(devices[record.device], "device", record.device);
  }
  if (record.kind == event_kind::define_name) {
    if (record.id != names.size() + 1) {
      return event_error(errc::invalid, "name " + number(record.id) + " is defined, expected " +
                                            number(names.size() + 1));
    }
    names_bytes_ += length;
    if (names.size() >= limits::names || names_bytes_ > limits::names_bytes) {
      return event_error(errc::over_limit, "too many names");
    }
    names.emplace_back(current_.text());
  }
  return {};
}

/// Fills current_ with the next record and checks its form.
status reader::state::take_event() {
  current_.record = records_[cursor_];
  current_.extra = {};
  current_.index = event_count;
  current_.offset = chunk_offset_;
  const event& record = current_.record;
  const auto kind_number = static_cast<std::uint8_t>(record.kind);
  if (!is_known(record.kind) && !is_optional(record.kind)) {
    return event_error(errc::unsupported, "a required event of unknown kind " +
                                              hex_byte(kind_number) +
                                              ": the trace needs a newer reader");
  }
  if (has_extra(record.kind)) {
    if (record.bytes > extras_.size()) {
      return event_error(errc::damaged, "an event of kind " + hex_byte(kind_number) + " claims " +
                                            number(record.bytes) + " bytes of extra, " +
                                            number(extras_.size()) + " are left in the chunk");
    }
    current_.extra = extras_.first(static_cast<std::size_t>(record.bytes));
    extras_ = extras_.subspan(current_.extra.size());
  }
  switch (record.kind) {
  case event_kind::define_name:
  case event_kind::define_category:
  case event_kind::define_device:
  case event_kind::comment:
    return take_definition();
  case event_kind::touch_tensors:
  case event_kind::touch_parts: {
    const std::size_t element = record.kind == event_kind::touch_tensors ? 8 : 4;
    if (record.bytes == 0 || record.bytes % element != 0 || record.bytes > limits::list_bytes) {
      return event_error(errc::invalid,
                         "a list of " + number(record.bytes) + " bytes of ids or parts");
    }
    return {};
  }
  default:
    return {};
  }
}

const event_view* reader::state::next() {
  while (!failure_ && !footer) {
    if (cursor_ == records_.size()) {
      if (!extras_.empty()) {
        fail(make_error(errc::damaged, chunk_offset_,
                        number(extras_.size()) + " bytes of extra belong to no event"));
        return nullptr;
      }
      if (!load_chunk()) {
        return nullptr;
      }
    }
    if (const status taken = take_event(); !taken) {
      fail(taken.error());
      return nullptr;
    }
    ++cursor_;
    ++event_count;
    if (is_known(current_.record.kind)) {
      return &current_;
    }
    ++skipped_count;
  }
  return nullptr;
}

reader::reader(std::unique_ptr<state> content) noexcept : state_(std::move(content)) {}
reader::reader(reader&&) noexcept = default;
reader& reader::operator=(reader&&) noexcept = default;
reader::~reader() = default;

result<reader> reader::start(std::unique_ptr<state> content) noexcept {
  try {
    if (status read = content->read_head(); !read) {
      return read.error();
    }
    return reader(std::move(content));
  } catch (const std::exception&) {
    return memory_error();
  }
}

result<reader> reader::open(const std::string& path) noexcept {
  try {
    byte_source::file_handle file(path == "-" ? stdin : std::fopen(path.c_str(), "rb"));
    if (!file) {
      error failure;
      failure.code = errc::io;
      failure.reason = "cannot open " + path + ": " + std::strerror(errno);
      return failure;
    }
    return start(std::make_unique<state>(byte_source(std::move(file))));
  } catch (const std::exception&) {
    return memory_error();
  }
}

result<reader> reader::from_memory(std::span<const std::byte> bytes) noexcept {
  try {
    return start(std::make_unique<state>(byte_source(bytes)));
  } catch (const std::exception&) {
    return memory_error();
  }
}

const event_view* reader::next() noexcept {
  try {
    return state_->next();
  } catch (const std::exception&) {  // std::bad_alloc, while a chunk or a message was made
    state_->fail(memory_error());
    return nullptr;
  }
}

const std::optional<error>& reader::failure() const noexcept {
  return state_->failure();
}
const file_header& reader::header() const noexcept {
  return state_->header;
}
std::string_view reader::metadata() const noexcept {
  return state_->metadata;
}
const std::optional<totals>& reader::footer() const noexcept {
  return state_->footer;
}
std::uint64_t reader::event_count() const noexcept {
  return state_->event_count;
}
std::uint64_t reader::skipped_count() const noexcept {
  return state_->skipped_count;
}

std::string_view reader::name(std::uint32_t index) const noexcept {
  return index == 0 || index > state_->names.size() ? std::string_view()
                                                    : std::string_view(state_->names[index - 1]);
}

std::string_view reader::category(std::uint8_t number) const noexcept {
  const auto& entry = state_->categories[number];
  return entry ? std::string_view(*entry) : std::string_view();
}

std::string_view reader::device(std::uint8_t number) const noexcept {
  const auto& entry = state_->devices[number];
  return entry ? std::string_view(*entry) : std::string_view();
}

std::uint32_t reader::name_count() const noexcept {
  return static_cast<std::uint32_t>(state_->names.size());
}
bool reader::has_category(std::uint8_t number) const noexcept {
  return state_->categories[number].has_value();
}
bool reader::has_device(std::uint8_t number) const noexcept {
  return state_->devices[number].has_value();
}

}  // namespace tidepool::bench::trace
