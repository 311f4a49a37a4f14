// SPDX-License-Identifier: Apache-2.0
//
// Memory of the application made known to the GPU: which rung is taken for which mapping, and what
// every refusal on the way leads to.
#include "registration/ladder.hpp"
#include "source_support.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
#include <string>
#include <utility>
#include <vector>

namespace tidepool::cuda::test {
namespace {

constexpr std::size_t bytes = 5 * 4096 + 100;

/// A file with contents, gone when it is closed.
class model_file {
 public:
  model_file() : descriptor_(memfd_create("model", MFD_CLOEXEC)) {
    const std::string contents(bytes, 'm');
    EXPECT_EQ(write(descriptor_, contents.data(), bytes), static_cast<ssize_t>(bytes));
  }
  model_file(const model_file&) = delete;
  model_file& operator=(const model_file&) = delete;
  ~model_file() { close(descriptor_); }
  [[nodiscard]] int descriptor() const { return descriptor_; }

 private:
  int descriptor_;
};

class mapping {
 public:
  mapping(const model_file& of, int protection, int flags)
      : data_(mmap(nullptr, bytes, protection, flags, of.descriptor(), 0)) {
    EXPECT_NE(data_, MAP_FAILED);
  }
  mapping(const mapping&) = delete;
  mapping& operator=(const mapping&) = delete;
  ~mapping() { munmap(data_, bytes); }
  [[nodiscard]] std::byte* data() const { return static_cast<std::byte*>(data_); }
  [[nodiscard]] std::span<const std::byte> range() const { return {data(), bytes}; }

 private:
  void* data_;
};

class RegistrationLadder : public SourceTest {
 protected:
  void SetUp() override {
    SourceTest::SetUp();
    if (gpu != nullptr) {
      reads_only = gpu->attribute(cudaDevAttrHostRegisterReadOnlySupported) != 0;
    }
  }
  struct climb_options {
    host_access access = host_access::read_only;
    bool may_copy_pages = true;
  };
  [[nodiscard]] result<host_registration> climb(std::span<const std::byte> memory) {
    return climb(memory, climb_options());
  }
  [[nodiscard]] result<host_registration> climb(std::span<const std::byte> memory,
                                                const climb_options& options) {
    result<std::unique_ptr<driver>> own = driver::open(0);
    EXPECT_TRUE(own);
    auto made = std::make_unique<faulty_system>();
    made->fail_call(fail_nth);
    system = made.get();
    return climb_ladder({std::move(*own), std::move(made)}, memory, options.access,
                        options.may_copy_pages);
  }
  [[nodiscard]] static bool is_registered(const void* data) {
    cudaPointerAttributes of{};
    return cudaPointerGetAttributes(&of, data) == cudaSuccess && of.type == cudaMemoryTypeHost;
  }
  /// The GPU reads what the host sees.
  void expect_read(const host_registration& from) {
    const result<void*> target = gpu->allocate(bytes);
    ASSERT_TRUE(target);
    std::string seen(bytes, '?');
    ASSERT_TRUE(gpu->copy(*target, from.device_data(), bytes, cudaStreamLegacy).ok());
    ASSERT_TRUE(gpu->copy(seen.data(), *target, bytes, cudaStreamLegacy).ok());
    ASSERT_TRUE(gpu->synchronise(cudaStreamLegacy).ok());
    EXPECT_EQ(std::memcmp(seen.data(), from.memory().data(), bytes), 0);
    EXPECT_TRUE(gpu->release(*target).ok());
  }
  [[nodiscard]] static host_system::protection protection_of(const mapping& of) {
    return host_system().protection_of(of.data(), bytes);
  }
  bool reads_only = false;
  std::uint64_t fail_nth = 0;
  faulty_system* system = nullptr;  // of the latest climb; gone with its registration
};

TEST_F(RegistrationLadder, AReadOnlyFileIsReadInPlaceOrThroughCopies) {
  const model_file file;
  const mapping mapped(file, PROT_READ, MAP_PRIVATE);
  result<host_registration> made = climb(mapped.range());
  ASSERT_TRUE(made) << to_string(made.error());
  EXPECT_EQ(made->how(), reads_only ? host_reach::read_only : host_reach::private_copy);
  EXPECT_TRUE(made->why().ok());
  EXPECT_EQ(made->memory().data(), mapped.data());
  EXPECT_FALSE(protection_of(mapped).has_writable) << "as before";
  expect_read(*made);
  EXPECT_TRUE(made->reset().ok());
  EXPECT_EQ(made->how(), host_reach::none);
  EXPECT_EQ(made->device_data(), nullptr);
  EXPECT_FALSE(is_registered(mapped.data()));
  EXPECT_EQ(mapped.data()[bytes - 1], std::byte{'m'});
}

TEST_F(RegistrationLadder, ASharedReadOnlyFileIsReadInPlaceOrStaged) {
  const model_file file;
  const mapping mapped(file, PROT_READ, MAP_SHARED);
  const result<host_registration> made = climb(mapped.range());
  ASSERT_TRUE(made);
  EXPECT_EQ(made->how(), reads_only ? host_reach::read_only : host_reach::staging);
  EXPECT_EQ(made->why().code, reads_only ? errc::ok : errc::unsupported);
  EXPECT_EQ(is_registered(mapped.data()), reads_only);
  EXPECT_EQ(made->device_data() != nullptr, reads_only);
}

TEST_F(RegistrationLadder, CopiesOfPagesAreMadeOnlyWhereAllowed) {
  const model_file file;
  for (const int protection : {PROT_READ, PROT_READ | PROT_WRITE}) {
    const mapping mapped(file, protection, MAP_PRIVATE);
    const result<host_registration> made = climb(mapped.range(), {.may_copy_pages = false});
    ASSERT_TRUE(made);
    EXPECT_EQ(made->how(), reads_only ? host_reach::read_only : host_reach::staging);
    EXPECT_EQ(is_registered(mapped.data()), reads_only);
  }
}

TEST_F(RegistrationLadder, MemoryToBeWrittenIsRegisteredForThat) {
  const model_file file;
  const mapping shared(file, PROT_READ | PROT_WRITE, MAP_SHARED);
  {
    const result<host_registration> made =
        climb(shared.range(), {.access = host_access::read_write});
    ASSERT_TRUE(made);
    EXPECT_EQ(made->how(), host_reach::read_write);
    ASSERT_TRUE(gpu->fill(shared.data(), 'w', bytes, cudaStreamLegacy).ok());
    ASSERT_TRUE(gpu->synchronise(cudaStreamLegacy).ok());
    EXPECT_EQ(shared.data()[bytes - 1], std::byte{'w'});
  }
  EXPECT_FALSE(is_registered(shared.data()));
  const mapping mapped(file, PROT_READ | PROT_WRITE, MAP_PRIVATE);
  const result<host_registration> made = climb(mapped.range(), {.access = host_access::read_write});
  ASSERT_TRUE(made);
  EXPECT_EQ(made->how(), host_reach::private_copy);
}

TEST_F(RegistrationLadder, MemoryOfNoFileIsNeverCopied) {
  std::vector<std::byte> own(bytes, std::byte{3});
  const result<host_registration> made = climb(own, {.may_copy_pages = false});
  ASSERT_TRUE(made);
  EXPECT_EQ(made->how(), reads_only ? host_reach::read_only : host_reach::read_write);
  expect_read(*made);
}

TEST_F(RegistrationLadder, BadRangesAreInvalid) {
  const model_file file;
  const mapping mapped(file, PROT_READ, MAP_PRIVATE);
  EXPECT_EQ(climb({}).error().code, errc::invalid_argument);
  EXPECT_EQ(climb({mapped.data(), std::size_t{1} << 40}).error().code, errc::invalid_argument);
  EXPECT_EQ(climb(mapped.range(), {.access = host_access::read_write}).error().code,
            errc::invalid_argument);
  ASSERT_EQ(mprotect(mapped.data(), 4096, PROT_NONE), 0);
  EXPECT_EQ(climb(mapped.range()).error().code, errc::invalid_argument);
}

TEST_F(RegistrationLadder, WhatIsRegisteredAlreadyIsInvalid) {
  std::vector<std::byte> own(bytes);
  const result<host_registration> first = climb(own);
  ASSERT_TRUE(first);
  const result<host_registration> second = climb(own);
  EXPECT_EQ(second.error().code, errc::invalid_argument);
  EXPECT_TRUE(is_registered(own.data())) << "the first stays";
}

TEST_F(RegistrationLadder, ThePublicFunctionsClimbIt) {
  std::vector<std::byte> own(bytes);
  result<host_registration> made = register_host(std::span<std::byte>(own));
  ASSERT_TRUE(made) << to_string(made.error());
  EXPECT_EQ(made->how(), host_reach::read_write);
  host_registration moved = std::move(*made);
  EXPECT_EQ(made->how(), host_reach::none);
  moved = host_registration();
  EXPECT_FALSE(is_registered(own.data()));
  const result<host_registration> read = register_host(std::span<const std::byte>(own));
  ASSERT_TRUE(read);
  EXPECT_EQ(read->how(), reads_only ? host_reach::read_only : host_reach::read_write);
  EXPECT_EQ(register_host(std::span<std::byte>(own), {.ordinal = 60}).error().code,
            errc::unknown_device);
}

TEST_F(RegistrationLadder, AForkedChildOnlyForgets) {
  std::vector<std::byte> own(bytes);
  result<host_registration> made = climb(own);
  ASSERT_TRUE(made);
  ++system->process_id;
  EXPECT_TRUE(made->reset().ok());
  EXPECT_TRUE(is_registered(own.data()));
  EXPECT_EQ(cudaHostUnregister(own.data()), cudaSuccess);
}

// Each refusal leads to another rung, and to nothing registered if that is staging.
TEST_F(RegistrationLadder, EveryDriverCallFailsOnce) {
  if (!is_simulated()) {
    GTEST_SKIP() << "a real driver fails on no order";
  }
  const model_file file;
  for (const char* const call : {"cudaHostRegister", "cudaHostGetDevicePointer",
                                 "cudaHostUnregister", "cudaDeviceGetAttribute"}) {
    for (std::uint64_t nth = 1; nth != 4; ++nth) {
      for (const int error : {cudaErrorUnknown, cudaErrorMemoryAllocation, cudaErrorNotPermitted}) {
        const mapping mapped(file, PROT_READ, MAP_PRIVATE);
        cudasim_fail_call(call, nth, error, 0);
        result<host_registration> made = climb(mapped.range());
        ASSERT_TRUE(made) << call << " " << nth;
        EXPECT_NE(made->how(), host_reach::none);
        EXPECT_EQ(is_registered(mapped.data()), made->how() != host_reach::staging);
        EXPECT_FALSE(protection_of(mapped).has_writable) << call << " " << nth;
        if (made->how() != host_reach::staging) {
          expect_read(*made);
        } else {
          EXPECT_FALSE(made->why().ok());
        }
        if (!made->reset().ok()) {
          EXPECT_TRUE(is_registered(mapped.data())) << "as before";
          EXPECT_TRUE(made->reset().ok());
        }
        EXPECT_FALSE(is_registered(mapped.data()));
        cudasim_fail_no_call();
      }
    }
  }
}

TEST_F(RegistrationLadder, AllRungsRefusedIsStaging) {
  if (!is_simulated()) {
    GTEST_SKIP() << "a real driver fails on no order";
  }
  const model_file file;
  const mapping mapped(file, PROT_READ, MAP_PRIVATE);
  cudasim_fail_call("cudaHostRegister", 1, cudaErrorNotSupported, 1);
  const result<host_registration> made = climb(mapped.range());
  ASSERT_TRUE(made);
  EXPECT_EQ(made->how(), host_reach::staging);
  EXPECT_EQ(made->why().native, cudaErrorNotSupported);
  EXPECT_FALSE(protection_of(mapped).has_writable);
}

TEST_F(RegistrationLadder, EverySystemCallFailsOnce) {
  const model_file file;
  for (fail_nth = 1; fail_nth != 4; ++fail_nth) {
    const mapping mapped(file, PROT_READ, MAP_PRIVATE);
    result<host_registration> made = climb(mapped.range());
    ASSERT_TRUE(made) << fail_nth;
    const bool cannot = !reads_only && fail_nth == 1;
    EXPECT_EQ(made->how() == host_reach::staging, cannot) << fail_nth;
    EXPECT_EQ(made->why().ok(), !cannot);
    EXPECT_EQ(is_registered(mapped.data()), !cannot);
    EXPECT_FALSE(protection_of(mapped).has_writable) << fail_nth;
  }
}

TEST_F(RegistrationLadder, ALostDeviceIsAnError) {
  if (!is_simulated()) {
    GTEST_SKIP() << "a real device is not lost on order";
  }
  std::vector<std::byte> own(bytes);
  cudasim_fail_call("cudaHostRegister", 1, cudaErrorIllegalAddress, 0);
  EXPECT_EQ(climb(own).error().code, errc::device_lost);
  result<host_registration> made = climb(own);
  ASSERT_TRUE(made);
  cudasim_fail_call("cudaHostUnregister", 1, cudaErrorIllegalAddress, 0);
  EXPECT_TRUE(made->reset().ok());
  EXPECT_EQ(cudaHostUnregister(own.data()), cudaSuccess);  // which a real loss would have ended
}

}  // namespace
}  // namespace tidepool::cuda::test
