#!/usr/bin/env bash
# Builds the attention library for 64-bit ARM and runs its CPU backends on an emulated processor: the same kernel source,
# another instruction set. One thread: the emulator of Debian 12 can hang where a program starts threads. The libraries of
# that architecture are unpacked into the build folder, never installed.
set -euo pipefail
cd "$(dirname "$0")/.."

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

scripts/build.sh aarch64 attention_threads_test attention_conformance_test
QEMU_LD_PREFIX=/usr/aarch64-linux-gnu QEMU_SET_ENV=LD_LIBRARY_PATH="$packages/root/usr/lib/aarch64-linux-gnu" \
  timeout 120 qemu-aarch64-static build/aarch64/src/attention/attention_threads_test --gtest_brief=1 --gtest_filter='*/0'
