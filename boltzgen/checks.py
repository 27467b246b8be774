"""What many verbs are given: temperatures, seeds, counts and arithmetic, each refused in one sentence.

Messages begin with the argument, by its name in Python, between backticks. The device has its check in
`boltzgen.config.devices`, which asks PyTorch what is there.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from numbers import Integral, Real

from boltzgen.errors import InputError

#: Arithmetic that a flow may be asked in.
DTYPES = ("float32", "float64")

#: K; below, energies over kT leave the numbers that densities are computed in.
COLDEST = 1e-3

#: Seeds are below this number: what torch, NumPy and OpenMM all take.
SEEDS = 2**63

#: K; nothing holds together at more.
HOTTEST = 1e5

#: Samples, rows and replicates that anybody asks for at once: above it their numbers alone fill a machine.
MOST_SAMPLES = 10**9

#: Energies that anybody asks for: a million a second for ten years.
MOST_EVALUATIONS = 3 * 10**14


def check_temperature(kelvin: float, argument: str = "temperature") -> None:
    """InputError unless `kelvin` is a number from `COLDEST` to `HOTTEST`."""
    if not (isinstance(kelvin, Real) and math.isfinite(kelvin) and kelvin > 0):
        raise InputError(f"`{argument}={kelvin}` is not a temperature in K; give a positive number.")
    if not COLDEST <= kelvin <= HOTTEST:
        raise InputError(f"`{argument}={kelvin}` is outside {COLDEST:g} to {HOTTEST:g} K; give kelvin.")


def check_temperatures(temperatures: Iterable[float], argument: str = "temperatures") -> None:
    """`check_temperature` of each."""
    for kelvin in temperatures:
        check_temperature(kelvin, argument)


def check_seed(seed: int) -> None:
    """InputError unless `seed` is a whole number from 0 to 2^63 - 1."""
    if not (isinstance(seed, Integral) and 0 <= seed < SEEDS):
        raise InputError(f"`seed={seed}` is no seed; give a whole number from 0 to 2^63 - 1.")


def check_number(value: int, argument: str = "number", *, least: int = 1, most: int = MOST_SAMPLES) -> None:
    """InputError unless `value` is a whole number from `least` to `most`."""
    if not (isinstance(value, Integral) and value >= least):
        raise InputError(f"`{argument}={value}`: give a whole number of at least {least}.")
    if value > most:
        raise InputError(f"`{argument}={value}`: give a whole number of at most {most}.")


def check_dtype(name: str) -> None:
    """InputError unless `name` is one of `DTYPES`."""
    if name not in DTYPES:
        raise InputError(f"`dtype={name!r}` is not known; use {' or '.join(DTYPES)}.")
