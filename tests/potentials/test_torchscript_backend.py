"""The backend ``torchscript``: models in files, which travel with the system."""

from __future__ import annotations

import pytest
import torch
from helpers import assert_refused
from ml_cases import ETHANOL, assert_slopes, ethanol

from boltzgen.errors import BoltzgenError, InputError, UnsupportedError
from boltzgen.potentials.learned.backends import make_backend
from boltzgen.potentials.of_system import potential_of
from boltzgen.system.molecular_system import MolecularSystem
from boltzgen.system.prepare import prepare
from boltzgen.workflows.preparation.prepare import prepare as prepare_folder


class Module(torch.nn.Module):
    """Morse-like pairs weighted by atomic numbers, in kJ/mol of nm."""

    def __init__(self) -> None:
        super().__init__()
        self.depth = torch.nn.Parameter(torch.tensor(3.0))

    def forward(self, atomic_numbers: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        n = positions.shape[1]
        pair = torch.triu_indices(n, n, 1, device=positions.device)
        r = (positions[:, pair[0]] - positions[:, pair[1]]).pow(2).sum(-1).sqrt()
        weight = (atomic_numbers[pair[0]] * atomic_numbers[pair[1]]).to(positions.dtype).sqrt()
        return (self.depth * weight * (1 - torch.exp(-20.0 * (r - 0.15))) ** 2).sum(1)


class Scalar(Module):
    def forward(self, atomic_numbers: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        return positions.sum()


class SinglePrecision(Module):
    def forward(self, atomic_numbers: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        flat = positions.flatten(1)
        return (flat @ torch.ones([flat.shape[1], 1], dtype=torch.float32)).squeeze(1)


def saved(module: torch.nn.Module, path) -> str:
    torch.jit.script(module).save(str(path))
    return str(path)


def test_torchscript_files(tmp_path):
    path, module = saved(Module(), tmp_path / "model.pt"), Module().double()
    for precision, tolerance in (("double", 1e-12), ("single", 1e-5)):
        potential = make_backend("torchscript", ETHANOL, {"file": path, "precision": precision})
        x = ethanol(3)
        energy = potential.energy(x)
        assert energy.dtype == torch.float64
        expected = module(torch.tensor(ETHANOL), x)
        torch.testing.assert_close(energy.detach(), expected.detach(), rtol=tolerance, atol=tolerance)
    potential = make_backend("torchscript", ETHANOL, {"file": path})
    assert_slopes(potential, ethanol(2), 1e-5, step=1e-5)


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda p: (p.write_bytes(b"PK\x03\x04 cut"), p)[1], "truncated"),
        (lambda p: (p.write_text("not a model"), p)[1], "truncated or of another kind"),
        (lambda p: p, "truncated"),
    ],
)
def test_damaged_torchscript_files(tmp_path, make, expected):
    with pytest.raises(InputError, match=expected):
        make_backend("torchscript", ETHANOL, {"file": str(make(tmp_path / "bad.pt"))})


def test_torchscript_modules_with_another_signature(tmp_path):
    scalar = make_backend("torchscript", ETHANOL, {"file": saved(Scalar(), tmp_path / "scalar.pt")})
    with pytest.raises(BoltzgenError, match=r"gave \(\) for 2 conformations"):
        scalar.energy(ethanol(2))
    options = {"file": saved(SinglePrecision(), tmp_path / "single.pt")}
    with pytest.raises(BoltzgenError, match=r"ml_options={'precision': 'single'}"):
        make_backend("torchscript", ETHANOL, options).energy(ethanol(2))
    single = make_backend("torchscript", ETHANOL, {**options, "precision": "single"})
    assert single.energy(ethanol(2)).shape == (2,)
    with pytest.raises(UnsupportedError, match="charge"):
        make_backend("torchscript", ETHANOL, {**options, "charge": "1"})
    with pytest.raises(InputError, match=r'{"file": "model\.pt"}'):
        make_backend("torchscript", ETHANOL, {})


def test_a_torchscript_file_travels_with_the_system(tmp_path):
    path = saved(Module(), tmp_path / "model.pt")
    asked = {"sequence": "ACE-ALA-NME", "ml": "torchscript"}
    system = prepare(**asked, ml_options={"file": path})
    folder = system.save(tmp_path / "SYS")
    (tmp_path / "model.pt").unlink()
    (tmp_path / "SYS").rename(tmp_path / "moved")
    folder = tmp_path / "moved"
    loaded = MolecularSystem.load(folder)
    assert loaded.fingerprint == system.fingerprint
    x = torch.tensor(loaded.reference_positions)[None]
    assert torch.isfinite(potential_of(loaded).energy(x)).all()
    assert str(tmp_path) not in (folder / "system.json").read_text()
    again = MolecularSystem.load(loaded.save(tmp_path / "copy"))
    assert again.fingerprint == system.fingerprint

    other = Module()
    other.depth.data.fill_(4.0)
    second = prepare(**asked, ml_options={"file": saved(other, tmp_path / "other.pt")})
    assert second.fingerprint != system.fingerprint
    with open(folder / "ml-model.pt", "ab") as file:
        file.write(b"more")
    with pytest.raises(InputError, match="not the one that was prepared"):
        potential_of(loaded)
    (folder / "ml-model.pt").unlink()
    with pytest.raises(InputError, match="is missing"):
        potential_of(loaded)
    with pytest.raises(InputError, match="no such file"):
        prepare(**asked, ml_options={"file": str(tmp_path / "absent.pt")})


def test_prepare_says_that_a_file_is_damaged_and_leaves_nothing(tmp_path):
    (tmp_path / "bad.pt").write_bytes(b"PK\x03\x04")
    words = ["--ml", "torchscript", "--ml-option", f"file={tmp_path / 'bad.pt'}"]
    assert_refused(["prepare", "--sequence", "ACE-ALA-NME", "-o", tmp_path / "SYS", *words], "truncated")
    assert not (tmp_path / "SYS").exists()


class Absolute(Module):
    def forward(self, atomic_numbers: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        return positions.pow(2).sum((1, 2))


def test_prepare_refuses_a_potential_that_knows_where_the_molecule_is(tmp_path):
    words = ["--ml", "torchscript", "--ml-option", f"file={saved(Absolute(), tmp_path / 'absolute.pt')}"]
    message = assert_refused(["prepare", "--sequence", "ACE-ALA-NME", "-o", tmp_path / "SYS", *words])
    assert "moves and turns as a whole" in message and "torchscript" in message
    assert not (tmp_path / "SYS").exists()


def pair_terms(depth: float, positions: torch.Tensor) -> torch.Tensor:
    pair = torch.triu_indices(positions.shape[1], positions.shape[1], 1)
    r = (positions[:, pair[0]] - positions[:, pair[1]]).pow(2).sum(-1).sqrt()
    return depth * (1 - torch.exp(-20.0 * (r - 0.15))) ** 2


class Dropped(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Dropout(0.3)

    def forward(self, atomic_numbers: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        return self.layer(pair_terms(3.0, positions)).sum(1)


class Normalised(Dropped):
    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.BatchNorm1d(36)


class Detached(torch.nn.Module):
    def forward(self, atomic_numbers: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        return pair_terms(3.0, positions).sum(1).detach()


class Rounded(torch.nn.Module):
    def forward(self, atomic_numbers: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        return pair_terms(3.0, positions).sum(1).long()


class Single(torch.nn.Module):
    def forward(self, atomic_numbers: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        return pair_terms(3.0, positions).sum(1).float()


class Column(torch.nn.Module):
    def forward(self, atomic_numbers: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        return pair_terms(3.0, positions).sum(1, keepdim=True)


class Mixed(torch.nn.Module):
    def forward(self, atomic_numbers: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        energy = pair_terms(3.0, positions).sum(1)
        return energy - energy.mean()


@pytest.mark.parametrize("kind", [Dropped, Normalised])
def test_a_module_in_training_mode_is_evaluated_and_named(kind, tmp_path):
    path = saved(kind().train(), tmp_path / "model.pt")
    with pytest.warns(UserWarning, match="written in training mode"):
        potential = make_backend("torchscript", ETHANOL, {"file": path})
    x = ethanol(3)
    expected = kind().eval().double()(torch.tensor(ETHANOL), x)
    for _ in range(2):
        torch.testing.assert_close(potential.energy(x), expected, rtol=1e-12, atol=1e-12)
    summary = prepare_folder(smiles="CCO", ml="torchscript", ml_options={"file": path}, check=True)
    assert any("written in training mode" in note for note in summary.warnings)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (Dropped, "another energy when it is asked again"),
        (Normalised, "another energy when it is evaluated alone"),
        (Mixed, "another energy when it is evaluated alone"),
        (Detached, "without a gradient"),
        (Rounded, "torch.int64"),
        (Single, r"float32 for positions of torch.float64; add `ml_options={'precision': 'single'}`"),
        (Column, r"gave \(4, 1\) for 4 conformations"),
    ],
)
def test_modules_whose_energies_are_none(kind, expected, tmp_path):
    """Training mode that tracing has frozen, rows that mix, energies without slope, digits or the shape."""
    if kind in (Dropped, Normalised):
        inputs = (torch.tensor(ETHANOL), ethanol(3).float())
        torch.jit.trace(kind().train(), inputs, check_trace=False).save(str(tmp_path / "model.pt"))
    else:
        saved(kind(), tmp_path / "model.pt")
    options = {"file": str(tmp_path / "model.pt")}
    with pytest.raises(BoltzgenError, match=expected):
        prepare_folder(smiles="CCO", ml="torchscript", ml_options=options, check=True)
    if kind is Single:
        options |= {"precision": "single"}
        prepare_folder(smiles="CCO", ml="torchscript", ml_options=options, check=True)
