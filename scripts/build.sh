#!/usr/bin/env bash
# Configures and builds one preset, quietly: the log is printed only where something fails.
#
#   scripts/build.sh PRESET [TARGET...]
set -euo pipefail
cd "$(dirname "$0")/.."

preset=$1
shift
log=build/$preset.log
mkdir -p build
started=$SECONDS
if ! { cmake --preset "$preset" && cmake --build --preset "$preset" ${@:+--target "$@"}; } >"$log" 2>&1; then
  tail -n 60 "$log" >&2
  echo "the $preset build failed; the whole log is $log" >&2
  exit 1
fi
echo "built $preset in $((SECONDS - started)) s"
