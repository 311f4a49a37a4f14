#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Everything that a machine with a GPU can check. Needs no network: the compiler, CMake,
# GoogleTest and the CUDA toolkit are installed already. Exit status: 0 all is well, 1 something
# failed, 2 wrong usage.
set -uo pipefail

usage() {
  cat <<'TEXT'
usage: tests/gpu/run.sh [--output FOLDER] [--quick] [--help]

Builds the preset gpu and runs, one after the other:
  first_run   the probes of a real driver (tests/gpu/first_run --list)
  tests       every test with the label gpu; a test that skips is a failure
  sanitizer   memcheck, racecheck, synccheck over the suites with few seeds, where
              compute-sanitizer is installed
  replay      the committed traces, on the GPU
What they print goes to FOLDER (build/gpu-report), with a summary that is printed at the end.
--quick leaves the sanitizer out.
TEXT
}

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
output=$root/build/gpu-report
quick=no
while [ $# -gt 0 ]; do
  case $1 in
    --output) [ $# -gt 1 ] || { usage >&2; exit 2; }; output=$2; shift ;;
    --quick) quick=yes ;;
    --help) usage; exit 0 ;;
    *) usage >&2; exit 2 ;;
  esac
  shift
done
mkdir -p "$output" || exit 1
output=$(cd "$output" && pwd)
cd "$root" || exit 1
build=$root/build/gpu
export TIDEPOOL_REQUIRE_GPU=1
summary=$output/summary.txt
: > "$summary"
failed=0

# step <name> <file> <command>...: runs it, keeps what it prints, notes how it ended.
step() {
  local name=$1 file=$output/$2 begin=$SECONDS status
  shift 2
  echo "==> $name"
  "$@" > "$file" 2>&1
  status=$?
  if [ $status -eq 0 ]; then
    printf '%-28s ok       %5d s\n' "$name" $((SECONDS - begin)) >> "$summary"
  else
    printf '%-28s FAILED   %5d s  status %d, see %s\n' "$name" $((SECONDS - begin)) $status \
      "$file" >> "$summary"
    tail -20 "$file"
    failed=1
  fi
}

{
  date --utc +%Y-%m-%dT%H:%M:%SZ
  git -C "$root" rev-parse HEAD 2> /dev/null
  nvidia-smi 2> /dev/null || echo "no nvidia-smi"
} > "$output/machine.txt"

step configure configure.txt cmake --preset gpu
step build build.txt cmake --build --preset gpu
if [ $failed -ne 0 ]; then
  cat "$summary"
  exit 1
fi

first_run() {
  "$build/tests/gpu/first_run" > "$output/first_run.jsonl"
}
step first_run first_run.txt first_run
tail -25 "$output/first_run.txt"

step tests tests.txt ctest --preset gpu --output-on-failure

if [ $quick = no ]; then
  if command -v compute-sanitizer > /dev/null; then
    for tool in memcheck racecheck synccheck; do
      for program in cuda_backend_tests kinds/cuda_source_tests kinds/cuda_kinds_tests; do
        step "$tool $(basename "$program")" "$tool-$(basename "$program").txt" \
          env TIDEPOOL_TEST_SEEDS=2 compute-sanitizer --tool "$tool" --error-exitcode 86 \
          --target-processes all "$build/tests/cuda/$program" --gtest_brief=1 \
          '--gtest_filter=-*Fault*:*Fork*'
      done
    done
  else
    echo "sanitizer                    left out: no compute-sanitizer is installed" >> "$summary"
  fi
fi

tidepool=$build/bench/tidepool/tidepool
for trace in "$root"/bench/traces/*.tpt; do
  [ -f "$trace" ] || continue
  step "replay $(basename "$trace")" "replay-$(basename "$trace").txt" \
    "$tidepool" replay --device cuda:0 --passes 3 "$trace"
done

echo
cat "$summary"
exit $failed
