// SPDX-License-Identifier: Apache-2.0
//
// symbol_finder: loaded modules by dl_iterate_phdr, their functions from the ELF files.
#include "system/symbols.hpp"

#include "system/format.hpp"

#include <cxxabi.h>
#include <fcntl.h>
#include <link.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>

namespace tidepool {
inline namespace v0 {
namespace detail {

namespace {

// A file mapped into memory as it is on disk. It is empty if the file cannot be read.
class mapped_file {
 public:
  explicit mapped_file(const char* path) noexcept {
    const int file = ::open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) {
      return;
    }
    struct stat about = {};
    if (::fstat(file, &about) == 0 && about.st_size > 0) {
      bytes_ = static_cast<std::size_t>(about.st_size);
      data_ = ::mmap(nullptr, bytes_, PROT_READ, MAP_PRIVATE, file, 0);
      if (data_ == MAP_FAILED) {
        data_ = nullptr;
        bytes_ = 0;
      }
    }
    ::close(file);
  }
  mapped_file(const mapped_file&) = delete;
  mapped_file& operator=(const mapped_file&) = delete;
  ~mapped_file() {
    if (data_ != nullptr) {
      ::munmap(data_, bytes_);
    }
  }
  /// Returns `count` objects at an offset, or none if they are not wholly in the file.
  template <class T>
  [[nodiscard]] std::span<const T> at(std::uint64_t offset, std::uint64_t count) const noexcept {
    if (offset > bytes_ || count > (bytes_ - offset) / sizeof(T) || offset % alignof(T) != 0) {
      return {};
    }
    return {reinterpret_cast<const T*>(static_cast<const char*>(data_) + offset), count};
  }

 private:
  void* data_ = nullptr;
  std::size_t bytes_ = 0;
};

[[nodiscard]] std::string path_of_program() {
  std::array<char, 4096> path;
  const ssize_t length = ::readlink("/proc/self/exe", path.data(), path.size());
  return length <= 0 ? std::string() : std::string(path.data(), static_cast<std::size_t>(length));
}

struct function {
  std::uint64_t begin;
  std::uint64_t bytes;
  const char* name;
};

}  // namespace

class symbol_finder::loaded_file {
 public:
  loaded_file(const dl_phdr_info& about, std::string path, bool program)
      : base_(about.dlpi_addr), path_(std::move(path)), program_(program) {
    for (int i = 0; i < about.dlpi_phnum; ++i) {
      const ElfW(Phdr)& segment = about.dlpi_phdr[i];
      if (segment.p_type == PT_LOAD) {
        const std::uint64_t begin = base_ + segment.p_vaddr;
        begin_ = std::min(begin_, begin);
        end_ = std::max<std::uint64_t>(end_, begin + segment.p_memsz);
      }
    }
  }
  [[nodiscard]] bool holds(std::uint64_t address) const noexcept {
    return address >= begin_ && address < end_;
  }
  [[nodiscard]] symbol find(std::uint64_t address) {
    if (file_ == nullptr) {
      file_ = std::make_unique<mapped_file>(path_.c_str());
      read_functions();
    }
    const std::uint64_t at = address - base_;
    auto above = std::upper_bound(functions_.begin(), functions_.end(), at,
                                  [](std::uint64_t a, const function& f) { return a < f.begin; });
    if (above != functions_.begin()) {
      const function& found = *--above;
      if (at - found.begin < found.bytes) {
        return {found.name, at - found.begin, path_, program_};
      }
    }
    return {{}, at, path_, program_};
  }

 private:
  void read_functions() {
    const auto header = file_->at<ElfW(Ehdr)>(0, 1);
    if (header.empty() || std::memcmp(header[0].e_ident, ELFMAG, SELFMAG) != 0) {
      return;
    }
    const auto sections = file_->at<ElfW(Shdr)>(header[0].e_shoff, header[0].e_shnum);
    // Reads the full table, or the table of exported symbols if the file was stripped.
    for (const std::uint32_t wanted : {std::uint32_t{SHT_SYMTAB}, std::uint32_t{SHT_DYNSYM}}) {
      for (const ElfW(Shdr) & section : sections) {
        if (section.sh_type == wanted && section.sh_link < sections.size() && functions_.empty()) {
          read_table(section, sections[section.sh_link]);
        }
      }
    }
    std::sort(functions_.begin(), functions_.end(),
              [](const function& a, const function& b) { return a.begin < b.begin; });
  }
  void read_table(const ElfW(Shdr) & symbols, const ElfW(Shdr) & names) {
    const auto text = file_->at<char>(names.sh_offset, names.sh_size);
    if (text.empty() || text.back() != '\0') {
      return;
    }
    for (const ElfW(Sym) & one :
         file_->at<ElfW(Sym)>(symbols.sh_offset, symbols.sh_size / sizeof(ElfW(Sym)))) {
      if ((one.st_info & 0xf) == STT_FUNC && one.st_size != 0 && one.st_name < text.size()) {
        functions_.push_back({one.st_value, one.st_size, &text[one.st_name]});
      }
    }
  }

  std::uint64_t base_;
  std::uint64_t begin_ = UINT64_MAX;
  std::uint64_t end_ = 0;
  std::string path_;
  bool program_;
  std::unique_ptr<mapped_file> file_;  // null: not looked at yet
  std::vector<function> functions_;    // by begin
};

symbol_finder::symbol_finder() noexcept = default;
symbol_finder::~symbol_finder() = default;

void symbol_finder::read_modules() {
  const auto add = [](dl_phdr_info* about, std::size_t, void* context) {
    auto& modules = *static_cast<std::vector<std::unique_ptr<loaded_file>>*>(context);
    const bool program = about->dlpi_name == nullptr || about->dlpi_name[0] == '\0';
    try {
      modules.push_back(std::make_unique<loaded_file>(
          *about, program ? path_of_program() : about->dlpi_name, program));
    } catch (const std::exception&) {
      return 1;  // no exception may pass through the C library
    }
    return 0;
  };
  modules_.clear();
  ::dl_iterate_phdr(add, &modules_);
  read_ = true;
}

symbol symbol_finder::find(const void* address) {
  const auto at = reinterpret_cast<std::uint64_t>(address);
  if (!read_) {
    read_modules();
  }
  for (const std::unique_ptr<loaded_file>& one : modules_) {
    if (one->holds(at)) {
      return one->find(at);
    }
  }
  return {};
}

std::size_t symbol_finder::count_own(std::span<void* const> call_site) {
  // The library's own frames are recognised by the names of their functions. In a stripped shared
  // library they are recognised by the library's path, because all of its functions are ours.
  static const char here = 0;
  const symbol self = find(&here);
  std::size_t own = 0;
  for (; own < call_site.size(); ++own) {
    const symbol caller = find(static_cast<const char*>(call_site[own]) - 1);
    std::string_view name = caller.function;
    if (name.starts_with("_ZN")) {
      name.remove_prefix(3);
      while (!name.empty() && std::string_view("KVRO").find(name.front()) != name.npos) {
        name.remove_prefix(1);
      }
    }
    const bool named = name.starts_with("8tidepool2v0") || name.starts_with("tidepool_");
    if (!named && (self.in_program || caller.module != self.module)) {
      break;
    }
  }
  return own == call_site.size() ? 0 : own;
}

std::string to_text(const symbol& what, const void* address) {
  std::string out;
  const std::size_t slash = what.module.rfind('/');
  const std::string_view file =
      slash == std::string_view::npos ? what.module : what.module.substr(slash + 1);
  if (what.function.empty()) {
    append(out, "%p", address);
  } else {
    int failed = 0;
    // Names in symbol tables end with a zero.
    char* const readable = abi::__cxa_demangle(what.function.data(), nullptr, nullptr, &failed);
    out += failed == 0 ? std::string_view(readable) : what.function;
    std::free(readable);
  }
  if (!what.module.empty()) {
    append(out, "+0x%zx (%.*s)", what.offset, static_cast<int>(file.size()), file.data());
  }
  return out;
}

}  // namespace detail
}  // namespace v0
}  // namespace tidepool
