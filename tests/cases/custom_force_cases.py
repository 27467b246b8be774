"""Custom forces of every class with random parameters, and conformations to evaluate them on."""

from __future__ import annotations

import numpy as np
import openmm

N = 9
CHAIN = np.array([[i, i + 1] for i in range(N - 1)])


def geometries(kind: str, frames: int = 12) -> np.ndarray:
    """(frames, N, 3) nm: a zigzag chain moved a little (thermal), or atoms anywhere (distorted)."""
    g = np.random.default_rng(7)
    if kind == "distorted":
        return g.normal(size=(frames, N, 3)) * np.linspace(0.08, 0.4, frames)[:, None, None]
    chain = np.stack([0.12 * np.arange(N), 0.04 * (-1.0) ** np.arange(N), np.zeros(N)], axis=1)
    return chain + g.normal(scale=0.012, size=(frames, N, 3))


def with_parameters(force, kind: str, names: tuple[str, ...], constants: dict[str, float] | None = None):
    for name in names:
        getattr(force, f"addPer{kind}Parameter")(name)
    for name, value in (constants or {}).items():
        force.addGlobalParameter(name, value)
    return force


def bond(seed: int) -> openmm.Force:
    g = np.random.default_rng(seed)
    text = "scale*k*(r-r0)^2*(1+c*(r-r0)+7/12*c^2*(r-r0)^2)+q/r*exp(-r); c=-20"
    force = with_parameters(openmm.CustomBondForce(text), "Bond", ("k", "r0", "q"), {"scale": 1.5})
    force.addEnergyParameterDerivative("scale")
    for i, j in CHAIN:
        force.addBond(int(i), int(j), g.uniform(0.1, 2.0, 3))
    force.addBond(0, 4, g.uniform(0.1, 2.0, 3))
    return force


def angle(seed: int) -> openmm.Force:
    g = np.random.default_rng(seed)
    force = openmm.CustomAngleForce("k*d^2*(1-0.4*d)+linear*(1+cos(theta)); d=theta-theta0")
    with_parameters(force, "Angle", ("k", "theta0"), {"linear": 30.0})
    for _ in range(12):
        force.addAngle(*(int(n) for n in g.permutation(N)[:3]), g.uniform(0.5, 2.0, 2))
    return force


def torsion(seed: int) -> openmm.Force:
    g = np.random.default_rng(seed)
    force = openmm.CustomTorsionForce("k*min(d, 2*pi-d)^2 + cos(3*theta); d=abs(theta-t0); pi=3.1415926535")
    with_parameters(force, "Torsion", ("k", "t0"))
    for _ in range(12):
        force.addTorsion(*(int(n) for n in g.permutation(N)[:4]), g.uniform(0.5, 2.0, 2))
    return force


def external(seed: int) -> openmm.Force:
    g = np.random.default_rng(seed)
    force = openmm.CustomExternalForce("k*((x-x0)^2+(y-y0)^2+(z-z0)^2)+x*y*z")
    with_parameters(force, "Particle", ("k", "x0", "y0", "z0"))
    for i in range(0, N, 2):
        force.addParticle(i, g.uniform(0.5, 2.0, 4))
    return force


COMPOUND = (
    "k*(distance(p1,p2)-d0)*(angle(p1,p2,p3)-1.9) + f(distance(p3,p4))*cos(dihedral(p1,p2,p3,p4))"
    "+ pointdistance(x1,y1,z1,(x2+x3)/2,(y2+y3)/2,(z2+z3)/2)^2"
    "+ pointangle(x1,y1,z1,x2,y2,z2,x4,y4,z4)*sin(pointdihedral(x4,y4,z4,x1,y1,z1,x2,y2,z2,x3,y3,z3))"
    "+ table(kind)*out; out=(x1-x2)*(x3-x4)+(y1-y2)*(y3-y4)+(z1-z2)*(z3-z4)"
)


def compound(seed: int) -> openmm.Force:
    g = np.random.default_rng(seed)
    force = openmm.CustomCompoundBondForce(4, COMPOUND)
    with_parameters(force, "Bond", ("k", "d0", "kind"))
    force.addTabulatedFunction("f", openmm.Continuous1DFunction(g.normal(size=9).tolist(), 0.0, 0.9))
    force.addTabulatedFunction("table", openmm.Discrete1DFunction(g.normal(size=3).tolist()))
    for index in range(10):
        values = [*g.uniform(0.1, 2.0, 2), index % 3]
        force.addBond([int(n) for n in g.permutation(N)[:4]], values)
    return force


def centroid(seed: int) -> openmm.Force:
    g = np.random.default_rng(seed)
    force = openmm.CustomCentroidBondForce(3, "k*(distance(g1,g2)-0.1)^2 + angle(g1,g2,g3) + x1*y3-x3*y1")
    with_parameters(force, "Bond", ("k",))
    for i in range(N):
        force.addGroup([N - 1 - i])
    for _ in range(5):
        force.addBond([int(n) for n in g.permutation(N)[:3]], [g.uniform(1, 5)])
    return force


PAIRS = (
    "4*eps*((sig/r)^6-(sig/r)^3) + coef(kind1,kind2)*exp(-r) + surface(r,size1+size2) + q1*q2/(r+0.05);"
    "eps=sqrt(e1*e2); sig=0.5*(s1+s2)"
)


def pairs(
    seed: int, cutoff: float | None = None, switch: float | None = None, groups: tuple = ()
) -> openmm.Force:
    """A pair force with per-particle, global, computed and tabulated values, and exclusions."""
    g = np.random.default_rng(seed)
    force = openmm.CustomNonbondedForce(PAIRS)
    with_parameters(force, "Particle", ("e", "s", "kind", "size", "charge"), {"lam": 0.7})
    force.addComputedValue("q", "lam*charge+0.01*kind")
    table = g.normal(size=(3, 3))
    force.addTabulatedFunction("coef", openmm.Discrete2DFunction(3, 3, (table + table.T).flatten().tolist()))
    surface = openmm.Continuous2DFunction(6, 5, g.normal(size=30).tolist(), 0.05, 0.8, 0.0, 1.0)
    force.addTabulatedFunction("surface", surface)
    for index in range(N):
        force.addParticle([g.uniform(), g.uniform(0.05, 0.2), index % 3, g.uniform(0, 0.5), g.normal()])
    for first, second in [*CHAIN.tolist(), [6, 2]]:
        force.addExclusion(first, second)
    if cutoff is not None:
        force.setNonbondedMethod(force.CutoffNonPeriodic)
        force.setCutoffDistance(cutoff)
        force.setUseLongRangeCorrection(True)  # of no effect without a box
    if switch is not None:
        force.setUseSwitchingFunction(True)
        force.setSwitchingDistance(switch)
    for one, two in groups:
        force.addInteractionGroup(one, two)
    return force


GROUPS = (([0, 1, 2, 3, 5], [3, 4, 5, 6]), ([0, 8], [8, 5]), ([7], [7]), ([0], [5]))
FORCES = {
    "bond": bond,
    "angle": angle,
    "torsion": torsion,
    "external": external,
    "compound": compound,
    "centroid": centroid,
    "pairs": pairs,
    "cutoff": lambda seed: pairs(seed, cutoff=0.4),
    "switch": lambda seed: pairs(seed, cutoff=0.45, switch=0.2),
    "groups": lambda seed: pairs(seed, groups=GROUPS),
    "groups, cutoff": lambda seed: pairs(seed, cutoff=0.45, switch=0.3, groups=GROUPS),
}
