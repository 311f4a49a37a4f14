// SPDX-License-Identifier: Apache-2.0
//
// Memory, pools and events that processes share. Memory is shared by mapping its file. What is
// known of the other process is its table of exports; the order of its streams is not, so races
// across processes are not looked for.
#include "runtime/runtime.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace cudasim {
namespace {

// A file descriptor that is closed at the end of its scope.
class scoped_descriptor {
 public:
  explicit scoped_descriptor(int descriptor) : descriptor_(descriptor) {}
  ~scoped_descriptor() {
    if (descriptor_ >= 0) {
      close(descriptor_);
    }
  }
  scoped_descriptor(const scoped_descriptor&) = delete;
  scoped_descriptor& operator=(const scoped_descriptor&) = delete;
  operator int() const { return descriptor_; }

 private:
  int descriptor_;
};

// A file that another process has open; negative if that process is gone or not ours to look at.
int open_file_of(int process, int descriptor) {
  const std::string path = "/proc/" + std::to_string(process) + "/fd/" + std::to_string(descriptor);
  return open(path.c_str(), O_RDWR | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
}

std::shared_ptr<shared_entry> add_entry(const std::shared_ptr<export_table>& to,
                                        const export_table::item& wanted) {
  const ticket made = to->add(wanted);
  require(made.generation != 0, cudaErrorMemoryAllocation);
  return std::make_shared<shared_entry>(to, made, true);
}

}  // namespace

const std::shared_ptr<export_table>& runtime::exports() {
  if (exports_ == nullptr) {
    export_table::description shown;
    shown.memory_descriptor = device_space.descriptor();
    exports_ = export_table::create(shown, 0);
    require(exports_ != nullptr, cudaErrorMemoryAllocation);
  }
  return exports_;
}

// The entry of another process that a handle names, and where that process has its memory.
std::shared_ptr<shared_entry> runtime::find_shared(const ticket& named, export_table::kind what,
                                                   cudaError_t otherwise, int& memory_descriptor) {
  require(named.magic == export_table::magic && named.kind == static_cast<std::uint32_t>(what),
          otherwise);
  require(exports_ == nullptr || exports_->owner() != named.owner, cudaErrorDeviceUninitialized);
  const int file = open_file_of(named.process, named.descriptor);
  require(file >= 0, cudaErrorMapBufferObjectFailed);
  const std::shared_ptr<export_table> table = export_table::attach(file);
  require(table != nullptr && table->find(named) != nullptr, cudaErrorMapBufferObjectFailed);
  auto found = std::make_shared<shared_entry>(table, named, false);
  require(found->is_valid(), cudaErrorMapBufferObjectFailed);
  memory_descriptor = table->made_with().memory_descriptor;
  return found;
}

// Whole pages are mapped, so what lies beside the allocation is mapped too; the bounds that
// accesses are checked against are the allocation's.
allocation_ptr runtime::map_shared(const std::shared_ptr<shared_entry>& of, memory_kind kind,
                                   int descriptor) {
  address_space& space = kind == memory_kind::device ? device_space : host_space;
  const std::uint64_t low = (*of)->offset / host_page * host_page;
  const std::uint64_t bytes = align_up((*of)->offset + (*of)->size, host_page) - low;
  struct stat about {};
  require(fstat(descriptor, &about) == 0 && low + bytes >= low && bytes >= (*of)->size &&
              static_cast<std::uint64_t>(about.st_size) >= low + bytes,
          cudaErrorMapBufferObjectFailed);
  const std::uint64_t address = space.take(bytes, host_page);
  require(address != 0, cudaErrorMemoryAllocation);
  if (!space.replace(address, bytes, descriptor, low)) {
    space.give(address, bytes);
    refuse(cudaErrorMapBufferObjectFailed);
  }
  allocation wanted;
  wanted.base = address + ((*of)->offset - low);
  wanted.size = (*of)->size;
  wanted.delta = space.delta();
  wanted.kind = kind;
  wanted.device = (*of)->device;
  wanted.allocated_by = call_name;
  wanted.imported = of;
  const allocation_ptr made = memory.issue(wanted);
  memory.start(made, nullptr, false);
  return made;
}

void runtime::unmap_shared(const allocation_ptr& gone) {
  address_space& space = gone->kind == memory_kind::device ? device_space : host_space;
  if (!gone->imported->is_valid()) {
    findings.add(finding::use_after_free,
                 gone->freed_by + ": the owner, process " +
                     std::to_string(gone->imported->name().process) +
                     ", must free its memory after this: " + gone->describe() + gone->history());
  }
  const std::uint64_t low = gone->base / host_page * host_page;
  const std::uint64_t bytes = align_up(gone->base + gone->size, host_page) - low;
  space.restore(low, bytes);
  space.give(low, bytes);
  gone->imported.reset();
}

ticket runtime::export_memory(void* address) {
  const allocation_ptr found = memory.issued(address);
  require(found != nullptr && found->base == reinterpret_cast<std::uint64_t>(address) &&
              found->allocated_by == "cudaMalloc" && found->pool == nullptr,
          cudaErrorInvalidValue);
  if (found->exported == nullptr) {
    found->exported =
        add_entry(exports(), {export_table::kind::memory, found->base - device_space.base(),
                              found->size, found->device});
    (*found->exported)->is_live = 1;
  }
  return found->exported->name();
}

void* runtime::open_memory(const ticket& named) {
  for (const auto& [base, known] : memory.all_issued()) {
    if (known->imported != nullptr && known->pool == nullptr && known->imported->name() == named &&
        known->imported->is_valid()) {
      ++known->imported->opened;
      return reinterpret_cast<void*>(base);
    }
  }
  int memory_descriptor = -1;
  const std::shared_ptr<shared_entry> found = find_shared(
      named, export_table::kind::memory, cudaErrorInvalidResourceHandle, memory_descriptor);
  const int owner = (*found)->device;
  const bool is_near = owner == current_device;
  require(owner >= 0 && owner < set.devices && (is_near || !set.lacks("peers")),
          cudaErrorMapBufferObjectFailed);
  const scoped_descriptor file(open_file_of(named.process, memory_descriptor));
  require(file >= 0, cudaErrorMapBufferObjectFailed);
  const allocation_ptr made = map_shared(found, memory_kind::device, file);
  if (!is_near) {
    peers.insert({current_device, owner});
  }
  return reinterpret_cast<void*>(made->base);
}

// Does not wait for the device: uses that the host has not seen complete are reported.
void runtime::close_memory(void* address) {
  const allocation_ptr found = memory.issued(address);
  require(found != nullptr && found->imported != nullptr && found->pool == nullptr &&
              found->base == reinterpret_cast<std::uint64_t>(address),
          cudaErrorInvalidValue);
  if (--found->imported->opened != 0) {
    return;
  }
  const actor by{call_name, 0, -1, 0, host, 0};
  memory.retract(found);
  memory.finish(found, &by, false);
  unmap_shared(found);
}

pool& runtime::import_pool(int descriptor) {
  const int file = fcntl(descriptor, F_DUPFD_CLOEXEC, 0);
  require(file >= 0, cudaErrorInvalidValue);
  const std::shared_ptr<export_table> table = export_table::attach(file);
  require(table != nullptr, cudaErrorInvalidValue);
  const export_table::description shown = table->made_with();
  const auto kind = static_cast<memory_kind>(shown.memory_kind);
  require(shown.made_for == export_table::purpose::pool &&
              (kind == memory_kind::device || kind == memory_kind::pinned) && shown.device >= 0 &&
              shown.device < set.devices,
          cudaErrorInvalidValue);
  pool::properties wanted;
  wanted.kind = kind;
  wanted.device = shown.device;
  wanted.location = {static_cast<cudaMemLocationType>(shown.location_type), shown.location_id};
  pool& made = make_pool(wanted);
  made.imported = true;
  made.table = table;
  return made;
}

ticket runtime::export_pooled(void* address) {
  const allocation_ptr found = memory.issued(address);
  require(found != nullptr && found->base == reinterpret_cast<std::uint64_t>(address) &&
              found->pool != nullptr,
          cudaErrorInvalidValue);
  const pool& from = *static_cast<pool*>(found->pool);
  require(from.table != nullptr && !from.imported, cudaErrorInvalidValue);
  if (found->exported == nullptr) {
    found->exported =
        add_entry(from.table, {export_table::kind::pooled_memory, from.offset_of(found->base),
                               found->size, found->device});
    (*found->exported)->is_live = found->live ? 1 : 0;
  }
  return found->exported->name();
}

void* runtime::import_pooled(pool& from, const ticket& named) {
  require(from.imported && named.magic == export_table::magic &&
              named.kind == static_cast<std::uint32_t>(export_table::kind::pooled_memory) &&
              from.table->find(named) != nullptr,
          cudaErrorInvalidValue);
  const auto found = std::make_shared<shared_entry>(from.table, named, false);
  require(found->is_valid(), cudaErrorInvalidValue);
  const allocation_ptr made = map_shared(found, from.made_with().kind, from.table->descriptor());
  made->pool = &from;
  made->granted[made->base] = from.accessible_by;
  from.used += made->size;
  from.used_high = std::max(from.used_high, from.used);
  from.reserved += made->size;
  from.reserved_high = std::max(from.reserved_high, from.reserved);
  return reinterpret_cast<void*>(made->base);
}

void runtime::end_import(const allocation_ptr& gone) {
  pool& from = *static_cast<pool*>(gone->pool);
  from.used -= gone->size;
  from.reserved -= gone->size;
  unmap_shared(gone);
}

void runtime::count_records(event& of) {
  of.shared = add_entry(exports(), {export_table::kind::event, 0, 0, current_device});
}

ticket runtime::export_event(event& of) {
  require(of.shared != nullptr && exports_ != nullptr &&
              of.shared->name().owner == exports_->owner(),
          cudaErrorInvalidResourceHandle);
  run_on_thread();
  return of.shared->name();
}

event& runtime::open_event(const ticket& named) {
  int unused = -1;
  std::shared_ptr<shared_entry> shared =
      find_shared(named, export_table::kind::event, cudaErrorInvalidValue, unused);
  event& made = make_event();
  made.shared = std::move(shared);
  made.flags = cudaEventDisableTiming | cudaEventInterprocess;
  run_on_thread();
  return made;
}

void runtime::record(event& of, stream& in) {
  if (of.shared == nullptr) {
    of.recorded = enqueue(in, call_name, [](operation&) {});
    return;
  }
  static_cast<void>(latest_record(of));
  of.number = (*of.shared)->recorded.fetch_add(1) + 1;
  of.recorded = enqueue(in, call_name,
                        [to = of.shared, number = of.number](operation&) { to->complete(number); });
  published_.join(of.recorded->who.clock);
}

record_point runtime::latest_record(const event& of) {
  if (of.shared == nullptr) {
    return {of.recorded, nullptr, 0};
  }
  if (!of.shared->is_valid()) {
    findings.add(finding::stale_handle, std::string(call_name) + " on an event that its owner, " +
                                            "process " + std::to_string(of.shared->name().process) +
                                            ", has destroyed");
    refuse(cudaErrorInvalidResourceHandle);
  }
  const std::uint64_t number = (*of.shared)->recorded.load();
  return number == of.number ? record_point{of.recorded, nullptr, 0}
                             : record_point{nullptr, of.shared, number};
}

void runtime::wait(const record_point& until) {
  if (until.number == 0) {
    wait(until.local);
    return;
  }
  run_until([&] { return until.is_done(); });
  host.join(published_);
}

void runtime::wait_in(stream& in, const record_point& until) {
  if (until.local != nullptr) {
    enqueue(in, call_name, [](operation&) {}, {until.local});
    return;
  }
  if (until.number != 0) {
    in.clock.join(published_);
    enqueue(in, call_name, [](operation&) {})->ready = [until] { return until.is_done(); };
  }
}

}  // namespace cudasim
