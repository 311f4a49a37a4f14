// SPDX-License-Identifier: Apache-2.0
//
// The variable TIDEPOOL: every form of keys and values, and what is told about wrong ones.
#include <tidepool/environment.hpp>

#include <gtest/gtest.h>

#include <stdlib.h>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>

namespace tidepool::test {
namespace {

/// Sets the variable, and puts back what it was.
class variable {
 public:
  explicit variable(const char* text) {
    if (const char* const before = ::getenv("TIDEPOOL")) {
      before_ = before;
    }
    ::setenv("TIDEPOOL", text, 1);
  }
  variable(const variable&) = delete;
  variable& operator=(const variable&) = delete;
  ~variable() {
    if (before_) {
      ::setenv("TIDEPOOL", before_->c_str(), 1);
    } else {
      ::unsetenv("TIDEPOOL");
    }
  }

 private:
  std::optional<std::string> before_;
};

/// What is told on stderr when the variable has this text and is looked at three times.
std::string told(const char* text) {
  const variable set(text);
  ::testing::internal::CaptureStderr();
  for (int i = 0; i < 3; ++i) {
    (void)environment_option("fail_call");
  }
  return ::testing::internal::GetCapturedStderr();
}

TEST(Environment, NoVariableHasNoOptions) {
  const variable set("");
  ::unsetenv("TIDEPOOL");
  EXPECT_EQ(environment_option("fail_call"), std::nullopt);
  EXPECT_FALSE(environment_flag("no_huge_pages"));
  EXPECT_EQ(environment_count("fail_call"), std::nullopt);
  EXPECT_EQ(environment_bytes("exhaust_at"), std::nullopt);
}

TEST(Environment, KeysAndValues) {
  const variable set("fail_call=7, exhaust_at = 64MiB ,no_huge_pages,,fail_every=");
  EXPECT_EQ(environment_option("fail_call"), "7");
  EXPECT_EQ(environment_option("exhaust_at"), "64MiB");
  EXPECT_EQ(environment_option("no_huge_pages"), "");
  EXPECT_EQ(environment_option("fail_every"), "");
  EXPECT_EQ(environment_option("fail"), std::nullopt) << "a prefix is not the key";
  EXPECT_EQ(environment_option("no_membarrier"), std::nullopt);
  EXPECT_EQ(environment_option(""), std::nullopt);
}

TEST(Environment, TheLastOneCounts) {
  const variable set("fail_call=1,fail_call=2");
  EXPECT_EQ(environment_count("fail_call"), 2U);
}

TEST(Environment, Flags) {
  const variable set("no_huge_pages,no_membarrier=0");
  EXPECT_TRUE(environment_flag("no_huge_pages"));
  EXPECT_FALSE(environment_flag("no_membarrier"));
  const variable other("no_huge_pages=1,no_membarrier=yes");
  EXPECT_TRUE(environment_flag("no_huge_pages"));
  EXPECT_FALSE(environment_flag("no_membarrier")) << "not a value, so ignored";
}

std::optional<std::size_t> bytes(const std::string& text) {
  const variable set(("exhaust_at=" + text).c_str());
  return environment_bytes("exhaust_at");
}

TEST(Environment, Bytes) {
  EXPECT_EQ(bytes("0"), 0U);
  EXPECT_EQ(bytes("4096"), 4096U);
  EXPECT_EQ(bytes("4KiB"), 4096U);
  EXPECT_EQ(bytes("3 MiB"), std::size_t{3} << 20);
  EXPECT_EQ(bytes("2GiB"), std::size_t{2} << 30);
  EXPECT_EQ(bytes("18446744073709551615"), SIZE_MAX);
  EXPECT_EQ(bytes("17179869183GiB"), std::size_t{17179869183} << 30);
  for (const char* const wrong : {"", "KiB", "-1", "1.5GiB", "4k", "4KB", "4TiB", "x", "4KiBs",
                                  "18446744073709551616", "17179869184GiB", "1 2"}) {
    EXPECT_EQ(bytes(wrong), std::nullopt) << wrong;
  }
}

TEST(Environment, Counts) {
  const variable set("fail_call=12,fail_every=1KiB");
  EXPECT_EQ(environment_count("fail_call"), 12U);
  EXPECT_EQ(environment_count("fail_every"), std::nullopt) << "things are not counted in KiB";
}

TEST(Environment, WhatIsWrongIsToldOnceWithAllKeys) {
  EXPECT_EQ(told("fail_call=1,exhaust_at=1GiB,no_huge_pages=1"), "");
  const std::string text = told("fial_call=1,exhaust_at=lots,no_huge_pages=2,fail_every");
  EXPECT_NE(text.find("unknown key 'fial_call'"), std::string::npos) << text;
  EXPECT_NE(text.find("no such value for 'exhaust_at'"), std::string::npos) << text;
  EXPECT_NE(text.find("no such value for 'no_huge_pages'"), std::string::npos) << text;
  EXPECT_NE(text.find("no such value for 'fail_every'"), std::string::npos) << text;
  EXPECT_NE(text.find("knows arena_bytes=BYTES exhaust_at=BYTES"), std::string::npos) << text;
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 5) << text;
}

}  // namespace
}  // namespace tidepool::test
