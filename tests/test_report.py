"""The report: hostile text stays text, figures are there, nothing is fetched; verdicts follow the numbers."""

from __future__ import annotations

import csv
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest
from conftest import assert_complains, run

from econmoral.records import read_json, write_json, write_lines
from eval.engines import Arm, Simulated
from eval.measure import draw_questions, measure
from eval.report import (
    Report,
    add_dial,
    add_dose,
    claim_four,
    claim_one,
    claim_three,
    claim_two,
    plain,
    read_cost,
    rivals,
    to_csv,
    to_html,
    to_latex,
    to_markdown,
)

HOSTILE = "<script>document.title='owned'</script><img src=http://example.invalid/x onerror=alert(1)> \x1b[31mred\x1b[0m `| [a](http://b) =1+1 \u202egnp"


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
    quiet = ["--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run", "--disable-quic"]
    return subprocess.run([program, "--headless", "--no-sandbox", "--disable-gpu", *quiet, *options], capture_output=True, text=True, timeout=120)


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A measurement by a chooser of known preference, with a derivation that no model should write."""
    folder = tmp_path_factory.mktemp("report")
    done = run("-m", "eval.games", "--simulate", "alpha=0,beta=0,kappa=0.4,lambda=0.1", "--items", "20", "--pairs", "1", "--out", str(folder))
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in (folder / "choices.jsonl").read_text().splitlines()]
    rows[0]["pages"][0]["texts"] = [HOSTILE]
    write_lines(folder / "choices.jsonl", rows)
    assert run("-m", "eval.report", str(folder)).returncode == 0
    return folder / "report"


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
    done = chromium(f"--user-data-dir={tmp_path / 'profile'}", f"--log-net-log={log}", "--enable-logging=stderr", "--dump-dom", address)
    assert done.returncode == 0
    assert "CONSOLE" not in done.stderr
    assert "<title>Does tuning" in done.stdout  # no script has renamed it
    figures = len(list((measured / "figures").iterdir()))
    assert figures >= 1
    assert done.stdout.count("<img alt=") == figures
    asked = set(re.findall(r"https?://[^\"\\ ]+", log.read_text(errors="replace"))) if log.exists() else set()
    assert not [a for a in asked if "example.invalid" in a]


@pytest.mark.parametrize(("size", "dark"), [("1200,1600", False), ("1200,1600", True), ("390,844", False), ("390,844", True)])
def test_it_renders_wide_and_narrow_light_and_dark(measured: Path, tmp_path: Path, size: str, dark: bool) -> None:
    from matplotlib.image import imread

    picture = tmp_path / "shot.png"
    theme = ["--blink-settings=preferredColorScheme=0"] if dark else []
    chromium(f"--user-data-dir={tmp_path / 'profile'}", *theme, f"--window-size={size}", f"--screenshot={picture}", (measured / "report.html").as_uri())
    pixels = imread(picture)[..., :3]
    corner = pixels[:20, :20].mean()
    assert (corner < 0.3) if dark else (corner > 0.9)
    assert pixels.std() > 0.05  # there is something on it


def test_tables_for_papers_and_spreadsheets() -> None:
    frame = pd.DataFrame([{"arm": "=HYPERLINK(1)", "value": "-0.02 ± 0.01"}, {"arm": "a_b & 5 % #1", "value": "@x"}])
    rows = list(csv.reader(to_csv(frame).splitlines()))
    assert rows[1] == ["'=HYPERLINK(1)", "-0.02 ± 0.01"]
    assert rows[2][1] == "'@x"
    latex = to_latex(frame, "100 % of it")
    assert r"a\_b \& 5 \% \#1" in latex
    assert r"\caption{100 \% of it}" in latex
    assert r"$\pm$" in latex


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


def row(arm: str, economicus: float, moralis: float, kappa: float | None, sensitivity: float = 0.1) -> dict:
    found = {"estimates": {"kappa": {"value": kappa, "se": 0.03}}} if kappa is not None else {"not_identified": "why", "bounds": None}
    return {
        "arm": arm, "set": "payoffs", "mode": "reasoned", "economicus": {"accuracy": {"mean": economicus, "se": 0.04}},
        "moralis": {"accuracy": {"mean": moralis, "se": 0.04}}, "homo_moralis": found, "incentive_sensitivity": {"mean": sensitivity},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("economicus", "moralis", "verdict"),
    [
        ((0.95, 0.3, 0.0), (0.2, 0.9, 0.5), "supported"),
        ((0.3, 0.3, 0.0), (0.2, 0.9, 0.5), "not supported"),
        ((0.95, 0.3, 0.45), (0.2, 0.9, 0.5), "not supported"),
    ],
)
def test_claim_about_tuning_follows_the_numbers(tmp_path: Path, economicus: tuple, moralis: tuple, verdict: str) -> None:
    write_json(tmp_path / "summary.json", [row("base", 0.25, 0.35, None), row("economicus", *economicus), row("moralis", *moralis)])
    assert claim_two(tmp_path)[0] == verdict
    assert claim_two(None)[0] == "not measured"
    write_json(tmp_path / "summary.json", [row("base", 0.25, 0.35, None)])
    assert claim_two(tmp_path)[0] == "not measured"


@pytest.mark.parametrize("seeds", [1, 3])
def test_the_dose_curve_is_the_one_put_in(tmp_path: Path, seeds: int) -> None:
    """Saturates at 90 %, two thirds of the way after 80 examples; seeds lie three points apart around it."""
    rows = [row("base", 0.3, 0.3, None)]
    for seed in range(seeds):
        for size in (25, 100, 200, 400):
            share = 0.9 - 0.6 * 2.718281828 ** (-size / 80) + 0.03 * (seed - (seeds - 1) / 2)
            rows.append(row(f"moralis-k0.5-n{size}" + (f"-s{seed}" if seed else ""), 0.3, share, 0.5))
    write_json(tmp_path / "summary.json", rows + [r | {"set": "wordings"} for r in rows])
    report = Report("dose")
    add_dose(report, tmp_path, {"tune moralis-k0.5-n200": 50.0})
    (words,) = (b[1] for b in report.blocks if b[0] == "text")
    assert "Held-out payoffs: saturates at 90 %, two thirds of the way after 80 examples; smallest size tried that reaches 80 %: 200." in words
    assert ("One seed" in words) == (seeds == 1)
    table = next(b[2] for b in report.blocks if b[0] == "table").set_index("examples")
    assert table.loc[0, "payoffs, optimal %"] == "30 ± 4"
    assert table.loc[200, "wordings, optimal %"] == ("85 ± 4" if seeds == 1 else "85 (82 to 88)")
    assert table["tuning seconds"].tolist() == ["", "", "", "50", ""]


@pytest.mark.parametrize("seeds", [1, 3])
def test_the_dial_is_the_one_put_in(tmp_path: Path, seeds: int) -> None:
    """Measured kappa is .05 + .8 target; the slopes of seeds lie .1 apart around it, and the arm between two counts for none."""
    rows = [row("base", 0.3, 0.3, None)]
    for seed in range(seeds):
        for target in (0.0, 0.25, 0.5, 1.0):
            name = "economicus" if target == 0 else f"moralis-k{target:g}"
            measured = 0.05 + (0.8 + 0.1 * (seed - (seeds - 1) / 2)) * target
            rows.append(row(f"{name}-n400" + (f"-s{seed}" if seed else ""), 0.3, 0.5, measured))
    rows.append(row("between-0.5", 0.3, 0.5, 0.9))
    write_json(tmp_path / "summary.json", rows)
    report = Report("dial")
    add_dial(report, tmp_path)
    (words,) = (b[1] for b in report.blocks if b[0] == "text")
    spread = 0.1 / 3**0.5
    x = [t - 0.4375 for t in (0, 0.25, 0.5, 1)]
    alone = 0.03 / sum(v * v for v in x) ** 0.5  # every kappa has the standard error .03
    assert f"slope of measured on target kappa 0.80 ± {alone if seeds == 1 else spread:.2f}" in words
    assert ("3 seeds, 0.70 to 0.90" in words) == (seeds == 3)
    tables = [b for b in report.blocks if b[0] == "table"]
    assert len(tables) == (1 if seeds == 1 else 2)
    if seeds == 3:
        means = tables[0][2].set_index("target kappa")
        assert means.loc["1", "payoffs"] == "0.85 (0.75 to 0.95)"
        assert means.loc["0", "payoffs"] == "0.05 (0.05 to 0.05)"


def effects(value: float) -> dict:
    return {"conjoint": {"effects": {"age": {"value": value, "se": 0.01, "n": 300}}}}


def price(mean: float, width: float = 0.05) -> dict:
    return {"mean": mean, "low": mean - width, "high": mean + width, "runs": 7}


@pytest.mark.parametrize(
    ("ages", "indices", "competent", "verdict"),
    [((0.1, 0.3), (0.2, 0.6), True, "supported"), ((0.1, 0.11), (0.2, 0.6), True, "not supported"), ((0.1, 0.3), (0.2, 0.25), True, "not supported"),
     ((0.1, 0.3), (0.2, 0.25), False, "supported"), ((None, None), (0.2, 0.6), False, "not measured")],
)  # fmt: skip
def test_claim_about_transfer_follows_the_numbers(ages: tuple, indices: tuple, competent: bool, verdict: str) -> None:
    dilemmas = {"arms": {"base": {}, "economicus-n400": effects(ages[0]), "moralis-k0.5-n400": effects(ages[1])}} if ages[0] is not None else None
    pairs = {n: {"agents": [n, n], "price_index": price(v)} for n, v in zip(("economicus-n400", "moralis-k0.5-n400"), indices, strict=True)}
    found, words = claim_three(dilemmas, {"pairings": pairs, "gate": {"economicus-n400": {"competent": competent}}})
    assert found == verdict
    assert ("not measured" in words) == (not competent)
    assert claim_three(None, None)[0] == "not measured"


def test_claims_without_data() -> None:
    assert claim_one(None)[0] == "not measured"
    assert claim_four({})[0] == "not measured"
    assert claim_four({"tune a": 100.0})[0] == "supported"
    assert claim_four({"tune a": 10_000.0})[0] == "not supported"


def test_bad_folders(tmp_path: Path) -> None:
    assert_complains(run("-m", "eval.report", str(tmp_path / "nowhere")), "does not exist")
    assert_complains(run("-m", "eval.report", str(tmp_path)), "holds no study")


def test_other_measurements_have_reports(tmp_path: Path) -> None:
    pricing, dilemmas = tmp_path / "p", tmp_path / "d"
    assert run("-m", "eval.pricing", "--agents", "grim", "myopic", "--runs", "2", "--periods", "60", "--out", str(pricing)).returncode == 0
    assert run("-m", "eval.dilemmas", "--simulate", "kappa=0.7,lambda=3,age=0.3", "--scenarios", "60", "--out", str(dilemmas)).returncode == 0
    for folder, figures in ((pricing, 3), (dilemmas, 1)):
        done = run("-m", "eval.report", str(folder))
        assert done.returncode == 0, done.stderr
        assert len(list((folder / "report" / "figures").iterdir())) == figures
    assert read_json(pricing / "summary.json")["periods"] == 60


@pytest.mark.parametrize(
    ("family", "theta"),
    [("homo_moralis", {"kappa": 0.5}), ("fehr_schmidt", {"alpha": 0.6, "beta": 0.4}), ("altruism", {"altruism": 0.4}), ("homo_economicus", {})],
)
def test_the_family_that_chose_predicts_best(family: str, theta: dict[str, float]) -> None:
    questions = draw_questions("drawn", 200, 1, 0.5, seed=3, sets=["payoffs"])
    records = measure(Simulated(family, theta, 0.1), questions, Arm("chooser"), "direct", "given", 1)
    row = rivals(records).iloc[0]
    values = {str(name): float(v) for name, v in row.items() if name not in ("arm", "predicts best")}
    assert values[row["predicts best"]] == max(values.values())
    # families that hold this one as a special case lose what their free parameters cost, no more
    assert values[family] > max(values.values()) - 0.002
    assert all(values[family] > values[other] + 0.02 for other in {"homo_economicus", "homo_moralis", "altruism", "coin"} - {family} if theta)


def test_cost_adds_up_over_attempts(tmp_path: Path) -> None:
    rows = [
        {"cell": "tune a", "seconds": 2.0, "gpu_hours": 0.5, "tokens": None, "finished": False},
        {"cell": "data a", "seconds": 1.0, "gpu_hours": 0.0, "tokens": None, "finished": True},
        {"cell": "tune a", "seconds": 3.0, "gpu_hours": 0.25, "tokens": 700, "finished": True},
    ]
    write_lines(tmp_path / "cells.jsonl", rows)
    cost = read_cost(tmp_path).set_index("cell")
    assert cost.loc["tune a"].tolist() == [5.0, 700.0, 0.75]
    assert list(cost.index) == ["tune a", "data a"]
    assert pd.isna(cost.loc["data a", "tokens"])
    assert read_cost(tmp_path / "none").empty
