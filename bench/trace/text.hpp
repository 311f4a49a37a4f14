// SPDX-License-Identifier: Apache-2.0
//
// The text form of a trace: one JSON object per line, a header line, one line per event, an end
// line. For reading a trace, for writing tests and importers by hand, and for `diff`. Both ways
// lose nothing but optional events of unknown kinds: pack(dump(x)) has the events of x.
// README.md lists the operations and keys.
//
//   {"trace":"tidepool trace 1","clock":"logical","metadata":{"model":"tiny"}}
//   {"op":"alloc","t":1,"id":1,"bytes":4096,"align":64,"device":"cpu","category":"weight"}
//   {"op":"read","t":2,"ids":[1]}
#pragma once

#include "trace/reader.hpp"
#include "trace/writer.hpp"

#include <functional>
#include <iosfwd>

namespace tidepool::bench::trace {

/// Writes the rest of the trace in `input`, freshly opened, to `out`. If the file is damaged, the
/// events before the damage are written and the error is returned.
[[nodiscard]] status dump(reader& input, std::ostream& out) noexcept;

/// Makes the writer of a trace; called once, when the header line has been read, with `options`
/// whose metadata and clock are those of the header line.
using make_writer = std::function<result<writer>(const writer_options& options)>;

/// Reads the text form from `in` into a trace and closes it. Names, categories and devices are
/// defined at their first use unless lines define them. Empty lines and lines that begin with # are
/// skipped. Errors name the line. Says what was written.
[[nodiscard]] result<totals> pack(std::istream& in, const make_writer& make,
                                  writer_options options = {}) noexcept;

/// pack() into a file.
[[nodiscard]] result<totals> pack(std::istream& in, const std::string& path,
                                  const writer_options& options = {}) noexcept;

}  // namespace tidepool::bench::trace
