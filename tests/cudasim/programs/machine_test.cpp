// SPDX-License-Identifier: Apache-2.0
//
// The machine without a runtime: damaged and unknown input is refused by a message that names the
// cause, small PTX texts run, halves convert exactly, sets of readers are kept.
#include "machine/execution.hpp"
#include "machine/fatbin.hpp"
#include "machine/half.hpp"
#include "memory/address_space.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <string>

namespace cudasim {
namespace {

std::string refusal_of(const std::string& text) {
  try {
    static_cast<void>(ptx::parse(text));
  } catch (const std::runtime_error& error) {
    return error.what();
  }
  return "";
}

TEST(Parser, NamesWhatIsWrong) {
  EXPECT_NE(refusal_of("").find("no .version"), std::string::npos);
  EXPECT_NE(refusal_of("hello world").find("expected a directive"), std::string::npos);
  EXPECT_NE(refusal_of(".version 77.0\n").find("PTX version 77.0"), std::string::npos);
  const std::string head = ".version 9.0\n.target sm_80\n.address_size 64\n";
  EXPECT_NE(refusal_of(head + ".visible .entry f() {\n ret;").find("without an end"),
            std::string::npos);
  EXPECT_NE(refusal_of(head + "/* no end").find("line 4"), std::string::npos);
  EXPECT_NE(refusal_of(head + ".visible .entry f() { add.s32 %r1, ; }").find("expected a name"),
            std::string::npos);
  EXPECT_EQ(refusal_of(head + ".visible .entry f() { ret; }"), "");
}

TEST(Parser, ReadsWhatTheTextWasMadeFor) {
  EXPECT_EQ(ptx::parse(".version 8.8\n.target sm_90a, debug\n").architecture, 90);
  EXPECT_EQ(ptx::parse(".version 8.8\n.target debug, sm_75\n").version, 88);
  EXPECT_EQ(ptx::parse(".version 8.8\n.target debug, sm_75\n").architecture, 75);
}

// A text with any prefix cut off is refused or parsed, and nothing else happens.
TEST(Parser, SurvivesCutTexts) {
  const std::string text =
      ".version 9.0\n.target sm_80\n.address_size 64\n.global .align 4 .u32 x[3] = {1, 2, 3};\n"
      ".visible .entry f(.param .u64 p) {\n.reg .b32 %r<3>;\n.reg .pred %p1;\n"
      "{ .reg .b32 t; mov.u32 t, 0x10; }\nsetp.eq.s32 %p1, %r1, 0;\n@!%p1 bra $L;\n$L: ret;\n}\n";
  ASSERT_EQ(refusal_of(text), "");
  for (std::size_t cut = 0; cut != text.size(); ++cut) {
    static_cast<void>(refusal_of(text.substr(0, cut)));
    static_cast<void>(refusal_of(text.substr(cut)));
  }
}

struct image {
  std::uint32_t magic = 0xBA55ED50;
  std::uint16_t version = 1;
  std::uint16_t header = 16;
  std::uint64_t body = 64 + 16;
  std::uint16_t kind = 1;
  std::uint16_t entry_version = 0;
  std::uint32_t entry_header = 64;
  std::uint64_t payload = 16;
  std::uint32_t rest[3] = {};
  std::uint32_t architecture = 80;
  std::uint32_t name[2] = {};
  std::uint64_t flags = 0x11;
  std::uint64_t zero = 0;
  std::uint64_t uncompressed = 0;
  char text[16] = ".version 9.0";
};
struct wrapper {
  std::uint32_t magic = 0x466243B1;
  std::uint32_t version = 1;
  const void* data = nullptr;
  void* extra = nullptr;
};
std::string extract(const image& from) {
  wrapper outer;
  outer.data = &from;
  try {
    return extract_ptx(&outer, 80);
  } catch (const std::runtime_error& error) {
    return error.what();
  }
}

TEST(FatBinary, DamageIsNamed) {
  EXPECT_EQ(extract(image{}), ".version 9.0");
  image newer;
  newer.architecture = 90;
  EXPECT_EQ(extract(newer), "");
  image no_image;
  no_image.magic = 1;
  EXPECT_NE(extract(no_image).find("no image here"), std::string::npos);
  image cut;
  cut.body = 32;
  EXPECT_NE(extract(cut).find("32 bytes where an entry's header should be"), std::string::npos);
  image long_entry;
  long_entry.payload = std::uint64_t{1} << 60;
  EXPECT_NE(extract(long_entry).find("where 80 are left"), std::string::npos);
  image compressed;
  compressed.flags = 0x8000;
  compressed.uncompressed = 100;
  EXPECT_NE(extract(compressed).find("zstd says"), std::string::npos);
  image older;
  older.flags = 0x2000;
  EXPECT_NE(extract(older).find("LZ4"), std::string::npos);
}

// Global memory of a test: one array.
class array_memory final : public memory_port {
 public:
  range resolve(std::uint64_t address, unsigned bytes, bool) override {
    const range all{reinterpret_cast<std::uint64_t>(values), sizeof values, 0};
    if (!all.holds(address, bytes)) {
      throw fault(fault_code::illegal_address, finding::unallocated, "outside");
    }
    return all;
  }
  alignas(16) std::uint32_t values[64] = {};
};

const std::string head =
    ".version 9.0\n.target sm_80\n.address_size 64\n.visible .entry f(.param .u64 p) {\n"
    ".reg .b32 %r<8>;\n.reg .b64 %d<4>;\n.reg .pred %q<3>;\nld.param.u64 %d1, [p];\n"
    "mov.u32 %r1, %tid.x;\nmul.wide.u32 %d2, %r1, 4;\nadd.s64 %d3, %d1, %d2;\n";

void run(const std::string& body, array_memory& memory, unsigned threads) {
  const ptx::program program = ptx::parse(head + body + "\nret;\n}\n");
  const kernel code = decode(program, program.functions.at("f"), {});
  launch wanted;
  wanted.code = &code;
  wanted.block = {threads, 1, 1};
  wanted.memory = &memory;
  const auto address = reinterpret_cast<std::uint64_t>(memory.values);
  wanted.parameters.resize(sizeof address);
  std::memcpy(wanted.parameters.data(), &address, sizeof address);
  execute(wanted);
}

TEST(Machine, RunsAText) {
  array_memory memory;
  run("setp.lt.u32 %q1, %r1, 5;\n@%q1 st.global.u32 [%d3], %r1;", memory, 40);
  for (std::uint32_t i = 0; i != 64; ++i) {
    EXPECT_EQ(memory.values[i], i < 5 ? i : 0) << i;
  }
}

TEST(Machine, UnsupportedInstructionsFaultOnlyWhenTheyRun) {
  array_memory memory;
  run("setp.gt.u32 %q1, %r1, 99;\n@%q1 bra $X;\nret;\n$X: wgmma.fence.sync;", memory, 8);
  try {
    run("wgmma.fence.sync;", memory, 8);
    FAIL() << "nothing was raised";
  } catch (const fault& raised) {
    EXPECT_EQ(raised.code, fault_code::not_supported);
    EXPECT_NE(std::string(raised.what()).find("wgmma.fence.sync"), std::string::npos);
    EXPECT_NE(std::string(raised.what()).find("PTX line 12"), std::string::npos) << raised.what();
  }
}

TEST(Half, ConvertsExactly) {
  for (std::uint32_t bits = 0; bits != 0x10000; ++bits) {
    const auto half = static_cast<std::uint16_t>(bits);
    const float value = float_of_half(half);
    if (!std::isnan(value)) {
      EXPECT_EQ(half_of_float(value), half) << bits;
    }
  }
  EXPECT_EQ(half_of_float(65519.0f), 0x7bff);
  EXPECT_EQ(half_of_float(65520.0f), 0x7c00);
  EXPECT_EQ(half_of_float(0x1p-25f), 0);
  EXPECT_EQ(half_of_float(0x1.8p-25f), 1);
  EXPECT_EQ(bfloat_of_float(1.00390625f), 0x3f80) << "ties go to even";
}

TEST(Races, EveryReaderOfASetIsChecked) {
  reports found;
  found.set_quiet(true);
  race_log log(found);
  log.watch({0x10000, 0x1000, 0}, false);
  actor readers[2];
  for (int i = 0; i != 2; ++i) {
    readers[i].name = "reader";
    readers[i].stream = i;
    readers[i].tick = 1;
    readers[i].clock.set(i, 1);
    log.enter(readers[i]);
    race_checker(log, readers[i]).access(0x10000, 8, false, false);
  }
  actor writer{"writer", 0, 2, 1, {}, 0, 0};
  writer.clock.set(2, 1);
  writer.clock.set(1, 1);  // after the second reader, not after the first
  log.enter(writer);
  race_checker(log, writer).access(0x10004, 4, true, false);
  EXPECT_EQ(found.take(finding::race), 1u);
  EXPECT_NE(found.latest().find("reader in stream 0"), std::string::npos) << found.latest();
}

TEST(AddressSpace, RangesComeBackTogether) {
  address_space space;
  space.reserve(std::uint64_t{1} << 20, false);
  const std::uint64_t a = space.take(1000, 256);
  const std::uint64_t b = space.take(5000, 4096);
  EXPECT_EQ(a, space.base());
  EXPECT_EQ(b % 4096, 0u);
  EXPECT_EQ(space.take(std::uint64_t{1} << 20, 1), 0u);
  space.give(a, 1000);
  space.give(b, 5000);
  EXPECT_EQ(space.take(std::uint64_t{1} << 20, 1), space.base());
}

}  // namespace
}  // namespace cudasim
