"""The lock with hashes is constraints.txt, line by line; `lock.py` refuses to write another."""

from __future__ import annotations

import copy
import re

import lock
import pytest
from licences import ROOT, pins


def test_the_lock_names_every_package_with_its_version_and_a_hash():
    lines = [line for line in lock.LOCK.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    found = [re.fullmatch(r"([\w.-]+)==(\S+) --hash=sha256:([0-9a-f]{64})", line) for line in lines]
    assert all(found), "a line without a hash"
    again = "run tests/installation/lock.py with Python 3.11"
    assert {one[1]: one[2] for one in found} == pins() and len(found) == len(pins()), again
    assert len({one[3] for one in found}) == len(found)
    told = (ROOT / "docs" / "installation.md").read_text(encoding="utf-8")
    assert f"--require-hashes --no-deps -r {lock.LOCK.name}" in told


def reported() -> dict:
    """What pip would say of the packages of constraints.txt."""
    return {
        "install": [
            {
                "metadata": {"name": name.upper(), "version": version + ("+cpu" if name == "torch" else "")},
                "download_info": {"archive_info": {"hashes": {"sha256": f"{place:064x}"}}},
            }
            for place, (name, version) in enumerate(reversed(pins().items()))
        ]
    }


def test_what_pip_says_is_written_in_the_order_of_the_constraints():
    lines = lock.text(reported()).removeprefix(lock.HEAD).splitlines()
    assert [line.split("==")[0] for line in lines] == list(pins())
    assert lines[-1].endswith(f"--hash=sha256:{0:064x}") and "+cpu" not in "".join(lines)


def test_another_version_and_a_missing_package_are_refused():
    other = copy.deepcopy(reported())
    other["install"][3]["metadata"]["version"] = "0.0.1"
    with pytest.raises(ValueError, match=r"pip chose .* 0\.0\.1; constraints\.txt has"):
        lock.text(other)
    short = reported()
    short["install"].pop()
    with pytest.raises(ValueError, match=f"no file of {next(iter(pins()))}"):
        lock.text(short)
