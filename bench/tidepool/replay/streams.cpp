// SPDX-License-Identifier: Apache-2.0
//
// The streams of one replay.
#include "tidepool/replay/streams.hpp"

#include "tidepool/replay/device_streams.hpp"

#include <new>

namespace tidepool::bench {

result<replay_streams> replay_streams::make(pool& target, device where,
                                            std::size_t count) noexcept {
  try {
    replay_streams made(target, where);
    made.refs_.reserve(count + 1);
    for (std::size_t i = 0; i < count; ++i) {
      if (const status added = made.add(); added.code != errc::ok) {
        return added;
      }
    }
    return made;
  } catch (const std::bad_alloc&) {
    return errc::out_of_memory;
  }
}

// Pre: there is room for one more.
status replay_streams::add() noexcept {
  const result<stream_ref> made = make_device_stream(where_);
  if (!made) {
    return made.error();
  }
  const result<stream_ref> attached = target_->attach(where_, *made);
  if (!attached) {
    destroy_device_stream(*made);
    return attached.error();
  }
  refs_.push_back(*attached);
  return {};
}

replay_streams::~replay_streams() {
  // [0] is not ours; all are gone from what was moved.
  for (std::size_t i = 1; i < refs_.size(); ++i) {
    (void)target_->retire(where_, refs_[i]);
    destroy_device_stream(refs_[i]);
  }
}

}  // namespace tidepool::bench
