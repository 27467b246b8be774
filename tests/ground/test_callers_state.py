"""A caller's process is left as it was: every verb runs, and streams and settings are compared."""

from __future__ import annotations

import importlib.util
import logging
import os
import random
import subprocess
import sys
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from callers_state import callers_state, changed
from estimator_cases import ESTIMATORS
from helpers import ROOT

from boltzgen.free_energy import Statistics
from boltzgen.guards import pool_of_single_threads
from boltzgen.system.small_molecule.rdkit_messages import rdkit_log
from boltzgen.workflows.sampling.load import load_generator, load_samples

#: Imported before anything is compared: what these do to a process on import is not ours to prevent
#: (SciPy, torch and SymPy add filters of warnings, torch loggers with handlers, RDKit sets RDBASE;
#: ``torch._dynamo`` is what torch imports with its first optimizer).
FOUNDATIONS = (
    "scipy.optimize",
    "scipy.sparse",
    "scipy.stats",
    "torch",
    "torch._dynamo",
    "openmm.app",
    "h5py",
    "mdtraj",
    "rdkit.Chem.rdForceFieldHelpers",
    "pymbar.timeseries",
    "arviz_stats.base",
    "pandas",
    "matplotlib.figure",
    "matplotlib.backends.backend_agg",
    "safetensors",
    "pydantic",
    "yaml",
    "Bio.PDB",
    "PeptideBuilder",
)

FLOW = {"kind": "coupling", "layers": 2, "hidden": 8, "bins": 4, "embedding": 8, "encoder_blocks": 1}
TRAINING = """\
system: SYS
data: MD
flow: {kind: coupling, layers: 2, hidden: 8, bins: 4}
likelihood: {batch_size: 16}
reverse_kl: {weight: 0.5, batch_size: 16}
optimizer: {steps: 3}
evaluation: {every: 3, samples: 50}
workers: 2
"""
STATES = "states: [{name: near, where: {phi: [-180, 0]}}, {name: far, where: rest}]"
WELL_STATES = "states: [{name: left, where: {x0: [-.inf, 0]}}, {name: right, where: rest}]"


@pytest.fixture(scope="module", autouse=True)
def unusual():
    """A caller with settings of its own, none of them the default, so that a default is no restoration."""
    import matplotlib
    from rdkit import RDLogger

    for name in FOUNDATIONS:
        importlib.import_module(name)
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        patch.setenv("TORCHINDUCTOR_CACHE_DIR", str(Path.home() / ".cache" / "boltzgen" / "inductor"))
        logging.getLogger("pymbar").setLevel(logging.INFO)
        patch.setattr(logging.root.manager, "disable", logging.DEBUG)
        patch.setitem(matplotlib.rcParams, "figure.dpi", 91.5)
        warnings.filterwarnings("ignore", message="a filter of the caller")
        threads, errors = torch.get_num_threads(), np.geterr()
        RDLogger.DisableLog("rdApp.warning")
        torch.set_num_threads(2)
        torch.set_float32_matmul_precision("high")
        np.seterr(over="ignore")
        np.random.normal()  # half of a pair: the generator holds the other
        yield
        np.seterr(**errors)
        torch.set_float32_matmul_precision("highest")
        torch.set_num_threads(threads)
        RDLogger.EnableLog("rdApp.warning")


class Watched:
    """Runs steps by name and keeps what each changed."""

    def __init__(self) -> None:
        self.changes: dict[str, dict[str, Any]] = {}

    def __call__(self, name: str, step: Callable[[], Any]) -> Any:
        before = callers_state()
        try:
            return step()
        finally:
            self.changes[name] = changed(before, callers_state())


@pytest.fixture(scope="module")
def watched(tmp_path_factory, butane) -> dict[str, dict[str, Any]]:
    """What each verb changed, by its name: one small molecule on the whole road, and a double well."""
    watch, folder = Watched(), tmp_path_factory.mktemp("road")
    butane.save(folder / "SYS")
    _molecule(watch, folder)
    _answers(watch, folder)
    _around(watch, folder)
    _rooms(watch, folder)
    return watch.changes


def _molecule(watch: Watched, folder: Path) -> None:
    from boltzgen.workflows.preparation.prepare import prepare
    from boltzgen.workflows.sampling.check import check
    from boltzgen.workflows.sampling.reweight import reweight
    from boltzgen.workflows.sampling.sample import sample
    from boltzgen.workflows.simulation.simulate import simulate
    from boltzgen.workflows.training.adapt import adapt
    from boltzgen.workflows.training.train import train

    watch("prepare smiles", lambda: prepare(output=folder / "ETHANOL", smiles="CCO"))
    watch("prepare sequence", lambda: prepare(output=folder / "PEPTIDE", sequence="ACE-GLY-NME"))
    short = {"temperatures": "300,400", "time": "0.4ps", "equilibration": "0.1ps"}
    short |= {"save_interval": "0.01ps", "exchange_interval": "0.05ps"}
    watch("simulate", lambda: simulate(folder / "SYS", folder / "MD", platform="Reference", **short))
    batched = {"engine": "torch", "replicas": 8, "compile_energies": False, **short}
    watch("simulate torch", lambda: simulate(folder / "SYS", folder / "TORCH", **batched))
    (folder / "train.yaml").write_text(
        TRAINING.replace("SYS", str(folder / "SYS")).replace("MD", str(folder / "MD"))
    )
    watch("train", lambda: train(folder / "train.yaml", [], folder / "RUN", compile_energies=False))
    model = folder / "RUN" / "model"
    watch("sample", lambda: sample(model, folder / "SYS", folder / "OUT", 400, temperature=300.0))
    hot = {"temperature": 300.0, "proposal_temperatures": [300.0, 400.0]}
    watch("sample hotter", lambda: sample(model, folder / "SYS", folder / "HOT", 60, **hot))
    watch(
        "sample refined",
        lambda: sample(model, folder / "SYS", folder / "SMC", 60, refine="smc", refine_budget=2),
    )
    watch("check", lambda: check(folder / "OUT", rows=20))
    watch(
        "check probe", lambda: check(folder / "OUT", probe=True, budget=50_000, rows=20, platform="Reference")
    )
    watch("reweight", lambda: reweight(folder / "OUT", folder / "OUT400", temperature=400.0))
    watch(
        "adapt",
        lambda: adapt(model, folder / "SYS", folder / "ADAPTED", ["workers=2"], budget=2500, samples=60),
    )


def _answers(watch: Watched, folder: Path) -> None:
    from boltzgen.workflows.free_energy.averages import observable, thermo
    from boltzgen.workflows.free_energy.between import between
    from boltzgen.workflows.free_energy.mbar import mbar
    from boltzgen.workflows.free_energy.states import free_energy_states
    from boltzgen.workflows.free_energy.surface import surface
    from boltzgen.workflows.sampling.export import FORMATS, export
    from boltzgen.workflows.sampling.merge import merge
    from boltzgen.workflows.sampling.sample import sample

    model, few = folder / "RUN" / "model", {"n_bootstrap": 20}
    sample(model, "model:double-well", folder / "WELL", 500)
    (folder / "states.yaml").write_text(WELL_STATES)
    watch("states", lambda: free_energy_states(folder / "WELL", folder / "states.yaml", smoothed=True, **few))
    watch("surface", lambda: surface(folder / "WELL", ["x0", "x1"], bins=[5], **few))
    watch("observable", lambda: observable(folder / "OUT", ["rg", "sasa"], **few))
    watch("thermo", lambda: thermo(folder / "OUT", **few))
    ends = {"data_a": folder / "MD", "output": folder / "between.json", "samples": 50}
    watch("between", lambda: between(folder / "OUT", folder / "OUT", **ends, **few))
    folders, systems = [folder / "OUT", folder / "MD"], [folder / "SYS"]
    watch("mbar", lambda: mbar(folders, systems=systems, output=folder / "mbar.json", samples=50, **few))
    sample(model, folder / "SYS", folder / "MORE", 50, seed=5, temperature=300.0)
    watch("merge", lambda: merge([folder / "OUT", folder / "MORE"], folder / "BOTH"))

    def exported(name: str) -> None:
        path = folder / ("u_nk.csv" if name == "u_nk" else f"exported.{name}")
        of_well = name == "colvar"
        export(folder / ("WELL" if of_well else "OUT"), path, name, variables=["x0"] if of_well else None)

    for name in FORMATS:
        watch(f"export {name}", partial(exported, name))
    watch("load samples", lambda: load_samples(folder / "OUT").equal_weight_rows(30, seed=2))
    generator = watch("load generator", lambda: load_generator(model, folder / "SYS"))
    watch("draw", lambda: generator.sample(20, 300.0, seed=1))


def _around(watch: Watched, folder: Path) -> None:
    from boltzgen.config.build import build_flow
    from boltzgen.config.settings import build_settings
    from boltzgen.flows.settings import FlowSettings
    from boltzgen.interrupts import StopRequest
    from boltzgen.workflows.datasets.build import build_dataset
    from boltzgen.workflows.datasets.settings import DatasetSettings
    from boltzgen.workflows.exact_answers.selftest import selftest
    from boltzgen.workflows.installation import models
    from boltzgen.workflows.installation.doctor import doctor
    from boltzgen.workflows.transfer.benchmark import benchmark_transfer

    simulation = {
        "evaluations": 400,
        "temperatures": [300.0, 450.0],
        "frames": 20,
        "exchange_interval": 0.005,
        "equilibration": 0.01,
    }
    molecules = [{"name": "glycine", "sequence": "ACE-GLY-NME"}]
    settings = build_settings(
        DatasetSettings, {"implicit": "none", "simulation": simulation, "test": molecules}
    )
    model, data = folder / "RUN" / "model", folder / "DATASET"
    watch("dataset", lambda: build_dataset(settings, data))
    watch(
        "benchmark transfer",
        lambda: benchmark_transfer(
            model, folder / "DATASET", folder / "BENCH", samples=100, torus_samples=20
        ),
    )
    watch("selftest", lambda: selftest(quick=True, output=folder / "selftest.json"))
    watch("doctor", doctor)
    watch("models", lambda: [models.model_card(release.name) for release in models.releases()])
    watch("build a flow", lambda: build_flow(FlowSettings.model_validate(FLOW), seed=4))

    def stopped() -> None:
        with StopRequest(max_time=1.0):
            pass

    watch("stop request", stopped)


def _rooms(watch: Watched, folder: Path) -> None:
    import openmm

    from boltzgen.interop.ase_calculator import ase_atoms
    from boltzgen.interop.openmm_force import openmm_system
    from boltzgen.potentials.of_system import potential_of
    from boltzgen.report.ramachandran import panel, ramachandran_figure
    from boltzgen.report.transfer import transfer_figure
    from boltzgen.system.molecular_system import MolecularSystem

    for name, estimate in ESTIMATORS.items():
        watch(name, lambda: estimate(Statistics(np.random.default_rng(1), n_bootstrap=10)))  # noqa: B023
    peptide = MolecularSystem.load(folder / "PEPTIDE")
    panels = [panel("one", peptide.reference_positions[None], peptide.topology_pdb)]
    watch("ramachandran", lambda: ramachandran_figure(folder / "map.png", panels))
    row = {"stage": "zero_shot", "atoms": 9, "ess": 0.3, "ess_standard_error": 0.1}
    rows = [{**row, "gap_per_atom": 0.2, "seconds": 3.0, "molecule": name} for name in "ab"]
    watch("transfer figure", lambda: transfer_figure(folder / "growth.png", rows, 100))
    x = torch.as_tensor(peptide.reference_positions[None].repeat(300, axis=0))
    potential = potential_of(peptide)
    watch("energies", lambda: potential.energy(x))
    if hasattr(openmm, "PythonForce"):
        watch("as OpenMM's force", lambda: openmm_system(peptide, potential=potential))
    if importlib.util.find_spec("ase") is not None:
        watch("as ASE's atoms", lambda: ase_atoms(peptide).get_forces())


def test_every_verb_leaves_the_process_as_it_was(watched):
    assert {name: changes for name, changes in watched.items() if changes} == {}
    assert len(watched) > 50


def test_what_is_compared_would_show_a_change():
    """The comparison itself: each kind of state, changed and put back by hand."""
    before, stream = callers_state(), torch.get_rng_state()
    np.random.random()
    torch.rand(1)
    random.random()
    logger = logging.getLogger("boltzgen.tests.of.a.changed.logger")
    logger.setLevel(logging.ERROR)
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings(), np.errstate(divide="raise"):
        patch.setenv("BOLTZGEN_TESTS_CHANGED", "1")
        patch.chdir("/")
        warnings.simplefilter("error")
        found = changed(before, callers_state())
    logger.setLevel(logging.NOTSET)
    torch.set_rng_state(stream)
    assert set(found) == {
        "environment",
        "folder",
        "logger boltzgen.tests.of.a.changed.logger",
        "numpy errors",
        "numpy stream",
        "random",
        "torch stream",
        "warnings",
    }


def test_a_pool_of_single_threads_leaves_later_threads_alone(unusual):
    with pool_of_single_threads(3, "test") as pool:
        inside = [pool.submit(torch.get_num_threads).result() for _ in range(6)]
        state = callers_state()
    assert inside == [1] * 6
    assert (state["torch threads"], state["torch threads of a new thread"]) == (2, 2)


@pytest.mark.parametrize("destination", ["C++", "Python's stderr", "Python's logger", "both"])
def test_rdkit_writes_where_it_wrote(destination, capfd, caplog):
    from rdkit import Chem, rdBase

    choose = {
        "C++": [rdBase.LogToCppStreams],
        "Python's stderr": [rdBase.LogToPythonStderr],
        "Python's logger": [rdBase.LogToPythonLogger],
        "both": [rdBase.LogToCppStreams, rdBase.WrapLogs],
    }

    def heard() -> tuple[int, int]:
        caplog.clear()
        rdBase.LogErrorMsg("heard")
        return capfd.readouterr().err.count("heard"), caplog.text.count("heard")

    status = rdBase.LogStatus()
    logger = logging.getLogger("rdkit")
    handlers, logger.handlers = logger.handlers, [caplog.handler]
    try:
        for step in choose[destination]:
            step()
        before = heard()
        with rdkit_log() as lines:
            Chem.MolFromSmiles("C(C)(C)(C)(C)C")
        assert "Explicit valence" in lines[0] and capfd.readouterr().err == ""
        assert heard() == before and sum(before) == (2 if destination == "both" else 1)
    finally:
        logger.handlers = handlers
        rdBase.LogToCppStreams()
        for line in status.split():
            log, _, state = line.partition(":")
            (rdBase.EnableLog if state == "enabled" else rdBase.DisableLog)(log)


def in_a_process(code: str) -> None:
    known = {k: v for k, v in os.environ.items() if k != "TORCHINDUCTOR_CACHE_DIR"}
    known["PYTHONPATH"] = os.pathsep.join([str(ROOT / "tests" / "cases"), os.environ.get("PYTHONPATH", "")])
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=known, cwd=ROOT)
    assert run.returncode == 0, run.stdout + run.stderr


def test_importing_changes_nothing():
    """The package alone loads no foundation; all of its modules, once those are there, change nothing."""
    in_a_process(
        "import sys\n"
        "from callers_state import callers_state, changed\n"
        "before = callers_state()\n"
        "import boltzgen\n"
        "assert changed(before, callers_state()) == {}\n"
        "assert not {'torch', 'numpy', 'openmm'} & set(sys.modules)\n"
        "import importlib, pkgutil\n"
        f"for name in {FOUNDATIONS}: importlib.import_module(name)\n"
        "before = callers_state()\n"
        "names = [m.name for m in pkgutil.walk_packages(boltzgen.__path__, 'boltzgen.')]\n"
        "for name in names: importlib.import_module(name)\n"
        "assert len(names) > 150\n"
        "found = changed(before, callers_state())\n"
        "assert found == {}, found\n"
    )


def test_an_optimizer_leaves_the_environment():
    """Torch imports its compiler with the first optimizer; it names a folder for its cache, ours too."""
    in_a_process(
        "import os, torch\n"
        "from boltzgen.training.optimizer.soap import Soap\n"
        "before = dict(os.environ)\n"
        "x = torch.zeros(2, 2, requires_grad=True)\n"
        "optimizer = Soap([x], lr=0.1)\n"
        "x.sum().backward(); optimizer.step()\n"
        "assert dict(os.environ) == before, set(os.environ) ^ set(before)\n"
    )
