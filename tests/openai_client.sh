#!/usr/bin/env bash
# Runs tests/openai_client_test.py, with the official client from PyPI, against a server of the embedded model.
#
#   tests/openai_client.sh [TESSERA_PROGRAM [options of `tessera serve`]]
#
# PYTHON names an interpreter that has the packages already; otherwise they are installed below build/.
set -euo pipefail
cd "$(dirname "$0")/.."

tessera=${1:-build/release/tessera}
[[ $# -eq 0 ]] || shift
work=build/openai_client
mkdir -p $work
python=${PYTHON:-$work/venv/bin/python}
if [[ -z ${PYTHON:-} && ! -x $work/venv/bin/python ]]; then
  scripts/install_deps.sh --web  # brings what makes environments
  python3 -m venv $work/venv
  $work/venv/bin/pip install --quiet --disable-pip-version-check openai==3.54.0 jsonschema==4.26.0
fi

# The port that the system gives stands in the server's first line.
log=$work/server.log
"$tessera" serve --port 0 --dtype float32 "$@" 2>"$log" &
server=$!
trap 'kill $server 2>/dev/null || true; wait $server || true' EXIT
for _ in $(seq 600); do
  grep -q '^  ready' "$log" && break
  kill -0 "$server" || { cat "$log" >&2; exit 1; }
  sleep 0.1
done
"$python" tests/openai_client_test.py "$(sed -n 's/^listening on //p' "$log")/v1"
