"""Many options of a verb as one frozen record, and still as keyword arguments."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from typing import Any, TypeVar

Verb = TypeVar("Verb", bound=Callable[..., Any])


def takes(record: type[Any]) -> Callable[[Verb], Verb]:
    """Put the fields of the dataclass `record` into the signature of a verb that takes them as ``**options``.

    ``help()`` and a notebook then show names and defaults; nothing else of the verb changes.
    """

    def shown(verb: Verb) -> Verb:
        signature = inspect.signature(verb)
        own = [p for p in signature.parameters.values() if p.kind is not inspect.Parameter.VAR_KEYWORD]
        further = [
            inspect.Parameter(
                field.name,
                inspect.Parameter.KEYWORD_ONLY,
                default=_default(field),
                annotation=field.type,
            )
            for field in dataclasses.fields(record)
        ]
        verb.__signature__ = signature.replace(parameters=[*own, *further])  # type: ignore[attr-defined]
        return verb

    return shown


def _default(field: dataclasses.Field[Any]) -> Any:
    factory = field.default_factory
    return field.default if factory is dataclasses.MISSING else factory()
