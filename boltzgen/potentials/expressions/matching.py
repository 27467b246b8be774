"""Recognises an expression as an instance of a template, however it is written.

Both are brought to one form: a sum of products, each a number times powers of atoms, where an atom is
a variable, a function of such forms, or an inner sum. Order, signs, quotients, ``recip``, ``sqrt``,
``square``, ``cube``, repeated factors and a number in front of a sum no longer matter then. Products
of two sums are not multiplied out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import reduce
from typing import TypeVar

from boltzgen.potentials.expressions.evaluation import evaluate
from boltzgen.potentials.expressions.parser import (
    FUNCTIONS,
    NEGATE,
    Call,
    Expression,
    Number,
    Variable,
    in_order,
    is_integer,
    parse,
)

#: Names of numeric wildcards in a template: an underscore and a capital letter.
WILDCARD = re.compile(r"_[A-Z]\w*")
#: Relative difference up to which two numbers are the same.
SAME = 1e-9

Wildcards = dict[str, float]
POWERS = {"recip": -1.0, "sqrt": 0.5, "square": 2.0, "cube": 3.0}
#: Functions whose arguments may change places.
SYMMETRIC = ("min", "max")


@dataclass(frozen=True)
class _Function:
    name: str
    arguments: tuple[_Sum, ...]


@dataclass(frozen=True)
class _Product:
    """``coefficient * product of wildcard^power * product of atom^power``; both in canonical order."""

    coefficient: float
    factors: tuple[tuple[_Atom, float], ...] = ()
    wildcards: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True)
class _Sum:
    products: tuple[_Product, ...]


_Atom = str | _Function | _Sum
_Base = TypeVar("_Base")


def _number(value: float) -> _Sum:
    return _Sum((_Product(value),) if value else ())


def _added(sums: list[_Sum]) -> _Sum:
    total: dict[tuple[object, object], _Product] = {}
    for product in (product for part in sums for product in part.products):
        key = (product.factors, product.wildcards)
        before = total[key].coefficient if key in total else 0.0
        total[key] = _Product(before + product.coefficient, product.factors, product.wildcards)
    return _Sum(tuple(sorted((p for p in total.values() if p.coefficient), key=repr)))


def _single(value: _Sum) -> _Product:
    """`value` as one product; a sum of several becomes its own only factor."""
    if not value.products:
        return _Product(0.0)
    return value.products[0] if len(value.products) == 1 else _Product(1.0, ((value, 1.0),))


def _multiplied(one: _Sum, two: _Sum) -> _Sum:
    for number, other in ((one, two), (two, one)):
        if len(number.products) == 1 and not number.products[0].factors and len(other.products) > 1:
            return _added([_Sum((_merged(number.products[0], product),)) for product in other.products])
    product = _merged(_single(one), _single(two))
    return _simple(product)


def _simple(product: _Product) -> _Sum:
    """The sum of this product alone; a number times one inner sum is multiplied out."""
    if not product.coefficient:
        return _Sum(())
    if len(product.factors) == 1 and product.factors[0][1] == 1 and isinstance(product.factors[0][0], _Sum):
        number = _Product(product.coefficient, (), product.wildcards)
        return _added([_Sum((_merged(number, part),)) for part in product.factors[0][0].products])
    return _Sum((product,))


def _merged(one: _Product, two: _Product) -> _Product:
    factors = _collected(one.factors + two.factors)
    wildcards = _collected(one.wildcards + two.wildcards)
    return _Product(one.coefficient * two.coefficient, factors, wildcards)


def _collected(factors: tuple[tuple[_Base, float], ...]) -> tuple[tuple[_Base, float], ...]:
    powers: dict[_Base, float] = {}
    for base, power in factors:
        powers[base] = powers.get(base, 0.0) + power
    return tuple(sorted(((base, power) for base, power in powers.items() if power), key=repr))


def _raised(base: _Sum, power: float) -> _Sum:
    product = _single(base)
    simple = is_integer(power)
    if not base.products:
        return _number(0.0) if power > 0 else _Sum((_Product(1.0, ((base, power),)),))
    if simple or (product.coefficient == 1 and len(product.factors) == 1 and not product.wildcards):
        factors = tuple((atom, own * power) for atom, own in product.factors)
        # (x^2)^(1/2) is abs(x): only whole powers of a power are multiplied
        if simple or all(own == 1 for _, own in product.factors):
            wildcards = tuple((name, own * power) for name, own in product.wildcards)
            return _simple(_Product(product.coefficient**power, factors, wildcards))
    if product.coefficient > 0 and not product.factors and not product.wildcards:
        return _number(product.coefficient**power)
    return _Sum((_Product(1.0, ((base, power),)),))


def _canonical(expression: Expression, wildcards: bool) -> _Sum:
    done: dict[int, _Sum] = {}
    for node in in_order(expression):
        if isinstance(node, Number):
            done[id(node)] = _number(node.value)
        elif isinstance(node, Variable):
            wild = wildcards and WILDCARD.fullmatch(node.name)
            product = _Product(1.0, (), ((node.name, 1.0),)) if wild else _Product(1.0, ((node.name, 1.0),))
            done[id(node)] = _Sum((product,))
        else:
            done[id(node)] = _canonical_call(node.function, [done[id(child)] for child in node.arguments])
    return done[id(expression)]


def _canonical_call(function: str, arguments: list[_Sum]) -> _Sum:
    minus_one = _number(-1.0)
    if function == "+":
        return _added(arguments)
    if function == "-":
        return _added([arguments[0], _multiplied(minus_one, arguments[1])])
    if function == NEGATE:
        return _multiplied(minus_one, arguments[0])
    if function == "*":
        return reduce(_multiplied, arguments)
    if function == "/":
        return _multiplied(arguments[0], _raised(arguments[1], -1.0))
    if function in POWERS:
        return _raised(arguments[0], POWERS[function])
    values = [_constant(argument) for argument in arguments]
    if function == "^" and values[1] is not None:
        return _raised(arguments[0], values[1])
    if (function in FUNCTIONS or function == "^") and all(value is not None for value in values):
        numbers = tuple(Number(value) for value in values if value is not None)
        return _number(float(evaluate(Call(function, numbers), {})))
    return _Sum((_Product(1.0, ((_Function(function, tuple(arguments)), 1.0),)),))


def _constant(value: _Sum) -> float | None:
    if not value.products:
        return 0.0
    only = value.products[0]
    plain = len(value.products) == 1 and not only.factors and not only.wildcards
    return only.coefficient if plain else None


def matches(
    expression: Expression | str, template_text: str, functions: Mapping[str, int] | None = None
) -> dict[str, float] | None:
    """The numbers for which the template is the expression, or None.

    Parameters
    ----------
    expression: the expression, or its text.
    template_text: an expression in which names such as ``_A`` or ``_Cutoff`` (an underscore and a capital
        letter) stand for numbers. Each product has one unknown number at most; write ``_C*x/y``, not
        ``_A/_B*x/y``.
    functions: tabulated functions in either of them, with their numbers of arguments, as for `parse`.
    """
    if isinstance(expression, str):
        expression = parse(expression, functions)
    template = _canonical(parse(template_text, functions), wildcards=True)
    return next(_sums(template, _canonical(expression, wildcards=False), {}), None)


def _same(one: float, two: float) -> bool:
    return abs(one - two) <= SAME * max(abs(one), abs(two))


def _sums(template: _Sum, given: _Sum, known: Mapping[str, float]) -> Iterator[Wildcards]:
    if len(template.products) == len(given.products):
        yield from _pairings(template.products, given.products, known)


def _pairings(
    templates: tuple[_Product, ...], given: tuple[_Product, ...], known: Mapping[str, float]
) -> Iterator[Wildcards]:
    if not templates:
        yield dict(known)
        return
    for index, product in enumerate(given):
        rest = given[:index] + given[index + 1 :]
        for found in _products(templates[0], product, known):
            yield from _pairings(templates[1:], rest, found)


def _products(template: _Product, given: _Product, known: Mapping[str, float]) -> Iterator[Wildcards]:
    if len(template.factors) != len(given.factors):
        return
    for found in _factors(template.factors, given.factors, known):
        unknown = [(name, power) for name, power in template.wildcards if name not in found]
        coefficient = template.coefficient
        for name, power in template.wildcards:
            coefficient *= found.get(name, 1.0) ** power
        if not unknown and _same(coefficient, given.coefficient):
            yield found
        if len(unknown) == 1 and coefficient:
            name, power = unknown[0]
            ratio = given.coefficient / coefficient
            if abs(power) == 1 or ratio > 0:
                yield {**found, name: ratio ** (1 / power)}


def _factors(
    templates: tuple[tuple[_Atom, float], ...],
    given: tuple[tuple[_Atom, float], ...],
    known: Mapping[str, float],
) -> Iterator[Wildcards]:
    if not templates:
        yield dict(known)
        return
    atom, power = templates[0]
    for index, (other, other_power) in enumerate(given):
        if _same(power, other_power):
            rest = given[:index] + given[index + 1 :]
            for found in _atoms(atom, other, known):
                yield from _factors(templates[1:], rest, found)


def _atoms(template: _Atom, given: _Atom, known: Mapping[str, float]) -> Iterator[Wildcards]:
    if isinstance(template, str):
        if template == given:
            yield dict(known)
    elif isinstance(template, _Sum):
        if isinstance(given, _Sum):
            yield from _sums(template, given, known)
    elif isinstance(given, _Function) and template.name == given.name:
        if len(template.arguments) != len(given.arguments):
            return
        orders = [given.arguments]
        if template.name in SYMMETRIC:
            orders.append(given.arguments[::-1])
        for order in orders:
            yield from _arguments(template.arguments, order, known)


def _arguments(
    templates: tuple[_Sum, ...], given: tuple[_Sum, ...], known: Mapping[str, float]
) -> Iterator[Wildcards]:
    if not templates:
        yield dict(known)
        return
    for found in _sums(templates[0], given[0], known):
        yield from _arguments(templates[1:], given[1:], found)
