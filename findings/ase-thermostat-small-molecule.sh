#!/usr/bin/env bash
# ASE 3.29.0: Langevin (by its default) and Bussi simulate an isolated small molecule too hot.
#
# Guess:   Langevin(atoms, dt, temperature_K=300, friction=...) of a molecule in vacuum samples 300 K; that the
#          centre of mass is kept at rest (fixcm=True is the default) changes nothing but three idle degrees.
# Happens: the kinetic energy of all 3N momenta is kept at 300 K while three of them are held at zero, so the
#          3N-3 others carry the rest: the molecule is at 300 K x N/(N-1). Three atoms are at about 450 K, ten at
#          333 K, the 22 of alanine dipeptide at 314 K. get_temperature() divides by 3N too and reads 300 K.
#          With fixcm=False Langevin is right. Bussi has no such switch: after Stationary() it is hot in the same way.
# Matters: an ensemble made with ASE (machine-learned potentials, xtb) is not at the temperature it is labelled
#          with, by far more than reweighting between models tolerates, and the usual check does not show it.
# Method:  N atoms in a harmonic well about their own centroid: <U> = (3N-3)/2 kT exactly, whatever the masses.
#
# Seen 30 November 2026:
#   Langevin, default       reads 295 K, the energy says 466 K
#   Langevin, fixcm=False   reads 304 K, the energy says 310 K
#   Bussi after Stationary  reads 290 K, the energy says 434 K
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --no-compile --no-deps ase==3.29.0 numpy==2.3.5 scipy==1.17.1
cd "$work"
venv/bin/python -I -W ignore - <<'PY'
import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import Calculator
from ase.md.bussi import Bussi
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution, Stationary


class Well(Calculator):
    implemented_properties = ["energy", "forces"]

    def calculate(self, atoms=None, properties=None, system_changes=None):
        super().calculate(atoms, properties, system_changes)
        d = self.atoms.positions - self.atoms.positions.mean(0)
        self.results = {"energy": 2.5 * (d**2).sum(), "forces": -5.0 * d}


def temperatures(thermostat, start=False, n=3):
    atoms = Atoms(f"C{n}", positions=np.random.default_rng(0).normal(0, 0.05, (n, 3)))
    atoms.calc = Well()
    if start:
        MaxwellBoltzmannDistribution(atoms, temperature_K=300, rng=np.random.RandomState(2))
        Stationary(atoms)
    dyn = thermostat(atoms)
    dyn.run(500)
    read, energy = [], []
    for _ in range(6000):
        dyn.run(1)
        read.append(atoms.get_temperature())
        energy.append(atoms.get_potential_energy())
    return np.mean(read), 2 * np.mean(energy) / ((3 * n - 3) * units.kB)


def langevin(**options):
    return lambda atoms: Langevin(atoms, 1.0 * units.fs, temperature_K=300, friction=0.05 / units.fs,
                                  rng=np.random.RandomState(1), **options)


rows = {
    "Langevin, default": temperatures(langevin()),
    "Langevin, fixcm=False": temperatures(langevin(fixcm=False)),
    "Bussi after Stationary": temperatures(
        lambda a: Bussi(a, 1.0 * units.fs, temperature_K=300, taut=20 * units.fs, rng=np.random.RandomState(1)), True),
}
for name, (read, real) in rows.items():
    print(f"{name:23s} reads {read:.0f} K, the energy says {real:.0f} K")
hot, right, bussi = (rows[name] for name in rows)
assert 270 < hot[0] < 330 and 410 < hot[1] < 500, "Langevin's default is no longer hot by N/(N-1)"
assert 270 < right[1] < 330
assert 270 < bussi[0] < 330 and 400 < bussi[1] < 500, "Bussi is no longer hot"
PY
