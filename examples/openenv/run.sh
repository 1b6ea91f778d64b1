#!/usr/bin/env bash
# Starts the example's server, runs a command, and stops the server.
#   run.sh PYTHON COMMAND ...
# PYTHON is one that has `openenv`; what the server says is in runs/openenv.log.
set -euo pipefail
cd "$(dirname "$0")/../.."
python=$1
shift
mkdir -p runs
"$python" examples/openenv/server.py 8000 >runs/openenv.log 2>&1 &
server=$!
trap 'kill "$server" 2>/dev/null; wait "$server" 2>/dev/null || true' EXIT
for _ in $(seq 120); do
    if "$python" -c 'import urllib.request as u; u.urlopen("http://127.0.0.1:8000/health", timeout=2)' \
        2>/dev/null; then
        "$@"
        exit
    fi
    if ! kill -0 "$server" 2>/dev/null; then
        tail -n 20 runs/openenv.log >&2
        exit 1
    fi
    sleep 1
done
echo "the server is not up after two minutes; see runs/openenv.log" >&2
exit 1
