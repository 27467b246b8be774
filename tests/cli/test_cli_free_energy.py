"""``boltzgen free-energy states``: the road through the command, and what it does with bad input."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ensemble_cases import ALANINE_DIPEPTIDE, molecule, write_densities
from helpers import assert_refused, run_cli

from boltzgen.ensemble import Ensemble
from boltzgen.ensemble.store import save_ensemble
from boltzgen.errors import BoltzgenError
from boltzgen.workflows.free_energy.states import free_energy_states

TORSION = "states: [{name: left, where: {phi: [-180, 0]}}, {name: right, where: {phi: [0, 180]}}]\n"
WELLS = "states: [{name: left, where: {x0: [-.inf, 0]}}, {name: right, where: {x0: [0, .inf]}}]\n"
GOOD = {"verdict": "ok", "reasons": [], "forward_ess": 0.8}


@pytest.fixture
def wells(tmp_path):
    """OUT of the double well x^4 - 6x^2 - x/2: G_right - G_left = -1.690631 kT."""
    rng = np.random.default_rng(41)
    share, width, n = 0.35, 0.4, 20_000
    x = np.where(rng.random(n) < share, 1.72, -1.71) + width * rng.normal(size=n)
    log_q = np.logaddexp(
        np.log(share) - ((x - 1.72) / width) ** 2 / 2, np.log(1 - share) - ((x + 1.71) / width) ** 2 / 2
    ) - np.log(width * np.sqrt(2 * np.pi))
    u = x**4 - 6 * x**2 - x / 2
    write_densities(
        tmp_path / "OUT", x[:, None], log_q, u, system_fingerprint="double-well", domain="", coverage=GOOD
    )
    (tmp_path / "states.yaml").write_text(WELLS)
    return tmp_path


@pytest.fixture
def peptide(tmp_path):
    save_ensemble(molecule(), tmp_path / "OUT")
    (tmp_path / "states.yaml").write_text(TORSION)
    return tmp_path


def command(folder: Path, *more: str) -> list[str | Path]:
    return ["free-energy", "states", folder / "OUT", "--states", folder / "states.yaml", *more]


def test_the_double_well_through_the_command(wells, command_server):
    done = run_cli(
        *command(wells, "-o", str(wells / "free_energy.json"), "--seed", "5", "--strict"),
        server=command_server,
    )
    assert done.returncode == 0, done.stderr
    content = json.loads((wells / "free_energy.json").read_text())
    estimate = content["estimates"][0]
    assert abs(estimate["value"]["kT"] + 1.690631) < 4 * estimate["standard_error"]["kT"] < 0.1
    assert estimate["verdict"] == "ok" and content["provenance"]["seed"] == 5
    assert "left -> right" in done.stdout and f"{estimate['value']['kT']:.4g}" in done.stdout
    assert "free_energy.json" in done.stderr
    again = run_cli(*command(wells, "-o", str(wells / "again.json"), "--seed", "5"), server=command_server)
    assert again.returncode == 0
    assert (wells / "again.json").read_bytes() == (wells / "free_energy.json").read_bytes()


def test_strict_writes_everything_and_ends_with_3(peptide, capsys):
    from boltzgen_cli.main import main

    (peptide / "states.yaml").write_text(
        "states: [{name: a, where: {psi: [-180, 157]}}, {name: b, where: {psi: [157, 180]}}, "
        "{name: never, where: {phi: [1, 2], psi: [-1, 1]}}]\ndifferences: [[a, never], [a, b]]\n"
    )
    words = [str(word) for word in command(peptide)]
    code_lenient, code_strict = main(words), main([*words, "--strict"])
    shown = capsys.readouterr()
    content = json.loads((peptide / "OUT" / "free_energy.json").read_text())
    never, found = content["estimates"]
    assert never["verdict"] == "unreliable" and never["value"]["kT"] is None
    assert found["value"]["kJ/mol"] == pytest.approx(found["value"]["kT"] * 8.31446261815324e-3 * 310)
    assert (code_lenient, code_strict) == (0, 3)
    assert "a -> never" in shown.out and "not visited" in shown.out


def test_nothing_to_estimate_is_a_failure_with_a_file(peptide):
    (peptide / "states.yaml").write_text(
        "states: [{name: here, where: rest}, {name: never, where: {phi: [1, 2]}}]"
    )
    assert_refused(command(peptide), "never was not visited", "free_energy.json", code=1)
    content = json.loads((peptide / "OUT" / "free_energy.json").read_text())
    assert content["estimates"][0]["verdict"] == "unreliable"
    assert [state["n"] for state in content["states"]] == [60, 0]


def test_all_weights_zero_is_a_failure_with_a_reason(peptide):
    ensemble = molecule()
    bare = replace(
        ensemble,
        valid=np.zeros(60, bool),
        reason=np.full(60, "energy not finite"),
        log_w=np.full(60, -np.inf),
    )
    save_ensemble(bare, peptide / "OUT")
    assert_refused(command(peptide), "every one was rejected", code=1)


def test_nan_rows_are_counted_and_carry_no_weight(peptide):
    ensemble = molecule()
    positions = ensemble.positions.copy()
    positions[::7] = np.nan
    broken = Ensemble.from_densities(
        positions,
        ensemble.log_q,
        ensemble.u,
        temperature=310.0,
        measure="shape",
        system_fingerprint="f00d",
        domain="reference",
        topology_pdb=ALANINE_DIPEPTIDE.read_text(),
    )
    save_ensemble(broken, peptide / "OUT")
    (peptide / "states.yaml").write_text(
        "states: [{name: a, where: {psi: [-90, 90]}}, {name: b, where: {psi: [90, -90]}}]"
    )
    with pytest.raises(BoltzgenError, match="not visited"):  # all are near psi = 157
        free_energy_states(peptide / "OUT", peptide / "states.yaml").check()
    content = json.loads((peptide / "OUT" / "free_energy.json").read_text())
    assert sum(state["n"] for state in content["states"]) == 60 - 9
    assert content["estimates"][0]["n"] == 60


def _states(text):
    return lambda folder: (folder / "states.yaml").write_text(text)


def _cut(name, keep):
    def damage(folder):
        data = (folder / "OUT" / name).read_bytes()
        (folder / "OUT" / name).write_bytes(data[: int(keep * len(data))])

    return damage


def _fewer_atoms(folder):
    path = folder / "OUT" / "topology.pdb"
    lines = [line for line in path.read_text().splitlines() if line.startswith(("ATOM", "HETATM"))]
    path.write_text("\n".join(lines[:20]) + "\nEND\n")


def _without_hashes(damage):
    """`damage` to a folder as an older boltzgen wrote it: nothing in its manifest vouches for the files."""

    def damage_old(folder):
        path = folder / "OUT" / "manifest.json"
        manifest = json.loads(path.read_text())
        hashed = {"files": {name: {} for name in manifest["files"]}}
        path.write_text(json.dumps({k: v for k, v in manifest.items() if k != "content_sha256"} | hashed))
        damage(folder)

    return damage_old


def _cool(folder):
    manifest = json.loads((folder / "OUT" / "manifest.json").read_text())
    (folder / "OUT" / "manifest.json").write_text(json.dumps(manifest | {"temperature_K": -300.0}))


OVERLAP = TORSION.replace("]\n", ", {name: wide, where: {phi: [-180, 180]}}]\n")
BAD = {
    "no states file": (lambda folder: (folder / "states.yaml").unlink(), "states.yaml", "no such file"),
    "states file empty": (_states(""), "states.yaml", "must be a mapping"),
    "states file is not text": (
        lambda f: (f / "states.yaml").write_bytes(b"\xff\xfe\x00"),
        "states.yaml",
        "text",
    ),
    "no atoms": (
        _states("coordinates: {d: {distance: [name QQ, 3]}}\n" + TORSION),
        "names 0 atoms",
        "name QQ",
    ),
    "overlap": (_states(OVERLAP), "overlap", "states.yaml"),
    "unknown key": (
        _states(TORSION + "diferences: [[left, right]]"),
        "did you mean differences",
        "states.yaml",
    ),
    "another molecule": (_states(TORSION.replace("phi", "chi1")), "no torsion chi1", "states.yaml"),
    "one sample": (lambda folder: save_ensemble(molecule(1), folder / "OUT"), "one sample", "at least two"),
    "npz truncated": (_cut("samples.npz", 0.5), "samples.npz", "truncated"),
    "dcd truncated": (_cut("samples.dcd", 0.5), "samples.dcd", "truncated"),
    "topology empty": (_cut("topology.pdb", 0.0), "topology.pdb", "truncated, 0 of"),
    "topology truncated": (_cut("topology.pdb", 0.4), "topology.pdb", "truncated"),
    "topology of fewer atoms": (_fewer_atoms, "topology.pdb", "truncated"),
    "old topology empty": (_without_hashes(_cut("topology.pdb", 0.0)), "topology.pdb", "PDB"),
    "old topology truncated": (_without_hashes(_cut("topology.pdb", 0.4)), "topology.pdb", "PDB"),
    "old topology of fewer atoms": (
        _without_hashes(_fewer_atoms),
        "topology.pdb",
        "20 atoms, the samples have 22",
    ),
    "no manifest": (
        lambda folder: (folder / "OUT" / "manifest.json").unlink(),
        "manifest.json",
        "no such file",
    ),
    "temperature below zero": (_cool, "temperature must be positive", "-300"),
}


@pytest.mark.parametrize(("damage", "first", "second"), BAD.values(), ids=BAD.keys())
def test_bad_input_gives_a_sentence_and_exit_code_2(peptide, damage, first, second):
    damage(peptide)
    assert_refused(command(peptide), first, second)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["free-energy", "states"], "OUT"),
        (["free-energy", "states", "OUT"], "--states"),
        (["free-energy", "states", "OUT", "--states", "s.yaml", "--bootstrap", "1"], "--bootstrap"),
        (["free-energy", "states", "OUT", "--states", "s.yaml", "--seed", "-4"], "--seed"),
        (["free-energy", "states", "OUT", "--states", "s.yaml", "--bootstrap", "many"], "many"),
        (["free-energy", "states", "OUT", "--states", "s.yaml", "--stict"], "--stict"),
        (["free-energy", "stats", "OUT"], "stats"),
        (["free-energy", "states", "no-such-folder", "--states", "s.yaml"], "no such folder"),
    ],
)
def test_bad_words(words, expected):
    assert_refused(words, expected)


def test_a_folder_as_output_is_refused(peptide):
    assert_refused(command(peptide, "-o", str(peptide)), "is a folder")
