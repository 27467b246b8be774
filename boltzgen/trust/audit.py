"""Is what an OUT folder holds what the flow and the energy say it is? Records checked row by row.

Findings are pairs of (verdict at best, reason), as in `boltzgen.ensemble.diagnostics`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from boltzgen import remedies
from boltzgen.digests import changed_files, is_as_signed
from boltzgen.ensemble.diagnostics import normalised_weights
from boltzgen.ensemble.ensemble import Ensemble
from boltzgen.ensemble.manifest import read_manifest
from boltzgen.ensemble.store import SIGNED
from boltzgen.generator import BoltzmannGenerator
from boltzgen.refine.refinement import is_refined

Findings = list[tuple[str, str]]

#: Differences (kT, or in log density) that float32 positions explain, for the two precisions of a flow.
TOLERANCE = {"float64": 0.02, "float32": 0.1}

#: Differences allowed in proportion to how far a value lies from the median: steep walls magnify rounding.
SLOPE_TOLERANCE = 1e-4

#: Rows, or weight, that may differ before nothing can be relied on.
FEW = 1e-3

#: Share of rows without a finite energy above which nothing can be relied on.
MANY_NOT_FINITE = 0.01

#: Samples closer than this in every coordinate, in standard deviations, are copies.
SAME = 1e-3

#: Samples that are searched for copies that differ by rounding; bitwise copies are found among all.
MOST_NEAR = 100_000

#: Below this number of coordinates only bitwise equal rows count as copies: chance brings others as close.
ENOUGH_COORDINATES = 5


@dataclass(frozen=True)
class Audit:
    """What was found, the numbers behind it (JSON-serialisable), and what it cost."""

    findings: Findings
    numbers: dict[str, Any]
    energy_evaluations: int


def check_files(folder: Path) -> Findings:
    """Files of the OUT `folder` whose bytes are not those that its manifest vouches for."""
    manifest = read_manifest(folder)
    changed = changed_files(folder, manifest.get("files"))
    if not is_as_signed(manifest, SIGNED):
        changed.append("manifest.json")
    return [
        ("unreliable", f"{name} was changed after it was written; {remedies.DRAW_AGAIN}") for name in changed
    ]


def audit_rows(
    generator: BoltzmannGenerator, ensemble: Ensemble, temperature: float, *, rows: int, seed: int
) -> Audit:
    """Recompute density and energy of up to `rows` samples from their positions, and look for copies.

    The heaviest samples are always among the rows; the others are drawn at random with `seed`. Of refined
    samples and of walkers only the energy can be recomputed: their weights come from the whole way there.
    """
    chosen = _chosen(ensemble, rows, seed)
    positions = torch.as_tensor(np.array(ensemble.positions[chosen]), dtype=torch.float64)
    u = _energies(generator, positions, temperature)
    log_q = generator.log_prob(positions, temperature)[0].cpu().numpy()
    part = ensemble[chosen]
    precision = str(ensemble.provenance.get("dtype", "float64"))
    density, density_difference = (
        ([], None)
        if is_refined(ensemble)
        else _compared(
            part,
            part.log_q,
            log_q,
            precision,
            "log density",
            "the samples do not come from this model at this temperature, or rows were swapped; "
            f"{remedies.NAME_MODEL}",
        )
    )
    energy, energy_difference = _compared(
        part,
        part.u,
        u,
        "float64",
        "energy",
        f"the energies are not those of this system at {temperature:g} K, or rows were swapped; "
        f"{remedies.NAME_SYSTEM}",
    )
    lost, lost_share = _rejected(ensemble, part, u, log_q)
    copies, copied = _copies(generator, ensemble)
    numbers = {
        "rows": len(chosen),
        "log_q_difference": density_difference,
        "energy_difference": energy_difference,
        "copied_rows": copied,
        "rejected_in_error": lost_share,
    }
    return Audit([*energy, *density, *lost, *copies], numbers, len(chosen))


def _chosen(ensemble: Ensemble, rows: int, seed: int) -> np.ndarray:
    """Sorted indices: all rows, or the heaviest tenth of `rows` and others at random."""
    total = len(ensemble)
    if rows >= total:
        return np.arange(total)
    heavy = np.argsort(ensemble.log_w)[total - rows // 10 :]
    others = np.setdiff1d(np.arange(total), heavy)
    drawn = np.random.default_rng(seed).choice(others, rows - len(heavy), replace=False)
    return np.sort(np.concatenate([heavy, drawn]))


def _energies(generator: BoltzmannGenerator, positions: torch.Tensor, temperature: float) -> np.ndarray:
    target = generator.target
    parts = [
        target.reduced_energy(part.to(target.reference.device), temperature)
        for part in positions.split(target.batch_rows())
    ]
    return torch.cat(parts).detach().cpu().numpy()


def _compared(
    part: Ensemble, stored: np.ndarray, again: np.ndarray, precision: str, what: str, meaning: str
) -> tuple[Findings, float | None]:
    """Findings on `stored` against `again` (rows,) where valid, and the median difference."""
    valid = part.valid
    if not valid.any():
        return [], None
    stored, again = stored[valid], again[valid]
    spread = np.abs(stored - np.median(stored))
    allowed = TOLERANCE[precision] + SLOPE_TOLERANCE * spread + 1e-6 * np.abs(stored)
    with np.errstate(invalid="ignore"):
        differs = ~(np.abs(again - stored) <= allowed)
    difference = np.nan_to_num(np.abs(again - stored), nan=1e300, posinf=1e300)
    typical = float(np.median(difference[differs])) if differs.any() else float(np.median(difference))
    if not differs.any():
        return [], typical
    share = float(differs.mean())
    weight = float(normalised_weights(part.log_w)[valid][differs].sum())
    verdict = "unreliable" if max(share, weight) > FEW else "caution"
    much = f"by {typical:.3g} " if typical < 1e299 else ""
    return [
        (
            verdict,
            f"the {what} of {differs.sum()} of {len(differs)} samples, recomputed from the positions, "
            f"differs {much}from the stored one: {meaning}",
        )
    ], typical


def _rejected(ensemble: Ensemble, part: Ensemble, u: np.ndarray, log_q: np.ndarray) -> tuple[Findings, float]:
    """Findings on samples rejected because a number was not finite, and the weight that they would have."""
    faulty = np.array([reason.endswith("not finite") for reason in part.reason])
    if not faulty.any():
        return [], 0.0
    found: Findings = []
    with np.errstate(invalid="ignore"):
        log_w = np.where(np.isfinite(u) & np.isfinite(log_q), -u - log_q, -np.inf)
    sound = faulty & np.isfinite(log_w)
    share = 0.0
    if sound.any():
        share = float(normalised_weights(np.where(sound | part.valid, log_w, -np.inf))[sound].sum())
        found.append(
            (
                "unreliable" if share > FEW else "caution",
                f"{sound.sum()} of {len(part)} samples were rejected although their energy and density are "
                f"finite: {100 * share:.2g} % of the weight is missing; {remedies.DRAW_AGAIN}",
            )
        )
    lost = int((faulty & ~sound).sum())
    if lost:
        reasons = {r: n for r, n in ensemble.rejected().items() if r.endswith("not finite")}
        told = ", ".join(f"{reason} {count}" for reason, count in reasons.items())
        found.append(
            (
                "unreliable" if lost > MANY_NOT_FINITE * len(part) else "caution",
                f"{100 * lost / len(part):.2g} % of the samples have no usable number ({told}): what they "
                f"would weigh is not known; {remedies.LOOK}",
            )
        )
    return found, share


def _copies(generator: BoltzmannGenerator, ensemble: Ensemble) -> tuple[Findings, int]:
    """Findings on rows that stand in the ensemble more than once, and how many there are too many.

    A walker repeats its own row with every rejected move: those of different walkers alone are copies.
    """
    valid = np.flatnonzero(ensemble.valid)
    if len(valid) < 2:
        return [], 0
    # with the density: of a diatomic, positions in float32 coincide by chance
    columns = [ensemble.positions[valid].reshape(len(valid), -1), ensemble.log_q[valid, None]]
    if ensemble.walker is not None:  # one that stays where it is repeats its row
        copied = _shared_by_walkers(ensemble, valid)
    else:
        bitwise = len(valid) - len(np.unique(np.concatenate(columns, axis=1), axis=0))
        copied = max(bitwise, _near(generator, ensemble.positions[valid[:MOST_NEAR]]))
    if not copied:
        return [], 0
    share = copied / len(valid)
    return [
        (
            "unreliable" if share > FEW else "caution",
            f"{copied} of {len(valid)} samples are copies of others: they count as independent and are not; "
            + (
                f"were runs with one seed joined?; {remedies.OTHER_SEED}"
                if ensemble.walker is None
                else f"walkers hold one conformation; {remedies.LONGER_CHAINS}"
            ),
        )
    ], copied


def _shared_by_walkers(ensemble: Ensemble, valid: np.ndarray) -> int:
    """Rows that hold, to the bit, what another walker holds: the walkers of a group that never moved, say."""
    assert ensemble.walker is not None
    rows = ensemble.positions[valid].reshape(len(valid), -1)
    _, which = np.unique(rows, axis=0, return_inverse=True)
    pairs = np.unique(np.stack([which.reshape(-1), ensemble.walker[valid]], axis=1), axis=0)
    return len(pairs) - len(np.unique(pairs[:, 0]))


def _near(generator: BoltzmannGenerator, positions: np.ndarray) -> int:
    """Rows that follow a row equal within `SAME` standard deviations in every internal coordinate.

    Copies are neighbours after sorting along one random direction, unless another row comes between, so a
    few directions are tried and the largest count is taken.
    """
    target = generator.target
    if not target.is_molecular or target.coordinates.dimension < ENOUGH_COORDINATES:
        return 0
    atoms = torch.as_tensor(positions, dtype=torch.float64)
    parts = [target.coordinates.encode(part)[0] for part in atoms.split(target.batch_rows())]
    values = torch.cat(parts).numpy()
    circular = target.coordinates.table.circular
    turned = values[:, circular]
    plane = np.concatenate([values[:, ~circular], np.cos(turned), np.sin(turned)], axis=1)
    scale = plane.std(axis=0)
    plane = plane[:, scale > 0] / scale[scale > 0]
    rng = np.random.default_rng(0)
    largest = 0
    for _ in range(3):
        order = np.argsort(plane @ rng.normal(size=plane.shape[1]))
        gap = np.abs(np.diff(plane[order], axis=0)).max(axis=1, initial=0.0)
        largest = max(largest, int((gap < SAME).sum()))
    return largest
