#!/usr/bin/env bash
# Fails where a C++ file is not as clang-format leaves it.
set -euo pipefail
cd "$(dirname "$0")/.."
git ls-files -z --cached --others --exclude-standard -- '*.cc' '*.h' '*.inl' |
  xargs -0 -r ls -d 2>/dev/null |
  xargs -r clang-format-16 --dry-run -Werror
echo "format: as .clang-format says"
