"""Small GROMACS topologies on which readers differ, with the energies of gmx_d 2022.5 (Debian), kJ/mol.

A chain of six beads; each case exchanges pieces of the plain topology. `tests/benchmarks/gromacs_referee.py`
computes the energies again with GROMACS itself.
"""

from __future__ import annotations

PLAIN = """\
[ defaults ]
1 2 yes 0.5 0.5
[ atomtypes ]
CX 6 12.011 0.0 A 0.3 0.5
[ bondtypes ]
CX CX 1 0.15 200000
[ angletypes ]
CX CX CX 1 112 400
; MORE TYPES
[ moleculetype ]
LIG 3
[ atoms ]
1 CX 1 LIG C1 1 0.3 12.011
2 CX 1 LIG C2 2 -0.2 12.011
3 CX 1 LIG C3 3 0.1 12.011
4 CX 1 LIG C4 4 -0.3 12.011
5 CX 1 LIG C5 5 0.2 12.011
6 CX 1 LIG C6 6 -0.1 12.011
[ bonds ]
1 2 1
2 3 1
3 4 1
4 5 1
5 6 1
[ angles ]
1 2 3 1
2 3 4 1
3 4 5 1
4 5 6 1
[ pairs ]
1 4 1
2 5 1
3 6 1
; MORE TERMS
[ system ]
t
[ molecules ]
LIG 1
"""

#: Positions (nm) of the six beads, with the digits of a gro file.
GRO = """\
t
    6
    1LIG     C1    1   0.000   0.000   0.000
    1LIG     C2    2   0.150   0.010   0.000
    1LIG     C3    3   0.205   0.145   0.030
    1LIG     C4    4   0.355   0.150   0.075
    1LIG     C5    5   0.410   0.280   0.140
    1LIG     C6    6   0.560   0.270   0.180
   0.0 0.0 0.0
"""

_PAIRS = "[ pairs ]\n1 4 1\n2 5 1\n3 6 1\n"
_TYPES, _TERMS = "; MORE TYPES\n", "; MORE TERMS\n"
_ALL = "[ dihedrals ]\n1 2 3 4 9\n2 3 4 5 9\n"

#: Name -> what is exchanged in `PLAIN`.
CHANGES: dict[str, tuple[tuple[str, str], ...]] = {
    "plain": (),
    "nrexcl 1, no pairs": (("LIG 3", "LIG 1"), (_PAIRS, "")),
    "nrexcl 2": (("LIG 3", "LIG 2"),),
    "nrexcl 4": (("LIG 3", "LIG 4"),),
    "no pairs": ((_PAIRS, ""),),
    "one pair of three": ((_PAIRS, "[ pairs ]\n1 4 1\n"),),
    "a pair twice": ((_PAIRS, _PAIRS + "1 4 1\n"),),
    "pairs of function 2": ((_PAIRS, "[ pairs ]\n1 4 2 0.7 0.25 -0.35 0.28 0.9\n2 5 1\n3 6 1\n"),),
    "pairs with parameters": ((_PAIRS, "[ pairs ]\n1 4 1 0.33 0.7\n2 5 1\n3 6 1\n"),),
    "pairtypes": ((_TYPES, "[ pairtypes ]\nCX CX 1 0.27 0.8\n"),),
    "pairs_nb": ((_TERMS, "[ pairs_nb ]\n1 4 1 0.3 -0.3 0.3 5.0\n"),),
    "exclusions": ((_TERMS, "[ exclusions ]\n1 5 6\n2 6\n"),),
    "directive in capitals": ((_TERMS, "[ Dihedrals ]\n1 2 3 4 9 0 10 3\n"),),
    "directive with a hyphen": ((_TYPES, "[ nonbond-params ]\nCX CX 1 0.25 1.0\n"),),
    "fewest wildcards": (
        (_TYPES, "[ dihedraltypes ]\nCX CX CX X 9 0 10 3\nX CX CX X 9 0 2 3\n"),
        (_TERMS, _ALL),
    ),
    "fewest wildcards, last": (
        (_TYPES, "[ dihedraltypes ]\nX CX CX X 9 0 2 3\nCX CX CX X 9 0 10 3\nCX CX CX CX 9 0 30 3\n"),
        (_TERMS, _ALL),
    ),
    "sum of lines together": (
        (_TYPES, "[ dihedraltypes ]\nX CX CX X 9 0 2 3\nX CX CX X 9 180 5 2\nX CX CX X 9 0 7 1\n"),
        (_TERMS, _ALL),
    ),
    "a block again": (
        (_TYPES, 2 * "[ dihedraltypes ]\nX CX CX X 9 0 2 3\n"),
        (_TERMS, _ALL),
    ),
    "function 1 replaces": (
        (_TYPES, "[ dihedraltypes ]\nX CX CX X 1 0 2 3\nX CX CX X 1 0 9 2\n"),
        (_TERMS, "[ dihedrals ]\n1 2 3 4 1\n"),
    ),
    "functions 1 and 9 share a table": (
        (_TYPES, "[ dihedraltypes ]\nX CX CX X 9 0 2 3\n"),
        (_TERMS, "[ dihedrals ]\n1 2 3 4 1\n"),
    ),
    "two types, proper": (
        (_TYPES, "[ dihedraltypes ]\nCX CX 9 0 4 3\n"),
        (_TERMS, _ALL),
    ),
    "two types, improper": (
        (_TYPES, "[ dihedraltypes ]\nCX CX 2 160 40\n"),
        (_TERMS, "[ dihedrals ]\n1 2 3 4 2\n"),
    ),
    "Fourier": ((_TERMS, "[ dihedrals ]\n1 2 3 4 5 1.3 -0.7 2.1 0.4\n"),),
    "Ryckaert-Bellemans": ((_TERMS, "[ dihedrals ]\n1 2 3 4 3 1.3 -0.7 2.1 0.4 0.3 -0.2\n"),),
    "Urey-Bradley": (("1 2 3 1\n", "1 2 3 5 110 300 0.26 9000\n"),),
    "nonbond_params": ((_TYPES, "[ nonbond_params ]\nCX CX 1 0.25 1.0\n"),),
    "rule 1": (("1 2 yes", "1 1 yes"), ("A 0.3 0.5", "A 1.5e-3 1.1e-6")),
    "rule 3": (("1 2 yes", "1 3 yes"),),
    "rule 3, nonbond_params": (
        ("1 2 yes", "1 3 yes"),
        (_TYPES, "[ nonbond_params ]\nCX CX 1 0.25 1.0\n"),
    ),
    "rule 1, nrexcl 2": (
        ("1 2 yes", "1 1 yes"),
        ("A 0.3 0.5", "A 1.5e-3 1.1e-6"),
        ("LIG 3", "LIG 2"),
    ),
    "defines": (
        (
            _TYPES,
            "#define too strong\n#ifdef NOWHERE\n#error not here\n#else\n#define strong 0 10 3\n#endif\n",
        ),
        (_TERMS, "[ dihedrals ]\n1 2 3 \\\n4 9 too\n"),
    ),
    "mass of one digit": (("CX 6 12.011", "CX 6 9"),),
}


#: Name -> energy (kJ/mol) by gmx_d 2022.5 without cutoff.
ENERGIES = {
    "plain": 5.407938651799,
    "nrexcl 1, no pairs": 82.146566376891,
    "nrexcl 2": -44.644892220421,
    "nrexcl 4": -15.971442676847,
    "no pairs": 30.434354087912,
    "one pair of three": 14.350881524645,
    "a pair twice": -10.675533911468,
    "pairs of function 2": -0.59430782187,
    "pairs with parameters": 4.928204287114,
    "pairtypes": 5.019107283037,
    "pairs_nb": -29.628406276127,
    "exclusions": -9.511903953207,
    "directive in capitals": 9.808632581604,
    "directive with a hyphen": 5.56285262363,
    "fewest wildcards": 12.534205669567,
    "fewest wildcards, last": 26.786739705103,
    "sum of lines together": 9.066607016255,
    "a block again": 6.833192055352,
    "function 1 replaces": 21.567263367641,
    "functions 1 and 9 share a table": 6.28807743776,
    "two types, proper": 8.258445458906,
    "two types, improper": 5.419047434462,
    "Fourier": 5.979444476246,
    "Ryckaert-Bellemans": 8.35924709978,
    "Urey-Bradley": 6.264654811677,
    "nonbond_params": 5.56285262363,
    "rule 1": 5.391005779203,
    "rule 3": 5.407938651799,
    "rule 3, nonbond_params": 5.56285262363,
    "rule 1, nrexcl 2": -44.686153773472,
    "defines": 9.808632581604,
    "mass of one digit": 5.407938651799,
}


def text_of(name: str) -> str:
    """The topology of the case `name`."""
    text = PLAIN
    for before, after in CHANGES[name]:
        assert text.count(before) == 1, f"{name}: {before!r}"
        text = text.replace(before, after)
    return text
