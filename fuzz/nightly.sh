#!/bin/sh
# Fuzzes every target for a while: nightly.sh [seconds each, 60]. Builds everything into build/fuzz, guided by what it covers, with clang
# (CXX, clang++-16 unless set) and sanitizers; inputs that were found stay in build/fuzz/fuzz/found.
set -eu
cd "$(dirname "$0")/.."
seconds=${1:-60}
cmake -S . -B build/fuzz -G Ninja -DCMAKE_BUILD_TYPE=RelWithDebInfo \
      -DCMAKE_CXX_COMPILER="${CXX:-clang++-16}" -DCMAKE_CXX_FLAGS_RELWITHDEBINFO="-O1 -g -fsanitize=fuzzer-no-link" \
      -DTESSERA_SANITIZE=address,undefined
failed=""
for source in fuzz/fuzz_*.cc; do
  target=$(basename "$source" .cc)
  name=${target#fuzz_}
  cmake --build build/fuzz --target "$target"
  mkdir -p "build/fuzz/fuzz/found/$name"
  echo "== $target, $seconds seconds"
  "build/fuzz/fuzz/$target" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=4096 \
      -print_final_stats=1 -artifact_prefix="build/fuzz/fuzz/$name-" \
      "build/fuzz/fuzz/found/$name" "fuzz/corpus/$name" || failed="$failed $target"
done
if [ -n "$failed" ]; then
  echo "failed:$failed" >&2
  exit 1
fi
