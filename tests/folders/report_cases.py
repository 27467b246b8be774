"""A folder of a whole run, made in a second: real molecule and frames; weights and records by hand."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
from helpers import ROOT

from boltzgen.data.trajectory import read_trajectory
from boltzgen.ensemble.coverage import check_coverage
from boltzgen.ensemble.ensemble import Ensemble
from boltzgen.ensemble.store import save_ensemble
from boltzgen.system.molecular_system import MolecularSystem
from boltzgen.units import thermal_energy
from boltzgen.workflows.free_energy.states import free_energy_states

SHIPPED = ROOT / "boltzgen" / "demo_data" / "alanine-dipeptide"

#: Text that would show if a page took it for HTML, and does no harm.
HOSTILE = '<img src=x onerror="window.hostile=1"><b>\'&amp;</b></script><script>window.hostile=1</script>'

STATES = """\
states:
  - {name: "phi < 0", where: {phi: [-180, 0]}}
  - {name: "phi > 0", where: {phi: [0, 180]}}
"""


def weighted_frames(
    system: MolecularSystem, rows: int, *, spread: float = 0.7, command: object = None
) -> Ensemble:
    """Frames of the shipped simulation with log-weights that scatter by `spread`, some of them rejected."""
    frames = read_trajectory(SHIPPED / "MD", system).at(300.0)[:rows]
    rng = np.random.default_rng(5)
    u = frames.energies / thermal_energy(300.0)
    reason = np.where(np.arange(len(u)) % 97 == 13, "clash", "")
    ensemble = Ensemble.from_densities(
        frames.positions,
        -u + spread * rng.normal(size=len(u)),
        u,
        temperature=300.0,
        measure="shape",
        system_fingerprint=system.fingerprint,
        domain="isomers: reference",
        topology_pdb=system.topology_pdb,
        reason=reason,
        provenance={
            "requested": len(u),
            "seed": 5,
            "command": command or ["boltzgen", "sample", "RUN", "SYS"],
        },
    )
    record = check_coverage(ensemble.log_w, spread * rng.normal(size=500), source="CHECK")
    return replace(ensemble, coverage=record)


def write_whole_run(folder: Path, system: MolecularSystem, *, rows: int = 1500) -> Path:
    """`folder` with SYS, MD, CHECK, RUN, OUT, states.yaml and free_energy.json."""
    system.save(folder / "SYS")
    for name in ("MD", "CHECK"):
        shutil.copytree(SHIPPED / name, folder / name)
    save_ensemble(weighted_frames(system, rows), folder / "OUT")
    (folder / "states.yaml").write_text(STATES)
    free_energy_states(
        folder / "OUT", folder / "states.yaml", output=folder / "free_energy.json", n_bootstrap=50
    )
    write_run(folder / "RUN", folder)
    return folder


def write_run(run: Path, folder: Path) -> None:
    """What `train` leaves, without weights."""
    (run / "model").mkdir(parents=True)
    (run / "checkpoints").mkdir()
    rows = [
        {
            "step": step,
            "likelihood": 3.0 - 0.01 * step,
            "reverse_kl": None if step < 40 else 250.0 - step,
            "ess": 0.002 * step if step % 20 == 0 else None,
            "forward_ess": 0.0015 * step if step % 20 == 0 else None,
            "seconds": 0.5 * step,
        }
        for step in range(10, 110, 10)
    ]
    (run / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (run / "config.yaml").write_text(
        f"system: {folder / 'SYS'}\ndata: {folder / 'MD'}\nflow: {{kind: coupling}}\n"
        "optimizer: {steps: 100}\nseed: 7\n"
    )
    environment = {"command": ["boltzgen", "train", "quick"], "python": "3.11", "torch": "2.0"}
    (run / "environment.json").write_text(json.dumps(environment))
    model = {
        "schema": "boltzgen.model/2",
        "flow": {"kind": "coupling"},
        "steps": 100,
        "files": {"weights.safetensors": {"bytes": 3, "sha256": "ab" * 32}},
    }
    (run / "model" / "model.json").write_text(json.dumps(model))
