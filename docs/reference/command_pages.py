"""The reference of commands: what ``--help`` says of every verb, from the Typer application itself."""

from __future__ import annotations

import inspect
import re
import textwrap

import typer.main
from markdown_words import code, plain, table

from boltzgen_cli.main import app


def page() -> str:
    """The reference of commands, one section each."""
    text = [
        "# Commands",
        "",
        "What `boltzgen COMMAND --help` prints, of every command. What they have in common (exit codes,",
        "stopping and going on) and their longer stories are in [Commands in detail](../commands.md).",
        "",
    ]
    for name, command in _commands(typer.main.get_command(app), "boltzgen"):
        text += [f"## {name}", "", *_command(name, command)]
    return "\n".join(text)


def _commands(group, name):
    """Every command with its full name; a group's own commands in its place."""
    for word, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _commands(command, f"{name} {word}")
        elif not command.hidden:
            yield f"{name} {word}", command


def _command(name, command):
    """Help, usage, and a table of arguments and options."""
    context = command.context_class(command, info_name=name)
    yield from _help(command.help or "")
    yield from ["```text", " ".join([name, *command.collect_usage_pieces(context)]), "```", ""]
    records = [parameter.get_help_record(context) for parameter in command.params if not parameter.hidden]
    yield from table(
        ("argument or option", "meaning"), [(code(names), plain(text)) for names, text in records]
    )
    yield ""


def _help(text):
    """The paragraphs of a help text; examples and blocks that keep their lines as code."""
    joined = re.sub(r"\n\n(?=boltzgen )", "\n", inspect.cleandoc(text))
    for paragraph in joined.split("\n\n"):
        words = re.sub(r"^Examples?:\s*", "", paragraph)
        if words.startswith("\b"):
            yield from ["```yaml", textwrap.dedent(words[1:].strip("\n")), "```", ""]
        elif words.startswith("boltzgen "):
            yield from ["```console", *(f"$ {line.strip()}" for line in words.splitlines()), "```", ""]
        else:
            yield from [plain(paragraph), ""]
