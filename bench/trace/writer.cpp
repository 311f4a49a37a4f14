// SPDX-License-Identifier: Apache-2.0
//
// The writer as its users see it: creating, and no exception leaves. The work is done in
// writer_events.cpp and writer_chunks.cpp.
#include "trace/writer.hpp"

#include "trace/failure.hpp"
#include "trace/sink.hpp"
#include "trace/writer_state.hpp"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <exception>

namespace tidepool::bench::trace {

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
