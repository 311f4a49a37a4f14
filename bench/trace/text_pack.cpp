// SPDX-License-Identifier: Apache-2.0
//
// Text to trace: header line, event lines, end line. What keys a line may have is checked by
// text_fields.hpp; errors name the line.
#include "trace/text.hpp"
#include "trace/text_fields.hpp"
#include "trace/text_lines.hpp"
#include "trace/text_names.hpp"

#include <nlohmann/json.hpp>

#include <exception>
#include <istream>
#include <limits>
#include <string>
#include <string_view>

namespace tidepool::bench::trace {
namespace {

class packer {
 public:
  packer(std::istream& in, const make_writer& make, writer_options options)
      : in_(in), make_(make), options_(std::move(options)) {}
  result<totals> run();

 private:
  status take_line(std::string_view line);
  status take_header(const json& object);
  status take_event(const json& object);
  status take_end(const json& object);
  status resolve(fields& keys, event& record);
  void read_kind(fields& keys, event& record);
  void read_identity(fields& keys, event& record);
  void read_flags(fields& keys, event& record);
  template <class Integer>
  void read_list(fields& keys, const char* key);
  void read_text(fields& keys);

  std::istream& in_;
  const make_writer& make_;
  writer_options options_;
  std::optional<writer> out_;
  std::vector<std::byte> extra_;
  bool has_ended_ = false;
};

status packer::take_header(const json& object) {
  fields keys(object);
  const json* version = keys.take("trace");
  if (version == nullptr || *version != magic) {
    return syntax("the first line has to be {\"trace\":\"" + std::string(magic) + "\", ...}");
  }
  options_.clock = static_cast<clock_kind>(keys.word_value("clock", clock_words));
  if (options_.clock > clock_kind::nanoseconds) {
    keys.fail("\"clock\" is not a known clock");
  }
  if (const json* metadata = keys.take("metadata"); metadata != nullptr) {
    options_.metadata = metadata->is_string() ? metadata->get<std::string>() : metadata->dump();
  }
  if (status read = keys.finish(); !read) {
    return read;
  }
  auto made = make_(options_);
  if (!made) {
    return made.error();
  }
  out_.emplace(std::move(*made));
  return {};
}

/// "op", together with the keys that choose between kinds and fill `detail` and the extra.
void packer::read_kind(fields& keys, event& record) {
  const json* operation = keys.take("op");
  const std::string text =
      operation != nullptr && operation->is_string() ? operation->get<std::string>() : "";
  const auto access_value = value_of(access_words, text);
  const auto kind_value = value_of(kind_words, text);
  if (!access_value && !kind_value) {
    keys.fail("\"op\" is missing or names no operation");
    return;
  }
  record.kind = access_value ? event_kind::touch : static_cast<event_kind>(*kind_value);
  if (record.kind == event_kind::alloc) {
    record.detail = keys.word_value("result", outcome_words);
  } else if (record.kind == event_kind::mark_begin || record.kind == event_kind::mark_end) {
    record.detail = keys.word_value("scope", scope_words);
  } else {
    record.detail = access_value ? static_cast<std::uint8_t>(*access_value)
                                 : keys.number<std::uint8_t>("detail");
  }
  if (record.kind == event_kind::touch) {
    read_list<std::uint64_t>(keys, "ids");
    if (!extra_.empty()) {
      record.kind = event_kind::touch_tensors;
    } else {
      read_list<std::uint32_t>(keys, "parts");
      record.kind = extra_.empty() ? event_kind::touch : event_kind::touch_parts;
    }
  } else if (has_extra(record.kind)) {
    read_text(keys);
  }
}

template <class Integer>
void packer::read_list(fields& keys, const char* key) {
  const json* list = keys.take(key);
  if (list == nullptr) {
    return;
  }
  if (!list->is_array() || list->empty()) {
    keys.fail(std::string("\"") + key + "\" is not a list of at least one number");
    return;
  }
  for (const json& element : *list) {
    if (!element.is_number_unsigned() ||
        element.get<std::uint64_t>() > std::numeric_limits<Integer>::max()) {
      keys.fail(std::string("\"") + key + "\" holds " + element.dump());
      return;
    }
    const auto value = static_cast<Integer>(element.get<std::uint64_t>());
    const auto bytes = std::as_bytes(std::span(&value, 1));
    extra_.insert(extra_.end(), bytes.begin(), bytes.end());
  }
}

void packer::read_text(fields& keys) {
  const json* text = keys.take("text");
  if (text == nullptr || !text->is_string()) {
    keys.fail("\"text\" is missing or not a string");
    return;
  }
  const auto bytes = std::as_bytes(std::span(text->get_ref<const std::string&>()));
  extra_.assign(bytes.begin(), bytes.end());
}

void packer::read_identity(fields& keys, event& record) {
  switch (record.kind) {
  case event_kind::mark_begin:
  case event_kind::mark_end:
    record.id = keys.number<std::uint64_t>("ordinal");
    break;
  case event_kind::define_name:
    record.id = keys.number<std::uint64_t>("index");
    break;
  case event_kind::define_category:
    record.category = keys.number<std::uint8_t>("index");
    break;
  case event_kind::define_device:
    record.device = keys.number<std::uint8_t>("index");
    record.id = keys.number<std::uint64_t>("capacity");
    break;
  default:
    record.id = keys.number<std::uint64_t>("id");
    break;
  }
  record.time = keys.number<std::uint64_t>("t");
  record.generation = keys.number<std::uint32_t>("gen");
  if (!has_extra(record.kind)) {
    record.bytes = keys.number<std::uint64_t>("bytes");
  }
  record.site = keys.number<std::uint32_t>("site");
  record.stream = keys.number<std::uint16_t>("stream");
  record.thread = keys.number<std::uint16_t>("thread");
  record.alignment_log2 = keys.number<std::uint8_t>("align_log2");
  if (keys.take("align") != nullptr) {
    const auto alignment = keys.number<std::uint64_t>("align");
    if (!std::has_single_bit(alignment)) {
      keys.fail("\"align\" is not a power of two");
      return;
    }
    record.alignment_log2 = static_cast<std::uint8_t>(std::countr_zero(alignment));
  }
}

void packer::read_flags(fields& keys, event& record) {
  const json* list = keys.take("flags");
  if (list == nullptr) {
    return;
  }
  if (!list->is_array()) {
    keys.fail("\"flags\" is not a list");
    return;
  }
  for (const json& element : *list) {
    const auto known = element.is_string()
                           ? value_of(flag_words, element.get_ref<const std::string&>())
                       : element.is_number_unsigned() && element.get<std::uint64_t>() <= 0xFFFF
                           ? std::optional<unsigned>(element.get<unsigned>())
                           : std::nullopt;
    if (!known) {
      keys.fail("there is no flag " + element.dump());
      return;
    }
    record.flags = static_cast<std::uint16_t>(record.flags | *known);
  }
}

/// Texts to indices, which may define them. After every other key was found in order, so that a
/// line with an error defines nothing.
status packer::resolve(fields& keys, event& record) {
  const json* name = keys.take("name");
  const json* category = keys.take("category");
  const json* device = keys.take("device");
  for (const json* each : {name, category, device}) {
    if (each != nullptr && !each->is_string() && !each->is_number_unsigned()) {
      keys.fail("a name, category or device is neither a text nor an index: " + each->dump());
    }
  }
  if (record.kind == event_kind::alloc && device == nullptr) {
    keys.fail("\"device\" is missing");
  }
  if (name != nullptr && name->is_number()) {
    record.name = keys.number<std::uint32_t>("name");
  }
  if (category != nullptr && category->is_number()) {
    record.category = keys.number<std::uint8_t>("category");
  }
  if (device != nullptr && device->is_number()) {
    record.device = keys.number<std::uint8_t>("device");
  }
  if (status read = keys.finish(); !read) {
    return read;
  }
  if (name != nullptr && name->is_string()) {
    const auto index = out_->name(name->get_ref<const std::string&>());
    if (!index) {
      return index.error();
    }
    record.name = *index;
  }
  if (category != nullptr && category->is_string()) {
    const auto index = out_->category(category->get_ref<const std::string&>());
    if (!index) {
      return index.error();
    }
    record.category = *index;
  }
  if (device != nullptr && device->is_string()) {
    const auto index = out_->device(device->get_ref<const std::string&>());
    if (!index) {
      return index.error();
    }
    record.device = *index;
  }
  return {};
}

status packer::take_event(const json& object) {
  fields keys(object);
  event record;
  extra_.clear();
  read_kind(keys, record);
  read_identity(keys, record);
  read_flags(keys, record);
  if (status resolved = resolve(keys, record); !resolved) {
    return resolved;
  }
  return out_->append(record, extra_);
}

/// The totals a line claims must be those of the lines before it.
status packer::take_end(const json& object) {
  fields outer(object);
  const json* claimed = outer.take("end");
  if (!claimed->is_object()) {
    return syntax("\"end\" is not an object of totals");
  }
  if (status read = outer.finish(); !read) {
    return read;
  }
  const totals sums = out_->sums();
  fields keys(*claimed);
  const auto compare = [&](const char* key, std::uint64_t found) {
    if (const json* value = keys.take(key); value != nullptr && *value != found) {
      keys.fail(std::string("\"") + key + "\" is " + value->dump() + ", the events make " +
                std::to_string(found));
    }
  };
  compare("events", sums.events);
  compare("allocs", sums.allocs);
  compare("frees", sums.frees);
  compare("touches", sums.touches);
  compare("failed_allocs", sums.failed_allocs);
  compare("allocated_bytes", sums.allocated_bytes);
  compare("peak_live_bytes", sums.peak_live_bytes);
  compare("live_bytes", sums.live_bytes);
  has_ended_ = true;
  return keys.finish();
}

status packer::take_line(std::string_view line) {
  json object;
  try {
    object = json::parse(line);
  } catch (const json::exception& wrong) {
    return syntax(std::string("not JSON: ") + wrong.what());
  }
  if (!object.is_object()) {
    return syntax("not a JSON object");
  }
  if (!out_) {
    return take_header(object);
  }
  if (has_ended_) {
    return syntax("a line after the end line");
  }
  return object.contains("end") ? take_end(object) : take_event(object);
}

result<totals> packer::run() {
  line_reader lines(in_);
  while (lines.next()) {
    const std::string_view line = lines.line();
    if (line.empty() || line.front() == '#') {
      continue;
    }
    status taken =
        lines.is_too_long() ? status(syntax("a line of more than 64 MiB")) : take_line(line);
    if (!taken) {
      error failure = taken.error();
      failure.line = lines.number();
      return failure;
    }
  }
  if (!out_) {
    error failure = syntax("there is no header line");
    failure.line = lines.number();
    return failure;
  }
  if (status closed = out_->close(); !closed) {
    return closed.error();
  }
  return out_->sums();
}

}  // namespace

result<totals> pack(std::istream& in, const make_writer& make, writer_options options) noexcept {
  try {
    return packer(in, make, std::move(options)).run();
  } catch (const std::exception&) {  // std::bad_alloc, or `make` threw
    return error{.code = errc::out_of_memory, .reason = "no memory"};
  }
}

result<totals> pack(std::istream& in, const std::string& path,
                    const writer_options& options) noexcept {
  try {
    return pack(
        in, [&](const writer_options& chosen) { return writer::create(path, chosen); }, options);
  } catch (const std::exception&) {
    return error{.code = errc::out_of_memory, .reason = "no memory"};
  }
}

}  // namespace tidepool::bench::trace
