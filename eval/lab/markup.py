"""Pieces of HTML: tables, bars, line charts.  Whatever comes from a file or a model is escaped
here, and nowhere else.
"""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from econmoral.records import plain

COLOURS = 6  # c0 to c5 of style.css


@dataclass(frozen=True)
class Series:
    """One line of a chart: x and y, (T,) each; nan in y is a gap.  ``step`` and ``points`` say how
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


def bar(share: float | None, colour: int = 0, best: bool = False) -> str:
    """A share in per cent over a bar of that length; a dash where there is none."""
    if share is None or not math.isfinite(share):
        return "–"
    width = 100 * min(max(share, 0.0), 1.0)
    figure = f"{width:.0f} %" if width >= 1 or width == 0 else f"{width:.1g} %"
    star = f'<span class="best">{figure}</span>' if best else figure
    return (
        f'<div class="bar" style="--bar: var(--c{colour % COLOURS})">{star}<i style="width: '
        f'{width:.1f}%"></i></div>'
    )


def number(value: float | None, digits: int = 2) -> str:
    """A number with so many decimals, without a minus zero; a dash where there is none."""
    if value is None or not math.isfinite(value):
        return "–"
    return f"{round(value, digits) + 0.0:.{digits}f}"


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
    width, height, left, right, top, bottom = 480, 250, 46, 12, 12, 44
    shown = [(a, b) for s in series for a, b in zip(s.x, s.y, strict=True) if math.isfinite(b)]
    if not shown and not levels:
        return paragraph(f"{title}: nothing to draw yet", "quiet")
    xs = [a for a, _ in shown] or [0.0]
    ys = [b for _, b in shown] + [v for _, v in levels] + ([] if low is None else [low])
    x0, x1 = min(xs), max(xs) if max(xs) > min(xs) else min(xs) + 1
    y0, y1 = min(ys), max(ys)
    pad = 0.06 * (y1 - y0) or 0.5
    y0, y1 = (y0 if low is not None and y0 >= low else y0 - pad), y1 + pad

    def at(x: float, y: float) -> str:
        u = left + (x - x0) / (x1 - x0) * (width - left - right)
        v = height - bottom - (y - y0) / (y1 - y0) * (height - top - bottom)
        return f"{u:.1f},{v:.1f}"

    parts = []
    for tick in ticks(y0, y1):
        u, v = at(x0, tick).split(",")
        parts.append(
            f'<line x1="{left}" x2="{width - right}" y1="{v}" y2="{v}" stroke="var(--line)"/><text '
            f'x="{left - 6}" y="{v}" dy="5" '
            f'text-anchor="end">{tick:g}</text>'
        )
    for tick in ticks(x0, x1):
        u, _ = at(tick, y0).split(",")
        parts.append(
            f'<text x="{u}" y="{height - bottom + 18}" text-anchor="middle">{tick:g}</text>'
        )
    for name, level in levels:
        _, v = at(x0, level).split(",")
        parts.append(
            f'<line x1="{left}" x2="{width - right}" y1="{v}" y2="{v}" stroke="var(--ink)" '
            'stroke-dasharray="2 4"/>'
            f'<text x="{width - right - 4}" y="{v}" dy="-4" text-anchor="end">{esc(name)}</text>'
        )
    for k, s in enumerate(series):
        pieces: list[list[str]] = [[]]
        for x, y in zip(s.x, s.y, strict=True):
            if math.isfinite(y):
                pieces[-1].append(at(x, y))
            elif pieces[-1]:
                pieces.append([])
        dash = ' stroke-dasharray="6 4"' if s.dash else ""
        for piece in pieces:
            if len(piece) > 1:
                parts.append(
                    f'<polyline points="{" ".join(piece)}" fill="none" '
                    f'stroke="var(--c{k % COLOURS})" stroke-width="2"{dash}/>'
                )
            if s.points or len(piece) == 1:
                parts += [
                    f'<circle cx="{p.split(",")[0]}" cy="{p.split(",")[1]}" r="3.2" '
                    f'fill="var(--c{k % COLOURS})"/>'
                    for p in piece
                ]
    parts.append(
        f'<text x="{(left + width - right) / 2}" y="{height - 6}" '
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
        f'<p class="caption">{esc(title)}, {esc(y_label)}</p><svg viewBox="0 0 {width} {height}" '
        'role="img" '
        f'aria-label="{esc(title)}: last values {esc(last)}">{"".join(parts)}</svg><p '
        f'class="quiet">{legend}</p>'
    )


def ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Round numbers in [low, high], at most so many."""
    span = high - low
    if not span > 0:
        return [low]
    unit = 10.0 ** math.floor(math.log10(span / most))
    step = next(unit * k for k in (1, 2, 5, 10) if span / (unit * k) <= most)
    return [
        round(step * k, 12)
        for k in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)
    ]
