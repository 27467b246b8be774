#!/usr/bin/env bash
# arviz-stats 0.8.0: psislw negates what it is given; handed log weights, it diagnoses the inverse weights.
#
# Guess:   the function that smooths importance weights takes log importance weights (its docstring says only
#          "ary: array-like", and that it computes log weights); a target nobody samples gives k-hat above 0.7.
# Happens: the argument is the log likelihood of leave-one-out, whose NEGATIVE is the log ratio. Log weights handed in
#          come back upside down: the sample that holds all the weight gets the smallest one, and k-hat judges the
#          other tail, which may look healthy. The right call is psislw(-log_weights).
# Matters: k-hat is the usual test of whether reweighting from a flow or another force field can be trusted. With the
#          wrong sign, a proposal one of whose samples outweighs all the others passes.
#
# Seen 30 November 2026 (2000 weights of which ten grow by steps of 6 in the logarithm):
#   psislw( log_weights): k-hat 0.43, the heaviest sample comes out as number 2000 of 2000
#   psislw(-log_weights): k-hat 4.10, the heaviest sample comes out as number 1 of 2000
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --no-compile arviz-stats==0.8.0 numpy==2.3.5 scipy==1.17.1
cd "$work"
venv/bin/python -I -W ignore - <<'PY'
import numpy as np
from arviz_stats.base import array_stats

rng = np.random.default_rng(0)
log_weights = rng.normal(size=2000)
log_weights[:10] = 6.0 * np.arange(10, 0, -1)  # sample 0 outweighs all the others together
found = {}
for name, argument in (("psislw( log_weights)", log_weights), ("psislw(-log_weights)", -log_weights)):
    smooth, khat = array_stats.psislw(argument)
    rank = int((smooth > smooth[0]).sum()) + 1
    found[name] = float(khat), rank
    print(f"{name}: k-hat {float(khat):.2f}, the heaviest sample comes out as number {rank} of {len(smooth)}")
(k_plus, rank_plus), (k_minus, rank_minus) = found.values()
assert k_plus < 0.7 and rank_plus > 1990, "psislw takes log weights as they are now"
assert k_minus > 0.7 and rank_minus == 1
PY
