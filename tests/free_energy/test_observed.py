"""Observables by name: couplings, dipoles, NOE distances, hydrogen bonds; against MDTraj and closed forms."""

from __future__ import annotations

import math

import mdtraj
import numpy as np
import pytest
from ensemble_cases import ALANINE_DIPEPTIDE
from rdkit import Chem
from rdkit.Chem import AllChem, rdMolTransforms

from boltzgen.errors import InputError
from boltzgen.free_energy import expectations
from boltzgen.free_energy.observed.observable import Molecule
from boltzgen.free_energy.observed.registry import observables, values_of_frames
from boltzgen.free_energy.statistics import Statistics
from boltzgen.system.molecular_system import MolecularSystem

PEPTIDE_NAMES = ("J3-HN-HA", "J3-HN-C", "J3-HN-CB")


def peptide(n: int = 30, noise: float = 0.01) -> tuple[np.ndarray, mdtraj.Topology]:
    frames = mdtraj.load(str(ALANINE_DIPEPTIDE))
    return frames.xyz + np.random.default_rng(5).normal(0, noise, (n, 22, 3)), frames.topology


def of_smiles(smiles: str, conformers: int = 12) -> tuple[Chem.Mol, np.ndarray, Molecule]:
    """RDKit's molecule with `conformers`, their positions in nm, and the molecule as observables want it."""
    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    AllChem.EmbedMultipleConfs(mol, conformers, randomSeed=11)
    topology = mdtraj.Topology()
    residue = topology.add_residue("MOL", topology.add_chain(), resSeq=1)
    for atom in mol.GetAtoms():
        element = mdtraj.element.Element.getBySymbol(atom.GetSymbol())
        topology.add_atom(f"{atom.GetSymbol()}{atom.GetIdx() + 1}", element, residue)
    for bond in mol.GetBonds():
        topology.add_bond(topology.atom(bond.GetBeginAtomIdx()), topology.atom(bond.GetEndAtomIdx()))
    positions = np.array([one.GetPositions() for one in mol.GetConformers()]) / 10
    return mol, positions, Molecule(topology)


def one(name: str, positions: np.ndarray, molecule: Molecule) -> np.ndarray:
    (found,) = observables([name], positions, molecule, {})
    return found.values


# couplings of peptides -----------------------------------------------------------------------------


@pytest.mark.parametrize("relation", ["Ruterjans1999", "Bax2007", "Bax1997"])
def test_every_relation_is_that_of_mdtraj(relation):
    positions, topology = peptide()
    expected = mdtraj.compute_J3_HN_HA(mdtraj.Trajectory(positions, topology), model=relation)[1][:, 0]
    found = one(f"J3-HN-HA({relation}):2", positions, Molecule(topology))
    np.testing.assert_allclose(found, expected, atol=2e-4)


def test_the_mirror_image_has_the_same_couplings():
    """What MDTraj, which takes every residue for an L one, gives the D residue is up to 3 Hz from it."""
    positions, topology = peptide()
    mirrored = positions * [-1, 1, 1]
    for name in PEPTIDE_NAMES:
        np.testing.assert_allclose(
            one(name, positions, Molecule(topology)), one(name, mirrored, Molecule(topology)), rtol=1e-9
        )
    naive = mdtraj.compute_J3_HN_HA(mdtraj.Trajectory(mirrored, topology))[1][:, 0]
    assert np.abs(naive - one("J3-HN-HA", mirrored, Molecule(topology))).max() > 2


def changed(
    topology: mdtraj.Topology, drop: set[str], new: dict[str, str]
) -> tuple[list[int], mdtraj.Topology]:
    """The alanine dipeptide without the atoms `drop` of its alanine and with the hydrogens `new` (old:
    name).
    """
    kept = [a.index for a in topology.atoms if a.residue.resSeq != 2 or a.name not in drop]
    part = topology.subset(kept)
    for atom in part.atoms:
        if atom.residue.resSeq == 2 and atom.name in new:
            atom.name, atom.element = new[atom.name], mdtraj.element.hydrogen
    return kept, part


def test_glycine_has_two_and_proline_none():
    positions, topology = peptide()
    kept, glycine = changed(topology, {"HB1", "HB2", "HB3"}, {"HA": "HA2", "CB": "HA3"})
    found = {o.name: o.values for o in observables(["J3-HN-HA"], positions[:, kept], Molecule(glycine), {})}
    phi = mdtraj.compute_phi(mdtraj.Trajectory(positions, topology))[1][:, 0]
    for name, shift in (("HA2", -60.0), ("HA3", 60.0)):
        t = phi + np.radians(shift)
        expected = 8.4 * np.cos(t) ** 2 - 1.36 * np.cos(t) + 0.33
        np.testing.assert_allclose(found[f"J3-HN-HA:2.{name}"], expected, atol=2e-4)
    with pytest.raises(InputError, match="no J3-HN-CB"):
        observables(["J3-HN-CB"], positions[:, kept], Molecule(glycine), {})
    kept, proline = changed(topology, {"H"}, {})
    with pytest.raises(InputError, match="no J3-HN-HA"):
        observables(["J3-HN-HA"], positions[:, kept], Molecule(proline), {})


def test_a_relation_of_ones_own_on_known_angles():
    """Four atoms at torsions of 0, 37, 90, 180 and -110 degrees: A cos^2 + B cos + C, with a shift."""
    mol, _, molecule = of_smiles("OO", 1)
    degrees = np.array([0.0, 37.0, 90.0, 180.0, -110.0])
    positions = []
    for angle in degrees:
        rdMolTransforms.SetDihedralDeg(mol.GetConformer(), 2, 0, 1, 3, float(angle))
        positions.append(mol.GetConformer().GetPositions() / 10)
    found = one("J3(9.4,-1.1,0.4,25):H3-O1-O2-H4", np.array(positions), molecule)
    cosine = np.cos(np.radians(degrees + 25))
    np.testing.assert_allclose(found, 9.4 * cosine**2 - 1.1 * cosine + 0.4, atol=1e-6)


# H-C-C-H -------------------------------------------------------------------------------------------

SETS = {2: (13.89, -0.98, 1.02, -3.40, 14.9, 0.24), 4: (13.24, -0.91, 0.53, -2.41, 15.5, 0.19)}
LESS_HYDROGEN = {"C": 0.40, "O": 1.30, "F": 1.70, "H": 0.0, "Cl": 0.95}


def by_hand(mol: Chem.Mol, x: np.ndarray, h: int, last: int) -> float:
    """The equation once more, its signs from the sense in which substituents follow in the Newman picture."""
    left, right = (mol.GetAtomWithIdx(a).GetNeighbors()[0].GetIdx() for a in (h, last))
    found = []
    for near, far, mine in ((left, right, h), (right, left, last)):
        axis = x[far] - x[near]
        for atom in mol.GetAtomWithIdx(near).GetNeighbors():
            if atom.GetIdx() in (far, mine) or atom.GetSymbol() == "H":
                continue
            others = [n.GetSymbol() for n in atom.GetNeighbors() if n.GetIdx() != near]
            # seen from the near carbon along the bond: is the substituent clockwise of its hydrogen?
            turn = np.dot(np.cross(x[mine] - x[near], x[atom.GetIdx()] - x[near]), axis)
            found.append((1.0 if turn > 0 else -1.0, atom.GetSymbol(), others))
    p1, p2, p4, p5, p6, p7 = SETS[len(found)]
    u, v, w = x[left] - x[h], x[right] - x[left], x[last] - x[right]
    n1, n2 = np.cross(u, v), np.cross(v, w)
    t = math.atan2(np.dot(np.cross(n1, n2), v) / np.linalg.norm(v), np.dot(n1, n2))
    value = p1 * math.cos(t) ** 2 + p2 * math.cos(t)
    for sign, symbol, others in found:
        strength = LESS_HYDROGEN[symbol] - p7 * sum(LESS_HYDROGEN[o] for o in others)
        value += strength * (p4 + p5 * math.cos(sign * t + math.radians(p6 * abs(strength))) ** 2)
    return value


@pytest.mark.parametrize("smiles", ["O[C@@H](C)[C@H](F)CO", "OCCCl"])
def test_haasnoots_equation_by_hand(smiles):
    """Every coupling without a methyl in it, four and two substituents: the equation worked out once more."""
    mol, positions, molecule = of_smiles(smiles)
    found = {o.name: o for o in observables(["J3-HCCH"], positions, molecule, {})}
    pairs = 0
    for name, column in found.items():
        first, last = name.partition(":")[2].split("-")
        if "+" in name:
            continue
        h, other = (int(word[1:]) - 1 for word in (first, last))
        if not column.further["relation"].endswith(("set C", "set E")):
            continue
        expected = [by_hand(mol, x, h, other) for x in positions]
        np.testing.assert_allclose(column.values, expected, atol=1e-6, err_msg=name)
        pairs += 1
    assert pairs == (1 if "F" in smiles else 4) and np.ptp(expected) > 0.5


def test_an_opposite_substituent_lowers_a_gauche_coupling_most():
    """Booth's rule: of two gauche pairs, the one whose hydrogen stands opposite to the oxygen is smaller."""
    mol, positions, molecule = of_smiles("OCCC", 20)
    oxygen_opposite, oxygen_beside = [], []
    bonded = {a.GetIdx(): [n.GetIdx() for n in a.GetNeighbors()] for a in mol.GetAtoms()}
    for h in (a for a in bonded[1] if mol.GetAtomWithIdx(a).GetSymbol() == "H"):
        for last in (a for a in bonded[2] if mol.GetAtomWithIdx(a).GetSymbol() == "H"):
            values = one(f"J3-HCCH:{h}-{last}", positions, molecule)
            for value, conformer in zip(values, mol.GetConformers(), strict=True):
                t = rdMolTransforms.GetDihedralDeg(conformer, h, 1, 2, last)
                facing = abs(rdMolTransforms.GetDihedralDeg(conformer, 0, 1, 2, last))
                if abs(abs(t) - 60) < 12:
                    (oxygen_opposite if facing > 150 else oxygen_beside).append(value)
    assert len(oxygen_opposite) > 5 and len(oxygen_beside) > 5
    assert np.mean(oxygen_opposite) + 1 < np.mean(oxygen_beside)


def test_cyclohexane_as_measured():
    """Axial-axial 13.12, axial-equatorial 3.65, equatorial-equatorial 2.96 Hz (Garbisch and Griffith, JACS
    90, 6543 (1968)); the equation misses its couplings by 0.48 Hz, so that 1 Hz is two of its errors."""
    mol, _, molecule = of_smiles("C1CCCCC1", 6)
    energies = [energy for _, energy in AllChem.MMFFOptimizeMoleculeConfs(mol, maxIters=2000)]
    x = mol.GetConformer(int(np.argmin(energies))).GetPositions()[None] / 10  # the chair
    found = np.array([o.values[0] for o in observables(["J3-HCCH"], x, molecule, {})])
    assert len(found) == 24
    large = found[found > 8]
    assert len(large) == 6 and abs(large.mean() - 13.12) < 1
    assert abs(np.sort(found)[:18].mean() - (2 * 3.65 + 2.96) / 3) < 1


def test_a_methyl_is_one_group_and_ethane_turns_freely():
    """Propane: two couplings. By Karplus' relation a freely turning ethane has the constant, 4.22 Hz."""
    _, positions, molecule = of_smiles("CCC", 3)
    names = [o.name for o in observables(["J3-HCCH"], positions, molecule, {})]
    assert len(names) == 4 and all(name.count("+") == 2 for name in names)
    mol, _, ethane = of_smiles("CC", 1)
    turned = []
    for angle in range(0, 360, 5):
        rdMolTransforms.SetDihedralDeg(mol.GetConformer(), 2, 0, 1, 5, float(angle))
        turned.append(mol.GetConformer().GetPositions() / 10)
    (column,) = observables(["J3-HCCH(Karplus)"], np.array(turned), ethane, {})
    assert np.mean(column.values) == pytest.approx(4.22, abs=0.01)
    assert np.ptp(one("J3-HCCH(Karplus):H3-H6", np.array(turned), ethane)) > 8


# dipoles -------------------------------------------------------------------------------------------


def charged(charges, masses) -> Molecule:
    _, _, molecule = of_smiles("O", 1)
    return Molecule(molecule.topology, np.array(charges), np.array(masses))


def test_a_dipole_in_debye():
    """0.4 e at 0.06 nm either side of the axis and 0.08 along it: 0.8 * 0.08 e nm of 48.032 D."""
    x = np.array([[[0.3, 0.1, -0.2], [0.38, 0.16, -0.2], [0.38, 0.04, -0.2]]])
    water = charged([-0.8, 0.4, 0.4], [15.999, 1.008, 1.008])
    assert one("dipole", x, water)[0] == pytest.approx(0.8 * 0.08 * 48.0320, rel=1e-5)
    assert one("rg-mass", x, water)[0] == pytest.approx(0.0326, abs=2e-3)


def test_a_charged_molecule_is_seen_from_its_centre_of_mass():
    ion = charged([-0.3, 0.9, 0.4], [15.0, 1.0, 4.0])
    x = np.random.default_rng(0).normal(size=(7, 3, 3))
    centre = (x * np.array([15.0, 1.0, 4.0])[:, None]).sum(axis=1, keepdims=True) / 20
    expected = 48.0320471 * np.linalg.norm(np.einsum("a,nai->ni", ion.charges, x - centre), axis=1)
    np.testing.assert_allclose(one("dipole", x, ion), expected, rtol=1e-7)
    np.testing.assert_allclose(one("dipole", x + 3.0, ion), expected, rtol=1e-7)
    (column,) = observables(["dipole"], x, ion, {})
    assert "centre of mass" in column.note and column.further["total_charge_e"] == pytest.approx(1.0)


def test_dipoles_of_a_prepared_molecule_are_those_of_mdtraj():
    from openmm import NonbondedForce

    system = MolecularSystem.load("example:alanine-dipeptide-sbg")
    positions = system.reference_positions + np.random.default_rng(1).normal(0, 0.01, (20, 22, 3))
    (force,) = (f for f in system.openmm_system().getForces() if isinstance(f, NonbondedForce))
    charges = [force.getParticleParameters(i)[0]._value for i in range(22)]
    frames = mdtraj.Trajectory(positions, system.mdtraj_topology())
    expected = np.linalg.norm(mdtraj.dipole_moments(frames, charges), axis=1) * 48.0320471
    for column in values_of_frames(["dipole", "dipole-rms"], positions, system):
        np.testing.assert_allclose(column.values, expected, rtol=2e-4)
        assert column.unit == "D"


# NOE and hydrogen bonds ----------------------------------------------------------------------------


def test_noe_of_groups():
    positions, topology = peptide()
    columns = observables(["noe:2.HA-3.H", "noe:2.HB1+2.HB2+2.HB3-3.H"], positions, Molecule(topology), {})
    index = {f"{a.residue.resSeq}.{a.name}": a.index for a in topology.atoms}
    for column, group in zip(columns, (["2.HA"], ["2.HB1", "2.HB2", "2.HB3"]), strict=True):
        pairs = [[index[name], index["3.H"]] for name in group]
        lengths = mdtraj.compute_distances(mdtraj.Trajectory(positions, topology), pairs)
        np.testing.assert_allclose(column.values, (lengths**-6.0).mean(axis=1) ** (-1 / 6), rtol=1e-5)
        assert column.power == -6 and column.unit == "nm"


def test_an_effective_distance_and_its_error():
    """Two distances, drawn 1 to 3 and weighted back to 2 to 1: <r^-6>^(-1/6) exact, delta method =
    bootstrap.
    """
    rng = np.random.default_rng(3)
    near = rng.random(4000) < 0.25
    r = np.where(near, 0.25, 0.42)
    log_w = np.log(np.where(near, (2 / 3) / 0.25, (1 / 3) / 0.75))
    (found,) = expectations(log_w, r, Statistics(rng), powers=[-6], unit="nm")
    exact = (2 / 3 * 0.25**-6 + 1 / 3 * 0.42**-6) ** (-1 / 6)
    assert abs(found.value - exact) < 4 * found.standard_error < 0.01
    assert found.standard_error_bootstrap == pytest.approx(found.standard_error_asymptotic, rel=0.12)
    low, high = found.interval95
    assert low < found.value < high and "power mean" in found.quantity
    (plain, rms) = expectations(log_w, np.stack([r, r], axis=1), Statistics(rng), powers=[1, 2])
    assert rms.value == pytest.approx(math.sqrt(np.average(r**2, weights=np.exp(log_w))))
    assert plain.value == pytest.approx(np.average(r, weights=np.exp(log_w)))


def test_the_interval_of_an_effective_distance_covers():
    """300 replicates of 500 weighted draws: 95 % intervals cover 92 to 98 %. An error bar 15 % too small
    would cover 90.4 % and be missed by this in one run of six, one 25 % too small (85.8 %) in one of a
    thousand.
    """
    rng = np.random.default_rng(8)
    width, shift, covered = 0.06, 0.03, 0
    exact = 0.3 * math.exp(-6 * width**2 / 2)  # of a log-normal: exp(mean + p width^2 / 2), p = -6
    for _ in range(300):
        z = rng.normal(shift, width, 500)
        log_w = (-(z**2) + (z - shift) ** 2) / (2 * width**2)
        (found,) = expectations(log_w, 0.3 * np.exp(z), Statistics(rng, n_bootstrap=100), powers=[-6])
        covered += found.interval95[0] <= exact <= found.interval95[1]
    assert 0.92 <= covered / 300 <= 0.98


def test_a_distance_of_zero_is_refused():
    with pytest.raises(InputError, match="above 0"):
        expectations(np.zeros(3), [0.1, 0.0, 0.2], Statistics(np.random.default_rng(0)), powers=[-6])


def test_hydrogen_bonds_are_those_of_mdtraj():
    """Shaken frames of a peptide: the triples and their frequencies by both criteria."""
    positions, topology = peptide(60, noise=0.06)
    frames = mdtraj.Trajectory(positions, topology)
    number = {a.index: f"{a.residue.resSeq}.{a.name}" for a in topology.atoms}

    def named(table):
        return {tuple(int(i) for i in row[1:]) for row in table}

    molecule = Molecule(topology)
    baker = observables(["hbond"], positions, molecule, {})
    per_frame = [named(mdtraj.baker_hubbard(frames[k], freq=0, periodic=False)) for k in range(len(frames))]
    np.testing.assert_array_equal(baker[0].values, [len(row) for row in per_frame])
    assert len(baker) - 1 == len(set().union(*per_frame)) > 1
    for hydrogen, acceptor in set().union(*per_frame):
        values = one(f"hbond:{number[hydrogen]}-{number[acceptor]}", positions, molecule)
        np.testing.assert_array_equal(values, [(hydrogen, acceptor) in row for row in per_frame])
    wernet = observables(["hbond(Wernet-Nilsson)"], positions, molecule, {})
    rows = [named(row) for row in mdtraj.wernet_nilsson(frames, periodic=False)]
    np.testing.assert_array_equal(wernet[0].values, [len(row) for row in rows])
    assert wernet[0].values.sum() > 0 and "Wernet" in wernet[0].note


# names ---------------------------------------------------------------------------------------------

REFUSED = {
    "rg:2": "stands alone",
    "dipole": "partial charges",
    "noe:2.HA": "2 atoms parted by",
    "noe:2.HA-2.HA": "named twice",
    "noe:2.HX-3.H": "no atom '2.HX'",
    "noe:99-3": "outside 0 to 21",
    "noe:C-3": "choose one of 1.C, 2.C, 3.C",
    "noe(x):2-3": "no brackets",
    "hbond(Luzar)": "Baker-Hubbard, Wernet-Nilsson",
    "hbond:2.HA-1.O": "no such hydrogen bond",
    "J3-HN-HA(Bax2001)": "Bax2007",
    "J3-HN-HA:7": "at residue 7",
    "J3-HCCH:2.HA-3.H": "not hydrogens of two bonded",
    "J3(1,2):0-1-2-3": "coefficients A, B, C",
    "J3(1,b,2):0-1-2-3": "coefficients A, B, C",
    "J3(1,2,3):0-4-2-3": "not bonded",
    "J3(1,2,3:0-4-2-3": "expected NAME",
    "dipol": "did you mean dipole",
}


@pytest.mark.parametrize("name", REFUSED)
def test_names_that_mean_nothing(name):
    positions, topology = peptide(2)
    with pytest.raises(InputError) as caught:
        observables([name], positions, Molecule(topology, missing="no system."), {})
    assert REFUSED[name] in str(caught.value)


def test_an_element_without_an_electronegativity():
    _, positions, molecule = of_smiles("OCC[Se]", 2)
    with pytest.raises(InputError, match=r"electronegativity of Se; use J3-HCCH\(Karplus\)"):
        observables(["J3-HCCH"], positions, molecule, {})
    assert len(observables(["J3-HCCH(Karplus)"], positions, molecule, {})) == 4
