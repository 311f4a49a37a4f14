// SPDX-License-Identifier: Apache-2.0
//
// The steps of a C program that use tensors. Where this knows the answer, it requires it; where it
// passes nonsense, any error is right and any success is not.
#include "c_api_calls.hpp"

#include <algorithm>
#include <array>
#include <iterator>

namespace tidepool::fuzz {
c_program::c_program(input& in) : in_(in) {
  tidepool_cpu_backend_options host{};
  host.size = sizeof host;
  host.arena_bytes = std::size_t{64} << 20;
  host.huge_pages = TIDEPOOL_CPU_HUGE_PAGES_NEVER;
  tidepool_backend* backend = nullptr;
  require(tidepool_cpu_backend_create(&host, &backend) == TIDEPOOL_OK, "a backend is made");
  tidepool_pool_options how{};
  how.size = sizeof how;
  const std::uint8_t kind = in_.byte();
  how.limit_bytes = (kind & 1) != 0 ? std::size_t{16} << 20 : 0;
  how.thread_cache_bytes = (kind & 2) != 0 ? TIDEPOOL_NOTHING : 0;
  how.max_tensors = 4096;
  how.on_misuse = [](const tidepool_misuse_report*, void* self) {
    ++static_cast<c_program*>(self)->misuses_;
  };
  how.misuse_context = this;
  require(tidepool_pool_create(&backend, 1, &how, &pool_) == TIDEPOOL_OK, "a pool is made");
}

c_program::~c_program() {
  tidepool_pool_destroy(pool_);
}

void c_program::step() {
  switch (in_.byte() % 16) {
  case 0:
  case 1:
  case 2:
  case 3:
    return allocate();
  case 4:
    return allocate_many();
  case 5:
    return adopt();
  case 6:
    return slice();
  case 7:
  case 8:
  case 9:
    return references();
  case 10:
    return resize();
  case 11:
    return change();
  case 12:
    return look();
  case 13:
    return in_.byte() % 2 == 0 ? names() : texts();
  case 14:
    return memory();
  default:
    return nulls();
  }
}

// A tensor ever made, mostly a living one.
tidepool_tensor_id c_program::pick() {
  const std::size_t which = in_.byte();
  if (which % 8 != 0 && !live_.empty()) {
    return std::next(live_.begin(), static_cast<std::ptrdiff_t>(which / 8 % live_.size()))->first;
  }
  return ever_.empty() ? 0 : ever_[which % ever_.size()];
}

// One bit or one number beside a right id; never an id that lives.
tidepool_tensor_id c_program::forged() {
  const std::uint8_t kind = in_.byte();
  const tidepool_tensor_id id =
      kind % 4 == 0 ? in_.number<std::uint64_t>() : pick() ^ std::uint64_t{1} << kind / 4;
  return live_.count(id) != 0 ? 0 : id;
}

void c_program::add(const tidepool_tensor& made, std::size_t bytes, bool owns_block) {
  require(made.id != 0 && live_.count(made.id) == 0, "an id is new");
  known t;
  t.data = static_cast<unsigned char*>(made.data);
  t.bytes = bytes;
  t.owns_block = owns_block && bytes != 0;
  t.pattern = ++pattern_;
  require((made.data == nullptr) == (bytes == 0), "data is null for zero bytes only");
  if (t.owns_block) {
    t.data[0] = t.pattern;
    t.data[bytes - 1] = t.pattern;
  }
  live_.emplace(made.id, t);
  ever_.push_back(made.id);
}

// One reference fewer; with the last the tensor and perhaps its parent end.
void c_program::drop(tidepool_tensor_id id) {
  while (id != 0) {
    known& t = live_.at(id);
    if (t.own + t.pins + t.parts != 0) {
      return;
    }
    require(!t.owns_block || (t.data[0] == t.pattern && t.data[t.bytes - 1] == t.pattern),
            "a block belongs to one tensor");
    const tidepool_tensor_id parent = t.parent;
    live_.erase(id);
    if (parent != 0) {
      --live_.at(parent).parts;
    }
    id = parent;
  }
}

void c_program::expect(tidepool_tensor_id id, tidepool_status code) {
  require(code == (live_.count(id) != 0 ? TIDEPOOL_OK : TIDEPOOL_STALE_ID),
          "only the living can be used");
}

tidepool_allocation_options c_program::options() {
  auto how = sized<tidepool_allocation_options>(in_);
  const std::uint8_t kind = in_.byte();
  how.alignment = (kind & 1) != 0 ? std::size_t{1} << in_.byte() % 24 : 0;
  how.alignment += (kind & 128) != 0 ? in_.byte() : 0;
  how.category = (kind & 2) != 0 ? in_.byte() : 0;
  how.lifecycle = (kind & 4) != 0 ? in_.byte() : 0;
  how.key = (kind & 8) != 0 ? in_.byte() : 0;
  how.name = (kind & 16) != 0 ? in_.byte() : 0;
  how.movable = kind & 32;
  how.tracked = kind & 64;
  return how;
}

void c_program::allocate() {
  const std::uint8_t kind = in_.byte();
  const std::size_t bytes = kind == 255 ? in_.number<std::uint64_t>() : in_.size(21);
  const tidepool_device where = kind == 254 ? in_.number<std::uint32_t>() : tidepool_device_cpu();
  tidepool_tensor made{&in_, 1};
  tidepool_status code = TIDEPOOL_OK;
  if (kind % 2 == 0) {
    code = tidepool_allocate(pool_, bytes, where, nullptr, &made);
  } else {
    const auto how = options();
    if (!fits(how)) {
      return;
    }
    code = tidepool_allocate(pool_, bytes, where, &how, &made);
  }
  if (code == TIDEPOOL_OK) {
    add(made, bytes, true);
  } else {
    require(made.data == nullptr && made.id == 0, "a failed call leaves nothing");
  }
}

void c_program::allocate_many() {
  std::array<tidepool_tensor, 8> made{};
  const std::size_t count = in_.byte() % 9;
  const std::size_t bytes = in_.size(18);
  if (tidepool_allocate_n(pool_, bytes, tidepool_device_cpu(), nullptr, made.data(), count) !=
      TIDEPOOL_OK) {
    return;
  }
  std::vector<tidepool_tensor_id> ids;
  for (std::size_t i = 0; i < count; ++i) {
    add(made[i], bytes, true);
    ids.push_back(made[i].id);
  }
  if (in_.byte() % 2 == 0) {
    for (const tidepool_tensor_id id : ids) {
      live_.at(id).own = 0;
      drop(id);
    }
    ids.push_back(0);
    require(tidepool_deallocate_n(pool_, ids.data(), ids.size()) == TIDEPOOL_OK, "all are freed");
  }
}

void c_program::adopt() {
  auto how = sized<tidepool_adopt_options>(in_);
  if (!fits(how)) {
    return;
  }
  how.release = [](void*, size_t, void* self) {
    if (self != nullptr) {  // a struct may end between the callback and its context
      --static_cast<c_program*>(self)->adopted_;
    }
  };
  how.context = this;
  how.key = in_.byte() % 8 == 0 ? in_.byte() : 0;
  tidepool_tensor made{};
  const std::size_t bytes = in_.byte();
  const bool none = in_.byte() % 8 == 0;
  const tidepool_status code = tidepool_adopt(pool_, none || bytes == 0 ? nullptr : foreign_, bytes,
                                              tidepool_device_cpu(), &how, &made);
  require(!none || bytes == 0 || code != TIDEPOOL_OK, "null data with a size is refused");
  if (code == TIDEPOOL_OK) {
    adopted_ += how.size >= offsetof(tidepool_adopt_options, context) + sizeof(void*) ? 1 : 0;
    add(made, bytes, false);
  }
}

void c_program::slice() {
  const tidepool_tensor_id of = pick();
  const std::size_t offset = in_.size(20);
  const std::size_t bytes = in_.size(20);
  tidepool_tensor made{};
  const tidepool_status code = tidepool_slice(pool_, of, offset, bytes, &made);
  const auto whole = live_.find(of);
  if (whole == live_.end()) {
    require(code == TIDEPOOL_STALE_ID, "a slice of the dead");
    return;
  }
  const std::size_t length = whole->second.bytes;
  if (offset > length || bytes > length - offset) {
    require(code == TIDEPOOL_INVALID_ARGUMENT, "a slice outside");
  } else if (code == TIDEPOOL_OK) {
    known part;
    part.parent = of;
    part.data = static_cast<unsigned char*>(made.data);
    part.bytes = bytes;
    ++whole->second.parts;
    live_.emplace(made.id, part);
    ever_.push_back(made.id);
  } else {
    require(code == TIDEPOOL_TOO_MANY, "a slice inside");
  }
}

void c_program::references() {
  const std::uint8_t kind = in_.byte() % 8;
  const tidepool_tensor_id id = kind == 7 ? forged() : pick();
  const auto t = live_.find(id);
  const bool lives = t != live_.end();
  if (kind == 0) {
    expect(id, tidepool_retain(pool_, id));
    if (lives) {
      ++t->second.own;
    }
  } else if (kind == 1) {
    void* data = nullptr;
    expect(id, tidepool_pin(pool_, id, &data));
    if (lives) {
      require(data == t->second.data, "pin answers the address");
      ++t->second.pins;
    }
  } else if (kind == 2 && lives && t->second.pins == 0) {
    require(tidepool_unpin(pool_, id) == TIDEPOOL_INVALID_ARGUMENT, "unpin without pin");
  } else if (kind == 2) {
    if (lives) {
      --t->second.pins;
      drop(id);
    }
    require(tidepool_unpin(pool_, id) == (lives ? TIDEPOOL_OK : TIDEPOOL_STALE_ID), "unpin");
  } else {
    // Pins and slices keep their references: a free ends an owner's, or is a misuse.
    const bool owned = lives && t->second.own != 0;
    if (owned) {
      --t->second.own;
      drop(id);
    }
    const tidepool_status code =
        kind == 3   ? tidepool_release(pool_, id)
        : kind == 4 ? tidepool_deallocate_on(pool_, id, {foreign_, in_.byte() % 4U, in_.byte()})
                    : tidepool_deallocate(pool_, id);
    require(code == (owned || id == 0 ? TIDEPOOL_OK : TIDEPOOL_STALE_ID), "a free");
  }
}

void c_program::resize() {
  const tidepool_tensor_id id = pick();
  const std::size_t bytes = in_.size(22);
  const tidepool_status code = tidepool_resize(pool_, id, bytes);
  const auto t = live_.find(id);
  if (t == live_.end()) {
    require(code == TIDEPOOL_STALE_ID, "a resize of the dead");
  } else if (code == TIDEPOOL_OK && bytes != t->second.bytes) {
    require(t->second.owns_block, "only a block has room");
    t->second.bytes = bytes;
    t->second.data[0] = t->second.pattern;
    t->second.data[bytes - 1] = t->second.pattern;
  }
}

void c_program::change() {
  const std::uint8_t kind = in_.byte();
  const tidepool_tensor_id id = kind % 8 == 0 ? forged() : pick();
  const tidepool_status code = kind % 3 == 0   ? tidepool_set_lifecycle(pool_, id, in_.byte() % 8)
                               : kind % 3 == 1 ? tidepool_set_category(pool_, id, in_.byte() % 32)
                                               : tidepool_set_name(pool_, id, in_.byte() % 4U);
  require(code == TIDEPOOL_INVALID_ARGUMENT || live_.count(id) != 0 || code == TIDEPOOL_STALE_ID,
          "the dead cannot be changed");
}

void c_program::look() {
  const std::uint8_t kind = in_.byte();
  const tidepool_tensor_id id = kind % 8 == 0 ? forged() : pick();
  const auto t = live_.find(id);
  auto info = sized<tidepool_tensor_info>(in_);
  if (fits(info)) {
    const bool whole = info.size == sizeof info;
    const tidepool_status code = tidepool_info(pool_, id, &info);
    if (whole) {
      expect(id, code);
      require(code != TIDEPOOL_OK ||
                  (info.id == id && info.bytes == t->second.bytes && info.data == t->second.data &&
                   info.pins == t->second.pins &&
                   info.references == t->second.own + t->second.pins + t->second.parts),
              "info is right");
    }
  }
  tidepool_tensor_id answer = 1;
  if (t != live_.end() && t->second.owns_block) {
    require(tidepool_find(pool_, t->second.data, &answer) == TIDEPOOL_OK && answer == id, "find");
    const std::size_t aside = 1 + in_.byte() % 63U;
    require(tidepool_find(pool_, t->second.data + aside, &answer) == TIDEPOOL_NOT_FOUND,
            "no tensor begins between two cache lines");
  }
  const tidepool_status code = tidepool_find_key(pool_, in_.byte(), &answer);
  require(code == TIDEPOOL_NOT_FOUND || live_.count(answer) != 0, "a key of the living");
}

}  // namespace tidepool::fuzz
