"""A coverage record found later, put into the OUT folder of an ensemble that is already there.

Samples are not written again: their files keep the hashes that the manifest holds.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from boltzgen.ensemble.ensemble import Ensemble
from boltzgen.ensemble.manifest import read_manifest
from boltzgen.ensemble.store import summary
from boltzgen.files import write_json


def store_coverage(
    folder: str | os.PathLike[str], ensemble: Ensemble, coverage: dict[str, Any] | None
) -> dict[str, Any]:
    """Write `coverage` into the manifest of `folder`, which holds `ensemble`; the new ``summary.json``.

    The manifest is written last: until then the old record stands.
    """
    out = Path(folder)
    found = summary(replace(ensemble, coverage=coverage))
    manifest = read_manifest(out)
    write_json(out / "summary.json", found)
    write_json(out / "manifest.json", {**manifest, "coverage": coverage})  # which the hash does not cover
    return found
