"""What can be asked of `transfer`, with the defaults."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, TypedDict

from boltzgen.checks import MOST_EVALUATIONS, check_number, check_seed, check_temperature
from boltzgen.errors import InputError
from boltzgen.system.parametrise.surface import DEFAULT_SURFACE

#: Energies of a simulation below which its frames tell nothing.
FEWEST_EVALUATIONS = 100


@dataclass(frozen=True, kw_only=True)
class TransferListOptions:
    """Options of `transfer`.

    Attributes
    ----------
    energy_from, energy_to: ``vacuum`` or a solvent of `prepare` (hct, obc1, obc2, gbn, gbn2), with a force
    field
        of its own before a slash where it is not `forcefield`: ``gaff/vacuum``.
    forcefield: ``mmff94`` (default), ``mmff94s``, ``gaff2``, ``gaff`` or an OpenFF name. charges: of gaff2,
    gaff
        and OpenFF: ``bcc``, ``abcg2``, ``file``. surface: the solvents' surface term: ``ace``, ``lcpo``,
        ``none``.
    temperature: K. evaluations: energies of each of the two simulations of a molecule; None: by its size.
    model: a run, a model folder or the name of a shipped model that draws `samples` of each energy besides.
    n_bootstrap: replicates of the bootstrap. seed: of everything.
    """

    energy_from: str = "vacuum"
    energy_to: str = "obc2"
    forcefield: str | None = None
    charges: str | None = None
    surface: str = DEFAULT_SURFACE
    temperature: float = 300.0
    evaluations: int | None = None
    model: str | None = None
    samples: int = 10_000
    n_bootstrap: int = 1000
    seed: int = 0

    def __post_init__(self) -> None:
        check_temperature(self.temperature)
        check_seed(self.seed)
        check_number(self.samples, "samples", least=2)
        check_number(self.n_bootstrap, "n_bootstrap", least=2, most=10**5)
        if self.evaluations is not None:
            check_number(self.evaluations, "evaluations", least=FEWEST_EVALUATIONS, most=MOST_EVALUATIONS)
        if self.energy_from == self.energy_to:
            raise InputError(
                f"`energy_to={self.energy_to!r}` is `energy_from` too; a transfer needs two energies."
            )

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


class TransferListKeywords(TypedDict, total=False):
    """The fields of `TransferListOptions` as keyword arguments."""

    energy_from: str
    energy_to: str
    forcefield: str | None
    charges: str | None
    surface: str
    temperature: float
    evaluations: int | None
    model: str | None
    samples: int
    n_bootstrap: int
    seed: int
