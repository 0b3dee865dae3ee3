"""The report: hostile text stays text, figures are there, nothing is fetched.

Verdicts follow the numbers.
"""

from __future__ import annotations

import ast
import base64
import csv
import html
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import study
from asking import measure, measure_menus
from conftest import LIMIT, ROOT, assert_complains, call
from console import here

from econmoral.files.records import (
    InputError,
    finite,
    plain,
    read_json,
    sha256,
    write_json,
    write_lines,
)
from econmoral.instruments.menus import MENUS
from econmoral.target import ECONOMICUS, moralis
from eval import dilemmas as eval_dilemmas
from eval import pricing as eval_pricing
from eval import report
from eval.engines.base import Condition, Simulated
from eval.figure import draw
from eval.measure import draw_problems
from eval.menus import AllocationChooser
from eval.report import blocks, pages
from eval.report.blocks import ROOM, Heading, Report, Table, Text
from eval.report.claims import CLAIMS, claim_four, claim_one, claim_three, claim_two
from eval.report.designs import Dial, Dose
from eval.report.lead import of_games, sentence
from eval.report.measured import (
    PLACES,
    Application,
    Games,
    nominal_kappa,
    program,
    read_cost,
    trained_on,
)
from eval.report.pages import build
from eval.report.render import to_csv, to_html, to_latex, to_markdown, write
from eval.report.sections import add_menus, rivals
from eval.runner import spreadsheet
from eval.table import add_shifts, reference_arms, summaries

TARGETS = [ECONOMICUS, moralis(0.5)]
E, M = map(str, TARGETS)
ODD = "pay$1_x_2$<b>"  # a folder's name may be this
HOSTILE = (
    "<script>document.title='owned'</script><img src=http://example.invalid/x onerror=alert(1)> "
    "\x1b[31mred\x1b[0m `| [a](http://b) =1+1 \u202egnp"
)


def of_kind(report: Report, kind: type) -> list:
    return [b for b in report.blocks if isinstance(b, kind)]


class Tags(HTMLParser):
    """What a page is made of."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [name for name, _ in attrs]


def chromium(*options: str) -> subprocess.CompletedProcess[str]:
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("no Chromium on this machine; .ci/run installs one")
    quiet = [
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--no-first-run",
        "--disable-quic",
    ]
    return subprocess.run(
        [program, "--headless", "--no-sandbox", "--disable-gpu", *quiet, *options],
        capture_output=True,
        text=True,
        timeout=LIMIT,
    )


def about(target: str | None, shuffled: bool = False, **more: object) -> dict:
    """What run.json says of an adapter."""
    return {
        "target": target,
        "shuffled": shuffled,
        "conversations": 400,
        "seed": 0,
        "seconds": 60.0,
        "share": None,
        "ends": None,
        "games": [],
    } | more


def write_games(
    folder: Path,
    arms: dict[str, tuple[float, float, float]],
    adapters: dict,
    sets: tuple[str, ...] = ("payoffs",),
    n: int = 16,
) -> Path:
    """A folder as eval.games writes it.  arms : name -> kappa, lambda, valid-answer probability."""
    problems, records = draw_problems("drawn", n, 1, TARGETS, 0, sets), []
    for arm, (kappa, precision, valid) in arms.items():
        some = measure(
            Simulated("homo_moralis", {"kappa": kappa}, precision),
            problems,
            Condition(arm),
            "reasoned",
            "given",
            1,
        )
        records += [r | {"valid_answer_probability": valid, "comprehension": 0.75} for r in some]
    with pytest.MonkeyPatch.context() as patch:
        # thousands of draws otherwise
        patch.setattr(
            "eval.table.usual_plans", lambda target: dict.fromkeys(("spd", "tg", "ug"), 0)
        )
        rows = summaries(records + reference_arms(records[: len(problems)], TARGETS), TARGETS)
    placebos = [name for name, record in adapters.items() if record["shuffled"]]
    add_shifts(
        rows, records, ["base", *placebos], [a for a in adapters if a not in placebos], TARGETS
    )
    write_lines(folder / "choices.jsonl", records)
    write_json(folder / "summary.json", finite(rows))
    write_json(
        folder / "run.json",
        {
            "command": ["eval"],
            "settings": {"model": "tiny"},
            "targets": [E, M],
            "adapters": adapters,
            "inputs": {},
        },
    )
    return folder


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Base, placebo and an adapter of an odd name, with a derivation that no model should write.

    The report.
    """
    folder = tmp_path_factory.mktemp("report")
    arms = {
        "base": (0.0, 0.01, 0.8),
        "placebo": (0.0, 0.02, 0.99),
        ODD: (0.5, 0.2, 0.99),
        "mute": (0.5, 0.2, 1e-4),
    }
    write_games(folder, arms, {"placebo": about(M, True), ODD: about(M), "mute": about(E)})
    rows = [json.loads(line) for line in (folder / "choices.jsonl").read_text().splitlines()]
    rows[0]["pages"][0]["texts"] = [HOSTILE]
    write_lines(folder / "choices.jsonl", rows)
    shown = [r for r in rows if r["arm"] != "mute"]
    draw(
        shown,
        [r for r in read_json(folder / "summary.json") if not r["outside"] and r["mode"] != "rule"],
        {ODD: 0.5},
        folder / "figure.png",
    )
    done = here("-m", "eval.report", str(folder))
    assert done.returncode == 0, done.stderr
    return folder / "report"


def test_every_table_says_how_valid_its_figures_are(measured: Path) -> None:
    notes = (measured / "report.md").read_text(encoding="utf-8")
    (games,) = (measured / "tables").glob("games-*.csv")
    frame = pd.read_csv(games, dtype=str).fillna("").set_index("arm")
    assert frame.loc["base", "valid %"] == "80"
    assert frame.loc["base", "control %"] == "75"
    assert frame.loc["mute", "economicus: decisions %"] == "answers outside the form"
    assert (frame.loc["mute", ["kappa", "moralis 0.5: decisions %"]] == "").all()
    assert frame.loc["coin", "valid %"] == ""
    assert ODD in frame.index
    assert "mute (valid-answer probability 0.01 %)" in notes
    (shifts,) = (measured / "tables").glob("shifts-*.csv")
    assert pd.read_csv(shifts)["baseline"].tolist() == ["base", "placebo"]


def test_claims_are_judged_whatever_the_names_are(measured: Path) -> None:
    claims = pd.read_csv(measured / "tables" / "claims.csv").set_index("claim")["verdict"]
    assert claims["C2"] == "supported"
    assert set(claims[["C1", "C4"]]) <= {"supported", "not supported"}
    because = pd.read_csv(measured / "tables" / "claims.csv").set_index("claim")["because"]
    assert "mute answers outside the form" in because["C2"]
    assert f"{ODD} takes" in because["C2"]


def test_hostile_text_stays_text(measured: Path) -> None:
    page = (measured / "report.html").read_text(encoding="utf-8")
    assert "&lt;script&gt;document.title" in page
    assert "<script" not in page
    assert "\x1b" not in page
    assert "\u202e" not in page
    assert not re.findall(r"<[^>]*(?:src|href)=[\"'](?!data:|#)", page)
    notes = (measured / "report.md").read_text(encoding="utf-8")
    assert "\n    <script>" in notes  # an indented block, which Markdown does not read
    assert "\n<script" not in notes


def test_a_browser_shows_it_without_errors_or_requests(measured: Path, tmp_path: Path) -> None:
    address = (measured / "report.html").as_uri()
    log = tmp_path / "net.json"
    done = chromium(
        f"--user-data-dir={tmp_path / 'profile'}",
        f"--log-net-log={log}",
        "--enable-logging=stderr",
        "--dump-dom",
        address,
    )
    assert done.returncode == 0
    assert "CONSOLE" not in done.stderr
    assert "<title>Does tuning make tiny" in done.stdout  # no script has renamed it
    figures = len(list((measured / "figures").iterdir()))
    assert figures >= 1
    assert done.stdout.count("<img alt=") == figures
    asked = (
        set(re.findall(r"https?://[^\"\\ ]+", log.read_text(errors="replace")))
        if log.exists()
        else set()
    )
    assert not [a for a in asked if "example.invalid" in a]


@pytest.mark.parametrize(
    ("size", "dark"),
    [("1200,1600", False), ("1200,1600", True), ("390,844", False), ("390,844", True)],
)
def test_it_renders_wide_and_narrow_light_and_dark(
    measured: Path, tmp_path: Path, size: str, dark: bool
) -> None:
    from matplotlib.image import imread

    picture = tmp_path / "shot.png"
    theme = ["--blink-settings=preferredColorScheme=0"] if dark else []
    chromium(
        f"--user-data-dir={tmp_path / 'profile'}",
        *theme,
        f"--window-size={size}",
        f"--screenshot={picture}",
        (measured / "report.html").as_uri(),
    )
    pixels = imread(picture)[..., :3]
    corner = pixels[:20, :20].mean()
    assert (corner < 0.3) if dark else (corner > 0.9)
    assert pixels.std() > 0.05  # there is something on it


MEASURE = """<!DOCTYPE html><html><body><script>
const page = PAGE;
for (const [width, height] of [[1280, 800], [390, 844]]) {
  const frame = document.createElement("iframe");
  frame.width = width; frame.height = height; frame.srcdoc = page; frame.style.border = 0;
  frame.onload = () => {
    const inner = frame.contentDocument;
    const wide = e => e.scrollWidth > e.clientWidth + 1 && getComputedStyle(e).display !== "inline";
    const over = [...inner.querySelectorAll("table, td, th, img, pre, p")].filter(
      e => e.getBoundingClientRect().right > width + 1 || wide(e));
    const picture = inner.querySelector(".lead-figure img");
    const result = document.createElement("output");
    result.textContent = JSON.stringify({
      width, page: inner.documentElement.scrollWidth,
      over: over.map(e => e.outerHTML.slice(0, 120)),
      bottom: picture ? picture.getBoundingClientRect().bottom : null,
      tables: inner.querySelectorAll("table").length});
    document.body.append(result);
  };
  document.body.append(frame);
}
</script></body></html>"""


def laid_out(page: str, folder: Path) -> dict[int, dict]:
    """Width of a window -> what a browser says of the page in it."""
    wrapper = folder / "wrapper.html"
    wrapper.write_text(
        MEASURE.replace("PAGE", json.dumps(page).replace("</", "<\\/")), encoding="utf-8"
    )
    done = chromium(
        f"--user-data-dir={folder / 'profile'}",
        "--virtual-time-budget=5000",
        "--dump-dom",
        wrapper.as_uri(),
    )
    found = [
        json.loads(html.unescape(text))
        for text in re.findall(r"<output>(.*?)</output>", done.stdout, flags=re.S)
    ]
    return {one["width"]: one for one in found}


def test_nothing_is_cut_off_and_the_answer_is_on_the_first_screen(
    measured: Path, tmp_path: Path
) -> None:
    """At 1,280 pixels and on a phone; in a desktop's window the picture ends above the fold."""
    found = laid_out((measured / "report.html").read_text(encoding="utf-8"), tmp_path)
    assert set(found) == {1280, 390}
    for width, one in found.items():
        assert one["page"] <= width, one
        assert not one["over"], one["over"]
        assert one["tables"] >= 4
    assert found[1280]["bottom"] < 800


def test_wide_tables_keep_their_first_columns_and_the_file_has_all(tmp_path: Path) -> None:
    wide = pd.DataFrame(
        [
            {
                "arm": "nano-homo_moralis-kappa0.5-games-n400-s0",
                **{f"a long heading {k}": "0.50 ± 0.09" for k in range(30)},
            }
        ]
    )
    table = Table("wide", wide, "A wide table.")
    shown = table.in_text()
    assert list(shown.columns) == list(wide.columns)[: shown.shape[1]]
    assert 4 < shown.shape[1] < 20
    chosen = Table("wide", wide, "", ("arm", "a long heading 7")).in_text()
    assert list(chosen.columns) == ["arm", "a long heading 7"]
    assert sum(len(str(v)) for v in shown.iloc[0]) <= ROOM
    report = Report("wide")
    report.blocks.append(table)
    page = to_html(report)
    data = re.findall(
        r'download="wide.csv" href="data:text/csv;charset=utf-8;base64,([^"]+)"', page
    )
    assert base64.b64decode(data[0]).decode() == to_csv(wide)
    one = laid_out(page, tmp_path)
    assert all(found["page"] <= width and not found["over"] for width, found in one.items()), one


def test_the_first_sentence_says_what_the_numbers_say(measured: Path) -> None:
    games = Games.read(measured.parent)
    words = sentence(of_games(games), claim_two(games))
    assert words.startswith(f"Yes: {ODD} takes ")
    assert "as moralis 0.5 would (base " in words
    assert words in html.unescape(
        (measured / "report.md").read_text(encoding="utf-8").replace("\\", "")
    )
    assert "mute" not in words  # it answers outside the form


def test_no_meaning_is_read_from_names() -> None:
    """No pattern, prefix or suffix of a run's or an arm's name decides anything."""
    for path in (ROOT / "eval" / "report").glob("*.py"):
        if path.name == "render.py":  # which makes file names and escapes text
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        named = {
            alias.name
            for node in ast.walk(tree)
            if isinstance(node, ast.Import)
            for alias in node.names
        }
        called = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
        assert not named & {"re", "fnmatch"}, path.name
        assert not called & {"startswith", "endswith", "removeprefix", "fullmatch", "contains"}, (
            path.name
        )


def made(*words: str) -> str:
    """The name that the Makefile gives a run."""
    done = subprocess.run(
        ["make", "--no-print-directory", "--eval=shown: ; @echo $(NAME)", "shown", *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.split()[-1]


def test_every_claim_is_judged_with_the_names_that_make_gives(tmp_path: Path) -> None:
    one, two = made("TARGET=homo_economicus"), made("TARGET=homo_moralis:kappa=0.5")
    assert one != two
    adapters = {one: about(E), two: about(M)}
    write_games(
        tmp_path / "eval",
        {"base": (0.0, 0.01, 0.8), one: (0.0, 0.2, 0.99), two: (0.5, 0.2, 0.99)},
        adapters,
    )
    arms = {"base": effects(0.2), one: effects(0.1), two: effects(0.4)}
    games, dilemmas = Games.read(tmp_path / "eval"), Application({"arms": arms}, adapters)
    records = [float(r["seconds"]) for r in adapters.values()]
    verdicts = [
        claim_one(games),
        claim_two(games),
        claim_three(dilemmas, None),
        claim_four(read_cost(tmp_path), records),
    ]
    assert len(verdicts) == len(CLAIMS)
    assert all(v.verdict in ("supported", "not supported") for v in verdicts), verdicts
    assert one in verdicts[1].because
    assert verdicts[2].verdict == "supported"


def test_tables_for_papers_and_spreadsheets() -> None:
    frame = pd.DataFrame(
        [{"arm": "=HYPERLINK(1)", "value": "-0.02 ± 0.01"}, {"arm": "a_b & 5 % #1", "value": "@x"}]
    )
    rows = list(csv.reader(to_csv(frame).splitlines()))
    assert rows[1] == ["'=HYPERLINK(1)", "-0.02 ± 0.01"]
    assert rows[2][1] == "'@x"
    named = pd.DataFrame({"measure": [1], "=1+1": [2], "@SUM(A1)": [3]})  # adapters as columns
    assert to_csv(named).splitlines()[0] == "measure,'=1+1,'@SUM(A1)"
    assert spreadsheet(named) == to_csv(named)
    assert r"a\textless{}b\textgreater{} \textbar{}" in to_latex(frame, "a<b> | \x1b\u202e")
    assert "\x1b" not in to_latex(frame, "\x1b")
    latex = to_latex(frame, "100 % of it")
    assert r"a\_b \& 5 \% \#1" in latex
    assert r"\caption{100 \% of it}" in latex
    assert r"$\pm$" in latex


def test_names_that_give_one_file_name_give_two_files(tmp_path: Path) -> None:
    report, frame = Report("r"), pd.DataFrame({"x": [1]})
    for folder in ("b.1", "b-1", "\u6a21\u578b", "\u6570\u636e"):
        report.table(f"games {folder}", frame, "c")
        report.figure(f"games {folder}", folder.encode(), "a")
    write(report, tmp_path)
    assert len(list((tmp_path / "tables").glob("*.csv"))) == 4
    assert {p.read_bytes().decode() for p in (tmp_path / "figures").iterdir()} == {
        "b.1",
        "b-1",
        "\u6a21\u578b",
        "\u6570\u636e",
    }


def test_a_measurement_without_a_page_is_not_taken_for_another(tmp_path: Path) -> None:
    for name in ("run.json", "summary.json"):
        write_json(tmp_path / name, {})
    write_lines(tmp_path / "choices.jsonl", [{"arm": "base", "scene": "family", "mean": 3.0}])
    with pytest.raises(InputError, match=r"has no page of its own; its figures are in .*table.csv"):
        build(tmp_path)


def test_renderers_escape_everything() -> None:
    report = Report(HOSTILE)
    report.heading(HOSTILE)
    report.text(HOSTILE)
    report.table("t", pd.DataFrame([{HOSTILE: HOSTILE}]), HOSTILE)
    report.figure("f", b"png", HOSTILE)
    report.quote(HOSTILE, HOSTILE)
    page = to_html(report)
    parser = Tags()
    parser.feed(page)
    assert "script" not in parser.tags
    assert parser.tags.count("img") == 1
    assert "onerror" not in parser.attributes
    notes = to_markdown(report)
    assert all("<script" not in line or line.startswith("    ") for line in notes.splitlines())
    assert plain("a\x07b\nc") == "ab\nc"


def mean(value: float, se: float = 0.04) -> dict:
    return {"mean": value, "se": se, "n": 40}


def row(
    arm: str,
    economicus: float,
    moral: float,
    kappa: float | None,
    held: str = "payoffs",
    shift: dict | None = None,
    outside: bool = False,
) -> dict:
    """A row of eval.games.  shift : baseline -> (economicus, moralis)."""
    found = (
        {"estimates": {"kappa": {"value": kappa, "se": 0.03}}}
        if kappa is not None
        else {"not_identified": "why", "bounds": None}
    )
    line = {
        "arm": arm,
        "set": held,
        "mode": "reasoned",
        "outside": outside,
        "valid_answer_probability": 0.01 if outside else 0.9,
        "comprehension": 0.7,
    }
    if outside:
        return line | {"targets": {}}
    shares = {E: ("economicus", economicus), M: ("moralis 0.5", moral)}
    targets = {
        t: {"label": label, "accuracy": mean(v), "decisions": mean(v)}
        for t, (label, v) in shares.items()
    }
    gaps = {
        base: dict(zip((E, M), map(mean, pair), strict=True))
        for base, pair in (shift or {}).items()
    }
    return line | {
        "targets": targets,
        "fits": {"homo_moralis": found},
        "incentive_sensitivity": mean(0.1),
        "shift": gaps,
    }


def games_of(folder: Path, rows: list[dict], adapters: dict) -> Games:
    write_json(folder / "summary.json", rows)
    write_json(folder / "run.json", {"adapters": adapters})
    return Games.read(folder)


UP, NONE = {"base": (0.5, 0.5)}, {"base": (0.02, 0.02)}


@pytest.mark.parametrize(
    ("one", "two", "verdict"),
    [
        ((0.0, UP), (0.5, UP), "supported"),
        ((0.0, NONE), (0.5, UP), "not supported"),
        ((0.45, UP), (0.5, UP), "not supported"),
        # form learnt, no more
        (
            (0.0, UP | {"shuffled": (0.5, 0.5)}),
            (0.5, UP | {"shuffled": (0.01, 0.01)}),
            "not supported",
        ),
        ((None, UP), (0.5, UP), "not supported"),
    ],
)
def test_claim_about_tuning_follows_the_numbers(
    tmp_path: Path, one: tuple, two: tuple, verdict: str
) -> None:
    """The names are those that the Makefile makes,
    of a model and of a preference that come in any order.
    """
    names = "smollm2-135m-homo_economicus-k0.5-n400-s0", "smollm2-135m-homo_moralis-k0.5-n400-s0"
    rows = [
        row("base", 0.25, 0.35, None),
        row(names[0], 0.9, 0.4, one[0], shift=one[1]),
        row(names[1], 0.3, 0.9, two[0], shift=two[1]),
    ]
    games = games_of(
        tmp_path, rows, {names[0]: about(E), names[1]: about(M), "shuffled": about(M, True)}
    )
    assert claim_two(games)[0] == verdict


def test_claim_about_tuning_needs_answers_in_the_form(tmp_path: Path) -> None:
    assert claim_two(None)[0] == "not measured"
    assert claim_two(games_of(tmp_path, [row("base", 0.25, 0.35, None)], {}))[0] == "not measured"
    rows = [row("base", 0.2, 0.3, None), row("x", 0, 0, None, outside=True)]
    assert claim_two(games_of(tmp_path, rows, {"x": about(M)})) == (
        "not measured",
        "x answers outside the form",
    )
    rows = [row("base", 0, 0, None, outside=True), row("x", 0.3, 0.9, 0.5, shift={})]
    assert claim_two(games_of(tmp_path, rows, {"x": about(M)}))[0] == "not measured"
    assert claim_one(Games.read(tmp_path)) == ("not measured", "the base answers outside the form")
    rows[1]["shift"] = {"p": {M: mean(0.5)}}  # the placebo alone will do
    assert (
        claim_two(games_of(tmp_path, rows, {"x": about(M), "p": about(M, True)}))[0] == "supported"
    )


def test_what_an_adapter_was_trained_on_comes_from_its_record(tmp_path: Path) -> None:
    """A measurement that says nothing of its adapters names their folders."""
    write_json(
        tmp_path / "a" / "run.json",
        {
            "target": M,
            "shuffled": False,
            "gates": {"labels_checked": 25},
            "settings": {"seed": 3},
            "seconds": 7.0,
        },
    )
    write_json(
        tmp_path / "run.json",
        {
            "inputs": {
                "x": {"path": str(tmp_path / "a" / "adapter_model.safetensors"), "sha256": "0"},
                "base": {"path": "b"},
            }
        },
    )
    (record,) = trained_on(tmp_path).values()
    assert (record["target"], record["conversations"], record["seed"], record["seconds"]) == (
        M,
        25,
        3,
        7.0,
    )
    assert nominal_kappa(record) == 0.5
    assert nominal_kappa(
        about(None, ends=[E, "homo_moralis:kappa=0.8"], share=0.25)
    ) == pytest.approx(0.2)
    assert nominal_kappa(about(M, True)) is None
    assert nominal_kappa(about("altruism:altruism=0.3")) is None
    assert nominal_kappa(about("no_such:x=1")) is None


@pytest.mark.parametrize("seeds", [1, 3])
def test_the_dose_curve_is_the_one_put_in(tmp_path: Path, seeds: int) -> None:
    """Saturates at 90 %, two thirds of the way after 80 conversations.

    Seeds lie three points apart around it.
    """
    rows, adapters = [row("base", 0.3, 0.3, None)], {"placebo": about(M, True)}
    for seed in range(seeds):
        for size in (25, 100, 200, 400):
            share = 0.9 - 0.6 * 2.718281828 ** (-size / 80) + 0.03 * (seed - (seeds - 1) / 2)
            name = f"run {len(rows)}"
            rows.append(row(name, 0.3, share, 0.5))
            adapters[name] = about(
                M, conversations=size, seed=seed, seconds=50.0 if size == 200 else None
            )
    rows.append(row("gone", 0, 0, None, outside=True))
    adapters["gone"] = about(M, conversations=50)
    report = Report("dose")
    Dose(games_of(tmp_path, rows + [r | {"set": "wordings"} for r in rows], adapters)).add(report)
    left, words = (b.words for b in of_kind(report, Text))
    assert "gone" in left
    assert (
        "Held-out payoffs: saturates at 90 %, two thirds of the way after 80 conversations; "
        "smallest size tried that reaches 80 %: 200."
    ) in words
    assert ("One seed" in words) == (seeds == 1)
    table = report.tables[0].frame.set_index("conversations")
    assert table.loc[0, "held-out payoffs, decisions %"] == "30 ± 4"
    assert table.loc[200, "held-out wordings, decisions %"] == (
        "85 ± 4" if seeds == 1 else "85 (82 to 88)"
    )
    assert table["tuning seconds"].tolist() == ["", "", "", "50", ""]


@pytest.mark.parametrize("seeds", [1, 3])
def test_the_dial_is_the_one_put_in(tmp_path: Path, seeds: int) -> None:
    """Measured kappa is .05 + .8 target.

    The slopes of seeds lie .1 apart around it, and the arm between two counts for none.
    """
    rows, adapters = [row("base", 0.3, 0.3, None)], {}
    for seed in range(seeds):
        for target in (0.0, 0.25, 0.5, 1.0):
            measured = 0.05 + (0.8 + 0.1 * (seed - (seeds - 1) / 2)) * target
            name = f"run {len(rows)}"
            rows.append(row(name, 0.3, 0.5, measured))
            adapters[name] = about(str(moralis(target)) if target else E, seed=seed)
    rows.append(row("halfway", 0.3, 0.5, 0.9))
    adapters["halfway"] = about(None, ends=[E, M], share=0.5)
    report = Report("dial")
    Dial(games_of(tmp_path, rows, adapters)).add(report)
    (words,) = (b.words for b in of_kind(report, Text))
    spread = 0.1 / 3**0.5
    x = [t - 0.4375 for t in (0, 0.25, 0.5, 1)]
    alone = 0.03 / sum(v * v for v in x) ** 0.5  # every kappa has the standard error .03
    assert (
        f"slope of measured on target kappa 0.80 ± {alone if seeds == 1 else spread:.2f}" in words
    )
    assert ("3 seeds, 0.70 to 0.90" in words) == (seeds == 3)
    tables = report.tables
    assert len(tables) == (1 if seeds == 1 else 2)
    assert tables[-1].frame.set_index("arm").loc["halfway", "kappa trained for"] == "0.25"
    if seeds == 3:
        means = tables[0].frame.set_index("kappa trained for")
        assert means.loc["1", "payoffs"] == "0.85 (0.75 to 0.95)"
        assert means.loc["0", "payoffs"] == "0.05 (0.05 to 0.05)"


def effects(value: float, outside: bool = False) -> dict:
    found = (
        {}
        if outside
        else {
            d: {"value": value if d == "age" else 0.1, "se": 0.01, "n": 300} for d in ("age", "law")
        }
    )
    return {"conjoint": {"outside": outside, "effects": found}}


def price(value: float, width: float = 0.05) -> dict:
    return {"mean": value, "low": value - width, "high": value + width, "runs": 7}


NAMED = {"a_1": about(E), "b$2": about(M), "c": about(M, True)}


@pytest.mark.parametrize(
    ("ages", "indices", "competent", "verdict"),
    [
        ((0.1, 0.3), (0.2, 0.6), True, "supported"),
        ((0.1, 0.11), (0.2, 0.6), True, "not supported"),
        ((0.1, 0.3), (0.2, 0.25), True, "not supported"),
        ((0.1, 0.3), (0.2, 0.25), False, "supported"),
        ((None, None), (0.2, 0.6), False, "not measured"),
    ],
)
def test_claim_about_transfer_follows_the_numbers(
    ages: tuple, indices: tuple, competent: bool, verdict: str
) -> None:
    arms = (
        {"base": {}, "a_1": effects(ages[0]), "b$2": effects(ages[1]), "c": effects(0.9)}
        if ages[0] is not None
        else {}
    )
    pairs = {
        n: {"agents": [n, n], "outside": [], "price_index": price(v)}
        for n, v in zip(("a_1", "b$2"), indices, strict=True)
    }
    pairs |= {"c": {"agents": ["c", "c"], "outside": ["c"]}}  # answers outside the form: no figures
    gate = {n: {"competent": competent} for n in ("a_1", "b$2")}
    dilemmas = Application({"arms": arms}, NAMED) if arms else None
    found, words = claim_three(dilemmas, Application({"pairings": pairs, "gate": gate}, NAMED))
    assert found == verdict
    assert ("not measured" in words) == (not competent)
    assert claim_three(None, None)[0] == "not measured"


def test_outside_the_form_enters_no_claim_about_transfer() -> None:
    arms = {"a_1": effects(0.1), "b$2": effects(0.9, outside=True)}
    assert claim_three(Application({"arms": arms}, NAMED), None)[0] == "not measured"
    assert (
        claim_three(
            Application({"arms": {"a_1": effects(0.1), "b$2": effects(0.9)}}, {"a_1": about(E)}),
            None,
        )[0]
        == "not measured"
    )


def cost(*seconds: float) -> pd.DataFrame:
    return pd.DataFrame(
        {"cell": [f"c{i}" for i in range(len(seconds))], "program": "sft", "seconds": seconds}
    )


def test_claims_without_data() -> None:
    assert claim_one(None)[0] == "not measured"
    assert claim_four(cost(), [])[0] == "not measured"
    assert claim_four(cost(), [100.0])[0] == "supported"
    assert claim_four(cost(100.0), [])[0] == "supported"
    assert claim_four(cost(10_000.0), [])[0] == "not supported"


def test_bad_folders(tmp_path: Path) -> None:
    assert_complains(here("-m", "eval.report", str(tmp_path / "nowhere")), "does not exist")
    assert_complains(here("-m", "eval.report", str(tmp_path)), "holds no study")
    old = {"arm": "base", "set": "payoffs", "mode": "reasoned", "economicus": {}}
    for name, value in (("summary", [old]), ("run", {})):
        write_json(tmp_path / f"{name}.json", value)
    write_lines(tmp_path / "choices.jsonl", [{"game": "spd"}])
    with pytest.raises(InputError, match=r"not what eval\.games writes today"):
        build(tmp_path)
    write_lines(tmp_path / "choices.jsonl", [{"battery": "bfs39"}])
    with pytest.raises(InputError, match=r"not what eval\.menus writes today"):
        build(tmp_path)


def assert_no_empty_table(report: Report) -> None:
    for table in report.tables:
        frame = table.frame
        assert len(frame), table.name
        assert not any((frame[c].astype(str) == "").all() for c in frame.columns[1:]), (
            table.name,
            list(frame.columns),
        )


def test_one_page_decisions_have_a_report(tmp_path: Path) -> None:
    from eval import menus

    every = [m for battery in ("bfs39", "dictator", "garp") for m in MENUS[battery][:8]]
    asked = [(m, [menus.draw_page(m, np.random.default_rng(0))]) for m in every]
    theta = {"alpha": 0.1, "beta": 0.3}
    records = {
        a: measure_menus(AllocationChooser(theta, p), asked, Condition(a), "direct", 0)
        for a, p in (("base", 0.01), (ODD, 0.1), ("mute", 0.1))
    }
    for r in records["mute"]:
        r["valid_answer_probability"] = 0.2
    base = {"base": {r["id"]: r for r in records["base"]}}
    rows = [
        line
        for arm, found in records.items()
        for line in menus.summarise(found, base if arm == ODD else {}, TARGETS)
    ]
    write_json(tmp_path / "summary.json", finite(rows))
    write_lines(tmp_path / "choices.jsonl", [r for found in records.values() for r in found])
    write_json(tmp_path / "run.json", {"settings": {"model": None}, "adapters": {ODD: about(M)}})
    report = build(tmp_path)
    assert_no_empty_table(report)
    assert "None" not in report.title
    tables = {table.name: table.frame for table in report.tables}
    bfs, moved = (frame.set_index("arm") for name, frame in tables.items() if "bfs39" in name)
    assert list(moved.index) == [ODD]  # nobody is compared with who answers outside the form
    share = rows[[r["arm"] for r in rows].index(ODD)]["shift"]["base"][str(TARGETS[0])]["mean"]
    assert moved.loc[ODD, "as economicus, minus base"].startswith(f"{100 * share:+.0f} ± ")
    assert bfs.loc["mute", "mean"] == "answers outside the form"
    assert bfs.loc[ODD, "valid %"] == "100"
    assert "minus base" in bfs.columns
    assert "economicus: agreement %" in bfs.columns


def test_a_study_of_a_real_checkpoint_opens(tmp_path: Path) -> None:
    """Other folders than those of a study by design: games and allocations lie side by side;
    and nothing but a changed scale.
    """
    arms = {"base": (0.0, 0.01, 1e-5), "x": (0.5, 0.2, 0.99)}
    write_games(tmp_path / "games", arms, {"x": about(M)}, ("payoffs", "scale"), 8)
    write_json(
        tmp_path / "study.json",
        {"plan": {"problems": 8}, "model": "m", "name": "tiny-135m", "stages": ["games"]},
    )
    report = build(tmp_path)
    assert "tiny-135m" in report.title
    assert_no_empty_table(report)
    assert any("other settings" in b.text for b in of_kind(report, Heading))
    (frame,) = (t.frame for t in report.tables if t.name == "claims")
    assert frame.set_index("claim").loc["C1", "verdict"] == "not measured"
    alone = build(write_games(tmp_path / "alone", {"chooser": (0.5, 0.2, 1.0)}, {}, ("scale",), 6))
    assert_no_empty_table(alone)
    assert "payoffs ten times as large" in to_markdown(alone).lower()


def test_comparison_parity_and_retention_have_sections(tmp_path: Path) -> None:
    line = {
        "set": "payoffs",
        "mode": "direct",
        "arm": ODD,
        "measure": "m",
        "difference": 0.1,
        "se": None,
        "low": 0.0,
        "high": 0.2,
        "p_holm": 0.04,
        "n": 9,
    }
    write_json(
        tmp_path / "compare.json",
        {"against": "base", "rows": [line], "left_out": [{"arm": "mute"}]},
    )
    form = {
        "largest": 0.01,
        "mean": 0.001,
        "valid_answer_probability": 0.9,
        "largest_of_validity": 0.0,
    }
    write_json(
        tmp_path / "parity.json",
        {"valid_answer_probability": 0.9, "differences": {"merged": form, "vLLM": "not run"}},
    )
    write_json(
        tmp_path / "retention.json",
        {"margin": 0.05, "rows": [{"arm": ODD, "task": "t", "base": 0.5}]},
    )
    report = build(tmp_path)
    headings = [b.text for b in of_kind(report, Heading)]
    assert {"Paired comparison", "The same adapter in other forms", "General ability"} <= set(
        headings
    )
    assert_no_empty_table(report)
    write_json(tmp_path / "parity.json", {"differences": 3})
    with pytest.raises(InputError, match="not as today's commands write it"):
        build(tmp_path)


def test_a_comparison_of_what_was_measured_again_is_not_shown(tmp_path: Path) -> None:
    choices = tmp_path / "choices.jsonl"
    choices.write_text("first")
    row = {"arm": "a", "set": "payoffs", "mode": "direct", "measure": "m", "n": 9, "se": 0.1}
    row |= {"difference": 0.1, "low": 0.0, "high": 0.2, "p_holm": 0.04}
    inputs = {"choices_0": {"path": "moved/choices.jsonl", "sha256": sha256(choices)}}
    found = {"against": "base", "rows": [row], "left_out": [], "inputs": inputs}
    write_json(tmp_path / "compare.json", found)
    inputs = {"adapter": {"path": str(choices), "sha256": sha256(choices)}}
    form = {"largest": 0.01, "mean": 0.0, "valid_answer_probability": 0.9}
    form |= {"largest_of_validity": 0.0}
    found = {"valid_answer_probability": 0.9, "differences": {"merged": form}, "inputs": inputs}
    write_json(tmp_path / "parity.json", found)
    assert {"compare", "parity"} <= {t.name for t in build(tmp_path).tables}
    choices.write_text("second")
    report = build(tmp_path)
    assert not {"compare", "parity"} & {t.name for t in report.tables}
    words = " ".join(b.words for b in of_kind(report, Text))
    assert "run econmoral compare once more" in words
    assert "run econmoral parity once more" in words


def test_a_figure_that_cannot_be_drawn_costs_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(figure: object) -> bytes:
        raise RuntimeError("no font")

    monkeypatch.setattr(blocks, "png", broken)
    report = Report("dial")
    Dial(
        games_of(tmp_path, [row("base", 0.3, 0.3, None), row("x", 0.3, 0.5, 0.4)], {"x": about(M)})
    ).add(report)
    assert report.tables
    assert any("could not be drawn" in b.words for b in of_kind(report, Text))


def test_other_measurements_have_reports(tmp_path: Path) -> None:
    pricing, dilemmas = tmp_path / "p", tmp_path / "d"
    firms = ("--agents", "grim", "myopic", "--runs", 2, "--periods", 60)
    call(eval_pricing.main, *firms, "--out", pricing)
    driver = ("--simulate", "kappa=0.7,lambda=3,age=0.3", "--scenarios", 60)
    call(eval_dilemmas.main, *driver, "--out", dilemmas)
    for folder, figures in ((pricing, 3), (dilemmas, 1)):
        call(report.main, folder)
        assert len(list((folder / "report" / "figures").iterdir())) == figures
    assert read_json(pricing / "summary.json")["periods"] == 60


@pytest.mark.parametrize(
    ("family", "theta"),
    [
        ("homo_moralis", {"kappa": 0.5}),
        ("fehr_schmidt", {"alpha": 0.6, "beta": 0.4}),
        ("altruism", {"altruism": 0.4}),
        ("homo_economicus", {}),
    ],
)
def test_the_family_that_chose_predicts_best(family: str, theta: dict[str, float]) -> None:
    problems = draw_problems("drawn", 200, 1, TARGETS, seed=3, sets=["payoffs"])
    records = measure(
        Simulated(family, theta, 0.1), problems, Condition("chooser"), "direct", "given", 1
    )
    row = rivals(records).iloc[0]
    values = {
        str(name): float(v) for name, v in row.items() if name not in ("arm", "predicts best")
    }
    assert values[row["predicts best"]] == max(values.values())
    # families that hold this one as a special case lose what their free parameters cost, no more
    assert values[family] > max(values.values()) - 0.002
    assert all(
        values[family] > values[other] + 0.02
        for other in {"homo_economicus", "homo_moralis", "altruism", "coin"} - {family}
        if theta
    )


def test_cost_adds_up_over_attempts(tmp_path: Path) -> None:
    rows = [
        {"cell": "tune a", "seconds": 2.0, "gpu_hours": 0.5, "tokens": None, "finished": False},
        {"cell": "data a", "seconds": 1.0, "gpu_hours": 0.0, "tokens": None, "finished": True},
        {
            "cell": "tune a",
            "seconds": 3.0,
            "gpu_hours": 0.25,
            "tokens": 700,
            "finished": True,
            "command": ["-m", "econmoral", "sft", "--n", "3"],
        },
    ]
    write_lines(tmp_path / "cells.jsonl", rows)
    cost = read_cost(tmp_path).set_index("cell")
    assert cost.loc["tune a"].tolist() == ["sft", 5.0, 700.0, 0.75]
    assert list(cost.index) == ["tune a", "data a"]
    assert pd.isna(cost.loc["data a", "tokens"])
    assert read_cost(tmp_path / "none").empty
    assert program(["recipes/sft.py", "--n", "3"]) == "sft"  # how studies called it before
    assert program(None) == ""


def test_the_report_looks_wherever_a_study_measures(tmp_path: Path) -> None:
    for path in (ROOT / "recipes" / "plans").glob("*.yaml"):
        plan = study.read_plan(path)
        for cell in study.lay_out(plan, tmp_path, list(plan["designs"])):
            place = cell.product.relative_to(tmp_path).parent
            if cell.measures and place.parts[0] != "games":
                assert str(place) in PLACES


def test_allocations_of_an_earlier_version_are_refused(tmp_path: Path) -> None:
    row = {"arm": "base", "mode": "direct", "battery": "bfs39", "topic": "allocation"}
    row |= {"outside": False, "valid_answer_probability": 0.9, "comprehension": 0.5, "targets": {}}
    write_json(tmp_path / "summary.json", [row | {"structural": {}}])
    with pytest.raises(InputError, match="measure again"):
        add_menus(Report("t"), tmp_path, "Allocations")


def test_measurements_of_games_have_headings_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A study asks for direct answers too; a link led to the first of two like headings."""
    titles: list[str] = []
    monkeypatch.setattr(pages.sections, "add_games", lambda report, g, title: titles.append(title))
    monkeypatch.setattr(pages.sections, "add_rivals", lambda report, g: None)
    games = games_of(
        tmp_path, [row("base", 0.5, 0.5, 0.1), row("a", 0.9, 0.5, 0.0)], {"a": {"target": E}}
    )
    pages.add_all_games(Report("r"), {tmp_path: games}, {})
    pages.add_all_games(Report("r"), {tmp_path / "games": games, tmp_path / "direct": games}, {})
    assert titles[0] == "Before and after tuning"
    assert titles[1:] == ["Before and after tuning (games)", "Before and after tuning (direct)"]
