#!/usr/bin/env bash
# Rewrites the table of docs/backends.md from the backends of a build.
#
#   scripts/update_backend_matrix.sh [build/release/tessera]
set -euo pipefail
tessera=$(realpath "${1:-$(dirname "$0")/../build/release/tessera}")
cd "$(dirname "$0")/.."

page=docs/backends.md
new=$(mktemp)
trap 'rm -f "$new"' EXIT
{
  sed '/^<!-- matrix -->$/q' "$page"
  "$tessera" backends --matrix
  sed -n '/^<!-- end of matrix -->$/,$p' "$page"
} >"$new"
cp "$new" "$page"
