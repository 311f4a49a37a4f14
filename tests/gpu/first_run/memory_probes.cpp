// SPDX-License-Identifier: Apache-2.0
//
// Probes of memory: what growth, trim and locking cost, what the driver says when it has no more,
// and whether its figures are exact.
#include "kernels.hpp"
#include "probe.hpp"
#include <tidepool/control.hpp>
#include <tidepool/cuda/backend.hpp>

#include <cuda.h>

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>

namespace tidepool::first_run {

namespace {

const device gpu = device::cuda(0);

[[nodiscard]] std::size_t free_bytes() {
  std::size_t now = 0;
  std::size_t total = 0;
  static_cast<void>(cudaMemGetInfo(&now, &total));
  return now;
}

[[nodiscard]] std::string size_name(std::size_t bytes) {
  return std::to_string(bytes / mib) + "_mib";
}

void pool_costs(findings& found) {
  cudaMemPoolProps about{};
  about.allocType = cudaMemAllocationTypePinned;
  about.location = {cudaMemLocationTypeDevice, 0};
  cudaMemPool_t made = nullptr;
  found.expect(cudaMemPoolCreate(&made, &about), "cudaMemPoolCreate");
  std::uint64_t keep = UINT64_MAX;
  found.expect(cudaMemPoolSetAttribute(made, cudaMemPoolAttrReleaseThreshold, &keep), "threshold");
  const stream own;
  for (const std::size_t bytes : {2 * mib, 32 * mib, 512 * mib, 8 * gib}) {
    if (bytes > free_bytes() / 2) {
      continue;
    }
    void* data = nullptr;
    cudaError_t error = cudaSuccess;
    found.number("grow_microseconds." + size_name(bytes), microseconds_of([&] {
                   error = cudaMallocFromPoolAsync(&data, bytes, made, own.get());
                   static_cast<void>(cudaStreamSynchronize(own.get()));
                 }));
    found.expect(error, "cudaMallocFromPoolAsync");
    std::uint64_t reserved = 0;
    found.expect(cudaMemPoolGetAttribute(made, cudaMemPoolAttrReservedMemCurrent, &reserved),
                 "reserved");
    found.number("reserved_mib_after." + size_name(bytes),
                 static_cast<double>(reserved) / static_cast<double>(mib));
    found.number("free_microseconds." + size_name(bytes), microseconds_of([&] {
                   static_cast<void>(cudaFreeAsync(data, own.get()));
                   static_cast<void>(cudaStreamSynchronize(own.get()));
                 }));
    found.number("trim_microseconds." + size_name(bytes),
                 microseconds_of([&] { static_cast<void>(cudaMemPoolTrimTo(made, 0)); }));
    found.expect(cudaMemPoolGetAttribute(made, cudaMemPoolAttrReservedMemCurrent, &reserved),
                 "reserved");
    found.expect(reserved == 0, "a trim after a wait leaves memory reserved");
  }
  found.expect(cudaMemPoolDestroy(made), "cudaMemPoolDestroy");
}

void out_of_memory(findings& found) {
  const std::unique_ptr<pool> p = make_pool();
  for (const auto& [name, bytes] :
       {std::pair{"a_tib", 1024 * gib}, std::pair{"free_and_one", free_bytes() + 1}}) {
    status why;
    found.number(std::string("microseconds.") + name, microseconds_of([&] {
                   const result<tensor> none = p->try_allocate(bytes, gpu);
                   why = none ? status{} : none.error();
                 }));
    found.expect(why.code == errc::out_of_memory, std::string(name) + ": " + to_string(why));
    found.expect(cudaPeekAtLastError() == cudaSuccess, "the runtime's last error is left behind");
  }
  const int failures = is_simulated() ? 20 : 1000;
  const double all = microseconds_of([&] {
    for (int i = 0; i < failures; ++i) {
      static_cast<void>(p->try_allocate(1024 * gib, gpu).has_value());
    }
  });
  found.number("microseconds_per_refusal", all / failures);
  found.expect(p->control().verify() == nullptr, "the pool is damaged");
  found.expect(p->try_allocate(mib, gpu).has_value(), "no memory after refusals");
}

void memory_info_exactness(findings& found) {
  CUmemAllocationProp about{};
  about.type = CU_MEM_ALLOCATION_TYPE_PINNED;
  about.location = {CU_MEM_LOCATION_TYPE_DEVICE, 0};
  const auto granularity = reinterpret_cast<decltype(&cuMemGetAllocationGranularity)>(
      driver_function("cuMemGetAllocationGranularity"));
  if (granularity != nullptr) {
    std::size_t bytes = 0;
    static_cast<void>(granularity(&bytes, &about, CU_MEM_ALLOC_GRANULARITY_MINIMUM));
    found.number("granularity_minimum", static_cast<double>(bytes));
    static_cast<void>(granularity(&bytes, &about, CU_MEM_ALLOC_GRANULARITY_RECOMMENDED));
    found.number("granularity_recommended", static_cast<double>(bytes));
  }
  const std::unique_ptr<pool> p = make_pool();
  for (const auto& [name, where] :
       {std::pair{std::string("pool"), gpu},
        std::pair{std::string("growable"), gpu.with(memory_kind::growable)},
        std::pair{std::string("plain"), gpu.with(memory_kind::plain)}}) {
    const std::size_t before = free_bytes();
    result<tensor> t = p->try_allocate(64 * mib, where);
    if (!t) {
      continue;
    }
    const std::size_t during = free_bytes();
    t->reset();
    static_cast<void>(p->control().trim(where, 0));
    found.number(name + ".taken_minus_asked",
                 static_cast<double>(before) - static_cast<double>(during) - 64.0 * mib);
    found.number(name + ".kept_after_trim",
                 static_cast<double>(before) - static_cast<double>(free_bytes()));
  }
}

// A quarter of the machine's memory at most.
void host_register(findings& found) {
  const std::size_t machine = static_cast<std::size_t>(::sysconf(_SC_PHYS_PAGES)) *
                              static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  const std::size_t most = is_simulated() ? 64 * mib : std::min(64 * gib, machine / 4);
  for (std::size_t bytes = 2 * mib; bytes <= most; bytes *= 8) {
    void* const data = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                              MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (data == MAP_FAILED) {
      break;
    }
    static_cast<void>(::madvise(data, bytes, MADV_DONTFORK));
    cudaError_t error = cudaSuccess;
    const double untouched =
        microseconds_of([&] { error = cudaHostRegister(data, bytes, cudaHostRegisterPortable); });
    found.expect(error, "cudaHostRegister of " + size_name(bytes));
    const double share = static_cast<double>(bytes) / static_cast<double>(gib);
    found.number("register_ms_per_gib." + size_name(bytes), untouched / 1e3 / share);
    if (error == cudaSuccess) {
      const stream own;
      if (!is_simulated()) {
        launch_busy(200, own.get());
      }
      const double back = microseconds_of([&] { error = cudaHostUnregister(data); });
      found.expect(error, "cudaHostUnregister");
      found.number("unregister_ms_beside_a_kernel." + size_name(bytes), back / 1e3);
      static_cast<void>(cudaStreamSynchronize(own.get()));
    }
    static_cast<void>(::munmap(data, bytes));
  }
}

constexpr std::array probes{
    probe{"pool_costs", "what a driver pool's growth, free and trim cost (D12)", pool_costs},
    probe{"out_of_memory", "codes and cost of refusals (D13)", out_of_memory},
    probe{"memory_info", "granularity, and is cudaMemGetInfo exact", memory_info_exactness},
    probe{"host_register", "what locking memory costs, and does unlocking wait (D8)",
          host_register}};

}  // namespace

std::span<const probe> memory_probes() {
  return probes;
}

}  // namespace tidepool::first_run
