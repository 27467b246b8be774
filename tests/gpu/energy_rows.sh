#!/usr/bin/env bash
# One row of the energy-training table on one GPU, in pieces of less than ten minutes:
#     bash tests/gpu/energy_rows.sh reference EXAMPLE     # independent replica exchange, for the forward ESS
#     bash tests/gpu/energy_rows.sh ROW [more words of tests/benchmarks/energy_training.py row, such as --seed 1]
# ROW is one of tests/benchmarks/card_rows.py (alanine-dipeptide-fab, capped-tri-alanine, ...), EXAMPLE the molecule
# of its configuration. Each call unpacks what the last one left, goes on, and packs it again into $OUT (default: the
# current folder) as $NAME.tar.gz.00, .01, ... of at most 15 MiB each: data, the last two checkpoints, samples,
# result.json. NAME is ROW (give another for another seed), reference-EXAMPLE for a reference; a row uses the reference
# of its molecule where there is one. Exit code 75: call it again.
# Where the last pieces are: $FROM (default: $OUT). Minutes of a call: $MINUTES (default 8).
# BOLTZGEN_GPU_DEVICE=cpu rehearses it, with the settings of the configuration. PYTHON names the interpreter.
set -euo pipefail
cd "$(dirname "$0")/../.."
ROW="${1:?name a row, such as alanine-dipeptide-fab}"
shift
OUT="$(realpath "${OUT:-$PWD}")"
FROM="$(realpath "${FROM:-$OUT}")"
WORK="${WORK:-runs/gpu}"
DEVICE="${BOLTZGEN_GPU_DEVICE:-cuda}"
mkdir -p "$OUT" "$WORK"
if [ -z "${PYTHON:-}" ]; then
	if [ -x .venv/bin/python ]; then PYTHON=.venv/bin/python; else PYTHON=python3; fi
fi
SCRIPT=tests/benchmarks/energy_training.py
LIMIT=(--minutes "${MINUTES:-8}")

unpack() { # the folder $WORK/$1, where there is none yet
	if [ ! -d "$WORK/$1" ] && ls "$FROM/$1".tar.gz.* >/dev/null 2>&1; then
		cat "$FROM/$1".tar.gz.* | tar xzf - -C "$WORK"
	fi
}

STATUS=0
if [ "$ROW" = reference ]; then
	EXAMPLE="${1:?name an example, such as alanine-dipeptide-fab}"
	shift
	NAME="reference-$EXAMPLE"
	unpack "$NAME"
	"$PYTHON" "$SCRIPT" reference "$EXAMPLE" -o "$WORK/$NAME" "${LIMIT[@]}" --set "device=$DEVICE" "$@" || STATUS=$?
else
	NAME="${NAME:-$ROW}"
	unpack "$NAME"
	WORDS=(--name "$NAME" --runs "$WORK" "${LIMIT[@]}")
	if [ "$DEVICE" = cuda ]; then WORDS+=(--card); fi
	EXAMPLE="$("$PYTHON" "$SCRIPT" molecule "$ROW")"
	unpack "reference-$EXAMPLE"
	if [ -f "$WORK/reference-$EXAMPLE/convergence-300K.json" ]; then
		WORDS+=(--reference "$WORK/reference-$EXAMPLE")
	fi
	"$PYTHON" "$SCRIPT" row "$ROW" "${WORDS[@]}" "$@" || STATUS=$?
	if [ -f "$WORK/$NAME/result.json" ]; then cp "$WORK/$NAME/result.json" "$OUT/$NAME.json"; fi
fi
rm -f "$OUT/$NAME".tar.gz.*
if [ -d "$WORK/$NAME" ]; then
	tar czf - -C "$WORK" "$NAME" | split -b 15M -d - "$OUT/$NAME.tar.gz."
fi
ls -l "$OUT"
exit "$STATUS"
