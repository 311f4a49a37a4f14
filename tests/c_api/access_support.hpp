// SPDX-License-Identifier: Apache-2.0
//
// What tests of access entries share: a pool with makers of entries and domains.
#pragma once

#include "support.hpp"

class c_api_accesses : public c_api_pool {
 protected:
  [[nodiscard]] tidepool_tensor weight(std::uint64_t key = 0) {
    auto options = sized<tidepool_allocation_options>();
    options.category = TIDEPOOL_CATEGORY_WEIGHT;
    options.key = key;
    return allocate(64, &options);
  }
  [[nodiscard]] tidepool_domain make_domain(std::size_t elements, bool standalone = false) {
    auto options = sized<tidepool_domain_options>();
    options.elements = elements;
    options.standalone = standalone ? 1 : 0;
    options.where = cpu;
    options.category = TIDEPOOL_CATEGORY_EXPERT;
    tidepool_domain made = 0;
    EXPECT_EQ(tidepool_domain_create(pool, &options, &made), TIDEPOOL_OK) << last_error();
    return made;
  }
  [[nodiscard]] tidepool_access_info at(tidepool_domain within, std::uint64_t index) {
    auto info = sized<tidepool_access_info>();
    EXPECT_EQ(tidepool_access_at(pool, within, index, &info), TIDEPOOL_OK) << last_error();
    return info;
  }
};
