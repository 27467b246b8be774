"""Small ensembles that several test modules share."""

from __future__ import annotations

from pathlib import Path

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
