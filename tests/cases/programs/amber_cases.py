"""AmberTools for tests: the real programs where they are, and scripts that answer as they did once.

`tests/cases/files/amber` holds what AmberTools 26.0.0 made of `SMILES`: charges in the order of the canonical
SMILES, types and prmtop in the order of `SMILES`.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from boltzgen.errors import MissingExtraError
from boltzgen.system.ambertools.programs import AmberTools, find_ambertools

FILES = Path(__file__).parents[1] / "files" / "amber"

#: 2-mercapto-beta-alanine, an anion: hydrogens on C, N and S and a carboxylate tell the sets of radii apart.
SMILES = "NC[C@H](S)C(=O)[O-]"
#: Its AM1-BCC charges in the order of `SMILES`, as antechamber wrote them (e).
CHARGES = (-0.9058, 0.1738, -0.1016, -0.5279, 0.9156, -0.8313, -0.8313, 0.3478, 0.3478, 0.0367, 0.0367)
CHARGES = (*CHARGES, 0.0607, 0.2798)

#: Of antechamber: by the first atom, hydrogen in canonical order, nitrogen as written.
CHARGED = "cp {files}/charged.mol2 charged.mol2; cp {files}/sqm.pdb sqm.pdb"
TYPED = """case "$(sed -n 5p given.sdf)" in
*" H "*) cp {files}/charged.mol2 types.mol2;;
*) cp {files}/types.mol2 types.mol2;;
esac"""

ANSWERS = {
    "antechamber": """case " $* " in
*" -c "*) {charges};;
*) {types};;
esac""",
    "sqm": "exit 1",
    "parmchk2": "cp {files}/lacking.frcmod lacking.frcmod",
    "tleap": "cp {files}/made.prmtop made.prmtop; cp {files}/made.inpcrd made.inpcrd",
}


def real_tools() -> AmberTools:
    """The programs of this machine; skips the test where there are none."""
    try:
        return find_ambertools("the test")
    except MissingExtraError as error:
        pytest.skip(str(error))


def scripted_tools(folder: Path, *, charges: str = CHARGED, types: str = TYPED, **answers: str) -> AmberTools:
    """Scripts in `folder` that answer for `SMILES`, or as `answers` say; each call is a line of `calls`.

    charges, types: what antechamber does where it is asked for charges, and where it is not.
    """
    place = folder / "bin"
    place.mkdir(parents=True, exist_ok=True)
    for name, usual in ANSWERS.items():
        body = answers.get(name, usual).replace("{charges}", charges).replace("{types}", types)
        body = body.replace("{files}", str(FILES))
        program = place / name
        program.write_text(f'#!/bin/sh\necho "{name} $*" >> {folder}/calls\n{body}\n')
        program.chmod(0o755)
    return AmberTools(place, folder)


def calls(folder: Path) -> list[str]:
    """What was called, a line each."""
    path = folder / "calls"
    return path.read_text().splitlines() if path.exists() else []
