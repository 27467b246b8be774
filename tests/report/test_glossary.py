"""The glossary: one text for documentation, terminal and Python, which knows the words that results use."""

from __future__ import annotations

import pytest
from helpers import ROOT

import boltzgen as bg
from boltzgen.errors import InputError
from boltzgen.report.glossary import markdown, meaning, words
from boltzgen_cli.main import main


def test_the_page_is_this_text():
    page = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
    assert page == markdown(), (
        "write it anew: python -c 'import boltzgen.report.glossary as g; print(g.markdown())'"
    )
    assert len(page.splitlines()) < 60 and len(page.split()) < 900  # two screens


@pytest.mark.parametrize(
    "word",
    [
        *(
            "k-hat",
            "forward ESS",
            "unfamiliarity",
            "domain",
            "verdict",
            "coverage",
            "probe",
            "effective sample size",
        ),
        *(
            "likelihood",
            "reverse KL",
            "reweighted",
            "log-dispersion",
            "95 % interval",
            "population",
            "kT",
            "overlap",
        ),
    ],
)
def test_words_of_results_are_known(word):
    assert len(words()[word]) > 40 and words()[word].endswith(".")


def test_a_word_is_found_however_it_is_written():
    for asked in ("k-hat", "K hat", "khat", "k_hat"):
        assert list(meaning(asked)) == ["k-hat"]
    assert next(iter(meaning("ess"))) == "effective sample size"
    assert set(meaning("kl")) == {"reverse KL"}
    with pytest.raises(InputError, match="did you mean 'unfamiliarity'"):
        meaning("unfamilarity")
    for nothing in ("", "  ", "-"):
        with pytest.raises(InputError, match="no "):
            meaning(nothing)


def test_the_terminal_and_python(capsys):
    assert main(["glossary", "k-hat"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert words()["k-hat"][:40] in shown and "domain" not in shown
    assert main(["glossary"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert all(word in shown for word in words())
    assert main(["glossary", "enthalpy"]) == 2 and "did you mean" in capsys.readouterr().err
    assert main(["--help"]) == 0 and "boltzgen glossary" in capsys.readouterr().out
    found = bg.glossary("domain")
    assert found.to_json() == {"domain": words()["domain"]} and "domain: " in repr(found)
    assert "<table>" in found._repr_html_()
