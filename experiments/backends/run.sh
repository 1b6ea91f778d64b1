#!/usr/bin/env bash
# Checks a backend against PyTorch's numbers, then measures it beside PyTorch, within ten minutes (building not counted):
#
#   experiments/backends/run.sh BACKEND          models shaped like SmolLM2-135M and Qwen2.5-1.5B in bf16, for a card
#   experiments/backends/run.sh BACKEND dry      a tiny model in f32: every line of this script, on any machine
#
# Leaves BACKEND.jsonl (a line as soon as it is measured), BACKEND.md (the table, made anew after each) and
# BACKEND-check.md (the comparisons). What was not reached is "not run" there. A wrong comparison ends everything.
#
#   ALLOWED=600   seconds; every part has a limit of its own besides
#   BUILT=DIR     a folder with the binaries `paretopo` and `card`; nothing is built
#   RESULTS=DIR   where the results go
#   PYTHON=FILE   the interpreter that has PyTorch and transformers
#   PARTS=LIST    some of "check smollm2-135m qwen2.5-1.5b"; the lines of the others are kept
#   LIMITS=LIST   seconds for the comparisons, and for ours, PyTorch's and the step of each shape
set -euo pipefail
cd "$(dirname "$0")/../.."
root=$PWD
here=$root/experiments/backends
backend=$1
size=${2:-card}
results=$(realpath -m "${RESULTS:-$here}")
python=${PYTHON:-$(ls "$root"/target/peers/bin/python 2>/dev/null || echo python3)}
export XDG_RUNTIME_DIR="${XDG_RUNTIME_DIR:-/tmp}"

name=$backend
precision=bf16
architectures=(llama llama_tied_rope3_bias qwen2 qwen3)
shapes=(smollm2-135m qwen2.5-1.5b)
decoding=(decode:1:128:24 decode:16:128:24 decode:64:128:24 decode:256:128:24)
declare -A tasks=(
    [smollm2-135m]="device:1024:8192 train:lora:4:1024:plain train:full:4:1024:plain ${decoding[*]}"
    [qwen2.5-1.5b]="train:lora:4:1024:lean train:full:4:1024:lean ${decoding[*]}"
)
# what a step trains; all of the larger one would leave 24 GB on the disk
declare -A adapters=([smollm2-135m]=full [qwen2.5-1.5b]=lora)
# expected tokens of a response: one in so many ids ends it
length=256
sizes=()
# of the last one is told: the others compile its kernels
steps=2
limits=(120 100 80 60)
if [[ $size == dry ]]; then
    name=$backend-dry
    precision=f32
    architectures=(llama)
    shapes=(tiny)
    tasks=([tiny]="device:4:64 decode:1:8:4 decode:2:8:4 train:lora:2:16:lean train:full:2:16:plain")
    adapters=([tiny]=full)
    steps=1
    length=4
    sizes=(rollout.max_sampled_tokens=6 train.prompts_per_step=1 train.rollouts_per_prompt=4)
    sizes+=(train.micro_batch_tokens=128 train.memory.logits_chunk=0)
    limits=(600 600 120 600)
fi
allowed=${ALLOWED:-$([[ $size == dry ]] && echo 1800 || echo 600)}
read -r -a limits <<<"${LIMITS:-${limits[*]}}"
parts=" ${PARTS:-check ${shapes[*]}} "
rows=$results/$name.jsonl
work=$root/target/card/$name
mkdir -p "$results" "$work"

# --- results ---

put() {
    echo "$1" >>"$rows"
    # where there is no Python, the lines are there all the same
    if python3 "$here/table.py" "$rows" >"$work/table.md"; then cp "$work/table.md" "$results/$name.md"; fi
}

expect() {
    local shape who task
    for shape in "${shapes[@]}"; do
        for who in paretopo pytorch; do
            for task in ${tasks[$shape]}; do
                put "{\"who\":\"$who\",\"shape\":\"$shape\",\"task\":\"$task\",\"state\":\"not run\"}"
            done
        done
        put "{\"who\":\"paretopo\",\"shape\":\"$shape\",\"task\":\"step:${adapters[$shape]}\",\"state\":\"not run\"}"
    done
}

describe() {
    local processor card='none' commit
    processor=$(sed -n 's/^model name\s*: //p' /proc/cpuinfo | head -n 1)
    commit=${COMMIT:-$(git rev-parse --short HEAD 2>/dev/null || echo unknown)}
    if command -v nvidia-smi >/dev/null; then
        card=$(nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader | head -n 1) || card='none'
    fi
    put "{\"kind\":\"machine\",\"backend\":\"$backend\",\"size\":\"$size\",\"date\":\"$(date --utc +%F)\",\
\"commit\":\"$commit\",\"processor\":\"$processor\",\"cores\":$(nproc),\"card\":\"$card\",\"device\":\"$1\"}"
}

# --- time ---

# The seconds that a part may take: its own limit, or what is left of all.
seconds_for() {
    local left=$((allowed - SECONDS))
    echo $((left < $1 ? left : $1))
}

# --- parts ---

# Kernels are compiled and tuned once for all processes of a folder, and for a second run.
cache() {
    mkdir -p "$1"
    printf '[compilation]\ncache = { file = "%s" }\n[autotune]\nlevel = "%s"\ncache = { file = "%s" }\n' \
        "$1" "$2" "$1" >"$1/cubecl.toml"
}

# One process for each architecture, since they wait for the compiler of kernels. Their tuning is coarse and their own:
# timed beside others it is good for nothing else.
check_all() {
    local seconds architecture folder status=0 code passed failed
    seconds=$(seconds_for "${limits[0]}")
    declare -A processes=()
    for architecture in "${architectures[@]}"; do
        folder=$work/check-$architecture
        cache "$folder" minimal
        mkdir -p "$folder/cases"
        ln -sfn "$root/tests/fixtures/models/$architecture" "$folder/cases/$architecture"
        (cd "$folder" && exec timeout --kill-after=10 "$seconds" "$built/paretopo" --backend "$backend" check cases >out.md 2>err.txt) &
        processes[$architecture]=$!
    done
    : >"$results/$name-check.md"
    for architecture in "${architectures[@]}"; do
        folder=$work/check-$architecture
        code=0
        wait "${processes[$architecture]}" || code=$?
        passed=$(grep --count '| ok |$' "$folder/out.md" || true)
        failed=$(grep --count '| FAILED |$' "$folder/out.md" || true)
        cat "$folder/out.md" "$folder/err.txt" >>"$results/$name-check.md"
        put "{\"kind\":\"check\",\"case\":\"$architecture\",\"passed\":$passed,\"failed\":$failed,\"code\":$code,\
\"limit\":$seconds}"
        # 124 and 137: its time was over, which says nothing about what it had not compared
        if ((failed > 0)) || ((code != 0 && code != 124 && code != 137)); then status=1; fi
    done
    return "$status"
}

# WHO SHAPE SECONDS COMMAND...: a row for every line that the command prints.
measure() {
    local who=$1 shape=$2 seconds code=0
    seconds=$(seconds_for "$3")
    shift 3
    if ((seconds < 5)); then
        late "$who" "$shape"
        return
    fi
    local log=$work/$who-$shape.txt
    (cd "$work/measure" && exec timeout --kill-after=10 "$seconds" "$@" 2>"$log") | while read -r line; do
        [[ $line == \{* ]] || continue
        put "{\"who\":\"$who\",\"shape\":\"$shape\",${line#\{}"
    done || code=$?
    if ((code != 0)); then ended "$who" "$shape" "$code" "$seconds" "$log"; fi
}

late() { put "{\"who\":\"$1\",\"shape\":\"$2\",\"ended\":\"not begun, no time was left\"}"; }

# WHO SHAPE CODE SECONDS LOG
ended() {
    local reason
    case $3 in
    124 | 137) reason="ended, or killed, after its $4 s" ;;
    *) reason="code $3: $(tail -n 1 "$5" | tr -d '"\\\t' | cut -c 1-160)" ;;
    esac
    put "{\"who\":\"$1\",\"shape\":\"$2\",\"ended\":\"$reason\"}"
}

ours() {
    # shellcheck disable=SC2086
    measure paretopo "$1" "${limits[1]}" "$built/card" "$here/shapes/$1/config.json" "$precision" ${tasks[$1]}
}

peer() {
    if ! "$python" -c 'import torch, transformers' 2>/dev/null; then
        put "{\"who\":\"pytorch\",\"shape\":\"$1\",\"ended\":\"there is no PyTorch with transformers\"}"
        return
    fi
    if [[ $size == card ]] && ! "$python" -c 'import torch; assert torch.cuda.is_available()' 2>/dev/null; then
        put "{\"who\":\"pytorch\",\"shape\":\"$1\",\"ended\":\"PyTorch finds no card\"}"
        return
    fi
    # shellcheck disable=SC2086
    measure pytorch "$1" "${limits[2]}" "$python" "$here/peer.py" "$here/shapes/$1/config.json" "$precision" ${tasks[$1]}
}

# A checkpoint folder: the shape's random weights, and the text side of the policy that we ship. Ids that the tokenizer
# does not know end a response now and then, so that responses differ in length.
policy() {
    local shape=$1 folder=$2 vocabulary ends
    mkdir -p "$folder"
    (cd "$work/measure" && exec timeout --kill-after=10 "$3" "$built/card" "$here/shapes/$shape/config.json" f32 "write:$folder") || return
    cp models/tiny-math/tokenizer.json models/tiny-math/tokenizer_config.json "$folder"
    vocabulary=$(sed -n 's/.*"vocab_size": \([0-9]*\).*/\1/p' "$here/shapes/$shape/config.json")
    ends=$(seq --separator=, 160 $((159 + vocabulary / length)))
    echo "{\"eos_token_id\": [4, $ends], \"pad_token_id\": 1}" >"$folder/generation_config.json"
}

card_memory() { nvidia-smi --query-gpu=memory.used --format=csv,noheader,nounits --id=0 2>/dev/null || echo 0; }

step() {
    local shape=$1 adapter=${adapters[$1]} folder=$work/policy-$1 run=$work/run-$1 code=0 seconds started before watcher
    seconds=$(seconds_for "${limits[3]}")
    if ((seconds < 5)); then
        late paretopo "$shape, step"
        return
    fi
    policy "$shape" "$folder" "$seconds" >"$work/step.txt" 2>&1 || code=$?
    if ((code != 0)); then
        ended paretopo "$shape, step" "$code" "$seconds" "$work/step.txt"
        return
    fi
    seconds=$(seconds_for "${limits[3]}")
    rm -rf "$run"
    local settings=("policy={ type = \"folder\", path = \"$folder\" }" "precision=$precision" "train.steps=$steps" "${sizes[@]}")
    if [[ $adapter == lora ]]; then settings+=("lora={ rank = 16 }"); fi
    local arguments=("$here/step.toml")
    for setting in "${settings[@]}"; do arguments+=(--set "$setting"); done
    local planned
    planned=$("$built/paretopo" plan --prompt-tokens 64 "${arguments[@]}" | sed -n 's/^peak \([0-9.]*\) GiB.*/\1/p') || true
    before=$(card_memory)
    while sleep 0.2; do card_memory; done >"$work/memory.txt" &
    watcher=$!
    started=$SECONDS
    (cd "$work/measure" && exec timeout --kill-after=10 "$seconds" "$built/paretopo" --quiet --backend "$backend" train \
        "${arguments[@]}" --run "$run" >"$work/step.txt" 2>&1) || code=$?
    kill "$watcher"
    wait "$watcher" 2>/dev/null || true
    if ((code != 0)); then ended paretopo "$shape, step" "$code" "$seconds" "$work/step.txt"; fi
    local metrics
    metrics=$(tail -n 1 "$run/metrics.jsonl" 2>/dev/null || true)
    rm -rf "$folder" "$run"
    if [[ -z $metrics ]]; then return; fi
    # what the card holds is that of the whole process
    put "{\"who\":\"paretopo\",\"shape\":\"$shape\",\"task\":\"step:$adapter\",\"planned_gib\":${planned:-0},\
\"card_mib\":$(($(sort -n "$work/memory.txt" | tail -n 1) - before)),\"seconds\":$((SECONDS - started)),\
\"metrics\":$metrics}"
}

# --- the run ---

if [[ -z ${PARTS:-} ]]; then rm -f "$rows"; fi
if [[ $backend == cuda ]] && ! nvidia-smi >/dev/null 2>&1; then
    describe 'no card'
    expect
    echo "no card here: nothing was run; $results/$name.md says so"
    exit
fi
built=${BUILT:-}
if [[ -z $built ]]; then
    # together, so that what both stand on has the same features and is compiled once
    cargo build --release --locked --no-default-features --features "paretopo/$backend" \
        --package paretopo --package "paretopo-backend-$backend" --bin paretopo --example card
    target=${CARGO_TARGET_DIR:-target}
    built=$root/target/card/built-$backend
    mkdir -p "$built"
    cp "$target/release/paretopo" "$target/release/examples/card" "$built"
fi
built=$(realpath "$built")
SECONDS=0
cache "$work/measure" balanced
describe "$("$built/paretopo" --backend "$backend" devices | tr -d '"\\' | tr '\n' ' ')"
if [[ -z ${PARTS:-} ]]; then expect; fi
if [[ $parts == *" check "* ]] && ! check_all; then
    echo "a comparison is wrong, so nothing was measured: $results/$name-check.md"
    exit 1
fi
for shape in "${shapes[@]}"; do
    if [[ $parts != *" $shape "* ]]; then continue; fi
    ours "$shape"
    peer "$shape"
    step "$shape"
done
put "{\"kind\":\"end\",\"seconds\":$SECONDS}"
cat "$results/$name.md"
