"""The two ends of a free-energy difference: read, compared, and their target samples.

An end is an OUT folder (weighted samples of a flow, with the model and the system in the manifest) and, if
given, a simulation of its system. What stands in the way of a difference is refused here in a sentence.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from boltzgen.config.model import Model, load_model
from boltzgen.config.shipped import shipped_models
from boltzgen.data.trajectory import Trajectory, read_trajectory_at
from boltzgen.ensemble import Ensemble
from boltzgen.ensemble.diagnostics import ENOUGH_EFFECTIVE, findings, pareto_k, weights_are_constant
from boltzgen.ensemble.store import load_ensemble
from boltzgen.errors import InputError
from boltzgen.files import sha256_file
from boltzgen.flows.temperature_mixture import asked_at
from boltzgen.generator import BoltzmannGenerator, Target, read_target, temperature_of
from boltzgen.refine.refinement import is_refined
from boltzgen.system.examples import EXAMPLE
from boltzgen.system.formats.pdb_text import parse_elements
from boltzgen.system.molecular_system import MolecularSystem
from boltzgen.trust.coverage import seen_in_training
from boltzgen.trust.independence import with_inefficiency
from boltzgen.trust.rings import RingWalks, missing_in_frames
from boltzgen.workflows.free_energy.targeted_map import System


@dataclass(frozen=True, eq=False)
class TargetSamples:
    """Samples of a target, independent of each other: positions (n, ...), reduced energies (n,) or None.

    log_w, k_hat: their log-weights (n,), None for frames of a simulation. findings: what speaks against
    them. record: where they come from, for the result file.
    """

    positions: np.ndarray
    u: np.ndarray | None
    log_w: np.ndarray | None
    k_hat: float | None
    findings: list[tuple[str, str]]
    record: dict[str, Any]

    @property
    def simulated(self) -> bool:
        return self.log_w is None


@dataclass(frozen=True, eq=False)
class End:
    """One end: its folder, samples, temperature (K), and with what it was made.

    system, trained: None where the model or the prepared system can no longer be found, and `missing`
    says why; the samples alone still give a one-sided answer.
    """

    name: str
    folder: Path
    ensemble: Ensemble
    temperature: float
    molecule: MolecularSystem | None = None
    trained: Model | None = None
    system: System | None = None
    missing: str = ""
    record: dict[str, Any] = field(default_factory=dict)

    def close(self) -> None:
        if self.system is not None:
            self.system.generator.target.close()


def read_end(folder: str | Path, name: str, *, device: str, need: bool) -> End:
    """The end in `folder`; `need` says whether a flow is wanted (targets and maps), or the samples alone."""
    out = Path(folder)
    ensemble = load_ensemble(out)
    record = {
        "samples": str(folder),
        "samples_sha256": sha256_file(out / "samples.npz"),
        "system_fingerprint": ensemble.system_fingerprint,
        "n": len(ensemble),
        "model": ensemble.provenance.get("model"),
        "system": ensemble.provenance.get("system"),
    }
    temperature = temperature_of(ensemble)
    record["temperature_K"] = temperature
    model, source = (found_from(out, ensemble.provenance.get(key)) for key in ("model", "system"))
    refined = is_refined(ensemble) and ensemble.walkers is None
    if model is None or source is None or not need or refined:
        missing = _why_missing(folder, ensemble, model) if need else "none was wanted"
        return End(name, out, ensemble, temperature, missing=missing, record=record)
    trained = load_model(Path(model))
    molecule, target = read_target(source, isomers=trained.isomers)
    if target.fingerprint != ensemble.system_fingerprint:
        raise InputError(
            f"{folder}: the samples belong to another system than {source} holds now; sample again, or "
            "prepare that system as it was."
        )
    flow = asked_at(trained.flow.to(device=device), ensemble.provenance.get("proposal_temperatures"))
    generator = BoltzmannGenerator(flow, target.to(device))
    return End(
        name,
        out,
        ensemble,
        temperature,
        molecule,
        trained,
        System(name, generator, temperature),
        record=record,
    )


def require_comparable(a: End, b: End) -> None:
    """InputError unless both ends have the same atoms in one order, the same measure and one domain."""
    for what, x, y in (
        ("measure", a.ensemble.measure, b.ensemble.measure),
        ("domain", a.ensemble.domain, b.ensemble.domain),
    ):
        if x != y:
            raise InputError(
                f"{a.folder} and {b.folder} differ in their {what} ({x!r} and {y!r}); a difference needs one."
            )
    if a.ensemble.is_molecular:
        _require_same_atoms(a, b)
    if a.system is not None and b.system is not None:
        require_one_molecule(
            (str(a.folder), a.molecule, a.system.generator.target),
            (str(b.folder), b.molecule, b.system.generator.target),
        )


def require_one_molecule(
    a: tuple[str, MolecularSystem | None, Target], b: tuple[str, MolecularSystem | None, Target]
) -> None:
    """InputError unless two systems (name, molecule, target) have the same atoms and bonds and one domain."""
    (name_a, first, here), (name_b, second, there) = a, b
    if first is None or second is None:
        same = here.domain == there.domain
    else:
        same = np.array_equal(first.atomic_numbers, second.atomic_numbers) and np.array_equal(
            first.bonds, second.bonds
        )
    if not same:
        raise InputError(f"{name_a} and {name_b} differ in their atoms, their order or their bonds.")
    if here.domain != there.domain:
        raise InputError(
            f"{name_a} and {name_b} differ in their domain ({here.domain!r} and {there.domain!r})."
        )
    for coordinates, reference in ((here.coordinates, there.reference), (there.coordinates, here.reference)):
        reason = coordinates.reasons[int(coordinates.domain(reference.to(torch.float64))[0])]
        if reason:
            raise InputError(
                f"{name_a} and {name_b} were prepared from different isomers ({reason}), so that their "
                "partition functions cover different conformations; prepare both from one structure."
            )


def target_samples(
    end: End, data: str | Path | None, rows: slice, told: float | None = None
) -> TargetSamples:
    """Samples of the target of `end`: decorrelated frames of `data`, or the weighted flow samples `rows`.

    Of walkers as many rows at most, so far apart that they count as independent. told: the temperature (K) of
    frames of a file that does not say it.
    """
    if data is not None:
        return _frames(end, data, told)
    if end.ensemble.walkers is not None:
        return walked_samples(end, rows.stop - rows.start)
    part = end.ensemble[rows]
    kept = np.flatnonzero(np.isfinite(part.log_w))
    k_hat = pareto_k(part.log_w)
    # the estimator counts effective samples itself, of both ends alike
    enough = {"": ENOUGH_EFFECTIVE}
    found = findings(part.log_w, k_hat=k_hat, coverage=end.ensemble.coverage, n_effective=enough)
    if kept.size < 2:
        raise InputError(f"{end.folder}: fewer than two samples carry weight; train longer or sample more.")
    chosen = part[kept]
    return TargetSamples(
        np.array(chosen.positions),
        np.array(chosen.u),
        np.array(chosen.log_w),
        k_hat,
        [(verdict, f"{end.name}: {reason}") for verdict, reason in found],
        {"source": "weighted flow samples", "n": int(kept.size), "rejected": len(part) - int(kept.size)},
    )


def walked_samples(end: End, most: int | None = None) -> TargetSamples:
    """Independent rows of the walkers of `end`, at most `most`; their findings are those of the chains."""
    ensemble, walkers, judged = end.ensemble, end.ensemble.walkers, end.ensemble.diagnostics()
    assert walkers is not None
    spacing = len(walkers) / judged.n_effective if judged.n_effective > 0 else float(len(walkers))
    weighted = not weights_are_constant(ensemble.log_w)
    rows = walkers.spaced(spacing, most)
    rows = rows[np.isfinite(ensemble.log_w[rows])]
    if rows.size < 2:
        raise InputError(f"{end.folder}: fewer than two samples of its walkers carry weight; sample more.")
    chosen = ensemble[rows]
    return TargetSamples(
        np.array(chosen.positions),
        np.array(chosen.u),
        np.array(chosen.log_w) if weighted else None,
        judged.k_hat,
        [(judged.verdict, f"{end.name}: {reason}") for reason in judged.reasons],
        {"source": "samples of walkers", "rows": len(ensemble), "n": int(rows.size)},
    )


def independent_frames(frames: Trajectory, molecule: MolecularSystem, target: Target) -> Trajectory:
    """`frames`, of one temperature, a statistical inefficiency apart; measured here where it is not known."""
    return with_inefficiency(frames, molecule, target).decorrelated()


def _frames(end: End, data: str | Path, told: float | None) -> TargetSamples:
    """Decorrelated frames of the simulation `data` inside the domain; those outside are counted."""
    if end.molecule is None or end.system is None or end.trained is None:
        why = end.missing or "model systems have no simulations"
        raise InputError(f"{data}: frames cannot be used for {end.folder} ({why}).")
    frames = read_trajectory_at(data, end.molecule, end.temperature, told=told)
    digest = frames.digest()
    target = end.system.generator.target
    independent = independent_frames(frames, end.molecule, target)
    positions = np.array(independent.positions)
    coordinates = target.coordinates
    inside = coordinates.inside(torch.as_tensor(positions, dtype=torch.float64)).numpy()
    if inside.sum() < 2:
        raise InputError(f"{data}: fewer than two independent frames lie in the domain of {end.folder}.")
    seen = seen_in_training(end.trained.record, digest)
    walks = RingWalks.of_one(frames.positions) if Path(data).is_file() else None
    seen += missing_in_frames(end.molecule, positions[inside], end.temperature, walks)
    seen += [("caution", f"{data}: {one}") for one in frames.cautions]
    return TargetSamples(
        positions[inside],
        None,
        None,
        None,
        [(verdict, f"{end.name}: {reason}") for verdict, reason in seen],
        {
            "source": str(data),
            "frames": len(frames),
            "independent": len(independent),
            "outside the domain": int((~inside).sum()),
            "n": int(inside.sum()),
            "sha256": digest,
        },
    )


def _why_missing(folder: str | Path, ensemble: Ensemble, model: str | None) -> str:
    if "reweighted_from" in ensemble.provenance:
        return f"{folder} was reweighted: its samples come from a flow that was asked about another target"
    if is_refined(ensemble):
        return f"{folder} was refined: its weights are not those of the flow's own draws"
    lost = "model" if model is None else "prepared system"
    return f"the {lost} of {folder} is not where its manifest says"


def found_from(out: Path, path: str | None) -> str | None:
    """`path` from a manifest: as it stands, or seen from a folder above the samples; None when nowhere."""
    if path is None or path.startswith(("model:", EXAMPLE)) or path in shipped_models():
        return path
    for base in (Path(), *out.resolve().parents):
        if (base / path).exists():
            return str(base / path)
    return None


def _require_same_atoms(a: End, b: End) -> None:
    prepared = a.molecule is not None and b.molecule is not None
    elements = [_elements(end, prepared) for end in (a, b)]
    if len(elements[0]) != len(elements[1]):
        raise InputError(
            f"{a.folder} has {len(elements[0])} atoms, {b.folder} has {len(elements[1])}; a difference needs "
            "two systems with the same atoms in the same order."
        )
    for number, (x, y) in enumerate(zip(*elements, strict=True)):
        if x != y:
            raise InputError(
                f"atom {number} is {x} in {a.folder} and {y} in {b.folder}; a difference needs two systems "
                "with the same atoms in the same order."
            )
    if (
        a.molecule is not None
        and b.molecule is not None
        and not np.array_equal(a.molecule.bonds, b.molecule.bonds)
    ):
        raise InputError(f"{a.folder} and {b.folder} differ in their bonds: they are different molecules.")


def _elements(end: End, prepared: bool) -> list[str]:
    """What each atom is: by the prepared system, or by the PDB stored with the samples."""
    if prepared and end.molecule is not None:
        return [f"of atomic number {number}" for number in end.molecule.atomic_numbers]
    return [element or name for name, element in parse_elements(end.ensemble.topology_pdb)]
