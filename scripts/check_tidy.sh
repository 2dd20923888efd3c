#!/usr/bin/env bash
# Runs clang-tidy over the compiled C++ files, in parallel.
#
#   scripts/check_tidy.sh [BUILD_DIR] [--changed]     --changed: only what the last commit changed, if there is one before it
set -euo pipefail
cd "$(dirname "$0")/.."

build=build/asan
files=$(git ls-files --cached --others --exclude-standard -- 'src/*.cc' 'fuzz/*.cc' 'bench/*.cc')
for argument in "$@"; do
  case $argument in
    --changed)
      if git rev-parse --quiet --verify HEAD~1 >/dev/null; then
        files=$(git diff --name-only --diff-filter=d HEAD~1 -- 'src/*.cc' 'fuzz/*.cc' 'bench/*.cc')
      fi
      ;;
    *) build=$argument ;;
  esac
done

# Only what this build compiles has flags to be checked with.
compiled=$(mktemp)
trap 'rm -f "$compiled"' EXIT
for file in $files; do
  if grep -qF "/$file\"" "$build/compile_commands.json"; then
    echo "$file"
  fi
done >"$compiled"
xargs -r -P "$(nproc)" -n 1 clang-tidy-16 --quiet -p "$build" <"$compiled" 2> >(grep -v 'warnings generated' >&2)
echo "clang-tidy: $(wc -l <"$compiled") files without a finding"
