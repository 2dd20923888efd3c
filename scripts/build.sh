#!/usr/bin/env bash
# Configures and builds one preset, quietly: the log is printed only where something fails.
#
#   scripts/build.sh PRESET [TARGET...]
#
# Kernels for GPUs take minutes to compile. TESSERA_DEVICE_ARCHS says for which (cmake/TesseraDeviceCode.cmake: auto, all, OFF
# or a list); without it there are some only where a GPU's driver is.
set -euo pipefail
cd "$(dirname "$0")/.."

preset=$1
shift
log=build/$preset.log
mkdir -p build
started=$SECONDS
archs=${TESSERA_DEVICE_ARCHS:-}
if [[ -z $archs ]]; then
  archs=OFF
  if [[ -e /dev/nvidiactl || -e /dev/kfd ]] ||
    PATH=$PATH:/sbin ldconfig -p 2> /dev/null | grep -qE 'lib(cuda\.so\.1|amdhip64\.so)'; then
    archs=auto
  fi
fi
if ! { cmake --preset "$preset" -DTESSERA_DEVICE_ARCHS="$archs" && cmake --build --preset "$preset" ${@:+--target "$@"}; } >"$log" 2>&1; then
  tail -n 60 "$log" >&2
  echo "the $preset build failed; the whole log is $log" >&2
  exit 1
fi
echo "built $preset in $((SECONDS - started)) s"
