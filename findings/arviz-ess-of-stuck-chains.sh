#!/usr/bin/env bash
# arviz-stats 0.8.0: the effective sample size of chains that never moved is the full number of draws.
#
# Guess:   a torsional state that no chain ever left has an effective size of one (or nan), and R-hat speaks up.
# Happens: ess of a constant array returns the number of draws; R-hat of it is nan, as R-hat is of any single chain, and
#          a comparison such as "rhat > 1.01" is False for nan, so no alarm goes off. Stuck in DIFFERENT states, the same
#          chains have 4 effective draws and an R-hat of 1e15: the two kinds of stuck look like best and worst.
# Matters: indicator functions of conformers (in this state or not) are the natural thing to judge; for the one conformer
#          missed by every walker, the diagnosis is "perfectly sampled".
#
# Seen 30 November 2026:
#   all four chains in one state:   ess 2000 of 2000, R-hat nan
#   two in one, two in another:     ess 4 of 2000, R-hat > 1e10
#   one chain with one jump:        ess 1 of 1000, R-hat nan
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --no-compile arviz-stats==0.8.0 numpy==2.3.5 scipy==1.17.1
cd "$work"
venv/bin/python -I -W ignore - <<'PY'
import numpy as np
from arviz_stats.base import array_stats

one = np.zeros((4, 500))
split = np.repeat([[0.0], [0.0], [1.0], [1.0]], 500, axis=1)
jump = np.zeros((1, 1000))
jump[0, 500:] = 1
found = [(float(array_stats.ess(a)), float(array_stats.rhat(a))) for a in (one, split, jump)]
for name, a, (ess, rhat) in zip(("all four chains in one state:", "two in one, two in another:",
                                 "one chain with one jump:"), (one, split, jump), found):
    print(f"{name:31s} ess {ess:.0f} of {a.size}, R-hat {rhat if np.isnan(rhat) or rhat < 1e10 else '> 1e10'}")
assert found[0][0] == 2000 and np.isnan(found[0][1]), "constant chains are judged otherwise now"
assert found[1][0] < 10 and found[1][1] > 1e10
assert found[2][0] < 2 and np.isnan(found[2][1])
PY
