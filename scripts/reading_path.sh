#!/usr/bin/env bash
# Counts the files and lines that docs/architecture.md names for a reader of one decode step on a CPU.
set -euo pipefail
cd "$(dirname "$0")/.."
files=(
  src/cli/{main,generate,request}.cc
  src/engine/{engine,step_pipeline,step_builder,step_sampler,worker,scheduler,request_table,kv_memory}.cc
  src/engine/{step_batch,sequence}.h
  src/model/{decoder,weights}.cc src/model/families/llama.cc
  src/ops/cpu/{cpu_ops,gemm,gemm_kernels,packed_matrix,vector_ops,sampler}.cc
  src/attention/{planner,planned_work}.cc src/attention/backends/portable/portable_backend.cc
  src/attention/kernel/{paged_attention,attention_math}.inl src/attention/kernel/{item_rows,tiles,ops}.h
  src/attention/kernel/cpu/{tiles_simd-inl,few_rows-inl,simd_ops-inl,cpu_rows,wide_memory}.h
  src/device/cpu/{thread_pool,cpu_device}.cc
)
echo "${#files[@]} files, $(cat "${files[@]}" | wc -l) lines"
