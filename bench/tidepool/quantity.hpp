// SPDX-License-Identifier: Apache-2.0
//
// Quantities as people write and read them: sizes ("8GiB"), devices ("cpu:0"), figures in tables.
// Pure functions. Input from the command line is answered with nullopt where it is not understood.
#pragma once

#include <tidepool/device.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace tidepool::bench {

/// "8GiB", "1.5 MiB", "64k", "4096": a number and an optional unit. K, KiB, M, MiB, ... count in
/// 1024s; KB, MB, ... in 1000s. Upper and lower case are the same. Overflow is not understood.
[[nodiscard]] std::optional<std::uint64_t> parse_bytes(std::string_view text) noexcept;

/// "cpu", "cpu:<node>" or "cpu:node<node>", "cuda:<n>", "pinned:<gpu>", "pinned:node<node>",
/// "managed:<gpu>": places a trace can be replayed on. "automatic" is none.
[[nodiscard]] std::optional<device> parse_device(std::string_view text) noexcept;
[[nodiscard]] std::string device_text(device where);

/// "13.07 GiB", "512 B".
[[nodiscard]] std::string bytes_text(std::uint64_t bytes);
/// "1 234 567".
[[nodiscard]] std::string count_text(std::uint64_t count);
/// `digits` significant digits at least, never an exponent: "5.12", "97.4", "1480".
[[nodiscard]] std::string figure_text(double value, int digits = 3);

}  // namespace tidepool::bench
