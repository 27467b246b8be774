"""The pucker of a ring of five or six atoms, by Cremer and Pople, J. Am. Chem. Soc. 97, 1354 (1975).

Names of six: Jeffrey, Yates, Carbohydr. Res. 74, 319 (1979). Theta near 0 or 180 degrees is a chair, near 90
a boat or a twist boat, 55 an envelope, 51 a half-chair; phi in steps of 60 tells boat from twist and envelope
from half-chair. Of five: phi in steps of 36 is an envelope, between them a twist.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

#: Total amplitude below which a ring is flat, nm; of cyclohexane it is 0.063, of cyclopentane 0.04.
FLAT = 0.01
#: Degrees of theta from 0 (or 180) to which a ring is a chair, and from which it is a boat: half-way.
_CHAIR, _BOAT = 27.0, 72.0


def cremer_pople(rings: np.ndarray) -> tuple[Any, Any, Any]:
    """Amplitude Q (unit of `rings`), theta and phi (rad), each (...), of places ``(..., 5 or 6, 3)``.

    Atoms in ring order. Of five theta is pi / 2: they have no third coordinate. Numbering from another atom
    turns phi by steps of 60 (72) degrees, and the other way round changes signs. NaN without a plane.
    """
    x = np.asarray(rings, dtype=np.float64)
    count = x.shape[-2]
    x = x - x.mean(axis=-2, keepdims=True)
    turn = 2 * np.pi * np.arange(count) / count
    normal = np.cross(
        np.einsum("j,...ji->...i", np.sin(turn), x), np.einsum("j,...ji->...i", np.cos(turn), x)
    )
    with np.errstate(invalid="ignore", divide="ignore"):
        normal = normal / np.linalg.norm(normal, axis=-1, keepdims=True)
    height = np.einsum("...ji,...i->...j", x, normal)
    cosine = math.sqrt(2 / count) * (height @ np.cos(2 * turn))
    sine = -math.sqrt(2 / count) * (height @ np.sin(2 * turn))
    across = height @ (-1.0) ** np.arange(count) / math.sqrt(count) if count == 6 else 0.0 * cosine
    two = np.hypot(cosine, sine)
    return np.hypot(two, across), np.arctan2(two, across), np.arctan2(sine, cosine) % (2 * math.pi)


def pucker(ring: np.ndarray) -> str:
    """The name of the conformation of places ``(n, 3)`` nm, in the order of the ring; "" unless n is 5 or 6.

    One of flat, chair, boat, twist (a twist boat, of six), envelope, half-chair.
    """
    if len(ring) not in (5, 6):
        return ""
    amplitude, theta, phi = cremer_pople(ring)
    if not amplitude > FLAT:
        return "flat"
    step = 36.0 if len(ring) == 5 else 60.0
    on_step = abs((math.degrees(phi) + step / 2) % step - step / 2) < step / 4
    if len(ring) == 5:
        return "envelope" if on_step else "twist"
    from_pole = min(math.degrees(theta), 180.0 - math.degrees(theta))
    if from_pole < _CHAIR:
        return "chair"
    if from_pole < _BOAT:
        return "envelope" if on_step else "half-chair"
    return "boat" if on_step else "twist"
