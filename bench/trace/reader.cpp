// SPDX-License-Identifier: Apache-2.0
//
// The streaming reader as its users see it: opening, and no exception leaves. The work is done in
// reader_chunks.cpp and reader_events.cpp.
#include "trace/reader.hpp"

#include "trace/failure.hpp"
#include "trace/reader_state.hpp"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <exception>

namespace tidepool::bench::trace {

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
