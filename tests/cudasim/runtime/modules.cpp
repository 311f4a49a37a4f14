// SPDX-License-Identifier: Apache-2.0
//
// Loading of modules, and launches of their kernels.
#include "machine/fatbin.hpp"
#include "runtime/runtime.hpp"

#include <chrono>
#include <cstring>

namespace cudasim {
namespace {

constexpr unsigned architecture = 80;
constexpr std::uint64_t most_shared = 163 * 1024;

double seconds_since(std::chrono::steady_clock::time_point begin) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

// What a kernel may access: the allocation table, asked by this operation.
class checked_memory final : public memory_port {
 public:
  checked_memory(allocation_table& table, const actor& by, const peer_set& peers)
      : table_(table), by_(by), peers_(peers) {}
  range resolve(std::uint64_t address, unsigned bytes, bool write) override {
    return table_.use(address, bytes, write, by_, {&peers_, false});
  }

 private:
  allocation_table& table_;
  const actor& by_;
  const peer_set& peers_;
};

std::vector<char> pack_parameters(const kernel& of, void** arguments) {
  std::vector<char> packed(of.parameter_bytes);
  for (std::size_t i = 0; i != of.parameters.size(); ++i) {
    std::memcpy(&packed[of.parameters[i].offset], arguments[i], of.parameters[i].size);
  }
  return packed;
}

}  // namespace

device_module& runtime::module_of(fat_binary& binary, int device) {
  auto& slot = binary.modules[device];
  if (slot != nullptr) {
    return *slot;
  }
  auto made = std::make_unique<device_module>();
  try {
    const std::string text = extract_ptx(binary.wrapper, architecture);
    if (text.empty()) {
      findings.add(finding::unsupported,
                   "a program without PTX for sm_80 or older: build it with -gencode "
                   "arch=compute_80,code=compute_80");
      refuse(cudaErrorNoKernelImageForDevice);
    }
    made->program = ptx::parse(text);
  } catch (const std::runtime_error& damage) {
    findings.add(finding::unsupported, damage.what());
    refuse(cudaErrorInvalidPtx);
  }
  place_variables(*made, device);
  initialise(*made);
  slot = std::move(made);
  binaries.insert(&binary);
  return *slot;
}

void runtime::place_variables(device_module& made, int device) {
  for (const ptx::variable& placed : made.program.variables) {
    if (placed.space != "global" && placed.space != "const") {
      continue;
    }
    const std::uint64_t bytes = std::max<std::uint64_t>(1, placed.bytes());
    const std::uint64_t base =
        placed.managed ? host_space.take(align_up(bytes, 4096), 4096) : take_device(device, bytes);
    require(base != 0, cudaErrorMemoryAllocation);
    const memory_kind kind = placed.managed ? memory_kind::managed : memory_kind::device;
    const allocation_ptr variable = add_allocation(base, bytes, kind, device);
    variable->is_program = true;
    variable->allocated_by = "the program's variable " + placed.name;
    made.symbols[placed.name] = base;
  }
}

// Gives variables their first values.
void runtime::initialise(device_module& made) {
  for (const ptx::variable& placed : made.program.variables) {
    const auto found = made.symbols.find(placed.name);
    if (found == made.symbols.end()) {
      continue;
    }
    const std::uint64_t delta = placed.managed ? host_space.delta() : device_space.delta();
    char* at = reinterpret_cast<char*>(found->second + delta);
    std::memset(at, 0, std::max<std::uint64_t>(1, placed.bytes()));
    const auto size = static_cast<std::size_t>(ptx::size_of(placed.element));
    for (const ptx::operand& value : placed.initial) {
      std::uint64_t bits = value.bits;
      if (value.form == ptx::operand::kind::address) {
        const auto other = made.symbols.find(value.name);
        bits += other == made.symbols.end() ? 0 : other->second;
      }
      std::memcpy(at, &bits, size);
      at += size;
    }
  }
}

const kernel& runtime::kernel_of(const function& of, int device) {
  device_module& in = module_of(*of.binary, device);
  auto& slot = in.kernels[of.name];
  if (slot == nullptr) {
    const auto found = in.program.functions.find(of.name);
    require(found != in.program.functions.end(), cudaErrorInvalidDeviceFunction);
    slot = std::make_unique<kernel>(decode(in.program, found->second, in.symbols));
  }
  return *slot;
}

// Programs name a kernel by its host function or by the handle of __cudaGetKernel.
function& runtime::function_of(const void* host_function) {
  if (const auto found = functions.find(host_function); found != functions.end()) {
    return *found->second;
  }
  const auto handle = function_handles.find(static_cast<const function*>(host_function));
  require(handle != function_handles.end(), cudaErrorInvalidDeviceFunction);
  return const_cast<function&>(**handle);
}

symbol& runtime::symbol_of(const void* host_symbol) {
  const auto found = symbols.find(host_symbol);
  require(found != symbols.end(), cudaErrorInvalidSymbol);
  return found->second;
}

std::uint64_t runtime::symbol_address(const symbol& of, int device) {
  const device_module& in = module_of(*of.binary, device);
  const auto found = in.symbols.find(of.name);
  require(found != in.symbols.end(), cudaErrorInvalidSymbol);
  return found->second;
}

void runtime::check_launch(const kernel& code, const launch_request& wanted) const {
  const std::uint64_t threads = std::uint64_t{wanted.block.x} * wanted.block.y * wanted.block.z;
  constexpr unsigned most_blocks_x = 0x7fffffff;
  constexpr unsigned most_blocks = 65535;
  constexpr unsigned most_threads_z = 64;
  require(threads != 0 && threads <= static_cast<std::uint64_t>(code.max_threads) &&
              wanted.block.z <= most_threads_z,
          cudaErrorInvalidConfiguration);
  require(wanted.grid.x != 0 && wanted.grid.y != 0 && wanted.grid.z != 0 &&
              wanted.grid.x <= most_blocks_x && wanted.grid.y <= most_blocks &&
              wanted.grid.z <= most_blocks,
          cudaErrorInvalidConfiguration);
  require(wanted.dynamic_shared <= static_cast<std::size_t>(wanted.what->max_dynamic_shared) &&
              code.shared_bytes + wanted.dynamic_shared <= most_shared,
          cudaErrorInvalidValue);
  constexpr std::uint64_t most_cooperative = 32 * 108;  // blocks that are resident together
  require(!wanted.cooperative ||
              std::uint64_t{wanted.grid.x} * wanted.grid.y * wanted.grid.z <= most_cooperative,
          cudaErrorCooperativeLaunchTooLarge);
}

void runtime::start(stream& in, const launch_request& wanted) {
  require(in.device == current_device, cudaErrorInvalidResourceHandle);
  const kernel& code = kernel_of(*wanted.what, in.device);
  check_launch(code, wanted);
  launch prepared;
  prepared.code = &code;
  prepared.grid = {wanted.grid.x, wanted.grid.y, wanted.grid.z};
  prepared.block = {wanted.block.x, wanted.block.y, wanted.block.z};
  prepared.dynamic_shared = static_cast<std::uint32_t>(wanted.dynamic_shared);
  prepared.cooperative = wanted.cooperative;
  prepared.count_sectors = set.sectors;
  prepared.workers = set.workers;
  prepared.parameters = pack_parameters(code, wanted.arguments);
  const std::string name = "kernel " + code.title;
  const auto run = [this, prepared](operation& by) {
    launch now = prepared;
    now.serial = counts.launches++;
    now.seed = set.seed != 0 ? random() | 1 : 0;
    checked_memory port(memory, by.who, peers);
    now.memory = &port;
    const race_checker watcher(races, by.who);
    now.races = set.races ? &watcher : nullptr;
    const auto begin = std::chrono::steady_clock::now();
    const launch_counts done = execute(now);
    counts.kernel_seconds += seconds_since(begin);
    counters::kernel_counts& sum = counts.kernels[now.code->name];
    ++sum.launches;
    sum.done.thread_instructions += done.thread_instructions;
    sum.done.atomics += done.atomics;
    sum.done.sectors_read += done.sectors_read;
    sum.done.sectors_written += done.sectors_written;
  };
  if (in.is_capturing()) {
    capture_node(in, name, cudaGraphNodeTypeKernel,
                 [this, name, run](stream& order) { enqueue(order, name, run); });
    return;
  }
  enqueue(in, name, run);
}

}  // namespace cudasim
