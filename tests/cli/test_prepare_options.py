"""`prepare` and `run` take the same options of a molecule, and hand the same arguments on."""

from __future__ import annotations

import inspect
from dataclasses import fields

import pytest

from boltzgen.errors import InputError
from boltzgen.system.options import PrepareOptions
from boltzgen_cli.prepare import prepare
from boltzgen_cli.run import run
from boltzgen_cli.terminal.prepare_options import _CALLED, chosen

GIVEN = {
    "sequence": "GA",
    "smiles": "CCO",
    "capped": True,
    "coordinates": "a.gro",
    "include": "top",
    "forcefield": ["amber96.xml", "amber96_obc.xml"],
    "charges": "bcc",
    "implicit": "obc2",
    "surface": "lcpo",
    "radii": "mbondi2",
    "constraints": "hbonds",
    "add_hydrogens": True,
    "ph": 4.5,
    "minimize": False,
    "name": "mine",
    "free_rotation": ["acids"],
    "bridge": True,
    "bridge_platform": "CPU",
    "bridge_workers": 2,
    "ml": "gfn2",
    "ml_region": "resid 1",
    "ml_option": ["solvent=water", "charge=-1"],
}


def defaults(verb) -> dict:
    return {name: one.default for name, one in inspect.signature(verb).parameters.items()}


@pytest.mark.parametrize("verb", [prepare, run])
def test_a_verb_takes_every_option_and_leaves_out_what_nobody_gave(verb):
    usual = defaults(verb)
    assert {_CALLED.get(name, name) for name in usual} >= {one.name for one in fields(PrepareOptions)}
    assert chosen(usual) == {}
    found = chosen(usual | GIVEN)
    expected = {_CALLED.get(name, name): value for name, value in GIVEN.items()}
    assert found == {**expected, "ml_options": {"solvent": "water", "charge": "-1"}}
    assert set(found) == {one.name for one in fields(PrepareOptions)}
    for name, value in GIVEN.items():
        assert set(chosen(usual | {name: value})) == {_CALLED.get(name, name)}
    assert {name: usual[name] for name in GIVEN} == {name: defaults(prepare)[name] for name in GIVEN}


def test_words_for_a_backend_are_read_once_for_both():
    with pytest.raises(InputError, match="not of the form key=value"):
        chosen({"ml_option": ["water"]})
