// SPDX-License-Identifier: Apache-2.0
//
// Device printf: writes to standard output when the kernel runs. Formats are the host's own, one
// conversion at a time; vectors and %n are not known.
#include "machine/lanes.hpp"
#include "machine/lowering.hpp"

#include <array>
#include <bit>
#include <cstdio>
#include <cstring>
#include <string>

namespace cudasim {
namespace {

// The arguments lie in local memory, each aligned to its size.
class argument_reader {
 public:
  explicit argument_reader(const char* from) : from_(from) {}
  std::uint64_t next(std::size_t bytes) {
    at_ = align_up(at_, bytes);
    std::uint64_t value = 0;
    std::memcpy(&value, from_ + at_, bytes);
    at_ += bytes;
    return value;
  }

 private:
  const char* from_;
  std::size_t at_ = 0;
};

template <class T>
std::string formatted(const std::string& format, T value) {
  std::array<char, 512> text{};
  std::snprintf(text.data(), text.size(), format.c_str(), value);
  return text.data();
}

}  // namespace

void device_print(warp& w, const instruction& in, lane_mask m) {
  each_lane(m, [&](int l) {
    std::uint64_t format_address = 0;
    std::uint64_t arguments_address = 0;
    std::memcpy(&format_address, local_base(w, l) + in.immediate, sizeof format_address);
    std::memcpy(&arguments_address, local_base(w, l) + in.target, sizeof arguments_address);
    const char* at = resolve(w, in, l, format_address, 1, false);
    argument_reader arguments(reinterpret_cast<const char*>(arguments_address));
    std::string out;
    while (*at != '\0') {
      if (*at != '%') {
        out += *at++;
        continue;
      }
      std::string format(1, *at++);
      bool wide = false;
      for (; *at != '\0' && std::strchr("-+ #0123456789.*hlzjt", *at) != nullptr; ++at) {
        if (*at == '*') {
          format += std::to_string(static_cast<int>(arguments.next(4)));
        } else if (std::strchr("lzjt", *at) != nullptr) {
          wide = true;
        } else if (*at != 'h') {
          format += *at;
        }
      }
      if (*at == '\0') {
        break;
      }
      const char letter = *at++;
      if (letter == '%') {
        out += '%';
      } else if (std::strchr("eEfFgGaA", letter) != nullptr) {
        out += formatted(format + letter, std::bit_cast<double>(arguments.next(8)));
      } else if (letter == 's') {
        out += formatted(format + 's',
                         static_cast<const char*>(resolve(w, in, l, arguments.next(8), 1, false)));
      } else if (letter == 'p') {
        out += formatted(format + 'p', reinterpret_cast<void*>(arguments.next(8)));
      } else if (letter == 'c') {
        out += formatted(format + 'c', static_cast<int>(arguments.next(4)));
      } else {
        const std::uint64_t bits = arguments.next(wide ? 8 : 4);
        const bool is_signed = letter == 'd' || letter == 'i';
        const long long value = wide        ? static_cast<long long>(bits)
                                : is_signed ? static_cast<std::int32_t>(bits)
                                            : static_cast<long long>(bits);
        out += formatted(format + "ll" + letter, value);
      }
    }
    std::fputs(out.c_str(), stdout);
  });
}

}  // namespace cudasim
