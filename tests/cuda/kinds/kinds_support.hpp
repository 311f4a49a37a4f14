// SPDX-License-Identifier: Apache-2.0
//
// What tests of a backend with several kinds of memory share: a fixture that gives all back.
#pragma once

#include "../support.hpp"

#include <algorithm>

namespace tidepool::test {

inline const device gpu = device::cuda(0);

[[nodiscard]] inline const device_description* described(const backend& by, device where) {
  const auto all = by.devices();
  const auto found = std::find_if(all.begin(), all.end(),
                                  [&](const device_description& d) { return d.where == where; });
  return found == all.end() ? nullptr : &*found;
}

class Kinds : public CudaBackend {
 protected:
  void TearDown() override {
    if (tested == nullptr) {
      return;
    }
    end_foreign_captures();
    expect_success(cudaDeviceSynchronize());
    for (const device_description& d : tested->devices()) {
      (void)tested->trim(d.where, 0);
      EXPECT_EQ(tested->memory(d.where).reserved_bytes, 0U) << d.name;
    }
    CudaBackend::TearDown();
  }
  [[nodiscard]] block_request ask_for(device of, std::size_t bytes, const stream_ref& in) const {
    return {.where = of, .bytes = bytes, .alignment = 256, .stream = in};
  }
  // In no stream's order.
  [[nodiscard]] block make_large_of(device of, std::size_t bytes) {
    const result<block> made = tested->allocate_large(ask_for(of, bytes, {}));
    EXPECT_TRUE(made.has_value()) << to_string(made.error());
    return made ? *made : block{};
  }
  [[nodiscard]] block make_small_of(device of, std::size_t bytes) {
    block made;
    EXPECT_EQ(tested->refill(ask_for(of, bytes, {}), {&made, 1}).count, 1U);
    return made;
  }
};

}  // namespace tidepool::test
