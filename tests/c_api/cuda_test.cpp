// SPDX-License-Identifier: Apache-2.0
//
// The CUDA backend's factory through the C interface. With a GPU, or on cudasim, it makes one.
#include "support.hpp"
#include <tidepool/cuda.h>

#include <gtest/gtest.h>

#include <array>
#include <cstddef>
#include <cstdint>

namespace {

class CApiCuda : public c_api_pool {
 protected:
  [[nodiscard]] static tidepool_status create(const tidepool_cuda_backend_options* options) {
    tidepool_backend* made = nullptr;
    const tidepool_status why = tidepool_cuda_backend_create(options, &made);
    EXPECT_EQ(made != nullptr, why == TIDEPOOL_OK);
    tidepool_backend_destroy(made);
    return why;
  }
};

TEST_F(CApiCuda, MakesABackendOrSaysWhyThereIsNone) {
  const tidepool_status why = create(nullptr);
  if (why != TIDEPOOL_OK) {
    EXPECT_EQ(why, TIDEPOOL_BACKEND_UNAVAILABLE) << last_error();
    EXPECT_NE(last_error().find("CUDA"), std::string::npos) << last_error();
  }
  auto options = sized<tidepool_cuda_backend_options>();
  EXPECT_EQ(create(&options), why);
  const std::array<tidepool_device, 1> devices{tidepool_device_cuda(0)};
  options.devices = devices.data();
  options.device_count = devices.size();
  options.decay_ticks = TIDEPOOL_CUDA_NO_DECAY;
  EXPECT_EQ(create(&options), why);
}

TEST_F(CApiCuda, RefusesBadArguments) {
  EXPECT_EQ(tidepool_cuda_backend_create(nullptr, nullptr), TIDEPOOL_INVALID_ARGUMENT);
  auto options = sized<tidepool_cuda_backend_options>();
  options.ordinal = 0x10000;
  EXPECT_EQ(create(&options), TIDEPOOL_INVALID_ARGUMENT);
  options = sized<tidepool_cuda_backend_options>();
  options.device_count = 1;
  EXPECT_EQ(create(&options), TIDEPOOL_INVALID_ARGUMENT);
  const std::array<tidepool_device, 17> many{};
  options.devices = many.data();
  options.device_count = many.size();
  EXPECT_EQ(create(&options), TIDEPOOL_INVALID_ARGUMENT);
  options = {};
  EXPECT_EQ(create(&options), TIDEPOOL_INVALID_ARGUMENT);
}

TEST_F(CApiCuda, PeersAreChosen) {
  const tidepool_status why = create(nullptr);
  auto options = sized<tidepool_cuda_backend_options>();
  options.peers = TIDEPOOL_CUDA_PEERS_NONE;
  EXPECT_EQ(create(&options), why);
  options.peers = TIDEPOOL_CUDA_PEERS_THESE;
  EXPECT_EQ(create(&options), why) << "nobody";
  const std::array<std::uint32_t, 1> own{0};
  options.peer_ordinals = own.data();
  options.peer_count = own.size();
  const tidepool_status itself = create(&options);
  EXPECT_EQ(itself, why == TIDEPOOL_OK ? TIDEPOOL_INVALID_ARGUMENT : why);
  // A caller that was compiled before there were peers.
  options.size = offsetof(tidepool_cuda_backend_options, peers);
  EXPECT_EQ(create(&options), why);
}

TEST_F(CApiCuda, BadPeersAreRefusedWithoutAGpu) {
  auto options = sized<tidepool_cuda_backend_options>();
  options.peers = TIDEPOOL_CUDA_PEERS_THESE + 1;
  EXPECT_EQ(create(&options), TIDEPOOL_INVALID_ARGUMENT);
  options.peers = TIDEPOOL_CUDA_PEERS_THESE;
  options.peer_count = 1;
  EXPECT_EQ(create(&options), TIDEPOOL_INVALID_ARGUMENT);
  const std::array<std::uint32_t, 64> many{0x10000};
  options.peer_ordinals = many.data();
  EXPECT_EQ(create(&options), TIDEPOOL_INVALID_ARGUMENT);
  options.peer_count = many.size();
  EXPECT_EQ(create(&options), TIDEPOOL_INVALID_ARGUMENT);
}

}  // namespace
