"""The error bar of a share: one kind of interval wherever a population is shown."""

from __future__ import annotations

import math

#: Half of a normal's 95 % interval, in standard deviations.
Z95 = 1.959963984540054


def wilson_interval(share: float | None, error: float | None) -> tuple[float | None, float | None]:
    """Wilson's 95 % interval of a `share` for as many independent draws as have this standard `error`.

    It never leaves 0 to 1 (J. Am. Stat. Assoc. 22, 209 (1927)). (None, None) where the share or its error is
    not known, and where the error is 0, as that of 0 and 1 is: then no number of draws belongs to it.
    """
    if share is None or error is None or not (0 < share < 1 and 0 < error < math.inf):
        return None, None
    spread = Z95**2 * error**2 / (share * (1 - share))  # z^2 / n
    centre, half = share + spread / 2, math.sqrt(Z95**2 * error**2 + spread**2 / 4)
    return (centre - half) / (1 + spread), (centre + half) / (1 + spread)
