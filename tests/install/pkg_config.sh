#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Builds and runs the C++ consumer and the C program of tests/c_api with what pkg-config says, and
# nothing else of ours.
#   pkg_config.sh <installed library folder> <c++ compiler> <folder for results> <shared: ON or OFF>
set -euo pipefail
library_dir=$1 cxx=$2 work=$3 shared=$4
here=$(cd "$(dirname "$0")" && pwd)
export PKG_CONFIG_PATH=$library_dir/pkgconfig
export LD_LIBRARY_PATH=$library_dir${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}

options=()
[ "$shared" = ON ] || options=(--static)
read -ra cflags <<<"$(pkg-config --cflags tidepool)"
read -ra libs <<<"$(pkg-config "${options[@]}" --libs tidepool)"
warnings=(-Wall -Wextra -Wpedantic -Werror)

"$cxx" -std=c++20 "${warnings[@]}" "${cflags[@]}" "$here/consumer.cpp" "${libs[@]}" \
  -o "$work/pkg_config_cpp"
"$work/pkg_config_cpp"
[ -f "$library_dir/../include/tidepool.h" ] || exit 0
"${CC:-cc}" -std=c11 "${warnings[@]}" "${cflags[@]}" "$here/../c_api/program.c" "${libs[@]}" \
  -o "$work/pkg_config_c"
"$work/pkg_config_c"
