"""A small machine-learned potential: ANI's symmetry functions, a network for each element, a repulsive wall.

The energy of a molecule is a sum over its atoms of the output of the network of each atom's element (Smith,
Isayev and Roitberg, Chem. Sci. 8, 3192, 2017), plus the short-range pair repulsion of GFN2-xTB (Bannwarth,
Ehlert and Grimme, J. Chem. Theory Comput. 15, 1652, 2019, eq. 9), without which a network is free to be deep
where atoms overlap and its training had no data. The energy counts from the sum of constant self energies.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from pydantic import Field
from safetensors import SafetensorError
from safetensors.numpy import load_file
from torch import Tensor
from torch.nn import functional

from boltzgen.errors import InputError, UnsupportedError
from boltzgen.files import sha256_file
from boltzgen.loaders.records import Record, read_record
from boltzgen.loaders.tensors import tensor_shapes
from boltzgen.potentials.base import Potential
from boltzgen.potentials.fast.constants import Constants
from boltzgen.potentials.fast.evaluate import Blocks
from boltzgen.potentials.fast.value_with_gradient import ValueWithGradient, check_positions
from boltzgen.potentials.learned.symmetry_functions import SymmetryFunctions, SymmetryFunctionSettings
from boltzgen.potentials.terms.custom_term import AutogradKernel
from boltzgen.units import BOHR, HARTREE

SCHEMA = "boltzgen.ani_network/1"

#: The network that comes with the package.
SHIPPED = "xtb-ala2-small"

SYMBOLS = {1: "H", 6: "C", 7: "N", 8: "O"}

#: Exponent (1/bohr^3/2) and effective nuclear charge of GFN2-xTB's repulsion.
REPULSION = {
    "H": (2.213717, 1.105388),
    "C": (1.247655, 4.231078),
    "N": (1.682689, 5.242592),
    "O": (2.165712, 5.784415),
}


@dataclass(frozen=True, eq=False)
class NetworkModel:
    """What a model folder holds, whatever the molecule.

    Attributes
    ----------
    name: of the folder. settings: the symmetry functions. celu_alpha: of the activation between layers.
    self_energy: element -> kJ/mol, left out of the energy.
    weights: ``E.I.weight`` (outputs, inputs) and ``E.I.bias`` (outputs,) of layer I of element E, and
        ``E.mean``, ``E.scale``, by which the symmetry functions are standardised; float32, kJ/mol.
    trained_on: method, molecule, atomic_numbers and charge of the training data.
    """

    name: str
    settings: SymmetryFunctionSettings
    celu_alpha: float
    self_energy: dict[str, float]
    weights: dict[str, np.ndarray]
    trained_on: dict[str, Any]

    def layers(self, element: str) -> int:
        """Number of layers of the network of `element`."""
        return sum(name.startswith(f"{element}.") and name.endswith(".weight") for name in self.weights)


class AniNetwork(Potential):
    """The energy, in kJ/mol, of one list of atoms by a `NetworkModel`.

    Positions (batch, N, 3) in nm, float32 or float64, on any device. Parameters are kept as they are in the
    file and cast, so the module has no state to move or to save.

    Attributes
    ----------
    self_energy: kJ/mol, the constant that was left out: ``energy + self_energy`` is the method's own total.
    trained_on: method, molecule, atomic_numbers and charge of the training data.
    """

    energy_unit = "kJ/mol"
    invariant = True

    def __init__(self, model: NetworkModel, atomic_numbers: np.ndarray) -> None:
        super().__init__()
        symbols = _symbols(atomic_numbers, model)
        self.model, self.trained_on = model, model.trained_on
        self.n_atoms = len(symbols)
        self.self_energy = float(sum(model.self_energy[symbol] for symbol in symbols))
        species = np.array([model.settings.elements.index(symbol) for symbol in symbols], dtype=int)
        self.functions = SymmetryFunctions(model.settings, species)
        self.repulsion = PairRepulsion(symbols)
        self._elements = {
            symbol: model.layers(symbol) for symbol in model.settings.elements if symbol in symbols
        }
        atoms = {
            f"{symbol}.atoms": np.flatnonzero([other == symbol for other in symbols])
            for symbol in self._elements
        }
        self._constants = Constants(**model.weights, **atoms)
        self._blocks = Blocks([AutogradKernel(self.block_energy, self._rows)])

    @property
    def fits_training(self) -> bool:
        """Whether the atoms are those of the molecule that the network was trained on, in any order."""
        return sorted(self._numbers) == sorted(self.trained_on["atomic_numbers"])

    @property
    def _numbers(self) -> list[int]:
        atomic_number = {symbol: number for number, symbol in SYMBOLS.items()}
        c = self._constants.like(torch.zeros(1))
        return [atomic_number[symbol] for symbol in self._elements for _ in c[f"{symbol}.atoms"]]

    @property
    def _rows(self) -> int:
        """What the block size follows: a quarter of the rows of the largest tensor."""
        neighbours, settings = self.n_atoms - 1, self.model.settings
        triples = neighbours * (neighbours - 1) // 2
        angular = triples * len(settings.angular_shells) * len(settings.angular_sections)
        return max(1, self.n_atoms * settings.length // 4, angular // 4)

    def energy(self, positions: Tensor) -> Tensor:
        """Energy (batch,) in kJ/mol of `positions` (batch, N, 3) in nm; differentiable once.

        A row with coincident atoms, NaN or huge coordinates has an energy of inf or NaN and a gradient of
        zero. For second derivatives use `energy_plain`.
        """
        check_positions(positions, self.n_atoms)
        return ValueWithGradient.apply(positions, self._blocks.energy_and_gradient)

    def energy_plain(self, positions: Tensor) -> Tensor:
        """The same by plain autograd in one piece, differentiable any number of times."""
        check_positions(positions, self.n_atoms)
        return self.block_energy(positions.permute(1, 2, 0))

    def block_energy(self, x: Tensor) -> Tensor:
        """Energy (b,) in kJ/mol of `x` (N, 3, b) in nm."""
        finite = 0 * x.sum((0, 1))  # an atom at infinity: NaN, whatever the rest of the block is like
        return self.network_energy(self.functions.values(x)) + self.repulsion.energy(x) + finite

    def network_energy(self, functions: Tensor) -> Tensor:
        """Energy (b,) of symmetry functions (N, length, b): the networks' part, kJ/mol."""
        c = self._constants.like(functions)
        total = functions.new_zeros(functions.shape[2])
        for element, n_layers in self._elements.items():
            value = functions.index_select(0, c[f"{element}.atoms"])
            value = (value - c[f"{element}.mean"][:, None]) / c[f"{element}.scale"][:, None]
            for layer in range(n_layers):
                if layer:
                    value = functional.celu(value, alpha=self.model.celu_alpha)
                value = c[f"{element}.{layer}.weight"] @ value + c[f"{element}.{layer}.bias"][:, None]
            total = total + value.sum((0, 1))
        return total


class PairRepulsion:
    """``sum Z1 Z2 / r exp(-sqrt(a1 a2) r^k)`` over all pairs, atomic units; k = 1.5, for two hydrogens 1."""

    def __init__(self, symbols: list[str]) -> None:
        exponent, charge = np.array([REPULSION[symbol] for symbol in symbols]).reshape(-1, 2).T
        first, second = np.triu_indices(len(symbols), k=1)
        light = np.array([symbol == "H" for symbol in symbols])
        self._constants = Constants(
            first=first,
            second=second,
            strength=(HARTREE * BOHR * charge[first] * charge[second])[:, None],
            exponent=np.sqrt(exponent[first] * exponent[second])[:, None] / BOHR**1.5,
            light_exponent=np.sqrt(exponent[first] * exponent[second])[:, None] / BOHR,
            light=(light[first] & light[second])[:, None],
        )

    def energy(self, x: Tensor) -> Tensor:
        """Energy (b,) in kJ/mol of `x` (N, 3, b) in nm."""
        c = self._constants.like(x)
        step = x.index_select(0, c["second"]) - x.index_select(0, c["first"])
        distance = (step * step).sum(1).sqrt()
        decay = torch.where(
            c["light"], c["light_exponent"] * distance, c["exponent"] * distance * distance.sqrt()
        )
        return (c["strength"] / distance * torch.exp(-decay)).sum(0)


class _Functions(Record):
    """`SymmetryFunctionSettings`."""

    elements: list[str]
    radial_cutoff: float
    radial_eta: float
    radial_shells: list[float]
    angular_cutoff: float
    angular_eta: float
    angular_shells: list[float]
    angular_zeta: int
    angular_sections: list[float]


class _ModelRecord(Record):
    """``model.json``."""

    name: str
    symmetry_functions: _Functions
    hidden: list[Annotated[int, Field(ge=1, le=65536)]]
    celu_alpha: float
    self_energy: dict[str, float]
    trained_on: dict[str, Any]
    weights_sha256: str


def load_network(folder: Path) -> NetworkModel:
    """The model in `folder` (``model.json``, ``weights.safetensors``); InputError when it is damaged."""
    remedy = "install the model anew."
    record = read_record(
        _ModelRecord,
        folder / "model.json",
        schema=SCHEMA,
        missing=f"no such file; {remedy}",
        remedy=remedy,
        of="a network of ANI's kind",
    )
    path = folder / "weights.safetensors"
    if sha256_file(path) != record["weights_sha256"]:
        raise InputError(
            f"{path}: the weights are damaged (their SHA-256 is not that of model.json); {remedy}"
        )
    shapes = tensor_shapes(path, remedy)
    settings: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value
        for key, value in record["symmetry_functions"].items()
    }
    known = SymmetryFunctionSettings(**settings)
    for name, shape in _expected_shapes(known, record["hidden"]).items():
        if shapes.get(name) != shape:
            raise InputError(f"{folder}: the weights do not fit model.json ({name!r}); {remedy}")
    try:
        weights = load_file(str(path))
    except (SafetensorError, OSError, ValueError) as error:
        raise InputError(f"{path}: not a readable safetensors file ({error}); {remedy}") from error
    return NetworkModel(
        name=record["name"],
        settings=known,
        celu_alpha=float(record["celu_alpha"]),
        self_energy=record["self_energy"],
        weights=weights,
        trained_on=record["trained_on"],
    )


def _expected_shapes(settings: SymmetryFunctionSettings, hidden: list[int]) -> dict[str, tuple[int, ...]]:
    """Name -> shape of the tensors of a network with layers of these widths."""
    widths = [settings.length, *hidden, 1]
    shapes: dict[str, tuple[int, ...]] = {}
    for element in settings.elements:
        shapes |= {f"{element}.{name}": (widths[0],) for name in ("mean", "scale")}
        for layer, (inputs, outputs) in enumerate(pairwise(widths)):
            shapes |= {f"{element}.{layer}.weight": (outputs, inputs), f"{element}.{layer}.bias": (outputs,)}
    return shapes


def load_shipped(name: str = SHIPPED) -> NetworkModel:
    """The model `name` that comes with the package."""
    folder = Path(str(resources.files("boltzgen"))) / "ml_models" / name
    if not (folder / "model.json").is_file():
        raise InputError(f"{name!r} does not come with boltzgen; the model that does is {SHIPPED!r}.")
    return load_network(folder)


def xtb_ala2_small(
    atomic_numbers: np.ndarray, *, charge: int = 0, options: Mapping[str, str] | None = None
) -> AniNetwork:
    """The potential ``xtb-ala2-small`` of these atoms: GFN2-xTB of alanine dipeptide in vacuum, learned.

    Raises
    ------
    UnsupportedError: another element than H, C, N, O, or a charge. InputError: an option is given.
    Warns when the atoms are not those of alanine dipeptide, where its energies are extrapolations.
    """
    if options:
        raise InputError(f"{SHIPPED} takes no options; {', '.join(sorted(options))} was given.")
    if charge:
        raise UnsupportedError(
            f"{SHIPPED} was trained on a neutral molecule; the charge is {charge}. Use gfn2 instead."
        )
    network = AniNetwork(load_shipped(), np.asarray(atomic_numbers))
    if not network.fits_training:
        warnings.warn(
            f"{SHIPPED} was trained on {network.trained_on['molecule']} alone; on other atoms its "
            "energies mean little. Use it for tests, and gfn2 for results."
        )
    return network


def _symbols(atomic_numbers: np.ndarray, model: NetworkModel) -> list[str]:
    known = {number for number, symbol in SYMBOLS.items() if symbol in model.settings.elements}
    for atom, number in enumerate(np.asarray(atomic_numbers).tolist()):
        if number not in known:
            raise UnsupportedError(
                f"Atom {atom} has the atomic number {number}; {model.name} knows "
                f"{', '.join(model.settings.elements)} only."
            )
    return [SYMBOLS[int(number)] for number in np.asarray(atomic_numbers)]
