"""``boltzgen config``: the configurations that are shipped, their keys, and what a file would do."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from boltzgen_cli.terminal import console
from boltzgen_cli.terminal.common import Verbs

app = Verbs(no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def config() -> None:
    """Configurations of train and dataset build: shipped ones, their keys, and what a file would do.

    Example: boltzgen config keys optimizer
    """


@app.command("list")
def list_configurations(
    prefix: Annotated[str, typer.Argument(metavar="PREFIX", help="Those whose names begin so.")] = "",
) -> None:
    """List the shipped configurations with what each is for.

    Example: boltzgen config list
    """
    from boltzgen.workflows.configurations.listing import configurations

    found = configurations(prefix)
    console.result({"configurations": [vars(one) for one in found]})
    for verb, title in (("train", "of train"), ("build_dataset", "of dataset build")):
        rows = [(one.name, one.purpose) for one in found if one.verb == verb]
        if rows:
            console.table(title, ("name", "purpose"), rows)


@app.command("show")
def show(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A shipped configuration, or a YAML file.")],
) -> None:
    """Print a configuration, to be copied and changed.

    Example: boltzgen config show molecule
    """
    from boltzgen.workflows.configurations.listing import configuration_text

    content = configuration_text(name)
    console.result({"name": name, "text": content})
    console.text(content, end="")


@app.command("keys")
def keys(
    prefix: Annotated[
        str, typer.Argument(metavar="PREFIX", help="Keys that begin so: optimizer, reweighted.dis, ...")
    ] = "",
    dataset: Annotated[bool, typer.Option("--dataset", help="Keys of dataset build, not of train.")] = False,
    of: Annotated[
        str | None, typer.Option(metavar="CONFIG", help="With the kinds that this configuration chooses.")
    ] = None,
) -> None:
    """List keys with type, default, meaning and unit, one line each.

    Example: boltzgen config keys optimizer
    """
    from boltzgen.workflows.configurations.listing import configuration_keys

    found = configuration_keys(prefix, dataset=dataset, of=of)
    console.result({"keys": [vars(key) for key in found]})
    for key in found:
        console.text(f"{key.name}: {key.type}; {_default(key.default)}. {key.meaning}")


@app.command("check")
def check(
    config: Annotated[
        str, typer.Argument(metavar="CONFIG", help="YAML file, or the name of a shipped configuration.")
    ],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="KEY=VALUE", help="Departures from CONFIG.")
    ] = None,
) -> None:
    """Say what is wrong with a configuration, or what it will do.

    Example: boltzgen config check train.yaml system=SYS

    It is read as train (or dataset build) reads it, with its molecules and frames. Numbers that it leaves
    open are chosen for the molecule and shown; --json has all of them. Exits with 2 where something is wrong.
    """
    from boltzgen.workflows.configurations.check import check_config

    found = check_config(config, overrides or [])
    console.result(found)
    verb = "train" if found.verb == "train" else "dataset build"
    console.key_values(f"{config}: boltzgen {verb}", found.rows())
    if found.chosen:
        rows = [(name, _short(value)) for name, value in found.chosen.items()]
        console.table("chosen for this molecule and its frames", ("key", "value"), rows)
    for warning in found.warnings:
        console.finding(f"warning: {warning}")


def _default(value: Any) -> str:
    if value == "(needed)":
        return "needed"
    return "not given" if value is None else f"default {_short(value)}"


def _short(value: Any) -> str:
    text = json.dumps(value) if isinstance(value, list | dict | bool) else str(value)
    return text if len(text) <= 100 else f"{text[:97]}..."
