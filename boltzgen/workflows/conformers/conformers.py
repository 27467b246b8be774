"""``conformers``: samples of a molecule gathered into wells: populations, free energies, entropies."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from os import PathLike
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from boltzgen.checks import check_number, check_temperature
from boltzgen.contents import check_output
from boltzgen.errors import InputError, PartialError
from boltzgen.files import together, write_atomic, write_json
from boltzgen.folders import alone_in, holds_other_files, is_own_file
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
from boltzgen.wells.gathering import Gathered, gathered
from boltzgen.wells.minimisation import value_and_gradient
from boltzgen.wells.populations import Figures, figures
from boltzgen.workflows.conformers.pose import Pose
from boltzgen.workflows.conformers.record import SCHEMA, ConformerTable, table_csv
from boltzgen.workflows.conformers.source import Conformations, conformations
from boltzgen.workflows.conformers.told import judged, properties, wells_told
from boltzgen.workflows.free_energy.results import statistics_of
from boltzgen.workflows.preparation.options import PrepareKeywords
from boltzgen.workflows.preparation.prepare import prepare
from boltzgen.workflows.roads.run import run
from boltzgen.workflows.timing.expectation import Expect, Expectation, seconds_of

#: Rows that are minimised at most, and gradients that one takes, for what is told before.
ROWS, _STEPS = 2000, 60
#: The files, in the order in which they are written; the last vouches for the others.
TABLE, MOLECULES, CREST, NAME = "conformers.csv", "conformers.sdf", "crest_conformers.xyz", "conformers.json"
#: Folders that this verb makes in DIR: a system of a file, and the answer of `run`.
_SYS, _RUN = "SYS", "RUN"
_OWN = (TABLE, MOLECULES, CREST, NAME, _SYS, _RUN)


def conformers(
    source: str | PathLike[str] | None = None,
    output: str | PathLike[str] = "DIR",
    *,
    smiles: str | None = None,
    system: str | PathLike[str] | None = None,
    temperature: float | None = None,
    pose: str | PathLike[str] | None = None,
    within: float = 0.1,
    rows: int = ROWS,
    forcefield: str | None = None,
    charges: str | None = None,
    implicit: str = "none",
    time: str | float | None = "30m",
    precision: str | float = "0.1kT",
    n_bootstrap: int = 1000,
    seed: int = 0,
    stop: StopRequest | None = None,
    progress: Progress = silent,
    say: Callable[[str], None] = lambda text: None,
    expect: Expect | None = None,
) -> ConformerTable:
    """Gather samples of a molecule into wells and say what each holds, all into the folder `output`.

    Parameters
    ----------
    source: OUT, the DIR of `run`, MD, a trajectory, or an SDF or XYZ file of structures (CREST's), which have
        no weights: their wells get energies and labels alone. None with `smiles`.
    smiles: a small molecule, prepared and answered by `run` first (into ``output/RUN``), with `forcefield`,
        `charges` and `implicit` as in `prepare`, `time` and `precision` as there.
    system: SYS, or a file with one molecule (SDF, mol2), which is prepared into ``output/SYS`` with the same
        options. By default that of the samples. Bonds are its bonds, whatever distances are.
    temperature: K; by default that of the samples, or the coldest of MD; 300 of what has none.
    pose: a file with one structure: the free energy of staying `within` (nm) of it, by the symmetric RMSD of
        heavy atoms.
    rows: samples that are minimised at most, chosen by weight without bias, of chains and frames evenly.
    n_bootstrap, seed: of the bootstrap, and of the choice. stop: polled; nothing is written then.
    say: told the steps of `run`. expect: told how long the minimisation takes before anything is written.

    Writes ``conformers.json`` (schema boltzgen.conformers/1), ``conformers.csv``, ``conformers.sdf`` with
    properties, and ``crest_conformers.xyz``, whose comment lines hold the minimised potential energy in Eh.

    Returns
    -------
    ConformerTable: the content of ``conformers.json``: wells, entropies, pose, verdict with reasons.

    Raises
    ------
    InputError: something given cannot be used. StoppedError: `stop` asked to end.

    Example
    -------
    >>> import boltzgen as bg
    >>> found = bg.conformers("OUT", "WELLS", system="SYS", n_bootstrap=50)
    >>> round(sum(one["population"] for one in found.wells), 6)
    1.0
    """
    out = Path(output)
    if (source is None) == (smiles is None):
        raise InputError("Give one of `source` and `smiles`: samples, a file of structures, or a SMILES.")
    check_number(rows, "rows")
    statistics = statistics_of(n_bootstrap, seed)
    _check_output(out)
    stop = stop or StopRequest()
    options = _options(forcefield, charges, implicit)
    with alone_in(out) as folder, TemporaryDirectory() as aside:
        made: list[MolecularSystem] = []

        def prepared(path: Path) -> MolecularSystem:
            prepare(path, Path(aside) / _SYS, stop=stop, **options)
            made.append(MolecularSystem.load(Path(aside) / _SYS))
            return made[0]

        cautions: list[str] = []
        if smiles is not None:
            kelvin = 300.0 if temperature is None else temperature
            check_temperature(kelvin)
            asked_of_run: PrepareKeywords = {**options, "smiles": smiles}
            try:
                run(
                    None,
                    folder / _RUN,
                    temperature=kelvin,
                    time=time,
                    precision=precision,
                    seed=seed,
                    stop=stop,
                    say=say,
                    expect=expect,
                    **asked_of_run,
                )
            except PartialError as error:
                if not (folder / _RUN / "OUT" / "manifest.json").is_file():
                    raise
                cautions.append(str(error))
            source = folder / _RUN
        assert source is not None
        name = None if system is None else str(system)
        given = conformations(Path(source), name, temperature, prepared)
        asked = None if pose is None else Pose.read(Path(pose), within, given)
        with closing(potential_of(given.system)) as potential:
            if expect is not None and smiles is None:
                expect(_expected(given, potential, min(rows, len(given))))
            work = _Work(given, potential, asked, rows, seed, cautions)
            content, files = work.done(statistics, stop, progress)
        content["provenance"].update(bootstrap=n_bootstrap, seed=seed, version=VERSION)
        with together(folder / NAME):
            for system_of_file in made:
                system_of_file.save(folder / _SYS)
            for file, text in files.items():
                write_atomic(folder / file, text)
            write_json(folder / NAME, content)
    return ConformerTable(content, out)


class _Work:
    """The wells of what was given, and all that is told of them."""

    def __init__(
        self,
        given: Conformations,
        potential: Potential,
        pose: Pose | None,
        rows: int,
        seed: int,
        cautions: list[str],
    ) -> None:
        self.whole, self.potential, self.pose, self.cautions = given, potential, pose, cautions
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
            "pose": pose,
            "verdict": verdict,
            "reasons": reasons,
            "notes": [] if sdf is not None else [f"conformers.sdf was not written: {NO_LEWIS}"],
            "files": [*files, NAME],
            "provenance": {
                "source": given.source,
                "system": system.name,
                "system_fingerprint": system.fingerprint,
                "isomers": given.isomers,
            },
        }, files

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


def _options(forcefield: str | None, charges: str | None, implicit: str) -> PrepareKeywords:
    """What was asked of `prepare`, and nothing else: another call with the same words goes on."""
    found: PrepareKeywords = {}
    if forcefield is not None:
        found["forcefield"] = (forcefield,)
    if charges is not None:
        found["charges"] = charges
    if implicit != "none":
        found["implicit"] = implicit
    return found


def _reference(held: Figures | None) -> str | None:
    if held is None:
        return None
    return "absolute, by ln Z of the samples" if held.absolute else "over well 1: no ln Z is known"


def _expected(given: Conformations, potential: Potential, rows: int) -> Expectation:
    few = torch.as_tensor(np.asarray(given.positions[: min(64, len(given))], dtype=np.float64))
    each = seconds_of(lambda: value_and_gradient(potential, few)) / len(few)
    task = f"{rows} conformations minimised"
    return Expectation("conformers", _STEPS * rows * each, task, f"{1 / each:.3g} gradients a second")


def _check_output(out: Path) -> None:
    if out.exists() and not out.is_dir():
        raise InputError(f"{out} is a file; `output` needs the name of a folder.")
    check_output(out, "")
    if holds_other_files(out):
        others = sorted(one.name for one in out.iterdir() if not is_own_file(one) and one.name not in _OWN)
        if others:
            raise InputError(
                f"{out} holds other files ({others[0]}, ...) and no wells; name another folder as `output`."
            )
