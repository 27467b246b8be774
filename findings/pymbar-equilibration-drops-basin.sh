#!/usr/bin/env bash
# pymbar 4.0.3: detect_equilibration throws away the basin a trajectory saw first, and then finds it well sampled.
#
# Guess:   of a run that went from one basin to another once, the worst of all sampled series, it reports a long
#          correlation time and few effective samples; of a run that never moved at all, an error.
# Happens: it maximises the number of effective samples over the start, and that is largest where nothing slow is
#          left: it drops everything before the LAST transition and calls the rest uncorrelated (g about 1). The
#          occupation of the second basin becomes 100 %. statistical_inefficiency of the same series says 320.
#          Of a constant series detect_equilibration returns (0, 1, 1) while statistical_inefficiency raises.
# Matters: torsions of molecules hop rarely; a pipeline that calls detect_equilibration first loses a conformer
#          silently, and reports hundreds of independent samples.
#
# Seen 30 November 2026:
#   whole series: inefficiency 320, 3 effective of 1000, mean 0.50
#   detect_equilibration: starts at 502, inefficiency 1.03, 485 effective, mean 0.99
#   constant series: (0, 1, 1)
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --no-compile pymbar==4.0.3 numpy==2.3.5 scipy==1.17.1
cd "$work"
venv/bin/python -I -W ignore - 2>/dev/null <<'PY'
import numpy as np
from pymbar import timeseries

rng = np.random.default_rng(0)
series = np.concatenate([rng.normal(0, 0.1, 500), rng.normal(1, 0.1, 500)])  # one jump in 1000 frames
whole = timeseries.statistical_inefficiency(series)
start, g, effective = timeseries.detect_equilibration(series)
constant = tuple(int(v) for v in timeseries.detect_equilibration(np.zeros(100)))
print(f"whole series: inefficiency {whole:.0f}, {1000 / whole:.0f} effective of 1000, mean {series.mean():.2f}")
print(f"detect_equilibration: starts at {start}, inefficiency {g:.2f}, {effective:.0f} effective, "
      f"mean {series[start:].mean():.2f}")
print(f"constant series: {constant}")
ok = whole > 200 and 490 <= start <= 520 and g < 1.2 and effective > 400 and constant == (0, 1, 1)
try:
    timeseries.statistical_inefficiency(np.zeros(100))
    ok = False
except timeseries.ParameterError:
    pass
if not ok:
    print("CHANGED")
raise SystemExit(0 if ok else 1)
PY
