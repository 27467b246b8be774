"""Tables and figures of the potentials benchmark, and the count of its arithmetic."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from boltzgen.files import make_folder, write_atomic, write_json

if TYPE_CHECKING:
    from potentials import Measured

#: Peak arithmetic (operations a second, float32, without tensor cores) of the GPUs we meet.
PEAK_FLOAT32 = {"NVIDIA H100": 67e12, "NVIDIA H200": 67e12}

#: Operations that move or make data and compute nothing.
SILENT = (
    "view",
    "reshape",
    "slice",
    "select",
    "cat",
    "copy",
    "clone",
    "empty",
    "zeros",
    "permute",
    "expand",
    "unsqueeze",
    "detach",
    "index_select",
    "t",
    "transpose",
    "alias",
    "fill",
    "_to_copy",
    "empty_strided",
    "zeros_like",
    "empty_like",
    "new_empty",
    "new_zeros",
    "_unsafe_view",
    "split",
    "repeat",
)
#: Systems of one force field and solvent, so that the cost by number of atoms is one curve.
ONE_ENERGY = "ff14SB + OBC1"
PRODUCTS = ("mm", "addmm", "mv", "addmv", "bmm", "baddbmm")


class _Operations(TorchDispatchMode):
    """Counts floating-point operations; a fused multiply-add counts twice, a function like exp once."""

    def __init__(self) -> None:
        super().__init__()
        self.products = self.elementwise = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__.rstrip("_")
        if not isinstance(out, torch.Tensor) or name in SILENT:
            return out
        if name in PRODUCTS:
            left = args[1] if "add" in name else args[0]
            self.products += 2 * out.numel() * left.shape[-1]
        else:
            self.elementwise += out.numel() * (2 if name.startswith("addc") else 1)
        return out


def arithmetic(work: Callable[[], Any]) -> dict[str, float]:
    """Floating-point operations of `work()`: in matrix products, and elementwise."""
    with _Operations() as counted:
        work()
    return {"matrix products": float(counted.products), "elementwise": float(counted.elementwise)}


def ratio(one: list[float], other: list[float]) -> float:
    """Median over rounds of the ratio of rates measured in the same round."""
    return statistics.median(a / b for a, b in zip(one, other, strict=True))


def write_report(folder: Path, facts: dict[str, Any], results: dict[str, Measured]) -> str:
    """Write potentials.json, potentials.md and the figures; returns the text of the table."""
    make_folder(folder)
    text = "".join(f"- {name}: {value}\n" for name, value in facts.items())
    for name, found in results.items():
        parts = (_ways(found), _batches(found), _costs(facts, found))
        text += f"\n## {name} ({found.atoms} atoms)\n\n" + "\n".join(parts)
    write_json(
        folder / "potentials.json",
        {"facts": facts, "systems": {name: asdict(found) for name, found in results.items()}},
    )
    write_atomic(folder / "potentials.md", text)
    _figures(folder, results)
    return text


def _ways(found: Measured) -> str:
    fastest = max(
        (name for name in found.ways if name.startswith("ours")),
        key=lambda name: statistics.median(found.ways[name]),
    )
    rows = "".join(
        f"| {name} | {statistics.median(rates):,.0f} | {min(rates):,.0f} - {max(rates):,.0f} | "
        f"{ratio(found.ways[fastest], rates):.1f} |\n"
        for name, rates in found.ways.items()
    )
    return (
        f"| energies and forces | a second (median) | lowest - highest | `{fastest}` is faster by |\n"
        f"|---|---|---|---|\n{rows}"
    )


def _batches(found: Measured) -> str:
    sizes = sorted({size for rates in found.batches.values() for size in rates})
    head = "| a second, by batch size | " + " | ".join(f"{size:,}" for size in sizes) + " |\n"
    rows = "".join(
        f"| {name} | " + " | ".join(f"{rates[size]:,.0f}" for size in sizes) + " |\n"
        for name, rates in found.batches.items()
    )
    return head + "|---" * (len(sizes) + 1) + "|\n" + rows


def _costs(facts: dict[str, Any], found: Measured) -> str:
    compiling = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in found.compile_seconds.items())
    memory = ", ".join(f"{name} {size / 1024:.0f} KiB" for name, size in found.bytes_per_conformation.items())
    total = sum(found.operations.values())
    text = (
        f"Compiling (or reading from the cache): {compiling}. Memory a conformation in a block, uncompiled: "
        f"{memory}. Arithmetic: {total:,.0f} operations a conformation "
        f"({found.operations['matrix products']:,.0f} in matrix products).\n"
    )
    for gpu, peak in PEAK_FLOAT32.items():
        if str(facts["machine"]).startswith(gpu):
            fastest = max(max(r.values()) for n, r in found.batches.items() if n.endswith("float32"))
            share = 100 * fastest * total / peak
            text += f"Arithmetic limit {peak / total:,.0f} a second; reached {share:.1f} % of it.\n"
    return text


def _figures(folder: Path, results: dict[str, Measured]) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axis = plt.subplots(figsize=(7, 4.5))
    axis.set_prop_cycle(color=plt.get_cmap("tab20").colors)
    for name in dict.fromkeys(name for found in results.values() for name in found.ways):
        points = sorted(
            (found.atoms, 1e6 / statistics.median(found.ways[name]))
            for system, found in results.items()
            if name in found.ways and system.endswith(ONE_ENERGY)
        )
        if not points:
            continue
        style = "-o" if name.startswith("ours") else "--s"
        axis.loglog(*zip(*points, strict=True), style, markersize=4, label=name)
    atoms = sorted({found.atoms for system, found in results.items() if system.endswith(ONE_ENERGY)})
    axis.set_xticks(atoms, [str(n) for n in atoms])
    axis.minorticks_off()
    axis.set(xlabel="atoms, ff14SB + OBC1", ylabel="microseconds for one energy with forces")
    axis.legend(fontsize=7, loc="center left", bbox_to_anchor=(1.0, 0.5))
    axis.grid(which="both", alpha=0.2)
    figure.savefig(folder / "potentials-atoms.png", dpi=150, bbox_inches="tight")
    figure, axis = plt.subplots(figsize=(7, 4.5))
    for colour, (system, found) in enumerate(results.items()):
        for name, rates in found.batches.items():
            if not name.endswith("float32"):
                continue
            compiled = "compiled" in name
            axis.loglog(
                *zip(*sorted(rates.items()), strict=True),
                "-o" if compiled else ":o",
                markersize=4,
                color=f"C{colour}",
                label=f"{system}{', compiled' if compiled else ''}",
            )
    axis.set(xlabel="batch size", ylabel="energies and forces a second (float32)")
    axis.legend(fontsize=7, loc="center left", bbox_to_anchor=(1.0, 0.5))
    axis.grid(which="both", alpha=0.2)
    figure.savefig(folder / "potentials-batch.png", dpi=150, bbox_inches="tight")
