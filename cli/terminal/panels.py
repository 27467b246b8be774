"""The help of a verb with its options in sections, where some of them belong together."""

from __future__ import annotations

from typing import Any

from typer.core import TyperCommand


class PanelledCommand(TyperCommand):
    """A command whose help shows the options of each ``rich_help_panel`` under that heading, after its own.

    Typer does so with Rich alone, which `Verbs` does without.
    """

    def format_options(self, ctx: Any, formatter: Any) -> None:
        sections: dict[str, list[tuple[str, str]]] = {"Arguments": [], "Options": []}
        for parameter in self.get_params(ctx):
            shown = parameter.get_help_record(ctx)
            usual = "Arguments" if parameter.param_type_name == "argument" else "Options"
            if shown is not None:
                panel = getattr(parameter, "rich_help_panel", None) or usual
                sections.setdefault(panel, []).append(shown)
        for heading, rows in sections.items():
            if rows:
                with formatter.section(heading):
                    formatter.write_dl(rows)
