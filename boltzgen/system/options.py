"""What can be asked of `prepare`: one frozen record, the same for the library, the workflow and the verb."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from boltzgen.errors import InputError, UnsupportedError
from boltzgen.system.energy_model import MOST_WORKERS, EnergyModel
from boltzgen.system.parametrise.born_radii import check_radii
from boltzgen.system.parametrise.forcefield import IMPLICIT_MODELS, check_implicit
from boltzgen.system.parametrise.surface import DEFAULT_SURFACE, check_surface


@dataclass(frozen=True)
class PrepareOptions:
    """Options of `prepare`, with their defaults.

    Attributes
    ----------
    sequence: peptide to build instead of an input file: ``ACE-ALA-NME`` or one-letter ``GAVL``;
        `capped` adds ACE and NME.
    smiles: small molecule to build instead of an input file.
    coordinates: for prmtop (inpcrd), top (gro) and XML (PDB): the file of positions.
    include: folder of ``#include`` files for a GROMACS topology.
    forcefield: OpenMM force-field files, for PDB, mmCIF and sequences; for small molecules ``mmff94``,
        ``mmff94s``, ``gaff``, ``gaff2`` or an OpenFF one. Empty: the default of the input.
    charges: for gaff, gaff2 and OpenFF: ``bcc``, ``abcg2``, ``file`` (those that the molecule's own file
        states) or a file of numbers. None: ``bcc``, or OpenFF's own.
    implicit: ``none``, hct, obc1, obc2, gbn, gbn2, or a file like ``amber99_obc.xml``.
    surface: the surface term of a solvent by name: ``ace`` (OpenMM's default), ``lcpo`` (Amber's), ``none``.
    radii: of hct to gbn2 for a prmtop, gaff and gaff2: bondi, mbondi, mbondi2, mbondi3. None: the prmtop's
        own, and for gaff and gaff2 those with which the model was made.
    constraints: only ``none``.
    add_hydrogens: add those that are missing, protonated for `ph`.
    minimize: relax the reference positions; None means for built molecules only.
    name: what people call the system; default from the input.
    free_rotations: rotations that the domain would hold as the reference has them, to be opened: acids,
        esters, amides, ..., all (`boltzgen.system.graph.held_rotations`), or bonds as `prepare` names them.
    bridge: evaluate the energy through OpenMM contexts instead of its torch translation, on `platform`
        (a name or ``auto``) in `workers` processes.
    ml: machine-learned or quantum potential of a region; `ml_region`: MDTraj selection of its atoms;
        `ml_options`: words for the backend.
    """

    sequence: str | None = None
    smiles: str | None = None
    capped: bool = False
    coordinates: str | Path | None = None
    include: str | Path | None = None
    forcefield: tuple[str, ...] = ()
    charges: str | None = None
    implicit: str = "none"
    surface: str = DEFAULT_SURFACE
    radii: str | None = None
    constraints: str = "none"
    add_hydrogens: bool = False
    ph: float = 7.0
    minimize: bool | None = None
    name: str | None = None
    free_rotations: tuple[str, ...] = ()
    bridge: bool = False
    platform: str = "auto"
    workers: int = 1
    ml: str | None = None
    ml_region: str = "all"
    ml_options: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("forcefield", "free_rotations"):
            given = getattr(self, name)
            object.__setattr__(self, name, (given,) if isinstance(given, str) else tuple(given))

    def energy_model(self) -> EnergyModel:
        """The engine that was asked for; a region is the business of `prepare_region`."""
        if not self.bridge:
            return EnergyModel()
        return EnergyModel("bridge", self.platform, self.workers)

    def check(self, source: object) -> None:
        """Raise InputError or UnsupportedError when these options and `source` do not go together."""
        inputs = {"the `source` file": source, "`sequence`": self.sequence, "`smiles`": self.smiles}
        given = [name for name, value in inputs.items() if value is not None]
        if len(given) != 1:
            raise InputError(
                f"Give one of `source` file, `sequence` and `smiles` ({' and '.join(given) or 'none'} "
                'given), such as `sequence="ACE-ALA-NME"`.'
            )
        if self.constraints != "none":
            raise UnsupportedError(
                f'`constraints="{self.constraints}"` is not supported: every bond and angle is sampled, '
                'and the density of a constrained molecule is another one. Use `constraints="none"`.'
            )
        check_implicit(self.implicit)
        check_radii(self.radii, self.implicit)
        check_surface(self.surface, self.implicit, tuple(IMPLICIT_MODELS))
        if self.platform != "auto" and not self.bridge:
            raise InputError(
                f'`platform="{self.platform}"` goes with `bridge=True`, which lets OpenMM compute the energy.'
            )
        if self.workers > MOST_WORKERS:
            raise InputError(f"`workers={self.workers}`: give at most {MOST_WORKERS} processes.")
        if self.workers < 1 or (self.workers > 1 and not self.bridge and self.ml is None):
            raise InputError(
                f"`workers={self.workers}`: give a number of processes above 0, and `bridge=True` with it."
            )
        if not 0.0 <= self.ph <= 14.0:
            raise InputError(f"`ph={self.ph}` is outside 0 to 14; physiological is 7.4.")
        if self.capped and self.sequence is None:
            raise InputError("`capped=True` goes with `sequence`; a file already says how its ends are.")
