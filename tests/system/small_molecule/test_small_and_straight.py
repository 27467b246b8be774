"""Small dense graphs, straight groups, two atoms: each goes the whole road, or `prepare` says why not."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import yaml
from helpers import ROOT

import boltzgen as bg
from boltzgen.ensemble import Ensemble
from boltzgen.ensemble.store import load_ensemble
from boltzgen.errors import InputError
from boltzgen.generator import Target
from boltzgen.units import GAS_CONSTANT

GRAPHS = ROOT / "tests" / "cases" / "files" / "graph"

WORKS = {
    "nitrogen": "N#N",
    "hydroxide": "[OH-]",
    "fluorine": "FF",
    "water": "O",
    "ammonia": "N",
    "cyclopropane": "C1CC1",
    "bicyclobutane": "C1C2CC12",
    "tetrahedrane": "C12C3C1C32",
    "phosphorus": "P12P3P1P23",
    "propyne": "CC#C",
    "acetonitrile": "CC#N",
    "methyl azide": "CN=[N+]=[N-]",
    "methyl isocyanate": "CN=C=O",
    "methyl isocyanide": "C[N+]#[C-]",
    "allene": "C=C=C",
    "2,4-hexadiyne": "CC#CC#CC",
}
MORE = {
    "cyclobutane": "C1CCC1",
    "cubane": "C12C3C4C1C5C2C3C45",
    "propellane": "C123CC1(C2)C3",
    "2-butyne": "CC#CC",
    "phenylacetylene": "C#Cc1ccccc1",
    "ketene": "C=C=O",
    "hydrazoic acid": "N=[N+]=[N-]",
    "cyanamide": "NC#N",
    "dicyanoethylene": "N#CC=CC#N",
}
REFUSED = {
    "acetylene": ("C#C", "4 atoms lie on one line"),
    "diacetylene": ("C#CC#C", "6 atoms lie on one line"),
    "hydrogen cyanide": ("C#N", "3 atoms lie on one line"),
    "nitrous oxide": ("[N-]=[N+]=O", "3 atoms lie on one line"),
    "carbon dioxide": ("O=C=O", "no atom types"),
    "hydrogen chloride": ("Cl", "MMFF94 has no atom type"),
    "hydrogen": ("[H][H]", "MMFF94 has no atom type"),
    "chloride": ("[Cl-]", "single atom"),
    "sulfur hexafluoride": ("FS(F)(F)(F)(F)F", "MMFF94 has no atom type"),
    "cyclooctyne": ("C1CCCC#CCC1", "no three-dimensional structure"),
}


def road(system_folder, folder) -> Ensemble:
    """Two steps of training and 64 draws."""
    settings = {
        "system": str(system_folder),
        "flow": {"kind": "coupling", "layers": 2, "hidden": 8, "bins": 4},
        "reverse_kl": {"weight": 1.0, "batch_size": 8},
        "optimizer": {"steps": 2},
        "evaluation": {"every": 2, "samples": 8},
    }
    (folder / "train.yaml").write_text(yaml.safe_dump(settings))
    bg.train(folder / "train.yaml", [], folder / "RUN")
    bg.sample(folder / "RUN", system_folder, folder / "OUT", 64, compile_energies=False)
    return load_ensemble(folder / "OUT")


def assert_sound(system, ensemble) -> None:
    """Finite weights, and positions that come back from their coordinates with the same density."""
    assert np.isfinite(ensemble.log_w[ensemble.valid]).all() and ensemble.valid.mean() > 0.7
    coordinates = Target.from_system(system).coordinates
    x = torch.as_tensor(np.array(ensemble.positions[ensemble.valid]), dtype=torch.float64)
    q, log_encode = coordinates.encode(x)
    y, log_decode = coordinates.decode(q)
    distances = [torch.cdist(z, z) for z in (x, y)]
    assert float((distances[0] - distances[1]).abs().max()) < 1e-9
    assert float((log_encode + log_decode).abs().max()) < 1e-9


@pytest.mark.parametrize(
    "smiles", [*WORKS.values(), *(pytest.param(s, marks=pytest.mark.slow) for s in MORE.values())]
)
def test_a_small_molecule_goes_the_whole_road(smiles, tmp_path):
    prepared = bg.prepare(smiles=smiles, output=tmp_path / "SYS")
    assert_sound(prepared.system, road(tmp_path / "SYS", tmp_path))


@pytest.mark.parametrize(("smiles", "words"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_go_is_refused_at_the_start(smiles, words, tmp_path):
    with pytest.raises(InputError, match=words):
        bg.prepare(smiles=smiles, output=tmp_path / "SYS")
    assert not (tmp_path / "SYS").exists()


@pytest.mark.parametrize("name", ["pair", "tri", "square", "P4"])
def test_dense_graphs_of_a_system_xml(name, tmp_path):
    prepared = bg.prepare(GRAPHS / f"{name}.xml", tmp_path / "SYS", coordinates=GRAPHS / f"{name}.pdb")
    assert_sound(prepared.system, road(tmp_path / "SYS", tmp_path))


def test_two_atoms_have_the_partition_function_of_their_bond(tmp_path):
    """ln Z of the integral of b^2 exp(-U/kT), by quadrature; of every pair of draws none is a copy."""
    prepared = bg.prepare(smiles="FF", output=tmp_path / "SYS")
    road(tmp_path / "SYS", tmp_path)
    drawn = [
        bg.sample(tmp_path / "RUN", tmp_path / "SYS", tmp_path / f"OUT{s}", 4000, seed=s) for s in (1, 2)
    ]
    b = np.linspace(0.09, 0.24, 3001)
    x = np.zeros((len(b), 2, 3))
    x[:, 1, 0] = b
    energy = Target.from_system(prepared.system).potential.energy(torch.as_tensor(x)).numpy()
    exact = np.log(np.trapezoid(b**2 * np.exp(-energy / (GAS_CONSTANT * 300.0)), b))
    assert drawn[0].log_z == pytest.approx(exact, abs=5 * drawn[0].log_z_standard_error)
    assert bg.merge([tmp_path / "OUT1", tmp_path / "OUT2"], tmp_path / "BOTH").kept == 8000


def test_a_single_atom_and_a_line_of_a_system_xml_are_refused(tmp_path):
    import openmm

    def written(count):
        system, force = openmm.System(), openmm.HarmonicBondForce()
        for atom in range(count):
            system.addParticle(14.007)
            if atom:
                force.addBond(atom - 1, atom, 0.12, 3e5)
        system.addForce(force)
        (tmp_path / "system.xml").write_text(openmm.XmlSerializer.serialize(system))
        atoms = [
            f"HETATM{k + 1:5d}  N{k + 1}  LIG A   1    {1.2 * k:8.3f}{0:8.3f}{0:8.3f}  1.00  0.00           N"
            for k in range(count)
        ]
        bonds = [f"CONECT{k + 1:5d}{k + 2:5d}" for k in range(count - 1)]
        (tmp_path / "atoms.pdb").write_text("\n".join([*atoms, *bonds, "END", ""]))

    for count, words in ((1, "single atom"), (3, "3 atoms lie on one line"), (5, "5 atoms lie on one line")):
        written(count)
        with pytest.raises(InputError, match=words):
            bg.prepare(tmp_path / "system.xml", tmp_path / "SYS", coordinates=tmp_path / "atoms.pdb")
