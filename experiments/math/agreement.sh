#!/usr/bin/env bash
# Evaluates the policy here and on the vLLM server that vllm.sh has started, greedily and sampled, and compares.
#   vllm.sh agreement.sh PROGRAM
# MODEL, if it is set, is the checkpoint that the server has in place of the graded world's policy; IDS is how many ids of a response are compared.
set -euo pipefail
cd "$(dirname "$0")/../.."
program=$1 out=runs/agreement
rm -rf "$out"
served="generator={ type = 'vllm', urls = ['http://127.0.0.1:8321'] }"
evaluate() {
    "$program" --quiet --backend flex evaluate experiments/math/paretopo.toml ${MODEL:+--model "$MODEL"} --set evaluation.head_skill=false \
        --set evaluation.split=test --set rollout.max_sampled_tokens=48 "${@:2}" --out "$out/$1" >/dev/null
}
greedy=(--set evaluation.tasks=200 --set evaluation.sampling.temperature=0.0)
sampled=(--set evaluation.tasks=20 --set "evaluation.samples=${SAMPLES:-200}")
evaluate greedy-local "${greedy[@]}" --set "rollout.recorded={ alternatives = 2 }"
evaluate greedy-served "${greedy[@]}" --set "$served"
evaluate sampled-local "${sampled[@]}"
evaluate sampled-served "${sampled[@]}" --set "$served" --set seed=2
python3 experiments/math/agreement.py "$out"/{greedy-local,greedy-served,sampled-local,sampled-served}/trajectories.jsonl ${IDS:-}
