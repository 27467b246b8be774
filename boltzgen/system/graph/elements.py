"""Symbols of the elements by atomic number."""

from __future__ import annotations

#: What stands for no element: united atoms, particles of coarse grains.
NO_ELEMENT = "X"

#: By atomic number; `NO_ELEMENT` at 0.
SYMBOLS = (
    "X H He Li Be B C N O F Ne Na Mg Al Si P S Cl Ar K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn Ga Ge As Se Br Kr Rb "
    "Sr Y Zr Nb Mo Tc Ru Rh Pd Ag Cd In Sn Sb Te I Xe Cs Ba La Ce Pr Nd Pm Sm Eu Gd Tb Dy Ho Er Tm Yb Lu Hf "
    "Ta W Re Os Ir Pt Au Hg Tl Pb Bi Po At Rn Fr Ra Ac Th Pa U Np Pu Am Cm Bk Cf Es Fm Md No Lr Rf Db Sg Bh "
    "Hs Mt Ds Rg Cn Nh Fl Mc Lv Ts Og"
).split()


def symbol_of(number: int, otherwise: str = NO_ELEMENT) -> str:
    """The symbol of the element of atomic `number`; `otherwise` where there is none."""
    return SYMBOLS[number] if 0 < number < len(SYMBOLS) else otherwise
