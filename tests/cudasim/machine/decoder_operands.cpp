// SPDX-License-Identifier: Apache-2.0
//
// The decoder's operands: registers, special registers, constants (one place for each value), and
// the addresses of variables.
#include "machine/decoder.hpp"

#include <bit>
#include <cstring>

namespace cudasim {
namespace {

const std::map<std::string, special, std::less<>> special_names{
    {"%tid.x", special::tid_x},
    {"%tid.y", special::tid_y},
    {"%tid.z", special::tid_z},
    {"%ntid.x", special::ntid_x},
    {"%ntid.y", special::ntid_y},
    {"%ntid.z", special::ntid_z},
    {"%ctaid.x", special::ctaid_x},
    {"%ctaid.y", special::ctaid_y},
    {"%ctaid.z", special::ctaid_z},
    {"%nctaid.x", special::nctaid_x},
    {"%nctaid.y", special::nctaid_y},
    {"%nctaid.z", special::nctaid_z},
    {"%laneid", special::laneid},
    {"%warpid", special::warpid},
    {"%nwarpid", special::nwarpid},
    {"%smid", special::smid},
    {"%nsmid", special::nsmid},
    {"%gridid", special::gridid},
    {"%lanemask_eq", special::lanemask_eq},
    {"%lanemask_lt", special::lanemask_lt},
    {"%lanemask_le", special::lanemask_le},
    {"%lanemask_gt", special::lanemask_gt},
    {"%lanemask_ge", special::lanemask_ge},
    {"%dynamic_smem_size", special::dynamic_shared},
    {"%total_smem_size", special::total_shared},
    {"%envreg1", special::workspace_high},
    {"%envreg2", special::workspace_low},
};

}  // namespace

bool decoder::is_register(const ptx::operand& o) const {
  return o.form == ptx::operand::kind::name &&
         frame_->of->registers.find(o.name) != frame_->of->registers.end();
}

int decoder::width(const ptx::operand& o) {
  if (o.form != ptx::operand::kind::name) {
    return -1;
  }
  if (const auto found = frame_->of->registers.find(o.name); found != frame_->of->registers.end()) {
    return found->second == ptx::type::pred ? 0 : register_bytes(found->second);
  }
  return special_names.find(o.name) != special_names.end() ? 4 : -1;
}

place decoder::destination(const ptx::operand& o) {
  return o.name == "_" ? no_place : register_named(o.name);
}

place decoder::source(const ptx::operand& o, int bytes) {
  if (o.form == ptx::operand::kind::immediate) {
    std::uint64_t bits = o.bits;
    if (o.immediate_type == ptx::type::f64 && bytes == 4) {
      bits = std::bit_cast<std::uint32_t>(static_cast<float>(std::bit_cast<double>(bits)));
    }
    return bytes != 0 ? constant(bits, bytes) : constant(bits != 0 ? ~std::uint64_t{0} : 0, 0);
  }
  if (o.form != ptx::operand::kind::name) {
    invalid("an operand of a kind that this instruction does not take");
  }
  if (is_register(o)) {
    return register_named(o.name);
  }
  if (const auto found = special_names.find(o.name); found != special_names.end()) {
    return special_register(found->second);
  }
  if (const std::optional<location> found = variable_named(o.name)) {
    return constant(found->offset + o.bits, bytes != 0 ? bytes : 8);
  }
  invalid("unknown name " + o.name);
}

// Constants are stored once per lane, so that handlers read them like registers.
place decoder::constant(std::uint64_t bits, int bytes) {
  const auto [found, is_new] = constants_.try_emplace({bits, bytes}, no_place);
  if (is_new) {
    std::vector<char>& table = draft_.made.constants;
    const std::size_t lane = bytes != 0 ? static_cast<std::size_t>(bytes) : sizeof(lane_mask);
    const std::size_t count = bytes != 0 ? lane_count : 1;
    const std::size_t at = align_up(table.size(), 32);
    table.resize(at + lane * count);
    for (std::size_t i = 0; i != count; ++i) {
      std::memcpy(&table[at + i * lane], &bits, lane);
    }
    found->second = static_cast<place>(at << 1 | 1);
  }
  return found->second;
}

place decoder::new_register(int bytes) {
  draft_.lane_bytes.push_back(bytes);
  return static_cast<place>((draft_.lane_bytes.size() - 1) << 1);
}

place decoder::register_named(const std::string& name) {
  const auto [found, is_new] = frame_->registers.try_emplace(name, no_place);
  if (is_new) {
    const auto declared = frame_->of->registers.find(name);
    if (declared == frame_->of->registers.end()) {
      frame_->registers.erase(found);
      invalid("unknown register " + name);
    }
    found->second =
        new_register(declared->second == ptx::type::pred ? 0 : register_bytes(declared->second));
  }
  return found->second;
}

place decoder::special_register(special wanted) {
  const auto [found, is_new] = draft_.specials.try_emplace(wanted, no_place);
  if (is_new) {
    found->second = new_register(4);
  }
  return found->second;
}

std::optional<decoder::location> decoder::variable_named(const std::string& name) const {
  if (const auto found = frame_->variables.find(name); found != frame_->variables.end()) {
    return found->second;
  }
  if (const auto found = shared_.find(name); found != shared_.end()) {
    return location{space::shared, found->second};
  }
  if (const auto found = symbols_.find(name); found != symbols_.end()) {
    return location{space::global, found->second};
  }
  return std::nullopt;
}

}  // namespace cudasim
