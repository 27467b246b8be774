"""The reference of keys: the settings that files hold, as `boltzgen.config.keys` reads them."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby

from markdown_words import code, plain, table

from boltzgen.config.keys import Key, keys_of
from boltzgen.flows.settings import DEFAULT_KIND, KINDS, FlowSettings
from boltzgen.training.losses.objective import LOSSES, LossSettings
from boltzgen.training.settings import TrainingSettings
from boltzgen.workflows.datasets.settings import DatasetSettings


def page() -> str:
    """The reference of keys: those of a training, of each kind of flow and further loss, of a data set."""
    text = [
        "# Keys of configurations",
        "",
        "A file holds only departures from these defaults; on the command line they are `key.sub=value`.",
        "`boltzgen config keys` prints the same.",
        "How they work together: [losses](../energy_training.md#the-losses),",
        "[flows](../flows.md), [data sets](../datasets.md).",
        "",
        *_sections("boltzgen train", keys_of(TrainingSettings)),
    ]
    for kind in (kind for kind in KINDS.own if kind != DEFAULT_KIND):
        settings = KINDS.load_subclass(kind, "flow", FlowSettings)
        text += [f"### flow of kind {kind}", "", *_rows(keys_of(settings, above="flow."))]
    for loss in (loss for loss in LOSSES.own if loss not in TrainingSettings.model_fields):
        settings = LOSSES.load_subclass(loss, "losses", LossSettings)
        text += [f"### losses.{loss}", "", *_rows(keys_of(settings, above=f"losses.{loss}."))]
    text += _sections("boltzgen dataset build", keys_of(DatasetSettings))
    return "\n".join(text)


def _sections(title: str, keys: Iterable[Key]) -> list[str]:
    """The keys at the top, then those of each part under a heading."""
    every = list(keys)
    lines = [f"## {title}", "", *_rows(key for key in every if "." not in key.name)]
    parts = (key for key in every if "." in key.name)
    for part, inner in groupby(parts, key=lambda key: key.name.rpartition(".")[0]):
        lines += [f"### {part}", "", *_rows(inner)]
    return lines


def _rows(keys: Iterable[Key]) -> list[str]:
    rows = [(code(key.name), key.type.replace("|", "\\|"), _default(key), plain(key.meaning)) for key in keys]
    return [*table(("key", "type", "default", "meaning"), rows), ""]


def _default(key: Key) -> str:
    words = {None: "none", True: "true", False: "false", "": '""', "(needed)": "needed"}
    if isinstance(key.default, str | bool | None):
        return code(words.get(key.default, key.default))
    return code(str(key.default).replace("'", ""))
