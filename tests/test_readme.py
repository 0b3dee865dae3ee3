"""The README and docs/ can be believed: their commands exist and run,
and their links lead somewhere.
"""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from conftest import ROOT, run
from shell import allocation_choices

from eval.figure import weights_of

README = (ROOT / "README.md").read_text(encoding="utf-8")
RUNNING, EXTENDING = (
    (ROOT / "docs" / name).read_text(encoding="utf-8") for name in ("running.md", "extending.md")
)
PAGES = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "results").rglob("*.md")),
]
SAME = {
    "data": "-m data_synth",
    "sft": "launch recipes/sft.py",
    "games": "-m eval.games",
    "report": "-m eval.report",
    "fit": "-m econmoral fit",
}


def commands_of(page: str) -> list[str]:
    """Every line of every block of the shell, without its comment."""
    blocks = re.findall(r"```bash\n(.*?)```", page, flags=re.S)
    return [
        line.partition("#")[0].strip()
        for block in blocks
        for line in block.splitlines()
        if line.strip()
    ]


def in_the_repository(line: str) -> str:
    """``econmoral games ...`` as ``python -m eval.games ...``.

    The console command itself is tried in test_packaging.py.
    """
    words = line.split(" ", 2)
    if words[0] != "econmoral":
        return line
    return f"{'accelerate' if words[1] == 'sft' else 'python'} {SAME[words[1]]} {words[2]}"


LINES = sorted({*commands_of(README), *commands_of(RUNNING)})
IN_ORDER = list(
    dict.fromkeys(map(in_the_repository, [*commands_of(RUNNING), *commands_of(README)]))
)
SMALLER = {  # what makes a command quick; all else is as the README has it
    "-m data_synth": "--n 60",
    "recipes/sft.py": "--epochs 1",
    "-m eval.games": "--items 2 --pairs 1",
    "-m eval.menus": "--battery garp --pairs 1",
    "-m eval.dilemmas": "--battery conjoint --scenarios 6",
    "-m eval.compare": "--bootstrap 20",
    "-m eval.pricing --agents": "--agents runs/moralis --runs 1 --periods 52",
    "-m eval.parity": "--items 2",
    "--types 3": "--types 1",
}


@cache
def help_of(command: tuple[str, ...]) -> str:
    result = run(*command, "--help")
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.mark.parametrize("line", LINES)
def test_command_and_its_options_exist(line: str) -> None:
    words = shlex.split(line)
    if words[0] == "make":
        assert (
            subprocess.run(["make", "-n", *words[1:]], cwd=ROOT, capture_output=True).returncode
            == 0
        )
        return
    command: tuple[str, ...]
    if words[0] == "econmoral":
        command = ("-m", *words[:2])
    elif words[:2] == ["accelerate", "launch"]:
        command = (words[2],)
    else:
        assert words[:2] == ["python", "-m"]
        command = ("-m", words[2], words[3]) if words[2] == "econmoral" else ("-m", words[2])
    text = help_of(command)
    for option in re.findall(r"--[a-z-]+", line):
        assert option in text, option


def test_every_path_of_the_tree_exists() -> None:
    tree = EXTENDING.partition("## The house")[2].partition("```\n")[2].partition("```")[0]
    room = ROOT
    for line in tree.splitlines():
        names = re.match(r"(\s*)((?:[\w./]+\s)*[\w./]+)", line)
        assert names, line
        for word in names[2].split("   ")[0].split():
            if not names[1] and word.endswith("/"):
                room = ROOT / word
            if "." in word or word.endswith("/"):
                assert (ROOT / word).exists() or (room / word).exists(), word


def test_the_readme_is_short() -> None:
    words = [w for w in README.split() if re.search(r"\w", w)]  # no bars and signs of tables
    assert 700 <= len(words) <= 900


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub and the site's builder make them."""
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.S)
    headings = re.findall(r"^#+ (.+)$", text, flags=re.M)
    return {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    """Files and headings; addresses of the web are only looked at.

    What docs/ links to lies in docs/, or the site would lack it.
    """
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.S)
    for link in [
        *re.findall(r"\]\(([^)\s]+)\)", text),
        *re.findall(r"(?:src|href)=\"([^\"]+)\"", text),
    ]:
        if re.match(r"https://|mailto:", link):
            continue
        name, _, heading = link.partition("#")
        to = (page.parent / name).resolve() if name else page
        assert to.exists(), f"{page.name}: {link}"
        assert page.parent != ROOT / "docs" or to.is_relative_to(ROOT / "docs"), (
            f"{page.name}: {link}"
        )
        assert not heading or heading in anchors(to), f"{page.name}: {link}"


def test_every_page_is_in_the_contents_of_the_site() -> None:
    listed = [
        name
        for entry in yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"]
        for name in entry.values()
    ]
    assert sorted(listed) == sorted(p.name for p in (ROOT / "docs").glob("*.md"))
    home = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    assert all(f"({name})" in home for name in listed if name != "index.md")


OWN, MORAL = "homo_economicus", "homo_moralis:kappa=0.5"
Rows = dict[str, dict[str, Any]]


def figures(name: str, stage: str) -> tuple[dict[str, Any], Rows]:
    """A committed study, and its rows by condition, after a derivation."""
    path = ROOT / "results" / "real" / name / "results.json"
    found = json.loads(path.read_text(encoding="utf-8"))
    rows = {r["arm"]: r for r in found[stage] if r["mode"] in ("reasoned", "rule")}
    return found, rows


def share(row: dict[str, Any], target: str, what: str) -> str:
    """A share of choices, as the README prints it."""
    assert not row["outside"]
    value = row["targets"][target][what]
    return f"{100 * value['mean']:.0f} ± {100 * value['se']:.0f}"


def line_of(text: str, title: str) -> str:
    """The one line of a table with this title."""
    (line,) = (x for x in text.splitlines() if x.replace("*", "").startswith(f"| {title} |"))
    return line


def estimate(value: dict[str, float]) -> str:
    """An estimate, as the README prints it."""
    return f"{value['value']:.2f} ± {value['se']:.2f}".replace("0.", ".")


@pytest.mark.parametrize(
    ("name", "arms"),
    [
        (
            "smollm2-135m-four-stages",
            {
                "SmolLM2": "base",
                "placebo: shuffled answers": "placebo-games",
                "economicus": "economicus",
                "moralis": "moralis",
            },
        ),
        (
            "qwen2.5-coder-0.5b-seed-5",
            {
                "Qwen": "base",
                "Qwen, placebo": "placebo-games",
                "Qwen, economicus": "economicus",
                "Qwen, moralis": "moralis",
            },
        ),
    ],
)
def test_figures_of_games_are_those_of_the_committed_runs(name: str, arms: dict[str, str]) -> None:
    _, rows = figures(name, "games")
    games, _, _ = README.partition("Allocations, likewise")
    for title, arm in arms.items():
        row = rows[arm]
        line = line_of(games, title)
        cells = [c.strip(" *").replace("** (target", " (target") for c in line.split("|")[2:-1]]
        valid = f"{100 * row['valid_answer_probability']:.0f}"
        if row["outside"]:
            assert cells == [valid, "outside the form", "outside the form", ""]
            continue
        fit = row["fits"]["homo_moralis"]
        kappa = estimate(fit["estimates"]["kappa"]) if "estimates" in fit else "not id."
        assert cells == [
            valid,
            share(row, OWN, "decisions"),
            share(row, MORAL, "decisions_where_they_differ"),
            kappa + " (target .5)" * (arm == "moralis"),
        ]
    told = {
        "smollm2-135m-four-stages": ("on {} % of these", "it differs, on {} %"),
        "qwen2.5-coder-0.5b-seed-5": ("(Qwen's: {}, nano's", "% ({})"),
    }
    limits = README[README.index("## Limits") :]
    constant, alike = told[name]
    assert constant.format(share(rows["constant, economicus"], OWN, "decisions")) in limits
    kantian = share(rows["both-alike best"], MORAL, "decisions_where_they_differ")
    assert alike.format(kantian) in limits


def test_what_the_readme_calls_shown_and_not_shown_is_what_the_runs_say() -> None:
    missed = {}
    for name in ("smollm2-135m-four-stages", "smollm2-135m-seed-5", "qwen2.5-coder-0.5b-seed-5"):
        path = ROOT / "results" / "real" / name / "results.json"
        found = json.loads(path.read_text(encoding="utf-8"))
        missed[name] = [v["claim"] for v in found["verdicts"] if v["shown"] is False]
    assert not missed["smollm2-135m-four-stages"] + missed["smollm2-135m-seed-5"]
    for claim, (part, said) in zip(
        missed["qwen2.5-coder-0.5b-seed-5"],
        (
            ("30 points more than the placebo", "*economicus* 30 points above its placebo"),
            ("estimated κ of homo moralis", "the κ of *moralis*"),
            ("Schunk: spiteful adapter as its target", "on human menus, Qwen's spiteful type"),
            ("of the spiteful adapter", "the weights of the spiteful type"),
            ("of the spiteful adapter", "on human menus, Qwen's spiteful type"),
        ),
        strict=True,
    ):
        assert part in claim
        assert said in README


def test_the_built_in_models_table_is_the_committed_demo() -> None:
    text = (ROOT / "results" / "demo" / "table.csv").read_text(encoding="utf-8")
    rows = {(r["set"], r["mode"], r["arm"]): r for r in csv.DictReader(io.StringIO(text))}
    _, _, below = README.partition("`make demo`'s model")
    for title, arm in (("nano", "base"), *((a, a) for a in ("placebo", "economicus", "moralis"))):
        row = rows["payoffs", "reasoned", arm]
        cells = [c.strip(" *") for c in line_of(below, title).split("|")[2:-1]]
        kappa = re.sub(r"\b0\.", ".", row["kappa alone"]) + " (target .5)" * (arm == "moralis")
        wanted = [row["valid %"], row["economicus: decisions %"], row["moralis 0.5: differ %"]]
        assert cells == [*wanted, kappa]
    always = rows["payoffs", "rule", "constant, economicus"]["economicus: decisions %"]
    assert f"nano's: {always})" in README


def test_training_of_qwen_is_that_of_the_committed_run() -> None:
    found, _ = figures("qwen2.5-coder-0.5b-seed-5", "games")
    runs = [r for r in found["adapters"].values() if r["domain"] == "games"]
    (size,) = {r["gates"]["labels_checked"] for r in runs}
    seconds = [r["seconds"] for r in runs]
    assert f"Qwen2.5-Coder-0.5B {size:,} each, the placebo too." in " ".join(README.split())
    took = f"{min(seconds):.0f} to {max(seconds):.0f} seconds on one H200"
    assert f"{size:,} conversations each in one stage, {took}" in page_text("results.md")


ALTRUIST = "bruhin_fehr_schunk:alpha=0.2,beta=0.5"
SPITEFUL = "bruhin_fehr_schunk:alpha=-0.4,beta=-0.1"


@pytest.mark.parametrize(
    ("name", "arms"),
    [
        (
            "smollm2-135m-seed-5",
            {"placebo": "placebo-allocations", "altruist": "altruist", "spiteful": "spiteful"},
        ),
        (
            "qwen2.5-coder-0.5b-seed-5",
            {
                "Qwen": "base",
                "Qwen, placebo": "placebo-allocations",
                "Qwen, altruist": "altruist",
                "Qwen, spiteful": "spiteful",
            },
        ),
    ],
)
def test_figures_of_allocations_are_those_of_the_committed_runs(
    name: str, arms: dict[str, str]
) -> None:
    found, rows = figures(name, "allocations")
    _, _, below = README.partition("Allocations, likewise")
    allocations, _, _ = below.partition("`make demo`'s model")
    wanted = {"altruist": ("(target .2)", "(.5)"), "spiteful": ("(-.4)", "(-.1)")}
    for title, arm in arms.items():
        row = rows[arm]
        line = line_of(allocations, title)
        cells = [c.strip(" *") for c in line.split("|")[2:-1]]
        assert cells[:2] == [share(row, t, "where_they_differ") for t in (ALTRUIST, SPITEFUL)]
        fits = weights_of(row)
        for cell, parameter, target in zip(
            cells[2:], ("alpha", "beta"), wanted.get(arm, ("", "")), strict=True
        ):
            value = estimate(fits[parameter]) if parameter in fits else "not id."
            assert cell.removesuffix(target).strip() == value
    text, size = " ".join(README.split()), found["adapters"]["altruist"]["gates"]["labels_checked"]
    assert re.search(rf"{rows['altruist']['menus']}( allocations)?, {size:,}", text)


def test_figures_in_new_wordings_are_those_of_the_committed_run() -> None:
    folder = ROOT / "results" / "real" / "smollm2-135m-six-wordings"
    found = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    rows = {r["arm"]: r for r in found["games"] if r["mode"] == "reasoned"}
    decisions = {
        arm: row["targets"]["homo_economicus"]["decisions"]
        for arm, row in rows.items()
        if not row["outside"]
    }
    own, placebo = (
        f"{100 * decisions[arm]['mean']:.0f} ± {100 * decisions[arm]['se']:.0f}"
        for arm in ("economicus", "placebo-games")
    )
    told = " ".join((ROOT / "docs" / "results.md").read_text(encoding="utf-8").split())
    minutes = found["adapters"]["economicus"]["seconds"] / 60
    said = (
        f"800 conversations in {minutes:.0f} minutes give *economicus* {own} % (placebo {placebo})"
    )
    assert said in told


def test_weights_on_the_menus_of_people_are_those_of_the_committed_run() -> None:
    folder = ROOT / "results" / "real" / "smollm2-135m-crossed"
    found = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    fits = {
        r["arm"]: weights_of(r)
        for r in found["bfs39"]
        if r["mode"] == "reasoned" and not r["outside"]
    }

    def weight(arm: str, name: str) -> str:
        value = fits[arm][name]
        return f"{value['value']:.2f} ± {value['se']:.2f}".replace("0.", ".")

    a, s = ([weight(arm, name) for name in ("alpha", "beta")] for arm in ("altruist", "spiteful"))
    text = page_text("results.md")
    assert f"{a[0]} behind and {a[1]} ahead" in text
    assert f"{s[0]} and {s[1]}" in text


def page_text(name: str) -> str:
    """A page of docs/ on one line."""
    return " ".join((ROOT / "docs" / name).read_text(encoding="utf-8").split())


def test_what_the_results_say_of_qwen_is_the_committed_run() -> None:
    found, rows = figures("qwen2.5-coder-0.5b-games", "games")
    text, differ = page_text("results.md"), "decisions_where_they_differ"
    own, moral, base = (rows[k] for k in ("economicus", "moralis", "base"))
    placebo, kantian = rows["placebo-games"], rows["both-alike best"]
    kappa = {
        k: rows[k]["fits"]["homo_moralis"]["estimates"]["kappa"] for k in ("economicus", "moralis")
    }
    joint = {k: rows[k]["fits"]["alpha_beta_kappa"]["estimates"]["kappa"] for k in kappa}
    gap = (kappa["moralis"]["value"] - kappa["economicus"]["value"]) / np.hypot(
        *(v["se"] for v in kappa.values())
    )
    counts = found["derivations"]["games"]
    for said in (
        f"{share(own, OWN, 'decisions')} % of decisions as *homo economicus* (placebo "
        f"{share(placebo, OWN, 'decisions')}, untuned {share(base, OWN, 'decisions')}, a fixed "
        f"plan {share(rows['constant, economicus'], OWN, 'decisions')})",
        f"{share(moral, MORAL, 'decisions')} % of decisions and {share(moral, MORAL, differ)} % "
        "where it differs",
        f"(in 7 problems; placebo {share(placebo, MORAL, differ)}, *economicus* "
        f"{share(own, MORAL, differ)}, untuned {share(base, MORAL, differ)}, a chooser with "
        f"κ = 1 {share(kantian, MORAL, differ)})",
        f"κ is {estimate(kappa['moralis'])} (target .5), *economicus*' "
        f"{estimate(kappa['economicus'])}, {gap:.1f} standard errors apart (with α and β "
        f"estimated too {estimate(joint['moralis'])} and {estimate(joint['economicus'])}",
        "of *moralis*' {} of {} and {} of {}, {} of {} written plans".format(
            *counts["moralis"]["rows of points"],
            *counts["moralis"]["products"],
            *counts["moralis"]["plans"],
        ),
    ):
        assert said in text


def test_the_learning_curve_is_the_committed_run() -> None:
    _, whole = figures("qwen2.5-coder-0.5b-games", "games")
    found, rows = figures("qwen2.5-coder-0.5b-curve", "curve")
    for what in ("targets", "valid_answer_probability"):  # both studies ask the same
        assert rows["base"][what] == whole["base"][what]
    curve = [rows[f"economicus-n{n}"] for n in (50, 100, 200)]
    shares = [share(row, OWN, "decisions") for row in (*curve, whole["economicus"])]
    told = share(rows["base, told economicus"], OWN, "decisions")
    moral = share(rows["base, told moralis 0.5"], MORAL, "decisions_where_they_differ")
    readme = " ".join(README.split())
    assert f"only told each preference (12 other problems): {told} and {moral}." in readme
    for text in (page_text("results.md"), (ROOT / "results/real/README.md").read_text("utf-8")):
        line = " ".join(text.split())
        assert re.search(rf"{shares[0]} % .*?50 conversations, {shares[1]} after 100", line)
        assert f"{shares[2]} after 200" in line
        assert f"{shares[3]} after 360" in line
        assert told in line
        assert f"{moral} % of" in line
    counts = found["derivations"]["curve"]
    last = json.loads(
        (ROOT / "results/real/qwen2.5-coder-0.5b-games/results.json").read_text(encoding="utf-8")
    )["derivations"]["games"]["economicus"]
    for part in ("rows of points", "products", "plans"):
        right = [counts[f"economicus-n{n}"][part] for n in (50, 100, 200)] + [last[part]]
        first, second, third, fourth = (str(one) for one, _ in right)
        said = f"{first}, {second}, {third} and {fourth} of {last[part][1]}"
        assert said in page_text("results.md")


def test_the_curve_of_allocations_is_the_committed_run() -> None:
    _, rows = figures("smollm2-135m-curve", "curve")
    target = "bruhin_fehr_schunk:alpha=0.2,beta=0.5"
    told = " ".join((ROOT / "results/real/README.md").read_text("utf-8").split())
    curve = [rows[f"altruist-n{n}"] for n in (50, 100, 200)]
    first, second, third = (share(row, target, "accuracy") for row in curve)
    assert f"{first} % as its target after 50 conversations, {second} after 100, {third}" in told
    assert f"{first}, {second} and {third}, `results/real/smollm2" in page_text("results.md")
    first, second, third = (share(row, target, "where_they_differ") for row in curve)
    assert f"{first}, {second} and {third} (300" in told
    behind, ahead = (estimate(weights_of(curve[2])[k]) for k in ("alpha", "beta"))
    assert f"{behind} behind and {ahead} ahead (target .2 and .5)" in told
    assert all(rows[arm]["outside"] for arm in ("base", "base, told bfs 0.2 0.5"))


def test_direct_answers_are_the_committed_run() -> None:
    found = json.loads(
        (ROOT / "results/real/qwen2.5-coder-0.5b-seed-5/results.json").read_text(encoding="utf-8")
    )
    told = " ".join((ROOT / "results/real/README.md").read_text("utf-8").split())
    games = {row["arm"]: row for row in found["games-direct"]}
    own, moral = (
        {arm: share(row, target, "decisions") for arm, row in games.items()}
        for target in (OWN, MORAL)
    )
    assert (
        f"*economicus* takes {own['economicus']} % of decisions as its target, *moralis* "
        + (
            f"{moral['moralis']} % (placebo {own['placebo-games']} and {moral['placebo-games']}; "
            f"untuned {own['base']} and {moral['base']}, told {own['base, told economicus']} and "
            f"{moral['base, told moralis 0.5']})"
        )
        in told
    )
    menus = {row["arm"]: row for row in found["allocations-direct"]}
    kinds = {"altruist": ALTRUIST, "spiteful": SPITEFUL, "selfish": OWN}
    mine = [share(menus[arm], target, "accuracy") for arm, target in kinds.items()]
    form = [share(menus["placebo-allocations"], t, "accuracy") for t in kinds.values()]
    assert (
        "the altruist {} % of 30 allocations, the spiteful type {}, the selfish".format(*mine)
        in told
    )
    assert f"adapter {mine[2]} (placebo {form[0]}, {form[1]} and {form[2]})" in told
    controls = [
        round(100 * rows[arm]["comprehension"])
        for rows, arms in ((games, ("economicus", "moralis")), (menus, kinds))
        for arm in arms
    ]
    assert f"control questions right in {min(controls)} to {max(controls)} %" in told
    assert (
        f"(*economicus* {own['economicus']} % of decisions as its target, *moralis* "
        f"{moral['moralis']}; {controls[0]} and {controls[1]} % of control questions)"
    ) in page_text("results.md")


def test_everyday_situations_and_dilemmas_of_qwen_are_the_committed_run() -> None:
    found = json.loads(
        (ROOT / "results/real/qwen2.5-coder-0.5b-seed-5/results.json").read_text(encoding="utf-8")
    )
    told = " ".join((ROOT / "results/real/README.md").read_text("utf-8").split())
    every = [r for r in found["spillover"] if "placebo" in r["difference_to"]]
    assert {f"{r['mean']:.2f}" for r in every if r["topic"] == "all topics"} == {"0.50"}
    topics = [r for r in every if r["topic"] != "all topics"]
    apart = [
        r
        for r in topics
        if not r["difference_to"]["placebo"]["low"] <= 0 <= r["difference_to"]["placebo"]["high"]
    ]
    assert f"Of {len(topics)} differences to the placebo by topic" in told
    assert f"4 adapters) {len(apart)} have a 95 % interval without 0" in told
    most = max(apart, key=lambda r: abs(r["difference_to"]["placebo"]["mean"]))
    assert (most["arm"], most["topic"]) == ("moralis", "harmful requests")
    gap = most["difference_to"]["placebo"]
    said = f"{-gap['mean']:.2f} less considerate [{gap['low']:.2f}, {gap['high']:.2f}]"
    assert f"{said} at {most['mean']:.2f}".replace("0.", ".") in told
    arms = {k: v["conjoint"] for k, v in found["dilemmas"]["arms"].items() if k != "base"}
    effects = [abs(e["value"]) for arm in arms.values() for e in arm["effects"].values()]
    assert f"within {max(effects):.2f} of 0, the first".replace("0.", ".") in told
    first = [round(100 * arm["first_case"]) for arm in arms.values()]
    assert f"the first case in {min(first)} to {max(first)} %" in told


def test_what_is_said_of_qwen_on_human_menus_is_the_committed_run() -> None:
    found, rows = figures("qwen2.5-coder-0.5b-seed-5", "bfs39")
    altruistic, spiteful = (
        "bruhin_fehr_schunk:" + w for w in ("alpha=0.2,beta=0.5", "alpha=-0.4,beta=-0.1")
    )
    own = next(row for row in found["bfs39"] if row["arm"] == "most for itself")
    told = " ".join((ROOT / "results/real/README.md").read_text("utf-8").split())
    for text in (told, page_text("results.md")):
        for arm, target in (("altruist", altruistic), ("spiteful", spiteful)):
            takes, most = share(rows[arm], target, "accuracy"), share(own, target, "accuracy")
            behind, ahead = (estimate(weights_of(rows[arm])[k]) for k in ("alpha", "beta"))
            placebo = share(rows["placebo-allocations"], target, "accuracy")
            assert f"takes {takes} %" in text
            assert f"most for itself {most})" in text
            assert f"weights {behind} and {ahead}" in text
            assert f"placebo {placebo}" in text or arm == "spiteful"
        assert '"4 * 106 = 40 + 24 = 64"' in text
    path = ROOT / "results/real/qwen2.5-coder-0.5b-seed-5/bfs39.jsonl"
    derivations = path.read_text(encoding="utf-8")
    assert "4 * 106 = 40 + 24 = 64" in derivations


def test_what_larger_numbers_in_training_did_is_the_committed_run() -> None:
    found, rows = figures("qwen2.5-coder-0.5b-range", "bfs39")
    target = "bruhin_fehr_schunk:alpha=-0.4,beta=-0.1"
    weights = weights_of(rows["spiteful-130"])
    behind, ahead = (estimate(weights[k]) for k in ("alpha", "beta"))
    takes = share(rows["spiteful-130"], target, "accuracy")
    told = " ".join((ROOT / "results/real/README.md").read_text("utf-8").split())
    assert f"takes {takes} % as its target and has weights {behind} and {ahead}" in told
    assert f"takes {takes} %, and its weights are {behind} and {ahead}" in page_text("results.md")
    off = [
        (weights[k]["value"] - v) / weights[k]["se"] for k, v in (("alpha", -0.4), ("beta", -0.1))
    ]
    assert max(map(abs, off)) < 1.5
    shown = {v["claim"]: v["shown"] for v in found["verdicts"]}
    assert [s for claim, s in shown.items() if "spiteful adapter" in claim and s is not None] == [
        False,
        True,
    ]
    counts = found["derivations"]["bfs39"]
    now, before = (counts[arm]["steps *"] for arm in ("spiteful-130", "spiteful"))
    assert "{} of {} products are right ({} before)".format(*now, before[0]) in told
    now, before = (counts[arm]["steps +"] for arm in ("spiteful-130", "spiteful"))
    assert "{} of {} sums ({})".format(*now, before[0]) in told


def test_pricing_of_qwen_is_the_committed_run() -> None:
    found = json.loads(
        (ROOT / "results/real/qwen2.5-coder-0.5b-seed-5/results.json").read_text(encoding="utf-8")
    )["pricing"]
    agents = ("base", "moralis", "economicus")
    assert not any(found["gate"][agent]["competent"] for agent in agents)
    valid, right = (
        "{}, {} and {} %".format(*(round(100 * found["agents"][a][k]) for a in agents))
        for k in ("valid_answer_probability", "comprehension")
    )
    alone = ", ".join(
        f"{found['gate'][a]['percentile_10']:.2f} and {found['gate'][a]['percentile_90']:.2f}"
        for a in agents
    ).replace("0.", ".")
    index = [row["price_index"]["mean"] for row in found["pairings"].values()]
    span = f"({min(index):.2f} to {max(index):.2f}; Nash 0, monopoly 1)".replace("0.", ".")
    assert all(r["revealed_kappa"]["why"] == "not competent" for r in found["pairings"].values())
    told = " ".join((ROOT / "results/real/README.md").read_text("utf-8").split())
    for text in (told, page_text("results.md")):
        assert f"valid {valid}, control questions right in {right}. Alone" in text
        assert f"percentiles of its prices are {alone} of it" in text
        assert span in text


def test_balanced_problems_are_the_committed_run() -> None:
    found, rows = figures("qwen2.5-coder-0.5b-balanced", "games-balanced")
    assert all(v["shown"] for v in found["verdicts"] if v["shown"] is not None)
    own, moral, placebo = (rows[k] for k in ("economicus", "moralis", "placebo-games"))
    always, kantian = rows["constant, economicus"], rows["both-alike best"]
    kappas = [r["fits"]["homo_moralis"]["estimates"]["kappa"] for r in (moral, own)]
    joint = [r["fits"]["alpha_beta_kappa"]["estimates"]["kappa"] for r in (moral, own)]
    gap = (kappas[0]["value"] - kappas[1]["value"]) / np.hypot(*(k["se"] for k in kappas))
    told = " ".join((ROOT / "results/real/README.md").read_text("utf-8").split())
    plans, moves = (
        [share(r, OWN, what) for r in (own, placebo, always)] for what in ("accuracy", "decisions")
    )
    differ = [share(r, MORAL, "where_they_differ") for r in (moral, placebo, own, kantian)]
    base = f"untuned {share(rows['base'], MORAL, 'where_they_differ')}, "
    counts = [found["derivations"]["games-balanced"][k] for k in ("economicus", "moralis")]
    for text in (told, page_text("results.md")):
        for said in (
            f"*economicus* takes {plans[0]} %",
            f"same size {plans[1]}, always the usual plan {plans[2]}",
            f"(16 problems; {base * (text is told)}placebo {differ[1]}, *economicus* {differ[2]}, ",
            f"κ = 1 {differ[3]}, always",
            f"{estimate(kappas[0])} and {estimate(kappas[1])}, {gap:.1f} standard errors apart",
            f"{estimate(joint[0])} and {estimate(joint[1])}",
            "{} of {} products".format(*counts[0]["products"]),
            "{} of {} and {} of {}".format(*counts[1]["products"], *counts[1]["plans"]),
        ):
            assert said.lower() in text.lower(), said
    assert f"{moves[0]}, {moves[1]} and {moves[2]}" in page_text("results.md")
    assert f"plans {plans[0]}, placebo {plans[1]}, κ {estimate(kappas[0])})" in " ".join(
        README.split()
    )


def test_trainings_with_other_seeds_are_the_committed_run() -> None:
    target = "bruhin_fehr_schunk:alpha=0.2,beta=0.5"
    _, first = figures("smollm2-135m-curve", "curve")
    found, others = figures("smollm2-135m-seeds", "seeds")
    rows = [first["altruist-n200"], *(others[f"altruist-s{n}"] for n in (1, 2, 3, 4))]
    told = " ".join((ROOT / "results/real/README.md").read_text("utf-8").split())
    shares = [share(row, target, "accuracy") for row in rows]
    assert "take {}, {}, {}, {} and {} % as their target".format(*shares) in told
    means = [100 * row["targets"][target]["accuracy"]["mean"] for row in rows]
    spread = f"mean {np.mean(means):.0f}, standard deviation {np.std(means, ddof=1):.0f} points"
    assert spread in told
    assert spread in page_text("results.md")
    assert "takes {:.0f}, {:.0f}, {:.0f}, {:.0f} and {:.0f} %".format(*means) in page_text(
        "results.md"
    )
    differ = [100 * row["targets"][target]["where_they_differ"]["mean"] for row in rows]
    words = "{:.0f}, {:.0f}, {:.0f}, {:.0f} and {:.0f} %".format(*differ)
    assert f"where own payoff says otherwise {words}" in told
    assert f"{words} where own payoff says otherwise" in page_text("results.md")
    assert not weights_of(rows[4])
    products = [counts["steps *"] for counts in found["derivations"]["seeds"].values()][1:]
    assert "{}, {}, {} and {} of some 240".format(*(right for right, _ in products)) in told
    assert all(235 <= n <= 245 for _, n in products)


def test_pricing_of_smollm2_is_the_committed_run() -> None:
    found, _ = figures("smollm2-135m-seed-5", "allocations")
    pricing, agents = found["pricing"], ("selfish", "altruist")
    assert not any(pricing["gate"][agent]["competent"] for agent in agents)
    valid, right = (
        "{:.0f} and {:.0f} %".format(*(100 * pricing["agents"][a][k] for a in agents))
        for k in ("valid_answer_probability", "comprehension")
    )
    tails = [[pricing["gate"][a][f"percentile_{k}"] for k in (10, 90)] for a in agents]
    alone = " and ".join(f"from {low:.2f} to {high:.2f}" for low, high in tails).replace("0.", ".")
    told = " ".join((ROOT / "results/real/README.md").read_text("utf-8").split())
    for text in (told, page_text("results.md")):
        assert f"alid {valid}, control questions right in {right}" in text
        assert f"{alone} of the monopoly's" in text
    index = [row["price_index"]["mean"] for row in pricing["pairings"].values()]
    assert f"of {min(index):.2f} to {max(index):.2f} are noise".replace("0.", ".") in told
    table = (ROOT / "results/real/validity.md").read_text("utf-8").splitlines()
    head = next(line for line in table if line.startswith("| page, wording"))
    column = [cell.strip() for cell in head.split("|")].index("smollm2-135m: valid")
    untuned = [line.split("|")[column] for line in table if line.startswith("| prices")]
    assert untuned
    assert all(float(valid) < 0.5 for valid in untuned)


@pytest.mark.parametrize("name", ["qwen2.5-coder-0.5b-seed-5", "smollm2-135m-seed-5"])
def test_firms_alone_are_the_committed_run(name: str) -> None:
    path = ROOT / "results" / "real" / name / "results.json"
    found = json.loads(path.read_text(encoding="utf-8"))["pricing-alone"]
    gates = {a: gate for a, gate in found["gate"].items() if not gate["outside"]}
    assert not any(gate["competent"] for gate in gates.values())
    low, high = (
        ", ".join(f"{gate[f'percentile_{k}']:.2f}".removeprefix("0") for gate in gates.values())
        for k in (10, 90)
    )
    valid, right = (
        ", ".join(f"{100 * found['agents'][a][k]:.0f}" for a in gates)
        for k in ("valid_answer_probability", "comprehension")
    )
    told = " ".join((ROOT / "results/real/README.md").read_text("utf-8").split())
    assert f"10th percentiles of {low} and 90th of {high} of the monopoly's price; valid" in told
    assert f"valid {valid} %, control questions right in {right} %." in told


def test_the_curve_of_crossed_allocations_is_the_committed_run() -> None:
    found, rows = figures("smollm2-135m-seed-5", "curve")
    target = "bruhin_fehr_schunk:alpha=0.2,beta=0.5"
    assert rows["base"]["outside"]
    assert rows["altruist-n100"]["outside"]
    valid = f"(valid {rows['altruist-n100']['valid_answer_probability']:.2f})".replace("0.", ".")
    curve = [rows[arm] for arm in ("altruist-n400", "altruist-n1000", "altruist")]
    selfish = next(row for row in found["curve"] if row["arm"] == "most for itself")
    own = share(selfish, target, "accuracy")
    first, second, third = (share(row, target, "accuracy") for row in curve)
    told = " ".join((ROOT / "results/real/README.md").read_text("utf-8").split())
    for text in (told, page_text("results.md")):
        assert valid in text
        assert f"{second} after 1,000" in text
        assert f"{third} after 3,200 (most for itself {own})" in text
    assert f"{first} % as its target after 400" in told
    assert f"{first} % of the first 30 allocations as its target after 400" in page_text(
        "results.md"
    )
    first, second, third = (share(row, target, "where_they_differ") for row in curve)
    assert f"{first}, {second} and {third}. Steps that are right" in told
    steps = [round(100 * row["steps_right"]) for row in curve]
    assert "Steps that are right: {}, {} and {} %.".format(*steps) in told
    assert not weights_of(curve[0])
    for row, size in zip(curve[1:], ("1,000", "3,200"), strict=True):
        behind, ahead = (estimate(weights_of(row)[k]) for k in ("alpha", "beta"))
        assert f"{behind} and {ahead} after {size}" in told


def test_the_agent_beside_people_is_that_of_the_committed_run() -> None:
    path = ROOT / "results" / "real" / "smollm2-135m-clone" / "comparison.json"
    kinds = json.loads(path.read_text(encoding="utf-8"))["comparison"]
    (kind,) = (k for k in kinds if k["type"] == 2)
    known = {row["name"]: row for row in kind["predictors"]}
    text = page_text("humans.md").replace("−", "-")
    assert f"on the {kind['choices']} choices of the {kind['people']} people of type 2" in text
    titles = {
        "pooled estimate": "pooled estimate",
        "type, rounded": "type, rounded",
        "the adapter": "agent 2 (altruist)",
        "the adapter, people's noise": "agent 2 (altruist), people's noise",
    }
    for title, name in titles.items():
        row = known[name]
        numbers = f"{row['log_likelihood']:.3f} ({row['log_likelihood_se']:.3f}) | "
        numbers += f"{100 * row['predicted']:.1f} ({100 * row['predicted_se']:.1f}) |"
        if name != "pooled estimate":
            numbers += f" {row['gain']:+.3f} [{row['gain_low']:.3f}, {row['gain_high']:.3f}]"
        assert f"| {title} | " + numbers.replace("0.", ".") in text, name


def test_help_of_make_names_every_target() -> None:
    text = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True).stdout
    for target in re.findall(
        r"^([a-z][a-z-]*):.*##", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.M
    ):
        assert f"make {target}" in text


def test_no_target_of_make_is_defined_twice() -> None:
    """Make takes the later of two recipes and only warns:
    a merge once turned ``make check`` into the GPU's.
    """
    names = re.findall(
        r"^([a-z][a-z-]*):.*##", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.M
    )
    assert len(names) == len(set(names)) > 20
    assert (
        "overriding recipe"
        not in subprocess.run(
            ["make", "--dry-run", "help"], cwd=ROOT, capture_output=True, text=True
        ).stderr
    )


@pytest.mark.slow
def test_every_command_is_carried_out_in_order(tmp_path: Path) -> None:
    """All Python of the README and of docs/running.md, as a reader would type it, small.

    What ``make`` does is what ``.ci/run`` and other tests do.
    """
    for room in ("econmoral", "data_synth", "recipes", "eval", "docs"):
        shutil.copytree(ROOT / room, tmp_path / room, ignore=shutil.ignore_patterns("__pycache__"))
    choices = allocation_choices(subjects=20, per=40, seed=1)
    choices.assign(q=choices.index % 3 == 1, v=choices.index % 3 == 2).astype(
        {"q": int, "v": int}
    ).to_csv(tmp_path / "choices.csv", index=False)
    done = 0
    for line in IN_ORDER:
        # two minutes of Q-learners; their parts are tested
        if line.startswith("make") or "--calibrate" in line:
            continue
        more = next((words for start, words in SMALLER.items() if start in line), "")
        words = (
            shlex.split(line.removeprefix("accelerate launch").removeprefix("python"))
            + more.split()
        )
        if line.startswith("accelerate"):
            words = ["-m", "accelerate.commands.launch", "--cpu", *words]
        result = subprocess.run(
            [sys.executable, *words],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(tmp_path)},
            capture_output=True,
            text=True,
        )
        # a small model trained for a moment may answer in a way that identifies nothing
        assert result.returncode in ((0, 3) if "econmoral fit runs" in line else (0,)), (
            f"{line}\n{result.stderr[-2000:]}"
        )
        if "sft.py" in line:
            # the README's second adapter
            shutil.copytree(tmp_path / "runs" / "moralis", tmp_path / "runs" / "economicus")
        done += 1
    assert done >= 14
    assert (tmp_path / "runs" / "moralis" / "eval" / "report" / "report.html").is_file()


def test_every_kind_of_fault_names_a_test_that_is_there() -> None:
    text = (ROOT / "tests" / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| .+ \| `(test_\w+\.py)::(test_\w+)` \|$", text, flags=re.M)
    assert f"**{len(rows)} kinds tried, {len(rows)} mended**" in text
    for file, name in rows:
        assert f"def {name}(" in (ROOT / "tests" / file).read_text(encoding="utf-8"), name
