#!/usr/bin/env bash
# Builds and runs the check on a machine with an NVIDIA GPU (sm_90a by default) and CUDA's nvcc; needs nothing else.
#   bench/gpu/run.sh [cases] [architecture]
set -euo pipefail
cd "$(dirname "$0")/../.."
build=${BUILD_DIR:-build/gpu}
arch=${2:-90a}
mkdir -p "$build"
sources=(src/base/{result,dtype,thread_pool,cpu_affinity,control_group,memory}.cc
  src/device/{cpu_info,cpu_features}.cc
  src/attention/{attention_spec,attention_batch,kv_cache,merge,planner,planned_work,cache_ops,feature_check}.cc
  src/attention/testing/{attention_case,attention_expectation}.cc bench/gpu/check_cuda.cc)
objects=()
for source in "${sources[@]}"; do
  object=$build/$(echo "$source" | tr / _).o
  g++ -std=c++20 -O2 -Iinclude -Isrc -Ibench/gpu -c "$source" -o "$object" &
  objects+=("$object")
  if (( ${#objects[@]} % $(nproc) == 0 )); then wait; fi
done
nvcc -std=c++20 -O3 -gencode "arch=compute_$arch,code=sm_$arch" -Iinclude -Isrc -Ibench/gpu \
  -c bench/gpu/cuda_backend.cu -o "$build/cuda_backend.o"
wait
nvcc "${objects[@]}" "$build/cuda_backend.o" -o "$build/check_cuda" -lpthread
"$build/check_cuda" "${1:-200}"
