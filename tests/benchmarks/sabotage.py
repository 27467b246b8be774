"""The suite of sabotaged flows: eight kinds at five strengths on three molecules, none of which may be ok.

    python tests/benchmarks/sabotage.py --models FOLDER --out FOLDER     # trains what FOLDER lacks

Beside 40 sabotaged cases stand 40 healthy ones, of which at least 36 must be ok. Each case is judged by what
``boltzgen check OUT --probe`` does: record, densities, determinants, and the frames of a probe. A probe
starts from the reference structure alone (harder than the verb, which starts from samples too) and serves
many cases of its molecule. Writes sabotage.md and sabotage.json.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "cases"))

import sabotage_cases as cases

from boltzgen.generator import BoltzmannGenerator
from boltzgen.system.molecular_system import MolecularSystem
from boltzgen.trust.determinant import spot_check
from boltzgen.trust.probe import ProbeFrames, run_probe
from boltzgen.workflows.sampling.check import combined, examine, probe_and_judge, with_coverage
from boltzgen.workflows.sampling.load import load_generator

ROOT = Path(__file__).resolve().parents[2]

PROPANOL = {
    "flow": {"kind": "autoregressive"},
    "simulation": {"evaluations": 300_000, "timestep": 0.002, "hydrogen_mass": 3.0},
    "reweighted": {"weight": [[0.0, 0.0], [0.3, 0.0], [0.35, 1.0]], "buffer": 16_384},
    "optimizer": {"steps": 400, "learning_rate": 2e-3},
}


@dataclass(frozen=True)
class Molecule:
    """One molecule of the suite; `samples` of a case, energy evaluations and number of its probes.

    Healthy flows are drawn at 300 K and at `RATIOS` times that; sabotage starts from the middle one.
    """

    name: str
    samples: int
    budget: int
    probes: int


RATIOS = (1.0, 1.03, 1.06)

MOLECULES = {
    "butane": Molecule("butane", 20_000, 200_000, 4),
    "propanol": Molecule("propanol", 10_000, 800_000, 1),
    "alanine-dipeptide": Molecule("alanine-dipeptide", 8_000, 1_200_000, 1),
}

DEGREE = np.pi / 180

#: (molecule, torsion by number among those compared, from, to, in degrees)
MODES = {
    "butane +": ("butane", 0, 0, 120),
    "butane both": ("butane", 0, -120, 120),
    "propanol backbone": ("propanol", 0, 0, 120),
    "propanol hydroxyl": ("propanol", 1, -120, 0),
    "alanine-dipeptide phi > 0": ("alanine-dipeptide", 1, 0, 130),
}


class Suite:
    """Models, probes and the verdicts on cases."""

    def __init__(self, models: Path, out: Path) -> None:
        self.models, self.out = models, out
        out.mkdir(parents=True, exist_ok=True)

    @cache  # noqa: B019  (one suite a process)
    def generator(self, name: str) -> BoltzmannGenerator:
        return load_generator(self.models / name / "RUN", self.models / name / "SYS")

    @cache  # noqa: B019  (one suite a process)
    def system(self, name: str) -> MolecularSystem:
        return MolecularSystem.load(self.models / name / "SYS")

    @cache  # noqa: B019  (one suite a process)
    def frames(self, name: str, seed: int) -> ProbeFrames:
        """The probe of one molecule and seed, kept in the output folder."""
        path = self.out / f"probe-{name}-{seed}.npz"
        molecule, system = MOLECULES[name], self.system(name)
        if path.exists():
            with np.load(path, allow_pickle=False) as arrays:
                return ProbeFrames(**dict(arrays), evaluations=molecule.budget, starts=1)
        frames = run_probe(system, [system.reference_positions], 300.0, budget=molecule.budget, seed=seed)
        arrays = {key: value for key, value in vars(frames).items() if isinstance(value, np.ndarray)}
        np.savez(path, **arrays)
        return frames

    def mode(self, name: str) -> tuple[str, cases.Mode]:
        from boltzgen.trust.rotamers import rotamer_columns

        molecule, number, low, high = MODES[name]
        column = rotamer_columns(self.generator(molecule).target)[number]
        return molecule, (column, low * DEGREE, high * DEGREE)

    def judge(self, name: str, case: cases.Case, seed: int) -> dict[str, Any]:
        """The verdict after ``check --probe`` and its worst reason; and whether sampling itself refuses."""
        found, numbers = examine(case.generator, case.ensemble, 300.0, seed=seed)
        frames = self.frames(name, seed % MOLECULES[name].probes)
        record = probe_and_judge(case.generator, case.ensemble, self.system(name), frames)
        judged = with_coverage(case.ensemble, combined([record], found, numbers)).diagnostics()
        refused = not spot_check(case.generator, 300.0).passed
        return {
            "molecule": name,
            "verdict": judged.verdict,
            "refused_when_sampling": refused,
            "ess": judged.ess,
            "k_hat": judged.k_hat,
            "forward_ess": judged.forward_ess,
            "reasons": list(judged.reasons),
        }


def plan(suite: Suite) -> list[tuple[str, str, str, Callable[[BoltzmannGenerator, int, int], cases.Case]]]:
    """(kind, strength, molecule, maker) of the 40 sabotaged cases."""
    names = list(MOLECULES)
    chosen = []
    for mode in MODES:
        name, where = suite.mode(mode)
        make = lambda g, n, s, where=where: cases.mode_at(g, n, s, where, 0.0)  # noqa: E731
        chosen.append(("one mode dropped", mode, name, make))
    for mode, share in zip(MODES, (1e-3, 1e-4, 1e-4, 1e-5, 1e-6), strict=True):
        name, where = suite.mode(mode)
        make = lambda g, n, s, where=where, share=share: cases.mode_at(g, n, s, where, share)  # noqa: E731
        chosen.append(("a mode at 1e-4", f"{mode}: {share:g}", name, make))
    kinds: dict[str, tuple[Callable[..., cases.Case], tuple[Any, ...]]] = {
        "over-narrow bonds": (cases.narrow_bonds, (0.7, 0.6, 0.5, 0.4, 0.3)),
        "wrong temperature": (cases.wrong_temperature, (1.02, 1.05, 1.1, 1.3, 2.0)),
        "NaN energies": (cases.nan_energies, (0.002, 0.01, 0.05, 0.2, 0.6)),
        "a wrong log-determinant": (
            cases.wrong_determinant,
            ("flow 0.001", "flow 0.03", "one percent", "last bond once", "no sines"),
        ),
        "duplicated samples": (cases.duplicated, (0.005, 0.02, 0.1, 0.3, 0.8)),
        "swapped weights": (cases.swapped, (0.005, 0.02, 0.1, 0.5, 1.0)),
    }
    for row, (kind, (maker, strengths)) in enumerate(kinds.items()):
        for column, strength in enumerate(strengths):
            name = names[(row + column) % len(names)]
            make = lambda g, n, s, maker=maker, strength=strength: maker(g, n, s, strength)  # noqa: E731
            chosen.append((kind, str(strength), name, make))
    return chosen


def healthy_plan() -> list[tuple[str, float]]:
    """(molecule, ratio of the flow's temperature) of the 40 healthy cases."""
    shares = {"butane": 16, "propanol": 12, "alanine-dipeptide": 12}
    return [(name, RATIOS[i % 3]) for name, count in shares.items() for i in range(count)]


def prepare_models(folder: Path) -> None:
    """Make and train what `folder` lacks, by the verbs' functions."""
    from boltzgen.workflows.installation.demo import demo
    from boltzgen.workflows.preparation.prepare import prepare
    from boltzgen.workflows.training.train import train

    butane = ROOT / "boltzgen" / "examples" / "butane"
    makers = {
        "butane": lambda sys_: prepare(butane / "system.xml", sys_, coordinates=butane / "butane.pdb"),
        "propanol": lambda sys_: prepare(None, sys_, smiles="CCCO propanol"),
    }
    for name, make in makers.items():
        home = folder / name
        if not (home / "RUN" / "model").exists():
            make(home / "SYS")
            config = home / "config.yaml"
            settings = PROPANOL if name == "propanol" else {}
            config.write_text(json.dumps({"system": str(home / "SYS"), **settings}))
            source = str(config) if name == "propanol" else "butane"
            train(source, [f"system={home / 'SYS'}"], home / "RUN")
    if not (folder / "alanine-dipeptide" / "RUN" / "model").exists():
        demo(folder / "alanine-dipeptide")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", default="", help="part of a kind's name")
    parser.add_argument("--molecule", default="", help="part of a molecule's name")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    prepare_models(arguments.models)
    suite = Suite(arguments.models, arguments.out)
    results: list[dict[str, Any]] = []
    for seed, (kind, strength, name, maker) in enumerate(plan(suite)):
        if arguments.only in kind and arguments.molecule in name:
            results.append(run_case(suite, kind, strength, name, maker, seed))
    for seed, (name, ratio) in enumerate(healthy_plan()):
        if arguments.only in "healthy" and arguments.molecule in name:
            maker = lambda g, n, s, ratio=ratio: cases.healthy(g, n, s, ratio)  # noqa: E731
            results.append(run_case(suite, "healthy", f"{ratio:.2f}", name, maker, 1000 + seed))
    name = "-".join(["sabotage", *filter(None, (arguments.molecule, arguments.only))])
    (arguments.out / f"{name}.json").write_text(json.dumps(results, indent=1))
    (arguments.out / f"{name}.md").write_text(table(results))
    print(table(results))


def run_case(
    suite: Suite, kind: str, strength: str, name: str, maker: Callable[..., cases.Case], seed: int
) -> dict[str, Any]:
    start = time.perf_counter()
    base = suite.generator(name)
    molecule = MOLECULES[name]
    if kind != "healthy":
        base = BoltzmannGenerator(cases.Warmer(base.flow, RATIOS[1]), base.target)
    result = suite.judge(name, maker(base, molecule.samples, seed), seed)
    seconds = time.perf_counter() - start
    why = result["reasons"][0] if result["reasons"] else ""
    told = f"{kind:26s} {strength:32s} {name:18s} {result['verdict']:10s} {seconds:5.1f} s"
    print(f"{told}  {why[:110]}", flush=True)
    return {"kind": kind, "strength": strength, "seed": seed, "seconds": seconds, **result}


def table(results: list[dict[str, Any]]) -> str:
    """A Markdown table by kind."""
    heads = ("kind", "cases", "`ok`", "`caution`", "`unreliable`", "refused when sampling")
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for kind in dict.fromkeys(result["kind"] for result in results):
        own = [result for result in results if result["kind"] == kind]
        counts = [sum(r["verdict"] == verdict for r in own) for verdict in ("ok", "caution", "unreliable")]
        refused = sum(result["refused_when_sampling"] for result in own)
        lines.append(f"| {kind} | {len(own)} | {' | '.join(map(str, counts))} | {refused} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
