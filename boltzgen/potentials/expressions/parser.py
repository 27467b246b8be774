"""OpenMM's algebraic expression language (Lepton): text to a tree.

Grammar: numbers, names, calls, parentheses, ``+ - * / ^``. ``^`` is right-associative and binds
tighter than a leading minus (``-x^2`` is ``-(x^2)``), which binds tighter than ``*`` and ``/``; there
is no unary plus. After the main expression come definitions ``name = expression``, separated by
semicolons; a definition may use those to its right. Source: the OpenMM user guide, "Writing custom
expressions", and OpenMM itself, against which the tests compare.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import NoReturn

from boltzgen.errors import InputError

#: Built-in functions and the number of their arguments.
FUNCTIONS: dict[str, int] = {
    **dict.fromkeys(("sqrt", "exp", "log", "square", "cube", "recip", "abs", "floor", "ceil"), 1),
    **dict.fromkeys(("sin", "cos", "tan", "sec", "csc", "cot", "asin", "acos", "atan"), 1),
    **dict.fromkeys(("sinh", "cosh", "tanh", "erf", "erfc", "step", "delta"), 1),
    **dict.fromkeys(("atan2", "min", "max"), 2),
    "select": 3,
}
#: Precedence and associativity of the binary operators; a leading minus has the precedence 2.
PRECEDENCE = {"+": 0, "-": 0, "*": 1, "/": 1, "^": 3}
NEGATION_PRECEDENCE = 2
#: Name of the operation of a leading minus in the tree.
NEGATE = "negate"
DEEPEST = 100

TOKEN = re.compile(
    r"\s*(?:(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)|(?P<name>[^-+*/^(),\s0-9.][^-+*/^(),\s]*)"
    r"|(?P<symbol>[-+*/^(),]))"
)


@dataclass(frozen=True)
class Number:
    """A literal or a folded constant."""

    value: float


@dataclass(frozen=True)
class Variable:
    """A name to which a value is given when the expression is evaluated."""

    name: str


@dataclass(frozen=True)
class Call:
    """A function, a binary operator (``+ - * / ^``) or ``negate``, applied to `arguments`."""

    function: str
    arguments: tuple[Expression, ...]


Expression = Number | Variable | Call


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str
    place: int
    #: Whether an opening parenthesis follows at once, which makes a name a function.
    calls: bool


class _Parser:
    """Precedence climbing over the tokens of one expression without semicolons."""

    def __init__(
        self, text: str, whole: str, definitions: Mapping[str, Expression], arities: Mapping[str, int]
    ) -> None:
        self.whole, self.definitions, self.arities = whole, definitions, arities
        self.tokens = list(self._tokenize(text))
        self.position = 0

    def _tokenize(self, text: str) -> Iterator[_Token]:
        place = 0
        text = text.rstrip()
        while place < len(text):
            found = TOKEN.match(text, place)
            if found is None:
                self.fail(f"{text[place:].split()[0]!r} is not a number, a name or an operator")
            place = found.end()
            kind = found.lastgroup or ""
            yield _Token(kind, found[kind], found.start(kind), text[place : place + 1] == "(")

    def fail(self, why: str) -> NoReturn:
        raise InputError(f"The expression {self.whole!r} cannot be read: {why}.")

    def peek(self) -> str:
        return self.tokens[self.position].text if self.position < len(self.tokens) else ""

    def expect(self, text: str, why: str) -> None:
        if self.peek() != text:
            self.fail(why)
        self.position += 1

    def parse(self) -> Expression:
        result = self.binary(0, 0)
        if self.position < len(self.tokens):
            self.fail(f"unexpected {self.peek()!r} after a complete expression")
        return result

    def binary(self, precedence: int, depth: int) -> Expression:
        """An operand and all operators that bind at least as tightly as `precedence`."""
        if depth > DEEPEST:
            self.fail(f"it is nested more than {DEEPEST} deep")
        result = self.operand(depth + 1)
        while (operator := self.peek()) in PRECEDENCE and PRECEDENCE[operator] >= precedence:
            self.position += 1
            right = PRECEDENCE[operator] + (operator != "^")
            result = Call(operator, (result, self.binary(right, depth + 1)))
        return result

    def operand(self, depth: int) -> Expression:
        if self.position == len(self.tokens):
            self.fail("it ends where a number, a name or a parenthesis is needed")
        token = self.tokens[self.position]
        self.position += 1
        if token.kind == "number":
            return Number(float(token.text))
        if token.kind == "name" and token.calls:
            return self.call(token.text, depth)
        if token.kind == "name":
            return self.definitions.get(token.text, Variable(token.text))
        if token.text == "-":
            return Call(NEGATE, (self.binary(NEGATION_PRECEDENCE, depth),))
        if token.text == "(":
            inner = self.binary(0, depth)
            self.expect(")", "a closing parenthesis is missing")
            return inner
        self.fail(f"{token.text!r} stands where a number, a name or a parenthesis is needed")

    def call(self, name: str, depth: int) -> Call:
        self.expect("(", "a parenthesis is missing")
        arguments = [self.binary(0, depth)]
        while self.peek() == ",":
            self.position += 1
            arguments.append(self.binary(0, depth))
        self.expect(")", f"the closing parenthesis of {name}(...) is missing")
        if name not in self.arities:
            self.fail(f"there is no function {name!r}")
        if len(arguments) != self.arities[name]:
            self.fail(f"{name}() takes {self.arities[name]} arguments, {len(arguments)} are given")
        return Call(name, tuple(arguments))


def parse(text: str, functions: Mapping[str, int] | None = None) -> Expression:
    """The tree of an expression, its definitions substituted (shared, not copied).

    Parameters
    ----------
    text: the expression and its definitions, ``"k*d^2; d=r-r0"``.
    functions: further functions (tabulated ones, ``distance``, ...) by name, with the number of their
        arguments; they go before built-in ones of the same name.

    Raises
    ------
    InputError
        When the text is not an expression; the message quotes it and says why.
    """
    arities = {**FUNCTIONS, **(functions or {})}
    main, *parts = text.split(";")
    definitions: dict[str, Expression] = {}
    for part in reversed([part.strip() for part in parts]):
        if not part:
            continue
        name, equals, body = part.partition("=")
        if not equals or not name.strip():
            raise InputError(
                f"The expression {text!r} cannot be read: the definition {part!r} is not 'name = expression'."
            )
        definitions[name.strip()] = _Parser(body, text, definitions, arities).parse()
    return _Parser(main, text, definitions, arities).parse()


def arguments_of(node: Expression) -> tuple[Expression, ...]:
    return node.arguments if isinstance(node, Call) else ()


def in_order(
    expression: Expression, children: Callable[[Expression], tuple[Expression, ...]] = arguments_of
) -> Iterator[Expression]:
    """Every node once (by identity), each after its `children`; no recursion, so depth is no limit."""
    seen: set[int] = set()
    stack: list[tuple[Expression, bool]] = [(expression, False)]
    while stack:
        node, ready = stack.pop()
        if ready:
            yield node
        elif id(node) not in seen:
            seen.add(id(node))
            stack.append((node, True))
            stack.extend((child, False) for child in reversed(children(node)))


def free_variables(expression: Expression) -> frozenset[str]:
    """The names that need a value."""
    return frozenset(node.name for node in in_order(expression) if isinstance(node, Variable))


def rewritten(expression: Expression, change: Callable[[Expression], Expression]) -> Expression:
    """`expression` with `change` applied to each node, arguments first; what was shared stays shared."""
    done: dict[int, Expression] = {}
    for node in in_order(expression):
        new = node
        if isinstance(node, Call):
            arguments = tuple(done[id(argument)] for argument in node.arguments)
            if any(now is not before for now, before in zip(arguments, node.arguments, strict=True)):
                new = Call(node.function, arguments)
        done[id(node)] = change(new)
    return done[id(expression)]


def substitute(expression: Expression, values: Mapping[str, Expression | float]) -> Expression:
    """`expression` with variables replaced by expressions or numbers."""

    def change(node: Expression) -> Expression:
        if not isinstance(node, Variable) or node.name not in values:
            return node
        value = values[node.name]
        return Number(float(value)) if isinstance(value, int | float) else value

    return rewritten(expression, change)


def is_integer(value: float) -> bool:
    return math.isfinite(value) and value == int(value)
