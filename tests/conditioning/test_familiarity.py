"""How far a molecule lies from those of the training: zero for them, and more the stranger it is."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from molecules import from_smiles, relabelled
from safetensors.torch import save_file

from boltzgen.conditioning.familiarity import (
    ELEMENT_PENALTY,
    SIZE_PENALTY,
    TEMPERATURE_PENALTY,
    Familiarity,
    Seen,
    atomic_numbers,
    familiarity,
    surroundings,
)
from boltzgen.conditioning.features import ORDER, placed_atoms
from boltzgen.config.build import build_flow
from boltzgen.config.model import load_model, save_model
from boltzgen.errors import InputError
from boltzgen.flows.coupling import CouplingSettings
from boltzgen.generator import Target

FLOW = CouplingSettings(layers=1, hidden=8, bins=4, embedding=8, encoder_blocks=1)
SMILES = {"propane": "CCC", "butane": "CCCC", "ethanol": "CCO", "propanol": "CCCO", "chloride": "CCCl"}


@pytest.fixture(scope="module")
def molecules():
    """Bonded-only molecules, prepared once."""
    return {name: from_smiles(text) for name, text in SMILES.items()}


@pytest.fixture(scope="module")
def features(molecules):
    return {name: Target.from_system(system).features for name, system in molecules.items()}


@pytest.fixture(scope="module")
def seen(features) -> Seen:
    return Seen.of([features["propane"], features["butane"], features["ethanol"]], [300.0, 450.0])


def test_what_was_trained_on_is_familiar_and_new_molecules_are_not(seen, features):
    for name in ("propane", "butane", "ethanol"):
        found = familiarity(seen, features[name], temperatures=[333.0])
        assert found.score == 0.0 and found.reasons == ()
    alcohol, chloride = (familiarity(seen, features[name]) for name in ("propanol", "chloride"))
    assert 0.0 < alcohol.score < chloride.score
    assert chloride.new_elements == (17,)
    assert chloride.reasons[0] == "element Cl was in no training molecule"
    assert "surroundings" in chloride.reasons[1]


def test_the_record_says_what_was_there(seen, molecules):
    sizes = [molecules[name].n_atoms for name in ("propane", "butane", "ethanol")]
    assert seen.elements == (1, 6, 8)
    assert seen.atoms == (min(sizes), max(sizes))
    assert seen.coordinates == (3 * min(sizes) - 6, 3 * max(sizes) - 6)
    assert seen.temperatures == (300.0, 450.0) and seen.molecules == 3


def test_the_parts_add_up(seen, features):
    """Size and temperature against closed forms; the score is their sum with the strangeness."""
    small = Seen.of([features["propane"]], [300.0, 450.0])
    found = familiarity(small, features["chloride"], temperatures=[600.0])
    size = familiarity(small, features["butane"])
    assert size.size_excess == pytest.approx(np.log(14 / 11))
    assert "14 atoms; the largest training molecule had 11" in size.reasons
    assert found.size_excess == 0.0 and found.coordinates == 18
    assert found.temperature_excess == pytest.approx(np.log(600 / 450))
    assert found.reasons[-1] == "600 K lies outside the 300 to 450 K of the training"
    strangeness = float(found.strangeness.sum())
    assert found.score == pytest.approx(strangeness + ELEMENT_PENALTY + TEMPERATURE_PENALTY * np.log(4 / 3))
    assert size.score == pytest.approx(float(size.strangeness.sum()) + SIZE_PENALTY * np.log(14 / 11))
    assert familiarity(small, features["propane"], temperatures=[250.0]).temperature_excess == pytest.approx(
        np.log(300 / 250)
    )


@pytest.mark.parametrize("name", ["propanol", "chloride"])
def test_the_score_does_not_depend_on_the_labels_of_the_atoms(seen, molecules, features, name):
    system = molecules[name]
    order = np.random.default_rng(4).permutation(system.n_atoms)
    turned = Target.from_system(replace(relabelled(system, order), name="another"))
    one, other = familiarity(seen, features[name]), familiarity(seen, turned.features)
    assert other.score == pytest.approx(one.score, abs=1e-6)
    assert torch.allclose(one.strangeness.sort()[0], other.strangeness.sort()[0], atol=1e-6)
    twice = Seen.of([turned.features, features["propane"]], [300.0])
    assert familiarity(twice, features[name]).score == 0.0


def test_the_order_waves_do_not_count(features):
    tokens = features["propanol"].tokens.clone()
    tokens[:, ORDER.start : ORDER.stop] += 7.0
    one, other = (surroundings(replace(features["propanol"], tokens=t)) for t in (tokens, tokens - 7.0))
    assert torch.equal(surroundings(features["propanol"]), one)
    assert (one - other).abs().min() > 1.0


def test_other_parameters_of_a_force_field_are_noticed(seen, features):
    """The same graph with other charges is another molecule to the flow, and to the score."""
    propane = features["propane"]
    column = 7 + 8 + 11 + 1  # kinds, own features, elements, log-mass: then the charge of the placed atom
    scores = []
    for charge in (0.0, 0.2, 0.4):
        tokens = propane.tokens.clone()
        tokens[:, column] += charge
        scores.append(familiarity(seen, replace(propane, tokens=tokens)).score)
    assert scores[0] == 0.0 < scores[1] < scores[2]


def test_atoms_are_named_by_their_index_in_the_molecule(molecules):
    system = molecules["chloride"]
    order = np.random.default_rng(9).permutation(system.n_atoms)
    target = Target.from_system(relabelled(system, order))
    atoms = placed_atoms(target.coordinates.table)
    numbers = np.asarray(relabelled(system, order).atomic_numbers)
    assert sorted(atoms) == list(range(system.n_atoms))
    assert atomic_numbers(target.features) == numbers[atoms].tolist()
    known = Seen.of([Target.from_system(molecules["propane"]).features], [300.0])
    found = target.familiarity(known, [300.0])
    (sentence,) = found.reasons[1:]
    assert found.reasons == familiarity(known, target.features, atoms=atoms).reasons
    assert found.score == familiarity(known, target.features).score and target.familiarity(None, []) is None
    named = re.findall(r"(\d+) \((\w+)\)", sentence)
    symbols = {1: "H", 6: "C", 17: "Cl"}
    assert len(named) == 3 and all(symbols[numbers[int(atom)]] == symbol for atom, symbol in named)
    assert {symbol for _, symbol in named} == {"C", "H"} and sentence.endswith("counted from 0")


def test_a_large_training_set_is_thinned_without_forgetting(features):
    trained = [features[name] for name in ("propane", "butane", "ethanol", "chloride")]
    whole = Seen.of(trained, [300.0])
    thin = Seen.of(trained, [300.0], largest=20)
    backwards = Seen.of(trained[::-1], [300.0], largest=20)
    assert len(thin.surroundings) == 20 < len(whole.surroundings)
    assert thin.radius > whole.radius == 0.0
    assert torch.equal(thin.surroundings, backwards.surroundings) and thin.radius == backwards.radius
    assert max(familiarity(thin, molecule).score for molecule in trained) == 0.0
    assert familiarity(thin, features["propanol"]).score <= familiarity(whole, features["propanol"]).score
    others = torch.cdist(whole.surroundings.double() / 100, thin.surroundings.double() / 100).min(dim=1)[0]
    assert float(others.max()) == pytest.approx(thin.radius, abs=0.02)


def test_model_systems_are_compared_too():
    well, other = (Target.from_model(name).features for name in ("double-well", "many-well-32"))
    known = Seen.of([well], [300.0])
    assert familiarity(known, well).score == 0.0
    assert isinstance(familiarity(known, other), Familiarity)


def test_the_record_travels_with_the_model(seen, features, tmp_path):
    flow = build_flow(FLOW, seed=3)
    record = {
        "flow": FLOW.model_dump(mode="json"),
        "n_features": features["propane"].tokens.shape[1],
        "isomers": "reference",
        "temperature_K": 300.0,
        "temperatures_K": [300.0],
        "systems": [],
    }
    save_model(tmp_path, flow, record, seen)
    back = load_model(tmp_path).seen
    assert back is not None
    scores = [familiarity(known, features["propanol"]).score for known in (seen, back)]
    assert scores[0] == scores[1] > 0
    assert (back.atoms, back.coordinates) == (seen.atoms, seen.coordinates)
    assert (back.temperatures, back.molecules, back.elements) == ((300.0, 450.0), 3, (1, 6, 8))
    assert (tmp_path / "seen.safetensors").stat().st_size < 2e6
    save_file({"other": torch.zeros(2)}, str(tmp_path / "seen.safetensors"))
    with pytest.raises(InputError, match=r"seen\.safetensors: cannot be read as the file that was written"):
        load_model(tmp_path)
    written = json.loads((tmp_path / "model.json").read_text())  # of before there were hashes
    old = {key: value for key, value in written.items() if key not in ("files", "content_sha256")}
    (tmp_path / "model.json").write_text(json.dumps(old))
    with pytest.raises(InputError, match=r"seen\.safetensors: not a record of training molecules"):
        load_model(tmp_path)
    save_model(tmp_path, flow, record)
    assert load_model(tmp_path).seen is None


def test_sample_warns_on_an_unseen_molecule_alone(molecules, tmp_path, capsys, monkeypatch):
    from boltzgen.workflows.sampling.sample import sample
    from boltzgen.workflows.training.train import train
    from boltzgen_cli.main import main

    config = tmp_path / "tiny.yaml"
    settings = {
        "flow": FLOW.model_dump(mode="json"),
        "optimizer": {"steps": 1},
        "likelihood": {"weight": 0.0},
        "reverse_kl": {"weight": 1.0, "batch_size": 4},
        "evaluation": {"samples": 4},
    }
    for name in ("propane", "chloride"):
        molecules[name].save(tmp_path / name)
    config.write_text(json.dumps({"system": str(tmp_path / "propane"), **settings}))
    train(config, run_folder=tmp_path / "RUN")
    known = sample(tmp_path / "RUN", tmp_path / "propane", tmp_path / "KNOWN", 20)
    new = sample(tmp_path / "RUN", tmp_path / "chloride", tmp_path / "NEW", 20)
    assert "unfamiliarity" not in known.to_json() and not any("trained on" in why for why in known.reasons)
    assert new.unfamiliarity > 50
    first = next(k for k, reason in enumerate(new.reasons) if "not trained on this system" in reason)
    assert new.reasons[first + 1] == "element Cl was in no training molecule"
    manifest = json.loads((tmp_path / "NEW" / "manifest.json").read_text())
    assert manifest["provenance"]["familiarity"]["score"] == new.unfamiliarity
    monkeypatch.setattr("boltzgen_cli.sample.ENOUGH", 1.0)
    remedy = f"boltzgen adapt {tmp_path / 'RUN'} {tmp_path / 'chloride'} -o ADAPTED"
    for name, new_to_it in (("propane", False), ("chloride", True)):
        words = ["sample", str(tmp_path / "RUN"), str(tmp_path / name), "-n", "500"]
        assert main([*words, "-o", str(tmp_path / f"OUT-{name}")]) == 0
        told = capsys.readouterr()
        assert (remedy in told.err.replace("\n", " ")) == new_to_it
    words = ["sample", str(tmp_path / "RUN"), str(tmp_path / "chloride"), "-n", "200", "--temperature", "310"]
    assert main([*words, "-o", str(tmp_path / "WARM")]) == 0
    assert f"{remedy} --temperature 310" in capsys.readouterr().err.replace("\n", " ")
    proposals = [390.0, 330.0]
    for name, asked, most in (("HOT", {}, 450.0), ("PROPOSED", {"proposal_temperatures": proposals}, 390.0)):
        found = sample(
            tmp_path / "RUN", tmp_path / "chloride", tmp_path / name, 20, temperature=450.0, **asked
        )
        expected = new.unfamiliarity + TEMPERATURE_PENALTY * np.log(most / 300.0)
        assert found.unfamiliarity == pytest.approx(expected)  # where the flow is asked counts
        for kelvin in (450.0, *(proposals if asked else ())):
            told = [reason for reason in found.reasons if f"{kelvin:g} K lies outside" in reason]
            assert told == [f"{kelvin:g} K lies outside the 300 to 300 K of the training"]
    (tmp_path / "RUN" / "model" / "seen.safetensors").unlink()
    old = sample(tmp_path / "RUN", tmp_path / "chloride", tmp_path / "OLD", 20)
    assert "the model was not trained on this system" in old.reasons and "unfamiliarity" not in old.to_json()
