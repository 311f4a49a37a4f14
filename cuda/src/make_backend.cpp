// SPDX-License-Identifier: Apache-2.0
//
// The public factories: a GPU opened, a device_memory for each kind of memory that it has.
#include "cuda_backend.hpp"
#include "device_memory.hpp"
#include "driver.hpp"
#include "slab_source.hpp"
#include <tidepool/cuda/backend.hpp>
#include <tidepool/error.hpp>

#include <exception>
#include <memory>
#include <new>
#include <utility>
#include <vector>

namespace tidepool {
inline namespace v0 {
namespace cuda {

namespace {

/// What a backend is made of; what a GPU cannot do is left out.
class assembly {
 public:
  explicit assembly(const backend_options& options) noexcept : options_(options) {}

  [[nodiscard]] status add(driver& of, made_source source) {
    if (!source) {
      return source.error().code == errc::unsupported ? status{} : source.error();
    }
    auto made = std::make_unique<device_memory>(
        of, std::move(*source), device_memory_options{.decay_ticks = options_.decay_ticks});
    if (const status why = made->prepare(); !why.ok()) {
      return why;
    }
    descriptions.push_back(made->description());
    memories.push_back(std::move(made));
    return {};
  }

  std::vector<std::unique_ptr<device_memory>> memories;
  std::vector<device_description> descriptions;

 private:
  const backend_options& options_;
};

[[nodiscard]] result<std::unique_ptr<backend>> assemble(const backend_options& options) {
  result<std::unique_ptr<driver>> gpu = driver::open(options.ordinal);
  if (!gpu) {
    return gpu.error();
  }
  driver& of = **gpu;
  assembly parts(options);
  using maker = made_source (*)(driver&);
  for (const maker make : {maker{make_pooled_source}, maker{make_plain_source}}) {
    if (const status why = parts.add(of, make(of)); !why.ok()) {
      return why;
    }
  }
  return std::unique_ptr<backend>(std::make_unique<cuda_backend>(
      std::move(*gpu), std::move(parts.memories), std::move(parts.descriptions)));
}

}  // namespace

result<std::unique_ptr<backend>> try_make_backend(const backend_options& options) noexcept {
  try {
    return assemble(options);
  } catch (const std::exception&) {
    return status{.code = errc::out_of_memory, .where = device::cuda(options.ordinal)};
  }
}

std::unique_ptr<backend> make_backend(const backend_options& options) {
  result<std::unique_ptr<backend>> made = try_make_backend(options);
  if (!made) {
    throw_status(made.error());
  }
  return std::move(*made);
}

}  // namespace cuda
}  // namespace v0
}  // namespace tidepool
