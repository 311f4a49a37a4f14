// SPDX-License-Identifier: Apache-2.0
//
// The writer. A chunk is closed when it has enough events or when its extras would make it larger
// than readers accept; everything a reader refuses is refused here first.
#include "trace/writer.hpp"

#include "trace/ledger.hpp"
#include "trace/sink.hpp"

#include <zstd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <exception>
#include <optional>
#include <unordered_map>

namespace tidepool::bench::trace {
namespace {

struct compressor_deleter {
  void operator()(ZSTD_CCtx* context) const noexcept { ZSTD_freeCCtx(context); }
};

constexpr std::size_t extras_per_chunk = limits::chunk_raw_bytes - limits::list_bytes;
constexpr std::uint32_t max_chunk_events = 131072;
static_assert(max_chunk_events * event_bytes + limits::list_bytes <= limits::chunk_raw_bytes);

error memory_error() noexcept {
  return {.code = errc::out_of_memory, .reason = "no memory"};
}

error make_error(errc code, std::string reason) {
  error failure;
  failure.code = code;
  failure.reason = std::move(reason);
  return failure;
}

bool is_definition(event_kind kind) noexcept {
  return kind == event_kind::define_name || kind == event_kind::define_category ||
         kind == event_kind::define_device;
}

}  // namespace

class writer::state {
 public:
  state(byte_sink sink, const writer_options& options)
      : sink_(std::move(sink)),
        level_(std::clamp(options.compression_level, 0, ZSTD_maxCLevel())),
        chunk_events_(std::clamp(options.chunk_events, 1u, max_chunk_events)) {}

  status write_head(const writer_options& options);
  result<std::uint32_t> name(std::string_view text);
  result<std::uint32_t> number_of(event_kind kind, std::string_view text, std::uint64_t capacity);
  status append(event record, std::span<const std::byte> extra);
  status close();

  /// Runs `step`, remembers its failure, and turns an exception into one.
  template <class Step>
  auto guarded(Step step) noexcept -> decltype(step()) {
    try {
      if (failure_) {
        return *failure_;
      }
      auto outcome = step();
      if (!outcome) {
        failure_ = outcome.error();
      }
      return outcome;
    } catch (const std::exception&) {
      failure_ = memory_error();
      return memory_error();
    }
  }

  [[nodiscard]] const ledger& book() const noexcept { return book_; }
  [[nodiscard]] std::uint64_t event_count() const noexcept { return event_count_; }

 private:
  using index_map = std::unordered_map<std::string, std::uint32_t>;

  status check(const event& record, std::span<const std::byte> extra) const;
  status take_definition(const event& record, std::span<const std::byte> extra);
  status write_chunk(chunk_header header, std::span<const std::byte> raw);
  status flush();

  byte_sink sink_;
  int level_;
  std::uint32_t chunk_events_;
  std::unique_ptr<ZSTD_CCtx, compressor_deleter> compressor_;
  std::vector<event> records_;
  std::vector<std::byte> extras_;
  std::vector<std::byte> raw_;
  std::vector<std::byte> packed_;
  index_map names_;
  index_map categories_;
  index_map devices_;
  std::array<bool, 256> category_used_{};
  std::array<bool, 256> device_used_{};
  std::uint64_t names_bytes_ = 0;
  std::uint64_t event_count_ = 0;
  ledger book_{false};
  bool is_closed_ = false;
  std::optional<error> failure_;
};

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

status writer::state::check(const event& record, std::span<const std::byte> extra) const {
  if (is_closed_) {
    return make_error(errc::invalid, "the trace is closed");
  }
  if (!is_known(record.kind) && !is_optional(record.kind)) {
    return make_error(errc::invalid, "unknown kind of event");
  }
  if (!has_extra(record.kind) && !extra.empty()) {
    return make_error(errc::invalid, "an event of this kind has no extra");
  }
  if (extra.size() > limits::list_bytes) {
    return make_error(errc::over_limit, "more than 8 MiB of extra for one event");
  }
  const bool is_text = is_definition(record.kind) || record.kind == event_kind::comment;
  if (is_text && extra.size() > limits::text_bytes) {
    return make_error(errc::over_limit, "a text of more than 4096 bytes");
  }
  const bool is_ids = record.kind == event_kind::touch_tensors;
  if (is_ids || record.kind == event_kind::touch_parts) {
    if (extra.empty() || extra.size() % (is_ids ? 8 : 4) != 0) {
      return make_error(errc::invalid, "a touch needs a list of ids or parts");
    }
  }
  return {};
}

status writer::state::take_definition(const event& record, std::span<const std::byte> extra) {
  std::string text(reinterpret_cast<const char*>(extra.data()), extra.size());
  if (record.kind == event_kind::define_name) {
    if (record.id != names_.size() + 1) {
      return make_error(errc::invalid, "names are defined in the order 1, 2, 3, ...");
    }
    names_bytes_ += text.size();
    if (record.id > limits::names || names_bytes_ > limits::names_bytes) {
      return make_error(errc::over_limit, "too many names");
    }
  }
  const bool is_category = record.kind == event_kind::define_category;
  index_map& known = record.kind == event_kind::define_name ? names_
                     : is_category                          ? categories_
                                                            : devices_;
  const std::uint32_t number = record.kind == event_kind::define_name
                                   ? static_cast<std::uint32_t>(record.id)
                               : is_category ? record.category
                                             : record.device;
  if (record.kind != event_kind::define_name) {
    bool& used = is_category ? category_used_[number] : device_used_[number];
    if (used || (is_category && number == 0)) {
      return make_error(errc::invalid, "this number is taken");
    }
    used = true;
  }
  if (!known.emplace(std::move(text), number).second) {
    return make_error(errc::invalid, "this text is defined already");
  }
  return {};
}

result<std::uint32_t> writer::state::name(std::string_view text) {
  if (text.empty()) {
    return std::uint32_t{0};
  }
  const std::string key(text);
  if (const auto known = names_.find(key); known != names_.end()) {
    return known->second;
  }
  const auto index = static_cast<std::uint32_t>(names_.size() + 1);
  event record{.time = book_.sums().last_time, .id = index, .kind = event_kind::define_name};
  if (const status done = append(record, std::as_bytes(std::span(text))); !done) {
    return done.error();
  }
  return index;
}

result<std::uint32_t> writer::state::number_of(event_kind kind, std::string_view text,
                                               std::uint64_t capacity) {
  const bool is_category = kind == event_kind::define_category;
  if (is_category && text.empty()) {
    return std::uint32_t{0};
  }
  const index_map& known = is_category ? categories_ : devices_;
  if (const auto at = known.find(std::string(text)); at != known.end()) {
    return at->second;
  }
  const auto& used = is_category ? category_used_ : device_used_;
  std::uint32_t number = is_category ? 1 : 0;
  while (number < used.size() && used[number]) {
    ++number;
  }
  if (number == used.size()) {
    return make_error(errc::over_limit, "more than 255 categories or devices");
  }
  event record{.time = book_.sums().last_time, .kind = kind};
  if (is_category) {
    record.category = static_cast<std::uint8_t>(number);
  } else {
    record.device = static_cast<std::uint8_t>(number);
    record.id = capacity;
  }
  if (const status done = append(record, std::as_bytes(std::span(text))); !done) {
    return done.error();
  }
  return number;
}

status writer::state::append(event record, std::span<const std::byte> extra) {
  if (status checked = check(record, extra); !checked) {
    return checked;
  }
  if (is_definition(record.kind)) {
    if (status taken = take_definition(record, extra); !taken) {
      return taken;
    }
  }
  const std::size_t record_area = (records_.size() + 1) * event_bytes;
  if (!records_.empty() && (records_.size() >= chunk_events_ ||
                            record_area + extras_.size() + extra.size() > extras_per_chunk)) {
    if (status flushed = flush(); !flushed) {
      return flushed;
    }
  }
  if (has_extra(record.kind)) {
    record.bytes = extra.size();
  }
  records_.push_back(record);
  extras_.insert(extras_.end(), extra.begin(), extra.end());
  book_.apply({.record = record, .extra = extra, .index = event_count_});
  ++event_count_;
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

writer::writer(std::unique_ptr<state> content) noexcept : state_(std::move(content)) {}
writer::writer(writer&&) noexcept = default;
writer& writer::operator=(writer&&) noexcept = default;
writer::~writer() = default;

result<writer> writer::create(const std::string& path, const writer_options& options) noexcept {
  try {
    byte_sink::file_handle file(path == "-" ? stdout : std::fopen(path.c_str(), "wb"));
    if (!file) {
      return make_error(errc::io, "cannot create " + path + ": " + std::strerror(errno));
    }
    auto content = std::make_unique<state>(byte_sink(std::move(file)), options);
    if (status written = content->write_head(options); !written) {
      return written.error();
    }
    return writer(std::move(content));
  } catch (const std::exception&) {
    return memory_error();
  }
}

result<writer> writer::to_memory(std::vector<std::byte>& bytes,
                                 const writer_options& options) noexcept {
  try {
    auto content = std::make_unique<state>(byte_sink(bytes), options);
    if (status written = content->write_head(options); !written) {
      return written.error();
    }
    return writer(std::move(content));
  } catch (const std::exception&) {
    return memory_error();
  }
}

result<std::uint32_t> writer::name(std::string_view text) noexcept {
  return state_->guarded([&] { return state_->name(text); });
}

result<std::uint8_t> writer::category(std::string_view text) noexcept {
  const auto number =
      state_->guarded([&] { return state_->number_of(event_kind::define_category, text, 0); });
  return number ? result<std::uint8_t>(static_cast<std::uint8_t>(*number)) : number.error();
}

result<std::uint8_t> writer::device(std::string_view text, std::uint64_t capacity_bytes) noexcept {
  const auto number = state_->guarded(
      [&] { return state_->number_of(event_kind::define_device, text, capacity_bytes); });
  return number ? result<std::uint8_t>(static_cast<std::uint8_t>(*number)) : number.error();
}

status writer::append(const event& record) noexcept {
  return append(record, {});
}

status writer::append(event record, std::span<const std::byte> extra) noexcept {
  return state_->guarded([&] { return state_->append(record, extra); });
}

status writer::append_touch(event record, std::span<const std::uint64_t> ids) noexcept {
  record.kind = event_kind::touch_tensors;
  return append(record, std::as_bytes(ids));
}

status writer::append_touch(event record, std::span<const std::uint32_t> parts) noexcept {
  record.kind = event_kind::touch_parts;
  return append(record, std::as_bytes(parts));
}

status writer::close() noexcept {
  return state_->guarded([&] { return state_->close(); });
}

std::uint64_t writer::event_count() const noexcept {
  return state_->event_count();
}
const totals& writer::sums() const noexcept {
  return state_->book().sums();
}

}  // namespace tidepool::bench::trace
