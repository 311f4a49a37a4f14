// SPDX-License-Identifier: Apache-2.0
//
// The leak report: live tensors by category, name and call site. It works without debug modes too;
// then there are no call sites.
#include "debug/layer.hpp"
#include "pool/pool_core.hpp"

#include <algorithm>
#include <map>
#include <tuple>
#include <utility>
#include <vector>

namespace tidepool {
inline namespace v0 {
namespace detail {

leak_report pool_core::leaks() {
  const operation guard(*this);
  using key = std::tuple<category, std::uint32_t, std::vector<void*>>;
  std::map<key, leak_entry> entries;
  leak_report report;
  directory.for_each_tensor([&](const tensor_info& info) {
    std::span<void* const> site;
    if (debug != nullptr) {
      site = debug->frames(debug->site_of(directory.slots.at(info.id.value()), info.id));
    }
    leak_entry& entry =
        entries[{info.category, info.name.value(), std::vector<void*>(site.begin(), site.end())}];
    if (entry.tensors++ == 0) {
      entry.category = info.category;
      entry.category_name = directory.categories.name(info.category);
      entry.name = directory.names.text(info.name);
      entry.made_at.assign(site.begin(), site.end());
    }
    const std::size_t bytes = any(info.flags & tensor_flags::slice) ? 0 : info.bytes;
    entry.bytes += bytes;
    report.bytes += bytes;
    ++report.tensors;
  });
  for (auto& [id, entry] : entries) {
    report.entries.push_back(std::move(entry));
  }
  std::stable_sort(report.entries.begin(), report.entries.end(),
                   [](const leak_entry& a, const leak_entry& b) { return a.bytes > b.bytes; });
  return report;
}

}  // namespace detail
}  // namespace v0
}  // namespace tidepool
