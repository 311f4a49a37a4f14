// SPDX-License-Identifier: Apache-2.0
//
// The layout of fat binaries as nvcc 13.0 writes them, read from its output: a wrapper points to an
// image of entries, each with a header of its own length and a payload.
#include "machine/fatbin.hpp"

#include <zstd.h>

#include <cstdint>
#include <cstring>
#include <stdexcept>
#include <string_view>

namespace cudasim {
namespace {

constexpr std::uint32_t wrapper_magic = 0x466243B1;
constexpr std::uint32_t linked_version = 2;  // of a wrapper
constexpr std::uint32_t image_magic = 0xBA55ED50;
constexpr std::uint16_t ptx_kind = 1;
constexpr std::uint64_t zstd_flag = 0x8000;
constexpr std::uint64_t other_compression_flag = 0x2000;  // LZ4, which older nvcc wrote
constexpr std::uint64_t largest_text = std::uint64_t{1} << 30;

struct wrapper_header {
  std::uint32_t magic;
  std::uint32_t version;
  const char* data;
  const void* extra;
};
struct image_header {
  std::uint32_t magic;
  std::uint16_t version;
  std::uint16_t header_size;
  std::uint64_t body_size;
};
struct entry_header {
  std::uint16_t kind;
  std::uint16_t version;
  std::uint32_t header_size;
  std::uint64_t payload_size;
  std::uint32_t compressed_size;
  std::uint32_t unknown;
  std::uint16_t minor;
  std::uint16_t major;
  std::uint32_t architecture;
  std::uint32_t name_offset;
  std::uint32_t name_length;
  std::uint64_t flags;
  std::uint64_t zero;
  std::uint64_t uncompressed_size;
};
static_assert(sizeof(entry_header) == 64);

[[noreturn]] void damaged(const std::string& what) {
  throw std::runtime_error("damaged fat binary: " + what);
}

std::string decompress(const char* payload, const entry_header& entry) {
  const std::size_t compressed =
      entry.compressed_size != 0 ? entry.compressed_size : std::size_t{entry.payload_size};
  if (compressed > entry.payload_size || entry.uncompressed_size > largest_text) {
    damaged("a compressed entry of " + std::to_string(compressed) + " bytes in a payload of " +
            std::to_string(entry.payload_size));
  }
  std::string text(entry.uncompressed_size, '\0');
  const std::size_t written = ZSTD_decompress(text.data(), text.size(), payload, compressed);
  if (ZSTD_isError(written) != 0) {
    damaged(std::string("zstd says ") + ZSTD_getErrorName(written));
  }
  text.resize(written);
  return text;
}

// The text of the image's newest PTX that the architecture can run; empty: it has none.
std::string ptx_of_image(const char* data, unsigned architecture) {
  image_header image;
  std::memcpy(&image, data, sizeof image);
  if (image.magic != image_magic || image.header_size < sizeof image) {
    damaged("no image here (a wrong magic number)");
  }
  const char* const begin = data + image.header_size;
  const char* best = nullptr;
  entry_header best_entry{};
  for (std::uint64_t at = 0; at < image.body_size;) {
    entry_header entry;
    const std::uint64_t left = image.body_size - at;
    if (left < sizeof entry) {
      damaged(std::to_string(left) + " bytes where an entry's header should be");
    }
    std::memcpy(&entry, begin + at, sizeof entry);
    if (entry.header_size < sizeof entry || entry.header_size > left ||
        entry.payload_size > left - entry.header_size) {
      damaged("an entry of " + std::to_string(entry.payload_size) + " bytes where " +
              std::to_string(left) + " are left");
    }
    if (entry.kind == ptx_kind && entry.architecture <= architecture &&
        (best == nullptr || entry.architecture >= best_entry.architecture)) {
      best = begin + at + entry.header_size;
      best_entry = entry;
    }
    at += entry.header_size + entry.payload_size;
  }
  if (best == nullptr) {
    return {};
  }
  if ((best_entry.flags & zstd_flag) != 0) {
    std::string text = decompress(best, best_entry);
    text.resize(std::strlen(text.c_str()));
    return text;
  }
  if ((best_entry.flags & other_compression_flag) != 0) {
    throw std::runtime_error(
        "the fat binary's PTX is compressed by LZ4: build with nvcc 13 or with --no-compress");
  }
  const std::string_view text(best, best_entry.payload_size);
  return std::string(text.substr(0, text.find('\0')));
}

}  // namespace

// With -rdc=true the wrapper leads to the linked machine code, and `extra` to the images that it
// was linked from, one for each source and library, and a null after them.
std::string extract_ptx(const void* wrapper, unsigned architecture) {
  wrapper_header outer;
  std::memcpy(&outer, wrapper, sizeof outer);
  if (outer.magic != wrapper_magic || outer.data == nullptr) {
    damaged("no wrapper here (a wrong magic number)");
  }
  std::string found = ptx_of_image(outer.data, architecture);
  if (!found.empty() || outer.version != linked_version || outer.extra == nullptr) {
    return found;
  }
  for (auto part = static_cast<const char* const*>(outer.extra); *part != nullptr; ++part) {
    std::string text = ptx_of_image(*part, architecture);
    if (!found.empty() && !text.empty()) {
      throw std::runtime_error(
          "device code of several sources, linked by nvcc -rdc=true: cudasim does not link it; "
          "build each source by itself, without -rdc=true (CUDA_SEPARABLE_COMPILATION OFF)");
    }
    if (!text.empty()) {
      found = std::move(text);
    }
  }
  return found;
}

}  // namespace cudasim
