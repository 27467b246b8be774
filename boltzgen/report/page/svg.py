"""Plots as SVG, written here: a few kilobytes each, sharp at any size, the same bytes for the same numbers.

A plot stands alone as a file and inside the page. Values that are not finite break a line; what lies
outside the axes is cut off.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape

import numpy as np
from numpy.typing import ArrayLike

#: Colours of simulation, flow, reweighted samples; those of the other figures (Okabe and Ito).
BLACK, ORANGE, BLUE, GREEN, GREY, RED = "#222222", "#D55E00", "#0072B2", "#009E73", "#8c8c8c", "#7a1f1f"

#: Free energies from low to high: viridis, reversed, in twenty steps.
VIRIDIS = (
    "#efe51c #cde11d #aadc32 #8bd646 #6ccd5a #50c46a #38b977 #27ad81 #1fa287 #1f968b #238a8d #277e8e #2c718e "
    "#31668e #38598c #3e4a89 #443b84 #472c7a #481c6e #460a5d"
).split()

#: Differences from negative to positive: blue, white, red in twelve steps.
DIVERGING = (
    "#10457e #2a71b2 #4997c5 #8ac0db #c2ddec #e7f0f4 #f9ebe3 #fbccb4 #f19e7d #d86551 #ba2832 #840924"
).split()

#: Errors from small to large: magma, reversed, in ten steps.
MAGMA = "#fed395 #feaa74 #fa815f #ee5b5e #d2426f #ae347b #8b2981 #681c81 #471078 #221150".split()

Ticks = Sequence[tuple[float, str]]

_FONT = 'font-family="system-ui, Helvetica, Arial, sans-serif"'


@dataclass(frozen=True)
class Axis:
    """One axis: its ends, its ticks (place, label) and what it says; `logarithmic` in powers of ten."""

    low: float
    high: float
    label: str
    ticks: Ticks = ()
    logarithmic: bool = False

    def share(self, values: ArrayLike) -> np.ndarray:
        """Where `values` lie between the ends: 0 to 1, NaN where they have no place."""
        v, low, high = np.asarray(values, dtype=np.float64), self.low, self.high
        if self.logarithmic:
            with np.errstate(divide="ignore", invalid="ignore"):
                v = np.where(v > 0, np.log10(np.where(v > 0, v, 1.0)), np.nan)
            low, high = math.log10(low), math.log10(high)
        found: np.ndarray = (v - low) / (high - low)
        return found


def linear_axis(low: float, high: float, label: str, number: int = 5) -> Axis:
    """An axis with some `number` round ticks from `low` to `high`."""
    if not (math.isfinite(low) and math.isfinite(high)) or high <= low:
        centre = low if math.isfinite(low) else 0.0
        low, high = centre - 0.5, centre + 0.5
    raw = (high - low) / number
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    places = [first * step + n * step for n in range(int((high - first * step) / step + 1e-9) + 1)]
    return Axis(
        low, high, label, [(place, _number(0.0 if abs(place) < step / 1e6 else place)) for place in places]
    )


def log_axis(low: float, high: float, label: str) -> Axis:
    """A logarithmic axis that begins and ends at powers of ten."""
    first, last = math.floor(math.log10(low) + 1e-9), math.ceil(math.log10(high) - 1e-9)
    last = max(last, first + 1)
    step = max(1, round((last - first) / 6))
    ticks = [
        (10.0**n, f"10{_raised(n)}" if abs(n) > 3 else f"{10.0**n:g}") for n in range(first, last + 1, step)
    ]
    return Axis(10.0**first, 10.0**last, label, ticks, logarithmic=True)


def _raised(power: int) -> str:
    return str(power).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))


def _number(value: float) -> str:
    return f"{value:.6g}".replace("-", "−")


@dataclass
class Plot:
    """A plot that grows by its methods; `svg` is its text.

    title: above. subject, note: what it is of, and a further line, below in small letters. right: ticks of a
    second scale of y, with what that says.
    """

    x: Axis
    y: Axis
    title: str = ""
    subject: str = ""
    width: int = 400
    height: int = 300
    right: Ticks = ()
    right_label: str = ""
    background: str = "none"
    note: str = ""
    _parts: list[str] = field(default_factory=list)
    _legend: list[tuple[str, str, str]] = field(default_factory=list)
    _scale: tuple[float, float, tuple[str, ...], str] | None = None

    @property
    def _box(self) -> tuple[float, float, float, float]:
        """Left, top, width and height of the axes."""
        widest = max((len(label) for _, label in self.y.ticks), default=1)
        left, right = 24.0 + 6.5 * widest + 4, 46.0 if self.right else 12.0
        top = 26.0 + (16.0 if self._legend or self._scale else 0.0)
        return left, top, self.width - left - right, self.height - top - 54.0 - (12.0 if self.note else 0.0)

    def _places(self, x: ArrayLike, y: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
        left, top, width, height = self._box
        return left + width * self.x.share(x), top + height * (1 - self.y.share(y))

    def legend(self, *entries: tuple[str, str, str]) -> None:
        """(label, colour, ``line`` or ``fill``) of what is drawn; called before anything is."""
        self._legend += entries

    def line(self, x: ArrayLike, y: ArrayLike, colour: str, *, width: float = 1.6, dash: str = "") -> None:
        """A line through the points; it ends at the edge of the axes and where a value is not known."""
        y = np.asarray(y, dtype=np.float64)
        low, high = self.y.low, self.y.high
        inside = np.isfinite(y) & (y >= low - 1e-9) & (y <= high + 1e-9)
        px, py = self._places(x, np.where(inside, y, np.nan))
        pieces, before = [], False
        for a, b in zip(px, py, strict=True):
            known = bool(np.isfinite(a) and np.isfinite(b))
            if known:
                pieces.append(f"{'L' if before else 'M'}{a:.1f} {b:.1f}")
                if not before:
                    pieces.append("h0")  # a point alone is seen as a dot
            before = known
        if pieces:
            dashed = f' stroke-dasharray="{dash}"' if dash else ""
            self._parts.append(
                f'<path d="{"".join(pieces)}" fill="none" stroke="{colour}" stroke-width="{width:g}" '
                f'stroke-linecap="round" stroke-linejoin="round"{dashed}/>'
            )

    def band(self, x: ArrayLike, low: ArrayLike, high: ArrayLike, colour: str) -> None:
        """The area between two lines, cut at the edges of the axes."""
        lows = np.clip(np.asarray(low, dtype=np.float64), self.y.low, self.y.high)
        highs = np.clip(np.asarray(high, dtype=np.float64), self.y.low, self.y.high)
        px, bottom = self._places(x, lows)
        _, top = self._places(x, highs)
        known = np.isfinite(bottom) & np.isfinite(top) & np.isfinite(px)
        for run in _runs(known):
            there = [f"{a:.1f} {b:.1f}" for a, b in zip(px[run], top[run], strict=True)]
            back = [f"{a:.1f} {b:.1f}" for a, b in zip(px[run][::-1], bottom[run][::-1], strict=True)]
            self._parts.append(f'<path d="M{"L".join(there + back)}z" fill="{colour}" fill-opacity=".22"/>')

    def points(self, x: ArrayLike, y: ArrayLike, colour: str, error: ArrayLike | None = None) -> None:
        """Dots, with bars of `error` either way."""
        values = np.asarray(y, dtype=np.float64)
        spread = np.zeros_like(values) if error is None else np.asarray(error, dtype=np.float64)
        px, py = self._places(x, values)
        low, high = self.y.low, self.y.high
        _, bottom = self._places(x, np.clip(values - spread, low, high))
        _, top = self._places(x, np.clip(values + spread, low, high))
        for a, b, c, d, value in zip(px, py, bottom, top, values, strict=True):
            if not (np.isfinite(a) and np.isfinite(b)) or not low <= value <= high:
                continue
            if np.isfinite(c) and np.isfinite(d) and abs(c - d) > 1:
                self._parts.append(
                    f'<path d="M{a:.1f} {c:.1f}V{d:.1f}" stroke="{colour}" stroke-width="1.2"/>'
                )
            self._parts.append(f'<circle cx="{a:.1f}" cy="{b:.1f}" r="2.6" fill="{colour}"/>')

    def level(self, y: float, label: str, colour: str = GREY) -> None:
        """A dashed line across, with its label."""
        left, top, width, height = self._box
        place = top + height * (1 - float(self.y.share(y)))
        if top <= place <= top + height:
            self._parts.append(
                f'<path d="M{left:.1f} {place:.1f}h{width:.1f}" stroke="{colour}" stroke-dasharray="4 3"/>'
                f"{_text(left + width - 3, place - 4, label, 10, 'end', colour)}"
            )

    def cells(
        self, x_edges: np.ndarray, y_edges: np.ndarray, values: np.ndarray, low: float, high: float,
        colours: Sequence[str],
    ) -> None:  # fmt: skip
        """A map: `values` (len(x_edges) - 1, len(y_edges) - 1) in steps of colour; blank where not finite."""
        px = self._places(x_edges, np.full(len(x_edges), self.y.low))[0]
        py = self._places(np.full(len(y_edges), self.x.low), y_edges)[1]
        with np.errstate(invalid="ignore"):
            step = np.floor((values - low) / (high - low) * len(colours))
        step = np.where(np.isfinite(values), np.clip(np.nan_to_num(step), 0, len(colours) - 1), -1).astype(
            int
        )
        drawn: dict[int, list[str]] = {}
        for column in range(step.shape[0]):
            ends = np.flatnonzero(np.diff(step[column])) + 1
            for begin, end in zip([0, *ends], [*ends, step.shape[1]], strict=True):
                if step[column, begin] >= 0:
                    left, right = px[column], px[column + 1]
                    drawn.setdefault(int(step[column, begin]), []).append(
                        f"M{left:.1f} {py[begin]:.1f}H{right:.1f}V{py[end]:.1f}H{left:.1f}z"
                    )
        for colour, pieces in sorted(drawn.items()):
            self._parts.append(
                f'<path d="{"".join(pieces)}" fill="{colours[colour]}" shape-rendering="crispEdges"/>'
            )

    def scale(self, low: float, high: float, colours: Sequence[str], label: str) -> None:
        """The scale of the colours of `cells`, above the axes; called before anything is drawn."""
        self._scale = (low, high, tuple(colours), label)

    @property
    def svg(self) -> str:
        """The whole picture."""
        left, top, width, height = self._box
        words = escape(self.title or self.y.label)
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{self.width}" height="{self.height}" '
            f'viewBox="0 0 {self.width} {self.height}" role="img" aria-label="{words}" '
            f'{_FONT} font-size="11">'
            f'<rect width="{self.width}" height="{self.height}" fill="#fff"/>'
        )
        ground = (
            f'<rect x="{left:.1f}" y="{top:.1f}" width="{width:.1f}" height="{height:.1f}" '
            f'fill="{self.background}"/>'
        )
        return "".join([head, ground, *self._parts, *self._frame(), "</svg>"])

    def _frame(self) -> list[str]:
        left, top, width, height = self._box
        parts = [f'<path d="M{left:.1f} {top:.1f}v{height:.1f}h{width:.1f}" fill="none" stroke="#444"/>']
        for place, label in self.x.ticks:
            share = float(self.x.share(place))
            if -1e-6 <= share <= 1 + 1e-6:
                a = left + width * share
                parts.append(f'<path d="M{a:.1f} {top + height:.1f}v4" stroke="#444"/>')
                parts.append(_text(a, top + height + 16, label, 11, "middle"))
        for ticks, edge, sign, anchor in (
            (self.y.ticks, left, -1, "end"),
            (self.right, left + width, 1, "start"),
        ):
            for place, label in ticks:
                share = float(self.y.share(place))
                if -1e-6 <= share <= 1 + 1e-6:
                    b = top + height * (1 - share)
                    parts.append(f'<path d="M{edge:.1f} {b:.1f}h{4 * sign}" stroke="#444"/>')
                    parts.append(_text(edge + 6 * sign, b + 4, label, 11, anchor))
        if self.right:
            parts.append(f'<path d="M{left + width:.1f} {top:.1f}v{height:.1f}" stroke="#444"/>')
            parts.append(_turned(self.width - 6, top + height / 2, self.right_label))
        parts.append(_text(left + width / 2, top + height + 32, self.x.label, 12, "middle"))
        parts.append(_turned(13, top + height / 2, self.y.label))
        parts.append(_text(left, 15, self.title, 13, weight="600"))
        parts.append(_text(6, self.height - (17 if self.note else 5), self.subject, 9, colour="#555"))
        parts.append(_text(6, self.height - 5, self.note, 9, colour="#555"))
        at = left
        for label, colour, kind in self._legend:
            mark = (
                f'<path d="M{at:.1f} 30h16" stroke="{colour}" stroke-width="{2 if kind == "line" else 8}"/>'
            )
            parts += [mark, _text(at + 20, 34, label, 11)]
            at += 32 + 6.2 * len(label)
        return parts + self._scale_parts(left)

    def _scale_parts(self, left: float) -> list[str]:
        if self._scale is None:
            return []
        low, high, colours, label = self._scale
        begin = left + 7 + 6.0 * len(_number(low))
        size = 84.0 / len(colours)
        parts = [_text(begin - 4, 35, _number(low), 10, "end")]
        parts += [
            f'<rect x="{begin + size * place:.1f}" y="26" width="{size + 0.3:.1f}" height="10" '
            f'fill="{colour}"/>'
            for place, colour in enumerate(colours)
        ]
        parts.append(_text(begin + 88, 35, f"{_number(high)}  {label}", 10))
        return parts


def _text(
    x: float, y: float, words: str, size: float, anchor: str = "start", colour: str = "#222", weight: str = ""
) -> str:
    if not words:
        return ""
    heavy = f' font-weight="{weight}"' if weight else ""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size:g}" text-anchor="{anchor}" fill="{colour}"{heavy}>'
        f"{escape(words)}</text>"
    )


def _turned(x: float, y: float, words: str) -> str:
    return (
        f'<text transform="translate({x:.1f} {y:.1f}) rotate(-90)" font-size="12" text-anchor="middle" '
        f'fill="#222">{escape(words)}</text>'
    )


def _runs(known: np.ndarray) -> list[slice]:
    """The stretches of at least two neighbours that are True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], known.astype(int), [0]])))
    return [slice(begin, end) for begin, end in zip(edges[::2], edges[1::2], strict=True) if end - begin > 1]
