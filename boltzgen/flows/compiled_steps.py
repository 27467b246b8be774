"""The steps of a draw compiled, once for a kind of network, and kept on disk as compiled energies are.

What is compiled knows the sizes of the network and how an atom is placed, but no molecule, no number of rows
and no number of placed atoms: it serves all. Both functions fall back on their operations one by one where
that cannot be done, and for the few atoms that lack references.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from boltzgen.conditioning.context import Context, MoleculeFeatures
from boltzgen.flows import autoregressive_geometry as geometry
from boltzgen.flows.autoregressive_geometry import Atom
from boltzgen.flows.autoregressive_steps import Drawn, Layer, Shape, Turn, Whitening, draw_atom, draw_turns
from boltzgen.flows.base import Flow
from boltzgen.interrupts import StopRequest
from boltzgen.potentials.fast.compiled import cache_folder, compile_operations

#: Rows and placed atoms of what is compiled by; sizes of which nothing depends in the result.
EXAMPLE_ROWS, EXAMPLE_ATOMS = 48, 7

#: References of an atom whose step is compiled: all but the first three of a molecule.
REFERENCES = 3

#: Atoms times passes from which compiling pays for itself: it saves some two milliseconds of a core for each,
#: however many rows a pass has, and takes a minute the first time on a machine (then four seconds a process).
PAYS_FROM = 30_000

#: Seconds of an idle core that compiling saves for each atom of each pass; that it takes for one step the
#: first time on a machine, of three or so that draws of a molecule need and eight that chains do; and for one
#: that was compiled here before.
SAVED, FIRST_TIME, FROM_DISK = 2e-3, 12.0, 1.0

_Function = Callable[..., Sequence[Tensor]]

#: By what they were compiled for; None where it could not be done.
_FUNCTIONS: dict[Hashable, _Function | None] = {}
_ONE_AT_A_TIME = threading.Lock()


@dataclass(frozen=True)
class Step:
    """A step that is not compiled yet."""

    key: Hashable
    compile: Callable[[], object]

    @property
    def seconds(self) -> float:
        """Wall seconds on an idle core in which it is."""
        return FROM_DISK if _mark(self.key).exists() else FIRST_TIME


#: Where steps are noted instead of compiled, while somebody asks for them; see `steps_of`.
_noted: dict[Hashable, Step] | None = None


def steps_of(flow: Flow, work: Callable[[], object]) -> list[Step]:
    """The steps that `work`, some rows drawn by `flow`, needs and that are not compiled yet; none is now."""
    compiles = flow.use_compiler()
    with _noting() as steps:
        if compiles:
            work()
        flow.use_compiler(False)
    return list(steps.values())


def steps_to_draw(flow: Flow, molecule: MoleculeFeatures, temperature: float) -> list[Step]:
    """`steps_of` a few draws of `molecule` at `temperature` (K)."""
    context, random = Context.of(molecule, temperature, 2), torch.Generator().manual_seed(0)

    def work() -> None:
        with torch.no_grad():
            flow.sample(flow.embed(context), generator=random)

    return steps_of(flow, work)


def compile_steps(steps: Sequence[Step], stop: StopRequest | None) -> bool:
    """Compile them one after the other; False where `stop` came, or leaves no time for the next."""
    for step in steps:
        if stop is not None and not stop.leaves(step.seconds):
            return False
        step.compile()
    return True


@contextmanager
def _noting() -> Iterator[dict[Hashable, Step]]:
    global _noted
    found = _noted = {}
    try:
        yield found
    finally:
        _noted = None


def _mark(key: Hashable) -> Path:
    """An empty file beside what was compiled, which says that it was; `key` knows no molecule."""
    name = hashlib.sha256(repr((torch.__version__, key)).encode()).hexdigest()[:24]
    return cache_folder() / "steps" / name


def decide_compilation_of_draws(
    flow: Flow,
    molecule: MoleculeFeatures,
    passes: float,
    asked: bool | None,
    *,
    share: float | None = None,
    steps: Sequence[Step] = (),
) -> bool:
    """Switch compiled draws of `molecule` on or off, and say which: for chains, which make many small passes.

    Parameters
    ----------
    passes: how often a block of rows will be drawn.
    asked: None decides by whether it will pay. What was compiled before does not count: the same command
        shall round alike the first time and later.
    share: of the passes that a limit of time leaves room for; None without one.
    steps: yet to be compiled, which must pay within the limit, too.
    """
    atoms = len(geometry.atoms_of(molecule))
    pays = atoms * passes > PAYS_FROM
    if share is not None:
        pays = pays and seconds_saved(molecule, passes * share) > sum(step.seconds for step in steps)
    return flow.use_compiler(pays if asked is None else asked)


def seconds_saved(molecule: MoleculeFeatures, passes: float) -> float:
    """Seconds of an idle core that compiled draws save in so many passes of `molecule`."""
    return SAVED * len(geometry.atoms_of(molecule)) * passes


def look(
    shape: Shape,
    placed: Tensor,
    anchors: Sequence[Tensor],
    degree: int,
    precision: torch.dtype,
    compiled: bool,
) -> tuple[Tensor, Tensor]:
    """`geometry.look` for an atom of `shape`; `compiled`: by the compiled operations."""
    if compiled and len(anchors) == REFERENCES and placed.shape[-1] > 1:
        key, atom = ("look", degree, precision, placed.dtype), shape.atom

        def plain(placed: Tensor, *anchors: Tensor) -> tuple[Tensor, ...]:
            return geometry.look(atom, placed, anchors, degree, precision)

        function = _function(key, plain, (placed, *anchors), ((0, 2), *((1,) for _ in anchors)))
        if function is not None:
            axes, seen = function(*_contiguous(placed, *anchors))
            return axes, seen
    return geometry.look(shape.atom, placed, anchors, degree, precision)


def place(atom: Atom, values: Tensor, anchors: Sequence[Tensor], compiled: bool) -> Tensor:
    """`geometry.place` of atoms like `atom`, values and anchors (3, m) each: any number of atoms and rows."""

    def plain(values: Tensor, *anchors: Tensor) -> tuple[Tensor]:
        return (geometry.place(atom, values, anchors, geometry.axes_of(atom, anchors)),)

    if compiled and len(anchors) == REFERENCES and values.shape[-1] > 1:
        key, inputs = ("place", atom.style, len(values), values.dtype), (values, *anchors)
        function = _function(key, plain, inputs, [(1,) for _ in inputs])
        if function is not None:
            return function(*_contiguous(*inputs))[0]
    return plain(values, *anchors)[0]


def draw(
    shape: Shape,
    rows: Sequence[Tensor],
    trunk: Sequence[Layer],
    head: Sequence[Layer],
    turns: Sequence[Turn],
    whitening: Whitening,
    compiled: bool,
) -> Drawn:
    """`draw_atom`, whose first arguments (read, latents, known, scale, axes, then the anchors) are `rows`."""
    if compiled and shape.references == REFERENCES and rows[0].shape[-1] > 1:
        constants = [*(part for layer in (*trunk, *head) for part in layer)]
        constants += [*(part for turn in turns for part in turn), *whitening[1:]]
        sizes = tuple(tuple(one.shape) for one in constants)
        key = ("draw", shape, len(trunk), rows[0].dtype, rows[1].dtype, sizes)

        def plain(*inputs: Tensor) -> tuple[Tensor, ...]:
            given = iter(inputs)
            varying = [next(given) for _ in rows]
            layers = [(next(given), next(given)) for _ in (*trunk, *head)]
            own = [Turn(next(given), next(given), next(given)) for _ in turns]
            rest = Whitening(inputs[-4], *given)  # `before` is not read
            found = draw_atom(shape, varying, layers[: len(trunk)], layers[len(trunk) :], own, rest)
            return tuple(one for one in found if one is not None)

        inputs = (*rows, *constants)
        changing = [(one.dim() - 1,) for one in rows] + [()] * len(constants)
        function = _function(key, plain, inputs, changing)
        if function is not None:
            return Drawn(*function(*_contiguous(*inputs)))
    return draw_atom(shape, rows, trunk, head, turns, whitening)


def turn(
    shape: Shape,
    slots: int,
    rows: Sequence[Tensor],
    trunk: Sequence[Layer],
    head: Sequence[Layer],
    turns: Sequence[Turn],
    inverse: bool,
    compiled: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """`draw_turns` of the first `slots` coordinates of an atom of `shape`; rows: what it reads and is given.

    Returns
    -------
    values (slots, b) in the order of the table; their log slopes, summed (b,); what they give the network.
    """
    circular = shape.circular[:slots]

    def plain(read: Tensor, given: Tensor, *constants: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        left = iter(constants)
        layers = [(next(left), next(left)) for _ in (*trunk, *head)]
        own = [Turn(next(left), next(left), next(left)) for _ in circular]
        both = layers[: len(trunk)], layers[len(trunk) :]
        values, changes, seen = draw_turns(circular, read, given, *both, own, inverse=inverse)
        return torch.stack(values[::-1]), torch.stack(changes).sum(dim=0), seen

    constants = [part for group in (*trunk, *head, *turns[:slots]) for part in group]
    inputs = (*rows, *constants)
    if compiled and shape.references == REFERENCES and rows[0].shape[-1] > 1:
        sizes = tuple(tuple(one.shape) for one in constants)
        key = ("turn", circular, inverse, len(trunk), rows[0].dtype, rows[1].dtype, sizes)
        function = _function(key, plain, inputs, [(1,), (1,), *((),) * len(constants)])
        if function is not None:
            values, change, seen = function(*_contiguous(*inputs))
            return values, change, seen
    return plain(*inputs)


def _function(
    key: Hashable, plain: _Function, inputs: Sequence[Tensor], changing: Sequence[Sequence[int]]
) -> _Function | None:
    """`plain` compiled, at most once for each `key`."""
    if key not in _FUNCTIONS:
        if _noted is not None:
            examples = _contiguous(*map(_example, inputs, changing))
            _noted.setdefault(key, Step(key, lambda: _made(key, plain, examples, changing)))
            return None
        with _ONE_AT_A_TIME:
            if key not in _FUNCTIONS:
                _made(key, plain, _contiguous(*map(_example, inputs, changing)), changing)
    return _FUNCTIONS[key]


def _made(
    key: Hashable, plain: _Function, examples: Sequence[Tensor], changing: Sequence[Sequence[int]]
) -> None:
    """Compile `plain` by `examples`, and mark that it was."""
    found = _FUNCTIONS[key] = compile_operations(plain, examples, changing)
    if found is not None:
        with suppress(OSError, RuntimeError):  # as the inductor, which then keeps it elsewhere
            _mark(key).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            _mark(key).touch()


def _example(given: Tensor, dimensions: Sequence[int]) -> Tensor:
    """`given` with its rows (last dimension) and placed atoms (first) repeated to the examples' sizes."""
    given = given.detach()
    for dimension in dimensions:
        size = EXAMPLE_ROWS if dimension == given.dim() - 1 else EXAMPLE_ATOMS
        given = given.index_select(dimension, torch.arange(size) % given.shape[dimension])
    return given


def _contiguous(*tensors: Tensor) -> list[Tensor]:
    """What compiled operations take for granted, and do not check."""
    return [one.contiguous() for one in tensors]
