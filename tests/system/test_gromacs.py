"""GROMACS topologies: energies of gmx_d for all that readers take otherwise, and what is refused by name."""

from __future__ import annotations

from pathlib import Path

import gromacs_cases as cases
import openmm
import pytest
from helpers import ROOT, assert_refused
from openmm import app, unit

from boltzgen.errors import InputError
from boltzgen.system.formats.gromacs.reader import GromacsTopology
from boltzgen.system.prepare import prepare

GIVEN = ROOT / "tests" / "cases" / "files" / "gmx"

#: Energies of `GIVEN` by the rules of the manual; `gmx_d` 2022.5 gives the same.
BY_THE_MANUAL = {
    "ok": 20.990,
    "nrexcl1": 99.567,
    "nrexcl2": -4.238,
    "nrexcl4": -0.442,
    "nopairs": 46.218,
    "somepairs": 29.849,
    "capital": 23.079,
    "wildcard": 23.079,
    "nbfix_nodih": 21.144,
    "nbfix_comb3": 21.144,
    "pairs_nb": -14.840,
}


def energy(system: openmm.System, positions) -> float:
    context = openmm.Context(
        system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference")
    )
    context.setPositions(positions)
    return context.getState(energy=True).getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole)


def written(folder: Path, text: str) -> Path:
    (folder / "case.top").write_text(text)
    (folder / "case.gro").write_text(cases.GRO)
    return folder / "case.top"


@pytest.mark.parametrize("name", cases.CHANGES)
def test_energies_are_those_of_gromacs(name, tmp_path):
    top = written(tmp_path, cases.text_of(name))
    system = GromacsTopology(top).createSystem(constraints=None, rigidWater=False, removeCMMotion=False)
    positions = app.GromacsGroFile(str(tmp_path / "case.gro")).positions
    assert energy(system, positions) == pytest.approx(cases.ENERGIES[name], abs=1e-6, rel=1e-8)


def test_the_cases_differ_from_one_another():
    """Each exchange moves the energy, but for those whose result is another case's by the rules."""
    values = [round(value, 6) for value in cases.ENERGIES.values()]
    assert len(set(values)) >= 25


@pytest.mark.parametrize("name", BY_THE_MANUAL)
def test_given_cases(name):
    made = prepare(GIVEN / f"{name}.top", coordinates=GIVEN / "chain.gro")
    assert energy(made.openmm_system(), made.reference_positions) == pytest.approx(
        BY_THE_MANUAL[name], abs=1e-3
    )


def test_several_molecules_have_their_pairs_each():
    """Two chains: twice the charges' exceptions, in the second chain's own atoms."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        top = written(Path(folder), cases.text_of("plain").replace("LIG 1\n", "LIG 2\n"))
        system = GromacsTopology(top).createSystem(removeCMMotion=False)
    coulomb = next(f for f in system.getForces() if isinstance(f, openmm.NonbondedForce))
    pairs = sorted(tuple(coulomb.getExceptionParameters(k)[:2]) for k in range(coulomb.getNumExceptions()))
    first = [pair for pair in pairs if max(pair) < 6]
    assert len(first) == 12
    assert [(a + 6, b + 6) for a, b in first] == [pair for pair in pairs if min(pair) >= 6]
    assert len(pairs) == 24


def test_a_bromine_without_atomic_number_is_bromine(tmp_path):
    """OpenMM's reader guesses from the first letter: boron."""
    text = cases.PLAIN.replace("CX 6 12.011", "CX 79.904").replace("C6 6 -0.1 12.011", "BR1 6 -0.1 79.904")
    top = GromacsTopology(written(tmp_path, text))
    assert [atom.element.symbol for atom in top.topology.atoms()] == ["C"] * 5 + ["Br"]


TERMS = "; MORE TERMS\n"
TYPES = "; MORE TYPES\n"
REFUSED = {
    "restraint": (TERMS, "[ dihedral_restraints ]\n1 2 3 4 1 0 0 100\n", "restraints of dihedral angles"),
    "position restraint": (TERMS, "[ position_restraints ]\n1 1 1000 1000 1000\n", "restraints to positions"),
    "polarisation": (TERMS, "[ polarization ]\n1 2 1 0.001\n", "polarisation"),
    "virtual site": (TERMS, "[ virtual_sites3 ]\n6 1 2 3 1 0.3 0.3\n", "virtual sites"),
    "unknown directive": (TERMS, "[ dihedrels ]\n1 2 3 4 9 0 1 1\n", "dihedrels"),
    "#error": (TYPES, "#error use the new files\n", "use the new files"),
    "#if": (TYPES, "#if 1\n#endif\n", "#if is not known"),
    "no #endif": (TYPES, "#ifdef A\n", "no #endif"),
    "#else alone": (TYPES, "#else\n", "#else without"),
    "no file": (TYPES, '#include "gone.itp"\n', "gone.itp"),
    "a file in itself": (TYPES, '#include "case.top"\n', "include itself"),
    "two blocks": (
        TYPES,
        "[ dihedraltypes ]\nX CX CX X 9 0 2 3\nCX CX CX X 9 0 1 3\nX CX CX X 9 0 5 2\n",
        "second block",
    ),
    "no type": (TERMS, "[ dihedrals ]\n1 2 3 4 9\n", "no dihedraltypes line"),
    "function": (TERMS, "[ dihedrals ]\n1 2 3 4 8 0 1\n", "function 8"),
    "too few": (TERMS, "[ dihedrals ]\n1 2 3 4 9 0 1\n", "2 parameters"),
    "atom": (TERMS, "[ dihedrals ]\n1 2 3 9 9 0 1 1\n", "names atom 9"),
    "gen-pairs no": ("1 2 yes", "1 2 no", "gen-pairs is no"),
    "rule": ("1 2 yes", "1 4 yes", "combination rule 4"),
    "nbfunc": ("1 2 yes", "2 2 yes", "Buckingham"),
    "pair function": ("1 4 1\n2 5 1", "1 4 3\n2 5 1", "function 3"),
    "no molecule": ("LIG 1\n", "", "[ molecules ]"),
    "another molecule": ("LIG 1\n", "SOL 1\n", "SOL"),
    "type": ("6 CX 1 LIG C6", "6 CY 1 LIG C6", "CY"),
    "number": ("0.2 12.011\n6", "zero 12.011\n6", "zero"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_by_name(name, tmp_path):
    before, after, expected = REFUSED[name]
    assert cases.PLAIN.count(before) == 1
    top = written(tmp_path, cases.PLAIN.replace(before, after))
    words = ["prepare", top, "--coordinates", tmp_path / "case.gro", "-o", tmp_path / "SYS"]
    message = assert_refused(words, expected)
    assert "case.top" in message
    assert not (tmp_path / "SYS").exists()


def test_a_restraint_in_a_condition_that_does_not_hold_is_no_restraint(tmp_path):
    guarded = "#ifdef POSRES\n[ position_restraints ]\n1 1 1000 1000 1000\n#endif\n"
    top = written(tmp_path, cases.PLAIN.replace(TERMS, guarded))
    assert GromacsTopology(top).topology.getNumAtoms() == 6


def test_input_errors_are_input_errors(tmp_path):
    with pytest.raises(InputError, match="no closing bracket"):
        GromacsTopology(written(tmp_path, cases.PLAIN.replace("[ bonds ]", "[ bonds")))
