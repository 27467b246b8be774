"""Names that stand for code, ours or that of other packages: found by entry points.

A package adds one by an entry point of a group. Its name is what stands in a file or an argument; its value
is what the room that owns the group says: a class of settings (flows, losses), a factory (potentials).
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from importlib import import_module, metadata
from typing import Any

from boltzgen.errors import BoltzgenError, InputError


@dataclass(frozen=True)
class Extensions:
    """What can be named in one place.

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

    def load(self, name: str, given: str) -> Any:
        """What stands behind `name`; `given` opens the messages and says how it was given: ``ml='gfn2'``.

        Raises
        ------
        InputError: there is none, or two packages bring one of this name.
        BoltzgenError: it cannot be imported.
        """
        known = self.known()
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(sorted(known))}."
            raise InputError(f"{given}: no {self.noun} of this name is installed; {hint}")
        values = {point.value for point in metadata.entry_points(group=self.group) if point.name == name}
        if len(values | {known[name]}) > 1:
            raise InputError(
                f"{given}: several packages bring a {self.noun} of this name "
                f"({', '.join(sorted(values | {known[name]}))}); uninstall all but one."
            )
        module, _, attribute = known[name].partition(":")
        try:
            return getattr(import_module(module), attribute)
        except (ImportError, AttributeError) as error:
            raise BoltzgenError(
                f"{given}: its code {known[name]} cannot be imported ({error}); install it anew."
            ) from error

    def load_subclass(self, name: str, given: str, base: type[Any]) -> Any:
        """The subclass of `base` behind `name`, as `load`; BoltzgenError for anything else."""
        found = self.load(name, given)
        if not (isinstance(found, type) and issubclass(found, base)):
            raise BoltzgenError(
                f"{given}: its package registers {found!r}, no subclass of {base.__name__}; "
                "report this to its authors."
            )
        return found
