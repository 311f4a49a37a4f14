// SPDX-License-Identifier: Apache-2.0
//
// Trace to text. A field is written if it differs from its default; an index that nothing defines
// is written as a number, so that even a wrong trace can be read and packed again.
#include "trace/text.hpp"
#include "trace/text_names.hpp"

#include <nlohmann/json.hpp>

#include <exception>
#include <ostream>
#include <string>

namespace tidepool::bench::trace {
namespace {

using nlohmann::ordered_json;

std::string to_line(const ordered_json& object) {
  return object.dump(-1, ' ', false, ordered_json::error_handler_t::replace) + "\n";
}

/// The word for `value`, or the number where there is none.
template <std::size_t Size>
ordered_json word_or_number(const std::array<word, Size>& words, unsigned value) {
  const std::string_view text = word_of(words, value);
  return text.empty() ? ordered_json(value) : ordered_json(text);
}

ordered_json text_or_number(std::string_view text, bool is_defined, unsigned number) {
  return is_defined ? ordered_json(text) : ordered_json(number);
}

ordered_json flags_of(const event& record) {
  ordered_json list = ordered_json::array();
  for (unsigned bit = 0; bit < 16; ++bit) {
    const unsigned mask = 1u << bit;
    if ((record.flags & mask) != 0) {
      list.push_back(word_or_number(flag_words, mask));
    }
  }
  return list;
}

ordered_json operation_of(const event& record) {
  switch (record.kind) {
  case event_kind::touch:
  case event_kind::touch_tensors:
  case event_kind::touch_parts: {
    const std::string_view text = word_of(access_words, record.detail);
    return text.empty() ? "touch" : ordered_json(text);
  }
  default:
    return ordered_json(word_of(kind_words, static_cast<unsigned>(record.kind)));
  }
}

template <class Number>
ordered_json list_of(const packed_list<Number>& numbers) {
  ordered_json list = ordered_json::array();
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    list.push_back(numbers[i]);
  }
  return list;
}

class dumper {
 public:
  dumper(reader& input, std::ostream& out) noexcept : input_(input), out_(out) {}
  status run();

 private:
  [[nodiscard]] ordered_json header_line() const;
  [[nodiscard]] ordered_json event_line(const event_view& seen) const;
  void put_identity(ordered_json& line, const event_view& seen) const;
  void put_detail(ordered_json& line, const event& record) const;
  void put_extra(ordered_json& line, const event_view& seen) const;
  [[nodiscard]] ordered_json end_line() const;

  reader& input_;
  std::ostream& out_;
};

ordered_json dumper::header_line() const {
  ordered_json line = {{"trace", magic}};
  line["clock"] = word_of(clock_words, static_cast<unsigned>(input_.header().clock));
  ordered_json metadata = ordered_json::parse(input_.metadata(), nullptr, false);
  line["metadata"] =
      metadata.is_discarded() ? ordered_json(input_.metadata()) : std::move(metadata);
  return line;
}

void dumper::put_identity(ordered_json& line, const event_view& seen) const {
  const event& record = seen.record;
  const bool is_mark = record.kind == event_kind::mark_begin || record.kind == event_kind::mark_end;
  const char* id_key = is_mark                                    ? "ordinal"
                       : record.kind == event_kind::define_name   ? "index"
                       : record.kind == event_kind::define_device ? "capacity"
                                                                  : "id";
  if (record.id != 0) {
    line[id_key] = record.id;
  }
  if (record.generation != 0) {
    line["gen"] = record.generation;
  }
  if (record.bytes != 0 && !has_extra(record.kind)) {
    line["bytes"] = record.bytes;
  }
  if (record.alignment_log2 >= 64) {
    line["align_log2"] = record.alignment_log2;  // no such alignment exists: a wrong trace
  } else if (record.alignment_log2 != 0) {
    line["align"] = std::uint64_t{1} << record.alignment_log2;
  }
  if (record.kind == event_kind::define_device || record.kind == event_kind::define_category) {
    line["index"] = record.kind == event_kind::define_device ? record.device : record.category;
    return;
  }
  const bool has_device = record.kind == event_kind::alloc || record.kind == event_kind::sync ||
                          record.kind == event_kind::trim;
  if (has_device || record.device != 0) {
    line["device"] = text_or_number(input_.device(record.device), input_.has_device(record.device),
                                    record.device);
  }
  if (record.category != 0) {
    line["category"] = text_or_number(input_.category(record.category),
                                      input_.has_category(record.category), record.category);
  }
}

void dumper::put_detail(ordered_json& line, const event& record) const {
  const bool is_mark = record.kind == event_kind::mark_begin || record.kind == event_kind::mark_end;
  if (record.kind == event_kind::alloc && record.detail != 0) {
    line["result"] = word_or_number(outcome_words, record.detail);
  } else if (is_mark) {
    line["scope"] = word_or_number(scope_words, record.detail);
  } else if (operation_of(record) == "touch" ||
             (record.detail != 0 && word_of(access_words, record.detail).empty())) {
    line["detail"] = record.detail;
  }
}

void dumper::put_extra(ordered_json& line, const event_view& seen) const {
  if (seen.record.kind == event_kind::touch_tensors) {
    line["ids"] = list_of(seen.ids());
  } else if (seen.record.kind == event_kind::touch_parts) {
    line["parts"] = list_of(seen.parts());
  } else if (has_extra(seen.record.kind)) {
    line["text"] = seen.text();
  }
}

ordered_json dumper::event_line(const event_view& seen) const {
  const event& record = seen.record;
  ordered_json line = {{"op", operation_of(record)}, {"t", record.time}};
  put_identity(line, seen);
  if (record.name != 0) {
    line["name"] =
        text_or_number(input_.name(record.name), record.name <= input_.name_count(), record.name);
  }
  if (record.site != 0) {
    line["site"] = record.site;
  }
  if (record.stream != 0) {
    line["stream"] = record.stream;
  }
  if (record.thread != 0) {
    line["thread"] = record.thread;
  }
  if (record.flags != 0) {
    line["flags"] = flags_of(record);
  }
  put_detail(line, record);
  put_extra(line, seen);
  return line;
}

ordered_json dumper::end_line() const {
  const totals& sums = *input_.footer();
  return {{"end",
           {{"events", sums.events - input_.skipped_count()},
            {"allocs", sums.allocs},
            {"frees", sums.frees},
            {"touches", sums.touches},
            {"failed_allocs", sums.failed_allocs},
            {"allocated_bytes", sums.allocated_bytes},
            {"peak_live_bytes", sums.peak_live_bytes},
            {"live_bytes", sums.live_bytes}}}};
}

status dumper::run() {
  out_ << to_line(header_line());
  while (const event_view* seen = input_.next()) {
    out_ << to_line(event_line(*seen));
    if (!out_) {
      break;
    }
  }
  if (input_.failure()) {
    return *input_.failure();
  }
  if (out_) {
    out_ << to_line(end_line()) << std::flush;
  }
  if (!out_) {
    return error{.code = errc::io, .reason = "cannot write the text"};
  }
  return {};
}

}  // namespace

status dump(reader& input, std::ostream& out) noexcept {
  try {
    return dumper(input, out).run();
  } catch (const std::exception&) {  // std::bad_alloc, or a stream set to throw
    return error{.code = errc::out_of_memory, .reason = "no memory"};
  }
}

}  // namespace tidepool::bench::trace
