"""Energy, heat capacity and entropy of the configurations, from weighted samples at one temperature.

With reduced energies ``u = U/kT`` of samples and the averages ``< >`` over the target:

    U/kT = <u>,     C/k = <u^2> - <u>^2,     A/kT = -ln Z,     S/k = <u> + ln Z

Beside each value stands ``by_reweighting``: the same samples reweighted to T (1 - h) and T (1 + h), at fixed
potential energies U, and the derivatives of thermodynamics taken as central differences:

    U/kT = T d(ln Z)/dT,     C/k = dU/d(kT),     S/k = d(T ln Z)/dT

It takes another road through the weights (tails count differently), so a difference larger than the
standard error says that the samples do not carry the neighbouring temperatures.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from boltzgen.errors import InputError
from boltzgen.free_energy.estimate import Estimate
from boltzgen.free_energy.importance import NO_WEIGHT, WeightedSample, shifted, weighted_values
from boltzgen.free_energy.partition import NO_LOG_Z, knows_log_z, with_scale
from boltzgen.free_energy.statistics import Statistics
from boltzgen.free_energy.uncertainty import NOTHING, Errors, more_of, smooth_functions

#: What these numbers are not; for tables, files and the manual.
SCOPE = (
    "Configurational quantities of the potential energy as given: momenta are not included, and parameters "
    "of an implicit solvent are held fixed when the temperature changes, so these are not solvation "
    "entropies or experimental heat capacities. The entropy is relative to the measure (lengths in nm, "
    "labelled atoms): differences between states of one system mean something, its absolute value does not."
)

#: name, quantity and unit of the four estimates, in order.
QUANTITIES = (
    ("U", "potential energy", "kT"),
    ("C", "configurational heat capacity", "k"),
    ("S", "configurational entropy", "k"),
    ("A", "configurational free energy", "kT"),
)


def thermodynamics(
    log_w: ArrayLike,
    u_n: ArrayLike,
    statistics: Statistics,
    *,
    relative_step: float = 0.01,
) -> list[Estimate]:
    """U, C, S and A (see `QUANTITIES`) from log-weights (N,) and reduced energies (N,).

    U and A are in kT, C and S in k. The samples must come from a normalised density, else S and A are off
    by its constant. relative_step: h above. One state: give log-weight ``-inf`` outside; then A, S and U
    are those of the state, and differences between states are free of the measure.

    Each estimate has ``further["by_reweighting"]`` and takes a finding when that lies more than one standard
    error away (it shares the samples, so that it should lie far closer). `SCOPE` says what these numbers
    are not. InputError as for `boltzgen.free_energy.importance.expectation`.
    """
    if not 0 < relative_step < 0.5:
        raise InputError(f"the relative step in temperature must be between 0 and 0.5, not {relative_step}.")
    sample = WeightedSample.of(log_w, statistics)
    energy_n = weighted_values(sample, u_n, "reduced energy")
    direct: list[Errors] = [NOTHING] * 4
    checks: tuple[float | None, ...] = (None,) * 4
    if sample.has_weight:
        direct = _from_fluctuations(sample, energy_n)
        checks = _by_reweighting(sample, energy_n, relative_step)
        if not knows_log_z(statistics):
            direct, checks = [*direct[:2], NOTHING, NOTHING], (*checks[:2], None, None)
    why = NO_WEIGHT if knows_log_z(statistics) or not sample.has_weight else NO_LOG_Z
    return [
        sample.estimate(
            errors,
            name=name,
            quantity=quantity,
            unit=unit,
            found=_judge(errors, check, name, relative_step, more_of(statistics.coverage)),
            further={"by_reweighting": check, "relative_step": relative_step},
            values=energy_n,
            why=why,
        )
        for (name, quantity, unit), errors, check in zip(QUANTITIES, direct, checks, strict=True)
    ]


def _from_fluctuations(sample: WeightedSample, energy_n: np.ndarray) -> list[Errors]:
    mean = float(sample.w_n @ energy_n)
    c_n = energy_n - mean  # centred: energies of thousands of kT would lose the digits of their variance
    rows = np.stack([np.full(sample.n, 1.0 / sample.n), sample.w_n, sample.w_n * c_n, sample.w_n * c_n**2])

    def functions(sums: np.ndarray) -> np.ndarray:
        count, weight, first, second = (sums[..., j] for j in range(4))
        centred = first / weight
        log_mean = np.log(weight) - np.log(count)
        return np.stack([centred, second / weight - centred**2, centred + log_mean, -log_mean], axis=-1)

    found = smooth_functions(rows, functions, sample.statistics)
    log_z = sample.shift - float(np.log(sample.n))
    constants = (mean, 0.0, mean + log_z, -log_z)
    moved = [shifted(errors, constant) for errors, constant in zip(found, constants, strict=True)]
    return [*moved[:2], *(with_scale(errors, sample.statistics) for errors in moved[2:])]


def _by_reweighting(sample: WeightedSample, energy_n: np.ndarray, h: float) -> tuple[float, ...]:
    """U/kT, C/k, S/k and A/kT by central differences over T (1 - h) and T (1 + h)."""
    log_z, energy = [], []
    for t in (1.0 - h, 1.0 + h):  # T' / T; the weight gains exp(u - u T/T')
        log_w_n = sample.log_w_n + np.where(np.isfinite(sample.log_w_n), energy_n * (1.0 - 1.0 / t), 0.0)
        total = float(np.logaddexp.reduce(log_w_n))
        log_z.append(total - float(np.log(sample.n)))
        energy.append(float(np.exp(log_w_n - total) @ energy_n))
    entropy = ((1 + h) * log_z[1] - (1 - h) * log_z[0]) / (2 * h)
    u, c = (log_z[1] - log_z[0]) / (2 * h), (energy[1] - energy[0]) / (2 * h)
    return u, c, entropy, u - entropy


def _judge(
    errors: Errors, check: float | None, name: str, h: float, more: str
) -> tuple[tuple[str, str], ...]:
    if errors.value is None or check is None or errors.asymptotic is None:
        return ()
    if abs(errors.value - check) <= max(errors.asymptotic, h**2 * abs(errors.value)):
        return ()
    text = (
        f"{name} is {errors.value:.4g} from fluctuations and {check:.4g} by reweighting to "
        f"{100 * h:g} % lower and higher temperature, more than a standard error apart; {more}"
    )
    return (("caution", text),)
