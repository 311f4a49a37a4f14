// SPDX-License-Identifier: Apache-2.0
//
// What a pool may do while a stream captures: tensors of the arena and older ones end, are used by
// other streams, shared, cut and moved, on the captured stream, on streams that the capture forks
// into, and on others. No call spoils the capture or becomes a part of the graph that has no
// business there, and no block is used again before its streams have passed it.
#include "capture_support.hpp"

#include <array>
#include <cctype>
#include <functional>
#include <optional>
#include <string>

namespace tidepool::test {
namespace {

constexpr std::array modes{cudaStreamCaptureModeGlobal, cudaStreamCaptureModeThreadLocal,
                           cudaStreamCaptureModeRelaxed};

/// Streams and tensors as a program has them when it begins to capture stream a. Stream b is forked
/// into the capture; c is not.
struct setting {
  setting(pool& of, bool knows_b) : p(of), a(of), b(of), c(of), e(of) {
    named = {a.raw(), b.raw(), c.raw()};
    if (knows_b) {
      named = {a.attached(), b.attached(), c.attached()};
    }
    of_a = p.allocate(mib, gpu, {.stream = a.raw()});
    of_c = p.allocate(mib, gpu, {.stream = c.raw()});
    of_none = p.allocate(mib, gpu);
    pinned = p.allocate(mib, device::pinned(gpu));
    fill(block_of(of_a), 3, a.get());
    fill(block_of(of_c), 3, c.get());
    p.allocate(mib, gpu, {.stream = e.raw()}).reset();
  }
  pool& p;
  const device gpu = device::cuda(0);
  pool_stream a;
  pool_stream b;
  pool_stream c;
  pool_stream e;  // has freed something, and does nothing more
  tensor of_a;
  tensor of_c;
  tensor of_none;
  tensor pinned;
  tensor t;                         // of the arena, used by a and then by b, which a has joined
  std::array<stream_ref, 3> named;  // a, b and c, with numbers if b is known
  errc code = errc::ok;
};

struct situation {
  const char* name;
  std::function<void(setting&)> happens;
};

const std::vector<situation>& situations() {
  static const std::vector<situation> all{
      {"used by b, ended",
       [](setting& s) {
         s.code = s.p.record_use(s.t.id(), s.b.raw());
         s.t.reset();
       }},
      {"ended on b", [](setting& s) { s.t.reset(s.b.raw()); }},
      {"ended on c", [](setting& s) { s.t.reset(s.c.raw()); }},
      {"used by c, ended",
       [](setting& s) {
         s.code = s.p.record_use(s.t.id(), s.c.raw());
         s.t.reset();
       }},
      {"references end on b and c",
       [](setting& s) {
         tensor second = *s.p.share(s.t);
         tensor third = *s.p.share(s.t);
         second.reset(s.b.raw());
         third.reset(s.c.raw());
         s.t.reset();
       }},
      {"a slice ends on b after its parent",
       [](setting& s) {
         tensor part = *s.p.slice(s.t, 256, 4096);
         s.t.reset();
         part.reset(s.b.raw());
       }},
      {"resized and pinned",
       [](setting& s) {
         EXPECT_EQ(s.p.resize(s.t, mib / 2), errc::ok);
         EXPECT_TRUE(s.p.pin(s.t.id()).has_value());
         EXPECT_EQ(s.p.unpin(s.t.id()), errc::ok);
         s.t.reset();
       }},
      {"an older one of a ended", [](setting& s) { s.of_a.reset(); }},
      {"an older one of a ended on b", [](setting& s) { s.of_a.reset(s.b.raw()); }},
      {"an older one of c ended on a", [](setting& s) { s.of_c.reset(s.a.raw()); }},
      {"an older one of c used by a, ended",
       [](setting& s) {
         s.code = s.p.record_use(s.of_c.id(), s.a.raw());
         s.of_c.reset();
       }},
      {"an older one of c used by b, ended on a",
       [](setting& s) {
         s.code = s.p.record_use(s.of_c.id(), s.b.raw());
         s.of_c.reset(s.a.raw());
       }},
      {"an older one of the default stream ended on a",
       [](setting& s) { s.of_none.reset(s.a.raw()); }},
      {"a pinned one used by a, ended",
       [](setting& s) {
         s.code = s.p.record_use(s.pinned.id(), s.a.raw());
         s.pinned.reset();
       }},
      {"a pinned one ended on b", [](setting& s) { s.pinned.reset(s.b.raw()); }},
      {"tick, trim, statistics, report, prewarm",
       [](setting& s) {
         s.p.control().tick();
         (void)s.p.control().trim();
         (void)s.p.control().statistics();
         (void)s.p.control().report();
         (void)s.p.control().memory(s.gpu);
       }},
      {"allocations on c, up to the limit",
       [](setting& s) {
         (void)s.p.control().set_limits(s.gpu, {.hard = 24 * mib});
         std::vector<tensor> held;
         while (result<tensor> made = s.p.try_allocate(3 * mib, s.gpu, {.stream = s.c.raw()})) {
           held.push_back(std::move(*made));
         }
         held.clear();
         (void)s.p.try_allocate(30 * mib, s.gpu, {.stream = s.c.raw()});
         (void)s.p.control().set_limits(s.gpu, {});
       }},
      {"retire of e and attach of another",
       [](setting& s) {
         s.code = s.p.retire(s.gpu, s.e.raw());
         const pool_stream another(s.p);
         (void)another.attached();
       }},
      {"waits for a, b and c",
       [](setting& s) {
         EXPECT_EQ(s.p.synchronise(s.gpu, s.named[0]).code, errc::stream_captures);
         EXPECT_EQ(s.p.synchronise(s.gpu, s.named[1]).code, errc::stream_captures);
         EXPECT_TRUE(s.p.synchronise(s.gpu, s.named[2]).ok());
       }},
      {"an arena of another graph ends",
       [](setting& s) {
         graph_arena other(s.p, s.gpu);
         other.reset(s.c.raw());
       }},
      {"an allocation without a scope on b",
       [](setting& s) {
         EXPECT_EQ(s.p.try_allocate(64 * mib, s.gpu, {.stream = s.b.raw()}).error().code,
                   errc::stream_captures);
       }},
  };
  return all;
}

struct how {
  cudaStreamCaptureMode mode = cudaStreamCaptureModeGlobal;
  bool scope_first = true;
  bool knows_b = true;
};

class EveryCapture : public CudaCapture, public ::testing::WithParamInterface<situation> {
 protected:
  void run(const how& chosen) {
    const wrong_words wrong;
    setting s(*p, chosen.knows_b);
    graph_arena arena(*p, gpu);
    cudaGraph_t graph = nullptr;
    {
      std::optional<capture_scope> scope;
      const auto open = [&] { scope.emplace(arena, s.a.raw()); };
      if (chosen.scope_first) {
        open();
      }
      expect_success(cudaStreamBeginCapture(s.a.get(), chosen.mode));
      if (!chosen.scope_first) {
        open();
      }
      s.t = p->allocate(mib, gpu, {.stream = s.a.raw()});
      void* const data = s.t.data();
      fill(block_of(s.t), 1, s.a.get());
      order(s.a.get(), s.b.get());
      check(block_of(s.t), 1, wrong, s.b.get());
      order(s.b.get(), s.a.get());
      GetParam().happens(s);
      EXPECT_EQ(s.code, errc::ok);
      EXPECT_TRUE(is_sound(s.a.get()));
      // What the block was given to may use it at once, in the order of the capture.
      std::vector<tensor> next;
      for (unsigned i = 0; i < 8; ++i) {
        next.push_back(p->allocate(mib, gpu, {.stream = s.a.raw()}));
        if (s.t.id() && next.back().data() == data) {
          ADD_FAILURE() << "the block of a living tensor";
        }
        fill(block_of(next.back()), 10 + i, s.a.get());
        check(block_of(next.back()), 10 + i, wrong, s.a.get());
      }
      EXPECT_TRUE(is_sound(s.a.get()));
      expect_success(cudaStreamEndCapture(s.a.get(), &graph));
    }
    ASSERT_NE(graph, nullptr);
    replay_twice(graph, s.a.get());
    EXPECT_EQ(wrong.count(), 0U);
    s.t.reset();
    arena.reset(s.a.raw());
    EXPECT_EQ(p->control().verify(), nullptr);
    for (tensor* const old : {&s.of_a, &s.of_c, &s.of_none, &s.pinned}) {
      old->reset();
    }
  }
};

TEST_P(EveryCapture, StaysSound) {
  for (const cudaStreamCaptureMode mode : modes) {
    for (const bool scope_first : {true, false}) {
      for (const bool knows_b : {true, false}) {
        SCOPED_TRACE(::testing::Message()
                     << "mode " << mode << ", scope " << (scope_first ? "before" : "after")
                     << ", b " << (knows_b ? "known" : "unknown"));
        run({.mode = mode, .scope_first = scope_first, .knows_b = knows_b});
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Situations, EveryCapture, ::testing::ValuesIn(situations()),
                         [](const ::testing::TestParamInfo<situation>& about) {
                           std::string name = about.param.name;
                           for (char& c : name) {
                             c = std::isalnum(static_cast<unsigned char>(c)) != 0 ? c : '_';
                           }
                           return name;
                         });

}  // namespace
}  // namespace tidepool::test
