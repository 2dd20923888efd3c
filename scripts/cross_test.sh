#!/usr/bin/env bash
# Builds the attention library for 64-bit ARM and runs a part of its tests on an emulated processor: the same kernel source,
# another instruction set. The libraries of that architecture are unpacked into the build folder, never installed.
#
#   scripts/cross_test.sh [GTEST_FILTER]       which part; emulation is some fifty times slower than the machine itself
set -euo pipefail
cd "$(dirname "$0")/.."
filter=${1:-Conformance.EmptyAndSingle:Conformance.SkippedSlotsKeepTheCache}

packages=$PWD/build/aarch64-packages
if [[ ! -e $packages/unpacked ]]; then
  rm -rf "$packages"
  mkdir -p "$packages"/{lists/partial,cache/archives/partial,root}
  apt=(apt-get -qq -o APT::Architecture=arm64 -o APT::Architectures=arm64 -o Dir::State::lists="$packages/lists"
       -o Dir::State::status=/dev/null -o Dir::Cache="$packages/cache" -o Debug::NoLocking=1
       -o APT::Sandbox::User="$(id -un)")
  "${apt[@]}" update
  (cd "$packages/cache" && "${apt[@]}" download libhwy1 libhwy-dev libgtest-dev libgmock-dev googletest)
  for package in "$packages"/cache/*.deb; do
    dpkg -x "$package" "$packages/root"
  done
  rm -rf "$packages"/{lists,cache}
  touch "$packages/unpacked"
fi

scripts/build.sh aarch64 attention_conformance_test
TESSERA_TEST_SCALE=${TESSERA_TEST_SCALE:-0.02} QEMU_LD_PREFIX=/usr/aarch64-linux-gnu \
  QEMU_SET_ENV=LD_LIBRARY_PATH="$packages/root/usr/lib/aarch64-linux-gnu" \
  qemu-aarch64-static build/aarch64/src/attention/attention_conformance_test --gtest_brief=1 --gtest_filter="$filter"
