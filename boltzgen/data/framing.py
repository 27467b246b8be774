"""Does a trajectory file end where a frame ends? MDTraj reads a cut DCD, XTC or TRR file without a word.

Only the lengths written in the file are followed; no coordinates are read. A file cut exactly between two
frames shows in DCD (its header counts frames) and cannot show in XTC and TRR, which have no count.
Sources: CHARMM/NAMD DCD records; GROMACS xdrfile (xdr3dfcoord) and trnio.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO

from boltzgen.errors import InputError
from boltzgen.files import file_size

_XTC_MAGIC, _XTC_MAGIC_2023, _TRR_MAGIC = 1995, 2023, 1993
#: The record of a DCD file that says how many atoms there are, after signature and titles.
_RECORD_OF_ATOMS = 2

#: What MDTraj and SciPy raise for damaged files, by turns.
READER_FAULTS = (
    OSError,
    RuntimeError,
    ValueError,
    IndexError,
    TypeError,
    KeyError,
    EOFError,
    AttributeError,
    AssertionError,
    MemoryError,
    ArithmeticError,
    struct.error,
    SyntaxError,
)

#: XTC stores molecules of at most this many atoms as plain floats, without rounding.
_XTC_PLAIN_ATOMS = 9


def check_whole(path: Path, atoms: int) -> None:
    """InputError when the file `path` (.dcd, .xtc, .trr; others pass) ends inside a frame.

    Also when a frame has another number than `atoms`: MDTraj takes memory for as many as the file says.
    """
    walkers = {".xtc": _skip_xtc_frame, ".trr": _skip_trr_frame}
    suffix = path.suffix.lower()
    size = file_size(path, missing="no such file; expected a trajectory.", kind="a trajectory")
    if size == 0:
        raise InputError(f"{path} is empty; copy it anew.")
    with open(path, "rb") as handle:
        try:
            if suffix == ".dcd":
                _walk_dcd(handle, size, atoms)
            elif suffix in walkers:
                while handle.tell() < size:
                    found = walkers[suffix](handle)
                    if found != atoms:
                        raise ValueError(_other(found, atoms))
                    if handle.tell() > size:
                        raise EOFError
        except (EOFError, struct.error) as error:
            raise InputError(f"{path} is truncated: it ends inside a frame; copy it anew.") from error
        except (ValueError, OSError) as error:  # OSError: a place beyond what a file can have
            raise InputError(f"{path} cannot be read ({error}); copy it anew.") from error


def _other(found: int, atoms: int) -> str:
    return f"a frame has {found} atoms, not {atoms}: strip solvent, or give the system that was simulated"


def _integers(handle: BinaryIO, count: int, order: str = ">") -> tuple[int, ...]:
    return struct.unpack(f"{order}{count}i", handle.read(4 * count))


def _skip_xtc_frame(handle: BinaryIO) -> int:
    """Go behind the frame at which `handle` is; the number of its atoms."""
    magic, atoms, _ = _integers(handle, 3)
    if magic not in (_XTC_MAGIC, _XTC_MAGIC_2023) or atoms <= 0:
        raise ValueError("it is not an XTC file, or is damaged")
    handle.seek(4 + 36, 1)  # time, box
    (count,) = _integers(handle, 1)
    if count != atoms:
        raise ValueError("a frame says two numbers of atoms")
    if count <= _XTC_PLAIN_ATOMS:
        handle.seek(12 * count, 1)
        return atoms
    handle.seek(4 + 12 + 12 + 4, 1)  # precision, least and largest integers, small index
    if magic == _XTC_MAGIC_2023:
        (length,) = struct.unpack(">q", handle.read(8))
    else:
        (length,) = _integers(handle, 1)
    if not 0 <= length < 2**48:
        raise ValueError("a frame has an impossible length")
    handle.seek(length + (-length) % 4, 1)
    return atoms


def _skip_trr_frame(handle: BinaryIO) -> int:
    """Go behind the frame at which `handle` is; the number of its atoms."""
    magic, _, letters = _integers(handle, 3)
    if magic != _TRR_MAGIC or not 0 < letters < 1000:
        raise ValueError("it is not a TRR file, or is damaged")
    handle.seek(letters + (-letters) % 4, 1)
    header = _integers(handle, 13)
    sizes, atoms = header[:10], header[10]
    if min(sizes) < 0 or atoms <= 0:
        raise ValueError("a frame has a negative length")
    # The box (9 numbers) or any of positions, velocities, forces (3 per atom) tells the width of a number.
    vectors = [s for s in sizes[7:] if s]
    width = sizes[2] // 9 if sizes[2] else (vectors[0] // (3 * atoms) if vectors else 4)
    handle.seek(2 * width + sum(sizes), 1)  # time and lambda, then the data
    return atoms


def _walk_dcd(handle: BinaryIO, size: int, atoms: int) -> None:
    start = handle.read(4)
    order = next((o for o in "<>" if struct.unpack(f"{o}i", start)[0] == 84), None)
    if order is None or handle.read(4) != b"CORD":
        raise ValueError("it is not a DCD file with 32-bit records, or is damaged")
    (promised,) = _integers(handle, 1, order)
    handle.seek(0)
    records = 0
    while handle.tell() < size:
        (length,) = _integers(handle, 1, order)
        if records == _RECORD_OF_ATOMS:
            (found,) = _integers(handle, 1, order)
            if found != atoms or length != 4:
                raise ValueError(_other(found, atoms))
            handle.seek(-4, 1)
        if length < 0:
            raise ValueError("a record has a negative length")
        handle.seek(length, 1)
        if _integers(handle, 1, order)[0] != length:
            raise ValueError("a record's two length marks differ")
        records += 1
    handle.seek(8)
    control = _integers(handle, 20, order)
    charmm = control[19] != 0  # X-PLOR's dialect writes a double over the flags, and neither extra
    has_cell, has_fourth = charmm and control[10] == 1, charmm and control[11] == 1
    preamble = 4 if control[8] > 0 else 3  # signature, titles, atoms, and the free atoms if some are fixed
    frames, rest = divmod(records - preamble, 3 + has_cell + has_fourth)
    if records < preamble or rest or frames < promised:
        raise EOFError
