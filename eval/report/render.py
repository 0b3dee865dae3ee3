"""A report as one HTML file that needs no network, as Markdown, and its tables as LaTeX and CSV.

Every word that comes from a file is escaped: a model's text stays text.
"""

from __future__ import annotations

import base64
import html
import re
from pathlib import Path

import pandas as pd

from econmoral.estimation.tables import latex_text
from econmoral.files.records import plain, write_text

from ..runner import spreadsheet
from .blocks import LONG, LONGEST_WORD, Block, Figure, Heading, Report, Table, Text, anchor, cell

VERDICTS = ("supported", "not supported", "not measured")

STYLE = """
:root {
  color-scheme: light dark; --ink: #1a1a1a; --paper: #fdfdfb; --line: #d8d8d2; --soft: #f1f1ec;
  --mark: #0072b2; --good: #00734f; --bad: #b3400a;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ink: #e8e8e4; --paper: #17181a; --line: #3a3c40; --soft: #222428; --mark: #56b4e9;
    --good: #3fc79a; --bad: #f08a4b;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0; background: var(--paper); color: var(--ink);
  font: 17px/1.55 Georgia, "Times New Roman", serif; overflow-wrap: break-word;
}
main { max-width: 62rem; margin: 0 auto; padding: 1rem 1rem 4rem; }
h1, h2, h3, th, nav, figcaption { font-family: system-ui, sans-serif; }
h1 { font-size: 1.6rem; line-height: 1.2; margin: .5rem 0; }
h2 { margin-top: 2.6rem; border-bottom: 1px solid var(--line); padding-bottom: .25rem; }
a { color: var(--mark); }
a:focus-visible, summary:focus-visible { outline: 3px solid var(--mark); outline-offset: 2px; }
.lead { font-size: 1.15rem; line-height: 1.45; margin: .5rem 0; }
.lead-figure img { max-height: 27rem; width: auto; }
table {
  border-collapse: collapse; font-size: .86rem; font-variant-numeric: tabular-nums;
  margin: 0 0 .3rem;
}
.caption { font: .86rem/1.4 system-ui, sans-serif; margin: 1.2rem 0 .3rem; opacity: .85; }
.more { font: .8rem/1.4 system-ui, sans-serif; margin: 0 0 1rem; }
th, td {
  padding: .3rem .55rem; border-bottom: 1px solid var(--line); text-align: right;
  vertical-align: top;
}
th { background: var(--soft); font-weight: 600; vertical-align: bottom; overflow-wrap: anywhere; }
td { white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
td.words { white-space: normal; overflow-wrap: anywhere; text-align: left; min-width: 10rem; }
th.words { text-align: left; }
figure { margin: 1.2rem 0; }
img { max-width: 100%; height: auto; background: #fff; border-radius: 6px; }
figcaption { font-size: .86rem; opacity: .85; }
pre {
  background: var(--soft); padding: .8rem; border-radius: 6px; white-space: pre-wrap;
  overflow-wrap: anywhere; font-size: .82rem;
}
.supported { color: var(--good); font-weight: 600; }
.not-supported { color: var(--bad); font-weight: 600; }
.not-measured { font-style: italic; }
nav ul { columns: 2; padding-left: 1.1rem; font-size: .9rem; }
@media (max-width: 44rem) {
  body { font-size: 16px; } nav ul { columns: 1; } .lead { font-size: 1.05rem; }
  table, tbody, tr, td { display: block; }
  thead { display: none; }
  tr { border-bottom: 1px solid var(--line); padding: .5rem 0; }
  td, td.words {
    border: 0; padding: .1rem 0; display: grid; grid-template-columns: 45% 55%; text-align: left;
    white-space: normal; overflow-wrap: anywhere;
  }
  td::before {
    content: attr(data-label); font: .82rem/1.5 system-ui, sans-serif; opacity: .8;
    padding-right: .5rem;
  }
  td:empty { display: none; }
  td:first-child { display: block; font-weight: 600; } td:first-child::before { content: none; }
}
@media print {
  nav { display: none; }
  body { background: #fff; color: #000; font-size: 11pt; }
  figure, table { break-inside: avoid; }
  details > * { display: block; }
}
"""


def _escaped(text: str) -> str:
    return html.escape(plain(text))


def _table_html(table: Table) -> str:
    frame = table.in_text()
    rows = [[cell(v) for v in row] for row in frame.itertuples(index=False)]
    names = [cell(c) for c in frame.columns]
    wide = [any(len(row[k]) > LONG for row in rows) for k in range(len(names))]
    # a longer one is broken
    words = [min(max(map(len, name.split()), default=0), LONGEST_WORD) + 1 for name in names]
    head = "".join(
        (
            f'<th scope="col"{" class=words" * w} style="min-width: calc({n}ch + '
            f'1.1rem)">{html.escape(c)}</th>'
        )
        for c, w, n in zip(names, wide, words, strict=True)
    )

    def filled_cell(text: str, words: bool, label: str) -> str:
        kinds = [text.replace(" ", "-")] * (text in VERDICTS) + ["words"] * words
        kind = f' class="{" ".join(kinds)}"' if kinds else ""
        return f'<td{kind} data-label="{html.escape(label)}">{html.escape(text)}</td>'

    body = "".join("<tr>" + "".join(map(filled_cell, row, wide, names)) + "</tr>" for row in rows)
    label = f"caption-{anchor(table.name)}"
    data = base64.b64encode(to_csv(table.frame).encode()).decode()
    hidden = table.frame.shape[1] - frame.shape[1]
    more = (
        f"{hidden} more column{'s' if hidden > 1 else ''}: the whole table" if hidden else "table"
    )
    return (
        f'<p class="caption" id="{label}">{_escaped(table.caption)}</p><table '
        f'aria-labelledby="{label}"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table><p '
        f'class="more"><a download="{anchor(table.name)}.csv" '
        f'href="data:text/csv;charset=utf-8;base64,{data}">{more} as CSV</a></p>'
    )


def _block_html(block: Block, lead: bool = False) -> str:
    if isinstance(block, Heading):
        return f'<h2 id="{anchor(block.text)}">{_escaped(block.text)}</h2>'
    if isinstance(block, Text):
        return f"<p{' class=lead' * lead}>{_escaped(block.words)}</p>"
    if isinstance(block, Table):
        return _table_html(block)
    if isinstance(block, Figure):
        picture = (
            f'<img alt="{_escaped(block.alt)}" '
            f'src="data:image/png;base64,{base64.b64encode(block.png).decode()}">'
        )
        kind = ' class="lead-figure"' if lead else ""
        return (
            f'<figure{kind} id="figure-{anchor(block.name)}">{picture}'
            f"<figcaption>{_escaped(block.alt)}</figcaption></figure>"
        )
    summary = f"<summary>{_escaped(block.words)}</summary>"
    return f"<details>{summary}<pre>{_escaped(block.text)}</pre></details>"


def to_html(report: Report) -> str:
    """One file with everything in it: the lead, the contents, the rest."""
    headings = [b.text for b in report.blocks if isinstance(b, Heading)]
    parts = [
        "<!DOCTYPE html>",
        (
            '<html lang="en"><head><meta charset="utf-8"><meta name="viewport" '
            'content="width=device-width, initial-scale=1">'
        ),
        (
            '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; img-src '
            "data:; style-src 'unsafe-inline'\">"
        ),
        (
            '<link rel="icon" '
            f'href="data:,"><title>{_escaped(report.title)}</title><style>{STYLE}</style></head><body><main><h1>{_escaped(report.title)}</h1>'
        ),
        *(_block_html(block, lead=True) for block in report.lead),
        '<nav aria-label="Contents"><ul>'
        + "".join(f'<li><a href="#{anchor(h)}">{_escaped(h)}</a></li>' for h in headings)
        + "</ul></nav>",
        *map(_block_html, report.blocks),
    ]
    return "\n".join([*parts, "</main></body></html>"]) + "\n"


def to_markdown(report: Report) -> str:
    """The same for a repository; figures and tables lie beside it.

    Untrusted text is an indented block, which nothing can close.
    """

    def esc(text: str) -> str:
        return re.sub(r"([\\`*_<>\[\]|#])", r"\\\1", html.escape(plain(text), quote=False)).replace(
            "\n", " "
        )

    parts = [f"# {esc(report.title)}"]
    for block in (*report.lead, *report.blocks):
        if isinstance(block, Heading):
            parts.append(f"## {esc(block.text)}")
        elif isinstance(block, Text):
            parts.append(esc(block.words))
        elif isinstance(block, Table):
            frame = block.in_text()
            lines = [
                "| " + " | ".join(esc(cell(c)) for c in frame.columns) + " |",
                "|" + "---|" * len(frame.columns),
            ]
            lines += [
                "| " + " | ".join(esc(cell(v)) for v in row) + " |"
                for row in frame.itertuples(index=False)
            ]
            whole = "all columns" if frame.shape[1] < block.frame.shape[1] else "CSV"
            parts.append(
                f"*{esc(block.caption)}* ([{whole}](tables/{anchor(block.name)}.csv))\n\n"
                + "\n".join(lines)
            )
        elif isinstance(block, Figure):
            parts.append(f"![{esc(block.alt)}](figures/{anchor(block.name)}.png)")
        else:
            parts.append(
                f"{esc(block.words)}:\n\n"
                + "\n".join("    " + line for line in plain(block.text).splitlines())
            )
    return "\n\n".join(parts) + "\n"


def to_latex(frame: pd.DataFrame, caption: str) -> str:
    """A table for a paper (booktabs)."""
    special = str.maketrans({"–": "--", "±": r"$\pm$", "κ": r"$\kappa$"})

    def esc(text: str) -> str:
        return latex_text(text).translate(special)

    rows = [" & ".join(esc(cell(v)) for v in row) + r" \\" for row in frame.itertuples(index=False)]
    head = " & ".join(esc(cell(c)) for c in frame.columns) + r" \\"
    lines = [
        r"\begin{table}",
        rf"\caption{{{esc(caption)}}}",
        rf"\begin{{tabular}}{{l{'r' * (len(frame.columns) - 1)}}}",
        r"\toprule",
        head,
        r"\midrule",
        *rows,
    ]
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", r"\end{table}"]) + "\n"


def to_csv(frame: pd.DataFrame) -> str:
    """A table for a spreadsheet, without formulas."""
    return spreadsheet(frame.map(cell).rename(columns=cell))


def write(report: Report, out: Path) -> None:
    """report.html, report.md, tables/ (CSV, LaTeX) and figures/ in a folder."""
    for table in report.tables:
        name = anchor(table.name)
        write_text(out / "tables" / f"{name}.csv", to_csv(table.frame))
        write_text(out / "tables" / f"{name}.tex", to_latex(table.frame, table.caption))
    for figure in report.figures:
        (out / "figures").mkdir(parents=True, exist_ok=True)
        aside = out / "figures" / f".{anchor(figure.name)}.part"
        aside.write_bytes(figure.png)
        aside.replace(out / "figures" / f"{anchor(figure.name)}.png")
    write_text(out / "report.md", to_markdown(report))
    write_text(out / "report.html", to_html(report))
