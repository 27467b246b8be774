"""What several test modules need: the command line, what a refusal is, and flows far from their start."""

from __future__ import annotations

import math
import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from command_server import CommandServer

from boltzgen.errors import InputError
from boltzgen.flows import compiled_steps
from boltzgen.flows.base import Flow
from boltzgen.interrupts import StopRequest

ROOT = Path(__file__).resolve().parents[1]


class StopAt(StopRequest):
    """Requested after so many looks; `looked` is how many there were."""

    def __init__(self, looks: int) -> None:
        super().__init__()
        self.looks, self.looked = looks, 0

    @property
    def requested(self) -> bool:
        self.looked += 1
        return self.looked > self.looks


def compile_nothing(monkeypatch: pytest.MonkeyPatch, cache: Path) -> list[Callable[..., Any]]:
    """What flows would compile from now on, with `cache` as the compiler's; it stays as it was."""
    found: list[Callable[..., Any]] = []

    def fake(plain: Callable[..., Any], inputs: object, changing: object) -> Callable[..., Any]:
        found.append(plain)
        return plain

    monkeypatch.setattr("boltzgen.flows.autoregressive.can_compile", lambda device: True)
    monkeypatch.setattr(compiled_steps, "compile_operations", fake)
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(cache))
    return found


def until_first_step(process: subprocess.Popen[str]) -> list[str]:
    """What a training says up to its first step; one that ends before fails the test."""
    assert process.stderr is not None
    said = []
    for line in process.stderr:
        said.append(line)
        if line.startswith("train  "):
            return said
    raise AssertionError("".join(said))


def run_cli(
    *words: str | Path,
    cwd: Path | None = None,
    environment: Mapping[str, str] | None = None,
    timeout: float = 600,
    server: CommandServer | None = None,
) -> subprocess.CompletedProcess[str]:
    """``boltzgen WORDS`` in a process of its own (what a user meets, signals and all), or by a `server`."""
    command = ["-m", "boltzgen_cli", *map(str, words)]
    return subprocess.run(
        [sys.executable, *command] if server is None else server.words(*command),
        cwd=cwd,
        env={**os.environ, "COLUMNS": "120", **(environment or {})},
        capture_output=True,
        text=True,
        timeout=timeout,
    )


def assert_refused(words: list[str | Path], *expected: str, code: int = 2) -> str:
    """Run a command in this process; it ends with `code` and one message that holds `expected`."""
    import contextlib
    import io

    from boltzgen_cli.main import main

    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        got = main([str(word) for word in words])
    message = err.getvalue()
    assert got == code, f"exit code {got}, expected {code}: {message}"
    assert "Traceback" not in message
    told = [line for line in message.splitlines() if line.startswith("boltzgen: ")]
    assert len(told) == 1, f"expected one message, got: {message!r}"
    for word in expected:
        assert word in told[0], f"{word!r} is not in {told[0]!r}"
    return told[0]


def randomised(flow: Flow, spread: float) -> None:
    """Move every weight of `flow` by noise of standard deviation `spread`, far from where training starts."""
    generator = torch.Generator().manual_seed(11)
    with torch.no_grad():
        for parameter in flow.parameters():
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            parameter.add_((spread * noise).to(parameter.dtype))


def seeded(seed: int) -> torch.Generator:
    """A random stream."""
    return torch.Generator().manual_seed(seed)


#: A sentence that says what to do has one of these words.
REMEDY = re.compile(
    r"\b(copy|write|save|give|name|make|install|run|sample|simulate|choose|remove|delete|use|train|prepare|build|"
    r"is it|see|set|wait|ask|convert|lower|quote|cut|go on|expected|must be)\b",
    re.IGNORECASE,
)


def refusal(read: Callable[[], Any], path: Path) -> str:
    """The message of the InputError that `read` raises of the file `path`."""
    with pytest.raises(InputError) as caught:
        read()
    told = str(caught.value)
    assert str(path)[:150] in told, told
    assert "\n" not in told and len(told) < 1200, told
    assert REMEDY.search(told.replace(str(path), "")), told
    return told


def different(found: Any, golden: Any, place: str = "") -> list[str]:
    """Where `found` is not the `golden` JSON, but for rounding: keys in another order count, too."""
    if isinstance(found, dict) and isinstance(golden, dict):
        if list(found) != list(golden):
            return [f"{place}: the keys {', '.join(found)}, not {', '.join(golden)}"]
        return [one for key in found for one in different(found[key], golden[key], f"{place}/{key}")]
    if isinstance(found, list) and isinstance(golden, list) and len(found) == len(golden):
        pairs = enumerate(zip(found, golden, strict=True))
        return [one for place_in, pair in pairs for one in different(*pair, f"{place}/{place_in}")]
    if isinstance(found, float) and isinstance(golden, float):
        return (
            [] if math.isclose(found, golden, rel_tol=1e-6, abs_tol=1e-9) else [f"{place}: {found}, {golden}"]
        )
    return [] if type(found) is type(golden) and found == golden else [f"{place}: {found}, {golden}"]
