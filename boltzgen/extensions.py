"""Names in a file that stand for code, ours or that of other packages: found by entry points.

A package adds one by an entry point of a group, whose name is what stands in the file and whose value is the
class that reads the settings under that name.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from importlib import import_module, metadata
from typing import Any

from boltzgen.errors import BoltzgenError, InputError


@dataclass(frozen=True)
class Extensions:
    """What can be named in one place of a file.

    Attributes
    ----------
    group: of the entry points. noun: what one of them is, for messages.
    own: name of each that comes with this package -> ``module:name``, as pyproject.toml registers them; it
        serves a clone that was never installed.
    """

    group: str
    noun: str
    own: dict[str, str]

    def known(self) -> dict[str, str]:
        """Name -> ``module:name`` of all that are installed; ours come first."""
        found = dict(self.own)
        for point in metadata.entry_points(group=self.group):
            found.setdefault(point.name, point.value)
        return found

    def load(self, name: str, key: str) -> Any:
        """What stands behind `name`, which was given under `key`.

        Raises
        ------
        InputError: there is none, or two packages bring one of this name.
        BoltzgenError: it cannot be imported.
        """
        known = self.known()
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(sorted(known))}."
            raise InputError(f"{key!r} is {name!r}: no {self.noun} of this name is installed; {hint}")
        values = {point.value for point in metadata.entry_points(group=self.group) if point.name == name}
        if len(values | {known[name]}) > 1:
            raise InputError(
                f"{key!r} is {name!r}: several packages bring a {self.noun} of this name "
                f"({', '.join(sorted(values | {known[name]}))}); uninstall all but one."
            )
        module, _, attribute = known[name].partition(":")
        try:
            return getattr(import_module(module), attribute)
        except (ImportError, AttributeError) as error:
            raise BoltzgenError(
                f"{key!r} is {name!r}: its code {known[name]} cannot be imported ({error}); install it anew."
            ) from error
