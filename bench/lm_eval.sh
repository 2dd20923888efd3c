#!/usr/bin/env bash
# Scores the embedded model through the server with the unmodified lm-evaluation-harness from PyPI: the GSM8K-style task and
# the multiple-choice task of tests/lm_eval, one client at a time and 64 at a time, on each backend. Prints a table.
#
#   bench/lm_eval.sh [--limit N] [--backends "x86 portable"] [--clients "1 64"] [--transformers] [TESSERA_PROGRAM [options of `tessera serve`]]
#
# --transformers lets Hugging Face transformers compute the same tasks on the CPU, in the same harness (several GB from PyPI).
set -euo pipefail
cd "$(dirname "$0")/.."

limit=()
backends=auto
clients="1 64"
transformers=
while [[ ${1:-} == --* ]]; do
  case $1 in
    --limit) limit=(--limit "$2"); shift ;;
    --backends) backends=$2; shift ;;
    --clients) clients=$2; shift ;;
    --transformers) transformers=yes ;;
    *) echo "bench/lm_eval.sh knows --limit, --backends, --clients and --transformers, not $1" >&2; exit 2 ;;
  esac
  shift
done
tessera=${1:-build/release/tessera}
[[ $# -eq 0 ]] || shift

work=build/lm_eval
rm -rf $work/results
mkdir -p $work/results
export HF_HUB_OFFLINE=1 HF_DATASETS_CACHE=$PWD/$work/datasets

# environment NAME PACKAGE...: a Python environment with these packages.
environment() {
  [[ -x $work/$1/bin/lm_eval ]] && return
  python3 -m venv "$work/$1"
  "$work/$1/bin/pip" install --quiet "${@:2}"
}

# score WHO ENVIRONMENT TASK OPTION...: one run of the harness.
score() {
  local who=$1 environment=$2 task=$3
  shift 3
  local out=$work/results/$who.$task started=$SECONDS
  "$work/$environment/bin/lm_eval" --tasks "$task" --include_path tests/lm_eval --output_path "$out" --log_samples \
    "${limit[@]}" "$@" >"$out.log" 2>&1 || { tail -n 30 "$out.log" >&2; exit 1; }
  echo "$who, $task: $((SECONDS - started)) s" >&2
}

server=
stop_server() {
  [[ -z $server ]] || { kill "$server" 2>/dev/null || true; wait "$server" || true; }
  server=
}
trap stop_server EXIT

environment venv "lm_eval[api]==0.4.13"
for backend in $backends; do
  # The port that the system gives stands in the server's first line.
  log=$work/server.$backend.log
  "$tessera" serve --port 0 --dtype float32 --attention-backend "$backend" "$@" 2>"$log" &
  server=$!
  for _ in $(seq 600); do
    grep -q '^  ready' "$log" && break
    kill -0 "$server" || { cat "$log" >&2; exit 1; }
    sleep 0.1
  done
  url=$(sed -n 's/^listening on //p' "$log")
  for count in $clients; do
    for task in tiny_math tiny_math_choice; do
      # The tokenizer is the server's own: nothing is fetched from anywhere.
      score "$backend-$count" venv $task --model local-completions \
        --model_args "model=tiny-math,base_url=$url/v1/completions,num_concurrent=$count,max_length=2048"
    done
  done
  stop_server
done

if [[ -n $transformers ]]; then
  environment venv-transformers "lm_eval[hf]==0.4.13"
  for task in tiny_math tiny_math_choice; do
    # The server's tokenizer adds no BOS for the harness, so none is added here.
    score transformers venv-transformers $task --model hf --device cpu --batch_size 32 \
      --model_args "pretrained=models/tiny-math,dtype=float32,add_bos_token=False,max_length=2048"
  done
fi

python3 bench/lm_eval_table.py $work/results
