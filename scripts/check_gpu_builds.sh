#!/usr/bin/env bash
# Compiles the attention kernel for GPUs that need not be here, with the compilers that are: sm_90a with nvcc, gfx90a, gfx942
# and gfx1200 with clang++-19 (no ROCm needed). Fails where an instance is without matrix instructions, keeps registers in
# memory, or uses scratch memory. Takes half a minute of one core.
#   scripts/check_gpu_builds.sh        REQUIRE="nvcc clang++-19": fails where one of these is missing
set -euo pipefail
cd "$(dirname "$0")/.."
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
source=scripts/gpu_kernels.cc
kernels=(few_rows many_rows few_rows_fp8 many_rows_fp8 few_rows_fp8_256 many_rows_fp8_256)
failed=0
fail() {
  echo "GPU builds: $*" >&2
  failed=1
}
for tool in ${REQUIRE:-}; do
  command -v "$tool" > /dev/null || fail "$tool is missing"
done

# The largest number that follows a key of a code object's metadata, over all kernels.
largest() { grep -oE "$1: *[0-9]+" "$2" | grep -oE '[0-9]+$' | sort -n | tail -1; }

if command -v clang++-19 > /dev/null; then
  for target in gfx90a gfx942 gfx1200; do
    assembly=$out/$target.s
    clang++-19 -std=c++20 -x hip -nogpuinc -nogpulib --offload-arch="$target" --offload-device-only \
      --no-gpu-bundle-output -O3 -Iinclude -Isrc -S -o "$assembly" "$source"
    # Each attention kernel by itself: from its label to its end.
    for kernel in "${kernels[@]}"; do
      count=$(sed -n "/^$kernel:/,/^\.Lfunc_end/p" "$assembly" | grep -cE 'v_(mfma|wmma)_f32' || true)
      echo "$target $kernel: $count matrix instructions"
      (( count > 0 )) || fail "$target $kernel has no matrix instruction"
    done
    spills=$(largest '\.vgpr_spill_count' "$assembly")
    scratch=$(largest '\.private_segment_fixed_size' "$assembly")
    echo "$target: vector registers $(largest '\.vgpr_count' "$assembly"), spilled $spills, scratch $scratch bytes"
    [[ $spills == 0 ]] || fail "$target spills $spills vector registers"
    [[ $scratch == 0 ]] || fail "$target uses $scratch bytes of scratch memory"
  done
else
  echo "GPU builds: no clang++-19, so nothing for AMD"
fi

if command -v nvcc > /dev/null; then
  nvcc -std=c++20 -O3 -x cu -gencode arch=compute_90a,code=sm_90a -Iinclude -Isrc -Xptxas -v --keep \
    --keep-dir "$out" -cubin -o "$out/kernels.cubin" "$source" 2> "$out/log" || { cat "$out/log"; exit 1; }
  ptx=$(ls "$out"/*.ptx)
  for kernel in "${kernels[@]}"; do
    body=$(sed -n "/\.entry $kernel(/,/^}/p" "$ptx")
    count=$(grep -c 'mma.sync' <<< "$body" || true)
    echo "sm_90a $kernel: $count matrix instructions"
    (( count > 0 )) || fail "sm_90a $kernel has no matrix instruction"
    grep -q 'ldmatrix' <<< "$body" || fail "sm_90a $kernel has no ldmatrix"
    grep -q 'cp.async' <<< "$body" || fail "sm_90a $kernel has no cp.async"
  done
  spills=$(grep -oE '[0-9]+ bytes spill stores' "$out/log" | sort -n | tail -1)
  echo "sm_90a: $(grep -oE 'Used [0-9]+ registers' "$out/log" | paste -sd,), at most $spills"
  (( ${spills%% *} == 0 )) || fail "sm_90a: $spills"
else
  echo "GPU builds: no nvcc, so nothing for NVIDIA"
fi
exit "$failed"
