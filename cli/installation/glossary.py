"""``boltzgen glossary``: what the words of results mean."""

from __future__ import annotations

from typing import Annotated

import typer

from boltzgen_cli.terminal import console


def glossary(
    word: Annotated[
        str | None, typer.Argument(metavar="WORD", help="Such as k-hat; without one, all of them.")
    ] = None,
) -> None:
    """Explain the words of tables, figures and verdicts: k-hat, forward ESS, unfamiliarity, domain ...

    Example: boltzgen glossary k-hat
    """
    from boltzgen.workflows.installation.glossary import glossary as work

    found = work(word)
    console.result(found)
    console.key_values("", found.rows())
