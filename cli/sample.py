"""``boltzgen sample``: conformations with exact densities, energies and weights."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from boltzgen_cli.terminal import console
from boltzgen_cli.terminal.run_options import DataTemperature, DryRun, MaxTime

if TYPE_CHECKING:
    from boltzgen.workflows.sampling.records import Summary

#: Effective sample size below which a new molecule is worth adapting to.
ENOUGH = 0.3


class Precision(StrEnum):
    """Arithmetic of the flow; weights are float64 in any case."""

    float32 = "float32"
    float64 = "float64"


class Refine(StrEnum):
    """How draws are refined: sequential Monte Carlo, or annealed importance sampling by Langevin moves."""

    smc = "smc"
    mala = "mala"


class Rungs(StrEnum):
    """Rungs on which walkers exchange: between flow and target, or of temperatures."""

    auto = "auto"
    none = "none"
    tempered = "tempered"
    temperatures = "temperatures"


#: Heading of the options that --chains alone knows.
OF_CHAINS = "Options of --chains"


def sample(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A run, a model folder or a shipped model.")],
    system: Annotated[Path, typer.Argument(metavar="SYS", help="Folder written by prepare.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="OUT", help="Folder for the samples.")],
    number: Annotated[int, typer.Option("--number", "-n", min=1, help="Samples to draw.")],
    temperature: Annotated[float | None, typer.Option(help="Temperature in K; default: the model's.")] = None,
    proposal_temperature: Annotated[
        list[float] | None,
        typer.Option(help="Draw at this temperature (K), weigh for --temperature; again: in equal shares."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, max=2**63 - 1, help="Seed of the draws.")] = 0,
    batch_size: Annotated[
        str, typer.Option(metavar="auto|N", help="Samples between two reports; no sample depends on it.")
    ] = "auto",
    dtype: Annotated[Precision, typer.Option(help="Arithmetic of the flow.")] = Precision.float64,
    device: Annotated[str, typer.Option(metavar="cpu|cuda", help="Where to compute.")] = "cpu",
    data: Annotated[
        Path | None,
        typer.Option(metavar="CHECK", help="Frames that training never saw, for the coverage check."),
    ] = None,
    data_temperature: DataTemperature = None,
    refine: Annotated[
        Refine | None, typer.Option(help="Carry the draws to the target by moves; see docs/refining.md.")
    ] = None,
    refine_budget: Annotated[
        int | None,
        typer.Option(min=1, metavar="MOVES", help="Moves of each sample; default: as a pilot says."),
    ] = None,
    chains: Annotated[
        bool,
        typer.Option("--chains", help="Walkers that redraw parts of a conformation; see docs/chains.md."),
    ] = False,
    walkers: Annotated[
        int | None,
        typer.Option(
            min=1,
            rich_help_panel=OF_CHAINS,
            help="Walkers in all, as many in each group; default: 32 a group.",
        ),
    ] = None,
    groups: Annotated[
        int | None,
        typer.Option(min=1, rich_help_panel=OF_CHAINS, help="Groups that never talk, compared; default: 4."),
    ] = None,
    stride: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="SWEEPS",
            rich_help_panel=OF_CHAINS,
            help="Between two samples of a walker; default: 1.",
        ),
    ] = None,
    warm_up: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="SWEEPS",
            rich_help_panel=OF_CHAINS,
            help="In which moves adapt, before samples count; default: 100.",
        ),
    ] = None,
    pilot: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="DRAWS",
            rich_help_panel=OF_CHAINS,
            help="Of each group, of which one is its start; default: 256.",
        ),
    ] = None,
    ladder: Annotated[
        Rungs | None,
        typer.Option(rich_help_panel=OF_CHAINS, help="Rungs with exchanges; default: auto, where they pay."),
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with 3 if the verdict is unreliable.")
    ] = False,
    compile_energies: Annotated[
        bool | None,
        typer.Option(
            "--compile/--no-compile", help="Compile energy and draws; default: the energy, if it pays."
        ),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the samples that OUT holds.")
    ] = False,
    max_time: MaxTime = None,
    dry_run: DryRun = False,
) -> None:
    """Draw samples in one pass, each with its density, energy and weight; or by walkers, with --chains.

    Example: boltzgen sample RUN SYS -o OUT -n 20000 --data CHECK

    The verdict can be ok only if --data checks the coverage.
    """
    from boltzgen.workflows.sampling.sample import sample as work

    with console.long_verb("sample", max_time) as (stop, progress):
        summary = work(
            model,
            system,
            output,
            number,
            temperature=temperature,
            proposal_temperatures=proposal_temperature or (),
            seed=seed,
            batch_size=batch_size,
            dtype=dtype.value,
            device=device,
            data=data,
            data_temperature=data_temperature,
            refine=None if refine is None else refine.value,
            refine_budget=refine_budget,
            strict=strict,
            compile_energies=compile_energies,
            chains=chains,
            walkers=walkers,
            groups=groups,
            stride=stride,
            warm_up=warm_up,
            pilot=pilot,
            ladder=None if ladder is None else ladder.value,
            overwrite=overwrite,
            stop=stop,
            progress=progress,
            expect=progress.expecting(dry_run),
        )
    console.result(summary)
    show_summary(output, summary)
    if summary.unfamiliarity is not None and summary.ess is not None and summary.ess < ENOUGH:
        at = "" if temperature is None else f" --temperature {temperature:g}"
        console.message(
            f"a model of this molecule, by energies alone: boltzgen adapt {model} {system} -o ADAPTED{at}"
        )


def show_summary(output: Path, summary: Summary) -> None:
    """Print what ``OUT/summary.json`` holds."""
    console.key_values(f"samples: {output}", summary.rows())
    for record in summary.refined:
        show_refinement(record)
    console.finding(f"verdict: {summary.verdict}")
    for reason in summary.reasons:
        console.finding(f"- {reason}")


def show_refinement(record: Mapping[str, Any]) -> None:
    """Print what the moves of ``--refine`` did, and whether drawing more would have done as well."""
    console.message(
        f"refined by {record['method']}, {record['moves']} moves a sample: effective sample size "
        f"{100 * record['ess_before']:.3g} % before, {100 * record['ess_after']:.3g} % after, with "
        f"{record['energy_evaluations']} energy evaluations"
    )
    gain = record["gain_per_evaluation"]
    if gain is not None:
        message = f"effective samples per evaluation: {gain:.3g} times those of plain draws"
        console.message(message + ("" if gain > 1 else "; with this model, draw more instead"))
