#!/usr/bin/env bash
# GPU tests and benchmarks, on a machine with CUDA: bash tests/gpu/run.sh
# Writes gpu.md (the table of rates), gpu.json, pytest.log, and the potentials benchmark (potentials.md,
# potentials.json, two figures) to $OUT (default: the current folder). Under ten minutes on one GPU.
# BOLTZGEN_GPU_DEVICE=cpu rehearses all of it, with short measurements, without a GPU.
# PYTHON names the interpreter (default: the repository's .venv, or python3).
set -euo pipefail
cd "$(dirname "$0")/../.."
export OUT="${OUT:-$PWD}"
mkdir -p "$OUT"
if [ -z "${PYTHON:-}" ]; then
	if [ -x .venv/bin/python ]; then PYTHON=.venv/bin/python; else PYTHON=python3; fi
fi
"$PYTHON" - <<'PYTHON_CODE'
import os
import sys

import torch

if os.environ.get("BOLTZGEN_GPU_DEVICE") != "cpu":
    if not torch.cuda.is_available():
        sys.exit("no CUDA device is available to torch; run this on a machine with a GPU.")
    print(torch.cuda.get_device_name(0), "torch", torch.__version__)
PYTHON_CODE
FAILED=0
# pytest's own -m replaces the one of pyproject.toml, which leaves GPU tests out.
PYTHONUNBUFFERED=1 "$PYTHON" -m pytest -q -m gpu tests/gpu 2>&1 | tee "$OUT/pytest.log" || FAILED=1
if [ -f "$OUT/gpu.md" ]; then cat "$OUT/gpu.md"; fi
DEVICE="${BOLTZGEN_GPU_DEVICE:-cuda}"
QUICK=()
if [ "$DEVICE" = cpu ]; then QUICK=(--quick); fi
"$PYTHON" tests/benchmarks/potentials.py --device "$DEVICE" --ours-only "${QUICK[@]}" --out "$OUT" \
	--systems "dipeptide, ff14SB" chignolin
exit "$FAILED"
