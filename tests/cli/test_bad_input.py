"""Each command meets at least ten kinds of bad input: exit code 2, one message, no traceback.

A case is a command line with ``{names}`` of prepared paths, and the words its message must hold.
"""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from helpers import ROOT, assert_refused

EXAMPLES = ROOT / "boltzgen" / "examples"

STATES = "states:\n  - {name: a, where: {phi: [-180, 0]}}\n  - {name: b, where: {phi: [0, 180]}}\n"


@pytest.fixture(scope="module")
def paths(tmp_path_factory, alanine_dipeptide):
    """Name -> path of the files that the cases name."""
    from boltzgen.ensemble import save_ensemble

    folder = tmp_path_factory.mktemp("bad")
    pdb = (EXAMPLES / "alanine-dipeptide" / "alanine-dipeptide.pdb").read_text()
    atoms = [line for line in pdb.splitlines() if line.startswith(("ATOM", "HETATM"))]
    alanine_dipeptide.save(folder / "SYS")
    broken = folder / "BROKEN"
    shutil.copytree(folder / "SYS", broken)
    (broken / "system.json").write_text('{"schema": ')
    foreign = folder / "FOREIGN"
    shutil.copytree(folder / "SYS", foreign)
    (foreign / "system.xml").write_text("<System/>")
    save_ensemble(make_ensemble(alanine_dipeptide), folder / "OUT")
    cut = folder / "CUT"
    shutil.copytree(folder / "OUT", cut)
    (cut / "samples.npz").write_bytes((folder / "OUT" / "samples.npz").read_bytes()[:100])
    make_models(folder)
    texts = {
        "empty.pdb": "",
        "text.pdb": "this is no structure\n",
        "twice.pdb": pdb.replace("END", "") + "\n".join(atoms) + "\nEND\n",
        "bare.pdb": "\n".join(line for line in atoms if line[76:78].strip() != "H") + "\nEND\n",
        "nan.pdb": pdb.replace(atoms[3][30:38], "     nan"),
        "unknown.pdb": pdb.replace(" ALA ", " XYZ "),
        "cut.xml": "<System><Particles>",
        "mine.xyz": "3\n\nO 0 0 0\n",
        "states.yaml": STATES,
        "one.yaml": "states:\n  - {name: a, where: {phi: [0, 90]}}\n",
        "key.yaml": STATES.replace("where", "were"),
        "name.yaml": STATES.replace("phi", "phy"),
        "overlap.yaml": STATES.replace("[0, 180]", "[-180, 180]"),
        "broken.yaml": "states: [",
        "pair.yaml": STATES + "differences: [[a, c]]\n",
        "select.yaml": "coordinates: {d: {distance: ['name XX', 'name N']}}\n" + STATES,
        "text.yaml": STATES.replace("[0, 180]", "[zero, 180]"),
        "empty.yaml": "",
        "list.yaml": "- 1\n",
        "unknown.yaml": "no_such_key: 1\n",
        "twice.yaml": "seed: 1\nseed: 2\n",
        "train.yaml": f"system: {folder}/SYS\noptimizer: {{steps: 2}}\nreverse_kl: {{weight: 1.0}}\n",
        "file": "x",
    }
    for name, text in texts.items():
        (folder / name).write_text(text)
    (folder / "empty").mkdir()
    return folder


def make_ensemble(system):
    """Twenty samples near the reference."""
    from boltzgen.ensemble import Ensemble

    rng = np.random.default_rng(3)
    n = 20
    return Ensemble.from_densities(
        system.reference_positions + 0.001 * rng.normal(size=(n, system.n_atoms, 3)),
        rng.normal(size=n),
        rng.normal(size=n),
        temperature=300.0,
        measure="shape",
        system_fingerprint=system.fingerprint,
        domain="reference isomers",
        topology_pdb=system.topology_pdb,
    )


def make_models(folder):
    """MODEL: an untrained flow; CUTMODEL: its weights are cut short; OLDMODEL: another schema."""
    from small_model import FLOW, MODEL

    from boltzgen.config.build import build_flow
    from boltzgen.config.model import save_model

    for name in ("MODEL", "CUTMODEL", "OLDMODEL"):
        save_model(folder / name, build_flow(FLOW, seed=1), MODEL)
    weights = folder / "CUTMODEL" / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    (folder / "OLDMODEL" / "model.json").write_text('{"schema": "boltzgen.model/0"}')


PREPARE = [
    ("prepare", "-o", "SYS"),
    ("prepare {}/absent.pdb -o {}/S", "absent.pdb"),
    ("prepare {}/empty.pdb -o {}/S", "empty.pdb"),
    ("prepare {}/text.pdb -o {}/S", "text.pdb"),
    ("prepare {}/twice.pdb -o {}/S", "twice.pdb"),
    ("prepare {}/bare.pdb -o {}/S", "--add-hydrogens"),
    ("prepare {}/nan.pdb -o {}/S", "nan.pdb"),
    ("prepare {}/unknown.pdb -o {}/S", "XYZ"),
    ("prepare {}/cut.xml --coordinates {}/bare.pdb -o {}/S", "cut.xml"),
    ("prepare {}/mine.xyz -o {}/S", "mine.xyz"),
    ("prepare {}/empty -o {}/S", "empty"),
    ("prepare --sequence ACE-ALQ-NME -o {}/S", "ALQ"),
    ("prepare --sequence GAB1 -o {}/S", "GAB1"),
    ("prepare --sequence GA -o {}/file", "file"),
    ("prepare --sequence GA -o {}/S --implicit water", "water"),
    ("prepare --sequence GA -o {}/S --forcefield absent.xml", "absent.xml"),
    ("prepare --sequence GA -o {}/S --constraints hbonds", "hbonds", "none"),
    ("prepare --sequence GA -o {}/S --ph acid", "--ph", "'acid'"),
    ("prepare --sequence GA", "-o"),
]
SIMULATE = [
    ("simulate {}/absent -o {}/M", "absent"),
    ("simulate {}/BROKEN -o {}/M", "system.json"),
    ("simulate {}/FOREIGN -o {}/M", "FOREIGN"),
    ("simulate {}/empty -o {}/M", "empty"),
    ("simulate {}/SYS -o {}/file", "file"),
    ("simulate {}/SYS -o {}/M --temperatures hot", "'hot'"),
    ("simulate {}/SYS -o {}/M --temperatures 300,-4", "-4"),
    ("simulate {}/SYS -o {}/M --temperatures 400,300", "ris"),
    ("simulate {}/SYS -o {}/M --time 5", "--time", "unit"),
    ("simulate {}/SYS -o {}/M --time -5ns", "time"),
    ("simulate {}/SYS -o {}/M --timestep 1ns", "timestep"),
    ("simulate {}/SYS -o {}/M --platform Abacus", "Abacus"),
    ("simulate {}/SYS -o {}/M --resume perhaps", "perhaps"),
    ("simulate {}/SYS -o {}/M --max-time never", "never"),
    ("simulate {}/SYS -o {}/M --friction sticky", "--friction"),
]
FREE_ENERGY = [
    ("free-energy states {}/absent --states {}/states.yaml", "absent"),
    ("free-energy states {}/empty --states {}/states.yaml", "empty"),
    ("free-energy states {}/CUT --states {}/states.yaml", "samples.npz"),
    ("free-energy states {}/OUT --states {}/absent.yaml", "absent.yaml"),
    ("free-energy states {}/OUT --states {}/empty.yaml", "empty.yaml"),
    ("free-energy states {}/OUT --states {}/broken.yaml", "broken.yaml"),
    ("free-energy states {}/OUT --states {}/one.yaml", "two"),
    ("free-energy states {}/OUT --states {}/key.yaml", "were", "where"),
    ("free-energy states {}/OUT --states {}/name.yaml", "phy", "phi"),
    ("free-energy states {}/OUT --states {}/overlap.yaml", "overlap"),
    ("free-energy states {}/OUT --states {}/pair.yaml", "'c'"),
    ("free-energy states {}/OUT --states {}/select.yaml", "XX"),
    ("free-energy states {}/OUT --states {}/text.yaml", "zero"),
    ("free-energy states {}/OUT --states {}/states.yaml -o {}/empty", "empty"),
    ("free-energy states {}/OUT --states {}/states.yaml --bootstrap 1", "--bootstrap"),
    ("free-energy states {}/OUT", "--states"),
]
TRAIN = [
    ("train {}/absent.yaml -o {}/R", "absent.yaml"),
    ("train no-such-configuration -o {}/R", "no-such-configuration"),
    ("train {}/empty -o {}/R", "a folder"),
    ("train {}/empty.yaml -o {}/R", "empty.yaml", "empty"),
    ("train {}/broken.yaml -o {}/R", "broken.yaml", "YAML"),
    ("train {}/list.yaml -o {}/R", "list.yaml"),
    ("train {}/unknown.yaml -o {}/R", "'no_such_key'"),
    ("train {}/twice.yaml -o {}/R", "given twice"),
    ("train {}/train.yaml -o {}/R optimizer.stps=3", "'optimizer.stps'", "'steps'"),
    ("train {}/train.yaml -o {}/R optimizer.steps=many", "'many'"),
    ("train {}/train.yaml -o {}/R optimizer.steps=0", "optimizer.steps"),
    ("train {}/train.yaml -o {}/R optimizer", "key=value"),
    ("train {}/train.yaml -o {}/R system={}/absent", "absent"),
    ("train {}/train.yaml -o {}/R system={}/BROKEN", "BROKEN"),
    ("train {}/train.yaml -o {}/R data={}/absent", "absent"),
    ("train {}/train.yaml -o {}/R data={}/text.pdb", "text.pdb"),
    ("train {}/train.yaml -o {}/R system=model:nothing", "nothing"),
    ("train {}/train.yaml -o {}/R --device abacus", "abacus"),
    ("train {}/train.yaml -o {}/R --resume {}/absent", "absent"),
    ("train {}/train.yaml -o {}/file", "file"),
    ("train {}/train.yaml -o {}/R --max-time soon", "'soon'"),
    ("train {}/train.yaml -o {}/R --seed x", "--seed"),
]
SAMPLE = [
    ("sample {}/absent {}/SYS -o {}/O -n 5", "absent"),
    ("sample {}/empty {}/SYS -o {}/O -n 5", "empty"),
    ("sample {}/file {}/SYS -o {}/O -n 5", "file"),
    ("sample {}/MODEL {}/absent -o {}/O -n 5", "absent"),
    ("sample {}/MODEL {}/BROKEN -o {}/O -n 5", "BROKEN"),
    ("sample {}/CUTMODEL {}/SYS -o {}/O -n 5", "weights.safetensors"),
    ("sample {}/OLDMODEL {}/SYS -o {}/O -n 5", "model.json"),
    ("sample {}/MODEL {}/SYS -o {}/O -n 0", "--number"),
    ("sample {}/MODEL {}/SYS -o {}/O -n five", "'five'"),
    ("sample {}/MODEL {}/SYS -o {}/O", "--number"),
    ("sample {}/MODEL {}/SYS -o {}/O -n 5 --temperature -3", "-3"),
    ("sample {}/MODEL {}/SYS -o {}/O -n 5 --temperature nan", "nan"),
    ("sample {}/MODEL {}/SYS -o {}/O -n 5 --batch-size big", "'big'"),
    ("sample {}/MODEL {}/SYS -o {}/O -n 5 --dtype half", "half"),
    ("sample {}/MODEL {}/SYS -o {}/O -n 5 --device abacus", "abacus"),
    ("sample {}/MODEL {}/SYS -o {}/O -n 5 --data {}/absent", "absent"),
    ("sample {}/MODEL {}/SYS -o {}/file -n 5", "file"),
    ("sample {}/MODEL model:nothing -o {}/O -n 5", "nothing"),
]
DEMO = [
    ("demo -o {}/file", "file"),
    ("demo -o {}", "-o"),
    ("demo --seed -3", "--seed"),
    ("demo --seed three", "--seed"),
    ("demo surplus", "surplus"),
    ("demo --sed 3", "--seed"),
    ("demo -o", "-o"),
    ("demo --device cpu", "--device"),
    ("demo --simulate=often", "--simulate"),
    ("demo -o {}/file/below", "file"),
]
COMMANDS = (PREPARE, SIMULATE, TRAIN, SAMPLE, FREE_ENERGY, DEMO)
ALL = [case for cases in COMMANDS for case in cases]


@pytest.mark.parametrize("case", ALL, ids=lambda case: case[0])
def test_refused_with_one_sentence(paths, case):
    line, *expected = case
    message = assert_refused([word.replace("{}", str(paths)) for word in line.split()], *expected)
    assert len(message.replace(str(paths), "")) < 400, "more than two sentences"


def test_at_least_ten_kinds_each():
    for cases in COMMANDS:
        assert len({case[0] for case in cases}) >= 10


def test_refusals_left_nothing_behind(paths):
    assert not [name for name in ("S", "M", "R", "O") if (paths / name).exists()]
    assert json.loads((paths / "SYS" / "system.json").read_text())
