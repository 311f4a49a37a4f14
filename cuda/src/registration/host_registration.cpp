// SPDX-License-Identifier: Apache-2.0
//
// host_registration as a value; in builds without CUDA too.
#include <tidepool/cuda/host_registration.hpp>

#include <utility>

namespace tidepool {
inline namespace v0 {
namespace cuda {

registered_memory::~registered_memory() = default;

host_registration::host_registration(parts made) noexcept
    : owner_(std::move(made.owner)),
      memory_(made.memory),
      device_data_(made.device_data),
      why_(made.why),
      how_(made.how) {}

host_registration::host_registration(host_registration&& other) noexcept
    : owner_(std::move(other.owner_)),
      memory_(std::exchange(other.memory_, {})),
      device_data_(std::exchange(other.device_data_, nullptr)),
      why_(std::exchange(other.why_, {})),
      how_(std::exchange(other.how_, host_reach::none)) {}

host_registration& host_registration::operator=(host_registration&& other) noexcept {
  if (this != &other) {
    static_cast<void>(reset());
    owner_ = std::move(other.owner_);
    memory_ = std::exchange(other.memory_, {});
    device_data_ = std::exchange(other.device_data_, nullptr);
    why_ = std::exchange(other.why_, {});
    how_ = std::exchange(other.how_, host_reach::none);
  }
  return *this;
}

host_registration::~host_registration() {
  static_cast<void>(reset());
}

status host_registration::reset() noexcept {
  if (owner_ != nullptr) {
    if (const status why = owner_->release(); !why.ok()) {
      return why;
    }
    owner_.reset();
  }
  memory_ = {};
  device_data_ = nullptr;
  why_ = {};
  how_ = host_reach::none;
  return {};
}

}  // namespace cuda
}  // namespace v0
}  // namespace tidepool
