// SPDX-License-Identifier: Apache-2.0
//
// What a trace's categories are in a pool. A trace names its categories by text; the names of the
// built-in ones stand in the one table of categories.cpp, and everything else that the replay asks
// about a category it asks of <tidepool/attributes.hpp>. Any thread.
#pragma once

#include <tidepool/attributes.hpp>
#include <tidepool/pool.hpp>

#include <optional>
#include <string_view>

namespace tidepool::bench {

/// The built-in category of that name; nothing for any other name and for "".
[[nodiscard]] std::optional<category> built_in_category(std::string_view name) noexcept;

/// Does every tensor of the trace's category of that name have an access entry?
[[nodiscard]] bool is_evictable_name(std::string_view name) noexcept;

/// The category of that name in `target`: a built-in one, one that is registered, or else one that
/// is registered now. Where registering fails it is category::other; for "", which a trace means by
/// "unspecified", it is category::temporary.
[[nodiscard]] category category_of(pool& target, std::string_view name) noexcept;

}  // namespace tidepool::bench
