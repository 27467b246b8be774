"""Evaluation of OpenMM expressions on torch tensors.

`bind` evaluates once, in float64, every part of an expression that depends on constants and
parameters alone; what is left is a short program, in which equal subexpressions occur once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

import torch
from torch import Tensor

from boltzgen.errors import InputError
from boltzgen.potentials.expressions.parser import (
    NEGATE,
    Call,
    Expression,
    Number,
    Variable,
    free_variables,
    in_order,
    is_integer,
)

Value = Tensor | float
#: A tabulated or geometric function: tensors that broadcast, to a tensor.
TensorFunction = Callable[..., Tensor]

#: Integer powers up to this one are products.
LARGEST_PRODUCT = 64


def _tensors(*values: Value) -> list[Tensor]:
    """Numbers among `values` as tensors like the others."""
    like = next((v for v in values if isinstance(v, Tensor)), torch.zeros((), dtype=torch.float64))
    return [v if isinstance(v, Tensor) else like.new_full((), v) for v in values]


def _of_tensors(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    return lambda *values: function(*_tensors(*values))


def _indicator(condition: Tensor, like: Tensor) -> Tensor:
    return condition.to(like.dtype)


#: What each operation does; where one argument is NaN, min and max give the second, as OpenMM.
OPERATIONS: dict[str, Callable[..., Tensor]] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: a / b,
    "^": torch.pow,
    NEGATE: lambda a: -a,
    "sqrt": torch.sqrt,
    "exp": torch.exp,
    "log": torch.log,
    "sin": torch.sin,
    "cos": torch.cos,
    "tan": torch.tan,
    "sec": lambda a: a.cos().reciprocal(),
    "csc": lambda a: a.sin().reciprocal(),
    "cot": lambda a: a.tan().reciprocal(),
    "asin": torch.asin,
    "acos": torch.acos,
    "atan": torch.atan,
    "atan2": _of_tensors(torch.atan2),
    "sinh": torch.sinh,
    "cosh": torch.cosh,
    "tanh": torch.tanh,
    "erf": torch.erf,
    "erfc": torch.erfc,
    "step": lambda a: _indicator(a >= 0, a),
    "delta": lambda a: _indicator(a == 0, a),
    "square": torch.square,
    "cube": lambda a: a * a * a,
    "recip": torch.reciprocal,
    "min": _of_tensors(lambda a, b: torch.where(a < b, a, b)),
    "max": _of_tensors(lambda a, b: torch.where(a > b, a, b)),
    "abs": torch.abs,
    "floor": torch.floor,
    "ceil": torch.ceil,
    "select": _of_tensors(lambda condition, yes, no: torch.where(condition != 0, yes, no)),
}
#: Operations with finite derivatives everywhere; a branch of these alone needs no gate in `select`.
SMOOTH = frozenset(("+", "-", "*", NEGATE, "square", "cube", "sin", "cos", "tanh", "atan", "erf", "erfc")) | {
    *("step", "delta", "min", "max", "abs", "floor", "ceil", "select")
}


@dataclass(frozen=True)
class _Step:
    """One operation on earlier slots of a program; `branches` only in a gated select."""

    function: str
    arguments: tuple[int, ...]
    branches: tuple[BoundExpression, ...] = ()


@dataclass(frozen=True)
class BoundExpression:
    """An expression whose static parts are evaluated: a program over dynamic variables.

    Attributes
    ----------
    expression: what is left; its variables are dynamic ones and the names of `constants` (``#0``, ...).
    constants: float64 tensors, of the shape that the static variables had.
    functions: tabulated and geometric functions by name.
    """

    expression: Expression
    constants: Mapping[str, Tensor]
    functions: Mapping[str, TensorFunction]
    inputs: tuple[Value | str, ...] = field(init=False, repr=False)
    steps: tuple[_Step, ...] = field(init=False, repr=False)
    result: int = field(init=False, repr=False)

    def __post_init__(self) -> None:
        inputs, steps, result = _program(self)
        object.__setattr__(self, "inputs", inputs)
        object.__setattr__(self, "steps", steps)
        object.__setattr__(self, "result", result)

    @property
    def variables(self) -> frozenset[str]:
        """The dynamic variables that are still needed."""
        return free_variables(self.expression) - set(self.constants)

    def __call__(
        self, variables: Mapping[str, Tensor], constants: Mapping[str, Tensor] | None = None
    ) -> Tensor:
        """The value: tensors of `variables` and constants broadcast together.

        `constants` replaces the float64 ones by copies in another dtype or on another device. An
        expression that depends on nothing gives a tensor without dimensions.
        """
        known = {**variables, **(self.constants if constants is None else constants), **variables}
        slots: list[Value] = [known[name] if isinstance(name, str) else name for name in self.inputs]
        for step in self.steps:
            slots.append(self._perform(step, [slots[n] for n in step.arguments], known))
        floating = (value for value in known.values() if value.is_floating_point())
        like = next(floating, torch.zeros((), dtype=torch.float64))
        return _tensors(slots[self.result], like)[0]

    def _perform(self, step: _Step, arguments: Sequence[Value], known: Mapping[str, Tensor]) -> Tensor:
        if step.branches:
            taken = cast(Tensor, arguments[0]) != 0
            yes, no = (
                branch(_gated(known, branch, mask), known)
                for branch, mask in zip(step.branches, (taken, ~taken), strict=True)
            )
            return torch.where(taken, yes, no)
        if step.function in self.functions:
            return self.functions[step.function](*_tensors(*arguments))
        return OPERATIONS[step.function](*arguments)


def _gated(known: Mapping[str, Tensor], branch: BoundExpression, mask: Tensor) -> dict[str, Tensor]:
    """The variables of `branch`; where `mask` is false no gradient returns through them, not even NaN.

    ``where(mask, x, x.detach())`` has the value of x, and a gradient that is cut off, not multiplied by 0.
    """
    return {
        name: torch.where(mask, known[name], known[name].detach())
        for name in branch.variables
        if known[name].requires_grad
    }


def _program(bound: BoundExpression) -> tuple[tuple[Value | str, ...], tuple[_Step, ...], int]:
    """Inputs and steps in order, equal subexpressions once, and the slot of the result."""
    leaves: dict[object, int] = {}
    nodes = list(in_order(bound.expression, lambda node: _operands(node, bound.functions)))
    inputs: list[Value | str] = []
    for node in nodes:
        if not isinstance(node, Call) and node not in leaves:
            leaves[node] = len(inputs)
            inputs.append(node.name if isinstance(node, Variable) else node.value)
    steps: list[_Step] = []
    known: dict[object, int] = {}
    slots: dict[int, int] = {}
    for node in nodes:
        if not isinstance(node, Call):
            slots[id(node)] = leaves[node]
            continue
        operands = tuple(slots[id(operand)] for operand in _operands(node, bound.functions))
        branches = node.arguments[1:] if len(operands) < len(node.arguments) else ()
        key = (node.function, operands, tuple(id(branch) for branch in branches))
        if key not in known:
            known[key] = len(inputs) + len(steps)
            bodies = tuple(BoundExpression(branch, {}, bound.functions) for branch in branches)
            steps.append(_Step(node.function, operands, bodies))
        slots[id(node)] = known[key]
    return tuple(inputs), tuple(steps), slots[id(bound.expression)]


def _operands(node: Expression, functions: Mapping[str, TensorFunction]) -> tuple[Expression, ...]:
    """What is evaluated before `node`: its arguments, but of a gated select the condition alone."""
    if not isinstance(node, Call):
        return ()
    if node.function == "select" and node.function not in functions:
        calls = (n for branch in node.arguments[1:] for n in in_order(branch) if isinstance(n, Call))
        if any(call.function not in SMOOTH for call in calls):
            return node.arguments[:1]
    return node.arguments


def bind(
    expression: Expression,
    static: Mapping[str, Tensor | float] | None = None,
    functions: Mapping[str, TensorFunction] | None = None,
) -> BoundExpression:
    """Evaluate what depends on constants and the variables of `static` alone, once, in float64.

    Static tensors must broadcast against the dynamic ones, say (terms, 1) against (terms, batch).
    A folded tensor whose values are all equal becomes a number. Integer powers become products.
    """
    functions = functions or {}
    given = {
        name: torch.as_tensor(value, dtype=torch.float64).detach() for name, value in (static or {}).items()
    }
    folder = _Folder(given, functions)
    done: dict[int, Expression | Tensor] = {}
    for node in in_order(expression):
        done[id(node)] = folder.fold(node, done)
    left = folder.as_expression(done[id(expression)])
    used = free_variables(left)
    constants = {name: value for name, value in folder.constants.items() if name in used}
    return BoundExpression(left, constants, functions)


class _Folder:
    """Partial evaluation: a static subtree is a tensor, a dynamic one an expression."""

    def __init__(self, static: Mapping[str, Tensor], functions: Mapping[str, TensorFunction]) -> None:
        self.static, self.functions = static, functions
        self.constants: dict[str, Tensor] = {}
        self._names: dict[int, Expression] = {}
        self._equal: dict[object, Expression | Tensor] = {}

    def fold(self, node: Expression, done: Mapping[int, Expression | Tensor]) -> Expression | Tensor:
        key: object = node
        if isinstance(node, Call):
            key = (node.function, tuple(id(done[id(argument)]) for argument in node.arguments))
        if key not in self._equal:
            self._equal[key] = self._fold(node, done)
        return self._equal[key]

    def _fold(self, node: Expression, done: Mapping[int, Expression | Tensor]) -> Expression | Tensor:
        if isinstance(node, Number):
            return torch.tensor(node.value, dtype=torch.float64)
        if isinstance(node, Variable):
            return self.static.get(node.name, node)
        arguments = [done[id(argument)] for argument in node.arguments]
        custom = node.function in self.functions
        if all(isinstance(argument, Tensor) for argument in arguments):
            operation = self.functions[node.function] if custom else OPERATIONS[node.function]
            return operation(*arguments)
        left = tuple(self.as_expression(argument) for argument in arguments)
        result = Call(node.function, left) if custom else simplified(node.function, left)
        return torch.tensor(result.value, dtype=torch.float64) if isinstance(result, Number) else result

    def as_expression(self, value: Expression | Tensor) -> Expression:
        """A number where all values are equal, else the name of a constant."""
        if not isinstance(value, Tensor):
            return value
        if id(value) not in self._names:
            flat = value.reshape(-1)
            if len(flat) and bool((flat == flat[0]).all()):
                self._names[id(value)] = Number(float(flat[0]))
            else:
                name = f"#{len(self.constants)}"
                self.constants[name] = value
                self._names[id(value)] = Variable(name)
        return self._names[id(value)]


def simplified(function: str, arguments: tuple[Expression, ...]) -> Expression:
    """The call in its simplest form; equal arguments must be the same object.

    OpenMM makes the same changes, also where they turn what is not a number into one (``0*log(x)``, ``x/x``,
    ``sqrt(x)^2``), so that both give the same energies.
    """
    first, last = arguments[0], arguments[-1]
    values = [argument.value if isinstance(argument, Number) else None for argument in arguments]
    if function in ("+", "-", "*", "/"):
        return _simple_arithmetic(function, first, last, values)
    if function == "^" and values[0] in (0.0, 1.0):
        return first
    if function == "^" and values[1] is not None:
        return _power(first, values[1])
    if function == "square" and isinstance(first, Call) and first.function == "sqrt":
        return first.arguments[0]
    if function == "select" and values[0] is not None:
        return arguments[1] if values[0] != 0 else arguments[2]
    return Call(function, arguments)


def _simple_arithmetic(
    function: str, first: Expression, last: Expression, values: Sequence[float | None]
) -> Expression:
    if first is last and function in ("-", "/"):
        return Number(0.0 if function == "-" else 1.0)
    if (values[0] == 0 and function in ("*", "/")) or (values[1] == 0 and function == "*"):
        return Number(0.0)
    if (values[1] == 0 and function in ("+", "-")) or (values[1] == 1 and function in ("*", "/")):
        return first
    if (values[0] == 0 and function == "+") or (values[0] == 1 and function == "*"):
        return last
    if values[0] == 1 and function == "/":
        return Call("recip", (last,))
    if function == "*" and first is last:
        return simplified("square", (first,))
    if function == "*":  # a product with 1/x is a quotient
        for one, other in ((first, last), (last, first)):
            if isinstance(other, Call) and other.function == "recip":
                return _simple_arithmetic("/", one, other.arguments[0], (None, None))
    return Call(function, (first, last))


def _power(base: Expression, exponent: float) -> Expression:
    if exponent == 0.5:
        return Call("sqrt", (base,))
    if not is_integer(exponent) or abs(exponent) > LARGEST_PRODUCT:
        return Call("^", (base, Number(exponent)))
    if exponent < 0:
        return Call("recip", (_power(base, -exponent),))
    if exponent == 0:
        return Number(1.0)
    if exponent == 1:
        return base
    if exponent % 2:
        return Call("*", (base, _power(base, exponent - 1)))
    return simplified("square", (_power(base, exponent // 2),))


def evaluate(
    expression: Expression,
    variables: Mapping[str, Tensor],
    functions: Mapping[str, TensorFunction] | None = None,
) -> Tensor:
    """The value of an expression for tensors that broadcast; differentiable. Use `bind` to evaluate often.

    Raises
    ------
    InputError
        Naming a variable that has no value.
    """
    bound = bind(expression, {}, functions)
    if missing := bound.variables - set(variables):
        raise InputError(f"The expression has no value for {', '.join(sorted(missing))}.")
    return bound(variables)
