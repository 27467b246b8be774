"""Reads CustomGBForce: a model that OpenMM itself writes is recognised, any other is kept as it is written.

OpenMM's `app` writes the models of Amber (HCT, OBC1, OBC2, GBn, GBn2) as expressions. They are compared
with the templates below however they are written; numbers that belong to a model are wildcards.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from boltzgen.errors import UnsupportedError
from boltzgen.potentials.expressions.language import Expression, free_variables, matches, parse, substitute
from boltzgen.potentials.from_openmm.read_custom import globals_of, tables_of
from boltzgen.potentials.from_openmm.read_native import cutoff_of, numbers
from boltzgen.potentials.records.solvents import (
    ALL_PAIRS,
    DIELECTRIC_OFFSET,
    SINGLE,
    UNEXCLUDED_PAIRS,
    CustomBornParameters,
    GeneralizedBornParameters,
    NeckParameters,
)
from boltzgen.potentials.records.tabulated import TabulatedFunction

DESCREENING = (
    "select(step(r+sr2-or1), 0.5*(1/L-1/U+0.25*(r-sr2^2/r)*(1/(U^2)-1/(L^2))+0.5*log(L/U)/r), 0);"
    "U=r+sr2; L=max(or1, D); D=abs(r-sr2)"
)
NECK = (
    "Ivdw+_Scale*Ineck; Ineck=step(or1+or2+_Reach-r)*getm0(radindex1,radindex2)"
    "/(1+_Quadratic*(r-getd0(radindex1,radindex2))^2+_Sextic*(r-getd0(radindex1,radindex2))^6);"
    f"Ivdw={DESCREENING}"
)
HCT = "1/(1/or-I)"
#: Born radii through a tanh; what alpha, beta and gamma are: numbers, or parameters of the atoms.
TANH = {
    "1/(1/or-tanh(_Alpha*psi-_Beta*psi^2+_Gamma*psi^3)/(or+_Offset)); psi=I*or": None,
    "1/(1/or-tanh(_Alpha*psi+_Gamma*psi^3)/(or+_Offset)); psi=I*or": None,
    "1/(1/or-tanh(alpha*psi-beta*psi^2+gamma*psi^3)/(or+_Offset)); psi=I*or": ("alpha", "beta", "gamma"),
}
ALONE = "_Self*charge^2/B"
SURFACE = "_Tension*(or+_Reach)^2*(or+_Offset)^6/B^6"
PAIR = "_Pair*charge1*charge2/f; f=sqrt(r^2+B1*B2*exp(-r^2/(4*B1*B2)))"
SHIFTED_PAIR = "_Pair*charge1*charge2*(1/f-_Shift); f=sqrt(r^2+B1*B2*exp(-r^2/(4*B1*B2)))"

KINDS = (SINGLE, UNEXCLUDED_PAIRS, ALL_PAIRS)


def read_custom_gb(force: Any, where: str) -> dict[str, list[Any]]:
    """A recognised model as ``solvent``, anything else as ``custom_gb``."""
    record = custom_gb_record(force, where)
    _refuse_place(record, where)
    known = recognised(record)
    return {"custom_gb": [record]} if known is None else {"solvent": [known]}


def custom_gb_record(force: Any, where: str) -> CustomBornParameters:
    """The force as it is written."""
    kinds = {getattr(type(force), kind): kind for kind in KINDS}
    names = [force.getPerParticleParameterName(n) for n in range(force.getNumPerParticleParameters())]
    rows = [
        numbers(force.getParticleParameters(n), f"{where}, particle {n},")
        for n in range(force.getNumParticles())
    ]
    table = np.array(rows, dtype=np.float64).reshape(len(rows), len(names))
    values = (force.getComputedValueParameters(n) for n in range(force.getNumComputedValues()))
    energies = (force.getEnergyTermParameters(n) for n in range(force.getNumEnergyTerms()))
    exclusions = [force.getExclusionParticles(n) for n in range(force.getNumExclusions())]
    return CustomBornParameters(
        n_atoms=len(rows),
        parameters=dict(zip(names, table.T, strict=True)),
        global_parameters=globals_of(force, where),
        values=tuple((name, text, kinds[kind]) for name, text, kind in values),
        energies=tuple((text, kinds[kind]) for text, kind in energies),
        exclusions=np.array(exclusions, dtype=np.int64).reshape(-1, 2),
        tables=tables_of(force, where),
        cutoff=cutoff_of(force, where),
    )


def _arities(tables: Mapping[str, TabulatedFunction]) -> dict[str, int]:
    return {name: table.arity for name, table in tables.items()}


def _refuse_place(record: CustomBornParameters, where: str) -> None:
    """Refuse what depends on where an atom is in space."""
    known = {*record.parameters, *record.global_parameters, *(name for name, *_ in record.values)}
    texts = [(text, kind) for _, text, kind in record.values] + list(record.energies)
    for text, kind in texts:
        found = free_variables(parse(text, _arities(record.tables)))
        if kind == SINGLE and (found & {"x", "y", "z"}) - known:
            raise UnsupportedError(
                f"The system's {where} depends on the place of an atom in space ({text!r}); boltzgen treats "
                "one molecule, free to move and to rotate."
            )


def recognised(record: CustomBornParameters) -> GeneralizedBornParameters | None:
    """The record of the known model that `record` writes out, or None."""
    if [(name, kind) for name, _, kind in record.values] != [("I", ALL_PAIRS), ("B", SINGLE)]:
        return None
    if not {"charge", "or", "sr"} <= set(record.parameters):
        return None
    trees = [_tree(record, text) for _, text, _ in record.values]
    functions = _arities(record.tables)
    neck = None
    if matches(trees[0], DESCREENING) is None:
        neck = matches(trees[0], NECK, functions) if {"getd0", "getm0"} <= set(functions) else None
        if neck is None or "radindex" not in record.parameters:
            return None
    radii = _radii(record, trees[1])
    energy = _energy(record)
    if radii is None or energy is None:
        return None
    p = record.parameters
    fields: dict[str, Any] = {
        "charge": p["charge"],
        "offset_radius": p["or"],
        "scaled_radius": p["sr"],
        "scale": p["sr"] / p["or"],
        "cutoff": record.cutoff,
        "neck": None if neck is None else _neck(record, neck),
    }
    offset = radii.pop("offset", energy.get("offset", DIELECTRIC_OFFSET))
    if energy.pop("offset", offset) != offset or (energy.get("shift") and record.cutoff is None):
        return None
    energy["probe"] = energy.pop("reach", offset) - offset
    return GeneralizedBornParameters(**fields, radius=p["or"] + offset, **radii, **energy)


def _tree(record: CustomBornParameters, text: str) -> Expression:
    return substitute(parse(text, _arities(record.tables)), record.global_parameters)


def _radii(record: CustomBornParameters, tree: Expression) -> dict[str, Any] | None:
    """The model of the Born radii: its name, its series, and the offset of radii where it says it."""
    if matches(tree, HCT) is not None:
        return {"model": "hct"}
    for template, names in TANH.items():
        if (found := matches(tree, template)) is None:
            continue
        given = [f"_{name.capitalize()}" for name in ("alpha", "beta", "gamma")]
        series = {
            name: record.parameters[name] if names else np.full(record.n_atoms, found.get(wildcard, 0.0))
            for name, wildcard in zip(("alpha", "beta", "gamma"), given, strict=True)
        }
        return {"model": "tanh", "offset": found["_Offset"], **series}
    return None


def _energy(record: CustomBornParameters) -> dict[str, Any] | None:
    """Prefactors and the surface term, if the energy terms are the known ones, each once at most."""
    found: dict[str, Any] = {"self_prefactor": 0.0, "pair_prefactor": 0.0}
    seen: set[str] = set()
    for text, kind in record.energies:
        tree = _tree(record, text)
        if kind == SINGLE and (numbers_ := matches(tree, ALONE)):
            name = "alone"
            found["self_prefactor"] = numbers_["_Self"]
        elif kind == SINGLE and (numbers_ := matches(tree, SURFACE)):
            name = "surface"
            found |= {
                "tension": numbers_["_Tension"],
                "reach": numbers_["_Reach"],
                "offset": numbers_["_Offset"],
            }
        elif kind == ALL_PAIRS and (numbers_ := matches(tree, PAIR)):
            name = "pair"
            found["pair_prefactor"] = numbers_["_Pair"]
        elif kind == ALL_PAIRS and (numbers_ := matches(tree, SHIFTED_PAIR)):
            name = "pair"
            found |= {"pair_prefactor": numbers_["_Pair"], "shift": numbers_["_Shift"]}
        else:
            return None
        if name in seen:
            return None
        seen.add(name)
    return found


def _neck(record: CustomBornParameters, found: Mapping[str, float]) -> NeckParameters:
    index = np.round(record.parameters["radindex"]).astype(np.int64)
    descreened, other = index[:, None], index[None, :]
    return NeckParameters(
        distance=record.tables["getd0"].values[descreened, other],
        height=found["_Scale"] * record.tables["getm0"].values[descreened, other],
        quadratic=found["_Quadratic"],
        sextic=found["_Sextic"],
        reach=found["_Reach"],
    )
