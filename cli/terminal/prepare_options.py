"""What a molecule is prepared from and how: said once, for `prepare` and for `run`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from boltzgen.workflows.preparation.options import PrepareKeywords

Source = Annotated[
    Path | None,
    typer.Argument(
        metavar="INPUT", help="PDB, mmCIF, Amber prmtop, GROMACS top, OpenMM System XML, SDF or mol2."
    ),
]
Sequence = Annotated[
    str | None,
    typer.Option(help="Peptide to build instead of INPUT: ACE-ALA-NME, or one-letter GAVL (zwitterion)."),
]
Smiles = Annotated[
    str | None,
    typer.Option(metavar="SMILES", help="Small molecule to build instead of INPUT, in quotes: 'CCO'."),
]
Capped = Annotated[bool, typer.Option("--capped", help="Close a --sequence with ACE and NME.")]
Coordinates = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Positions for prmtop (inpcrd), top (gro), XML (PDB).")
]
Include = Annotated[
    Path | None, typer.Option(metavar="DIR", help="Folder of a GROMACS topology's #include files.")
]
Forcefield = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME",
        help="OpenMM force-field file, repeatable; default amber14-all.xml. SMILES, SDF and mol2: mmff94 "
        "(default), mmff94s, gaff2 or gaff (AmberTools), or an OpenFF name such as openff-2.2.1.",
    ),
]
Charges = Annotated[
    str | None,
    typer.Option(
        metavar="bcc|abcg2|file|FILE",
        help="Charges of gaff2, gaff, OpenFF: AM1-BCC (default), ABCG2, those of the mol2 or SDF, or FILE.",
    ),
]
Implicit = Annotated[
    str,
    typer.Option(
        metavar="MODEL",
        help="none, hct, obc1, obc2, gbn, gbn2, or a solvent file such as amber99_obc.xml.",
    ),
]
Surface = Annotated[
    str,
    typer.Option(metavar="TERM", help="Surface term of hct to gbn2: ace, lcpo (as sander's gbsa=1), none."),
]
Radii = Annotated[
    str | None,
    typer.Option(
        metavar="SET", help="Radii in hct to gbn2 of a prmtop, gaff, gaff2: bondi, mbondi, mbondi2, mbondi3."
    ),
]
Constraints = Annotated[str, typer.Option(help="Only none: every bond is sampled.")]
AddHydrogens = Annotated[
    bool, typer.Option("--add-hydrogens", help="Add missing hydrogens; in peptides as --ph says.")
]
Ph = Annotated[float, typer.Option("--ph", help="pH for --add-hydrogens and --sequence.")]
Minimize = Annotated[
    bool | None,
    typer.Option("--minimize/--no-minimize", help="Relax the positions; default: built molecules only."),
]
Name = Annotated[str | None, typer.Option(help="What to call the system; default from the input.")]
FreeRotation = Annotated[
    list[str] | None,
    typer.Option(
        metavar="WORD",
        help="Open what is held as given, repeatable: acids, esters, thioesters, amides, carbamates, "
        "ureas, amidines, double-bonds, conjugated, all, or a bond of the table such as 'C1-O2'.",
    ),
]
Bridge = Annotated[
    bool, typer.Option("--bridge", help="Let OpenMM evaluate what has no torch translation (slower).")
]
BridgePlatform = Annotated[
    str, typer.Option(metavar="NAME", help="OpenMM platform of the bridge; auto: the fastest here.")
]
BridgeWorkers = Annotated[int, typer.Option(metavar="N", help="Processes of the bridge.")]
Ml = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Machine-learned or quantum potential of a region: xtb-ala2-small, gfn2, gfn1, ani2x, "
        "ani1x, ani1ccx, torchscript, ase, or one that a package brings.",
    ),
]
MlRegion = Annotated[
    str, typer.Option(metavar="SELECTION", help="Its atoms (MDTraj), such as 'resid 1'; default all.")
]
MlOption = Annotated[
    list[str] | None,
    typer.Option(metavar="KEY=VALUE", help="A word for it, repeatable: solvent=water, charge=-1."),
]

#: Arguments of a verb that the library calls otherwise: one of several, or of a part.
_CALLED = {
    "free_rotation": "free_rotations",
    "bridge_platform": "platform",
    "bridge_workers": "workers",
    "ml_option": "ml_options",
}


def chosen(arguments: Mapping[str, Any]) -> PrepareKeywords:
    """What `prepare` is asked among the `arguments` of a verb, as Python calls it; defaults are left out."""
    from boltzgen.workflows.preparation.hybrid import option_words
    from boltzgen.workflows.preparation.options import usual_options

    usual = usual_options()
    found: dict[str, Any] = {}
    for name, value in arguments.items():
        called = _CALLED.get(name, name)
        if called not in usual:
            continue
        if isinstance(usual[called], dict):
            value = option_words(value or ())
        if value != usual[called] and value is not None:
            found[called] = value
    return found  # type: ignore[return-value]
