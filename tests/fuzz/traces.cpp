// SPDX-License-Identifier: Apache-2.0
//
// Fuzz target: any bytes are a trace file. Reader and validator answer events or an error, and what
// they say agrees: a valid trace has a footer and as many events as it says. Checksums hide what
// lies behind them from a fuzzer, so a first byte of 'r' asks for all of them to be made right.
#include "input.hpp"
#include "trace/reader.hpp"
#include "trace/validate.hpp"
#include "trace/wire.hpp"

#include <algorithm>
#include <span>
#include <vector>

namespace tidepool::bench::trace {
namespace {

using test::require;

// Gives the header and every chunk that can be told apart the sums that they would have to carry.
void repair(std::vector<std::byte>& bytes) {
  if (bytes.size() < file_header_bytes) {
    return;
  }
  const std::span all(bytes);
  file_header header = decode_file_header(all.first<file_header_bytes>());
  std::size_t at = std::clamp<std::size_t>(header.header_bytes, file_header_bytes, bytes.size());
  const std::size_t metadata = std::min<std::size_t>(header.metadata_bytes, bytes.size() - at);
  header.metadata_crc = crc32(all.subspan(at, metadata));
  std::ranges::copy(encode(header), bytes.begin());
  at += metadata;
  while (bytes.size() - at >= chunk_header_bytes) {
    chunk_header chunk = decode_chunk_header(all.subspan(at).first<chunk_header_bytes>());
    const std::size_t begin = at + chunk_header_bytes;
    const std::size_t stored = std::min<std::size_t>(chunk.stored_bytes, bytes.size() - begin);
    chunk.stored_crc = crc32(all.subspan(begin, stored));
    std::ranges::copy(encode(chunk), bytes.begin() + static_cast<std::ptrdiff_t>(at));
    at = begin + stored;
  }
}

void read(std::span<const std::byte> bytes) {
  auto opened = reader::from_memory(bytes);
  if (!opened) {
    require(!opened.error().reason.empty(), "an error says why");
    return;
  }
  std::uint64_t events = 0;
  std::uint64_t extra = 0;
  while (const event_view* seen = opened->next()) {
    ++events;
    for (const std::byte b : seen->extra) {
      extra += static_cast<std::uint64_t>(b);
    }
  }
  require(opened->next() == nullptr, "the end stays the end");
  require(events + opened->skipped_count() == opened->event_count(), "every event is counted");
  require(opened->failure().has_value() != opened->footer().has_value(),
          "a proper end has a footer, and no other has");
  volatile std::uint64_t sink = extra;
  static_cast<void>(sink);
}

void check(std::span<const std::byte> bytes) {
  auto opened = reader::from_memory(bytes);
  if (!opened) {
    return;
  }
  const validation found = validate(*opened, {.max_findings = 10, .max_tensors = 1 << 16});
  require(found.findings.size() <= 10, "as many findings as asked for");
  require(!found.is_valid() || opened->footer().has_value(), "a valid trace has a footer");
  for (const finding& one : found.findings) {
    require(!one.message().empty(), "a finding says what");
  }
}

}  // namespace
}  // namespace tidepool::bench::trace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  namespace trace = tidepool::bench::trace;
  const auto all = std::as_bytes(std::span(data, size));
  std::vector<std::byte> bytes(all.begin(), all.end());
  if (size != 0 && data[0] == 'r') {
    bytes.erase(bytes.begin());
    trace::repair(bytes);
  }
  trace::read(bytes);
  trace::check(bytes);
  return 0;
}
