#!/usr/bin/env bash
# Installs the Debian 12 packages that the build needs, with --test those of the tests as well, with --web those of
# scripts/web_test.sh. Does nothing where all of them are there.
#
#   scripts/install_deps.sh [--test | --web]
set -euo pipefail

# The build and its GoogleTest programs.
packages=(
  g++ cmake ninja-build pkg-config ccache git ca-certificates
  libhwy-dev libpcre2-dev libsimdjson-dev nlohmann-json3-dev libcli11-dev libfmt-dev libxxhash-dev libutf8proc-dev
  libboost1.81-dev libgtest-dev libgmock-dev python3
)
# test.sh: sanitizers, fuzzing, static checks, and the cross build under emulation; oneDNN for gemm_bench, which compares
# itself with it; clang 19, which compiles the kernels for AMD's
# GPUs, its linker, and llvm-objdump, whose text of the machine code rocm-emulated executes; zlib, which packs that text.
test_packages=(
  libdnnl-dev
  clang-16 libclang-rt-16-dev clang-format-16 clang-tidy-16
  g++-aarch64-linux-gnu qemu-user-static
  clang-19 lld-19 llvm-19 zlib1g-dev
)
# The browser that shows the server's page to its test, and what makes an environment for Playwright, which drives it.
web_packages=(chromium python3-venv)
case "${1:-}" in
  --test) packages+=("${test_packages[@]}") ;;
  --web) packages+=("${web_packages[@]}") ;;
esac

missing=()
for package in "${packages[@]}"; do
  if ! dpkg-query -W -f '${db:Status-Status}\n' "$package" 2>/dev/null | grep -qx installed; then
    missing+=("$package")
  fi
done
if [[ ${#missing[@]} -eq 0 ]]; then
  exit 0
fi

as_root=()
if [[ $(id -u) -ne 0 ]]; then
  as_root=(sudo)
fi
echo "installing: ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
if ! { "${as_root[@]}" apt-get update -qq && "${as_root[@]}" apt-get install -qq -y --no-install-recommends "${missing[@]}"; } \
    >"$log" 2>&1; then
  cat "$log" >&2
  exit 1
fi
rm -f "$log"
