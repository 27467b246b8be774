"""The bridge: worker processes, OpenMM in them, and a molecule that only OpenMM can evaluate.

The reference is OpenMM's Reference platform in this process, which shares no code with the pool.
"""

from __future__ import annotations

import copy
import json
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import openmm
import pytest
import torch
from butane import write_butane
from helpers import assert_refused

from boltzgen.errors import BoltzgenError, InputError, UnsupportedError
from boltzgen.generator import Target
from boltzgen.potentials.from_openmm.bridge import bridge
from boltzgen.potentials.from_openmm.reference import check_against_reference, perturbed, reference_energies
from boltzgen.potentials.of_system import description_of, potential_of
from boltzgen.potentials.workers.external import ExternalPotential
from boltzgen.potentials.workers.pool import WorkerPool
from boltzgen.system.energy_model import EnergyModel
from boltzgen.system.formats.openmm_xml import serialize_system
from boltzgen.system.molecular_system import MolecularSystem
from boltzgen_cli.main import main


def with_force(system: MolecularSystem, force: openmm.Force) -> MolecularSystem:
    """`system` with one more force."""
    changed = copy.deepcopy(system.openmm_system())
    changed.addForce(force)
    return replace(system, system_xml=serialize_system(changed))


def three_bodies() -> openmm.Force:
    """A force of butane of a class that is not translated (in the form of Axilrod and Teller)."""
    force = openmm.CustomManyParticleForce(
        3,
        "c*(1+3*cos(a)*cos(b)*cos(g))/(distance(p1,p2)*distance(p1,p3)*distance(p2,p3))^3;"
        "a=angle(p1,p2,p3);b=angle(p2,p3,p1);g=angle(p3,p1,p2)",
    )
    force.addGlobalParameter("c", 1e-4)
    for _ in range(4):
        force.addParticle([], 0)
    return force


@pytest.fixture(scope="module")
def molecule(butane):
    return with_force(butane, three_bodies())


@pytest.fixture(scope="module")
def positions(molecule):
    noise = np.random.default_rng(4).normal(scale=0.005, size=(60, 4, 3))
    return molecule.reference_positions + noise


@pytest.fixture(scope="module")
def expected(molecule, positions):
    energies, forces = reference_energies(molecule.openmm_system(), positions)
    return energies, -forces


@pytest.fixture(scope="module")
def one(molecule):
    """One worker on Reference."""
    with bridge(molecule, "Reference", workers=1).pool as pool:
        yield pool


@pytest.fixture(scope="module")
def two(molecule):
    """Two workers on Reference."""
    with bridge(molecule, "Reference", workers=2).pool as pool:
        yield pool


def processes(pool: WorkerPool) -> list[int]:
    pool.start()
    assert pool._crew is not None
    return [worker.process.pid for worker in pool._crew.workers]


def status_of(process: int | str) -> list[str]:
    """State and parent of a process, and what follows them in /proc; empty when there is none."""
    try:
        with open(f"/proc/{process}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()
    except OSError:
        return []


def alive(process: int) -> bool:
    """Whether it runs; a zombie that nobody has waited for does not."""
    return status_of(process)[:1] not in ([], ["Z"])


def children() -> set[int]:
    """Running processes that this one started."""
    numbers = [int(name) for name in os.listdir("/proc") if name.isdigit()]
    return {n for n in numbers if alive(n) and status_of(n)[1:2] == [str(os.getpid())]}


def wait_until(condition, seconds=10.0):
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.02)
    assert condition()


def test_energies_and_gradients_are_openmm_s(one, positions, expected):
    energies, gradients = one.evaluate(positions)
    np.testing.assert_allclose(energies, expected[0], rtol=1e-12)
    np.testing.assert_allclose(gradients, expected[1], rtol=1e-12, atol=1e-9)


def test_two_workers_give_the_rows_of_one_in_their_order(one, two, positions):
    assert len(set(processes(two))) == 2 and set(processes(two)) <= children()
    for rows in (60, 1, 7):
        for left, right in zip(one.evaluate(positions[:rows]), two.evaluate(positions[:rows]), strict=True):
            assert np.array_equal(left, right)
    assert two.evaluate(positions[:0])[1].shape == (0, 4, 3)


def test_cpu_platform_in_single_precision(molecule, positions, expected):
    with bridge(molecule, "CPU").pool as pool:
        energies, gradients = pool.evaluate(positions)
    np.testing.assert_allclose(energies, expected[0], rtol=1e-4)
    assert np.abs(gradients - expected[1]).max() < 1e-4 * np.abs(expected[1]).max()


def test_autograd_and_dtypes(molecule, one, positions, expected):
    potential = ExternalPotential(one)
    for dtype, tolerance in ((torch.float64, 1e-12), (torch.float32, 1e-5)):
        x = torch.tensor(positions, dtype=dtype, requires_grad=True)
        energy = potential.energy(x)
        (gradient,) = torch.autograd.grad((energy * torch.arange(60)).sum(), x)
        assert energy.dtype == gradient.dtype == dtype
        np.testing.assert_allclose(
            energy.detach().numpy(), expected[0], rtol=1e-3 if tolerance > 1e-9 else 1e-12
        )
        weighted = expected[1] * np.arange(60)[:, None, None]
        assert np.abs(gradient.numpy() - weighted).max() < 100 * tolerance * np.abs(weighted).max()
    x = torch.tensor(positions[:1], requires_grad=True)
    (gradient,) = torch.autograd.grad(potential.energy(x).sum(), x, create_graph=True)
    with pytest.raises(BoltzgenError, match="first derivatives only"):
        torch.autograd.grad(gradient.square().sum(), x)


def test_bad_rows_are_nan_alone_with_no_gradient(one, positions, expected):
    x = torch.tensor(positions[:6])
    x[1], x[2, 0, 0], x[4] = torch.nan, torch.inf, 1e30
    x.requires_grad_(True)
    energy = ExternalPotential(one).energy(x)
    (gradient,) = torch.autograd.grad(energy[torch.isfinite(energy)].sum(), x)
    good = [0, 3, 5]
    np.testing.assert_allclose(energy.detach().numpy()[good], expected[0][good], rtol=1e-12)
    assert not torch.isfinite(energy[[1, 2, 4]]).any()
    assert torch.isfinite(gradient).all() and (gradient[[1, 2, 4]] == 0).all()
    np.testing.assert_allclose(gradient.numpy()[good], expected[1][good], atol=1e-9)


def test_threads_share_a_pool(two, positions, expected):
    with ThreadPoolExecutor(4) as threads:
        parts = [slice(start, start + 15) for start in range(0, 60, 15)] * 4
        for part, (energies, _) in zip(
            parts, threads.map(lambda part: two.evaluate(positions[part]), parts), strict=True
        ):
            np.testing.assert_allclose(energies, expected[0][part], rtol=1e-12)


def test_a_killed_worker_loses_its_rows_and_is_replaced(molecule, positions, expected):
    with bridge(molecule, "Reference", workers=2).pool as pool:
        victim = processes(pool)[0]
        os.kill(victim, signal.SIGKILL)
        wait_until(lambda: not alive(victim))
        energies, gradients = pool.evaluate(positions)
        lost = np.isnan(energies)
        assert lost.sum() == 8 and np.isnan(gradients[lost]).all()  # one chunk of 60 / (4 x 2) rows
        assert "died" in pool.last_failure
        np.testing.assert_allclose(energies[~lost], expected[0][~lost], rtol=1e-12)
        assert np.array_equal(pool.evaluate(positions)[0], expected[0])
        assert victim not in processes(pool)


def test_a_worker_that_keeps_dying_ends_in_an_error(molecule, positions, monkeypatch):
    with bridge(molecule, "Reference").pool as pool:
        (victim,) = processes(pool)
        monkeypatch.setattr(sys, "executable", "/bin/false")
        os.kill(victim, signal.SIGKILL)
        wait_until(lambda: not alive(victim))
        for _ in range(2):
            with pytest.raises(BoltzgenError, match=r"worker process .*exit code 1"):
                pool.evaluate(positions)
        monkeypatch.undo()
        pool.close()
        assert np.isfinite(pool.evaluate(positions)[0]).all()


def test_closing_twice_and_using_again(molecule, positions, expected):
    potential = bridge(molecule, "Reference")
    first = processes(potential.pool)
    potential.close()
    potential.close()
    wait_until(lambda: not any(map(alive, first)))
    np.testing.assert_allclose(potential.energy(torch.tensor(positions)), expected[0], rtol=1e-12)
    second = processes(potential.pool)
    assert set(second).isdisjoint(first)
    del potential
    wait_until(lambda: not any(map(alive, second)))


def test_closing_amid_an_evaluation_ends_it(molecule, positions):
    pool = bridge(molecule, "Reference").pool
    processes(pool)
    crew, many = pool._crew, np.tile(positions, (3000, 1, 1))

    def close_when_busy():
        wait_until(crew.idle.empty)
        pool.close()

    closer = threading.Thread(target=close_when_busy)
    closer.start()
    with pytest.raises(BoltzgenError, match="closed"):
        pool.evaluate(many)
    closer.join()


def test_an_interrupt_leaves_the_conversations_whole(two, positions, expected, no_collection, interruptible):
    before, many = processes(two), np.tile(positions, (3000, 1, 1))

    def interrupt_when_busy():
        wait_until(two._crew.idle.empty)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt_when_busy)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        two.evaluate(many)
    thread.join()
    assert np.array_equal(two.evaluate(positions)[0], expected[0])
    assert processes(two) == before


def test_a_forked_child_gets_workers_of_its_own(two, positions, expected):
    before = processes(two)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            ours = np.array_equal(two.evaluate(positions)[0], expected[0])
            code = 0 if ours and set(processes(two)).isdisjoint(before) else 2
            two.close()
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert np.array_equal(two.evaluate(positions)[0], expected[0])
    assert processes(two) == before


def test_workers_vanish_with_a_killed_parent(molecule, tmp_path):
    molecule.save(tmp_path / "SYS")
    program = (
        "import sys, time; from boltzgen.system.molecular_system import MolecularSystem;"
        "from boltzgen.potentials.from_openmm.bridge import bridge;"
        "pool = bridge(MolecularSystem.load(sys.argv[1]), 'Reference', 2).pool; pool.start();"
        "print(*[worker.process.pid for worker in pool._crew.workers], flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", program, tmp_path / "SYS"], stdout=subprocess.PIPE)
    workers = [int(word) for word in parent.stdout.readline().split()]
    assert len(workers) == 2 and all(map(alive, workers))
    parent.kill()
    parent.wait()
    parent.stdout.close()
    wait_until(lambda: not any(map(alive, workers)), seconds=5)


def test_what_cannot_start_says_so_in_a_sentence(molecule):
    with pytest.raises(InputError, match=r"no platform 'Abacus' here, only .*Reference.*`platform`"):
        bridge(molecule, "Abacus").pool.start()
    with pytest.raises(InputError, match="knows no potential 'tarot'"):
        WorkerPool({"kind": "tarot"}, 4).start()
    broken = replace(
        molecule, system_xml=molecule.system_xml.replace("CustomManyParticleForce", "PythonForce")
    )
    spec = bridge(molecule).pool.spec | {"system": broken.system_xml}
    with pytest.raises(UnsupportedError, match="can run code"):
        WorkerPool(spec, 4).start()


def test_what_no_flow_can_sample_stays_refused(butane):
    boxed = openmm.CustomNonbondedForce("r")
    boxed.setNonbondedMethod(openmm.CustomNonbondedForce.CutoffPeriodic)
    for _ in range(4):
        boxed.addParticle([])
    with pytest.raises(UnsupportedError, match="periodic box"):
        bridge(with_force(butane, boxed))
    held = copy.deepcopy(butane.openmm_system())
    held.addConstraint(0, 1, 0.15)
    with pytest.raises(UnsupportedError, match="constraints"):
        bridge(replace(butane, system_xml=serialize_system(held)))


def test_an_external_field_is_no_target(butane):
    field = openmm.CustomExternalForce("100*max(0, r-1)^2; r=sqrt(x^2+y^2+z^2)")  # flat where the molecule is
    field.addParticle(0, [])
    anchored = replace(with_force(butane, field), energy_model=EnergyModel("bridge", "Reference"))
    assert potential_of(anchored).invariant is False
    with pytest.raises(UnsupportedError, match="moves or turns as a whole"):
        Target.from_system(anchored)
    assert potential_of(replace(anchored, system_xml=butane.system_xml)).invariant is True


def test_the_description_leaves_out_what_cannot_be_translated(butane, molecule):
    x = torch.tensor(butane.reference_positions[None] + 0.01)
    with pytest.raises(UnsupportedError, match=r"CustomManyParticleForce.*`bridge=True`"):
        potential_of(molecule)
    assert torch.equal(description_of(molecule).energy(x), potential_of(butane).energy(x))


@pytest.fixture(scope="module")
def files(molecule, tmp_path_factory):
    """system.xml with the untranslatable force and butane.pdb."""
    folder = tmp_path_factory.mktemp("files")
    _, pdb = write_butane(folder)
    (folder / "custom.xml").write_text(molecule.system_xml)
    return folder / "custom.xml", pdb


CONFIG = """\
# A molecule behind the bridge, on energies alone.
# Seconds.
system: SYS
flow: {kind: coupling, layers: 2, hidden: 8, bins: 4}
reverse_kl: {weight: 1.0, batch_size: 16}
workers: 2
optimizer: {steps: 6}
evaluation: {every: 3, samples: 20}
"""


def test_prepare_train_and_sample_behind_the_bridge(files, molecule, tmp_path, monkeypatch, capsys):
    xml, pdb = files
    words = ["prepare", str(xml), "--coordinates", str(pdb), "-o", "SYS", "--bridge", "--bridge-workers", "2"]
    monkeypatch.chdir(tmp_path)
    before = children()
    assert main([*words, "--bridge-platform", "Reference"]) == 0
    assert "OpenMM bridge (Reference)" in capsys.readouterr().out
    record = json.loads((tmp_path / "SYS" / "system.json").read_text())
    model = {"engine": "bridge", "platform": "Reference", "workers": 2, "region": None}
    assert record["energy_model"] == model
    check = record["provenance"]["translation_check"]
    assert check["bridge"] == model and check["max_relative_force_difference"] < 1e-10
    (tmp_path / "train.yaml").write_text(CONFIG)
    assert main(["train", "train.yaml", "-o", "RUN"]) == 0
    assert main(["sample", "RUN/model", "SYS", "-n", "30", "-o", "OUT"]) == 0
    assert children() == before
    stored = np.load(tmp_path / "OUT" / "samples.npz")
    import mdtraj

    x = mdtraj.load(tmp_path / "OUT" / "samples.dcd", top=tmp_path / "OUT" / "topology.pdb").xyz
    energies, _ = reference_energies(molecule.openmm_system(), x.astype(np.float64))
    kt = 8.31446261815324e-3 * 300.0
    valid = stored["valid"]
    assert valid.sum() > 5
    np.testing.assert_allclose(stored["u"][valid], energies[valid] / kt, rtol=1e-3, atol=1e-2)


def test_conformations_beyond_a_card_s_range_can_be_left_out(molecule, one):
    potential = ExternalPotential(one)
    force = reference_energies(molecule.openmm_system(), perturbed(molecule, 10, 1))[1]
    largest = np.sort(np.abs(force).max(axis=(1, 2)))
    found = check_against_reference(molecule, potential, largest_force=largest[6])
    assert found["conformations"] == 7 < len(largest)
    with pytest.raises(InputError, match="overlap"):
        check_against_reference(molecule, potential, largest_force=0.5 * largest[0])


def test_prepare_checks_the_options_of_the_bridge(files):
    xml, pdb = files
    words = ["prepare", xml, "--coordinates", pdb, "--check"]
    assert_refused([*words, "--bridge-platform", "CPU"], "--bridge-platform CPU goes with --bridge")
    assert_refused([*words, "--bridge-workers", "2"], "--bridge-workers 2")
    assert_refused([*words, "--bridge", "--bridge-workers", "0"], "--bridge-workers 0")
    assert_refused([*words, "--bridge", "--bridge-platform", "CPUU"], "no platform 'CPUU' here", "Reference")
