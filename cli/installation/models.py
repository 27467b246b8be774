"""``boltzgen models``: the models that come with the package."""

from __future__ import annotations

from typing import Annotated

import typer

from boltzgen_cli.terminal import console


def models(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="A shipped model, to read its card.")
    ] = None,
) -> None:
    """List the shipped models with what was measured of them, or show the card of one.

    Example: boltzgen models

    Every command that takes a MODEL takes the name of one of these.
    """
    from boltzgen.workflows.installation.models import model_card, releases

    if name is not None:
        card = model_card(name)
        console.result({"name": name, "card": card})
        console.text(card)
        return
    found = releases()
    console.result({"models": [{"name": release.name, **release.summary()} for release in found]})
    if not found:
        console.message("no model is shipped with this version; train one with `boltzgen train`.")
        return
    for release in found:
        console.key_values(release.name, release.summary())
