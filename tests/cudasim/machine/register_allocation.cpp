// SPDX-License-Identifier: Apache-2.0
//
// Liveness by data flow over basic blocks, then linear scan: an interval takes the first place of
// its size that is free for all of it. Sizes never share places.
#include "machine/decoder.hpp"

#include <algorithm>
#include <array>

namespace cudasim {
namespace {

class bit_set {
 public:
  explicit bit_set(std::size_t bits) : words_((bits + 63) / 64) {}
  [[nodiscard]] bool test(std::size_t i) const { return (words_[i / 64] >> (i % 64) & 1) != 0; }
  void set(std::size_t i) { words_[i / 64] |= std::uint64_t{1} << (i % 64); }
  std::vector<std::uint64_t>& words() { return words_; }

 private:
  std::vector<std::uint64_t> words_;
};

struct basic_block {
  std::size_t begin;
  std::size_t end;
  bit_set reads;  // before it writes them
  bit_set writes;
  bit_set live_in;
  bit_set live_out;
  std::vector<std::size_t> successors;
};

struct interval {
  std::size_t low = ~std::size_t{0};
  std::size_t high = 0;
  void touch(std::size_t at) {
    low = std::min(low, at);
    high = std::max(high, at);
  }
};

class allocator {
 public:
  explicit allocator(draft& of) : draft_(of), code_(of.made.code) {}

  void run() {
    find_blocks();
    find_live();
    find_intervals();
    assign();
    rewrite();
  }

 private:
  static bool is_register(place at) { return at != no_place && (at & 1) == 0; }
  // f(register, is written)
  template <class F>
  void each_register(std::size_t index, F f) {
    const instruction& in = code_[index];
    for (std::size_t i = 0; i != in.ref.size(); ++i) {
      if (is_register(in.ref[i])) {
        f(in.ref[i] >> 1, (draft_.defines[index] >> i & 1) != 0);
      }
    }
    if (in.guard != no_place) {
      f(in.guard >> 1, false);
    }
  }
  static bool ends_flow(const instruction& in) {
    const bool jumps =
        in.ctl == control::branch || in.ctl == control::exit || in.ctl == control::branch_indexed;
    return jumps && in.guard == no_place;
  }

  void find_blocks() {
    std::vector<bool> leads(code_.size() + 1);
    leads[0] = true;
    for (std::size_t i = 0; i != code_.size(); ++i) {
      const instruction& in = code_[i];
      if (in.ctl == control::branch) {
        leads[in.target] = true;
      } else if (in.ctl == control::branch_indexed) {
        for (const std::uint32_t target : draft_.made.branch_tables[in.target]) {
          leads[target] = true;
        }
      } else if (in.ctl != control::exit) {
        continue;
      }
      leads[i + 1] = true;
    }
    block_of_.resize(code_.size());
    const bit_set none(draft_.lane_bytes.size());
    for (std::size_t i = 0; i != code_.size(); ++i) {
      if (leads[i]) {
        blocks_.push_back({i, i, none, none, none, none, {}});
      }
      blocks_.back().end = i + 1;
      block_of_[i] = blocks_.size() - 1;
    }
    for (std::size_t b = 0; b != blocks_.size(); ++b) {
      describe(b);
    }
  }

  void describe(std::size_t b) {
    basic_block& of = blocks_[b];
    for (std::size_t i = of.begin; i != of.end; ++i) {
      const bool is_guarded = code_[i].guard != no_place;
      each_register(i, [&](std::size_t r, bool is_written) {
        if (!is_written && !of.writes.test(r)) {
          of.reads.set(r);
        }
      });
      // A write that a guard may skip leaves the old value alive.
      each_register(i, [&](std::size_t r, bool is_written) {
        if (is_written && !is_guarded) {
          of.writes.set(r);
        } else if (is_written && !of.writes.test(r)) {
          of.reads.set(r);
        }
      });
    }
    const instruction& last = code_[of.end - 1];
    if (last.ctl == control::branch) {
      of.successors.push_back(block_of_target(last.target));
    } else if (last.ctl == control::branch_indexed) {
      for (const std::uint32_t target : draft_.made.branch_tables[last.target]) {
        of.successors.push_back(block_of_target(target));
      }
    }
    if (!ends_flow(last) && b + 1 < blocks_.size()) {
      of.successors.push_back(b + 1);
    }
  }
  [[nodiscard]] std::size_t block_of_target(std::uint32_t target) const {
    return block_of_[target];
  }

  void find_live() {
    for (bool changed = true; changed;) {
      changed = false;
      for (std::size_t b = blocks_.size(); b-- != 0;) {
        basic_block& of = blocks_[b];
        for (std::size_t word = 0; word != of.live_in.words().size(); ++word) {
          std::uint64_t out = 0;
          for (const std::size_t next : of.successors) {
            out |= blocks_[next].live_in.words()[word];
          }
          const std::uint64_t in = of.reads.words()[word] | (out & ~of.writes.words()[word]);
          of.live_out.words()[word] = out;
          changed |= in != of.live_in.words()[word];
          of.live_in.words()[word] = in;
        }
      }
    }
  }

  // Even positions read, odd ones write, so that a result may take the place of a last operand.
  void find_intervals() {
    intervals_.resize(draft_.lane_bytes.size());
    for (const basic_block& of : blocks_) {
      for (std::size_t r = 0; r != intervals_.size(); ++r) {
        if (of.live_in.test(r)) {
          intervals_[r].touch(2 * of.begin);
        }
        if (of.live_out.test(r)) {
          intervals_[r].touch(2 * of.end);
        }
      }
      for (std::size_t i = of.begin; i != of.end; ++i) {
        each_register(i, [&](std::size_t r, bool is_written) {
          intervals_[r].touch(2 * i + (is_written ? 1 : 0));
        });
      }
    }
    for (const auto& [which, at] : draft_.specials) {
      intervals_[at >> 1].touch(0);  // set before the first instruction
    }
  }

  void assign() {
    std::vector<std::size_t> order;
    for (std::size_t r = 0; r != intervals_.size(); ++r) {
      if (intervals_[r].low != ~std::size_t{0}) {
        order.push_back(r);
      }
    }
    std::sort(order.begin(), order.end(),
              [&](std::size_t a, std::size_t b) { return intervals_[a].low < intervals_[b].low; });
    slots_.resize(intervals_.size());
    for (const std::size_t r : order) {
      std::vector<std::size_t>& busy_until = busy_.at(class_of(r));
      std::size_t slot = 0;
      while (slot != busy_until.size() && busy_until[slot] >= intervals_[r].low) {
        ++slot;
      }
      if (slot == busy_until.size()) {
        busy_until.push_back(0);
      }
      busy_until[slot] = intervals_[r].high;
      slots_[r] = slot;
    }
  }

  void rewrite() {
    kernel& made = draft_.made;
    std::uint64_t at = 0;
    for (std::size_t size = classes; size-- != 0;) {
      base_.at(size) = at;
      at = align_up(at + busy_.at(size).size() * slot_bytes(size), 64);
    }
    made.register_bytes = static_cast<std::uint32_t>(std::max<std::uint64_t>(at, 64));
    made.registers =
        static_cast<std::uint32_t>(busy_[1].size() + busy_[2].size() + 2 * busy_[3].size());
    for (instruction& in : code_) {
      for (place& ref : in.ref) {
        if (is_register(ref)) {
          ref = final_place(ref >> 1);
        }
      }
      if (in.guard != no_place) {
        in.guard = final_place(in.guard >> 1);
      }
    }
    for (const auto& [which, ref] : draft_.specials) {
      made.specials.emplace_back(which, final_place(ref >> 1) >> 1);
    }
  }

  // Predicates, then lanes of 2, 4 and 8 bytes.
  static constexpr std::size_t classes = 4;
  [[nodiscard]] std::size_t class_of(std::size_t r) const {
    const int bytes = draft_.lane_bytes[r];
    return bytes == 0 ? 0 : bytes == 2 ? 1 : bytes == 4 ? 2 : 3;
  }
  static std::uint64_t slot_bytes(std::size_t size) {
    return size == 0 ? sizeof(lane_mask) : (std::uint64_t{1} << size) * lane_count;
  }
  [[nodiscard]] place final_place(std::size_t r) const {
    const std::size_t size = class_of(r);
    return static_cast<place>((base_.at(size) + slots_[r] * slot_bytes(size)) << 1);
  }

  draft& draft_;
  std::vector<instruction>& code_;
  std::vector<basic_block> blocks_;
  std::vector<std::size_t> block_of_;
  std::vector<interval> intervals_;
  std::array<std::vector<std::size_t>, classes> busy_;
  std::array<std::uint64_t, classes> base_{};
  std::vector<std::size_t> slots_;
};

}  // namespace

void allocate_registers(draft& of) {
  allocator(of).run();
}

}  // namespace cudasim
