"""Writes lock-py311-linux.txt: constraints.txt with the SHA-256 of each file that pip installs here.

    python tests/installation/lock.py        # Python 3.11, Linux x86-64, CPU build of torch; a minute

pip chooses the files (`pip install --dry-run --report`) and says their hashes; nothing is installed. Of a
package that comes as source the hash is that of the source. `test_lock.py` compares it with constraints.txt.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from licences import ROOT, normal, pins

LOCK, CONSTRAINTS = ROOT / "lock-py311-linux.txt", ROOT / "constraints.txt"

HEAD = """\
# constraints.txt with hashes: Python 3.11, Linux x86-64, CPU build of torch (docs/installation.md).
# Written by tests/installation/lock.py.
"""


def text(report: dict[str, Any]) -> str:
    """The lock of what pip would install, in the order of constraints.txt.

    ValueError where pip chose another version than constraints.txt has, or no file with a hash.
    """
    lines = {}
    for one in report["install"]:
        name, version = normal(one["metadata"]["name"]), one["metadata"]["version"].split("+")[0]
        if version != pins().get(name):
            raise ValueError(f"pip chose {name} {version}; constraints.txt has {pins().get(name)}.")
        digest = one["download_info"]["archive_info"]["hashes"]["sha256"]
        lines[name] = f"{name}=={version} --hash=sha256:{digest}\n"
    missing = sorted(set(pins()) - set(lines))
    if missing:
        raise ValueError(f"pip has no file of {', '.join(missing)}.")
    return HEAD + "".join(lines[name] for name in pins())


def main() -> int:
    if sys.version_info[:2] != (3, 11):
        print("The lock is that of Python 3.11.", file=sys.stderr)
        return 2
    words = ["install", "--dry-run", "--no-deps", "--ignore-installed", "--quiet", "--report", "-"]
    done = subprocess.run(
        [sys.executable, "-m", "pip", *words, "-r", str(CONSTRAINTS)], stdout=subprocess.PIPE, check=True
    )
    LOCK.write_text(text(json.loads(done.stdout)), encoding="utf-8")
    print(f"written: {LOCK.name}, {len(pins())} packages")
    return 0


if __name__ == "__main__":
    sys.exit(main())
