"""What figures say that an ensemble is of: from the manifest, from the prepared system, from the topology."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
from ensemble_cases import make
from helpers import ROOT

from boltzgen.report.axes import Subject
from boltzgen.system.examples import system_folder
from boltzgen.workflows.subjects import subject_of_ensemble, subject_of_pair, words_of


def of(provenance, **more):
    return subject_of_ensemble(replace(make(), provenance=provenance, **more))


def test_the_manifest_is_believed_first():
    words = {"molecule": "KG", "force_field": "ff14SB, OBC1"}
    assert of({"subject": words, "system": "example:elil"}, temperature=310.0) == Subject(
        **words, temperature=310.0
    )


def test_older_folders_name_their_system(tmp_path):
    shutil.copytree(system_folder("example:elil"), tmp_path / "SYS")
    out = tmp_path / "runs" / "OUT"
    out.mkdir(parents=True)
    expected = Subject("elil", "ff99SB-ILDN, OBC", 300.0)
    assert of({"system": "example:elil"}, temperature=300.0) == expected
    assert of({"system": str(tmp_path / "SYS")}, temperature=300.0) == expected
    seen_from_out = replace(make(), provenance={"system": "SYS"}, temperature=300.0)
    assert subject_of_ensemble(seen_from_out, out) == expected


def test_what_cannot_be_found_leaves_the_residues(tmp_path):
    pdb = (ROOT / "boltzgen" / "examples" / "elil" / "topology.pdb").read_text(encoding="utf-8")
    for system in ("nowhere", "example:nothing", None, 3, ["SYS"]):
        found = of({"system": system}, temperature=300.0, topology_pdb=pdb)
        assert found == Subject("GLU-LEU-ILE-LEU", "", 300.0)
    (tmp_path / "system.json").write_text(json.dumps({"provenance": 3}))
    assert of({"system": str(tmp_path)}, temperature=300.0, topology_pdb=pdb).temperature == 300.0


def test_a_model_system():
    assert words_of("model:double-well", None) == {"molecule": "double-well", "force_field": "energies in kT"}
    found = of({"system": "model:double-well"}, temperature=None)
    assert found.line() == "double-well · energies in kT"


def test_a_comparison_says_what_differs():
    a, b = Subject("KG", "ff14SB, vacuum", 300.0), Subject("KG", "ff14SB, OBC1", 300.0)
    assert subject_of_pair(a, b, 300.0).line() == "KG · ff14SB, vacuum → ff14SB, OBC1 · 300 K"
    hot = Subject("KG", "ff14SB, vacuum", 450.0)
    assert subject_of_pair(a, hot, None).line() == "KG · ff14SB, vacuum · 300 K → 450 K"
    assert np.unique([subject_of_pair(a, a, 300.0).line(), a.line()]).size == 1


def test_samples_carry_the_words_and_reweighting_takes_those_of_the_new_target(tmp_path):
    from between_cases import untrained_model

    from boltzgen.workflows.sampling.reweight import reweight
    from boltzgen.workflows.sampling.sample import sample

    out, new = tmp_path / "OUT", tmp_path / "NEW"
    sample(untrained_model(tmp_path / "MODEL"), "model:harmonic-well-1", out, 60)
    reweight(out, new, to="model:harmonic-well-2")
    found = [
        json.loads((folder / "manifest.json").read_text())["provenance"]["subject"] for folder in (out, new)
    ]
    assert [one["molecule"] for one in found] == ["harmonic-well-1", "harmonic-well-2"]
