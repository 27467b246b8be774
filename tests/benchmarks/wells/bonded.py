"""ln Z and S of small alkanes against product integrals, and of their full force field by MBAR from there.

    python tests/benchmarks/wells/bonded.py CCCC -o DIR [--model MODEL] [--forcefield gaff2]

``bonded``: a bonded-only version of the molecule, one harmonic bond and angle and one cosine of a torsion
for each atom of a z-matrix that is made here from the bonds alone (angles and lengths of the reference, three
equal wells for each rotor, one deep well for what stands beside another atom). Its ln Z is exact,

    Z = prod int r^2 e^-u dr  prod int sin(theta) e^-u dtheta  prod int e^-u dphi,    S = <u> + ln Z,

by quadrature. Beside it what boltzgen says of weighted samples of MODEL (``untrained``: of a flow with random
weights; ``train``, the default: of one trained on the energies of this System, as configs/butane.yaml says).

``full``: exact draws of that version begin Langevin dynamics of ``(1 - l) U_bonded + l U_full`` at eight l,
MBAR joins them (pymbar, not ours), and the exact ln Z of the bonded version becomes that of the full force
field: again beside what samples of MODEL say. Errors of MBAR by jackknife over groups of replicas.

Prints a line of Markdown a part; numbers in DIR/bonded.json.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import openmm
import torch
from openmm import app
from pymbar import MBAR

import boltzgen as bg
from boltzgen.config.build import build_flow
from boltzgen.config.settings import load_settings
from boltzgen.config.shipped import find_config
from boltzgen.dynamics.batched_langevin import PhasePoint, energy_with_gradient, langevin, thermal_velocities
from boltzgen.dynamics.masses import with_heavy_hydrogens
from boltzgen.dynamics.torsion_moves import Rotors, torsion_move
from boltzgen.ensemble.ensemble import Ensemble
from boltzgen.ensemble.store import load_ensemble
from boltzgen.free_energy.statistics import Statistics
from boltzgen.free_energy.thermodynamics import thermodynamics
from boltzgen.generator import BoltzmannGenerator, Target
from boltzgen.potentials.of_system import potential_of
from boltzgen.training.settings import TrainingSettings

GAS_CONSTANT = 0.00831446261815324  # kJ/mol/K
#: kJ/mol/nm^2 of bonds by whether a hydrogen takes part; kJ/mol/rad^2 of angles; kJ/mol of cosines.
BOND, ANGLE, ROTOR, BESIDE = {True: 285000.0, False: 225000.0}, 470.0, 5.0, 420.0
LAMBDAS = (0.0, 0.03, 0.1, 0.25, 0.45, 0.65, 0.85, 1.0)
#: Replicas at each l, in groups of the jackknife; steps of 2 fs between frames.
REPLICAS, GROUPS, STEPS = 16, 8, 50


@dataclass(frozen=True)
class Row:
    """One atom of the z-matrix: it, its neighbour, and two more placed atoms; wells of its torsion."""

    atoms: tuple[int, ...]
    wells: int


def z_matrix(bonds: np.ndarray, numbers: np.ndarray) -> list[Row]:
    """Heavy atoms first, breadth first, then hydrogens; of each the atoms that it is placed by."""
    around: dict[int, list[int]] = {atom: [] for atom in range(len(numbers))}
    for first, second in np.asarray(bonds).tolist():
        around[first].append(second)
        around[second].append(first)
    order = [int(np.flatnonzero(numbers > 1)[0])]
    for heavy in (True, False):
        for atom in order:
            order += sorted(n for n in around[atom] if (numbers[n] > 1) == heavy and n not in order)
    rows: list[Row] = []
    beside: dict[tuple[int, int], int] = {}
    for place, atom in enumerate(order):
        if place == 0:
            rows.append(Row((atom,), 0))
            continue
        placed = order[:place]
        parent = next(n for n in placed if n in around[atom])
        others = [n for n in around[parent] if n in placed and n != atom]
        if place == 1:
            rows.append(Row((atom, parent), 0))
            continue
        axis = others[0]
        if place == 2:
            rows.append(Row((atom, parent, axis), 0))
            beside[parent, axis] = atom
            continue
        if (parent, axis) in beside:
            rows.append(Row((atom, parent, axis, beside[parent, axis]), 1))
            continue
        beside[parent, axis] = atom
        last = next(n for n in around[axis] if n in placed and n != parent)
        rows.append(Row((atom, parent, axis, last), 3))
    return rows


def measured(x: np.ndarray, atoms: tuple[int, ...]) -> float:
    """Length (nm), angle or torsion (rad) of two, three or four atoms of `x` (N, 3)."""
    a = [x[atom] for atom in atoms]
    if len(a) == 2:
        return float(np.linalg.norm(a[0] - a[1]))
    if len(a) == 3:
        arms = [(b - a[1]) / np.linalg.norm(b - a[1]) for b in (a[0], a[2])]
        return float(np.arccos(arms[0] @ arms[1]))
    b = [a[1] - a[0], a[2] - a[1], a[3] - a[2]]
    first, second = np.cross(b[0], b[1]), np.cross(b[1], b[2])
    return float(np.arctan2(np.linalg.norm(b[1]) * (b[0] @ second), first @ second))


class Bonded:
    """The bonded-only version of `system`: its z-matrix, centres and constants."""

    def __init__(self, system: bg.MolecularSystem) -> None:
        self.numbers, self.bonds = np.asarray(system.atomic_numbers), np.asarray(system.bonds)
        self.rows = z_matrix(self.bonds, self.numbers)
        self.reference = np.asarray(system.reference_positions, dtype=np.float64)
        self.masses = np.asarray(system.masses)
        self.centres = [
            tuple(measured(self.reference, row.atoms[: size + 1]) for size in range(1, len(row.atoms)))
            for row in self.rows
        ]

    def constant(self, row: Row) -> float:
        return BOND[bool((self.numbers[list(row.atoms[:2])] == 1).any())]

    def openmm_system(self) -> openmm.System:
        system = openmm.System()
        for mass in self.masses:
            system.addParticle(float(mass))
        bonds, angles = openmm.HarmonicBondForce(), openmm.HarmonicAngleForce()
        torsions = openmm.PeriodicTorsionForce()
        for row, centre in zip(self.rows, self.centres, strict=True):
            if len(row.atoms) > 1:
                bonds.addBond(*row.atoms[:2], centre[0], self.constant(row))
            if len(row.atoms) > 2:
                angles.addAngle(*row.atoms[:3], centre[1], ANGLE)
            if len(row.atoms) > 3:
                phase = (row.wells * centre[2] - np.pi) % (2 * np.pi)
                torsions.addTorsion(*row.atoms, row.wells, phase, ROTOR if row.wells == 3 else BESIDE)
        for force in (bonds, angles, torsions):
            system.addForce(force)
        return system

    def densities(self, kt: float) -> list[list[tuple[np.ndarray, np.ndarray, np.ndarray]]]:
        """For each atom, of its length, angle and torsion: a grid, u on it, and the measure on it."""
        found = []
        for row, centre in zip(self.rows, self.centres, strict=True):
            own = []
            if len(row.atoms) > 1:
                r = np.linspace(centre[0] - 0.03, centre[0] + 0.03, 20001)
                own.append((r, 0.5 * self.constant(row) * (r - centre[0]) ** 2 / kt, r**2))
            if len(row.atoms) > 2:
                theta = np.linspace(0.0, np.pi, 20001)
                own.append((theta, 0.5 * ANGLE * (theta - centre[1]) ** 2 / kt, np.sin(theta)))
            if len(row.atoms) > 3:
                phi = np.linspace(-np.pi, np.pi, 20001) + centre[2]
                height = ROTOR if row.wells == 3 else BESIDE
                u = height * (1 - np.cos(row.wells * (phi - centre[2]))) / kt
                own.append((phi, u, np.ones_like(phi)))
            found.append(own)
        return found

    def exact(self, kt: float) -> tuple[float, float]:
        """ln Z (nm) and <u>."""
        ln_z = mean = 0.0
        for own in self.densities(kt):
            for grid, u, measure in own:
                weight = measure * np.exp(-u)
                whole = np.trapezoid(weight, grid)
                ln_z += float(np.log(whole))
                mean += float(np.trapezoid(weight * u, grid) / whole)
        return ln_z, mean

    def drawn(self, number: int, kt: float, rng: np.random.Generator) -> np.ndarray:
        """(number, N, 3) nm: independent draws by the inverse of each cumulative distribution."""
        x = np.zeros((number, len(self.numbers), 3))
        for row, own in zip(self.rows, self.densities(kt), strict=True):
            values = []
            for grid, u, measure in own:
                steps = np.cumsum(measure * np.exp(-u))
                values.append(np.interp(rng.random(number) * steps[-1], steps, grid))
            atom = row.atoms[0]
            if len(values) == 1:
                x[:, atom, 0] = values[0]
            if len(values) < 2:
                continue
            parent, axis = (x[:, other] for other in row.atoms[1:3])
            along = axis - parent
            along /= np.linalg.norm(along, axis=1, keepdims=True)
            other = parent + np.array([0.0, 1.0, 0.0]) if len(values) == 2 else x[:, row.atoms[3]]
            phi = values[2] if len(values) == 3 else np.zeros(number)
            across = (other - axis) - ((other - axis) * along).sum(axis=1, keepdims=True) * along
            across /= np.linalg.norm(across, axis=1, keepdims=True)
            third = np.cross(along, across)
            turned = np.cos(phi)[:, None] * across - np.sin(phi)[:, None] * third
            arm = np.cos(values[1])[:, None] * along + np.sin(values[1])[:, None] * turned
            x[:, atom] = parent + values[0][:, None] * arm
        return x

    def written(self, system: bg.MolecularSystem, place: Path) -> tuple[Path, Path]:
        """System XML and PDB, for `prepare`."""
        place.mkdir(parents=True, exist_ok=True)
        (place / "bonded.xml").write_text(openmm.XmlSerializer.serialize(self.openmm_system()))
        (place / "bonded.pdb").write_text(system.topology_pdb)
        read = app.PDBFile(str(place / "bonded.pdb"))
        with (place / "bonded.pdb").open("w") as file:
            app.PDBFile.writeFile(read.topology, self.reference * openmm.unit.nanometer, file)
        return place / "bonded.xml", place / "bonded.pdb"


def samples(system: bg.MolecularSystem, model: str, place: Path, asked: argparse.Namespace) -> Ensemble:
    """Weighted samples of `system`, saved in `place`, by `model`."""
    if model == "train":
        model = str(place.with_name(f"{place.name}-RUN"))
        words = [f"system={place}", f"optimizer.steps={asked.steps}", f"evaluation.every={asked.steps}"]
        bg.train(
            "butane", [*words, f"reverse_kl.temperatures=[{asked.kelvin},600.0,1000.0]"], model, resume="auto"
        )
    if model == "untrained":
        settings = load_settings(TrainingSettings, find_config("butane"))
        target = Target.from_system(system)
        generator = BoltzmannGenerator(build_flow(settings.flow, seed=asked.seed).double(), target)
        return generator.sample(asked.samples, asked.kelvin, seed=asked.seed)
    bg.sample(
        model,
        place,
        place.with_name(f"{place.name}-OUT"),
        asked.samples,
        temperature=asked.kelvin,
        seed=asked.seed,
        overwrite=True,
    )
    return load_ensemble(place.with_name(f"{place.name}-OUT"))


def told_by(found: Ensemble, seed: int) -> dict:
    """ln Z, S = <u> + ln Z and <u> of weighted samples, each with its error."""
    statistics = Statistics(np.random.default_rng(seed), n_bootstrap=200)
    u = np.where(np.isfinite(found.log_w), found.u, 0.0)
    named = {one.name: one for one in thermodynamics(found.log_w, u, statistics)}
    ess = found.diagnostics().ess
    return {
        "ln Z": [-named["A"].value, named["A"].standard_error],
        "S": [named["S"].value, named["S"].standard_error],
        "u": [named["U"].value, named["U"].standard_error],
        "ESS": ess,
    }


def staged(whole: bg.MolecularSystem, bonded: Bonded, tree: bg.MolecularSystem, asked, kt: float) -> dict:
    """ln Z(full) - ln Z(bonded) and <u> of the full force field by MBAR, each with its jackknife error."""
    ends = [energy_with_gradient(potential_of(system)) for system in (tree, whole)]
    scale = torch.repeat_interleave(torch.tensor(LAMBDAS, dtype=torch.float64), REPLICAS)

    def energy(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        (first, slope), (second, other) = (end(x) for end in ends)
        return (
            (1 - scale) * first + scale * second,
            (1 - scale)[:, None, None] * slope + scale[:, None, None] * other,
        )

    rng, generator = np.random.default_rng(asked.seed), torch.Generator().manual_seed(asked.seed)
    x = torch.as_tensor(bonded.drawn(len(scale), kt, rng))
    masses = torch.as_tensor(
        with_heavy_hydrogens(whole.masses, whole.atomic_numbers, whole.bonds, 3.0), dtype=torch.float64
    )
    rotors, row_kt = Rotors.of(whole), torch.full((len(x),), kt, dtype=torch.float64)
    v = thermal_velocities(x, kt=row_kt, masses=masses, generator=generator)
    point = PhasePoint(x, v, *energy(x))
    frames, discarded = round(asked.picoseconds / (2e-3 * STEPS)), 20
    tables = []
    for number in range(discarded + frames):
        point, _ = langevin(
            point,
            energy,
            steps=STEPS,
            timestep=2e-3,
            friction=5.0,
            kt=row_kt,
            masses=masses,
            generator=generator,
        )
        for _ in range(3 if len(rotors) else 0):
            point, _ = torsion_move(point, energy, rotors, kt=row_kt, generator=generator)
        if number >= discarded:
            both = [end(point.positions)[0].detach().numpy() / kt for end in ends]
            tables.append(np.stack(both, axis=1).reshape(len(LAMBDAS), REPLICAS, 2))
    table = np.array(tables)  # (frames, lambdas, replicas, 2)

    def solved(kept: np.ndarray) -> tuple[float, float]:
        rows = table[:, :, kept].transpose(1, 0, 2, 3).reshape(len(LAMBDAS), -1, 2)
        pool = rows.reshape(-1, 2)
        scales = np.array(LAMBDAS)[:, None]
        u_kn = (1 - scales) * pool[:, 0] + scales * pool[:, 1]
        mbar = MBAR(u_kn, [rows.shape[1]] * len(LAMBDAS))
        weights = mbar.W_nk[:, -1]
        difference = mbar.compute_free_energy_differences(compute_uncertainty=False)["Delta_f"]
        return -float(difference[0, -1]), float(weights @ pool[:, 1])

    replicas = np.arange(REPLICAS)
    value = np.array(solved(replicas))
    left = np.array([solved(replicas[replicas % GROUPS != group]) for group in range(GROUPS)])
    error = np.sqrt((GROUPS - 1) / GROUPS * ((left - left.mean(axis=0)) ** 2).sum(axis=0))
    entropy = left.sum(axis=1)
    own = np.sqrt((GROUPS - 1) / GROUPS * ((entropy - entropy.mean()) ** 2).sum())
    return {"difference": [value[0], error[0]], "u": [value[1], error[1]], "error of S": float(own)}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("smiles")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--parts", default="bonded,full")
    parser.add_argument("--model", default="train", help="train, untrained, or a model")
    parser.add_argument("--steps", type=int, default=300, help="of training")
    parser.add_argument("--forcefield", default="mmff94")
    parser.add_argument("--kelvin", type=float, default=300.0)
    parser.add_argument("--samples", type=int, default=20_000)
    parser.add_argument("--picoseconds", type=float, default=10.0, help="of each replica at each l")
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    kt, place = GAS_CONSTANT * asked.kelvin, asked.output
    bg.prepare(smiles=asked.smiles, output=place / "FULL", forcefield=(asked.forcefield,), overwrite=True)
    whole = bg.load_system(place / "FULL")
    bonded = Bonded(whole)
    xml, pdb = bonded.written(whole, place)
    bg.prepare(xml, place / "BONDED", coordinates=pdb, minimize=False, overwrite=True)
    tree = bg.load_system(place / "BONDED")
    check(bonded, tree, kt)
    ln_z, mean = bonded.exact(kt)
    content = {"smiles": asked.smiles, "exact": {"ln Z": ln_z, "u": mean, "S": ln_z + mean}}
    for part in asked.parts.split(","):
        began = time.process_time()
        system = tree if part == "bonded" else whole
        found = told_by(
            samples(system, asked.model, place / {"bonded": "BONDED", "full": "FULL"}[part], asked),
            asked.seed,
        )
        known = {"ln Z": [ln_z, 0.0], "S": [ln_z + mean, 0.0]}
        if part == "full":
            made = staged(whole, bonded, tree, asked, kt)
            value, error = made["difference"]
            known["ln Z"] = [ln_z + value, error]
            known["S"] = [ln_z + value + made["u"][0], made["error of S"]]
        content[part] = {"known": known, "samples": found, "CPU seconds": time.process_time() - began}
        told = []
        for name in ("ln Z", "S"):
            (a, da), (b, db) = known[name], found[name]
            told += [f"{a:.3f} ± {da:.3f}", f"{b:.3f} ± {db:.3f}", f"{(b - a) / np.hypot(da, db):+.1f}"]
        print(f"| {asked.smiles} | {part} | {100 * found['ESS']:.1f} % | {' | '.join(told)} |", flush=True)
        (place / "bonded.json").write_text(json.dumps(content, indent=1))


def check(bonded: Bonded, tree: bg.MolecularSystem, kt: float) -> None:
    """Exact draws have the mean energy of the quadrature under the System that was read; else exit."""
    x = torch.as_tensor(bonded.drawn(20_000, kt, np.random.default_rng(7)))
    u = potential_of(tree).energy(x).numpy() / kt
    at_rest = float(potential_of(tree).energy(torch.tensor(bonded.reference)[None])[0])
    z = (u.mean() - bonded.exact(kt)[1]) / (u.std() / np.sqrt(len(u)))
    if abs(z) > 4 or abs(at_rest) > 1e-2:  # a PDB rounds positions
        raise SystemExit(f"the bonded version is not what was meant: z {z:.1f}, {at_rest:.3g} kJ/mol at rest")


if __name__ == "__main__":
    main()
