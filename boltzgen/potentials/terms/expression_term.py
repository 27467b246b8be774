"""The energy of a custom force: its expression on the atoms of each term."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from boltzgen.errors import InputError
from boltzgen.potentials.expressions.language import (
    BoundExpression,
    Call,
    Expression,
    TensorFunction,
    Variable,
    bind,
    parse,
    rewritten,
)
from boltzgen.potentials.records.custom_forces import CustomForce
from boltzgen.potentials.terms.custom_geometry import OF_PARTICLES, OF_POINTS, OF_POINTS_ARITY
from boltzgen.potentials.terms.custom_term import BlockTerm

#: The one variable of a force class, and the function of the atoms that it stands for.
SIMPLE = {
    "CustomBondForce": ("r", "distance"),
    "CustomNonbondedForce": ("r", "distance"),
    "CustomAngleForce": ("theta", "angle"),
    "CustomTorsionForce": ("theta", "dihedral"),
}
#: Prefix of a particle's name in the expressions of forces on any number of atoms.
PARTICLE = {"CustomCompoundBondForce": "p", "CustomCentroidBondForce": "g"}
AXES = "xyz"

#: Tensors of the size of the terms that autograd keeps at a time, for the choice of the block's size.
SAVED_TENSORS = 4

#: Relative change of an energy under rotation above which a force is not invariant.
NOT_INVARIANT = 1e-6


@dataclass(frozen=True)
class Quantity:
    """A function of some of a term's atoms: distance, angle, dihedral, or one coordinate, x, y or z."""

    function: str
    columns: tuple[int, ...]


class ExpressionTerm(BlockTerm):
    """Terms of a custom force, by its expression; what depends on parameters alone is computed once.

    Raises
    ------
    InputError
        When the expression is malformed or uses a name that is not known, naming the force.
    """

    def __init__(self, force: CustomForce) -> None:
        expression, quantities = bound_expression(force)
        arrays = {name: value.numpy() for name, value in expression.constants.items()}
        super().__init__(atoms=force.atoms, **arrays)
        self.force, self.expression, self.quantities = force, expression, quantities
        self.name = force.where + (", bonded" if force.bonded else "")
        self.bonded = force.bonded
        self.rows = len(force.atoms) * max(force.atoms.shape[1], SAVED_TENSORS)
        self.invariant = self._is_invariant()

    def block_energy(self, x: Tensor) -> Tensor:
        return self.terms(x).sum(0)

    def terms(self, x: Tensor) -> Tensor:
        """The energy (T, b) of each term."""
        c = self.constants.like(x)
        variables = self._variables(x, c["atoms"])
        cutoff = self.force.cutoff
        if cutoff is None:
            energy = self.expression(variables, c)
        else:
            # NaN counts as near, so that it is seen; beyond the cutoff the expression gets the cutoff itself
            r = variables["r"]
            near = {**variables, "r": r.clamp_max(cutoff)}
            energy = torch.where(r >= cutoff, 0.0, self._switched(near["r"], self.expression(near, c)))
        return energy.expand(len(self.force.atoms), x.shape[-1])

    def _switched(self, r: Tensor, energy: Tensor) -> Tensor:
        start, cutoff = self.force.switching_distance, self.force.cutoff
        if start is None or cutoff is None:
            return energy
        t = ((r - start) / (cutoff - start)).clamp_min(0.0)
        return energy * (1 + t**3 * (-10 + t * (15 - 6 * t)))

    def _variables(self, x: Tensor, atoms: Tensor) -> dict[str, Tensor]:
        columns = sorted({column for quantity in self.quantities.values() for column in quantity.columns})
        places = {column: x.index_select(0, atoms[:, column]) for column in columns}
        values = {}
        for name, quantity in self.quantities.items():
            points = [places[column] for column in quantity.columns]
            if quantity.function == "distance":  # as `custom_geometry.distance`, in fewer operations
                values[name] = (points[0] - points[1]).square().sum(1).sqrt()
            elif quantity.function in OF_PARTICLES:
                values[name] = OF_PARTICLES[quantity.function][0](*(point.unbind(1) for point in points))
            else:
                values[name] = points[0][:, AXES.index(quantity.function)]
        return values

    def _is_invariant(self) -> bool:
        """Whether rotating and shifting random positions leaves all energies as they are."""
        if all(quantity.function in OF_PARTICLES for quantity in self.quantities.values()):
            return True
        if self.force.kind == "CustomExternalForce":
            return False
        random = np.random.default_rng(0)
        turn = np.linalg.qr(random.normal(size=(3, 3)))[0]
        turn *= np.sign(np.linalg.det(turn))
        positions = random.normal(scale=0.2, size=(8, self.force.atoms.max() + 1, 3))
        moved = positions @ turn + random.normal(size=3)
        with torch.no_grad():
            before, after = (self.terms(torch.tensor(p).permute(1, 2, 0)) for p in (positions, moved))
        change = (before - after).abs() / (1 + before.abs())
        return bool((change[torch.isfinite(change)] < NOT_INVARIANT).all())


def bound_expression(force: CustomForce) -> tuple[BoundExpression, dict[str, Quantity]]:
    """The force's expression with its parameters folded in, and the quantities that it still needs."""
    own = {name: table.arity for name, table in force.functions.items()}
    particle = PARTICLE.get(force.kind)
    geometric = {**OF_POINTS_ARITY, **{n: arity for n, (_, arity) in OF_PARTICLES.items()}}
    try:
        expression = parse(force.expression, {**(geometric if particle else {}), **own})
        quantities = _simple_quantities(force)
        if particle:
            expression, quantities = _with_quantities(expression, particle, force)
    except InputError as error:
        raise InputError(f"In the system's {force.where}: {error}") from error
    parameters = {
        name: torch.tensor(value[..., None] if value.ndim else value)
        for name, value in force.parameters.items()
    }
    functions: dict[str, TensorFunction] = {**(OF_POINTS if particle else {}), **force.functions}
    bound = bind(expression, parameters, functions)
    if unknown := sorted(bound.variables - set(quantities)):
        raise InputError(
            f"The expression of the system's {force.where} uses {', '.join(map(repr, unknown))}, which is "
            f"neither a parameter nor a definition nor one of {', '.join(quantities) or 'its variables'}: "
            f"{force.expression!r}."
        )
    return bound, {name: quantities[name] for name in sorted(bound.variables)}


def _simple_quantities(force: CustomForce) -> dict[str, Quantity]:
    """The variables that every expression of this class may use."""
    n = force.atoms.shape[1]
    if force.kind in SIMPLE:
        name, function = SIMPLE[force.kind]
        return {name: Quantity(function, tuple(range(n)))}
    if force.kind == "CustomExternalForce":
        return {axis: Quantity(axis, (0,)) for axis in AXES}
    return {f"{axis}{number + 1}": Quantity(axis, (number,)) for number in range(n) for axis in AXES}


def _with_quantities(
    expression: Expression, particle: str, force: CustomForce
) -> tuple[Expression, dict[str, Quantity]]:
    """`expression` with each ``distance(p1, p2)`` and the like as one variable."""
    particles = {f"{particle}{number + 1}": number for number in range(force.atoms.shape[1])}
    quantities = _simple_quantities(force)

    functions = set(OF_PARTICLES) - set(force.functions)

    def change(node: Expression) -> Expression:
        if not isinstance(node, Call) or node.function not in functions:
            return node
        names = [argument.name for argument in node.arguments if isinstance(argument, Variable)]
        if len(names) < len(node.arguments) or not set(names) <= set(particles):
            raise InputError(
                f"The expression {force.expression!r} cannot be read: {node.function}() takes particles, "
                f"{', '.join(particles)}."
            )
        name = f"{node.function}({','.join(names)})"
        quantities[name] = Quantity(node.function, tuple(particles[n] for n in names))
        return Variable(name)

    return rewritten(expression, change), quantities
