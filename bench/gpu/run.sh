#!/usr/bin/env bash
# Builds the check and the benchmark for an NVIDIA GPU (sm_90a by default) with CUDA's nvcc, and runs both.
#   bench/gpu/run.sh [cases] [architecture]      BUILD_ONLY=1: without running
set -euo pipefail
cd "$(dirname "$0")/../.."
build=${BUILD_DIR:-build/gpu}
arch=${2:-90a}
mkdir -p "$build"
cuda=$(dirname "$(dirname "$(readlink -f "$(command -v nvcc)")")")
sources=(src/base/{result,dtype,cpu_affinity,control_group,memory}.cc
  src/device/{cpu_info,cpu_features,thread_pool}.cc
  src/attention/{attention_spec,attention_batch,kv_cache,merge,planner,planned_work,cache_ops,packed_cache,feature_check}.cc
  src/attention/testing/{attention_case,attention_expectation}.cc bench/gpu/{check_cuda,cuda_backend}.cc)
include=(-std=c++20 -Iinclude -Isrc -Ibench/gpu "-I$cuda/include")
nvcc=(nvcc -O3 --split-compile 0 ${NVCC_FLAGS:-} -gencode "arch=compute_$arch,code=sm_$arch" "${include[@]}")
"${nvcc[@]}" -c bench/gpu/cuda_attention.cu -o "$build/cuda_attention.o" &
kernels=$!
"${nvcc[@]}" -c bench/gpu/time_attention.cu -o "$build/time_attention.o" &
objects=()
for source in "${sources[@]}"; do
  object=$build/$(echo "$source" | tr / _).o
  objects+=("$object")
  if [[ $object -nt $source && -n ${KEEP_OBJECTS:-} ]]; then continue; fi
  g++ -O2 "${include[@]}" -c "$source" -o "$object" &
  if (( ${#objects[@]} % $(nproc) == 0 )); then wait -n; fi
done
wait "$kernels"
wait
nvcc "${objects[@]}" "$build/cuda_attention.o" -o "$build/check_cuda" -lpthread
nvcc "${objects[@]:0:17}" "$build"/{cuda_attention,time_attention}.o -o "$build/time_attention" -lpthread
if [[ -n ${BUILD_ONLY:-} ]]; then exit 0; fi
"$build/check_cuda" "${1:-200}"
"$build/time_attention"
