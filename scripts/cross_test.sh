#!/usr/bin/env bash
# Builds the attention library for 64-bit ARM and runs its conformance test on an emulated processor: the same kernel
# source, another instruction set.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/build.sh aarch64 attention_conformance_test
QEMU_LD_PREFIX=/usr/aarch64-linux-gnu TESSERA_TEST_SCALE=${TESSERA_TEST_SCALE:-0.1} \
  qemu-aarch64-static build/aarch64/src/attention/attention_conformance_test --gtest_brief=1
