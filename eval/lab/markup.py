"""Pieces of HTML: tables, bars, line charts.  Whatever comes from a file or a model is escaped
here, and nowhere else.
"""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from econmoral.files.records import plain

COLOURS = 6  # c0 to c5 of style.css


@dataclass(frozen=True)
class Series:
    """One line of a chart: x and y, (T,) each; nan in y is a gap.  ``dash`` and ``points`` say how
    it is drawn.
    """

    name: str
    x: Sequence[float] | np.ndarray
    y: Sequence[float] | np.ndarray
    dash: bool = False
    points: bool = False


def esc(value: object) -> str:
    """Text for HTML, control and format characters taken out, and without the signs by which
    templates are filled.
    """
    return html.escape(plain(str(value))).replace("$", "&#36;").replace("{", "&#123;")


def block(*parts: str) -> str:
    """Pieces in the container that the style belongs to."""
    return f'<div class="lab">{"".join(parts)}</div>'


def paragraph(text: str, kind: str = "") -> str:
    """A paragraph of plain text."""
    return f'<p class="{kind}">{esc(text)}</p>' if kind else f"<p>{esc(text)}</p>"


def notice(text: str) -> str:
    """What is wrong, and what to do."""
    return f'<p class="notice" role="status">{esc(text)}</p>'


def table(head: Sequence[str], rows: Sequence[Sequence[str]], caption: str) -> str:
    """A table that scrolls sideways where it is too wide.  Cells are HTML: escape what is not ours
    with ``esc``.
    """
    top = "".join(f'<th scope="col">{h}</th>' for h in head)
    body = "".join(
        f'<tr><th scope="row">{r[0]}</th>' + "".join(f"<td>{c}</td>" for c in r[1:]) + "</tr>"
        for r in rows
    )
    label = esc(caption)
    return (
        f'<p class="caption">{label}</p><div class="scroll" tabindex="0" role="region" '
        f'aria-label="{label}">'
        f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def bar(share: float | None, colour: int) -> str:
    """A share in per cent over a bar of that length; a dash where there is none."""
    if share is None or not math.isfinite(share):
        return "–"
    width = 100 * min(max(share, 0.0), 1.0)
    figure = f"{width:.0f} %" if width >= 1 or width == 0 else f"{width:.1g} %"
    return (
        f'<div class="bar" style="--bar: var(--c{colour % COLOURS})">{figure}<i style="width: '
        f'{width:.1f}%"></i></div>'
    )


def number(value: float | None, digits: int = 2) -> str:
    """A number with so many decimals, without a minus zero; a dash where there is none."""
    if value is None or not math.isfinite(value):
        return "–"
    return f"{round(value, digits) + 0.0:.{digits}f}"


@dataclass(frozen=True)
class Frame:
    """Where the values of a chart lie in its picture."""

    x0: float
    x1: float
    y0: float
    y1: float

    width, height, left, right, top, bottom = 480, 250, 46, 12, 12, 44

    @staticmethod
    def around(
        series: Sequence[Series], levels: Sequence[tuple[str, float]], low: float | None
    ) -> Frame | None:
        """The frame that holds all values, ``levels`` and ``low``; None where there is nothing to
        hold.
        """
        shown = [(a, b) for s in series for a, b in zip(s.x, s.y, strict=True) if math.isfinite(b)]
        if not shown and not levels:
            return None
        xs = [a for a, _ in shown] or [0.0]
        ys = [b for _, b in shown] + [v for _, v in levels] + ([] if low is None else [low])
        x0, x1 = min(xs), max(xs) if max(xs) > min(xs) else min(xs) + 1
        y0, y1 = min(ys), max(ys)
        pad = 0.06 * (y1 - y0) or 0.5
        return Frame(x0, x1, y0 if low is not None and y0 >= low else y0 - pad, y1 + pad)

    def at(self, x: float, y: float) -> tuple[str, str]:
        """The place of a value, in units of the picture."""
        across, up = self.width - self.left - self.right, self.height - self.top - self.bottom
        u = self.left + (x - self.x0) / (self.x1 - self.x0) * across
        v = self.height - self.bottom - (y - self.y0) / (self.y1 - self.y0) * up
        return f"{u:.1f}", f"{v:.1f}"


def chart(
    series: Sequence[Series],
    title: str,
    x_label: str,
    y_label: str,
    levels: Sequence[tuple[str, float]] = (),
    low: float | None = None,
) -> str:
    """Lines over time as SVG, horizontal lines of reference (``levels``) and a legend; ``low`` is
    in the picture in any case.
    """
    frame = Frame.around(series, levels, low)
    if frame is None:
        return paragraph(f"{title}: nothing to draw yet", "quiet")
    parts = _axes(frame, levels)
    for k, s in enumerate(series):
        parts += _line(frame, s, k)
    parts.append(
        f'<text x="{(frame.left + frame.width - frame.right) / 2}" y="{frame.height - 6}" '
        f'text-anchor="middle">{esc(x_label)}</text>'
    )
    legend = " ".join(
        f'<span style="color: var(--c{k % COLOURS})">{"╌╌" if s.dash else "━━"}</span> '
        f"{esc(s.name)}&ensp;"
        for k, s in enumerate(series)
    )
    last = "; ".join(
        f"{s.name}: {next((f'{v:.3g}' for v in [*s.y][::-1] if math.isfinite(v)), 'nothing')}"
        for s in series
    )
    return (
        f'<figure><p class="caption">{esc(title)}, {esc(y_label)}</p>'
        f'<svg viewBox="0 0 {frame.width} {frame.height}" role="img" '
        f'aria-label="{esc(title)}: last values {esc(last)}">{"".join(parts)}</svg>'
        f'<p class="quiet">{legend}</p></figure>'
    )


def _axes(frame: Frame, levels: Sequence[tuple[str, float]]) -> list[str]:
    """Numbers along both axes, and the lines of reference."""
    parts, end = [], frame.width - frame.right
    for tick in ticks(frame.y0, frame.y1):
        _, v = frame.at(frame.x0, tick)
        parts.append(
            f'<line x1="{frame.left}" x2="{end}" y1="{v}" y2="{v}" stroke="var(--line)"/><text '
            f'x="{frame.left - 6}" y="{v}" dy="5" text-anchor="end">{tick:g}</text>'
        )
    for tick in ticks(frame.x0, frame.x1):
        u, _ = frame.at(tick, frame.y0)
        y = frame.height - frame.bottom + 18
        parts.append(f'<text x="{u}" y="{y}" text-anchor="middle">{tick:g}</text>')
    for name, level in levels:
        _, v = frame.at(frame.x0, level)
        parts.append(
            f'<line x1="{frame.left}" x2="{end}" y1="{v}" y2="{v}" stroke="var(--ink)" '
            f'stroke-dasharray="2 4"/><text x="{end - 4}" y="{v}" dy="-4" text-anchor="end">'
            f"{esc(name)}</text>"
        )
    return parts


def _line(frame: Frame, series: Series, k: int) -> list[str]:
    """The k-th line, broken where there are no values."""
    pieces: list[list[tuple[str, str]]] = [[]]
    for x, y in zip(series.x, series.y, strict=True):
        if math.isfinite(y):
            pieces[-1].append(frame.at(x, y))
        elif pieces[-1]:
            pieces.append([])
    parts, colour = [], f"var(--c{k % COLOURS})"
    drawn = f'fill="none" stroke="{colour}" stroke-width="2"'
    drawn += ' stroke-dasharray="6 4"' if series.dash else ""
    for piece in pieces:
        if len(piece) > 1:
            points = " ".join(f"{u},{v}" for u, v in piece)
            parts.append(f'<polyline points="{points}" {drawn}/>')
        if series.points or len(piece) == 1:
            parts += [f'<circle cx="{u}" cy="{v}" r="3.2" fill="{colour}"/>' for u, v in piece]
    return parts


def ticks(low: float, high: float) -> list[float]:
    """Round numbers in [low, high], half a dozen at most."""
    span = high - low
    if not span > 0:
        return [low]
    unit = 10.0 ** math.floor(math.log10(span / 6))
    step = next(unit * k for k in (1, 2, 5, 10) if span / (unit * k) <= 6)
    return [
        round(step * k, 12)
        for k in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)
    ]
