"""``conformers``: samples of a molecule gathered into wells: populations, free energies, entropies."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from os import PathLike
from pathlib import Path
from tempfile import TemporaryDirectory

from boltzgen.checks import check_number, check_temperature
from boltzgen.contents import check_output
from boltzgen.errors import InputError, PartialError
from boltzgen.folders import alone_in, holds_other_files, is_own_file
from boltzgen.interrupts import StopRequest
from boltzgen.progress import Progress, silent
from boltzgen.system.molecular_system import MolecularSystem
from boltzgen.workflows.conformers.observed import Observed
from boltzgen.workflows.conformers.pose import Pose
from boltzgen.workflows.conformers.record import ConformerTable
from boltzgen.workflows.conformers.source import conformations
from boltzgen.workflows.conformers.table import CREST, MOLECULES, NAME, SYS, TABLE, write_table
from boltzgen.workflows.free_energy.results import statistics_of
from boltzgen.workflows.preparation.options import PrepareKeywords
from boltzgen.workflows.preparation.prepare import prepare
from boltzgen.workflows.roads.run import run
from boltzgen.workflows.timing.expectation import Expect

#: Rows that are minimised at most.
ROWS = 2000
#: The folder in DIR for the answer of `run`.
_RUN = "RUN"
_OWN = (TABLE, MOLECULES, CREST, NAME, SYS, _RUN)


def conformers(
    source: str | PathLike[str] | None = None,
    output: str | PathLike[str] = "DIR",
    *,
    smiles: str | None = None,
    system: str | PathLike[str] | None = None,
    temperature: float | None = None,
    pose: str | PathLike[str] | None = None,
    within: float = 0.1,
    names: Sequence[str] = (),
    coordinates: str | PathLike[str] | None = None,
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
    names: observables, as `observable` takes them, of each well and on average; of structures without weights
        those of the minima. coordinates: a file that declares distances and torsions for them.
    rows: samples that are minimised at most, chosen by weight without bias, of chains and frames evenly.
    n_bootstrap, seed: of the bootstrap, and of the choice. stop: polled; nothing is written then.
    say: told the steps of `run`. expect: told how long the minimisation takes before anything is written.

    Writes ``conformers.json`` (schema boltzgen.conformers/1), ``conformers.csv``, ``conformers.sdf`` with
    properties, and ``crest_conformers.xyz``, whose comment lines hold the minimised potential energy in Eh.

    Returns
    -------
    ConformerTable: the content of ``conformers.json``: wells, averages, entropies, pose, verdict, reasons.

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
    statistics_of(n_bootstrap, seed)  # a wrong number is told before the work
    if coordinates is not None and not names:
        raise InputError("`coordinates` declares what `names` may name; give observables as `names`, too.")
    _check_output(out)
    stop = stop or StopRequest()
    options = _options(forcefield, charges, implicit)
    with alone_in(out) as folder, TemporaryDirectory() as aside:
        made: list[MolecularSystem] = []

        def prepared(path: Path) -> MolecularSystem:
            prepare(path, Path(aside) / SYS, stop=stop, **options)
            made.append(MolecularSystem.load(Path(aside) / SYS))
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
        content = write_table(
            given,
            folder,
            pose=None if pose is None else Pose.read(Path(pose), within, given),
            observed=Observed.asked(names, coordinates, given.system) if names else None,
            rows=rows,
            n_bootstrap=n_bootstrap,
            seed=seed,
            cautions=cautions,
            made=made,
            stop=stop,
            progress=progress,
            expect=expect if smiles is None else None,
        )
    return ConformerTable(content, out)


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
