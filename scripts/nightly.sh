#!/usr/bin/env bash
# What takes too long for each commit: kernels for every GPU architecture (test.sh: sm_90a and gfx942), the build without
# precompiled headers, clang-tidy over every source, and fuzzing.
#
#   scripts/nightly.sh [seconds for each fuzz target, 600]
set -euo pipefail
cd "$(dirname "$0")/.."

scripts/install_deps.sh --test

printf '\n== kernels for every architecture, and the build with them\n'
found=$(cmake -S . -B build/all -G Ninja -DCMAKE_BUILD_TYPE=Release -DTESSERA_DEVICE_ARCHS=all | grep -i '^-- .*kernels')
echo "$found"
if [[ $found == *"No kernels for"* ]]; then
  echo "a compiler is missing: nothing was built" >&2
  exit 1
fi
cmake --build build/all

printf '\n== clang-tidy\n'
scripts/build.sh asan
scripts/check_tidy.py build/asan --all

printf '\n== fuzzing\n'
fuzz/nightly.sh "${1:-600}"
