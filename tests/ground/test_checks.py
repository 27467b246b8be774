"""What is refused, whatever the verb, and that the sentence begins with the argument."""

from __future__ import annotations

import math

import numpy as np
import pytest

from boltzgen.checks import check_dtype, check_number, check_seed, check_temperature, check_temperatures
from boltzgen.errors import InputError

REFUSED = [
    (
        lambda: check_temperature(-3.0),
        "`temperature=-3.0` is not a temperature in K; give a positive number.",
    ),
    (lambda: check_temperature(0), "`temperature=0` is"),
    (lambda: check_temperature(math.nan), "`temperature=nan` is"),
    (lambda: check_temperature(math.inf), "`temperature=inf` is"),
    (lambda: check_temperature("warm"), "`temperature=warm` is"),
    (lambda: check_temperatures([300, -1], "proposal_temperatures"), "`proposal_temperatures=-1` is"),
    (lambda: check_seed(-1), "`seed=-1` is no seed; give a whole number from 0 to 2^63 - 1."),
    (lambda: check_seed(2**63), "`seed=9223372036854775808` is"),
    (lambda: check_seed(1.5), "`seed=1.5` is"),
    (lambda: check_number(0), "`number=0`: give a whole number of at least 1."),
    (lambda: check_number(99, "samples", least=100), "`samples=99`: give a whole number of at least 100."),
    (
        lambda: check_number(10**30),
        "`number=1000000000000000000000000000000`: give a whole number of at most",
    ),
    (lambda: check_number(8, "rows", most=7), "`rows=8`: give a whole number of at most 7."),
    (lambda: check_temperature(1e-5), "`temperature=1e-05` is outside 0.001 to 100000 K; give kelvin."),
    (lambda: check_temperature(1e300), "`temperature=1e+300` is outside"),
    (lambda: check_number(2.5, "rows"), "`rows=2.5`: give"),
    (lambda: check_dtype("half"), "`dtype='half'` is not known; use float32 or float64."),
]


@pytest.mark.parametrize("call, sentence", REFUSED, ids=[sentence.split("`")[1] for _, sentence in REFUSED])
def test_what_cannot_be_used_is_named(call, sentence):
    with pytest.raises(InputError) as told:
        call()
    assert str(told.value).startswith(sentence)


def test_what_can_be_used_passes():
    check_temperature(np.float32(298.15))
    check_temperatures(np.array([300.0, 450.0]))
    check_seed(2**63 - 1)
    check_seed(np.int64(0))
    check_number(np.int32(100), "samples", least=100)
    check_dtype("float32")
