#!/usr/bin/env bash
# Scores the embedded model through the server with the unmodified lm-evaluation-harness from PyPI: the GSM8K-style task and
# the multiple-choice task of tests/lm_eval, one client at a time and 64 at a time. Prints a table.
#
#   bench/lm_eval.sh [--limit N] [TESSERA_PROGRAM [further options of `tessera serve`]]
set -euo pipefail
cd "$(dirname "$0")/.."

limit=()
if [[ ${1:-} == --limit ]]; then
  limit=(--limit "$2")
  shift 2
fi
tessera=${1:-build/release/tessera}
[[ $# -eq 0 ]] || shift

venv=build/lm_eval/venv
if [[ ! -x $venv/bin/lm_eval ]]; then
  mkdir -p build/lm_eval
  python3 -m venv "$venv"
  "$venv/bin/pip" install --quiet "lm_eval[api]==0.4.13"
fi

# The port that the system gives stands in the server's first line.
log=build/lm_eval/server.log
"$tessera" serve --port 0 --dtype float32 "$@" 2>"$log" &
server=$!
trap 'kill $server 2>/dev/null || true; wait $server || true' EXIT
for _ in $(seq 600); do
  grep -q '^  ready' "$log" && break
  kill -0 "$server" || { cat "$log" >&2; exit 1; }
  sleep 0.1
done
url=$(sed -n 's/^listening on //p' "$log")

for concurrent in 1 64; do
  for task in tiny_math tiny_math_choice; do
    out=build/lm_eval/$task.$concurrent
    rm -rf "$out"
    started=$SECONDS
    # The tokenizer is the server's own: nothing is fetched from anywhere.
    HF_HUB_OFFLINE=1 HF_DATASETS_CACHE=$PWD/build/lm_eval/datasets "$venv/bin/lm_eval" \
      --model local-completions --tasks "$task" --include_path tests/lm_eval --output_path "$out" "${limit[@]}" \
      --model_args "model=tiny-math,base_url=$url/v1/completions,num_concurrent=$concurrent,max_length=2048" \
      >"$out.log" 2>&1 || { tail -n 30 "$out.log" >&2; exit 1; }
    echo "== $task, num_concurrent=$concurrent, $((SECONDS - started)) s"
    grep '^|' "$out.log"
  done
done
