"""Estimates side by side, for a terminal, Markdown, HTML or LaTeX.

    >>> print(etable(pooled, treatment, names=("all", "treatment")))
    >>> etable(pooled, stars=True).latex()

Standard errors stand in parentheses under the estimates.  Every text is escaped for the format it
goes into.
"""

from __future__ import annotations

import html
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from econmoral.files.records import plain

GREEK = {"alpha", "beta", "gamma", "delta", "kappa", "lambda", "rho", "sigma", "theta"}
LATEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
}
FORMATS = ("text", "markdown", "html", "latex")
STARS = ((0.01, "***"), (0.05, "**"), (0.1, "*"))


def latex_text(text: str) -> str:
    """Text for LaTeX: nothing in it is a command, ``--fix`` keeps both its hyphens, and what begins
    a row is no option of the ``\\\\`` before it."""
    escaped = "".join(LATEX.get(c, c) for c in plain(text).replace("\n", " "))
    return re.sub(r"^\s*([\[*])", r"{\1}", re.sub("-(?=-)", "-{}", escaped))


def markdown_text(text: str) -> str:
    """Text for a cell of a Markdown table."""
    return re.sub(r"([\\`*_|<>\[\]#~&])", r"\\\1", plain(text).replace("\n", " "))


@dataclass(frozen=True)
class Column:
    """One column: estimates, se and p by parameter; statistics by name; a word where there is no
    estimate."""

    title: str
    estimates: dict[str, float]
    se: dict[str, float]
    p: dict[str, float]
    ends: dict[str, tuple[float, float]]
    statistics: dict[str, float | int | str]
    missing: str = ""


@dataclass(frozen=True)
class Etable:
    """A table of estimates.

    header : titles of the columns; body : (kind, cells) with kind ``estimate``, ``below`` (its
    error) or ``statistic``, the first cell a name; notes : lines under the table.
    """

    header: tuple[str, ...]
    body: tuple[tuple[str, tuple[str, ...]], ...]
    notes: tuple[str, ...]
    title: str = ""
    label: str = ""

    def __str__(self) -> str:
        return self.text()

    def _repr_html_(self) -> str:
        return self.html()

    def to(self, kind: str) -> str:
        """The table as ``text``, ``markdown``, ``html`` or ``latex``."""
        if kind not in FORMATS:
            raise ValueError(f"unknown format {kind!r}; known: {', '.join(FORMATS)}")
        return {
            "text": self.text,
            "markdown": self.markdown,
            "html": self.html,
            "latex": self.latex,
        }[kind]()

    def text(self) -> str:
        """For a terminal."""
        rows = [
            ("", *map(plain, self.header)),
            *(tuple(map(plain, cells)) for _, cells in self.body),
        ]
        wide = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]

        def line(cells: Sequence[str]) -> str:
            return (
                "  ".join(
                    [
                        cells[0].ljust(wide[0]),
                        *(c.rjust(w) for c, w in zip(cells[1:], wide[1:], strict=True)),
                    ]
                )
            ).rstrip()

        rule = "-" * (sum(wide) + 2 * (len(wide) - 1))
        out = [plain(self.title)] if self.title else []
        out += [line(rows[0]), rule]
        last = ""
        for (kind, _), cells in zip(self.body, rows[1:], strict=True):
            if kind == "statistic" and last in ("estimate", "below"):
                out.append(rule)
            out.append(line(cells))
            last = kind
        return "\n".join([*out, rule, *map(plain, self.notes)])

    def markdown(self) -> str:
        """For a README or a notebook."""
        rows = [("", *self.header), *(cells for _, cells in self.body)]
        lines = ["| " + " | ".join(map(markdown_text, row)) + " |" for row in rows]
        lines.insert(1, "|:--" + "|--:" * len(self.header) + "|")
        head = [f"**{markdown_text(self.title)}**", ""] if self.title else []
        return "\n".join(
            [*head, *lines, "", *(markdown_text(n) + "  " for n in self.notes)]
        ).rstrip()

    def html(self) -> str:
        """A table element with its notes."""

        def cells(row: Sequence[str], kind: str) -> str:
            first = f'<th scope="row" style="text-align:left">{html.escape(plain(row[0]))}</th>'
            return (
                "<tr>"
                + first
                + "".join(
                    f'<{kind} style="text-align:right">{html.escape(plain(c))}</{kind}>'
                    for c in row[1:]
                )
                + "</tr>"
            )

        caption = f"<caption>{html.escape(plain(self.title))}</caption>" if self.title else ""
        body = "\n".join(cells(row, "td") for _, row in self.body)
        notes = "<br>".join(html.escape(plain(n)) for n in self.notes)
        foot = (
            f'<tfoot><tr><td colspan="{len(self.header) + 1}">{notes}</td></tr></tfoot>'
            if notes
            else ""
        )
        return (
            f"<table>{caption}\n"
            f"<thead>{cells(('', *self.header), 'th')}</thead>\n"
            "<tbody>\n"
            f"{body}\n"
            f"</tbody>{foot}\n"
            "</table>"
        )

    def latex(self) -> str:
        """A booktabs tabular (``\\usepackage{booktabs}``); in a table environment when there is a
        title or a label."""
        columns = len(self.header) + 1

        def cell(text: str) -> str:
            number = re.fullmatch(r"([(\[]?)(-?[0-9.]+(?:, -?[0-9.]+)?)([)\]]?)(\**)", text)
            if not number:
                return latex_text(text)
            left, value, right, stars = number.groups()
            power = f"^{{{stars}}}" if stars else ""
            if power and value.startswith("-"):
                return f"${value}{power}$"
            return (
                left
                + re.sub(r"-([0-9.]+)", r"$-\1$", value)
                + right
                + (f"${power}$" if power else "")
            )

        def name(text: str, kind: str) -> str:
            return f"$\\{text}$" if kind == "estimate" and text in GREEK else latex_text(text)

        lines = [f"\\begin{{tabular}}{{l{'c' * len(self.header)}}}", "\\toprule"]
        lines += [" & ".join(["", *map(latex_text, self.header)]) + r" \\", "\\midrule"]
        last = ""
        for kind, row in self.body:
            if kind == "statistic" and last in ("estimate", "below"):
                lines.append("\\midrule")
            lines.append(" & ".join([name(row[0], kind), *map(cell, row[1:])]) + r" \\")
            last = kind
        lines.append("\\bottomrule")
        lines += [
            f"\\multicolumn{{{columns}}}{{l}}{{\\footnotesize {latex_text(n)}}} \\\\"
            for n in self.notes
        ]
        lines.append("\\end{tabular}")
        if self.title or self.label:
            head = ["\\begin{table}[htbp]", "\\centering"]
            head += [f"\\caption{{{latex_text(self.title)}}}"] if self.title else []
            head += (
                [f"\\label{{{re.sub(r'[^A-Za-z0-9:_.-]', '-', self.label)}}}"] if self.label else []
            )
            lines = [*head, *lines, "\\end{table}"]
        return "\n".join(lines)


def _columns(model: Any, title: str, intervals: bool, stars: bool) -> list[Column]:
    if isinstance(model, Exception):
        return [Column(title, {}, {}, {}, {}, {}, "not identified")]
    statistics: dict[str, float | int | str] = {
        "decisions": model.n,
        "clusters": model.clusters,
        "log-likelihood": model.log_likelihood,
        "log-likelihood, coin": model.null_log_likelihood,
        "pseudo-R2": model.pseudo_r2,
        "AIC": model.aic,
        "BIC": model.bic,
        "errors": model.errors,
    }
    if hasattr(model, "types"):
        rest = {"NEC": model.nec}
        columns = []
        for k, kind in enumerate(model.types):
            share: dict[str, float | int | str] = {
                "share": f"{model.shares[k]:.3f} ({model.share_se[k]:.3f})"
            }
            p = {name: model.p_value(k, name) for name in kind} if stars else {}
            ends = {name: model.interval(k, name) for name in kind} if intervals else {}
            columns.append(
                Column(
                    f"{title} type {k + 1}".strip(),
                    kind,
                    model.se[k],
                    p,
                    ends,
                    share | (statistics | rest if k == 0 else {}),
                )
            )
        return columns
    p = {name: model.p_value(name) for name in model.estimates} if stars else {}
    ends = {name: model.interval(name) for name in model.estimates} if intervals else {}
    return [Column(title, model.estimates | model.fixed, model.se, p, ends, statistics)]


def number(value: float, decimals: int) -> str:
    """Fixed decimals; what is not finite is a dash."""
    return f"{value:.{decimals}f}" if math.isfinite(value) else "–"


def _value(column: Column, name: str, decimals: int) -> str:
    """An estimate to so many decimals; what was held at a value, in full."""
    value = column.estimates[name]
    text = number(value, decimals)
    held = name not in column.se and math.isfinite(value)
    return f"{value:.12g}" if held and float(text) != value else text


def _decimals(columns: Sequence[Column], name: str, digits: int) -> int:
    """Decimals of a row: at least ``digits``, and two significant digits of the smallest standard
    error."""
    errors = [
        c.se[name] for c in columns if name in c.se and math.isfinite(c.se[name]) and c.se[name] > 0
    ]
    return min(max([digits, *(1 - math.floor(math.log10(e)) for e in errors)]), 15)


def etable(
    *models: Any,
    names: Sequence[str] | None = None,
    stars: bool = False,
    intervals: bool = False,
    digits: int = 3,
    title: str = "",
    label: str = "",
    notes: Sequence[str] = (),
    rename: dict[str, str] | None = None,
) -> Etable:
    """Fits, mixtures and refusals (``NotIdentified``) side by side.

    names : of the models (default their numbers).  stars : *** p < .01, ** p < .05, * p < .1, only
    when asked for. intervals : 95 % intervals instead of standard errors.  digits : least number
    of decimals.  rename : parameter -> text. Raises ValueError when there is no model, or not one
    name for each.
    """
    if not models:
        raise ValueError("a table needs at least one fit")
    names = [f"({i})" for i in range(1, len(models) + 1)] if names is None else list(names)
    if len(names) != len(models):
        raise ValueError(f"{len(models)} fits and {len(names)} names")
    columns = [
        c
        for model, name in zip(models, names, strict=True)
        for c in _columns(model, str(name), intervals, stars)
    ]
    parameters = list(dict.fromkeys(k for c in columns for k in c.estimates))
    parameters.sort(key=lambda k: k == "lambda")  # lambda last, else as they come
    body: list[tuple[str, tuple[str, ...]]] = []
    for k in parameters:
        decimals = _decimals(columns, k, digits)
        values, below = [], []
        for c in columns:
            star = next((s for level, s in STARS if c.p.get(k, 1.0) < level), "") if stars else ""
            values.append(_value(c, k, decimals) + star if k in c.estimates else "")
            if k in c.ends:
                below.append("[" + ", ".join(number(x, decimals) for x in c.ends[k]) + "]")
            else:
                below.append(
                    f"({number(c.se[k], decimals)})"
                    if k in c.se
                    else "(fixed)"
                    if k in c.estimates
                    else ""
                )
        body += [("estimate", ((rename or {}).get(k, k), *values)), ("below", ("", *below))]
    if any(c.missing for c in columns):
        body.append(("statistic", ("", *(c.missing for c in columns))))
    statistics = list(dict.fromkeys(k for c in columns for k in c.statistics))
    for k in statistics:
        cells = [c.statistics.get(k, "") for c in columns]
        spelt = [
            x if isinstance(x, str) else str(x) if isinstance(x, int) else number(x, 3)
            for x in cells
        ]
        body.append(("statistic", (k, *spelt)))
    said = ["95 % intervals in brackets." if intervals else "Standard errors in parentheses."]
    said += ["*** p < .01, ** p < .05, * p < .1."] if stars else []
    remarks = [
        (f"{name}: " if len(models) > 1 else "") + r
        for model, name in zip(models, names, strict=True)
        for r in (
            getattr(model, "notes", ())
            if not isinstance(model, Exception)
            else (f"not identified: {model}",)
        )
    ]
    return Etable(
        tuple(c.title for c in columns), tuple(body), (*said, *remarks, *notes), title, label
    )
