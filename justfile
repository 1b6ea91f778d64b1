# Recipes; `just` lists them. Each is one line that also works when typed by hand.

# Cargo features to compile in, e.g. `just backend=ndarray exp-math`
backend := "flex"
lean := "--release --locked --no-default-features --features " + backend
# with search, parquet files and https, which math needs none of: 94 more packages to build
release := lean + ",full"
paretopo := "cargo run " + release + " -- --backend " + backend
paretopo-lean := "cargo run " + lean + " -- --backend " + backend

# List the recipes
default:
    @just --list --unsorted

# --- experiments ---

# Train ParetoPO, GDPO, scalarized and HDPO at three settings of their knobs; ends with tables and a picture of their fronts (under 20 minutes on two cores)
[group('experiments')]
exp-math choice=backend:
    @just {{if choice == "generator=vllm" { "served-math" } else { "backend=" + trim_start_match(choice, "backend=") + " quick math" }}}

# Two methods, few steps, with rollouts on a vLLM server that it starts and stops (`VLLM` is its path)
[private]
served-math:
    cargo build {{lean}}
    experiments/math/vllm.sh cargo run {{lean}} -- --backend {{backend}} compare experiments/math/vllm.toml --jobs 1 --out runs/exp-math-vllm

# Whether a vLLM server draws as the local engine does, greedily and sampled (needs vLLM: `VLLM` is its program)
[group('experiments')]
agreement:
    cargo build {{release}} --bin paretopo
    experiments/math/vllm.sh experiments/math/agreement.sh target/release/paretopo

# Record what a vLLM server answers to two short runs, which the tests hold the client against (needs vLLM: `VLLM` is its program)
[group('development')]
record-vllm:
    cargo build --release --locked --tests
    PARETOPO_RECORD=http://127.0.0.1:8321 PARETOPO_RECORD_DATE=$(date +%F) experiments/math/vllm.sh cargo test --release --locked --test suite -- recorded_vllm_all_weights
    PARETOPO_RECORD=http://127.0.0.1:8321 PARETOPO_RECORD_DATE=$(date +%F) ADAPTERS=1 experiments/math/vllm.sh cargo test --release --locked --test suite -- recorded_vllm_adapters

[private]
quick experiment features="":
    cargo run {{lean}}{{features}} -- --backend {{backend}} compare experiments/{{experiment}}/quick.toml --out runs/exp-{{experiment}}-{{backend}}

# Five methods swept over their knobs, eight more, twenty seeds; goes on from experiments/math/runs.jsonl
[group('experiments')]
exp-math-full:
    {{paretopo-lean}} compare experiments/math/full.toml --out runs/exp-math-full-{{backend}}

# All tables of experiments/math and its figures, from the runs that are finished
[group('experiments')]
tables-math:
    #!/usr/bin/env bash
    set -euo pipefail
    tables=runs/tables-math-{{backend}} here=experiments/math
    others="stages prices log_prices objectives four_objectives ablations options preferences told"
    for experiment in full picture over_time $others; do
        {{paretopo-lean}} compare $here/$experiment.toml --finished --out $tables/$experiment
    done
    cp $tables/full/{results.json,front.svg,curves.svg} $here/
    cp $tables/picture/front.svg $here/picture.svg
    cp $tables/over_time/curves.svg $here/over_time.svg
    cp $tables/objectives/pairs.svg $here/objectives.svg
    cp $tables/told/front.svg $here/told.svg
    for experiment in $others; do cp $tables/$experiment/results.json $here/$experiment.json; done
    put() { python3 experiments/tables.py "$1" $here/README.md "${2:-}"; }
    put $here/results.json
    put $here/stages.json stages
    put $here/preferences.json preferences
    put $here/told.json told
    for changed in ablations options; do python3 $here/paired.py $here/$changed.json | put - $changed; done
    python3 experiments/at_calls.py $here/results.json 0.25 0.5 0.75 1 1.25 | put - "at calls"
    python3 $here/objectives.py $here/objectives_runs.jsonl $here/{,four_}objectives.json | put - objectives
    python3 $here/claims.py $here/{results,stages,prices,objectives,preferences,told}.json | put - claims
    python3 $here/displacement.py $here/prices.json | put - prices
    python3 $here/log_prices.py $here/log_prices.json | put - "log prices"
    python3 $here/over_time.py $here/runs.jsonl | put - "over time"
    python3 experiments/tuning.py $here/tuning_runs.jsonl $here/controls.json | put - tuning

# ParetoPO without each of its stages, and GDPO with the same reward, at five settings, ten seeds
[group('experiments')]
exp-math-stages:
    {{paretopo-lean}} compare experiments/math/stages.toml --out runs/exp-math-stages-{{backend}}

# ParetoPO with one thing changed at a time, ten seeds
[group('experiments')]
exp-math-ablations:
    {{paretopo-lean}} compare experiments/math/ablations.toml --out runs/exp-math-ablations-{{backend}}

# ParetoPO with an option beside the paper's method, ten seeds
[group('experiments')]
exp-math-options:
    {{paretopo-lean}} compare experiments/math/options.toml --out runs/exp-math-options-{{backend}}

# What a distorted price does to each method, ten seeds
[group('experiments')]
exp-math-prices:
    {{paretopo-lean}} compare experiments/math/prices.toml --out runs/exp-math-prices-{{backend}}

# A price with a heavy tail, as it is and by its logarithm, ten seeds
[group('experiments')]
exp-math-log-prices:
    {{paretopo-lean}} compare experiments/math/log_prices.toml --out runs/exp-math-log-prices-{{backend}}

# Head skill while five methods learn when to call, five seeds
[group('experiments')]
exp-math-over-time:
    {{paretopo-lean}} compare experiments/math/over_time.toml --out runs/exp-math-over-time-{{backend}}

# Three and four objectives, ten seeds
[group('experiments')]
exp-math-objectives:
    {{paretopo-lean}} compare experiments/math/objectives.toml --out runs/exp-math-objectives-{{backend}}
    {{paretopo-lean}} compare experiments/math/four_objectives.toml --out runs/exp-math-four-objectives-{{backend}}

# One policy that is told a preference beside a policy for each, ten seeds
[group('experiments')]
exp-math-preferences:
    {{paretopo-lean}} compare experiments/math/preferences.toml --out runs/exp-math-preferences-{{backend}}

# The same from a policy that heeded preferences before, ten seeds
[group('experiments')]
exp-math-told:
    {{paretopo-lean}} compare experiments/math/told.toml --out runs/exp-math-told-{{backend}}

# Means of the weights of two policies as places of a front, ten seeds (rewarded soups)
[group('experiments')]
exp-math-soups:
    cargo build {{lean}} --bin paretopo
    python3 experiments/math/soups.py target/release/paretopo runs/exp-math-soups-{{backend}}

# What it costs to learn from rollouts that are 1, 2 or 8 steps old, ten seeds
[group('experiments')]
exp-math-staleness:
    {{paretopo-lean}} compare experiments/math/staleness.toml --out runs/exp-math-staleness-{{backend}}
    python3 experiments/math/paired.py runs/exp-math-staleness-{{backend}}/results.json "k = 0" "k = 1" "k = 2" "k = 8"

# The learning rate of every math method, with equal effort, on validation problems
[group('experiments')]
tune-math:
    {{paretopo-lean}} compare experiments/math/tuning.toml --out runs/tune-math-{{backend}}

# Which tools the graded world has: baselines alone, in each of its candidates
[group('experiments')]
choose-math:
    {{paretopo-lean}} compare experiments/math/worlds.toml --out runs/choose-math-{{backend}}

# Make the shipped policy of the graded world anew (about twelve minutes on one core)
[group('experiments')]
warm-start-math:
    rm -f models/graded-math/tokenizer.json
    {{paretopo-lean}} new graded-tokenizer models/graded-math
    RAYON_NUM_THREADS=1 {{paretopo-lean}} sft experiments/math/warm_start.toml --run runs/warm-start-math
    cp runs/warm-start-math/policy/model.safetensors models/graded-math/

# Make that policy heed what it is told to prefer (about two minutes on one core)
[group('experiments')]
warm-start-math-told:
    RAYON_NUM_THREADS=1 {{paretopo-lean}} sft experiments/math/told_start.toml --run runs/warm-start-math-told
    cp runs/warm-start-math-told/policy/model.safetensors models/graded-math-told/

# Math with a Python tool, the first world: ParetoPO, GRPO, OTC and scalarized with three seeds
[group('experiments')]
exp-math-python choice=backend:
    @just backend={{trim_start_match(choice, "backend=")}} quick math-python

# The same with all methods and ten seeds
[group('experiments')]
exp-math-python-full:
    {{paretopo-lean}} compare experiments/math-python/full.toml --out runs/exp-math-python-full-{{backend}}

# There: ParetoPO's open choices, one at a time, three seeds
[group('experiments')]
exp-math-python-choices:
    {{paretopo-lean}} compare experiments/math-python/choices.toml --out runs/exp-math-python-choices-{{backend}}

# There: three methods with twice the steps, three seeds
[group('experiments')]
exp-math-python-longer:
    {{paretopo-lean}} compare experiments/math-python/longer.toml --out runs/exp-math-python-longer-{{backend}}

# There: the learning rate of every method, with equal effort, on validation problems
[group('experiments')]
tune-math-python:
    {{paretopo-lean}} compare experiments/math-python/tuning.toml --out runs/tune-math-python-{{backend}}

# There: make the shipped policy anew: tokenizer, then supervised training on demonstrations (about half an hour on one core)
[group('experiments')]
warm-start-math-python:
    rm -f models/tiny-math/tokenizer.json
    {{paretopo-lean}} new tokenizer models/tiny-math
    RAYON_NUM_THREADS=1 {{paretopo-lean}} sft experiments/math-python/warm_start.toml --run runs/warm-start-math-python
    cp runs/warm-start-math-python/policy/model.safetensors models/tiny-math/

# Questions of which the policy knows a part by heart: ParetoPO, GDPO, scalarized and GRPO, two settings of their knobs (under 20 minutes on two cores)
[group('experiments')]
exp-qa choice=backend:
    @just backend={{trim_start_match(choice, "backend=")}} quick qa ,full

# The same with eight methods, four of them at three settings, and ten seeds; goes on from experiments/qa/runs.jsonl
[group('experiments')]
exp-qa-full:
    {{paretopo}} compare experiments/qa/full.toml --out runs/exp-qa-full-{{backend}}

# All tables of experiments/qa and its figures, from the runs that are finished
[group('experiments')]
tables-qa:
    #!/usr/bin/env bash
    set -euo pipefail
    tables=runs/tables-qa-{{backend}} here=experiments/qa
    {{paretopo}} compare $here/full.toml --finished --out $tables
    cp $tables/{results.json,front.svg,curves.svg} $here/
    put() { python3 experiments/tables.py "$1" $here/README.md "${2:-}"; }
    put $here/results.json
    python3 experiments/at_calls.py $here/results.json 0.5 0.75 1 1.25 1.5 | put - "at calls"
    python3 experiments/at_calls.py $here/results.json --em 0.6 0.65 0.7 0.75 | put - "at em"
    python3 $here/claims.py $here/results.json | put - claims
    python3 experiments/tuning.py $here/tuning_runs.jsonl $here/controls.json | put - tuning

# The learning rate of every method, on validation questions
[group('experiments')]
tune-qa:
    {{paretopo}} compare experiments/qa/tuning.toml --out runs/tune-qa-{{backend}}

# Make the shipped question-answering policy anew (about half an hour on one core)
[group('experiments')]
warm-start-qa:
    rm -f models/tiny-qa/tokenizer.json
    {{paretopo}} new qa-tokenizer models/tiny-qa
    RAYON_NUM_THREADS=1 {{paretopo}} sft experiments/qa/warm_start.toml --run runs/warm-start-qa
    cp runs/warm-start-qa/policy/model.safetensors models/tiny-qa/

# Make the policy anew that knows a part of its world by heart (about 6 minutes on one core)
[group('experiments')]
warm-start-qa-familiar:
    rm -f models/tiny-qa-familiar/tokenizer.json
    {{paretopo}} new qa-familiar-tokenizer models/tiny-qa-familiar
    RAYON_NUM_THREADS=1 {{paretopo}} sft experiments/qa/warm_start_familiar.toml --run runs/warm-start-qa-familiar
    cp runs/warm-start-qa-familiar/policy/model.safetensors models/tiny-qa-familiar/

# Evaluate a checkpoint folder with search on 50 questions of a file; and how well BM25 finds their passages
[group('experiments')]
hotpotqa model questions corpus:
    {{paretopo}} search {{corpus}} --questions {{questions}} --topk 10
    {{paretopo}} evaluate experiments/hotpotqa/smollm2.toml --model {{model}} --set 'environment.questions.path={{questions}}' --set 'tools.search.passages.path={{corpus}}' --out runs/hotpotqa

# Train an adapter on SmolLM2-135M-Instruct by ParetoPO on GSM8K, about an hour on one core; the same 200 problems before and after
[group('experiments')]
smollm2-gsm8k model data:
    {{paretopo}} compare experiments/smollm2-gsm8k/experiment.toml --jobs 1 --out runs/smollm2-gsm8k --set 'policy={ type = "folder", path = "{{model}}" }' --set 'environment.problems.path={{data}}'

# Evaluate a checkpoint folder on 50 GSM8K problems with the Python tool; DATA is a file of {"id","question","answer"} lines
[group('experiments')]
gsm8k model data:
    {{paretopo}} evaluate experiments/gsm8k/smollm2.toml --model {{model}} --set 'environment.problems.path={{data}}' --out runs/gsm8k

# Warm-start a chat model on word problems as conversations with a Python tool, in its own chat format, and evaluate it before and after (about an hour on two cores for SmolLM2-135M-Instruct). PROBLEMS has "question", "answer", "program"; TEST "question", "answer"
[group('experiments')]
chat model problems test:
    mkdir -p runs/chat
    python3 experiments/chat/conversations.py {{problems}} runs/chat/conversations.jsonl
    {{paretopo}} evaluate experiments/chat/evaluate.toml --model {{model}} --set 'environment.problems.path={{test}}' --out runs/chat/before
    {{paretopo}} sft experiments/chat/sft.toml --model {{model}} --run runs/chat/sft
    {{paretopo}} evaluate experiments/chat/evaluate.toml --model runs/chat/sft/policy --set 'environment.problems.path={{test}}' --out runs/chat/after
    {{paretopo}} evaluate experiments/chat/evaluate.toml --model runs/chat/sft/policy --set 'environment.problems.path={{test}}' --tool-free --out runs/chat/after-head

# Twenty steps of ParetoPO on a warm-started chat model (`just chat` leaves one in runs/chat/sft/policy), before and after on 500 problems of SVAMP; under half an hour on two cores. DATA is the folder that experiments/word-problems/data.py makes
[group('experiments')]
exp-words model data:
    python3 experiments/word-problems/split.py {{data}} runs/words
    {{paretopo}} compare experiments/word-problems/quick.toml --jobs 1 --out runs/words/quick --set workers=2 --set 'policy={ type = "folder", path = "{{absolute_path(model)}}" }' --set 'environment.problems={ type = "file", path = "{{justfile_directory()}}/runs/words/problems.jsonl", test = 500, validation = 200 }'

# Evaluate, train and evaluate the shipped policy with a calculator that is an MCP server (about two minutes)
[group('experiments')]
mcp-calculator:
    {{paretopo}} evaluate examples/mcp/config.toml --out runs/mcp-calculator-before
    {{paretopo}} train examples/mcp/config.toml --run runs/mcp-calculator

# Make the policy and the problems that `exp-words-full` starts from, and say what the policy can do before: SVAMP, problems like those of its warm start, GSM8K; with calls and without. MODEL is SmolLM2-135M-Instruct
[group('experiments')]
words-start model data:
    python3 experiments/word-problems/split.py {{data}} runs/words
    python3 experiments/chat/conversations.py runs/words/shown.jsonl runs/words/conversations.jsonl --shares 45 20 35 --practice 3000 --rounds 3 --worked
    {{paretopo}} sft experiments/word-problems/start.toml --model {{model}} --run runs/words/start
    just backend={{backend}} words-evaluate runs/words/start/policy runs/words/before

# A policy on SVAMP, on problems like those of its warm start and on GSM8K, greedily, with calls and (`-head`) without
[private]
words-evaluate policy out:
    #!/usr/bin/env bash
    set -euo pipefail
    for of in svamp:500:120 kept:200:120 gsm8k:300:240; do
        IFS=: read -r name count tokens <<< "$of"
        for head in "" -head; do
            {{paretopo}} evaluate experiments/word-problems/paretopo.toml --model {{policy}} --set "environment.problems={ type = 'file', path = '$PWD/runs/words/$name.jsonl', test = $count, validation = 0 }" --set evaluation.head_skill=false --set rollout.max_sampled_tokens=$tokens ${head:+--tool-free} --out "{{out}}-$name$head"
        done
    done

# Whether a warm start makes MODEL (SmolLM2-135M-Instruct) answer real questions with a search tool: 100 questions that no demonstration shows, with searches and without. QUESTIONS has "question", "answers" and "supporting_titles", CORPUS "id", "title" and "text"
[group('experiments')]
questions-start model questions corpus:
    cargo build {{release}} --bin paretopo
    python3 experiments/real-questions/prepare.py target/release/paretopo {{questions}} {{corpus}} runs/questions
    {{paretopo}} sft experiments/real-questions/start.toml --model {{model}} --run runs/questions/start
    for calls in "" "--tool-free"; do {{paretopo}} evaluate experiments/real-questions/paretopo.toml --model runs/questions/start/policy --set evaluation.head_skill=false $calls --out "runs/questions/before$calls"; done

# Two learning rates for each method of `exp-words-full`, on validation problems
[group('experiments')]
tune-words:
    {{paretopo}} compare experiments/word-problems/tuning.toml --jobs 2 --out runs/words/tuning

# Five methods, three seeds, 60 steps, from the policy of `words-start`; goes on from experiments/word-problems/runs.jsonl
[group('experiments')]
exp-words-full:
    {{paretopo}} compare experiments/word-problems/full.toml --jobs 2 --out runs/words/full

# Train an adapter on SmolLM2-135M-Instruct in its own chat format, with a calculator that is an MCP server, for a few steps; the same 100 problems before and after
[group('experiments')]
smollm2-mcp model:
    {{paretopo}} evaluate experiments/smollm2-mcp/config.toml --set 'policy={ type = "folder", path = "{{model}}" }' --out runs/smollm2-mcp-before
    {{paretopo}} train experiments/smollm2-mcp/config.toml --set 'policy={ type = "folder", path = "{{model}}" }' --run runs/smollm2-mcp

# The same in an environment that is an OpenEnv server, with a reward by command; it starts and stops the server
[group('experiments')]
openenv-products: install-openenv
    cargo build {{release}}
    examples/openenv/run.sh target/openenv/bin/python cargo run {{release}} -- --backend {{backend}} evaluate examples/openenv/config.toml --out runs/openenv-products-before
    examples/openenv/run.sh target/openenv/bin/python cargo run {{release}} -- --backend {{backend}} train examples/openenv/config.toml --run runs/openenv-products

# --- development ---

# All tests
[group('development')]
test:
    cargo test --release --locked --workspace --exclude paretopo-backend-wgpu --exclude paretopo-backend-cuda --exclude paretopo-backend-ndarray

# The page of `view` in Chromium without a window (needs `chromium` and `chromedriver`; `test` has them, too, where both are in /usr/bin)
[group('development')]
test-browser:
    cargo test --release --locked -p paretopo --test suite browser:: -- --include-ignored

# Ranks as MPI processes, and runs behind a launcher (needs an MPI library with its headers, libclang, `mpirun` and GNU parallel)
[group('development')]
test-mpi:
    cargo clippy --locked -p paretopo-mpi --features mpi -- -D warnings
    cargo test --release --locked -p paretopo --features mpi --test suite -- mpi:: launching:: --include-ignored

# Have Inspect itself read logs of `evaluate --format inspect`: a plain one, one whose tools fail, one that runs out of tokens (inspect-ai is installed, below target/)
[group('development')]
inspect-check:
    test -x target/inspect/bin/inspect || (python3 -m venv target/inspect && target/inspect/bin/pip install --quiet inspect-ai==0.3.285)
    cargo build {{release}}
    rm -rf target/inspect-logs
    target/release/paretopo --quiet evaluate experiments/math/paretopo.toml --set evaluation.samples=4 --set evaluation.tasks=50 --out target/inspect-logs/plain --format inspect
    target/release/paretopo --quiet evaluate experiments/math/paretopo.toml --set evaluation.tasks=50 --set "tools=[{ type = 'calculator', failure_rate = 0.5 }]" --out target/inspect-logs/errors --format inspect
    target/release/paretopo --quiet evaluate experiments/math/paretopo.toml --set evaluation.tasks=50 --set rollout.max_sampled_tokens=9 --out target/inspect-logs/limits --format inspect
    target/inspect/bin/python experiments/dashboards/inspect_check.py target/inspect-logs

# Train beside real servers of trackio and MLflow on this machine, kill the run, let it go on, and ask them what they hold (both are installed, below target/)
[group('development')]
dashboards-check:
    test -x target/trackio/bin/trackio || (python3 -m venv target/trackio && target/trackio/bin/pip install --quiet trackio==0.43.0)
    test -x target/mlflow/bin/mlflow || (python3 -m venv target/mlflow && target/mlflow/bin/pip install --quiet mlflow==3.17.2)
    cargo build {{release}}
    python3 experiments/dashboards/servers_check.py target/release/paretopo target/trackio/bin/python target/mlflow/bin/python

# Whether the rules of `doctor` find each of ten faults in three real runs, and nothing in twenty healthy ones; the tests replay the records (about ten minutes on one core)
[group('development')]
health-check seeds="judged":
    cargo build {{release}} --bin paretopo --example leaking_tool
    python3 experiments/health/check.py target/release/paretopo target/release/examples/leaking_tool {{seeds}}

# Environments of OpenEnv's own tools and a family of reasoning-gym's, with `openenv` or `openenv-core` (installs them below target/)
[group('development')]
test-openenv package="openenv":
    @just install-{{package}}
    PARETOPO_OPENENV="$PWD/target/{{package}}" cargo test --release --locked -p paretopo --test suite openenv::

# MCP servers that others have published, by their streams, by HTTP and behind walls (installs them below target/; those of npm where there is one)
[group('development')]
test-mcp: mcp-servers
    PARETOPO_MCP_SERVERS="$PWD/target/mcp" cargo test --release --locked -p paretopo --test suite mcp_servers::

# They, in a folder that is an environment of Python and a place of npm at once
[private]
mcp-servers:
    test -x target/mcp/bin/mcp-server-time || (python3 -m venv target/mcp && target/mcp/bin/pip install --quiet mcp-server-time==2026.10.19 mcp-server-git==2026.10.19)
    command -v npm >/dev/null || { echo "npm is not here: the servers that it installs are left out, and their tests are listed as ignored"; exit 0; }; test -d target/mcp/node_modules/@modelcontextprotocol/server-memory || npm install --silent --no-audit --no-fund --save-exact --prefix target/mcp @modelcontextprotocol/server-everything@2026.8.31 @modelcontextprotocol/server-filesystem@2026.8.31 @modelcontextprotocol/server-memory@2026.8.31

# OpenEnv and reasoning-gym, in an environment below target/
[private]
install-openenv:
    test -x target/openenv/bin/openenv || (python3 -m venv target/openenv && target/openenv/bin/pip install --quiet openenv==0.10.0 reasoning-gym==0.1.25)

# The package that it was before
[private]
install-openenv-core:
    test -x target/openenv-core/bin/openenv || (python3 -m venv target/openenv-core && target/openenv-core/bin/pip install --quiet openenv-core==0.3.0 reasoning-gym==0.1.25)

# That a build without search, parquet files and https refuses what needs them, by name
[group('development')]
test-lean:
    cargo test --release --locked --no-default-features -p paretopo-environments -p paretopo-hub -p paretopo-retrieval --lib left_out

# Hold a backend against PyTorch's numbers for tiny models of every architecture
[group('development')]
check:
    XDG_RUNTIME_DIR="${XDG_RUNTIME_DIR:-/tmp}" {{paretopo-lean}} check

# The same for one architecture, where a backend compiles its kernels slowly
[group('development')]
check-one architecture="qwen3":
    rm -rf target/one-architecture && mkdir -p target/one-architecture && ln -s "$PWD/tests/fixtures/models/{{architecture}}" target/one-architecture/
    XDG_RUNTIME_DIR="${XDG_RUNTIME_DIR:-/tmp}" {{paretopo-lean}} check target/one-architecture

# Logits and gradients alone, of every architecture
[group('development')]
check-gradients:
    XDG_RUNTIME_DIR="${XDG_RUNTIME_DIR:-/tmp}" {{paretopo-lean}} check --gradients

# Make docs/configuration.md anew from the types; the tests hold it against them
[group('development')]
reference:
    rm -f docs/configuration.md
    {{paretopo}} new reference docs/configuration.md

# The pages of docs/ as a site in target/book (mdbook is installed)
[group('development')]
docs:
    test -x target/tools/bin/mdbook || cargo install --quiet --locked mdbook@0.5.4 --no-default-features --features search --root target/tools
    target/tools/bin/mdbook build

# Pack every crate and try to publish all of them in the order of their dependencies; nothing is uploaded (needs crates.io's index and a clean tree, or `--allow-dirty`). Pass "" to also compile each from its package
[group('development')]
publish-check *arguments="--no-verify":
    cargo publish --workspace --dry-run --locked {{arguments}}

# What breaks users of the crates since a commit, e.g. `just semver HEAD~20 -p paretopo-pareto`
[group('development')]
semver baseline *arguments="--workspace":
    test -x target/tools/bin/cargo-semver-checks || cargo install --quiet --locked cargo-semver-checks@0.51.0 --root target/tools
    target/tools/bin/cargo-semver-checks semver-checks --baseline-rev {{baseline}} {{arguments}}

# One program of your own: `just example estimator train examples/estimator/config.toml`
[group('development')]
example name *arguments:
    cargo run --release --locked -p paretopo-example-{{name}} --bin paretopo-example-{{name}} -- {{arguments}}

# Formatting, lints on every backend, documentation; warnings are errors
[group('development')]
lint:
    cargo fmt --all --check
    cd experiments && python3 -m doctest conversation.py over_seeds.py verdicts.py line.py math/displacement.py math/objectives.py math/over_time.py chat/conversations.py real-questions/prepare.py word-problems/report.py word-problems/split.py
    cargo clippy --locked --workspace --all-targets --features paretopo-backend-cuda/nccl -- -D warnings
    RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --workspace --exclude paretopo-backend-wgpu --exclude paretopo-backend-cuda

# Licences and sources of all dependencies, and their known holes where the database of advisories can be reached
[group('development')]
deny:
    test -x target/tools/bin/cargo-deny || cargo install --quiet --locked cargo-deny@0.20.2 --root target/tools
    target/tools/bin/cargo-deny --locked check licenses bans sources
    if timeout 60 git ls-remote --quiet https://github.com/RustSec/advisory-db HEAD >/dev/null 2>&1; then target/tools/bin/cargo-deny --locked check advisories; else echo "advisories: not checked, their database cannot be reached"; fi

# Fuzz a target for a while, e.g. `just fuzz grader 3600` (needs a nightly compiler; cargo-fuzz is installed); the corpus goes on growing in fuzz/corpus
[group('development')]
fuzz target seconds="600":
    test -x target/tools/bin/cargo-fuzz || cargo install --quiet --locked cargo-fuzz@0.13.2 --root target/tools
    mkdir -p fuzz/corpus/{{target}} && tar -xzf fuzz/corpora/{{target}}.tar.gz -C fuzz/corpus/{{target}}
    cd fuzz && PATH="$PWD/../target/tools/bin:$PATH" cargo +nightly fuzz run --fuzz-dir . {{target}} corpus/{{target}} seeds/{{target}} -- -dict=dictionaries/{{target}}.dict -max_total_time={{seconds}} -timeout=100 -detect_leaks=0 -rss_limit_mb=3000

# Minimise the grown corpus of a fuzz target and pack it to be committed
[group('development')]
fuzz-corpus target:
    rm -rf fuzz/corpus/minimised && mkdir -p fuzz/corpus/minimised
    cd fuzz && PATH="$PWD/../target/tools/bin:$PATH" cargo +nightly fuzz run --fuzz-dir . {{target}} corpus/minimised corpus/{{target}} seeds/{{target}} -- -merge=1 -detect_leaks=0 -rss_limit_mb=3000
    tar --sort=name --owner=0 --group=0 --mtime=@0 -C fuzz/corpus/minimised -c . | gzip -9n > fuzz/corpora/{{target}}.tar.gz

# Line coverage of containment, training, durable and tools by their tests and the suite (needs llvm in the version of `rustc -vV`; cargo-llvm-cov is installed), in a target folder of its own
[group('development')]
coverage *arguments:
    test -x target/tools/bin/cargo-llvm-cov || cargo install --quiet --locked cargo-llvm-cov@0.9.1 --root target/tools
    LLVM_COV="${LLVM_COV:-llvm-cov-22}" LLVM_PROFDATA="${LLVM_PROFDATA:-llvm-profdata-22}" target/tools/bin/cargo-llvm-cov llvm-cov --release --locked -p paretopo-containment -p paretopo-durable -p paretopo-training -p paretopo-tools -p paretopo --summary-only --ignore-filename-regex '/(models|tests|crates/(agent|algorithms|backends|chat|cli|environments|grading|hub|reading|report|retrieval|settings|trajectory))/' {{arguments}}

# Format everything
[group('development')]
fmt:
    cargo fmt --all

# Every benchmark, about two hours on two cores with nothing else on them; results go to experiments/speed and the terminal. SMOLLM2 is a checkpoint folder, the rest as for `bench-parts`
[group('benchmarks')]
bench smollm2 corpus questions pairs threads="2" rounds="3": (bench-peers smollm2 threads rounds) (bench-step threads rounds) (bench-group-step smollm2 threads rounds) (bench-parts corpus questions pairs) (bench-scaling smollm2 threads) bench-search (bench-grading rounds pairs) bench-python (bench-memory smollm2)

# A flame graph (needs perf; inferno is installed) and a table of phases of any recipe, e.g. `just profile train experiments/math-python/grpo.toml --set train.steps=20`
[group('benchmarks')]
profile recipe *arguments:
    cargo install --quiet --locked inferno@0.12.8 --root target/tools
    cargo build {{release}}
    rm -rf target/profile && mkdir -p target/profile
    perf record --quiet --freq 199 --call-graph dwarf,16384 --output target/profile/perf.data target/release/paretopo --quiet {{recipe}} {{ if recipe == "evaluate" { "--out" } else { "--run" } }} target/profile/run {{arguments}}
    perf script --input target/profile/perf.data 2>/dev/null | target/tools/bin/inferno-collapse-perf 2>/dev/null | target/tools/bin/inferno-flamegraph > target/profile/flame.svg
    target/release/paretopo phases target/profile/run
    @echo "target/profile/flame.svg"

# How the embedded search grows from six thousand to a million passages
[group('benchmarks')]
bench-search:
    cargo run {{release}} --example search_growth

# Python tool calls a second for each interpreter, and how late innocent calls come back beside hostile ones
[group('benchmarks')]
bench-python calls="200":
    cargo build {{release}} && cargo build {{release}} --example python_speed
    target/release/examples/python_speed target/release/paretopo {{calls}}

# Requests a second of a running search server: connections, seconds, queries in a request (0: a connection for each)
[group('benchmarks')]
bench-serve address connections="16" seconds="5" queries="1":
    cargo run --release --locked -p paretopo-retrieval --example search_load {{address}} {{connections}} {{seconds}} {{queries}}

# Gradings a second of the math grader and of math-verify, turn and turn about, for files of {"gold":..,"pred":..} or {"gold":..,"response":..} lines
[group('benchmarks')]
bench-grading rounds +files:
    test -x target/math-verify/bin/python || (python3 -m venv target/math-verify && target/math-verify/bin/pip install --quiet math-verify==0.9.0)
    cargo build --release --locked -p paretopo-grading --example grading_speed
    target/math-verify/bin/python experiments/grading/speed.py target/release/examples/grading_speed {{rounds}} {{files}}

# Verdicts of the math grader beside math-verify's on labelled pairs: JSON lines of `gold`, `pred` or `response`, `equal` or `correct`
[group('experiments')]
grading-agreement +files: peers
    cargo build {{release}}
    target/peers/bin/python experiments/grading/agreement.py target/release/paretopo {{files}}

# Peak memory and speed of a gradient with each memory setting, for a checkpoint folder
[group('benchmarks')]
bench-memory model batch="4" time="256":
    MALLOC_MMAP_THRESHOLD_=262144 MALLOC_TRIM_THRESHOLD_=262144 RAYON_NUM_THREADS=1 cargo run {{release}} --example training_memory {{model}} {{batch}} {{time}}

# Whether the working tree is slower than a git revision (else than where the branch began), by instructions under valgrind, so on a busy machine, too; fails beyond LIMIT times as many. The first time it builds all dependencies; see experiments/speed/guard.py
[group('benchmarks')]
bench-guard baseline="" limit="1.03":
    LIMIT={{limit}} python3 experiments/speed/guard.py {{baseline}}

# Decoding and training beside transformers, vLLM and PyTorch, turn and turn about, with the same number of threads; peers go into throw-away environments
[group('benchmarks')]
bench-peers smollm2 threads="2" rounds="3": peers
    cargo build {{release}} --example speed
    THREADS={{threads}} ROUNDS={{rounds}} target/peers/bin/python experiments/speed/compare.py target/release/examples/speed target/peers/bin/python target/vllm/bin/python experiments/speed/results.json tiny=models/tiny-math 10M=experiments/speed/10m SmolLM2-135M={{smollm2}}

# A whole GRPO step with tool calls beside TRL's GRPOTrainer
[group('benchmarks')]
bench-step threads="2" rounds="3": peers
    cargo build {{release}}
    THREADS={{threads}} ROUNDS={{rounds}} target/peers/bin/python experiments/speed/step.py target/release/paretopo target/peers/bin/python models/tiny-math experiments/speed/step.json

# A whole GRPO step on one prompt of 256 ids, 8 rollouts of 64, beside TRL's GRPOTrainer
[group('benchmarks')]
bench-group-step model threads="2" rounds="3": peers
    cargo build {{release}} --example speed
    THREADS={{threads}} ROUNDS={{rounds}} target/peers/bin/python experiments/speed/group_step.py target/release/examples/speed target/peers/bin/python {{model}} experiments/speed/group_step.json

# Cost against batch, length, group and model size, and memory over 1,000 steps
[group('benchmarks')]
bench-scaling smollm2 threads="2": peers
    cargo build {{release}} && cargo build {{release}} --example speed
    THREADS={{threads}} target/peers/bin/python experiments/speed/scaling.py target/release/examples/speed target/release/paretopo experiments/speed/scaling.json experiments/speed/scaling.svg tiny=models/tiny-math 10M=experiments/speed/10m SmolLM2-135M={{smollm2}}

# A step of two ranks (MPI) beside one process with one and two threads, alone on two cores (needs what `test-mpi` needs)
[group('benchmarks')]
bench-ranks rounds="3" *settings="--set train.prompts_per_step=32":
    cargo build --release --locked --no-default-features --features flex,mpi --bin paretopo
    python3 experiments/speed/ranks.py target/release/paretopo experiments/math/paretopo.toml target/ranks.json {{rounds}} {{settings}}

# Check a card's backend, then decoding, training and whole steps beside PyTorch, in ten minutes once it is built; leaves the table in experiments/backends
[group('benchmarks')]
bench-card backend="cuda":
    experiments/backends/run.sh {{trim_start_match(backend, "backend=")}}

# The same script on WGPU in software with a tiny model, where there is no card (needs `mesa-vulkan-drivers`)
[group('benchmarks')]
bench-card-dry backend="wgpu":
    experiments/backends/run.sh {{trim_start_match(backend, "backend=")}} dry

# The peers, in environments below target/. vLLM asks for PyTorch's CPU build, which not every index has; the usual build of the same version serves as well
[private]
peers:
    test -x target/peers/bin/trl || (python3 -m venv target/peers && target/peers/bin/pip install --quiet torch==2.15.0 transformers==5.24.0 trl==1.16.0 datasets matplotlib bm25s==0.3.16 rank_bm25==0.2.2 math-verify==0.9.0 pymoo==0.6.2 moocore==0.3.2)
    test -x target/vllm/bin/vllm || experiments/speed/install_vllm.sh target/vllm

# Search, grading, sorting and tool calls beside the Python libraries for them; CORPUS and QUESTIONS as for `hotpotqa`, PAIRS as for `bench-grading`
[group('benchmarks')]
bench-parts corpus questions pairs: peers
    cargo build {{release}} && cargo build {{release}} --example parts_speed
    OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 NUMBA_NUM_THREADS=1 target/peers/bin/python experiments/speed/parts.py target/release/examples/parts_speed target/release/paretopo {{corpus}} {{questions}} {{pairs}} experiments/speed/parts.json

# Make the test fixtures anew from their reference implementations (needs Python; see the scripts' headers)
[group('development')]
fixtures python="python3":
    {{python}} tests/fixtures/make_models.py
    {{python}} tests/fixtures/make_adapters.py
    {{python}} tests/fixtures/make_pareto.py
    {{python}} tests/fixtures/statistics/make.py
    {{python}} tests/fixtures/make_losses.py
    {{python}} tests/fixtures/make_questions.py
