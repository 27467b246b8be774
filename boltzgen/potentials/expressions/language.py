"""OpenMM's algebraic expressions: read, evaluated on torch tensors, partly evaluated, recognised.

``parse(text, functions={"name": arity})`` -> tree of `Number`, `Variable` and `Call`;
``free_variables(tree)``; ``substitute(tree, {"name": 1.0})``;
``evaluate(tree, {"r": tensor}, functions={"name": callable})``;
``bind(tree, static={"k": tensor}, functions=...)`` -> `BoundExpression`, which is called with the
dynamic variables; ``matches(tree, "_A*x/y")`` -> ``{"_A": number}`` or None.
"""

from boltzgen.potentials.expressions.evaluation import BoundExpression, TensorFunction, bind, evaluate
from boltzgen.potentials.expressions.matching import matches
from boltzgen.potentials.expressions.parser import (
    Call,
    Expression,
    Number,
    Variable,
    free_variables,
    parse,
    rewritten,
    substitute,
)

__all__ = [
    "BoundExpression",
    "Call",
    "Expression",
    "Number",
    "TensorFunction",
    "Variable",
    "bind",
    "evaluate",
    "free_variables",
    "matches",
    "parse",
    "rewritten",
    "substitute",
]
