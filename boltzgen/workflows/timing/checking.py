"""How long `check`, `reweight` and others that evaluate what is there will take here."""

from __future__ import annotations

import numpy as np

from boltzgen.dynamics.openmm_engine import choose_platform, platform_rates
from boltzgen.ensemble.ensemble import Ensemble
from boltzgen.generator import BoltzmannGenerator
from boltzgen.interrupts import StopRequest
from boltzgen.system.molecular_system import MolecularSystem
from boltzgen.trust.probe import TIMESTEP, with_heavy_hydrogens
from boltzgen.workflows.sampling.reweight_target import NewTarget
from boltzgen.workflows.timing.expectation import MEASURING, Expectation, seconds_of
from boltzgen.workflows.timing.sampling import seconds_of_a_sample

#: Share of the time left by a limit in which samples are recomputed, where a probe is to come and elsewhere.
_SHARE, _REST = 0.3, 0.7

#: Fewest samples that are recomputed.
FEWEST_ROWS = 100


def expected_check(
    generator: BoltzmannGenerator,
    temperature: float,
    rows: int,
    probed: MolecularSystem | None,
    budget: int,
    platform: str,
) -> tuple[Expectation, float, str]:
    """What to expect of `check`, seconds for each row, and the platform of the probe (of `probed`)."""
    row = seconds_of_a_sample(generator, rows, temperature)
    seconds, task = rows * row, f"{rows} samples recomputed"
    measured = f"{1 / row:.3g} samples a second"
    if probed is not None:
        heavy = with_heavy_hydrogens(probed)
        names = None
        if platform != "auto":
            names = [choose_platform(heavy, probed.reference_positions, name=platform)]
        rates = platform_rates(heavy, probed.reference_positions, TIMESTEP, names)
        platform = max(rates, key=lambda name: rates[name])
        rate = max(rates[platform], 1e-9)
        seconds += budget / rate
        task += f", a probe of {budget:.3g} energies"
        measured += f", {platform} {rate:.3g} energies a second"
    return Expectation("check", seconds, task, measured), row, platform


def rows_within(stop: StopRequest, rows: int, each: float, *, before_a_probe: bool) -> int:
    """So many of `rows`, of `each` seconds, as the time left by `stop` is enough for; at least a few."""
    share = _SHARE if before_a_probe else _REST
    left = share * stop.left / max(each, 1e-12)
    return rows if left >= rows else max(min(rows, FEWEST_ROWS), int(left))


def expected_reweighting(target: NewTarget, ensemble: Ensemble, chosen: np.ndarray) -> Expectation:
    """What to expect of the new energies of the rows `chosen` of `ensemble`."""
    few = ensemble.positions[chosen[:16]]
    each = seconds_of(lambda: target.reduced_energy(few), within=MEASURING / 2) / max(len(few), 1)
    task = f"at most {len(chosen)} energies of {target.name}"
    return Expectation("reweight", each * len(chosen), task, f"{1 / max(each, 1e-12):.3g} energies a second")
