"""What a notebook or a terminal shows of our objects: numbers with the digits that mean something; tables."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Sequence


def shown(value: object) -> str:
    """`value` for people: floats with four digits, a dash for None, yes and no."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    return str(value)


def with_error(value: float | None, error: float | None, unit: str = "") -> str:
    """``3.94 +- 0.07 kT``: both with the decimals of the error's first two digits; a dash where not known."""
    behind = "" if unit in ("", "1") else f" {unit}"
    if value is None:
        return "not known"
    if error is None or not (math.isfinite(error) and error > 0):
        return f"{value:.4g}{behind}"
    decimals = max(0, 1 - math.floor(math.log10(error)))
    return f"{value:.{decimals}f} +- {error:.{decimals}f}{behind}"


def with_interval(value: float | None, interval: tuple[float | None, float | None], unit: str = "") -> str:
    """``3.94 kT (95 %: 3.80 to 4.08)``: decimals by the width; no bound, and no error bar, are said."""
    behind = "" if unit in ("", "1") else f" {unit}"
    if value is None:
        return "not known"
    low, high = interval
    if low is None and high is None:
        return f"{value:.4g}{behind} (no error bar)"
    reach = max((abs(end - value) for end in interval if end is not None), default=0.0)
    decimals = max(0, 1 - math.floor(math.log10(reach))) if math.isfinite(reach) and reach > 0 else None
    ends = [
        "no bound" if x is None else f"{x:.4g}" if decimals is None else f"{x:.{decimals}f}" for x in interval
    ]
    told = f"{value:.4g}" if decimals is None else f"{value:.{decimals}f}"
    return f"{told}{behind} (95 %: {ends[0]} to {ends[1]})"


def html_table(columns: Sequence[str], rows: Iterable[Sequence[object]], caption: str = "") -> str:
    """An HTML table with text escaped; `columns` empty: no header line."""

    def line(cells: Sequence[object], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{html.escape(shown(cell))}</{tag}>" for cell in cells) + "</tr>"

    head = f"<caption>{html.escape(caption)}</caption>" if caption else ""
    head += f"<thead>{line(columns, 'th')}</thead>" if columns else ""
    return f"<table>{head}<tbody>{''.join(line(row, 'td') for row in rows)}</tbody></table>"
