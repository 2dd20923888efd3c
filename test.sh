#!/usr/bin/env bash
# Everything that is checked on each commit: what quickstart.sh does, then the tests in several builds, and the static
# checks. Ends with the tests of the release build. Takes most of an hour on two cores, and prints what
# each stage took. What drives the browser that tests the web page, and OpenAI's client, come from PyPI.
#
#   ./test.sh                 clang-tidy reads what scripts/tidy_checked.txt does not name as passed, and adds it there: commit it
#   ./test.sh --tidy-all      clang-tidy reads every file
#
# TESSERA_TEST_SCALE (0.02 ... 1) sets how much of the long tests runs under the sanitizers.
set -euo pipefail
cd "$(dirname "$0")"

tidy=(--record)
for argument in "$@"; do
  case $argument in
    --tidy-all) tidy+=(--all) ;;
    *) echo "test.sh knows --tidy-all, not $argument" >&2; exit 2 ;;
  esac
done

jobs=$(nproc)
slow_scale=${TESSERA_TEST_SCALE:-0.1}
unset TESSERA_TEST_SCALE  # the release build is tested in full
stage=
times=
# Starts a stage; says how long the one before took.
step() {
  if [[ -n $stage ]]; then
    times+=$(printf '%6d s  %s' $((SECONDS - started)) "$stage")$'\n'
    printf '   (%d s)\n' $((SECONDS - started))
  fi
  stage=$1
  started=$SECONDS
  printf '\n== %s\n' "$stage"
}

step "packages"
scripts/install_deps.sh --test

step "format and shell syntax"
scripts/check_format.sh
bash -n scripts/*.sh fuzz/*.sh ./*.sh .ci/run

step "quick start"
./quickstart.sh

step "release build, g++, with kernels for GPUs that need not be here"
archs="gfx942;simt"  # scripts/nightly.sh compiles for the others
if command -v nvcc > /dev/null; then archs+=";sm_90a"; fi
TESSERA_DEVICE_ARCHS=${TESSERA_DEVICE_ARCHS:-$archs} scripts/build.sh release

step "whole answers from memory that is closed to the host"
build/release/tessera eval --device fenced --limit 50 --min-score 0.8

step "the web page, in a headless browser"
scripts/web_test.sh

step "OpenAI's client against the server"
tests/openai_client.sh

step "address and undefined-behaviour sanitizers, clang: build"
scripts/build.sh asan

step "address and undefined-behaviour sanitizers, clang: tests and fuzzing"
TESSERA_TEST_SCALE=$slow_scale ctest --preset asan -j "$jobs"

step "clang-tidy"
scripts/check_tidy.py build/asan "${tidy[@]}"

step "thread sanitizer, the tests with threads"
scripts/build.sh tsan tests_threads
TESSERA_TEST_SCALE=$slow_scale ctest --preset tsan -L threads --no-tests=error

step "64-bit ARM, emulated"
scripts/cross_test.sh

step "all tests of the release build, and the installed library"
printf 'seconds of each stage so far:\n%s' "$times"
ctest --preset release -j "$jobs"
