// SPDX-License-Identifier: Apache-2.0
//
// The variable TIDEPOOL: all keys that any part of the library reads, and the readers.
#include <tidepool/environment.hpp>

#include <array>
#include <atomic>
#include <cstdio>
#include <cstdlib>

namespace tidepool {
inline namespace v0 {

namespace {

enum class value_kind : std::uint8_t { flag, count, bytes, text };

struct known_option {
  std::string_view key;
  value_kind kind;
};

// All keys of the library, including those of backends. They are in one list, so that a misspelt
// key can be reported. Each key has a line in core/README.md.
constexpr std::array known_options{
    known_option{"arena_bytes", value_kind::bytes},
    known_option{"exhaust_at", value_kind::bytes},
    known_option{"fail_call", value_kind::count},
    known_option{"fail_every", value_kind::count},
    known_option{"guard", value_kind::text},  // canary, pages or none
    known_option{"leaks", value_kind::flag},
    known_option{"no_huge_pages", value_kind::flag},
    known_option{"no_membarrier", value_kind::flag},
    known_option{"nvtx", value_kind::flag},
    known_option{"poison", value_kind::flag},
    known_option{"quarantine", value_kind::bytes},
    known_option{"sites", value_kind::count},
};

constexpr const char* variable = "TIDEPOOL";

struct setting {
  std::string_view key;
  std::optional<std::string_view> value;
};

std::string_view trimmed(std::string_view text) noexcept {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) {
    text.remove_prefix(1);
  }
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) {
    text.remove_suffix(1);
  }
  return text;
}

template <class F>
void for_each_setting(std::string_view all, F&& f) noexcept {
  while (!all.empty()) {
    const std::size_t comma = all.find(',');
    const std::string_view one = trimmed(all.substr(0, comma));
    all = comma == std::string_view::npos ? std::string_view{} : all.substr(comma + 1);
    if (one.empty()) {
      continue;
    }
    const std::size_t equals = one.find('=');
    if (equals == std::string_view::npos) {
      f(setting{one, std::nullopt});
    } else {
      f(setting{trimmed(one.substr(0, equals)), trimmed(one.substr(equals + 1))});
    }
  }
}

std::optional<std::uint64_t> read_count(std::string_view text) noexcept {
  if (text.empty()) {
    return std::nullopt;
  }
  std::uint64_t value = 0;
  for (const char c : text) {
    const auto digit = static_cast<std::uint64_t>(c) - '0';
    if (digit > 9 || value > (UINT64_MAX - digit) / 10) {
      return std::nullopt;
    }
    value = value * 10 + digit;
  }
  return value;
}

std::optional<std::size_t> read_bytes(std::string_view text) noexcept {
  unsigned shift = 0;
  if (text.size() > 3 && text.substr(text.size() - 2) == "iB") {
    const std::size_t unit = std::string_view("KMG").find(text[text.size() - 3]);
    if (unit == std::string_view::npos) {
      return std::nullopt;
    }
    shift = 10 * (static_cast<unsigned>(unit) + 1);
    text = trimmed(text.substr(0, text.size() - 3));
  }
  const std::optional<std::uint64_t> number = read_count(text);
  if (!number || *number > SIZE_MAX >> shift) {
    return std::nullopt;
  }
  return static_cast<std::size_t>(*number) << shift;
}

bool is_readable(const setting& what, value_kind kind) noexcept {
  switch (kind) {
  case value_kind::flag:
    return !what.value || *what.value == "0" || *what.value == "1";
  case value_kind::count:
    return what.value && read_count(*what.value);
  case value_kind::bytes:
    return what.value && read_bytes(*what.value);
  case value_kind::text:
    return true;
  }
  return true;
}

void tell_known_keys() noexcept {
  std::fprintf(stderr, "tidepool: %s knows", variable);
  for (const known_option& known : known_options) {
    const char* const value = known.kind == value_kind::flag    ? ""
                              : known.kind == value_kind::count ? "=N"
                              : known.kind == value_kind::bytes ? "=BYTES"
                                                                : "[=...]";
    std::fprintf(stderr, " %.*s%s", static_cast<int>(known.key.size()), known.key.data(), value);
  }
  std::fputs(" (comma-separated; BYTES may end in KiB, MiB, GiB)\n", stderr);
}

void tell_problems(std::string_view all) noexcept {
  bool told = false;
  for_each_setting(all, [&](const setting& what) {
    const known_option* found = nullptr;
    for (const known_option& known : known_options) {
      found = known.key == what.key ? &known : found;
    }
    if (found != nullptr && is_readable(what, found->kind)) {
      return;
    }
    told = true;
    std::fprintf(stderr, "tidepool: %s: %s '%.*s', ignored\n", variable,
                 found == nullptr ? "unknown key" : "no such value for",
                 static_cast<int>(what.key.size()), what.key.data());
  });
  if (told) {
    tell_known_keys();
  }
}

// Returns the variable's text and reports its problems. It reports each text once, and programs
// seldom change the text.
std::string_view read_variable() noexcept {
  const char* const text = ::secure_getenv(variable);
  if (text == nullptr) {
    return {};
  }
  const std::string_view all(text);
  std::uint64_t hash = 0xcbf29ce484222325;  // FNV-1a
  for (const char c : all) {
    hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
  }
  static std::atomic<std::uint64_t> told{0};
  if (told.exchange(hash, std::memory_order_relaxed) != hash) {
    tell_problems(all);
  }
  return all;
}

}  // namespace

std::optional<std::string_view> environment_option(std::string_view key) noexcept {
  std::optional<std::string_view> found;
  for_each_setting(read_variable(), [&](const setting& what) {
    if (what.key == key) {
      found = what.value.value_or(std::string_view{});
    }
  });
  return found;
}

bool environment_flag(std::string_view key) noexcept {
  const std::optional<std::string_view> found = environment_option(key);
  return found && (found->empty() || *found == "1");
}

std::optional<std::uint64_t> environment_count(std::string_view key) noexcept {
  const std::optional<std::string_view> found = environment_option(key);
  return found ? read_count(*found) : std::nullopt;
}

std::optional<std::size_t> environment_bytes(std::string_view key) noexcept {
  const std::optional<std::string_view> found = environment_option(key);
  return found ? read_bytes(*found) : std::nullopt;
}

}  // namespace v0
}  // namespace tidepool
