"""Boltzmann generators: from a molecule to a free energy with its error.

    import boltzgen as bg

    bg.prepare(smiles="CCCC", output="SYS")
    bg.simulate("SYS", "MD", temperatures=[300, 450, 700], time="2ns")
    bg.train("train.yaml", ["system=SYS", "data=MD"], "RUN")
    print(bg.sample("RUN", "SYS", "OUT", 20_000, temperature=300))

All that people need stands here, one function for each verb of the command line, and nothing of it is
imported before it is used: ``import boltzgen`` loads neither torch nor NumPy. ``dir(boltzgen)`` lists the
names, ``help(boltzgen.sample)`` explains one; docs/python.md shows them at work.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from boltzgen.provenance import VERSION

if TYPE_CHECKING:
    from boltzgen.data.dataset import Dataset
    from boltzgen.data.record import Trajectory
    from boltzgen.ensemble.ensemble import Ensemble
    from boltzgen.errors import (
        BoltzgenError,
        InputError,
        MissingExtraError,
        PartialError,
        StoppedError,
        UnreliableError,
        UnsupportedError,
    )
    from boltzgen.free_energy.estimate import Estimate
    from boltzgen.generator import BoltzmannGenerator
    from boltzgen.interrupts import StopRequest
    from boltzgen.report.citations import Citations
    from boltzgen.system.molecular_system import MolecularSystem
    from boltzgen.workflows.configurations.check import CheckedConfiguration, check_config
    from boltzgen.workflows.conformers.conformers import conformers
    from boltzgen.workflows.conformers.record import ConformerTable
    from boltzgen.workflows.datasets.build import build_dataset, load_dataset
    from boltzgen.workflows.exact_answers.selftest import SelfTest, selftest
    from boltzgen.workflows.free_energy.averages import observable
    from boltzgen.workflows.free_energy.averages import thermo as thermodynamics
    from boltzgen.workflows.free_energy.between import between as free_energy_between
    from boltzgen.workflows.free_energy.mbar import mbar as free_energy_mbar
    from boltzgen.workflows.free_energy.results import FreeEnergyResult
    from boltzgen.workflows.free_energy.states import free_energy_states
    from boltzgen.workflows.free_energy.surface import surface as free_energy_surface
    from boltzgen.workflows.installation.cite import cite
    from boltzgen.workflows.installation.demo import demo
    from boltzgen.workflows.installation.doctor import Installation, doctor
    from boltzgen.workflows.installation.glossary import Glossary, glossary
    from boltzgen.workflows.installation.models import Release, model_card, releases
    from boltzgen.workflows.preparation.load import load_system
    from boltzgen.workflows.preparation.prepare import Preparation, prepare
    from boltzgen.workflows.reporting.report import Page
    from boltzgen.workflows.reporting.report import report as write_report
    from boltzgen.workflows.reporting.show import show
    from boltzgen.workflows.reporting.shown import Shown
    from boltzgen.workflows.roads.answer import Run
    from boltzgen.workflows.roads.run import run
    from boltzgen.workflows.sampling.check import Examination, check
    from boltzgen.workflows.sampling.export import Export, export
    from boltzgen.workflows.sampling.load import load_generator, load_samples
    from boltzgen.workflows.sampling.merge import merge
    from boltzgen.workflows.sampling.records import Coverage, Reweighting, Summary
    from boltzgen.workflows.sampling.reweight import reweight
    from boltzgen.workflows.sampling.sample import sample
    from boltzgen.workflows.simulation.load import load_trajectory
    from boltzgen.workflows.simulation.record import Simulation
    from boltzgen.workflows.simulation.simulate import simulate
    from boltzgen.workflows.training.adapt import Adaptation, adapt
    from boltzgen.workflows.training.train import Training, train
    from boltzgen.workflows.transfer.benchmark import benchmark_transfer
    from boltzgen.workflows.transfer.record import TransferBenchmark
    from boltzgen.workflows.two_energies.record import Transfers
    from boltzgen.workflows.two_energies.transfer import transfer

__version__ = VERSION

#: Module -> the names that this package takes from it, as ``name`` or ``name in the module = name here``.
#: The imports above say the same to type checkers (tests/test_face.py compares the two).
_TAKEN = {
    "boltzgen.workflows.roads.run": "run",
    "boltzgen.workflows.roads.answer": "Run",
    "boltzgen.workflows.preparation.prepare": "prepare Preparation",
    "boltzgen.workflows.preparation.load": "load_system",
    "boltzgen.workflows.simulation.simulate": "simulate",
    "boltzgen.workflows.simulation.record": "Simulation",
    "boltzgen.workflows.simulation.load": "load_trajectory",
    "boltzgen.workflows.datasets.build": "build_dataset load_dataset",
    "boltzgen.workflows.training.train": "train Training",
    "boltzgen.workflows.training.adapt": "adapt Adaptation",
    "boltzgen.workflows.transfer.benchmark": "benchmark_transfer",
    "boltzgen.workflows.transfer.record": "TransferBenchmark",
    "boltzgen.workflows.two_energies.transfer": "transfer",
    "boltzgen.workflows.two_energies.record": "Transfers",
    "boltzgen.workflows.sampling.load": "load_generator load_samples",
    "boltzgen.workflows.sampling.sample": "sample",
    "boltzgen.workflows.sampling.check": "check Examination",
    "boltzgen.workflows.sampling.records": "Coverage Reweighting Summary",
    "boltzgen.workflows.sampling.reweight": "reweight",
    "boltzgen.workflows.sampling.merge": "merge",
    "boltzgen.workflows.sampling.export": "export Export",
    "boltzgen.workflows.free_energy.states": "free_energy_states",
    "boltzgen.workflows.free_energy.surface": "surface=free_energy_surface",
    "boltzgen.workflows.free_energy.between": "between=free_energy_between",
    "boltzgen.workflows.free_energy.mbar": "mbar=free_energy_mbar",
    "boltzgen.workflows.free_energy.averages": "observable thermo=thermodynamics",
    "boltzgen.workflows.free_energy.results": "FreeEnergyResult",
    "boltzgen.workflows.conformers.conformers": "conformers",
    "boltzgen.workflows.conformers.record": "ConformerTable",
    "boltzgen.workflows.reporting.report": "report=write_report Page",
    "boltzgen.workflows.exact_answers.selftest": "selftest SelfTest",
    "boltzgen.workflows.installation.doctor": "doctor Installation",
    "boltzgen.workflows.installation.glossary": "glossary Glossary",
    "boltzgen.workflows.installation.cite": "cite",
    "boltzgen.workflows.installation.demo": "demo",
    "boltzgen.workflows.configurations.check": "check_config CheckedConfiguration",
    "boltzgen.workflows.reporting.show": "show",
    "boltzgen.workflows.reporting.shown": "Shown",
    "boltzgen.report.citations": "Citations",
    "boltzgen.workflows.installation.models": "model_card releases Release",
    "boltzgen.system.molecular_system": "MolecularSystem",
    "boltzgen.data.record": "Trajectory",
    "boltzgen.data.dataset": "Dataset",
    "boltzgen.generator": "BoltzmannGenerator",
    "boltzgen.ensemble.ensemble": "Ensemble",
    "boltzgen.free_energy.estimate": "Estimate",
    "boltzgen.interrupts": "StopRequest",
    "boltzgen.errors": "BoltzgenError InputError MissingExtraError PartialError StoppedError "
    "UnreliableError UnsupportedError",
}

#: Name here -> (module, name there).
_PLACES = {
    words.split("=")[-1]: (module, words.split("=")[0])
    for module, names in _TAKEN.items()
    for words in names.split()
}

__all__ = [
    # all of it at once
    "run",
    "Run",
    # a molecule and its data
    "prepare",
    "simulate",
    "build_dataset",
    "load_system",
    "load_trajectory",
    "load_dataset",
    "Preparation",
    "Simulation",
    "MolecularSystem",
    "Trajectory",
    "Dataset",
    # a model
    "train",
    "adapt",
    "benchmark_transfer",
    "releases",
    "model_card",
    "load_generator",
    "Training",
    "Adaptation",
    "TransferBenchmark",
    "Release",
    "BoltzmannGenerator",
    # samples
    "sample",
    "check",
    "reweight",
    "merge",
    "export",
    "load_samples",
    "Summary",
    "Examination",
    "Coverage",
    "Reweighting",
    "Export",
    "Ensemble",
    # answers
    "free_energy_states",
    "free_energy_surface",
    "free_energy_between",
    "free_energy_mbar",
    "observable",
    "thermodynamics",
    "conformers",
    "transfer",
    "Transfers",
    "Estimate",
    "FreeEnergyResult",
    "ConformerTable",
    "write_report",
    "Page",
    # what was made before
    "show",
    "check_config",
    "Shown",
    "CheckedConfiguration",
    # this installation
    "cite",
    "glossary",
    "doctor",
    "selftest",
    "demo",
    "Citations",
    "Glossary",
    "Installation",
    "SelfTest",
    # errors, and how to stop
    "BoltzgenError",
    "InputError",
    "MissingExtraError",
    "PartialError",
    "StoppedError",
    "UnreliableError",
    "UnsupportedError",
    "StopRequest",
    "__version__",
]


if not TYPE_CHECKING:  # a checker that saw it would take any misspelt name

    def __getattr__(name: str) -> object:
        """A name of the face, imported when it is first used (PEP 562)."""
        if name not in _PLACES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        module, there = _PLACES[name]
        found = getattr(import_module(module), there)
        globals()[name] = found
        return found


def __dir__() -> list[str]:
    return sorted(__all__)
