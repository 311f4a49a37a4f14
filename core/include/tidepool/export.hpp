// SPDX-License-Identifier: Apache-2.0
//
// Symbol visibility. Everything is hidden by default; what carries TIDEPOOL_EXPORT is the ABI.
#pragma once

#define TIDEPOOL_EXPORT __attribute__((visibility("default")))
