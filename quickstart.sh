#!/usr/bin/env bash
# Installs what is missing, builds, and shows the embedded model solve word problems on every attention backend that can
# serve here. Six minutes on two cores, one or two with a warm compiler cache.
set -euo pipefail
cd "$(dirname "$0")"

scripts/install_deps.sh
scripts/build.sh release tessera
tessera=build/release/tessera

echo
"$tessera" eval --attention-backend all --limit 100 --show 1

cat <<END

Next:
  $tessera chat                               talk with the embedded model (it only knows word problems)
  $tessera generate --prompt "Question: Ada has 12 pears and buys 30 more. How many pears does Ada have?
Answer:" --stop "Question:"
  $tessera eval --attention-backend all       all 500 problems
  $tessera backends --reasons                 what every backend can do here, and why not more
  $tessera doctor                             what the program found on this machine
  $tessera generate --model DIR --chat --prompt "Hello"      a Llama model from the Hugging Face hub
END
