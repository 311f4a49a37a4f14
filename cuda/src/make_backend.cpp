// SPDX-License-Identifier: Apache-2.0
//
// The public factories: a GPU opened, a device_memory for each kind of memory that it has.
#include "annotate/backend.hpp"
#include "annotate/nvtx.hpp"
#include "annotate/source.hpp"
#include "cuda_backend.hpp"
#include "driver/driver.hpp"
#include "heap/device_memory.hpp"
#include "slabs/slab_source.hpp"
#include <tidepool/cuda/backend.hpp>
#include <tidepool/environment.hpp>
#include <tidepool/error.hpp>

#include <algorithm>
#include <exception>
#include <memory>
#include <new>
#include <utility>
#include <vector>

namespace tidepool {
inline namespace v0 {
namespace cuda {

namespace {

/// All that one GPU may serve.
[[nodiscard]] std::vector<device> all_devices(std::uint16_t ordinal) {
  const device gpu = device::cuda(ordinal);
  return {gpu, gpu.with(memory_kind::plain), gpu.with(memory_kind::growable), device::pinned(gpu),
          device::managed(gpu)};
}

[[nodiscard]] status invalid(device where, const char* text) noexcept {
  return {.code = errc::invalid_argument, .where = where, .text = text};
}

[[nodiscard]] made_source make_source(driver& gpu, device where) noexcept {
  const bool is_node = where.kind() == device_kind::pinned && where.node() != device::any_node;
  if (!is_node && (where.ordinal() != gpu.ordinal() || where.node() != device::any_node)) {
    return invalid(where, "a backend serves one GPU");
  }
  const bool is_usual = where.memory() == memory_kind::pooled;
  if (where.kind() == device_kind::pinned && is_usual) {
    return make_pinned_source(gpu, where);
  }
  if (where.kind() == device_kind::managed && is_usual) {
    return make_managed_source(gpu);
  }
  if (where.kind() == device_kind::cuda) {
    switch (where.memory()) {
    case memory_kind::pooled:
      return make_pooled_source(gpu);
    case memory_kind::plain:
      return make_plain_source(gpu);
    case memory_kind::growable:
      return make_growable_source(gpu);
    }
  }
  return invalid(where, "CUDA serves device::cuda, pinned and managed");
}

/// What a backend is made of. Frees itself in reverse.
struct assembly {
  std::unique_ptr<annotations> shared;  // null: no tool is told
  std::unique_ptr<driver> gpu;
  std::vector<std::unique_ptr<device_memory>> memories;
  std::vector<device_description> descriptions;

  [[nodiscard]] status add(std::unique_ptr<slab_source> source, std::uint32_t decay_ticks) {
    if (shared != nullptr) {
      source = std::make_unique<annotated_source>(std::move(source), shared->slabs);
    }
    auto made = std::make_unique<device_memory>(*gpu, std::move(source),
                                                device_memory_options{.decay_ticks = decay_ticks});
    if (const status why = made->prepare(); !why.ok()) {
      return why;
    }
    descriptions.push_back(made->description());
    memories.push_back(std::move(made));
    return {};
  }
};

[[nodiscard]] result<std::unique_ptr<backend>> assemble(const backend_options& options) {
  result<std::unique_ptr<driver>> gpu = driver::open(options.ordinal);
  if (!gpu) {
    return gpu.error();
  }
  assembly parts;
  parts.gpu = std::move(*gpu);
  const result<peer_list> peers = find_peers(*parts.gpu, options);
  if (!peers) {
    return peers.error();
  }
  parts.gpu->set_peers(*peers);
  if (options.nvtx || environment_flag("nvtx")) {
    std::unique_ptr<annotator> tool = make_nvtx_annotator();
    if (tool == nullptr) {
      return errc::out_of_memory;
    }
    parts.shared = std::make_unique<annotations>(std::move(tool));
  }
  const bool is_named = !options.devices.empty();
  std::vector<device> wanted = is_named ? options.devices : all_devices(options.ordinal);
  for (auto where = wanted.begin(); where != wanted.end(); ++where) {
    if (std::find(wanted.begin(), where, *where) != where) {
      return invalid(*where, "a device is named twice");
    }
    made_source source = make_source(*parts.gpu, *where);
    if (!source && source.error().code == errc::unsupported && !is_named) {
      continue;
    }
    if (!source) {
      return source.error();
    }
    if (const status why = parts.add(std::move(*source), options.decay_ticks); !why.ok()) {
      return why;
    }
  }
  std::unique_ptr<backend> made = std::make_unique<cuda_backend>(
      std::move(parts.gpu), std::move(parts.memories), std::move(parts.descriptions));
  if (parts.shared != nullptr) {
    made = std::make_unique<annotated_backend>(std::move(made), std::move(parts.shared));
  }
  return made;
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
