// SPDX-License-Identifier: Apache-2.0
//
// page_bits by words of 64 bits. Ranges are believed, not checked against the length of the words.
// Not thread-safe: the words are the caller's, so is the lock.
#include "page_bits.hpp"

#include <algorithm>
#include <bit>

namespace tidepool {
inline namespace v0 {
namespace cpu {

namespace {

constexpr std::uint64_t all = ~std::uint64_t{0};

/// Calls f(word number, mask) for each word that the range touches.
template <class F>
void for_each_word(page_range range, const F& f) noexcept {
  std::uint32_t at = range.first;
  const std::uint32_t end = range.first + range.count;
  while (at != end) {
    const std::uint32_t bit = at % 64;
    const std::uint32_t n = std::min(64 - bit, end - at);
    f(at / 64, (n == 64 ? all : (std::uint64_t{1} << n) - 1) << bit);
    at += n;
  }
}

/// Words are mostly all ones or all zeros, and a generic x86-64 has no instruction that counts
/// bits.
std::uint32_t count_bits(std::uint64_t word) noexcept {
  if (word == 0) {
    return 0;
  }
  return word == all ? 64 : static_cast<std::uint32_t>(std::popcount(word));
}

}  // namespace

void page_bits::set(page_range range) noexcept {
  for_each_word(range, [&](std::uint32_t w, std::uint64_t mask) { words_[w] |= mask; });
}

void page_bits::clear(page_range range) noexcept {
  for_each_word(range, [&](std::uint32_t w, std::uint64_t mask) { words_[w] &= ~mask; });
}

std::uint32_t page_bits::count(page_range range) const noexcept {
  std::uint32_t n = 0;
  for_each_word(range,
                [&](std::uint32_t w, std::uint64_t mask) { n += count_bits(words_[w] & mask); });
  return n;
}

// The first bit in [first, end) that is 1 after xor with `flip`, or end.
std::uint32_t page_bits::find(std::uint32_t first, std::uint32_t end,
                              std::uint64_t flip) const noexcept {
  for (std::uint32_t at = first; at < end; at = (at / 64 + 1) * 64) {
    const std::uint64_t word = (words_[at / 64] ^ flip) >> (at % 64);
    if (word != 0) {
      return std::min(end, at + static_cast<std::uint32_t>(std::countr_zero(word)));
    }
  }
  return end;
}

page_range page_bits::first_run(page_range range) const noexcept {
  const std::uint32_t end = range.first + range.count;
  const std::uint32_t begin = find(range.first, end, 0);
  return {begin, find(begin, end, all) - begin};
}

std::uint32_t page_bits::longest_run(page_range range) const noexcept {
  std::uint32_t longest = 0;
  const std::uint32_t end = range.first + range.count;
  for (page_range run = first_run(range); run.count != 0;) {
    longest = std::max(longest, run.count);
    const std::uint32_t next = run.first + run.count;
    run = first_run({next, end - next});
  }
  return longest;
}

page_range page_bits::last_set(page_range range, std::uint32_t n) const noexcept {
  const std::uint32_t end = range.first + range.count;
  std::uint32_t low = end;   // lowest bit taken
  std::uint32_t high = end;  // end of the highest
  for (std::uint32_t at = end; at != range.first && n != 0;) {
    const std::uint32_t base = std::max(range.first, (at - 1) / 64 * 64);
    const std::uint32_t width = at - base;
    std::uint64_t word = words_[base / 64] >> (base % 64);
    word &= width == 64 ? all : (std::uint64_t{1} << width) - 1;
    if (word != 0 && high == end && low == end) {
      high = base + static_cast<std::uint32_t>(std::bit_width(word));
    }
    const std::uint32_t here = count_bits(word);
    for (std::uint32_t over = here > n ? here - n : 0; over != 0; --over) {
      word &= word - 1;  // drop the lowest
    }
    if (word != 0) {
      low = base + static_cast<std::uint32_t>(std::countr_zero(word));
    }
    n -= std::min(n, here);
    at = base;
  }
  return low == end ? page_range{range.first, 0} : page_range{low, high - low};
}

}  // namespace cpu
}  // namespace v0
}  // namespace tidepool
