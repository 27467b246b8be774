"""The configurations of issue 5's rows: each is valid, and names a molecule that is shipped."""

from __future__ import annotations

import pytest
from helpers import ROOT

from boltzgen.config.settings import load_settings
from boltzgen.config.shipped import shipped_configs
from boltzgen.system.examples import EXAMPLE, system_folder
from boltzgen.training.settings import TrainingSettings, evaluations_of

#: Configuration -> molecule.
ROWS = {
    "alanine-dipeptide-fab": "alanine-dipeptide-fab",
    "alanine-dipeptide-fab-energies": "alanine-dipeptide-fab",
    "alanine-dipeptide-fab-quick": "alanine-dipeptide-fab",
    "alanine-dipeptide-sbg": "alanine-dipeptide-sbg",
    "alanine-dipeptide-temperatures": "alanine-dipeptide-fab",
    "capped-tri-alanine": "capped-tri-alanine",
    "capped-penta-alanine": "capped-penta-alanine",
    "elil": "elil",
}


@pytest.mark.parametrize("name", ROWS)
def test_each_row_has_a_valid_configuration(name):
    settings = load_settings(TrainingSettings, shipped_configs()[name])
    assert settings.system == EXAMPLE + ROWS[name]
    assert (system_folder(settings.system) / "system.json").is_file()


def test_rows_on_a_card_keep_their_budgets(monkeypatch):
    """Data and training together, and most of it used; the molecules are those of the table."""
    monkeypatch.syspath_prepend(str(ROOT / "tests" / "benchmarks"))
    from card_rows import CARD_ROWS

    assert {config for config, _, _ in CARD_ROWS.values()} <= set(ROWS) and len(CARD_ROWS) >= 6
    for name, (config, most, words) in CARD_ROWS.items():
        settings = load_settings(TrainingSettings, shipped_configs()[config], words)
        data = 0 if settings.simulation is None else settings.simulation.evaluations
        judged = settings.optimizer.steps * settings.evaluation.samples / settings.evaluation.every
        spent = data + evaluations_of(settings) - judged
        assert 0.3 * most < spent <= most, (name, spent)
        assert settings.until.evaluations <= most, name


def test_no_configuration_names_an_example_that_is_not_shipped():
    for name, path in shipped_configs().items():
        if name.startswith("dataset-"):  # of `boltzgen dataset build`, see test_dataset
            continue
        system = load_settings(TrainingSettings, path).system
        for source in [system] if isinstance(system, str) else system or []:
            system_folder(source)
