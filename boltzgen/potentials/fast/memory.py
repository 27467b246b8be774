"""Batches split by the memory that a first small block was seen to take."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Hashable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

from boltzgen.errors import BoltzgenError

#: Rows of the block by which memory is measured; smaller batches are simply evaluated.
FIRST_ROWS = 64

#: Share of the free memory that one block may take.
SHARE = 0.5


def available_bytes(device: torch.device) -> int:
    """Bytes that `device` could still give out, those that torch holds in reserve included."""
    if device.type == "cuda":
        held = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + held
    try:
        with open("/proc/meminfo", encoding="ascii") as lines:
            for line in lines:
                if line.startswith("MemAvailable:"):
                    return 1024 * int(line.split()[1])
    except OSError:  # not Linux
        pass
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2


class _LiveBytes(TorchDispatchMode):
    """Counts the bytes of all tensors that operations make, as long as they live."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._seen: weakref.WeakSet[Any] = weakref.WeakSet()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        inputs = {t.untyped_storage().data_ptr() for t in tree_iter(args) if isinstance(t, Tensor)}
        for tensor in tree_iter(out):
            if isinstance(tensor, Tensor) and tensor.untyped_storage().data_ptr() not in inputs:
                self._add(tensor.untyped_storage())
        return out

    def _add(self, storage: torch.UntypedStorage) -> None:
        if storage in self._seen:
            return
        self._seen.add(storage)
        size = storage.nbytes()
        self.now += size
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._drop, size).atexit = False

    def _drop(self, size: int) -> None:
        self.now -= size


def peak_bytes(work: Callable[[], Any], device: torch.device) -> int:
    """Largest number of bytes that the tensors made by `work()` take at any one time."""
    if device.type == "cuda":
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        work()
        return max(0, torch.cuda.max_memory_allocated(device) - before)
    with _LiveBytes() as counted:
        work()
    return counted.peak


class MemoryBlocks:
    """Runs work on a batch in blocks that fit into memory.

    The first block is small and measured; the next are as large as half of the free memory allows. When
    memory runs out all the same, blocks are halved and the work goes on.

    Parameters
    ----------
    largest: rows of a block, at most.
    """

    def __init__(self, largest: int) -> None:
        self.largest = largest
        #: Measured bytes a row, by key.
        self.bytes_per_row: dict[Hashable, float] = {}
        self._limit: dict[Hashable, int] = {}

    def run(self, work: Callable[[slice], Any], rows: int, device: torch.device, key: Hashable) -> None:
        """Call ``work(block)`` for consecutive slices of ``range(rows)``; `key`: what its memory depends on.

        Raises
        ------
        BoltzgenError: memory is too small for a single row.
        """
        start = 0
        while start < rows:
            block = slice(start, min(rows, start + self.rows(device, key)))
            try:
                self._measure_or_run(work, block, device, key)
            except RuntimeError as error:
                if not _out_of_memory(error):
                    raise
                size = block.stop - block.start
                if size == 1:
                    raise BoltzgenError(
                        f"The memory of {device} is too small for one conformation of this molecule; "
                        "use another device or free memory."
                    ) from error
                self._limit[key] = size // 2
                if device.type == "cuda":
                    torch.cuda.empty_cache()
                continue
            start = block.stop

    def rows(self, device: torch.device, key: Hashable) -> int:
        """Rows of the next block."""
        limit = min(self.largest, self._limit.get(key, self.largest))
        if key not in self.bytes_per_row:
            return min(limit, FIRST_ROWS)
        fitting = int(SHARE * available_bytes(device) / max(1.0, self.bytes_per_row[key]))
        return max(1, min(limit, fitting))

    def _measure_or_run(
        self, work: Callable[[slice], Any], block: slice, device: torch.device, key: Hashable
    ) -> None:
        size = block.stop - block.start
        if key in self.bytes_per_row or size < min(FIRST_ROWS, self.largest):
            work(block)
        else:
            self.bytes_per_row[key] = peak_bytes(lambda: work(block), device) / size


def _out_of_memory(error: RuntimeError) -> bool:
    return isinstance(error, torch.OutOfMemoryError) or "not enough memory" in str(error)
