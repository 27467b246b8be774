#!/usr/bin/env bash
# The transferable flow on one GPU, in calls of less than ten minutes on a machine that stays warm between them:
#     bash tests/gpu/transfer.sh dataset     # the data sets of $CONFIGS, as far as the minutes go
#     bash tests/gpu/transfer.sh train       # trains $CONFIG (default: peptides) on them; again to go on
#     bash tests/gpu/transfer.sh benchmark   # zero-shot figures of the test molecules by it; again to go on
# Exit code 75: call the same step again. Data stay on the machine ($WORK, default runs/gpu/transfer): they are too
# many to travel, and the next session makes them anew. What a run needs to go on (configuration, metrics, the last
# checkpoint, the model) and the figures are packed into $OUT (default: the current folder) as $CONFIG.tar.gz.00,
# .01, ... of at most 15 MiB each, and unpacked from $FROM (default: $OUT) where $WORK has no such run yet.
# More words go to the command: bash tests/gpu/transfer.sh train optimizer.steps=20000
# The combined loss, from a model that there is, as a run of its own:
#     CONFIG=peptides-combined bash tests/gpu/transfer.sh train start=peptides-ff14sb-obc1
# Minutes of a call: $MINUTES (default 8). BOLTZGEN_GPU_DEVICE=cpu rehearses it. PYTHON names the interpreter.
set -euo pipefail
cd "$(dirname "$0")/../.."
STEP="${1:?name a step: dataset, train or benchmark}"
shift
OUT="$(realpath "${OUT:-$PWD}")"
FROM="$(realpath "${FROM:-$OUT}")"
WORK="${WORK:-runs/gpu/transfer}"
read -r -a CONFIGS <<<"${CONFIGS:-dataset-capped-amino-acids dataset-dipeptides}"
CONFIG="${CONFIG:-peptides}"
RUN="RUN-$(basename "$CONFIG" .yaml)"
PACK="$(basename "$CONFIG" .yaml)"
mkdir -p "$OUT" "$WORK"
if [ -z "${PYTHON:-}" ]; then
	if [ -x .venv/bin/python ]; then PYTHON=.venv/bin/python; else PYTHON=python3; fi
fi
DEVICE="${BOLTZGEN_GPU_DEVICE:-cuda}"
LIMIT=(--device "$DEVICE" --max-time "${MINUTES:-8}m")
FOLDERS=()
for config in "${CONFIGS[@]}"; do FOLDERS+=("$WORK/$(basename "$config" .yaml)"); done
if [ ! -d "$WORK/$RUN" ] && ls "$FROM/$PACK".tar.gz.* >/dev/null 2>&1; then
	cat "$FROM/$PACK".tar.gz.* | tar xzf - -C "$WORK"
fi

boltzgen() {
	"$PYTHON" -m boltzgen_cli "$@"
}

STATUS=0
case "$STEP" in
dataset)
	for number in "${!CONFIGS[@]}"; do
		boltzgen dataset build "${CONFIGS[$number]}" -o "${FOLDERS[$number]}" "${LIMIT[@]}" "$@" || STATUS=$?
		if [ "$STATUS" != 0 ]; then break; fi
	done
	;;
train)
	LIST="$(IFS=,; echo "${FOLDERS[*]}")"
	boltzgen train "$CONFIG" "dataset=[$LIST]" -o "$WORK/$RUN" --resume auto "${LIMIT[@]}" "$@" || STATUS=$?
	;;
benchmark)
	for number in "${!CONFIGS[@]}"; do
		boltzgen benchmark transfer "$WORK/$RUN" "${FOLDERS[$number]}" \
			-o "$WORK/$RUN-BENCH-$(basename "${CONFIGS[$number]}" .yaml)" "${LIMIT[@]}" "$@" || STATUS=$?
		if [ "$STATUS" != 0 ]; then break; fi
	done
	;;
*)
	echo "no step $STEP; use dataset, train or benchmark" >&2
	exit 2
	;;
esac
rm -f "$OUT/$PACK".tar.gz.*
PARTS=()
for part in "$WORK/$RUN" "$WORK/$RUN"-BENCH-*; do
	if [ -d "$part" ]; then PARTS+=("$(basename "$part")"); fi
done
if [ "${#PARTS[@]}" != 0 ]; then
	tar czf - -C "$WORK" "${PARTS[@]}" | split -b 15M -d - "$OUT/$PACK.tar.gz."
fi
ls -l "$OUT"
exit "$STATUS"
