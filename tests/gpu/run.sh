#!/usr/bin/env bash
# GPU tests and benchmarks, on a machine with CUDA: bash tests/gpu/run.sh
# Writes gpu.md (the table of rates), gpu.json and pytest.log to $OUT (default: the current folder).
# PYTHON names the interpreter (default: the repository's .venv, or python3).
set -euo pipefail
cd "$(dirname "$0")/../.."
export OUT="${OUT:-$PWD}"
mkdir -p "$OUT"
if [ -z "${PYTHON:-}" ]; then
	if [ -x .venv/bin/python ]; then PYTHON=.venv/bin/python; else PYTHON=python3; fi
fi
"$PYTHON" - <<'PYTHON_CODE'
import sys

import torch

if not torch.cuda.is_available():
    sys.exit("no CUDA device is available to torch; run this on a machine with a GPU.")
print(torch.cuda.get_device_name(0), "torch", torch.__version__)
PYTHON_CODE
# pytest's own -m replaces the one of pyproject.toml, which leaves GPU tests out.
PYTHONUNBUFFERED=1 "$PYTHON" -m pytest -q -m gpu tests/gpu 2>&1 | tee "$OUT/pytest.log"
cat "$OUT/gpu.md"
