// SPDX-License-Identifier: Apache-2.0
//
// Runs a fuzz target without a fuzzer: every file of a corpus, then inputs made of them by seeded
// changes, and random ones. Any compiler, any sanitizer, the same inputs each time. An input that
// ends the process is left in the working directory as fuzz-failure-<pid>.
//
//   fuzz_operations <runs> <seed> <file or folder>...
#include "input.hpp"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

namespace {

using input_bytes = std::vector<std::uint8_t>;

const input_bytes* current = nullptr;

// Async-signal-safe: no stream, no heap.
void keep_current(int number) {
  char name[64] = "fuzz-failure-";
  std::size_t length = 13;
  for (int pid = ::getpid(); pid != 0; pid /= 10) {
    name[length++] = static_cast<char>('0' + pid % 10);
  }
  const int file = ::open(name, O_WRONLY | O_CREAT | O_TRUNC, 0644);
  if (file >= 0 && current != nullptr) {
    [[maybe_unused]] const ssize_t written = ::write(file, current->data(), current->size());
    ::close(file);
  }
  ::signal(number, SIG_DFL);
  ::raise(number);
}

void run(const input_bytes& bytes) {
  current = &bytes;
  (void)LLVMFuzzerTestOneInput(bytes.data(), bytes.size());
  current = nullptr;
}

input_bytes changed(input_bytes bytes, const input_bytes& other, std::mt19937_64& random) {
  const auto below = [&](std::size_t n) -> std::size_t { return random() % n; };
  for (std::size_t changes = 1 + below(6); changes != 0; --changes) {
    const std::size_t at = below(bytes.size() + 1);
    const auto place = bytes.begin() + static_cast<std::ptrdiff_t>(at);
    switch (below(5)) {
    case 0:
      if (at != bytes.size()) {
        bytes[at] = static_cast<std::uint8_t>(random());
      }
      break;
    case 1:
      if (at != bytes.size()) {
        bytes[at] = static_cast<std::uint8_t>(bytes[at] ^ 1U << below(8));
      }
      break;
    case 2:
      bytes.insert(place, static_cast<std::uint8_t>(random()));
      break;
    case 3:
      bytes.erase(place, place + static_cast<std::ptrdiff_t>(below(bytes.size() - at + 1)));
      break;
    default:
      if (!other.empty()) {
        const std::size_t from = below(other.size());
        const std::size_t n = below(std::min<std::size_t>(other.size() - from, 64) + 1);
        const auto begin = other.begin() + static_cast<std::ptrdiff_t>(from);
        bytes.insert(place, begin, begin + static_cast<std::ptrdiff_t>(n));
      }
      break;
    }
  }
  return bytes;
}

std::vector<input_bytes> read_all(int count, char** names) {
  std::vector<std::filesystem::path> files;
  for (int i = 0; i < count; ++i) {
    if (std::filesystem::is_directory(names[i])) {
      for (const auto& entry : std::filesystem::directory_iterator(names[i])) {
        files.push_back(entry.path());
      }
    } else {
      files.emplace_back(names[i]);
    }
  }
  std::sort(files.begin(), files.end());
  std::vector<input_bytes> all;
  for (const auto& file : files) {
    std::ifstream stream(file, std::ios::binary);
    all.emplace_back(std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>());
  }
  return all;
}

}  // namespace

int main(int count, char** words) {
  if (count < 4) {
    std::fprintf(stderr, "%s <runs> <seed> <file or folder>...\n", words[0]);
    return 2;
  }
  for (const int number : {SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL}) {
    ::signal(number, keep_current);
  }
  const std::vector<input_bytes> corpus = read_all(count - 3, words + 3);
  if (corpus.empty()) {
    std::fprintf(stderr, "%s: the corpus is empty\n", words[0]);
    return 2;
  }
  for (const input_bytes& bytes : corpus) {
    run(bytes);
  }
  std::mt19937_64 random(std::stoull(words[2]));
  const std::uint64_t runs = std::stoull(words[1]);
  for (std::uint64_t i = 0; i < runs; ++i) {
    if (i % 4 == 0) {
      input_bytes bytes(random() % 600);
      std::generate(bytes.begin(), bytes.end(),
                    [&] { return static_cast<std::uint8_t>(random()); });
      run(bytes);
    } else {
      run(changed(corpus[random() % corpus.size()], corpus[random() % corpus.size()], random));
    }
  }
  std::printf("%zu files, %llu made inputs\n", corpus.size(),
              static_cast<unsigned long long>(runs));
}
