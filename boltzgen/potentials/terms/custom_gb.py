"""Any CustomGBForce: computed values and energy terms as their expressions say."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from boltzgen.potentials.expressions.language import BoundExpression, bind, parse
from boltzgen.potentials.fast.constants import Constants
from boltzgen.potentials.records.solvents import (
    SINGLE,
    UNEXCLUDED_PAIRS,
    CustomBornParameters,
)
from boltzgen.potentials.terms.custom_term import BlockTerm


@dataclass(frozen=True)
class _Part:
    """One expression over atoms or pairs of atoms, its parameters bound."""

    bound: BoundExpression
    constants: Constants

    def __call__(self, variables: dict[str, Tensor], rows: int, like: Tensor) -> Tensor:
        """Values (rows, b)."""
        needed = {name: variables[name] for name in self.bound.variables}
        constants = self.constants.like(like)
        own = {name: constants[name] for name in self.bound.constants}
        value = self.bound(needed, own).to(like.dtype)
        return value.expand(rows, like.shape[-1])


class CustomBorn(BlockTerm):
    """The energy of a CustomGBForce, in OpenMM's order: computed values, then energy terms.

    A computed value of an atom over pairs is the sum over all other atoms, parameters with the index 1 its
    own; an energy term over pairs counts each pair once. ``ParticlePair`` leaves exclusions out. Pairs at
    the cutoff or beyond count as nothing.
    """

    name = "custom_gb"

    def __init__(self, p: CustomBornParameters) -> None:
        self.p = p
        first, second = np.nonzero(~np.eye(p.n_atoms, dtype=bool))
        allowed = np.ones((p.n_atoms, p.n_atoms), dtype=bool)
        for i, j in p.exclusions:
            allowed[i, j] = allowed[j, i] = False
        once = first < second
        self.rows = len(first)
        super().__init__(
            first=first,
            second=second,
            once=np.flatnonzero(once),
            allowed=allowed[first, second].astype(np.float64)[:, None],
            first_once=first[once],
            second_once=second[once],
            allowed_once=allowed[first, second][once].astype(np.float64)[:, None],
        )
        self._values = [(name, kind, self._part(text, kind, first, second)) for name, text, kind in p.values]
        self._energies = [
            (kind, self._part(text, kind, first[once], second[once])) for text, kind in p.energies
        ]

    def _part(self, text: str, kind: str, first: np.ndarray, second: np.ndarray) -> _Part:
        tables = self.p.tables
        expression = parse(text, {name: table.arity for name, table in tables.items()})
        static: dict[str, Tensor | float] = dict(self.p.global_parameters)
        for name, values in self.p.parameters.items():
            if kind == SINGLE:
                static[name] = torch.tensor(values)[:, None]
            else:
                static[name + "1"] = torch.tensor(values[first])[:, None]
                static[name + "2"] = torch.tensor(values[second])[:, None]
        bound = bind(expression, static, tables)
        constants = {name: value.numpy() for name, value in bound.constants.items()}
        return _Part(bound, Constants(**constants))

    def block_energy(self, x: Tensor) -> Tensor:
        c = self.constants.like(x)
        d = x.index_select(0, c["first"]) - x.index_select(0, c["second"])
        r = (d * d).sum(1).sqrt()
        r_once = r.index_select(0, c["once"])
        known: dict[str, Tensor] = {}
        for name, kind, part in self._values:
            if kind == SINGLE:
                known[name] = part(known, self.p.n_atoms, x)
                continue
            value = part(self._of_pairs(known, c, "") | {"r": r}, len(r), x)
            value = self._kept(value, r, kind, c["allowed"])
            known[name] = torch.zeros_like(x[:, 0]).index_add(0, c["first"], value)
        energy = torch.zeros_like(x[0, 0])
        for kind, part in self._energies:
            if kind == SINGLE:
                energy = energy + part(known, self.p.n_atoms, x).sum(0)
                continue
            value = part(self._of_pairs(known, c, "_once") | {"r": r_once}, len(r_once), x)
            energy = energy + self._kept(value, r_once, kind, c["allowed_once"]).sum(0)
        return energy

    @staticmethod
    def _of_pairs(known: dict[str, Tensor], c: dict[str, Tensor], which: str) -> dict[str, Tensor]:
        """The computed values of both atoms of each pair, names ending in 1 and 2."""
        return {
            name + suffix: value.index_select(0, c[side + which])
            for name, value in known.items()
            for suffix, side in (("1", "first"), ("2", "second"))
        }

    def _kept(self, value: Tensor, r: Tensor, kind: str, allowed: Tensor) -> Tensor:
        """Zero for excluded pairs and those beyond the cutoff; NaN distances stay."""
        zero = torch.zeros_like(value)
        if kind == UNEXCLUDED_PAIRS:
            value = torch.where(allowed > 0, value, zero)
        if self.p.cutoff is not None:
            value = torch.where(r >= self.p.cutoff, zero, value)
        return value
