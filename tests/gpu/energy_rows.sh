#!/usr/bin/env bash
# One row of the energy-training table on one GPU, in pieces of less than ten minutes:
#     bash tests/gpu/energy_rows.sh ROW [more words of tests/benchmarks/energy_training.py row]
# ROW is the name of a configuration (alanine-dipeptide-fab, capped-tri-alanine, ...). Each call unpacks what the
# last one left, goes on, and packs the row again into $OUT (default: the current folder) as row.tar.gz.00, .01,
# ... of at most 15 MiB each: data, the last two checkpoints, samples, result.json. Exit code 75: call it again.
# Where the last pieces are: $FROM (default: $OUT). Minutes of a call: $MINUTES (default 8).
# BOLTZGEN_GPU_DEVICE=cpu rehearses it without a GPU. PYTHON names the interpreter.
set -euo pipefail
cd "$(dirname "$0")/../.."
ROW="${1:?name a row, such as alanine-dipeptide-fab}"
shift
OUT="$(realpath "${OUT:-$PWD}")"
FROM="$(realpath "${FROM:-$OUT}")"
mkdir -p "$OUT"
if [ -z "${PYTHON:-}" ]; then
	if [ -x .venv/bin/python ]; then PYTHON=.venv/bin/python; else PYTHON=python3; fi
fi
WORK="${WORK:-runs/gpu/$ROW}"
mkdir -p "$WORK"
if [ ! -d "$WORK/row" ] && ls "$FROM"/row.tar.gz.* >/dev/null 2>&1; then
	cat "$FROM"/row.tar.gz.* | tar xzf - -C "$WORK"
fi
STATUS=0
"$PYTHON" tests/benchmarks/energy_training.py row "$ROW" --name row --runs "$WORK" \
	--device "${BOLTZGEN_GPU_DEVICE:-cuda}" --minutes "${MINUTES:-8}" "$@" || STATUS=$?
rm -f "$OUT"/row.tar.gz.*
tar czf - -C "$WORK" row | split -b 15M -d - "$OUT/row.tar.gz."
if [ -f "$WORK/row/result.json" ]; then cp "$WORK/row/result.json" "$OUT/result.json"; fi
ls -l "$OUT"
exit "$STATUS"
