"""Short runs that stand for the frames that come with the demo."""

from __future__ import annotations

import shutil
from pathlib import Path

from boltzgen.system.molecular_system import MolecularSystem
from boltzgen.workflows.installation.demo import SHIPPED
from boltzgen.workflows.simulation.simulate import simulate


def write_shipped(folder: Path, peptide: MolecularSystem) -> Path:
    """MD, CHECK and states.yaml in `folder`, as `demo(shipped=folder)` takes them."""
    for name, ladder, seed in (("MD", "300,400", 1), ("CHECK", "300", 2)):
        simulate(
            peptide,
            folder / name,
            temperatures=ladder,
            time="3ps",
            equilibration="0.5ps",
            save_interval="0.05ps",
            platform="Reference",
            seed=seed,
        )
    shutil.copy(SHIPPED / "states.yaml", folder)
    return folder
