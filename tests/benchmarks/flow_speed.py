"""How fast the coupling flow trains and samples, beside the same flow with the splines of nflows.

    OMP_NUM_THREADS=1 python tests/benchmarks/flow_speed.py [--rows 512] [--repeats 5]

Alanine dipeptide, one thread, median processor time; both flows take turns in one process, so that the ratio
holds on a busy machine too. The peer computes its splines in float64, the parameters last, by autograd.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

import torch
from nflows.transforms.splines.rational_quadratic import rational_quadratic_spline
from torch import Tensor
from torch.nn import functional

from boltzgen.conditioning.context import Context
from boltzgen.config.build import build_flow
from boltzgen.flows.base import Flow
from boltzgen.flows.coupling import CouplingSettings
from boltzgen.flows.splines import UNIT_SLOPE
from boltzgen.generator import Target
from boltzgen.system.prepare import prepare

ROOT = Path(__file__).resolve().parents[2]
SIZES = {
    "usual (8 x 64)": CouplingSettings(),
    "long (10 x 128)": CouplingSettings(layers=10, hidden=128),
}
SPLINE = "boltzgen.flows.coupling.spline_by_parameter"


def by_nflows(
    inputs: Tensor, parameters: Tensor, *, bound: float, circular: bool, inverse: bool
) -> tuple[Tensor, Tensor]:
    """The same spline by nflows; see `boltzgen.flows.splines.spline_by_parameter`."""
    parameters = parameters.movedim(0, -1).to(inputs.dtype)
    bins = (parameters.shape[-1] + 1) // 3
    widths, heights, slopes = parameters.split([bins, bins, parameters.shape[-1] - 2 * bins], dim=-1)
    slopes = slopes + UNIT_SLOPE
    if circular:
        slopes = torch.cat([slopes, slopes[..., :1]], dim=-1)
    else:
        slopes = functional.pad(slopes, (1, 1), value=UNIT_SLOPE)
    inside = inputs.abs() < bound
    values, log_slope = rational_quadratic_spline(
        torch.where(inside, inputs, 0.0),
        widths,
        heights,
        slopes,
        inverse=inverse,
        left=-bound,
        right=bound,
        bottom=-bound,
        top=bound,
        min_derivative=1e-3,
    )
    return torch.where(inside, values, inputs), torch.where(inside, log_slope, 0.0)


def passes(flow: Flow, target: Target, rows: int) -> dict[str, Callable[[], None]]:
    """What training and sampling spend their time on, each one call."""
    context = Context.of(target.features, 300.0, rows)
    parameters = list(flow.parameters())

    def draw() -> tuple[Tensor, Tensor]:
        return flow.sample(flow.embed(context), generator=torch.Generator().manual_seed(3))

    with torch.no_grad():
        data = draw()[0]

    def likelihood() -> None:
        loss = -flow.log_prob(data, flow.embed(context)).mean()
        torch.autograd.grad(loss, parameters, allow_unused=True)

    def sample() -> None:
        with torch.no_grad():
            draw()

    def reverse() -> None:
        coordinates, density = draw()
        positions, log_det = target.coordinates.decode(coordinates)
        loss = (density - log_det).mean() + 1e-3 * positions.square().mean()
        torch.autograd.grad(loss, parameters, allow_unused=True)

    return {"log_prob and gradient": likelihood, "sample": sample, "sample and gradient": reverse}


def measure(call: Callable[[], None], repeats: int) -> tuple[float, float]:
    """Median processor time (s) of `call` as it is and with nflows' splines, taking turns."""
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(repeats + 1):
        for own, found in zip((True, False), times, strict=True):
            with patch(SPLINE, by_nflows) if not own else torch.enable_grad():
                start = time.process_time()
                call()
                found.append(time.process_time() - start)
    first, second = (statistics.median(found[1:]) for found in times)
    return first, second


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rows", type=int, default=512)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    structure = ROOT / "boltzgen" / "examples" / "alanine-dipeptide" / "alanine-dipeptide.pdb"
    target = Target.from_system(
        prepare(structure, forcefield=("amber99sbildn.xml",), implicit="amber99_obc.xml")
    )
    print(f"{'flow':20s} {'pass':24s} {'rows/s':>8s} {'nflows':>8s} {'ratio':>6s}")
    for size, settings in SIZES.items():
        for name, call in passes(build_flow(settings, seed=1), target, options.rows).items():
            own, peer = measure(call, options.repeats)
            speeds = f"{options.rows / own:8.0f} {options.rows / peer:8.0f} {peer / own:6.2f}"
            print(f"{size:20s} {name:24s} {speeds}", flush=True)


if __name__ == "__main__":
    main()
