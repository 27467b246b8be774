"""``boltzgen prepare``: from a structure or a sequence to a checked, parametrised molecule."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from boltzgen_cli.terminal import console
from boltzgen_cli.terminal import prepare_options as options
from boltzgen_cli.terminal.run_options import DryRun, MaxTime

if TYPE_CHECKING:
    from boltzgen.workflows.preparation.prepare import Preparation


def prepare(
    source: options.Source = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="SYS", help="Folder to write.")
    ] = None,
    sequence: options.Sequence = None,
    smiles: options.Smiles = None,
    capped: options.Capped = False,
    coordinates: options.Coordinates = None,
    include: options.Include = None,
    forcefield: options.Forcefield = None,
    charges: options.Charges = None,
    implicit: options.Implicit = "none",
    surface: options.Surface = "ace",
    radii: options.Radii = None,
    constraints: options.Constraints = "none",
    add_hydrogens: options.AddHydrogens = False,
    ph: options.Ph = 7.0,
    minimize: options.Minimize = None,
    name: options.Name = None,
    free_rotation: options.FreeRotation = None,
    bridge: options.Bridge = False,
    bridge_platform: options.BridgePlatform = "auto",
    bridge_workers: options.BridgeWorkers = 1,
    ml: options.Ml = None,
    ml_region: options.MlRegion = "all",
    ml_option: options.MlOption = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace another system that SYS holds.")
    ] = False,
    check: Annotated[bool, typer.Option("--check", help="Check and describe only; write nothing.")] = False,
    max_time: MaxTime = None,
    dry_run: DryRun = False,
) -> None:
    """Read, parametrise and check one molecule, and write it as SYS.

    Examples:

    boltzgen prepare peptide.pdb -o SYS --add-hydrogens --ph 7.4

    boltzgen prepare --sequence ACE-ALA-NME -o SYS --forcefield amber99sbildn.xml --implicit amber99_obc.xml

    boltzgen prepare --smiles "CC(=O)Oc1ccccc1C(=O)O" -o SYS

    boltzgen prepare --smiles "CC(=O)Oc1ccccc1C(=O)O" -o SYS --forcefield gaff2 --implicit obc2

    boltzgen prepare molecule.prmtop --coordinates molecule.inpcrd -o SYS

    boltzgen prepare system.xml --coordinates molecule.pdb -o SYS --bridge --bridge-workers 2

    boltzgen prepare --sequence ACE-ALA-NME -o SYS --implicit obc1 --ml gfn2 --ml-option workers=2
    """
    asked = options.chosen(locals())

    from boltzgen.workflows.preparation.prepare import prepare as work

    summary = work(
        source,
        output,
        check=check or dry_run,
        overwrite=overwrite,
        stop=console.stop_after(max_time),
        expect=console.telling(dry_run),
        **asked,
    )
    if dry_run:
        console.message("prepare: nothing in it takes long; it was done, and nothing written.")
    console.result(summary)
    _show(summary)


def _show(summary: Preparation) -> None:
    system = summary.system
    sides = summary.stereo_labels[len(summary.stereocentres) :]
    told = zip(summary.isomer_kinds, sides, strict=True)
    isomers = tuple(", ".join(filter(None, words)) for words in told)
    rows = {
        "atoms": f"{system.n_atoms} ({summary.heavy_atoms} heavy)",
        "bonds": summary.bonds,
        "formal charge (e)": "unknown"
        if summary.formal_charge is None
        else f"{summary.formal_charge:+d}".replace("+0", "0"),
        "stereocentres": _listed(_with_labels(summary.stereocentres, summary.stereo_labels)),
        "rings": _listed([_ring(*ring) for ring in zip(summary.rings, summary.puckers, strict=True)]),
        "rotatable torsions": _listed(summary.torsions),
        "isomers held as given": _listed(_with_labels(summary.isomer_bonds, isomers)),
        **({"rotations set free": _listed(summary.opened)} if summary.opened else {}),
        **({"rings no move turns over": "; ".join(summary.unmoved_rings)} if summary.unmoved_rings else {}),
        **{f"terms: {kind}": count for kind, count in summary.force_terms},
        "energy (kJ/mol)": f"{summary.energy:.2f}",
        "energy evaluation": summary.translation,
        **_hybrid_rows(summary),
        "fingerprint": system.fingerprint[:16],
        "written to": summary.folder or "nothing (--check)",
    }
    console.key_values(system.name, rows)
    for warning in summary.warnings:
        console.finding(f"warning: {warning}")


def _hybrid_rows(summary: Preparation) -> dict[str, str]:
    if summary.hybrid is None:
        return {}
    return {
        "hybrid: region": summary.hybrid.region,
        "hybrid: potential": summary.hybrid.potential,
        "hybrid: link hydrogens": summary.hybrid.links,
        "hybrid: check": summary.hybrid.check,
    }


def _ring(size: int, pucker: str) -> str:
    return f"{size} atoms ({pucker})" if pucker else f"{size} atoms"


def _with_labels(names: tuple[str, ...], labels: tuple[str, ...]) -> list[str]:
    """Names with R, S, E, Z or the like behind them; `labels` may go on."""
    return [f"{name} ({label})" if label else name for name, label in zip(names, labels)]


def _listed(names: tuple[str, ...] | list[str]) -> str:
    """A count, and as many names as fit on a line."""
    if not names:
        return "0"
    shown = ", ".join(names[:6])
    return f"{len(names)}: {shown}{', ...' if len(names) > 6 else ''}"
