// SPDX-License-Identifier: Apache-2.0
//
// first_run: the first thing to run on a machine with a GPU. Each probe runs in a process of its
// own, with a time limit, because a real driver may hang or crash where the simulator answers. One
// line of JSON per probe on the standard output, a table at the end on the standard error.
#include "../../cuda/gpu.hpp"
#include "child.hpp"
#include "probe.hpp"

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>

namespace tidepool::first_run {

namespace {

constexpr const char* help =
    "usage: first_run [--list] [--only NAME]... [--time-limit SECONDS] [--help]\n"
    "Asks the GPU's driver what the simulator cannot answer. Prints one JSON object per line:\n"
    "  {\"format\":1,\"simulated\":false,\"probe\":NAME,\"seconds\":S,\n"
    "   \"outcome\":\"pass|fail|skip|hang|crash\",\n"
    "   \"numbers\":{...},\"text\":\"...\"}\n"
    "and a table on the standard error. --time-limit: of each probe, default 120.\n"
    "Exit status: 0 all pass, or say why they were skipped; 1 a failure, hang or crash; 2 wrong\n"
    "usage. With TIDEPOOL_REQUIRE_GPU=1 a machine without a GPU is a failure.\n"
    "tests/gpu/run.sh runs this and all other checks of a machine with a GPU.\n";

[[nodiscard]] std::vector<probe> all_probes() {
  std::vector<probe> all;
  for (const auto& some :
       {capture_probes(), stream_probes(), memory_probes(), process_probes(), access_probes()}) {
    all.insert(all.end(), some.begin(), some.end());
  }
  return all;
}

[[nodiscard]] std::string quoted(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      out += '\\';
    }
    out += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
  }
  return out + '"';
}

struct line {
  std::string probe;
  std::string outcome;
  double seconds = 0;
  std::string numbers = "{}";
  std::string text;
};

void print(const line& what) {
  std::printf("{\"format\":1,\"simulated\":%s,\"probe\":%s,\"outcome\":%s,\"seconds\":%.3f,"
              "\"numbers\":%s,\"text\":%s}\n",
              is_simulated() ? "true" : "false", quoted(what.probe).c_str(),
              quoted(what.outcome).c_str(), what.seconds, what.numbers.c_str(),
              quoted(what.text).c_str());
  std::fflush(stdout);
}

// In the child: prints the outcome, the numbers and the text, a line each.
[[nodiscard]] int run_here(const probe& what) {
  findings found;
  int gpus = 0;
  if (cudaGetDeviceCount(&gpus) != cudaSuccess || gpus == 0) {
    found.skip("no GPU");
  } else if (is_simulated() && !what.can_simulate) {
    found.skip("the simulator cannot answer");
  } else {
    try {
      what.run(found);
    } catch (const std::exception& error) {
      found.expect(false, error.what());
    }
  }
  std::string numbers = "{";
  for (const auto& [name, value] : found.numbers()) {
    std::array<char, 32> digits{};
    std::snprintf(digits.data(), digits.size(), "%.6g", value);
    numbers += (numbers.size() > 1 ? "," : "") + quoted(name) + ":" + digits.data();
  }
  const char* const outcome = found.result() == outcome::pass   ? "pass"
                              : found.result() == outcome::fail ? "fail"
                                                                : "skip";
  std::printf("%s\n%s}\n%s\n", outcome, numbers.c_str(), quoted(found.text()).c_str());
  return 0;
}

[[nodiscard]] line ask(const probe& what, double limit_seconds) {
  const child_end end = run_child(what.name, limit_seconds);
  line answer{what.name, "crash", end.seconds, "{}", ""};
  if (end.is_hang) {
    answer.outcome = "hang";
    answer.text = "killed after the time limit";
    return answer;
  }
  const std::size_t first = end.printed.find('\n');
  const std::size_t second = first == std::string::npos ? first : end.printed.find('\n', first + 1);
  if (end.signal != 0 || end.status != 0 || second == std::string::npos) {
    answer.text = end.signal != 0 ? std::string("signal ") + ::strsignal(end.signal)
                                  : "exit status " + std::to_string(end.status);
    if (what.may_crash) {
      answer.outcome = "pass";
      answer.text += ", which is the answer";
    }
    return answer;
  }
  answer.outcome = end.printed.substr(0, first);
  answer.numbers = end.printed.substr(first + 1, second - first - 1);
  answer.text = end.printed.substr(second + 2, end.printed.size() - second - 4);
  return answer;
}

struct choices {
  std::vector<std::string> only;
  double limit_seconds = 120;
  bool lists = false;
  std::string here;
};

[[nodiscard]] bool read(int count, char** words, choices& out) {
  for (int i = 1; i < count; ++i) {
    const std::string_view word = words[i];
    const char* const next = i + 1 < count ? words[i + 1] : nullptr;
    if (word == "--list") {
      out.lists = true;
    } else if (word == "--only" && next != nullptr) {
      out.only.emplace_back(words[++i]);
    } else if (word == "--probe" && next != nullptr) {
      out.here = words[++i];
    } else if (word == "--time-limit" && next != nullptr && std::atof(next) > 0) {
      out.limit_seconds = std::atof(words[++i]);
    } else {
      return false;
    }
  }
  return true;
}

[[nodiscard]] int run_all(const std::vector<probe>& chosen, double limit_seconds) {
  std::vector<line> answers;
  for (const probe& each : chosen) {
    std::fprintf(stderr, "%-18s %s\n", each.name, each.question);
    answers.push_back(ask(each, limit_seconds));
    print(answers.back());
  }
  std::fprintf(stderr, "\n%-18s %-6s %8s  %s\n", "probe", "", "seconds", "");
  int failures = 0;
  for (const line& each : answers) {
    const bool is_missing = each.text == "no GPU" && test::gpu_is_required();
    failures += (each.outcome == "pass" || (each.outcome == "skip" && !is_missing)) ? 0 : 1;
    std::fprintf(stderr, "%-18s %-6s %8.2f  %s\n", each.probe.c_str(), each.outcome.c_str(),
                 each.seconds, each.text.c_str());
  }
  std::fprintf(stderr, "%zu probes, %d not as they should be\n", answers.size(), failures);
  return failures == 0 ? 0 : 1;
}

[[nodiscard]] int run(int count, char** words) {
  choices chosen;
  if (count == 2 && std::string_view(words[1]) == "--help") {
    std::fputs(help, stdout);
    return 0;
  }
  std::vector<probe> probes = all_probes();
  const auto find = [&](const std::string& name) {
    return std::find_if(probes.begin(), probes.end(),
                        [&](const probe& each) { return name == each.name; });
  };
  if (!read(count, words, chosen) ||
      !std::all_of(chosen.only.begin(), chosen.only.end(),
                   [&](const std::string& name) { return find(name) != probes.end(); })) {
    std::fputs(help, stderr);
    return 2;
  }
  if (!chosen.here.empty()) {
    const auto here = find(chosen.here);
    return here == probes.end() ? 2 : run_here(*here);
  }
  if (chosen.lists) {
    for (const probe& each : probes) {
      std::printf("%-18s %s\n", each.name, each.question);
    }
    return 0;
  }
  if (!chosen.only.empty()) {
    std::erase_if(probes, [&](const probe& each) {
      return std::find(chosen.only.begin(), chosen.only.end(), each.name) == chosen.only.end();
    });
  }
  return run_all(probes, chosen.limit_seconds);
}

}  // namespace

}  // namespace tidepool::first_run

int main(int count, char** words) {
  return tidepool::first_run::run(count, words);
}
