#!/usr/bin/env bash
# Everything that is checked on each commit: what quickstart.sh does, then all tests in several builds, and the static
# checks. About half an hour on two cores the first time, much less with a warm compiler cache.
#
#   ./test.sh            TESSERA_TEST_SCALE (0.1 ... 1) shortens the random tests of the slower builds
set -euo pipefail
cd "$(dirname "$0")"

jobs=$(nproc)
slow_scale=${TESSERA_TEST_SCALE:-0.2}
step() { printf '\n== %s (%d min %02d s)\n' "$1" $((SECONDS / 60)) $((SECONDS % 60)); }

step "packages"
scripts/install_deps.sh --test

step "quick start"
./quickstart.sh

step "format and shell syntax"
scripts/check_format.sh
bash -n scripts/*.sh ./*.sh .ci/run

step "release build, g++"
scripts/build.sh release

step "address and undefined-behaviour sanitizers, clang"
scripts/build.sh asan
TESSERA_TEST_SCALE=$slow_scale ctest --preset asan --progress -j "$jobs" | tail -n 15

step "clang-tidy"
scripts/check_tidy.sh build/asan

step "thread sanitizer, the tests with threads"
threaded=(thread_pool_test engine_test cpu_ops_test attention_conformance_test)
scripts/build.sh tsan "${threaded[@]}"
TESSERA_TEST_SCALE=$slow_scale ctest --preset tsan -R "^($(IFS='|'; echo "${threaded[*]}"))\$" --no-tests=error |
  tail -n 15

step "64-bit ARM, emulated"
scripts/cross_test.sh

step "all tests of the release build"
ctest --preset release -j "$jobs"
