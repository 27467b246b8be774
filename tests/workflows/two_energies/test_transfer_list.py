"""``transfer``: lists, energies, one molecule by quadrature, failures, going on."""

from __future__ import annotations

import csv
import itertools
import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import assert_refused
from rdkit import Chem
from rdkit.Chem import AllChem
from small_model import FLOW, MODEL

from boltzgen.config.build import build_flow
from boltzgen.config.model import save_model
from boltzgen.errors import InputError, PartialError, StoppedError
from boltzgen.generator import read_target
from boltzgen.interrupts import StopRequest
from boltzgen.workflows.reporting.show import show
from boltzgen.workflows.roads import defaults
from boltzgen.workflows.two_energies.energies import energies, title
from boltzgen.workflows.two_energies.entries import read_entries
from boltzgen.workflows.two_energies.molecule import _ladders
from boltzgen.workflows.two_energies.options import TransferListOptions
from boltzgen.workflows.two_energies.transfer import transfer

KELVIN = 350.0
ASKED = {"energy_to": "obc2", "temperature": KELVIN, "evaluations": 40_000, "n_bootstrap": 100, "seed": 5}

FEW = {**ASKED, "evaluations": 1000}


@pytest.fixture(scope="module")
def water(tmp_path_factory):
    """Water from vacuum to OBC2, and a molecule that is none; the folder that holds LIST and DIR."""
    folder = tmp_path_factory.mktemp("transfer")
    (folder / "list.smi").write_text("# a list\nO water\n\nC(C broken one\n")
    former = Path.cwd()
    os.chdir(folder)
    try:
        yield folder, transfer("list.smi", "DIR", **ASKED)
    finally:
        os.chdir(former)


def by_quadrature(folder: Path) -> dict[str, float]:
    """Every part, kT, by Gauss-Legendre quadrature over both bonds and the angle with ``b^2 b'^2 sin``.

    The energies of both ends are those of the prepared systems; no sample takes part.
    """
    (place,) = (folder / "DIR" / "molecules").glob("0001-*")
    nodes, weights = np.polynomial.legendre.leggauss(24)

    def stretched(low: float, high: float) -> tuple[np.ndarray, np.ndarray]:
        return (low + (nodes + 1) * (high - low) / 2, weights * (high - low) / 2)

    (r, wr), (t, wt) = stretched(0.075, 0.125), stretched(np.radians(70), np.radians(140))
    grid = np.array(list(itertools.product(r, r, t)))
    measure = np.array([a * b * c for a, b, c in itertools.product(wr, wr, wt)])
    measure *= grid[:, 0] ** 2 * grid[:, 1] ** 2 * np.sin(grid[:, 2])
    x = np.zeros((len(grid), 3, 3))
    x[:, 1, 0] = grid[:, 0]
    x[:, 2, 0], x[:, 2, 1] = grid[:, 1] * np.cos(grid[:, 2]), grid[:, 1] * np.sin(grid[:, 2])
    u = []
    for name in ("A", "B"):
        target = read_target(str(place / name), isomers="reference")[1]
        u.append(target.reduced_energy(torch.as_tensor(x), KELVIN).numpy())
    z = [float((measure * np.exp(-one)).sum()) for one in u]
    p = [measure * np.exp(-one) / total for one, total in zip(u, z, strict=True)]
    total, w = np.log(z[0] / z[1]), u[1] - u[0]
    found = {"transfer": total, "solvation": p[1] @ w, "fixed_in_a": p[0] @ w, "energy": (p[1] - p[0]) @ u[0]}
    return found | {"entropy": total - found["solvation"] - found["energy"]}


def test_every_part_is_that_of_the_integral(water):
    """Water has three coordinates: total and parts within 4 errors, each below 0.05 kT, and they add up."""
    folder, found = water
    (one,) = found.complete
    exact = by_quadrature(folder)
    assert abs(exact["transfer"]) > 3 and abs(exact["energy"]) > 0.002
    for name, value in exact.items():
        estimate = one["estimates"][name]
        error = estimate["standard_error"]["kT"]
        assert abs(estimate["value"]["kT"] - value) < 4 * error < 0.2, (name, estimate["value"], value)
    parts = [one["estimates"][name]["value"]["kcal/mol"] for name in ("solvation", "energy", "entropy")]
    assert sum(parts) == pytest.approx(one["estimates"]["transfer"]["value"]["kcal/mol"], abs=1e-12)
    assert one["atoms"] == 3 and one["estimates"]["transfer"]["overlap"] > 0.1


def test_what_is_written(water):
    folder, found = water
    content = json.loads((folder / "DIR" / "transfers.json").read_text())
    assert content["schema"] == "boltzgen.transfers/1" and content == found.to_json()
    assert "not a hydration" in content["title"] and "OBC2 with OpenMM's surface term" in content["title"]
    rows = list(csv.DictReader((folder / "DIR" / "transfers.csv").open()))
    assert [row["name"] for row in rows] == ["water", "broken one"]
    value = content["molecules"][0]["estimates"]["transfer"]["value"]["kcal/mol"]
    assert float(rows[0]["transfer"]) == value and rows[1]["transfer"] == ""
    assert content["status"] == "partial" and "broken one" in repr(found.failed)
    assert "C(C" in rows[1]["reasons"]
    shown = show(folder / "DIR")
    assert (shown.kind, shown.status) == ("TRANSFERS", "partial") and "broken one (failed)" in shown.reason
    assert shown.tables[0].rows[0][:2] == ("water", value) and "C(C" in shown.reasons[0]
    headers, table = found.table()
    assert len(headers) == len(table[0]) == len(table[1]) and table[1][-1] == "failed"
    with pytest.raises(PartialError, match="1 of 2 molecules failed"):
        found.check()


class Killed(Exception):
    """What no one catches on the way."""


def test_the_same_call_goes_on_to_the_same_bytes(tmp_path, monkeypatch):
    """Killed in the second simulation, and before its record was written; then nothing is left to do."""
    for name in ("whole", "killed"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "list.smi").write_text("O water\nC(C broken one\n")
    monkeypatch.chdir(tmp_path / "whole")
    transfer("list.smi", "DIR", **FEW)
    whole = Path("DIR/transfers.json").read_bytes()
    again = transfer("list.smi", "DIR", **FEW)
    assert Path("DIR/transfers.json").read_bytes() == whole and len(again.complete) == 1
    monkeypatch.chdir(tmp_path / "killed")

    def killing(done, of, values=None, /):
        if "in B" in str((values or {}).get("simulating")):
            raise Killed

    with pytest.raises(Killed):
        transfer("list.smi", "DIR", progress=killing, **FEW)
    begun = json.loads(Path("DIR/transfers.json").read_text())
    assert [one["status"] for one in begun["molecules"]] == ["waiting", "waiting"]
    transfer("list.smi", "DIR", **FEW)
    assert Path("DIR/transfers.json").read_bytes() == whole
    (record,) = Path("DIR/molecules").glob("0001-*/molecule.json")
    record.unlink()
    transfer("list.smi", "DIR", **FEW)
    assert Path("DIR/transfers.json").read_bytes() == whole
    Path("DIR/transfers.json").unlink()
    with pytest.raises(InputError, match="other files"):
        transfer("list.smi", "DIR", **FEW)


def test_what_was_stopped_says_so_and_goes_on(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "list.smi").write_text("O water\n")
    stop = StopRequest()

    def stopping(done, of, values=None, /):
        stop.ask()

    with pytest.raises(StoppedError, match="0 of 1 molecules are complete") as caught:
        transfer("list.smi", "DIR", stop=stop, progress=stopping, **FEW)
    assert caught.value.result.to_json()["molecules"][0]["status"] == "waiting"
    assert transfer("list.smi", "DIR", **FEW).to_json()["status"] == "complete"


def test_a_flow_draws_besides(water, tmp_path, monkeypatch):
    """An untrained flow, whose base knows bonds and angles: its draws join the frames, the answer stays."""
    folder, _ = water
    exact = by_quadrature(folder)
    monkeypatch.chdir(tmp_path)
    save_model(Path("RUN/model"), build_flow(FLOW, seed=0), MODEL)
    Path("list.smi").write_text("O water\n")
    found = transfer("list.smi", "DIR", model="RUN", samples=400, **FEW)
    (one,) = found.complete
    estimate = one["estimates"]["transfer"]
    assert estimate["estimator"] == "MBAR" and estimate["drawn"]["flow"] == 800
    for name in ("transfer", "solvation", "energy"):
        value, error = (one["estimates"][name][key]["kT"] for key in ("value", "standard_error"))
        assert abs(value - exact[name]) < 5 * error < 1.0, name


def test_another_list_and_other_options_are_refused(water):
    folder, _ = water
    (folder / "other.smi").write_text("N ammonia\n")
    with pytest.raises(InputError, match="holds water as number 1, where the list has ammonia"):
        transfer("other.smi", "DIR", **ASKED)
    (folder / "short.smi").write_text("O water\n")
    with pytest.raises(InputError, match="no more molecule"):
        transfer("short.smi", "DIR", **ASKED)
    with pytest.raises(InputError, match="another `temperature`"):
        transfer("list.smi", "DIR", **{**ASKED, "temperature": 300.0})


def test_walks_are_long_before_they_are_many():
    """12 replicas on three rungs, 8 ps each by 2 fs, are 48 000 energies; with fewer, fewer ladders."""
    usual = defaults.Simulated((300.0, 400.0, 500.0), 12, 1.0, 0.1, 0.1, 0)
    assert [_ladders(usual, n) for n in (500, 12_000, 24_000, 48_000, 10**7)] == [1, 1, 2, 4, 4]


def test_lists(tmp_path):
    (tmp_path / "a.smi").write_text("CCO  ethyl alcohol\n# no molecule\nC#N\n")
    found = read_entries(tmp_path / "a.smi")
    assert [(one.number, one.name, one.smiles) for one in found] == [
        (1, "ethyl alcohol", "CCO"),
        (2, "C#N", "C#N"),
    ]
    assert [one.folder for one in found] == ["0001-ethyl_alcohol", "0002-C_N"]
    (tmp_path / "b.csv").write_text("Name,SMILES,logP\nx,CO,1\n,CN,2\n")
    assert [(one.name, one.smiles) for one in read_entries(tmp_path / "b.csv")] == [("x", "CO"), ("CN", "CN")]
    blocks = []
    for smiles, name in (("CO", "methanol"), ("CN", "")):
        mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
        AllChem.EmbedMolecule(mol, randomSeed=1)
        mol.SetProp("_Name", name)
        blocks.append(Chem.MolToMolBlock(mol))
    (tmp_path / "c.sdf").write_text("$$$$\n".join([*blocks, ""]))
    found = read_entries(tmp_path / "c.sdf")
    assert [(one.name, one.smiles) for one in found] == [("methanol", None), ("molecule 2", None)]
    assert [one.block for one in found] == blocks


def test_energies():
    pair = energies(TransferListOptions(energy_from="gaff/vacuum", energy_to="gbn2", forcefield="gaff2"))
    assert [one.forcefield for one in pair] == ["gaff", "gaff2"]
    assert pair[1].options == {"forcefield": ("gaff2",), "implicit": "gbn2"}
    assert title(*pair, 300.0).startswith("implicit-solvent transfer, GAFF, vacuum -> GAFF2, GBn2 with")
    with pytest.raises(InputError, match="same as"):
        energies(TransferListOptions(energy_from="none", energy_to="vacuum"))


BAD = [
    ("absent.smi -o T", "absent.smi", "no such file"),
    ("empty.smi -o T", "holds no molecule"),
    ("wrong.csv -o T", "column 'smiles'"),
    ("one.smi -o T --to water", "--to water", "obc2"),
    ("one.smi -o T --to obc", "Did you mean 'obc2'?"),
    ("one.smi -o T --from obc2", "two energies"),
    ("one.smi -o T --temperature -3", "--temperature"),
    ("one.smi -o T --evaluations 5", "--evaluations"),
    ("one.smi -o T --model none", "none"),
    ("one.smi -o one.smi", "is a file"),
    ("one.smi -o FULL", "other files"),
]


@pytest.mark.parametrize("case", BAD, ids=lambda case: case[0])
def test_bad_input(tmp_path, monkeypatch, case):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty.smi").write_text("# nothing\n")
    (tmp_path / "wrong.csv").write_text("molecule\nCO\n")
    (tmp_path / "one.smi").write_text("CO\n")
    (tmp_path / "FULL").mkdir()
    (tmp_path / "FULL" / "mine.txt").write_text("mine")
    line, *expected = case
    assert_refused(["transfer", *line.split()], *expected)
    assert not (tmp_path / "T").exists()


def test_when_every_molecule_fails_the_command_does(tmp_path, monkeypatch, capsys):
    from boltzgen_cli.main import main

    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.smi").write_text("C(C\n[Na+].[Cl-] salt\n")
    assert main(["transfer", "bad.smi", "-o", "T", "--evaluations", "1000"]) == 1
    told = capsys.readouterr()
    assert "failed: salt" in told.err and "2 of 2 molecules failed" in told.err
    assert [
        one["status"] for one in json.loads((tmp_path / "T" / "transfers.json").read_text())["molecules"]
    ] == ["failed"] * 2
