"""Every extra in an environment of its own: installed from a wheel, checked by pip, and used once.

    python tests/installation/extras.py --out FOLDER [--torch 'torch==2.13.0'] [EXTRA ...]

`CHECKS` is the list: a new extra of pyproject.toml gets its line there, or `test_extras.py` fails. For each
extra this script makes a fresh environment with the Python that runs it, installs
``boltzgen-sampler[EXTRA]`` from a wheel of the working tree under constraints.txt, runs ``pip check`` and
``boltzgen doctor``, and then the check: a few lines of Python that use what the extra brings. It prints a
table for docs/installation.md and removes the environments. Two to five minutes an extra, and the network
for pip.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from distributions import ROOT, build_wheel

#: The name of an extra -> Python that uses what it brings and raises where it does not work. "" is none.
CHECKS = {
    "": """
import boltzgen as bg
found = bg.prepare(sequence="ACE-ALA-NME", check=True)
assert found.system.n_atoms == 22
print(f"{found.system.n_atoms} atoms")
""",
    "ml": """
import numpy as np, torch
from torchani.arch import simple_ani
from boltzgen.potentials.learned.torchani_backend import TorchAni
import ase
torch.manual_seed(3)
model = simple_ani(symbols=("H", "C", "N", "O"), lot="wb97x-631gd", ensemble_size=2).double()
x = torch.tensor([[[0.0, 0.0, 0.0], [0.0757, 0.0, 0.0586], [-0.0757, 0.0, 0.0586]]], dtype=torch.float64)
energy = TorchAni(model, np.array([8, 1, 1])).energy(x)
assert energy.shape == (1,) and bool(torch.isfinite(energy).all())
print(f"a small ANI network of water: {float(energy[0]):.3f} kJ/mol")
""",
    "qm": """
import numpy as np, torch
from boltzgen.potentials.learned.backends import make_backend
from tblite.interface import Calculator
import ase
water = [[0.0, 0.0, 0.0], [0.0757, 0.0, 0.0586], [-0.0757, 0.0, 0.0586]]
x = torch.tensor([water, np.multiply(water, 1.07)], dtype=torch.float64)
found = make_backend("gfn2", np.array([8, 1, 1]), {}).energy(x) / 2625.4996
whole = []
for one in x:
    calculator = Calculator("GFN2-xTB", np.array([8, 1, 1]), one.numpy() / 0.0529177211)
    calculator.set("verbosity", 0)
    whole.append(calculator.singlepoint().get("energy"))
assert abs(whole[0] + 5.070) < 1e-3 and abs((whole[1] - whole[0]) - float(found[1] - found[0])) < 1e-7, whole
print(f"water in GFN2-xTB: {whole[0]:.4f} Eh")
""",
    "amber": """
import boltzgen as bg
found = bg.prepare(smiles="CCO", forcefield=["gaff2"], implicit="obc2", check=True)
made = found.system.provenance["parameters"]
assert made["types"][:3] == ["c3", "c3", "oh"] and made["charges"]["method"] == "bcc" and not found.warnings
print(f"ethanol under GAFF2: {found.energy:.2f} kJ/mol")
""",
    "pdbfixer": """
import io
from pdbfixer import PDBFixer
lines = '''ATOM      1  N   ALA A   1      -0.677  -1.230  -0.491  1.00  0.00           N
ATOM      2  CA  ALA A   1      -0.001   0.064  -0.491  1.00  0.00           C
ATOM      3  C   ALA A   1       1.499  -0.110  -0.491  1.00  0.00           C
END
'''
fixer = PDBFixer(pdbfile=io.StringIO(lines))
fixer.findMissingResidues(); fixer.findMissingAtoms(); fixer.addMissingAtoms()
names = {atom.name for atom in fixer.topology.atoms()}
assert {"CB", "O", "OXT"} <= names, names
print("added " + ", ".join(sorted(names - {"N", "CA", "C"})))
""",
    "nflows": """
import torch
from boltzgen.interop.nflows import NflowsSettings
from nflows.transforms import PiecewiseRationalQuadraticCouplingTransform as Coupling
from nflows.nn.nets import ResidualNet
torch.manual_seed(1)
net = lambda a, b: ResidualNet(a, b, hidden_features=8)
spline = Coupling(torch.tensor([1.0, 0.0, 1.0]), net, tails="linear", tail_bound=3.0).double()
x = torch.randn(50, 3, dtype=torch.float64)
y, there = spline(x)
back, again = spline.inverse(y)
assert torch.allclose(back, x, atol=1e-9) and torch.allclose(there, -again, atol=1e-9)
assert NflowsSettings(kind="nflows").kind == "nflows"
print(f"a spline there and back: {float((back - x).abs().max()):.1e}")
""",
    "dev": """
import subprocess, sys, importlib
for name in "pytest xdist mypy parmed tables playwright mkdocs mkdocstrings nbclient py3Dmol".split():
    importlib.import_module(name)
for words in (["ruff", "--version"], ["mkdocs", "--version"], ["pytest", "--version"]):
    subprocess.run([sys.executable, "-m", *words], check=True, capture_output=True)
print("pytest, ruff, mypy, mkdocs, playwright, nbclient start")
""",
}


def environment(folder: Path) -> dict[str, str]:
    """What commands of the environment in `folder` see: nothing of ours but where pip looks."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return {**kept, "PATH": f"{folder / 'bin'}:{kept.get('PATH', '')}"}


def run(words: list[str], folder: Path, place: Path) -> str:
    """The output of a command in the environment `folder`; SystemExit with what it said where it fails."""
    done = subprocess.run(words, cwd=place, env=environment(folder), capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(words)}\n{done.stdout}{done.stderr}")
    return done.stdout


def try_extra(name: str, wheel: Path, place: Path, torch: str) -> str:
    """A line of the table: extra, distributions, megabytes, seconds of pip, what the check printed."""
    folder = place / f"venv-{name or 'plain'}"
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    python = str(folder / "bin" / "python")
    pip = [python, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-compile"]
    pip += ["-c", str(ROOT / "constraints.txt")]
    start = time.monotonic()
    try:
        run([*pip, *torch.split()], folder, place)
        plain = size(folder)
        run([*pip, f"{wheel}[{name}]" if name else str(wheel)], folder, place)
        seconds = time.monotonic() - start
        run([python, "-m", "pip", "check"], folder, place)
        run(["boltzgen", "doctor"], folder, place)
        told = run([python, "-c", CHECKS[name]], folder, place).strip().splitlines()[-1]
        installed = len(run([python, "-m", "pip", "list", "--format=freeze"], folder, place).splitlines())
        return f"| {name or '(none)'} | {installed} | {size(folder) - plain:.0f} | {seconds:.0f} | {told} |"
    finally:
        shutil.rmtree(folder)


def size(folder: Path) -> float:
    """Megabytes of all files in `folder`."""
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "extras", nargs="*", metavar="EXTRA", help="of pyproject.toml; default: all, and none"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--torch", default="torch==2.13.0", help="what pip installs first")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    wheel = build_wheel(given.out / "wheel")
    print(f"Python {sys.version.split()[0]}, {wheel.name}, {given.torch}", flush=True)
    print("| extra | distributions | MB beside torch | s | check |\n|---|---|---|---|---|", flush=True)
    for name in given.extras or CHECKS:
        print(try_extra(name, wheel.resolve(), given.out.resolve(), given.torch), flush=True)


if __name__ == "__main__":
    main()
