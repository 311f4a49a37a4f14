// SPDX-License-Identifier: Apache-2.0
//
// The translation unit that precompiles the headers of all tests (tests/CMakeLists.txt).
