"""OpenMM's expression language against OpenMM itself: every operator, every function, random expressions."""

from __future__ import annotations

import math

import numpy as np
import openmm
import pytest
import torch
from scipy.interpolate import CubicSpline

from boltzgen.errors import InputError
from boltzgen.potentials.expressions.language import (
    Number,
    Variable,
    bind,
    evaluate,
    free_variables,
    matches,
    parse,
    substitute,
)
from boltzgen.potentials.expressions.parser import FUNCTIONS
from boltzgen.potentials.records.tabulated import TabulatedFunction

POINTS = np.random.default_rng(3).uniform(-2.2, 2.2, (12, 3)) * [1.0, 1.0, 0.4]
POINTS[0], POINTS[1] = 0.0, [1.0, -1.0, 0.5]


def by_openmm(text: str, points: np.ndarray = POINTS, tables: dict | None = None) -> np.ndarray:
    """(points, 4): the value of an expression in x, y, z, and its three derivatives, by OpenMM Reference."""
    system = openmm.System()
    system.addParticle(1.0)
    names = "x=x1; y=y1; z=z1"
    force = openmm.CustomCompoundBondForce(1, f"{text.rstrip('; ')}; {names}")
    for name, table in (tables or {}).items():
        force.addTabulatedFunction(name, table)
    force.addBond([0], [])
    system.addForce(force)
    context = openmm.Context(
        system, openmm.VerletIntegrator(1.0), openmm.Platform.getPlatformByName("Reference")
    )
    rows = []
    for point in points:
        context.setPositions([point])
        state = context.getState(getEnergy=True, getForces=True)
        rows.append([state.getPotentialEnergy()._value, *(-state.getForces(asNumpy=True)._value[0])])
    return np.array(rows)


def by_torch(text: str, points: np.ndarray = POINTS, tables: dict | None = None) -> np.ndarray:
    """The same by `evaluate` and autograd."""
    x = torch.tensor(points, requires_grad=True)
    tables = tables or {}
    expression = parse(text, {name: table.arity for name, table in tables.items()})
    value = evaluate(expression, dict(zip("xyz", x.T)), tables).expand(len(points))
    slope = torch.zeros_like(x)
    if value.requires_grad:
        (slope,) = torch.autograd.grad(value.sum(), x)
    return torch.cat([value.detach()[:, None], slope], dim=1).numpy()


def agree(text: str) -> None:
    ours, theirs = by_torch(text), by_openmm(text)
    np.testing.assert_allclose(ours[:, 0], theirs[:, 0], rtol=1e-12, atol=1e-13, err_msg=text)
    usual = np.isfinite(theirs).all(axis=1)  # where the value is not finite, neither needs a derivative
    np.testing.assert_allclose(ours[usual], theirs[usual], rtol=1e-10, atol=1e-12, err_msg=text)


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_every_function(name):
    arguments = ["x*1.3+0.1", "y-0.3*x", "z+1"][: FUNCTIONS[name]]
    agree(f"{name}({','.join(arguments)})")
    agree(f"z*{name}({','.join(arguments)})^2")
    if name in ("step", "delta", "select", "floor", "ceil", "abs", "min", "max"):
        agree(f"{name}({','.join('xyz'[: FUNCTIONS[name]])})*z")


PRECEDENCE = [
    "-x^2",
    "(-x)^2",
    "2^-1",
    "2^-x^2",
    "2^-x*3",
    "2^3^0.5",
    "(2^3)^0.5",
    "x-y-z",
    "x-(y-z)",
    "x/(y+3)/(z+3)",
    "x/(y+3)*z",
    "x*-y",
    "x- -y",
    "--x",
    "---x^3",
    "-x*y^-2",
    "1/-x^2*y",
    "x+y*z^2-4",
    "-2^0.5+x",
    "3e-1*x+1.5E+1+.5-2.e0",
]


@pytest.mark.parametrize("text", PRECEDENCE)
def test_precedence(text):
    agree(text)


@pytest.mark.parametrize("power", [-7, -3, -2, -1, -0.5, 0, 0.5, 1, 2, 3, 6, 7, 12, 13, 1.5, 70])
def test_powers(power):
    agree(f"(x+0.01)^{power}")
    agree(f"(1+x*x)^{power}*y")
    agree(f"{abs(power)}^x")
    agree(f"(1.5+y)^(x*{power})")


DEFINITIONS = [
    "a*b; a=x+b; b=y*z",
    "a^2+a; a=b-1; b=c*c; c=x+y;",
    "a; a=2; a=3",  # the left one counts
    " x * k ;; k = 4 ",
    "r; r=x; y=z",
    "sin(t)^2; t=x*y",
]


@pytest.mark.parametrize("text", DEFINITIONS)
def test_definitions(text):
    agree(text)


def random_expression(g: np.random.Generator, depth: int, names: list[str]) -> str:
    """Text of random operators and functions; nested `depth` deep at most."""
    kind = g.integers(0, 10) if depth else 0
    if kind <= 1:
        number = f"{g.uniform(0, 3):.3g}" if g.random() < 0.7 else str(g.integers(0, 4))
        return str(g.choice([*names, number]))
    if kind <= 6:
        one, two = (random_expression(g, depth - 1, names) for _ in range(2))
        operator = g.choice(list("+-*/^"), p=[0.3, 0.2, 0.25, 0.15, 0.1])
        two = str(g.integers(-3, 4)) if operator == "^" and g.random() < 0.7 else two
        one, two = (f"({part})" if g.random() < 0.5 else part for part in (one, two))
        return f"{one} {operator}{two}" if g.random() < 0.5 else f"{one}{operator} {two}"
    if kind == 7:
        return f"-{random_expression(g, depth - 1, names)}"
    name = str(g.choice(sorted(FUNCTIONS)))
    return f"{name}({','.join(random_expression(g, depth - 1, names) for _ in range(FUNCTIONS[name]))})"


def random_program(seed: int) -> str:
    """A random expression with up to three definitions."""
    g = np.random.default_rng(seed)
    names, parts = ["x", "y", "z"], []
    for index in range(g.integers(0, 4)):
        parts.insert(0, f"a{index} = {random_expression(g, 3, names)}")
        names.append(f"a{index}")
    return "; ".join([random_expression(g, 5, names), *parts])


def endless_in_openmm(seed: int, text: str) -> bool:
    """Whether OpenMM simplifies an expression for ever: a part of it is constant and not a number."""
    return seed == 31 or any(value.isnan().any() for value in bind(parse(text)).constants.values())


@pytest.mark.parametrize("block", range(8))
def test_random_expressions(block):
    """To 1e-10 where the value is well conditioned: where moving the point by 1e-15 hardly changes it."""
    compared = 0
    for seed in range(40 * block, 40 * block + 40):
        text = random_program(seed)
        if endless_in_openmm(seed, text):
            continue
        ours, theirs = by_torch(text), by_openmm(text)
        moved = by_torch(text, POINTS * (1 + 1e-15))
        with np.errstate(all="ignore"):
            size = np.abs(theirs) + 1e-3
            sound = np.isfinite(theirs) & (np.abs(ours - moved) < 1e-12 * size) & (np.abs(theirs) < 1e12)
            sound[:, 1:] &= sound[:, :1]
            sound[0, 1:] = False  # the origin is where abs, min and max have kinks
            wrong = sound & ~(np.abs(ours - theirs) <= 1e-10 * size)
        where = np.argwhere(wrong)
        assert not len(where), f"seed {seed}: {text!r}: {ours[where[0][0]]} and {theirs[where[0][0]]}"
        not_finite = ~np.isfinite(theirs[:, 0])
        assert (~np.isfinite(ours[not_finite, 0])).mean() > 0.9 if not_finite.any() else True, text
        compared += sound.sum()
    assert compared > 40 * len(POINTS)


@pytest.mark.parametrize(
    "text",
    ["sqrt(x)^2", "x^0.5*x^0.5", "x/x", "0*log(x)", "0^x", "1/x*x", "log(x)-log(x)", "y*cos(0*log(x))"],
)
def test_what_openmm_simplifies(text):
    """Values that follow from OpenMM's rules of simplification, not from the text."""
    agree(text)


@pytest.mark.parametrize("text", ["min(log(x),1)", "min(1,log(x))", "max(log(x),1)", "max(1,log(x))"])
def test_minimum_and_maximum_of_what_is_no_number(text):
    np.testing.assert_allclose(by_torch(text)[:, 0], by_openmm(text)[:, 0], rtol=1e-12)


MALFORMED = {
    "": "it ends where",
    "x+": "it ends where",
    "(x": "closing parenthesis",
    "x)": "after a complete expression",
    "x y": "after a complete expression",
    "2x": "after a complete expression",
    "3..4": "after a complete expression",
    "sin (x)": "after a complete expression",
    "+x": "'+' stands where",
    "x**2": "stands where",
    "sin()": "stands where",
    "max(1,,2)": "stands where",
    "max(1,2": "closing parenthesis of max",
    "sin(x,y)": "sin() takes 1 arguments, 2 are given",
    "select(x,y)": "select() takes 3 arguments",
    "f(x)": "there is no function 'f'",
    "x; y": "not 'name = expression'",
    "x; =2": "not 'name = expression'",
    "a; a=1+": "it ends where",
}


@pytest.mark.parametrize("text", MALFORMED)
def test_malformed_text(text):
    """What OpenMM refuses we refuse, in one sentence that quotes the expression."""
    with pytest.raises(openmm.OpenMMException):
        by_openmm(text)
    with pytest.raises(InputError) as caught:
        parse(text)
    message = str(caught.value)
    assert repr(text) in message
    assert MALFORMED[text] in message
    assert message.endswith(".")
    assert "\n" not in message


def test_unknown_names_and_depth():
    with pytest.raises(InputError, match="no value for k"):
        evaluate(parse("k*x"), {"x": torch.ones(1)})
    with pytest.raises(InputError, match="nested more than"):
        parse("(" * 5000 + "x" + ")" * 5000)
    with pytest.raises(InputError, match="nested more than"):
        parse("-" * 5000 + "x")
    many = parse("+".join(["x"] * 5000))  # long, not deep
    assert evaluate(many, {"x": torch.tensor(0.5)}) == 2500
    doubling = "a60" + "".join(f"; a{n}=a{n - 1}+a{n - 1}" for n in range(60, 0, -1)) + "; a0=x"
    assert evaluate(parse(doubling), {"x": torch.tensor(1.0, dtype=torch.float64)}) == 2.0**60
    assert matches(doubling, "_A*x") == {"_A": 2.0**60}


def test_variables_and_substitution():
    expression = parse("k*(r-r0)^2 + c; k = 2*k0")
    assert free_variables(expression) == {"k0", "r", "r0", "c"}
    changed = substitute(expression, {"k0": 3.0, "c": parse("r*r0"), "r0": 1})
    assert free_variables(changed) == {"r", "r0"}
    assert parse("(a+b)*1") == parse("( a + b )* 1.0")


def test_binding_folds_all_that_is_static():
    text = "4*eps*((sig/r)^12-(sig/r)^6)+acoef(type1,type2)*r; eps=sqrt(e1*e2); sig=0.5*(s1+s2)"
    table = TabulatedFunction(np.arange(6.0).reshape(2, 3))
    expression = parse(text, {"acoef": 2})
    g = torch.Generator().manual_seed(1)
    static = {name: torch.rand(5, 1, generator=g, dtype=torch.float64) for name in ("e1", "e2", "s1", "s2")}
    static |= {"type1": torch.tensor([[0.0], [1], [1], [0], [1]]), "type2": torch.tensor([[2.0]])}
    bound = bind(expression, static, {"acoef": table})
    assert bound.variables == {"r"}
    assert len(bound.constants) == 3  # 4 eps, sig and the entries of the table
    assert "acoef" not in {step.function for step in bound.steps}
    assert len(bound.steps) <= 9  # (sig/r)^6 once, its square from it
    r = torch.rand(5, 7, generator=g, dtype=torch.float64)
    expected = evaluate(expression, {**static, "r": r}, {"acoef": table})
    torch.testing.assert_close(bound({"r": r}), expected, rtol=1e-13, atol=0)
    single = bound({"r": r.float()}, {name: value.float() for name, value in bound.constants.items()})
    assert single.dtype == torch.float32
    same = bind(parse("k*r^n"), {"k": torch.full((4, 1), 2.0), "n": torch.full((4, 1), 3.0)})
    assert not same.constants  # equal values are one number
    assert bind(parse("k+1"), {"k": 2.0})({}).item() == 3.0
    assert bind(parse("0*r+1*r+r^1+r^0"), {})({"r": torch.tensor(2.0)}).item() == 5.0
    assert bind(parse("a*b"), {"a": 2.0, "b": 4.0}).expression == Number(8.0)
    assert bind(parse("select(a, r, 1/r)"), {"a": 1.0}).expression == Variable("r")


@pytest.mark.parametrize(
    "text",
    [
        "select(step(x-1), sqrt(x-1), 1/(x-3)^2)",
        "select(step(1-x), log(1.5-x)*select(x, 1/x, 7), a); a=sqrt(x-1)*x",
        "select(x, sin(x)/x, 1)",
        "min(x, 2)*select(step(-x), 0, x^0.5)",
    ],
)
def test_a_branch_not_taken_does_not_spoil_the_gradient(text):
    points = torch.tensor([[-1.5], [0.0], [0.5], [1.25], [2.0]], dtype=torch.float64)
    x = points.clone().requires_grad_()
    value = evaluate(parse(text), {"x": x})
    (slope,) = torch.autograd.grad(value.sum(), x, create_graph=True)
    assert torch.isfinite(value).all()
    assert torch.isfinite(slope).all()
    (curvature,) = torch.autograd.grad(slope.sum(), x)
    assert torch.isfinite(curvature).all()
    step = 1e-6
    inner = [0, 2, 3]  # away from the seams
    ends = [evaluate(parse(text), {"x": points[inner] + sign * step}) for sign in (1, -1)]
    torch.testing.assert_close(slope[inner], (ends[0] - ends[1]) / (2 * step), rtol=1e-6, atol=1e-8)


def test_second_derivatives():
    expression = parse("exp(-a*r)*(r-0.3)^3/r + select(step(r-1), sqrt(r), r^2)*erf(r)")
    r = torch.rand(3, 4, dtype=torch.float64) + 0.3
    a = torch.rand(3, 1, dtype=torch.float64)
    bound = bind(expression, {"a": a})
    assert torch.autograd.gradgradcheck(lambda r: bound({"r": r}), r.requires_grad_())


def test_matching_a_template():
    coulomb = "138.935456*q1*q2/r"
    for same in (coulomb, "q1*(138.935456/r)*q2", "138.935456*recip(r)*q2*q1", "-(-138.935456)*q2/(r/q1)"):
        assert matches(same, "_C*q1*q2/r") == {"_C": pytest.approx(138.935456)}
    assert matches(coulomb, "_C*q1*q1/r") is None
    assert matches(coulomb, "_C*q1*q2/r^2") is None
    assert matches(coulomb + "+1", "_C*q1*q2/r") is None
    born = (
        "select(step(r+sr2-or1), 0.5*(1/L-1/U+0.25*(r-sr2^2/r)*(1/(U^2)-1/(L^2))+0.5*log(L/U)/r), 0);"
        "U=r+sr2;L=max(or1, D);D=abs(r-sr2)"
    )
    other = (
        "select(step(sr2+r-or1), 0.5*(1/L-1/U+_Q*(r-sr2*sr2/r)*(U^-2-1/square(L))+_H*log(L/U)/r), 0);"
        "U=sr2+r;L=max(abs(r-sr2), or1)"
    )
    assert matches(born, other) == {"_Q": pytest.approx(0.25), "_H": pytest.approx(0.5)}
    assert matches(born.replace("max", "min"), other) is None
    radius = "1/(1/or-tanh(1*psi-0.8*psi^2+4.85*psi^3)/radius); psi=I*or; radius=or+0.009"
    shape = "1/(1/or-tanh(_A*psi+_B*psi^2+_G*psi^3)/(or+_O)); psi=I*or"
    found = matches(radius, shape)
    assert found == {
        name: pytest.approx(v) for name, v in (("_A", 1), ("_B", -0.8), ("_G", 4.85), ("_O", 0.009))
    }
    # the same wildcard twice must be the same number
    assert matches("2*x+2*y", "_A*(x+y)") == {"_A": pytest.approx(2)}
    assert matches("2*x+3*y", "_A*(x+y)") is None
    assert matches("exp(-r^2/(4*B))", "exp(-r^2/(_F*B))") == {"_F": pytest.approx(4)}
    assert matches(parse("(x^2)^0.5"), "x") is None  # it is abs(x)
    assert matches("sqrt(x)^2", "x") == {}
    assert matches("pi*x; pi=3.1415926535", "_P*x") == {"_P": pytest.approx(math.pi)}


TABLES = {
    f"{kind}{len(shape)}{'p' if periodic else ''}{shape}": (kind, shape, periodic)
    for kind, shapes, periodics in (
        ("Continuous", [(7,), (2,), (3,), (5, 6), (2, 4), (4, 5, 6), (3, 3, 3)], (False, True)),
        ("Discrete", [(4,), (3, 4), (3, 4, 2)], (False,)),
    )
    for shape in shapes
    for periodic in periodics
    if not (periodic and min(shape) < 3)
}


@pytest.mark.parametrize("name", TABLES)
def test_tabulated_functions(name):
    """Values and derivatives inside, at both ends, and outside."""
    kind, shape, periodic = TABLES[name]
    values = np.random.default_rng(len(name)).normal(size=shape)
    for axis in range(len(shape) if periodic else 0):
        np.moveaxis(values, axis, 0)[-1] = np.moveaxis(values, axis, 0)[0]
    limits = ((-1.0, 2.0), (-1.5, 1.0), (-0.5, 0.75))[: len(shape)] if kind == "Continuous" else ()
    sizes = shape if len(shape) > 1 else ()
    ends = [*(end for pair in limits for end in pair), *([periodic] if limits else [])]
    theirs = getattr(openmm, f"{kind}{len(shape)}DFunction")(
        *sizes, values.flatten(order="F").tolist(), *ends
    )
    ours = TabulatedFunction(values, limits, periodic)
    points = np.concatenate(
        [POINTS * 1.7, [[-1.0, -1.5, -0.5], [2.0, 1.0, 0.75], [-0.5, 1.5, 2.5], [7, 1, 1]]]
    )
    text = f"f({','.join('xyz'[: len(shape)])})"
    expected = by_openmm(text, points, {"f": theirs})
    got = by_torch(text, points, {"f": ours})
    inside = np.ones(len(points), dtype=bool)
    inside[[-4, -3]] = False  # at the very ends a derivative is one-sided
    np.testing.assert_allclose(got[:, 0], expected[:, 0], rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(got[inside], expected[inside], rtol=1e-10, atol=1e-11)
    assert np.isnan(by_torch(text, np.full((1, 3), np.nan), {"f": ours})[0, 0])


def test_tables_that_are_no_functions():
    with pytest.raises(InputError, match="3 values at least"):
        TabulatedFunction(np.zeros(2), ((0, 1),), periodic=True)
    with pytest.raises(InputError, match="cannot be interpolated"):
        TabulatedFunction(np.array([0.0, 1.0, 2.0]), ((0, 1),), periodic=True)
    spline = CubicSpline(np.linspace(0, 1, 5), np.arange(5.0) ** 2, bc_type="natural")
    x = torch.linspace(0, 1, 9)
    got = TabulatedFunction(np.arange(5.0) ** 2, ((0, 1),))(x)
    assert got.dtype == torch.float32
    np.testing.assert_allclose(got, spline(x.numpy()), rtol=1e-5, atol=1e-5)
