#!/usr/bin/env bash
# Checks and times a backend on this machine within ten minutes, building not counted: experiments/backends/run.sh BACKEND
# Leaves experiments/backends/BACKEND.json (comparisons with PyTorch's numbers) and BACKEND.md (all that is printed), to be committed.
set -euo pipefail
cd "$(dirname "$0")/../.."
backend=$1
here=experiments/backends
cargo build --release --locked --no-default-features --features "$backend"
paretopo="target/release/paretopo --backend $backend"
run=$(mktemp -d)
{
    echo "# $backend, $(date --utc +%F), commit $(git rev-parse --short HEAD)"
    echo
    grep --max-count=1 'model name' /proc/cpuinfo | sed 's/.*: /processor: /' || true
    command -v nvidia-smi >/dev/null && nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader
    echo
    $paretopo devices
    echo
    timeout 500 $paretopo check --out "$here/$backend.json"
    echo
    echo "Evaluation of the shipped policy, 50 problems:"
    time timeout 200 $paretopo --quiet evaluate --set evaluation.tasks=50
    echo
    echo "Three ParetoPO steps of the shipped policy:"
    time timeout 300 $paretopo --quiet train --run "$run/train" --set train.steps=3 --set evaluation.tasks=8 --set train.prompts_per_step=4
    $paretopo phases "$run/train"
} 2>&1 | tee "$here/$backend.md"
rm -rf "$run"
