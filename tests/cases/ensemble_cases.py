"""Small ensembles that several test modules share, of independent samples and of walkers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from boltzgen.ensemble import Ensemble
from boltzgen.ensemble.store import save_ensemble

PDB = """\
ATOM      1  CH3 ETH A   1       0.000   0.000   0.000  1.00  0.00           C
ATOM      2  CH2 ETH A   1       1.530   0.000   0.000  1.00  0.00           C
ATOM      3  OH  ETH A   1       2.100   1.300   0.000  1.00  0.00           O
END
"""


ALANINE_DIPEPTIDE = (
    Path(__file__).resolve().parents[2]
    / "boltzgen"
    / "examples"
    / "alanine-dipeptide"
    / "alanine-dipeptide.pdb"
)


def write_densities(folder: Path, positions, log_q, u, **record) -> None:
    """Weigh samples and write their OUT folder; without `record` they are of a model system, in kT."""
    model = {"temperature": None, "measure": "lebesgue(1)", "domain": "all", "topology_pdb": ""}
    save_ensemble(Ensemble.from_densities(positions, log_q, u, **(model | record)), folder)


def make(n: int = 40, seed: int = 3, **changes) -> Ensemble:
    """A small molecular ensemble with three rejected rows."""
    rng = np.random.default_rng(seed)
    reason = np.full(n, "", dtype="U20")
    reason[5] = "other isomer"
    u = rng.normal(17.0, 2.0, n)
    u[9] = np.inf
    positions = rng.normal(size=(n, 3, 3)).astype(np.float32)
    positions[11] = np.nan
    arguments = {
        "temperature": 310.0,
        "measure": "shape",
        "system_fingerprint": "f00d",
        "domain": "reference",
        "topology_pdb": PDB,
        "provenance": {"seed": seed, "command": "boltzgen sample", "requested": n},
    }
    return Ensemble.from_densities(
        positions, rng.normal(4.0, 1.5, n), u, reason=reason, **(arguments | changes)
    )


def make_model(n: int = 50) -> Ensemble:
    rng = np.random.default_rng(8)
    x = rng.normal(size=(n, 2))
    return Ensemble.from_densities(
        x,
        -(x**2).sum(1) / 2,
        (x**2).sum(1) / 1.7,
        temperature=None,
        measure="lebesgue(2)",
        system_fingerprint="double-well",
        domain="",
        topology_pdb="",
    )


def molecule(n=60, *, seed=42):
    """Alanine dipeptide around its example structure, with weights of no meaning."""
    import mdtraj

    rng = np.random.default_rng(seed)
    x = mdtraj.load(str(ALANINE_DIPEPTIDE)).xyz + rng.normal(0, 0.01, (n, 22, 3))
    return Ensemble.from_densities(
        x.astype(np.float32),
        rng.normal(5, 0.3, n),
        rng.normal(-17, 0.3, n),
        temperature=310.0,
        measure="shape",
        system_fingerprint="f00d",
        domain="reference",
        topology_pdb=ALANINE_DIPEPTIDE.read_text(),
    )


def spoiled(n: int = 40) -> Ensemble:
    """Alanine dipeptide with three rejected rows (one without a position, one without a density)."""
    whole = molecule(n)
    positions, log_q = np.array(whole.positions), np.array(whole.log_q)
    positions[11], log_q[20] = np.nan, np.inf
    reason = np.full(n, "", dtype="U20")
    reason[5] = "other isomer"
    return Ensemble.from_densities(
        positions,
        log_q,
        whole.u,
        reason=reason,
        temperature=310.0,
        measure="shape",
        system_fingerprint="f00d",
        domain="reference",
        topology_pdb=whole.topology_pdb,
        provenance={"requested": n},
    )


#: The torsion of the four atoms of `butane_walkers`.
TORSIONS = [{"name": "C1-C2-C3-C4", "atoms": [0, 1, 2, 3], "states": True}]


def rows_of(walkers: int, steps: int, groups: int, stride: int = 3) -> dict[str, np.ndarray]:
    """Fields of `walkers` x `steps` rows, step by step."""
    walker = np.tile(np.arange(walkers), steps)
    step = stride * (1 + np.repeat(np.arange(steps), walkers))
    return {"walker": walker, "group": walker // (walkers // groups), "step": step}


def of_walkers(positions, u, rows, *, log_z=None, error=None, coverage=None, **record) -> Ensemble:
    """An ensemble with equal weights."""
    molecular = positions.ndim == 3
    log_w = np.full(len(u), log_z or 0.0)
    chains: dict[str, Any] = {"log_z": log_z, "log_z_standard_error": error, "stride": 3.0, **record}
    return Ensemble(
        positions=positions,
        log_q=-u - log_w,
        u=u,
        log_w=log_w,
        valid=np.ones(len(u), dtype=bool),
        reason=np.full(len(u), ""),
        temperature=310.0 if molecular else None,
        measure="shape" if molecular else f"lebesgue({positions.shape[1]})",
        system_fingerprint="f00d" if molecular else "model:double-well",
        domain="reference" if molecular else "all",
        topology_pdb=PDB if molecular else "",
        provenance={"seed": 3, "requested": len(u), "energy_evaluations": 12, "chains": chains},
        coverage=coverage,
        **rows,
    )


def chained(seed: int = 3, log_z: float = -3.5, error: float = 0.1) -> Ensemble:
    """8 walkers in 4 groups, 20 steps, of three atoms that mean nothing."""
    rng = np.random.default_rng(seed)
    rows = rows_of(8, 20, 4)
    positions = rng.normal(size=(160, 3, 3)).astype(np.float32)
    counts = {"residue": {"accepted": 12, "tried": 40}}
    return of_walkers(
        positions,
        rng.normal(17.0, 2.0, 160),
        rows,
        log_z=log_z,
        error=error,
        acceptance=counts,
        energy_evaluations={"pilot": 5, "sampling": 7},
    )


def turned(angle: np.ndarray) -> np.ndarray:
    """Positions (n, 4, 3) nm of four atoms with the torsion `angle` (n,) in rad."""
    zero = np.zeros_like(angle)
    last = np.stack([zero + 0.2, 0.1 * np.cos(angle), 0.1 * np.sin(angle)], axis=1)
    first = np.broadcast_to([0.0, 0.1, 0.0], last.shape)
    middle = [np.broadcast_to([x, 0.0, 0.0], last.shape) for x in (0.0, 0.15)]
    return np.stack([first, *middle, last], axis=1).astype(np.float32)


def two_state(
    walkers: int, steps: int, leave: float, enter: float, rng: np.random.Generator, *, first: np.ndarray
) -> np.ndarray:
    """(walkers, steps) bool, a chain that leaves a state, and enters it, with these chances a step."""
    x = np.empty((walkers, steps), dtype=bool)
    x[:, 0] = first
    for t in range(1, steps):
        chance = rng.random(walkers)
        x[:, t] = np.where(x[:, t - 1], chance >= leave, chance < enter)
    return x


def butane_walkers(case: str = "", coverage: dict[str, Any] | None = None) -> Ensemble:
    """64 walkers in 4 groups, torsion and energy independent from row to row, or with something amiss."""
    rng, walkers, steps = np.random.default_rng(11), 64, 30
    steps = 5 if case == "short" else steps
    walkers = 32 if case == "short" else walkers
    rows = rows_of(walkers, steps, 1 if case == "one group" else 4)
    n = walkers * steps
    third = rng.choice(3, size=n, p=[0.3, 0.5, 0.2])
    u = rng.normal(5.0, 1.0, n)
    if case == "seldom":  # two thirds of the rows in one place, the others there five times
        third[:] = 1
        third[rng.choice(n // walkers - 2, 5) * walkers + walkers + rng.choice(walkers, 5, replace=False)] = 0
        third[(rows["walker"] < 2) & (rows["step"] > 3)] = 0
    if case == "never left":
        third[third == 2] = 1
        third[(rows["walker"] == 1)] = 2
    if case == "groups apart":
        third = np.where(rows["group"] == 2, 0, third)
        u = u + 2.0 * (rows["group"] == 2)
    angle = (third + 0.5) * 2 * np.pi / 3 + rng.normal(0.0, 0.2, n)
    if case in ("stuck torsion", "stuck"):
        angle = rng.uniform(-np.pi, np.pi, walkers)[rows["walker"]]
    if case == "stuck":
        u = rng.normal(5.0, 1.0, walkers)[rows["walker"]]
    return of_walkers(turned(angle), u, rows, coverage=coverage, torsions=TORSIONS)
