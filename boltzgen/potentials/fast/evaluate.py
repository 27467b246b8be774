"""Runs kernels over a batch, block by block."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache, partial

import torch
from torch import Tensor

from boltzgen.guards import pool_of_single_threads
from boltzgen.potentials.fast.compiled import BlockCompiler, BlockFunction
from boltzgen.potentials.fast.fused import BLOCK_ELEMENTS_CPU, BLOCK_ELEMENTS_DEVICE, Kernel
from boltzgen.potentials.fast.memory import MemoryBlocks

#: Conformations of a compiled block on a CPU: of small molecules, and of large ones (from this many rows on).
COMPILED_BLOCK_CPU, COMPILED_BLOCK_CPU_LARGE, LARGE_ROWS = 128, 64, 4096

#: Numbers that torch's loops on a CPU treat at once (two AVX-512 registers of float32); what is left over at
#: the end of a loop meets other instructions, which round differently.
VECTOR = 32

#: Elements of the largest tensor of a compiled block on a GPU, and bounds on its conformations.
COMPILED_ELEMENTS_DEVICE, COMPILED_BLOCK_DEVICE = 16_000_000, (256, 16_384)


def block_size(rows: int) -> int:
    """Conformations of one block on a CPU: full vectors, so that each meets the same instructions.

    `rows`: of the largest tensor of a block.
    """
    return max(VECTOR, min(1024, BLOCK_ELEMENTS_CPU // rows // VECTOR * VECTOR))


def compiled_block_size(rows: int, device: torch.device) -> int:
    """Conformations of one compiled block."""
    if device.type == "cpu":
        return COMPILED_BLOCK_CPU if rows < LARGE_ROWS else COMPILED_BLOCK_CPU_LARGE
    low, high = COMPILED_BLOCK_DEVICE
    return max(low, min(high, COMPILED_ELEMENTS_DEVICE // rows // 16 * 16))


@cache
def keep_freed_memory() -> None:
    """Once a process: make glibc keep freed blocks of up to 28 MB instead of returning them to the system.

    Its thresholds follow the largest block that was ever freed. Without this, every temporary of a
    few hundred kilobytes is mapped and cleared anew, which costs a third of the speed.
    """
    torch.empty(28 * 2**20, dtype=torch.uint8)


@contextmanager
def one_core() -> Iterator[None]:
    """Run each operation on one core, then restore the caller's number of threads.

    The operations of a block are a few microseconds long; a barrier among threads after each of
    them gains little on two idle cores and loses tenfold when another program takes one of them.
    Also, a row's energy is then the same, bit for bit, for any number of threads.
    """
    threads = torch.get_num_threads()
    if threads == 1:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@contextmanager
def full_precision() -> Iterator[None]:
    """Matrix products without TF32 or bfloat16, whatever the network around them has asked for."""
    asked = torch.get_float32_matmul_precision()
    if asked == "highest":
        yield
        return
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(asked)


class Blocks:
    """The kernels of one energy, and how a batch goes through them, block by block.

    On a CPU the size of a block follows the cache, on other devices the memory. Compiled blocks have one
    size, and the last is filled up, so that one compilation serves every batch; with several torch threads
    they are shared out among as many Python threads. Either way a row meets the same operations wherever it
    stands in a batch.
    """

    def __init__(self, kernels: Sequence[Kernel]) -> None:
        self.kernels = tuple(kernels)
        self.compiler: BlockCompiler | None = None
        self._memory = MemoryBlocks(max(64, BLOCK_ELEMENTS_DEVICE // self.rows))

    @property
    def rows(self) -> int:
        """Rows of the largest tensor of a block."""
        return max((kernel.rows for kernel in self.kernels), default=1)

    @torch.no_grad()
    def energy_and_gradient(self, positions: Tensor, *, want_gradient: bool) -> tuple[Tensor, Tensor | None]:
        """Energies (batch,) kJ/mol and, if wanted, gradients (batch, N, 3) kJ/mol/nm of `positions` in nm.

        The gradient of a row whose energy or gradient is not finite is zero, so that a loss that masks
        such a row does not multiply 0 by NaN.
        """
        with _surroundings(positions.device) as threads:
            energy, gradient = positions.new_empty(len(positions)), None
            if want_gradient:
                gradient = torch.empty_like(positions, memory_format=torch.contiguous_format)
            function = self._compiled(positions, want_gradient)
            if function is not None:
                self._run_compiled(function, positions, energy, gradient, threads)
            else:
                self._run_plain(positions, energy, gradient)
        return energy, gradient

    def _run_plain(self, positions: Tensor, energy: Tensor, gradient: Tensor | None) -> None:
        def work(block: slice) -> None:
            rows = block.stop - block.start
            size = -(-rows // VECTOR) * VECTOR if filled and rows > 1 else rows
            found = evaluate_block(self.kernels, gradient is not None, innermost(positions[block], size))
            store(found, block, energy, gradient)

        filled = positions.device.type == "cpu"  # a row's bits do not depend on its place then
        if positions.device.type == "cpu":
            for block in slices(len(positions), block_size(self.rows)):
                work(block)
        else:
            key = (positions.device, positions.dtype, gradient is not None)
            self._memory.run(work, len(positions), positions.device, key)

    def _compiled(self, positions: Tensor, want_gradient: bool) -> BlockFunction | None:
        if self.compiler is None or not len(positions) or not self.kernels:
            return None
        x = innermost(positions[: self._compiled_size(positions)], self._compiled_size(positions))
        plain = partial(evaluate_block, self.kernels, want_gradient)
        return self.compiler.function((positions.device, positions.dtype, want_gradient), plain, x)

    def _compiled_size(self, positions: Tensor) -> int:
        return compiled_block_size(self.rows, positions.device)

    def _run_compiled(
        self,
        function: BlockFunction,
        positions: Tensor,
        energy: Tensor,
        gradient: Tensor | None,
        threads: int,
    ) -> None:
        size = self._compiled_size(positions)

        def work(block: slice) -> tuple[Tensor, Tensor | None]:
            with torch.no_grad():
                return function(innermost(positions[block], size))

        blocks = list(slices(len(positions), size))
        found: Iterable[tuple[Tensor, Tensor | None]] = map(work, blocks)
        if threads > 1 and len(blocks) > 1 and positions.device.type == "cpu":
            found = _pool(threads).map(work, blocks)
        for block, values in zip(blocks, found, strict=True):
            store(values, block, energy, gradient)


def slices(rows: int, size: int) -> list[slice]:
    return [slice(start, min(start + size, rows)) for start in range(0, rows, size)]


def innermost(positions: Tensor, size: int | None = None) -> Tensor:
    """(b, N, 3) -> (N, 3, size), contiguous; columns beyond b repeat the last one."""
    if size is None or size == len(positions):
        return positions.permute(1, 2, 0).contiguous()
    x = positions.new_empty(*positions.shape[1:], size)
    x[..., : len(positions)] = positions.permute(1, 2, 0)
    x[..., len(positions) :] = x[..., len(positions) - 1, None]
    return x


def store(found: tuple[Tensor, Tensor | None], block: slice, energy: Tensor, gradient: Tensor | None) -> None:
    """Write the energies (b,) and slopes (N, 3, b) of a block into `energy` and `gradient` (batch, N, 3)."""
    rows = block.stop - block.start
    energy[block] = found[0][:rows]
    if gradient is not None and found[1] is not None:
        gradient[block] = found[1][..., :rows].permute(2, 0, 1)


def evaluate_block(kernels: Sequence[Kernel], want_gradient: bool, x: Tensor) -> tuple[Tensor, Tensor | None]:
    """Energies (b,) and slopes (N, 3, b) of one block x (N, 3, b); what the compiler sees."""
    energy = torch.zeros_like(x[0, 0])
    slopes = torch.zeros_like(x) if want_gradient else None
    cyclic = torch.cat([x, x[:, :2]], dim=1)
    for kernel in kernels:
        kernel.evaluate(x, cyclic, energy, slopes)
    if slopes is not None:
        largest = slopes.abs().amax(dim=(0, 1)).add_(energy.abs())
        slopes.masked_fill_(~torch.isfinite(largest), 0.0)
    return energy, slopes


@contextmanager
def _surroundings(device: torch.device) -> Iterator[int]:
    """What every evaluation runs in; yields the caller's number of threads."""
    threads = torch.get_num_threads()
    if device.type == "cpu":
        keep_freed_memory()
    with one_core(), full_precision(), torch.autocast(device.type, enabled=False):
        yield threads


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return pool_of_single_threads(threads, "energies")
