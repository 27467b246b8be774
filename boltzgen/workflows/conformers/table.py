"""The table of conformers: conformations gathered into wells, and all that is told of them."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import torch

from boltzgen.files import together, write_atomic, write_json
from boltzgen.free_energy.statistics import Statistics
from boltzgen.free_energy.thermodynamics import SCOPE
from boltzgen.interrupts import StopRequest
from boltzgen.potentials.base import Potential
from boltzgen.potentials.of_system import potential_of
from boltzgen.progress import Progress, silent
from boltzgen.provenance import VERSION
from boltzgen.system.molecular_system import MolecularSystem
from boltzgen.units import thermal_energy
from boltzgen.wells.files import NO_LEWIS, conformers_sdf, crest_xyz, symbols_of
from boltzgen.wells.gathering import Gathered, Well, gathered
from boltzgen.wells.minimisation import value_and_gradient
from boltzgen.wells.populations import Figures, figures
from boltzgen.workflows.conformers.observed import Observed
from boltzgen.workflows.conformers.pose import Pose
from boltzgen.workflows.conformers.record import SCHEMA, table_csv
from boltzgen.workflows.conformers.source import Conformations
from boltzgen.workflows.conformers.told import judged, properties, wells_told
from boltzgen.workflows.free_energy.results import statistics_of
from boltzgen.workflows.timing.expectation import Expect, Expectation, seconds_of

#: Gradients that the minimisation of one conformation takes, for what is told before.
_STEPS = 60
#: The files, in the order in which they are written; the last vouches for the others.
TABLE, MOLECULES, CREST, NAME = "conformers.csv", "conformers.sdf", "crest_conformers.xyz", "conformers.json"
#: The folder for a system of a file.
SYS = "SYS"


def write_table(
    given: Conformations,
    folder: Path,
    *,
    pose: Pose | None = None,
    observed: Observed | None = None,
    rows: int,
    n_bootstrap: int,
    seed: int,
    cautions: Sequence[str] = (),
    made: Sequence[MolecularSystem] = (),
    stop: StopRequest,
    progress: Progress = silent,
    expect: Expect | None = None,
) -> dict[str, Any]:
    """Gather at most `rows` of `given` into wells; write the files into `folder`; the content of `NAME`.

    made: systems of a file that are kept in ``folder/SYS``. cautions: what else speaks against the samples.
    The rest is as in `conformers`.
    """
    statistics = statistics_of(n_bootstrap, seed)
    with closing(potential_of(given.system)) as potential:
        if expect is not None:
            expect(expected(given, potential, min(rows, len(given))))
        work = _Work(given, potential, pose, observed, rows, seed, list(cautions))
        content, files = work.done(statistics, stop, progress)
    content["provenance"].update(bootstrap=n_bootstrap, seed=seed, version=VERSION)
    with together(folder / NAME):
        for system in made:
            system.save(folder / SYS)
        for file, text in files.items():
            write_atomic(folder / file, text)
        write_json(folder / NAME, content)
    return content


class _Work:
    """The wells of what was given, and all that is told of them."""

    def __init__(
        self,
        given: Conformations,
        potential: Potential,
        pose: Pose | None,
        observed: Observed | None,
        rows: int,
        seed: int,
        cautions: list[str],
    ) -> None:
        self.whole, self.potential, self.cautions = given, potential, cautions
        self.pose, self.observed = pose, observed
        self.given, self.rows = given.chosen(rows, np.random.default_rng(seed))

    def done(
        self, statistics: Statistics, stop: StopRequest, progress: Progress
    ) -> tuple[dict[str, Any], dict[str, str]]:
        """The content of ``conformers.json``, and the text of each other file."""
        given, system = self.given, self.given.system
        positions = given.positions[self.rows]
        found = gathered(
            system, self.potential, positions, isomers=given.isomers, stop=stop, progress=progress
        )
        codes = np.full(len(given), -1)
        codes[self.rows] = found.codes
        held, lost = self._held(found, codes, statistics) if given.weighted else (None, 0.0)
        entries, order = wells_told(
            found.wells, held, self.potential, np.asarray(system.masses), given.temperature
        )
        wells = [found.wells[row] for row in order]
        if not found.complete:
            self.cautions.append(
                "the molecule has too many symmetries to try all: equal wells may stand apart"
            )
        averages, notes = self._observe(entries, wells, held, codes, statistics)
        sdf = conformers_sdf(system, wells, [properties(one, given.temperature) for one in entries])
        verdict, reasons = judged(self.whole, held, lost, self.cautions)
        lowest = min(well.energy for well in found.wells)
        pose = None if self.pose is None else self.pose.told(self.whole, self.potential, statistics, lowest)
        files = {TABLE: table_csv(entries), CREST: crest_xyz(wells, symbols_of(system))}
        files.update({} if sdf is None else {MOLECULES: sdf})
        return {
            "schema": SCHEMA,
            "molecule": system.name,
            "temperature_K": given.temperature,
            "kind": given.kind,
            "minimised": {
                "rows": len(self.rows),
                "of": len(self.whole),
                "share_of_weight": self._share() if given.weighted else None,
                "without_a_well": found.lost,
            },
            "wells": entries,
            "others": None if held is None else {"wells": held.others, "population": held.rest},
            "entropy_reference": _reference(held),
            "entropies": [] if held is None else [one.to_json(given.temperature) for one in held.entropies],
            "scope": SCOPE,
            "observables": averages,
            "pose": pose,
            "verdict": verdict,
            "reasons": reasons,
            "notes": notes if sdf is not None else [*notes, f"conformers.sdf was not written: {NO_LEWIS}"],
            "files": [*files, NAME],
            "provenance": {
                "source": given.source,
                "system": system.name,
                "system_fingerprint": system.fingerprint,
                "isomers": given.isomers,
            },
        }, files

    def _observe(
        self,
        entries: list[dict[str, Any]],
        wells: Sequence[Well],
        held: Figures | None,
        codes: np.ndarray,
        statistics: Statistics,
    ) -> tuple[list[dict[str, Any]], list[str]]:
        """Averages of observables over all, and notes; those of each well are added to its entry."""
        for entry in entries:
            entry["observables"] = []
        if self.observed is None:
            return [], []
        if held is None:
            told, notes = self.observed.at(np.array([well.positions for well in wells]))
            for entry, own in zip(entries, told, strict=True):
                entry["observables"] = own
            return [], notes
        kelvin = self.given.temperature
        about = self.given.statistics(statistics, codes)
        averages, of_wells, notes = self.observed.told(self.given, codes, held, about)
        for entry, estimates in zip(entries, of_wells, strict=True):
            entry["observables"] = [one.to_json(kelvin) for one in estimates]
        return [one.to_json(kelvin) for one in averages], notes

    def _held(self, found: Gathered, codes: np.ndarray, statistics: Statistics) -> tuple[Figures, float]:
        """The figures of the wells, and the share of the weight without one."""
        given = self.given
        weighted = np.isfinite(given.log_w)
        shares = np.exp(given.log_w - np.logaddexp.reduce(given.log_w))
        lost = float(shares[weighted & (codes < 0)].sum())
        about = given.statistics(statistics, codes)
        degeneracies = np.array([well.degeneracy for well in found.wells])
        held = figures(
            given.log_w,
            self._energies(),
            codes,
            degeneracies,
            about,
            judge=given.judge,
            absolute=given.kind != "frames",
            k_hat=given.k_hat,
        )
        return held, lost

    def _energies(self) -> np.ndarray:
        """Reduced energies (n,) of the rows, those that are not known computed."""
        u = np.array(self.given.u)
        wanted = np.flatnonzero(~np.isfinite(u) & np.isfinite(self.given.log_w))
        if len(wanted):
            x = torch.as_tensor(np.asarray(self.given.positions[wanted], dtype=np.float64))
            with torch.no_grad():
                u[wanted] = self.potential.energy(x).numpy() / thermal_energy(self.given.temperature)
        return u

    def _share(self) -> float:
        """Share of all weight in the rows that were minimised."""
        whole = self.whole.log_w
        if self.given.kind != "samples":
            return len(self.rows) / max(int(np.isfinite(whole).sum()), 1)
        return float(np.exp(np.logaddexp.reduce(whole[self.rows]) - np.logaddexp.reduce(whole)))


def _reference(held: Figures | None) -> str | None:
    if held is None:
        return None
    return "absolute, by ln Z of the samples" if held.absolute else "over well 1: no ln Z is known"


def expected(given: Conformations, potential: Potential, rows: int) -> Expectation:
    """How long it takes here to minimise `rows` of `given`."""
    few = torch.as_tensor(np.asarray(given.positions[: min(64, len(given))], dtype=np.float64))
    each = seconds_of(lambda: value_and_gradient(potential, few)) / len(few)
    task = f"{rows} conformations minimised"
    return Expectation("conformers", _STEPS * rows * each, task, f"{1 / each:.3g} gradients a second")
