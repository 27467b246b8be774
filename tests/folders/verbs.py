"""Every verb that writes, on inputs so small that it takes a second: what tests of troubled runs go through.

`make_inputs` makes the folder in which each command line of `VERBS` works; `READING` says why the others of
``boltzgen`` are not among them. `commands` are all there are.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from between_cases import butane_frames, write_frames
from butane import write_butane
from demo_cases import write_shipped
from small_model import FLOW, MODEL
from training_cases import DOUBLE_WELL

from boltzgen.config.build import build_flow
from boltzgen.config.model import save_model
from boltzgen.system.molecular_system import MolecularSystem
from boltzgen.workflows.datasets.build import build_dataset
from boltzgen.workflows.sampling.sample import sample
from boltzgen_cli import main

DATASET = {
    "implicit": "none",
    "simulation": {
        "evaluations": 100,
        "temperatures": [300.0, 450.0],
        "frames": 10,
        "exchange_interval": 0.005,
        "equilibration": 0.005,
    },
    "train": [{"smiles": "O", "name": "water"}],
    "test": [{"smiles": "N", "name": "ammonia"}],
}
DEMO = {
    "system": "SYS",
    "flow": {"kind": "coupling", "layers": 2, "hidden": 8},
    "likelihood": {"batch_size": 32},
    "optimizer": {"steps": 2},
    "evaluation": {"every": 2, "samples": 20},
    "workers": 1,
}
STATES = {
    "coordinates": {"turn": {"torsion": [0, 1, 2, 3]}},
    "states": [
        {"name": "left", "where": {"turn": [-180, 0]}},
        {"name": "right", "where": {"turn": [0, 180]}},
    ],
    "differences": [["left", "right"]],
}
SHORT = ["--temperatures", "300,400", "--time", "0.4ps", "--save-interval", "0.1ps"]
SHORT += ["--exchange-interval", "0.1ps", "--equilibration", "0.1ps"]
ADAPTING = ["reweighted.fresh=16", "reweighted.first=16", "reweighted.batch_size=16", "evaluation.samples=50"]
ADAPTING += ["evaluation.every=4", "checkpoint_every=2", "workers=1", "--budget", "100"]
ASKING = ["--frames", "MD300", "--config", "data.yaml", "--precision", "0.3kT"]
ASKING += ["--states", "states.yaml"]
BOOTSTRAP = ["--bootstrap", "20"]


@dataclass(frozen=True)
class Verb:
    """A command line, the folder or file that it makes, and what shortens it (`kill_points.SHORTER`)."""

    output: str
    words: list[str]
    changes: str | None = None

    @property
    def command(self) -> str:
        return " ".join(self.words[:2]) if self.words[0] in GROUPS else self.words[0]


GROUPS = ("dataset", "benchmark", "free-energy", "config")


def exported(format: str, file: str, *words: str) -> Verb:
    return Verb(file, ["export", "DRAWN", "--format", format, "-o", file, *words])


def estimated(verb: str, *words: str) -> Verb:
    return Verb(f"{verb}.json", ["free-energy", verb, *words, "-o", f"{verb}.json", *BOOTSTRAP])


VERBS = {
    "prepare": Verb("NEW", ["prepare", "system.xml", "--coordinates", "butane.pdb", "-o", "NEW"]),
    "simulate": Verb(
        "MD", ["simulate", "SYS", "-o", "MD", *SHORT, "--platform", "Reference", "--resume", "auto"]
    ),
    "simulate torch": Verb(
        "MD",
        ["simulate", "SYS", "-o", "MD", *SHORT, "--engine", "torch", "--replicas", "2", "--resume", "auto"],
    ),
    "sample": Verb("OUT", ["sample", "RUN", "SYS", "-o", "OUT", "-n", "50"]),
    "sample again": Verb("DRAWN", ["sample", "RUN", "SYS", "-o", "DRAWN", "-n", "50", "--overwrite"]),
    "sample chains": Verb(
        "WALKED",
        ["sample", "RUN", "SYS", "-o", "WALKED", "-n", "48", "--chains", "--walkers", "16"],
        "chains",
    ),
    "check": Verb("DRAWN", ["check", "DRAWN", "--rows", "20", "--data", "MD300"]),
    "reweight": Verb("HOT", ["reweight", "DRAWN", "-o", "HOT", "--temperature", "320"]),
    "reweight to": Verb("HOT", ["reweight", "DRAWN", "-o", "HOT", "--to", "SYS", "--resume", "auto"]),
    "merge": Verb("ALL", ["merge", "DRAWN", "OTHER", "-o", "ALL"]),
    "train": Verb("TRAINED", ["train", "train.yaml", "-o", "TRAINED", "--resume", "auto"]),
    "train on data": Verb("TRAINED", ["train", "data.yaml", "-o", "TRAINED", "--resume", "auto"]),
    "adapt": Verb("ADAPTED", ["adapt", "RUN", "SYS", *ADAPTING, "-o", "ADAPTED", "--resume", "auto"]),
    "dataset build": Verb("D", ["dataset", "build", "dataset.yaml", "-o", "D", "--no-compile"]),
    "benchmark transfer": Verb(
        "BENCH",
        ["benchmark", "transfer", "RUN", "DATASET", "-o", "BENCH", "--samples", "100", "--adapt", "400"],
    ),
    "export mdtraj-hdf5": exported("mdtraj-hdf5", "frames.h5"),
    "export dcd": exported("dcd", "frames.dcd"),
    "export xtc": exported("xtc", "frames.xtc"),
    "export pdb": exported("pdb", "frames.pdb"),
    "export colvar": exported("colvar", "COLVAR", "--variables", "states.yaml"),
    "export u_nk": exported("u_nk", "u_nk.csv"),
    "export csv": exported("csv", "rows.csv"),
    "free-energy states": estimated("states", "DRAWN", "--states", "states.yaml"),
    "free-energy surface": estimated("surface", "DRAWN", "--along", "turn", "--coordinates", "states.yaml"),
    "free-energy observable": estimated("observable", "DRAWN", "--of", "rg"),
    "free-energy thermo": estimated("thermo", "DRAWN"),
    "free-energy between": estimated("between", "DRAWN", "WARM", "--samples", "50"),
    "free-energy mbar": estimated("mbar", "DRAWN", "WARM"),
    "conformers": Verb("WELLS", ["conformers", "DRAWN", "--system", "SYS", "-o", "WELLS", *BOOTSTRAP]),
    "transfer": Verb("T", ["transfer", "list.smi", "-o", "T", "--evaluations", "200", *BOOTSTRAP]),
    "report": Verb("page.html", ["report", "DRAWN", "-o", "page.html"]),
    "selftest": Verb("selftest.json", ["selftest", "--quick", "-o", "selftest.json"], "selftest"),
    "demo": Verb("demo", ["demo", "-o", "demo"], "demo"),
    "run": Verb(
        "ANSWER",
        ["run", "system.xml", "--coordinates", "butane.pdb", "-o", "ANSWER", *ASKING],
        "run",
    ),
}

#: Verbs that write no file.
READING = {
    "models": "prints what is shipped",
    "cite": "prints BibTeX",
    "glossary": "prints what words mean",
    "doctor": "prints what is installed",
    "config list": "prints what is shipped",
    "config show": "prints a configuration",
    "config keys": "prints keys",
    "config check": "reads a configuration",
    "show": "prints what a folder is; only a drawing is written, and only where one is asked for",
    "dataset list": "prints the table of a data set",
}


def commands() -> list[str]:
    """Every command of ``boltzgen`` that does something."""
    found = list(main.VERBS)
    for group in main.app.registered_groups:
        for one in group.typer_instance.registered_commands:
            found.append(f"{group.name} {one.name or one.callback.__name__.replace('_', '-')}")
    return found


def make_inputs(folder: Path, butane: MolecularSystem, peptide: MolecularSystem | None = None) -> Path:
    """`folder` with what the commands of `VERBS` read; with the data of a demo when `peptide` is given."""
    butane.save(folder / "SYS")
    write_butane(folder)
    save_model(folder / "RUN" / "model", build_flow(FLOW, seed=0), MODEL)
    for name, seed, kelvin in (("DRAWN", 0, 300.0), ("OTHER", 1, 300.0), ("WARM", 2, 320.0)):
        sample(folder / "RUN", folder / "SYS", folder / name, 50, seed=seed, temperature=kelvin)
    frames = butane_frames(60, 300.0, np.random.default_rng(3))
    write_frames(folder / "MD300", frames, 300.0, butane.fingerprint)
    texts = {"train": DOUBLE_WELL, "dataset": DATASET, "tiny": DEMO, "states": STATES}
    texts["data"] = {**DOUBLE_WELL, "system": "SYS", "data": "MD300", "likelihood": {"batch_size": 16}}
    for name, content in texts.items():
        (folder / f"{name}.yaml").write_text(json.dumps(content))
    (folder / "list.smi").write_text("O water\nN ammonia\n")
    two = ["test=[{smiles: CO, name: methanol}]", "train=[]", "implicit=none"]
    build_dataset(folder / "dataset.yaml", folder / "DATASET", two, systems_only=True)
    if peptide is not None:
        write_shipped(folder / "SHIPPED", peptide)
    return folder
