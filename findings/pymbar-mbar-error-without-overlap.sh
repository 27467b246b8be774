#!/usr/bin/env bash
# pymbar 4.0.3: MBAR's standard error of a state that no sample reaches stops at 1 kT, however wrong the estimate.
#
# Guess:   a target state without overlap with the sampled ones gives an enormous or infinite uncertainty, or raises.
# Happens: when one sample holds all the weight, the asymptotic variance of ln(mean) tends to 1 - 1/N: the error
#          reported is 0.6 kT for an estimate that is wrong by 16 kT, 1.0 for one that is wrong by a thousand. It grows
#          with distance at first and stops at one: a signature of failure, not an error bar.
#          MBAR(n_bootstraps=...) leaves dDelta_f as it was: the resampled error has to be asked for by
#          compute_free_energy_differences(uncertainty_method="bootstrap"), and is too small as well.
# Matters: reweighting to another temperature, force field or Hamiltonian is exactly an unsampled state of MBAR.
#          Look at compute_effective_sample_number or the largest weight, not at the error.
#
# Seen 30 November 2026 (the exact answer is 0 in every row):
#   target at   4: Delta_f     2.06, reported error 0.29, bootstrap 0.26
#   target at   8: Delta_f    15.84, reported error 0.59, bootstrap 0.76
#   target at  16: Delta_f    89.78, reported error 0.87, bootstrap 1.31
#   target at  50: Delta_f  1116.17, reported error 1.00, bootstrap 5.41
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --no-compile pymbar==4.0.3 numpy==2.3.5 scipy==1.17.1
cd "$work"
venv/bin/python -I -W ignore - 2>/dev/null <<'PY'
import numpy as np
from pymbar import MBAR

rng = np.random.default_rng(0)
x = np.r_[rng.normal(0, 1, 100), rng.normal(1, 1, 100)]
ok = True
for target in (4, 8, 16, 50):
    u_kn = np.array([0.5 * (x - centre) ** 2 for centre in (0, 1, target)])  # unit wells: every free energy is equal
    np.random.seed(1)
    mbar = MBAR(u_kn, [100, 100, 0], n_bootstraps=50)
    result = mbar.compute_free_energy_differences()
    boot = mbar.compute_free_energy_differences(uncertainty_method="bootstrap")["dDelta_f"][0, 2]
    f, error = result["Delta_f"][0, 2], result["dDelta_f"][0, 2]
    print(f"target at {target:3d}: Delta_f {f:8.2f}, reported error {error:.2f}, bootstrap {boot:.2f}")
    if target >= 8:
        ok &= f > 15 * error and 0.5 < error < 1.05 and abs(error - boot) > 0.01
raise SystemExit(0 if ok else 1)
PY
