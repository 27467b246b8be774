"""Compiles the evaluation of one block with torch's inductor, and keeps what was compiled on disk.

The operations of a block are recorded once (with the constants of the molecule as inputs) and become C++
or, on a GPU, Triton kernels. Where that is not possible (no compiler, or one that fails) the operations
run one by one as before, and one warning says so.
"""

from __future__ import annotations

import os
import shutil
import threading
import warnings
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from boltzgen.guards import environment_kept, recursion_limit_kept, user_cache
from boltzgen.potentials.base import Potential

#: x (N, 3, b) in nm -> energy (b,) in kJ/mol and, if it was asked for, the gradient (N, 3, b) in kJ/mol/nm.
BlockFunction = Callable[[Tensor], tuple[Tensor, Tensor | None]]

#: Evaluations times rows of the widest kernel from which compiling pays for itself. On one core it saves some
#: 10 ns for each (5 us for alanine dipeptide's 462 rows) and takes 20 to 30 s the first time.
PAYS_FROM = 2e9

#: Largest relative difference, for the median row, between a compiled block and its operations one by one.
LARGEST_DIFFERENCE = {torch.float32: 1e-3, torch.float64: 1e-9}


def compiler_path() -> str | None:
    """The C++ compiler that the inductor would use (``CXX``, or g++), if it is on this machine."""
    return shutil.which(os.environ.get("CXX") or "g++")


def can_compile(device: torch.device | str) -> bool:
    """Whether a compiler for `device` is here; on a GPU torch brings its own."""
    return torch.device(device).type != "cpu" or compiler_path() is not None


def cache_folder() -> Path:
    """Where compiled energies are kept: TORCHINDUCTOR_CACHE_DIR, or boltzgen/inductor in the XDG cache."""
    chosen = os.environ.get("TORCHINDUCTOR_CACHE_DIR")
    return Path(chosen) if chosen else user_cache("inductor")


@contextmanager
def _cache_on_disk() -> Iterator[None]:
    """While it lasts, the inductor keeps its results in our folder; in its own if ours cannot be written."""
    with environment_kept(), recursion_limit_kept():  # the inductor raises it
        with suppress(OSError, RuntimeError):  # there may be no home
            folder = cache_folder()
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(folder)
        yield


@cache
def _warn(reason: str, what: str = "Energies") -> None:
    """Once for each reason."""
    warnings.warn(f"{what} are computed without compilation: {reason}.", stacklevel=2)


_ONE_AT_A_TIME = threading.Lock()


class BlockCompiler:
    """Compiled versions of one block function each for dtype, device and what is asked of it."""

    def __init__(self) -> None:
        self._functions: dict[Hashable, BlockFunction | None] = {}

    @property
    def active(self) -> bool:
        """Whether anything has been compiled."""
        return any(function is not None for function in self._functions.values())

    def function(self, key: Hashable, plain: BlockFunction, x: Tensor) -> BlockFunction | None:
        """`plain` compiled for blocks of the shape, dtype and device of `x`; None if that cannot be done.

        `x` is a block of conformations, on which both versions must agree. Compiles at most once for each
        `key`.
        """
        if key not in self._functions:
            with _ONE_AT_A_TIME:
                if key not in self._functions:
                    self._functions[key] = _compile(plain, x)
        return self._functions[key]


def _compile(plain: BlockFunction, x: Tensor) -> BlockFunction | None:
    if not can_compile(x.device):
        _warn("there is no C++ compiler here (g++, or CXX); install g++ to be about twice as fast")
        return None
    try:
        expected = plain(x)
        with _cache_on_disk(), torch.inference_mode(False), torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about parts of torch that the inductor itself uses
            compiled = _by_inductor(plain, x.clone())
            found = compiled(x.clone())
        difference = _difference(expected, found)
    except Exception as error:  # noqa: BLE001  (whatever a compiler can fail with, energies go on)
        _warn(_failure(error))
        return None
    if not difference <= LARGEST_DIFFERENCE[x.dtype]:
        _warn(f"the compiled energies differ from the others by {difference:.1e} (relative)")
        return None
    return compiled


def _by_inductor(plain: BlockFunction, x: Tensor) -> BlockFunction:
    """Record the operations of ``plain(x)`` and compile them; no guards, no checks at run time.

    `torch.compile` would trace the Python code instead, and compare some hundred constants before each
    call: a fifth of the time of a block. The fake mode is what lets the inductor use its cache on disk.
    """
    from torch._subclasses import FakeTensorMode
    from torch.fx.experimental.proxy_tensor import make_fx
    from torch.fx.experimental.symbolic_shapes import ShapeEnv

    compiled = _by_inductor_in(FakeTensorMode(shape_env=ShapeEnv()), make_fx(plain)(x), [x])

    def function(block: Tensor) -> tuple[Tensor, Tensor | None]:
        energy, *slopes = compiled(block)
        return energy, slopes[0] if slopes else None

    return function


def _by_inductor_in(mode: Any, graph: Any, inputs: list[Any]) -> Callable[..., Sequence[Tensor]]:
    """A recorded `graph` compiled, in the fake `mode` that knows the sizes of `inputs`."""
    import torch._inductor
    from torch._guards import TracingContext, tracing

    options = {"compile_threads": 1, "fx_graph_cache": True, "cpp_wrapper": inputs[0].device.type == "cpu"}
    with tracing(TracingContext(mode)):
        compiled: Callable[..., Sequence[Tensor]] = torch._inductor.compile(graph, inputs, options=options)
    return compiled


def compile_operations(
    plain: Callable[..., Sequence[Tensor]], inputs: Sequence[Tensor], changing: Sequence[Sequence[int]]
) -> Callable[..., Sequence[Tensor]] | None:
    """``plain(*inputs)`` compiled; None, with one warning, if that cannot be done.

    Parameters
    ----------
    inputs: contiguous; what both versions must agree on. No size that may change is 0 or 1, here or later.
    changing: for each input its dimensions whose size may change from call to call.
    """
    if not can_compile(inputs[0].device):
        _warn("there is no C++ compiler here (g++, or CXX); install g++ to draw three times as fast", "Draws")
        return None
    try:
        with _ONE_AT_A_TIME, _cache_on_disk(), torch.inference_mode(False), torch.no_grad():
            expected = plain(*inputs)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # about parts of torch that the inductor itself uses
                compiled = _with_changing_sizes(plain, inputs, changing)
                found = compiled(*inputs)
    except Exception as error:  # noqa: BLE001  (whatever a compiler can fail with, draws go on)
        _warn(_failure(error), "Draws")
        return None
    precision = min((one.dtype for one in (*inputs, *expected)), key=lambda dtype: torch.finfo(dtype).bits)
    for one, two in zip(expected, found, strict=True):
        difference = _difference((one.to(torch.float64), None), (two.to(torch.float64), None))
        if not difference <= LARGEST_DIFFERENCE[precision]:
            _warn(f"compiled draws differ from the others by {difference:.1e} (relative)", "Draws")
            return None
    return compiled


def _with_changing_sizes(
    plain: Callable[..., Sequence[Tensor]], inputs: Sequence[Tensor], changing: Sequence[Sequence[int]]
) -> Callable[..., Sequence[Tensor]]:
    from torch._subclasses import FakeTensorMode
    from torch.fx.experimental.proxy_tensor import make_fx
    from torch.fx.experimental.symbolic_shapes import DimDynamic, ShapeEnv, StatelessSymbolicContext

    sizes_of = ShapeEnv()
    mode = FakeTensorMode(shape_env=sizes_of)
    fakes = []
    for given, dimensions in zip(inputs, changing, strict=True):
        sizes = [DimDynamic.DYNAMIC if n in dimensions else DimDynamic.STATIC for n in range(given.dim())]
        context: Any = StatelessSymbolicContext(dynamic_sizes=sizes, constraint_sizes=[None] * given.dim())
        fakes.append(mode.from_tensor(given, symbolic_context=context))
    with mode:
        graph = make_fx(lambda *given: plain(*given))(*fakes)  # without the annotations of `plain`
    compiled = _by_inductor_in(mode, graph, fakes)
    if not all(size.free_symbols for size in sizes_of.replacements.values()):
        raise RuntimeError("a size that may change was taken for a constant")
    return compiled


def _failure(error: Exception) -> str:
    return f"compiling failed ({type(error).__name__}: {(str(error) or '?').splitlines()[0][:200]})"


def _difference(expected: tuple[Tensor, Tensor | None], found: tuple[Tensor, Tensor | None]) -> float:
    """Largest of the median relative differences of energies and gradients over the finite rows."""
    worst = 0.0
    for one, two in zip(expected, found, strict=True):
        if one is None or two is None:
            continue
        one, two = one.reshape(-1, one.shape[-1]), two.reshape(-1, two.shape[-1])
        size = one.abs().amax(dim=0) + 1.0
        relative = (one - two).abs().amax(dim=0) / size
        finite = relative[torch.isfinite(size)]
        worst = max(worst, float(finite.median()) if len(finite) else 0.0)
    return worst


def decide_compilation(
    potentials: Sequence[Potential], evaluations: float, asked: bool | None, device: str
) -> dict[str, Any]:
    """Switch the compilation of energies on or off; returns the decision, to be recorded.

    `asked` None: on when `evaluations` of the energy will pay for it (see `PAYS_FROM`).
    `evaluations` counts those of all potentials together.
    """
    rows = max(potential.compilable_rows for potential in potentials)
    pays = evaluations * rows / len(potentials) > PAYS_FROM
    wanted = rows > 0 and (pays if asked is None else asked)
    for potential in potentials:
        potential.use_compiler(wanted)
    return {
        "asked": {None: "auto", True: "yes", False: "no"}[asked],
        "used": wanted and can_compile(device),
        "expected_energy_evaluations": round(evaluations),
    }
