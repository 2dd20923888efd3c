#!/usr/bin/env bash
# Checks the portable backend on this machine's GPU, and times it.
#   bench/gpu/run.sh [device] [cases]        "cuda" and 200, if they are not given
#   BUILD_ONLY=1     builds without running; the folder build/gpu/bin then has all that a machine with a GPU needs: this
#                    script, the programs and the libraries beside glibc's and g++'s that they use
#   RUN_ONLY=1       runs what is in BIN (by default the folder of this script) without building
# Building takes CMake, Ninja, g++, python3, Debian's libhwy-dev, and nvcc (or clang++-19 for AMD); no GPU.
# TESSERA_DEVICE_ARCHS chooses the GPUs to build for: auto by default.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
if [[ -z ${RUN_ONLY:-} ]]; then
  cd "$here/../.."
  cmake -S . -B build/gpu -G Ninja -DCMAKE_BUILD_TYPE=Release -DTESSERA_ENGINE=OFF \
    -DTESSERA_DEVICE_ARCHS="${TESSERA_DEVICE_ARCHS:-auto}" > /dev/null
  cmake --build build/gpu --target check_gpu time_attention gpu_device_test
  BIN=build/gpu/bin
  mkdir -p "$BIN"
  cp build/gpu/bench/gpu/check_gpu build/gpu/bench/gpu/time_attention build/gpu/src/device/gpu_device_test \
    bench/gpu/run.sh "$BIN"
  ldd "$BIN"/check_gpu "$BIN"/gpu_device_test | awk '/libhwy|libgtest|libgmock/ { print $3 }' | sort -u |
    while read -r library; do cp -L "$library" "$BIN"; done
fi
BIN=${BIN:-$here}
[[ -z ${BUILD_ONLY:-} ]] || exit 0
export LD_LIBRARY_PATH=$BIN:${LD_LIBRARY_PATH:-}
device=${1:-cuda}
TESSERA_TEST_DEVICE=$device "$BIN/gpu_device_test" --gtest_filter='GpuDeviceTest.*' --gtest_brief=1
"$BIN/check_gpu" "$device" "${2:-200}"
"$BIN/time_attention" "$device"
