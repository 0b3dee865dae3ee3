"""The lab as a visitor has it: a real browser, a running page, the built-in model."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Semaphore
from types import SimpleNamespace
from typing import Any
from urllib.error import HTTPError
from urllib.request import ProxyHandler, Request, build_opener

import numpy as np
import pytest
from browser import Browser, Tab
from conftest import ROOT, assert_complains, run
from test_lab import PERSON, SHARPNESS, decide, folder_of

from econmoral.files.records import append_lines, write_json
from econmoral.people.choices import read_choices
from eval.engines.base import Answer, Condition
from eval.engines.base import Request as Asked
from eval.lab import play
from eval.lab.shared import Lab
from eval.transcripts import document
from eval.transcripts.choices import problems, read_run
from eval.transcripts.entries import RECORDS

pytestmark = pytest.mark.slow  # five minutes of a browser: make test-all
pytest.importorskip("gradio", reason="the lab's page needs gradio: pip install 'econmoral[lab]'")

SECONDS = 180  # for one thing to happen, on a machine that is busy with others
HOSTILE = (
    "<script>document.title='owned'</script><img src=x "
    "onerror=\"document.title='owned'\">${document.title='owned'} {{value}} 2 + 2 = 5"
)
REASONED = (  # choose what was asked for a derivation
    "(() => { const s = document.querySelector('#mode'); s.value = 'reasoned';"
    " s.dispatchEvent(new Event('change')); })()"
)
PARTS = {  # where each part's own content is, and what it says
    "bench": ("#bench-results", "valid answer"),
    "play": ("#play-begin", "Begin"),
    "transcripts": ("#transcripts-frame", "econmoral transcripts"),
    "faithfulness": ("#faithfulness-records", "bare to reasoned"),
    "market": ("#market-shown", "Prices"),
    "watch": ("#watch-curves", "0.2500"),
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, adapter: Path) -> Path:
    """An adapter, a measurement whose derivations are hostile, a training in progress."""
    root = tmp_path_factory.mktemp("lab") / "runs"
    shutil.copytree(adapter, root / "random")
    folder_of(root / "measured", texts=(HOSTILE,))
    write_json(
        root / "training" / "checkpoints" / "settings.json", {"model": "nano", "data": HOSTILE}
    )
    append_lines(
        root / "training" / "checkpoints" / "log.jsonl",
        [{"step": k, "epoch": k / 10, "loss": 1 / k} for k in (1, 2, 4)],
    )
    return root


def served(runs: Path, *more: str, **environment: str) -> Iterator[str]:
    """The page on a free port, until it is no longer needed."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    log = runs.parent / f"lab-{port}.log"
    with log.open("w") as out:
        command = [
            sys.executable,
            "-m",
            "eval.lab",
            "--runs",
            str(runs),
            "--port",
            str(port),
            *more,
        ]
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            stdout=out,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env=os.environ | environment,
        )
    try:
        end = time.monotonic() + 2 * SECONDS
        while time.monotonic() < end and process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                time.sleep(0.2)
        else:
            raise AssertionError(log.read_text())
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        try:
            process.wait(SECONDS)  # what a model is answering is finished first
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    assert "Traceback" not in log.read_text()


@pytest.fixture(scope="module")
def lab(runs: Path) -> Iterator[str]:
    """The page's address."""
    yield from served(runs)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """One Chromium for all tests; every tab has a context of its own."""
    with Browser(tmp_path_factory.mktemp("browser")) as found:
        yield found


def opening(browser: Browser, address: str) -> Iterator[Callable[..., Tab]]:
    """Opens the page; in the end no tab may have complained, asked another machine or run what a
    model wrote.
    """
    tabs: list[Tab] = []

    def open_one(query: str = "", **how: bool | int) -> Tab:
        tabs.append(browser.tab(f"{address}/?{query}", **how))  # type: ignore[arg-type]
        tabs[-1].wait("Boolean(document.querySelector('button[role=tab]'))", True, SECONDS)
        return tabs[-1]

    yield open_one
    for tab in tabs:
        assert tab.complaints() == []
        assert tab.hosts() == {"127.0.0.1"}
        assert tab.value("document.title") == "econmoral lab"
        tab.send("Page.close")


@pytest.fixture
def opened(lab: str, browser: Browser) -> Iterator[Callable[..., Tab]]:
    """Opens the page of a server of its own."""
    yield from opening(browser, lab)


def says(tab: Tab, place: str, text: str) -> None:
    tab.wait(
        f"Boolean(document.querySelector({place!r})?.textContent.includes({text!r}))", True, SECONDS
    )


def click(tab: Tab, place: str) -> None:
    tab.wait(f"Boolean(document.querySelector({place!r}))", True, SECONDS)
    tab.value(f"document.querySelector({place!r}).click()")


def test_new_adapters_and_runs_turn_up(adapter: Path, tmp_path: Path) -> None:
    lab = Lab(tmp_path / "runs")
    assert lab.of("nano") == {}
    assert lab.measurements(RECORDS) == []
    shutil.copytree(adapter, tmp_path / "runs" / "new")
    folder_of(tmp_path / "runs" / "measured")
    lab.look()
    assert list(lab.of("nano")) == ["new"]
    assert lab.measurements(RECORDS) == ["measured"]


@pytest.mark.parametrize("part", list(PARTS))
def test_every_part_is_there_on_desk_and_phone_by_day_and_night(
    opened: Callable[..., Tab], part: str
) -> None:
    for dark, width, height in ((False, 1280, 900), (True, 390, 844)):
        tab = opened(f"tab={part}", width=width, height=height, dark=dark)
        place, text = PARTS[part]
        says(tab, place, text)
        tab.wait(f"document.querySelector({place!r}).offsetParent !== null")
        assert tab.value("document.body.classList.contains('dark')") == dark
        for again in (width, 1670 - width):  # and at the other width
            tab.send(
                "Emulation.setDeviceMetricsOverride",
                width=again,
                height=height,
                deviceScaleFactor=1,
                mobile=again < 600,
            )
            assert tab.value("document.documentElement.scrollWidth") <= again
        ink, paper = (
            tab.value(f"getComputedStyle(document.querySelector('{e}')).{p}")
            for e, p in (("h1", "color"), ("body", "backgroundColor"))
        )
        assert contrast(ink, paper) > 4.5


def contrast(one: str, other: str) -> float:
    """Contrast of two colours by the guidelines for accessible pages."""

    def light(text: str) -> float:
        rgb = np.array([float(v) for v in re.findall(r"[\d.]+", text)[:3]]) / 255
        return float(
            np.where(rgb <= 0.03928, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
            @ [0.2126, 0.7152, 0.0722]
        )

    a, b = sorted((light(one), light(other)))
    return (b + 0.05) / (a + 0.05)


def test_the_keyboard_alone_is_enough(opened: Callable[..., Tab]) -> None:
    tab = opened()
    says(tab, "#bench-results", "valid answer")
    before = tab.value("document.querySelector('#bench-results').textContent")
    tab.reach(
        "here.type === 'number' && here.closest('.block')?.textContent.trim().startsWith('T')"
    )
    tab.type("19")  # the game's field, which Tab left a moment ago, must not set it back
    tab.press("Tab")
    tab.wait("new URLSearchParams(location.search).get('points')", "19,9,3,2", SECONDS)
    tab.wait(f"document.querySelector('#bench-results').textContent !== {before!r}", True, SECONDS)
    tab.reach("here.type === 'range' && here.closest('.block')?.textContent.includes('kappa')")
    tab.press("End")
    tab.wait("new URLSearchParams(location.search).get('target')", "homo_moralis:kappa=1", SECONDS)
    says(tab, "#bench-theory", "moralis 1:")
    # the link alone gives the same back
    again = opened(tab.value("location.search.slice(1)"))
    says(again, "#bench-theory", "moralis 1:")
    says(again, "#bench-page", "gets 19")
    tab.reach("here.getAttribute('role') === 'tab' && here.textContent.includes('Market')", 200)
    tab.press("Enter")
    tab.wait("new URLSearchParams(location.search).get('tab')", "market", SECONDS)
    tab.reach("here.id === 'market-step'", 200)
    tab.press("Enter")
    says(tab, "#market-shown", "over the last 1 periods")
    tab.press("Tab", 12, shift=True)  # through the firms: to leave a field begins no other market
    tab.reach("here.id === 'market-step'", 200)
    tab.press("Enter")
    says(tab, "#market-shown", "over the last 2 periods")


def into(tab: Tab, label: str) -> None:
    """To a part by its tab, with the keyboard, once the page has opened the one of its link."""
    says(tab, "#bench-results", "valid answer")
    tab.reach(f"here.getAttribute('role') === 'tab' && here.textContent.includes({label!r})", 200)
    tab.press("Enter")


def test_the_battery_and_a_match_by_keyboard(opened: Callable[..., Tab]) -> None:
    tab = opened()
    into(tab, "Play it yourself")
    tab.reach("here.id === 'play-begin'", 200)
    tab.press("Enter")
    says(tab, "#play-page", "Problem 1 of 18")
    tab.wait("Boolean(document.querySelector('#play-move-0 input'))", True, SECONDS)
    asked = "[0, 1, 2].filter((k) => document.querySelector(`#play-move-${k} input`))"
    for place in tab.value(asked):
        tab.reach(f"here.closest('#play-move-{place}')")
        tab.press(" ")
    tab.reach("here.id === 'play-next'")
    tab.press("Enter")
    says(tab, "#play-page", "Problem 2 of 18")
    tab.reach("here.id === 'match-new'", 200)
    tab.press("Enter")
    tab.wait("document.querySelectorAll('#match-move input').length", 2, SECONDS)
    tab.reach("here.closest('#match-move')")
    tab.press(" ")
    tab.reach("here.id === 'match-go'")
    tab.press("Enter")
    says(tab, "#match-page", "The match is over")


def test_transcripts_by_keyboard(opened: Callable[..., Tab]) -> None:
    tab = opened()
    into(tab, "Transcripts")
    says(tab, "#transcripts-frame", "econmoral transcripts")
    tab.reach("here.tagName === 'IFRAME'", 200)
    for _ in range(60):
        if tab.framed("document.activeElement.matches('li button')"):
            break
        tab.press("Tab")
    tab.press("Enter")
    opened_lines = "document.querySelectorAll('li button[aria-expanded=true]').length"
    assert tab.framed(opened_lines) == 1


def test_faithfulness_by_keyboard(opened: Callable[..., Tab]) -> None:
    tab = opened()
    into(tab, "Recitation and faithfulness")
    tab.reach(
        "here.type === 'range' && here.closest('.block')?.textContent.includes('Number of pages')",
        200,
    )
    tab.press("Home")  # four
    tab.reach("here.id === 'faithfulness-go'")
    tab.press("Enter")
    says(tab, "#faithfulness-handed", "change by swapping")
    done = "document.querySelector('#faithfulness-doing').textContent.trim()"
    tab.wait(done, "", SECONDS)
    pages = "[...document.querySelectorAll('#faithfulness-handed tbody tr')]"
    assert tab.value(f"{pages}.map((r) => r.lastElementChild.textContent)") == ["4", "4"]


def test_trainings_by_keyboard(opened: Callable[..., Tab]) -> None:
    tab = opened()
    into(tab, "Training watch")
    says(tab, "#watch-curves", "Loss on the training conversations")
    tab.reach("here.closest('#watch-runs')", 200)
    tab.press(" ")
    says(tab, "#watch-curves", "Choose a run.")
    tab.press(" ")
    says(tab, "#watch-curves", "Loss on the training conversations")
    tab.reach("here.closest('#watch-estimates')")
    tab.press(" ")
    says(tab, "#watch-doing", "of 36 pages")
    tab.reach("here.id === 'watch-stop'")
    tab.press("Enter")
    says(tab, "#watch-doing", "stopped")
    assert not tab.value("document.querySelector('#watch-estimates input').checked")


def test_impossible_payoffs_are_said_in_one_line(opened: Callable[..., Tab]) -> None:
    tab = opened("points=1,2,3,4")
    says(tab, "body", "The link cannot be shown")
    says(tab, "#bench-results", "valid answer")


@pytest.mark.parametrize("first", ["bench", "market", "watch"])
def test_every_tab_is_still_there_after_a_visit_to_each(
    first: str, opened: Callable[..., Tab]
) -> None:
    from eval.lab.page import PARTS  # with it comes gradio, which takes seconds

    tab = opened(f"tab={first}")
    labels = [label for label, _ in PARTS.values()]
    names = "[...document.querySelectorAll('button[role=tab]')].map((b) => b.textContent.trim())"
    for name in (first, *PARTS, "bench"):
        label = PARTS[name][0]
        tab.wait(f"{names}.filter((n) => n.includes({label!r})).length > 0", True, SECONDS)
        tab.value(
            "[...document.querySelectorAll('button[role=tab]')]"
            f".find((b) => b.textContent.includes({label!r})).click()"
        )
        tab.wait("new URLSearchParams(location.search).get('tab')", name, SECONDS)
        time.sleep(0.5)
        assert list(dict.fromkeys(tab.value(names))) == labels, name


def test_a_page_that_opens_on_another_tab_measures_nothing_yet(opened: Callable[..., Tab]) -> None:
    tab = opened("tab=market")
    tab.wait("document.querySelector('#market-shown')?.offsetParent !== null", True, SECONDS)
    says(tab, "#market-shown", "Prices")
    time.sleep(2)  # in which the bench would have begun
    assert tab.value("document.querySelector('#bench-results')?.textContent.trim() || ''") == ""
    click(tab, "button[role=tab]")  # the first: the bench
    says(tab, "#bench-results", "valid answer")


def test_eighteen_answers_through_the_page_give_estimates_that_cover(
    opened: Callable[..., Tab], tmp_path: Path
) -> None:
    seed, rng = 8, np.random.default_rng([7, 8])
    tab = opened("tab=play")
    tab.wait("document.querySelector('#play-begin')?.offsetParent !== null", True, SECONDS)
    tab.reach(
        "here.type === 'number' && here.closest('.block')?.textContent.includes('Order and "
        "labels')",
        200,
    )
    tab.type(str(seed))
    tab.press("Tab")
    tab.reach("here.id === 'play-begin'")
    tab.press("Enter")
    problems = play.battery(18, True, seed)
    for k, problem in enumerate(problems, start=1):
        says(tab, "#play-page", f"Problem {k} of 18")
        labels = decide(problem, rng)
        for place, label in enumerate(labels):
            tab.wait(
                f"[...document.querySelectorAll('#play-move-{place} input')].map((e) => "
                f"e.value).includes({label!r})",
                True,
                SECONDS,
            )
            tab.value(
                f"[...document.querySelectorAll('#play-move-{place} input')].find((e) => e.value "
                f"=== {label!r}).click()"
            )
        click(tab, "#play-next")
    says(tab, "#play-estimates", "all four")
    cells = tab.value(
        "[...document.querySelector('#play-estimates tbody tr').cells].slice(1).map((c) => "
        "c.textContent)"
    )
    for text, (name, value) in zip(
        cells, (PERSON | {"lambda": 10 * SHARPNESS}).items(), strict=True
    ):
        low, high = (float(v) for v in re.findall(r"-?\d+\.\d+", text)[1:])
        assert low <= value <= high, (name, text)
    says(tab, "#play-estimates", "behindness averse")
    (tmp_path / "mine.csv").write_text(
        tab.value("atob(document.querySelector('#play-estimates a[download]').href.split(',')[1])")
    )
    assert len(read_choices(tmp_path / "mine.csv", "alpha_beta_kappa").data.index) == 18


def test_nothing_of_a_measurement_stays_once_another_setting_is_wanted(
    adapter: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gr = pytest.importorskip("gradio")
    from eval.lab.page_bench import Bench  # needs gradio

    lab = Lab(adapter.parent)
    visitor: Any = SimpleNamespace(session_hash="visitor", query_params={})
    with gr.Blocks():
        part = Bench(lab)
        part.connect(gr.Blocks(), gr.Button())
    given = {component: getattr(component, "value", None) for component in part.every}
    given |= {part.model: "nano", part.conditions: ["base", "told"], part.kept: None}
    asked: list[str] = []
    ask = lab.ask

    def then_change(model: str, arm: Condition, requests: Sequence[Asked]) -> list[Answer]:
        asked.append(arm.name)
        if change:
            part.want(given | {part.layout: 1}, visitor)
        return ask(model, arm, requests)

    monkeypatch.setattr(lab, "ask", then_change)
    change = True
    *_, last = part.measure(given, visitor)
    assert asked == ["base"]  # the second condition was never asked
    assert (last[part.results], last[part.page], last[part.kept]) == ("", "", None)
    change = False
    *_, last = part.measure(given, visitor)
    assert len(last[part.kept].found) == 2


def test_two_visitors_do_not_mix(opened: Callable[..., Tab]) -> None:
    one, two = opened("tab=play"), opened("tab=play")
    for tab in (one, two):
        tab.wait("document.querySelector('#play-begin')?.offsetParent !== null", True, SECONDS)
        click(tab, "#play-begin")
        says(tab, "#play-page", "Problem 1 of 18")
    for _ in range(2):
        number = int(
            one.value("document.querySelector('#play-page').textContent.match(/Problem (\\d+)/)[1]")
        )
        one.value(
            "for (const k of [0, 1, 2]) document.querySelector(`#play-move-${k} input`)?.click()"
        )
        click(one, "#play-next")
        says(one, "#play-page", f"Problem {number + 1} of 18")
    says(two, "#play-page", "Problem 1 of 18")
    click(two, "#play-next")  # nothing was chosen here
    says(two, "#play-page", "Answer every question")
    pages = [t.value("document.querySelector('#play-page pre').textContent") for t in (one, two)]
    assert pages[0] != pages[1]


def test_a_model_answers_in_a_match(opened: Callable[..., Tab]) -> None:
    tab = opened("tab=play")
    tab.wait("document.querySelector('#match-new')?.offsetParent !== null", True, SECONDS)
    click(tab, "#match-new")
    tab.wait("document.querySelectorAll('#match-move input').length", 2, SECONDS)
    click(tab, "#match-move input")
    click(tab, "#match-go")
    says(tab, "#match-page", "The match is over")
    says(tab, "#match-page", "an admissible reply had")


def test_what_a_model_wrote_stays_text(opened: Callable[..., Tab]) -> None:
    tab = opened("tab=transcripts")
    says(tab, "#transcripts-frame", "econmoral transcripts")
    end = time.monotonic() + SECONDS
    while tab.framed("document.body?.dataset.ready") != "yes":
        assert time.monotonic() < end
        time.sleep(0.2)
    assert tab.framed("document.querySelectorAll('li').length") > 5
    tab.framed(REASONED)
    tab.framed("document.querySelector('li button').click()")
    assert HOSTILE in tab.framed("document.querySelector('li').textContent")
    assert tab.framed("document.querySelectorAll('img, li script').length") == 0
    assert tab.framed("document.title") == "Transcripts of measured"
    assert tab.framed("document.querySelector('li mark.wrong').textContent") == "5"
    watching = opened("tab=watch")
    says(watching, "#watch-curves", "document.title=")
    assert (
        watching.value(
            "document.querySelectorAll('#watch-curves script, #watch-curves img').length"
        )
        == 0
    )


def test_training_is_seen_as_it_goes_on(opened: Callable[..., Tab], runs: Path) -> None:
    tab = opened("tab=watch")
    says(tab, "#watch-curves", "0.2500")
    append_lines(
        runs / "training" / "checkpoints" / "log.jsonl", [{"step": 8, "epoch": 0.8, "loss": 0.0625}]
    )
    says(tab, "#watch-curves", "0.0625")


def test_reasoning_is_written_and_following_measured(opened: Callable[..., Tab]) -> None:
    tab = opened("instrument=allocation&conditions=base")
    says(tab, "#bench-results", "valid answer")
    tab.value(
        "[...document.querySelectorAll('button')].find((b) => b.textContent.trim() === 'Write the "
        "reasoning').click()"
    )
    says(tab, "#bench-reasoning", "its twin")
    assert tab.value("document.querySelectorAll('#bench-reasoning pre').length") == 2
    other = opened("tab=faithfulness")
    tab.wait("true")
    other.wait("document.querySelector('#faithfulness-go')?.offsetParent !== null", True, SECONDS)
    click(other, "#faithfulness-go")
    says(other, "#faithfulness-handed", "change by swapping")


class Held:
    """A page in this process whose models can be made to wait before every question: between two,
    the test does what a visitor would.
    """

    def __init__(self, runs: Path) -> None:
        from eval.lab.page import launch

        lab = Lab(runs)
        self.asked, self.on, self.let = 0, False, Semaphore(0)
        self.answering, self.last = 0, 0.0
        self.engine_of = lab.engines.of
        lab.engines.of = self.of  # type: ignore[method-assign]
        lab.ask = lab.score  # type: ignore[method-assign]  # what is remembered asks nothing
        with socket.socket() as one:
            one.bind(("127.0.0.1", 0))
            port = one.getsockname()[1]
        self.app, address, _ = launch(lab, "127.0.0.1", port, None, wait=False)
        self.address = address.rstrip("/")

    @contextmanager
    def of(self, model: str, adapters: dict[str, Path]) -> Iterator[object]:
        """The engine, after the wait."""
        if self.on:
            self.asked += 1
            assert self.let.acquire(timeout=SECONDS)
        self.answering += 1
        try:
            with self.engine_of(model, adapters) as engine:
                yield engine
        finally:
            self.answering, self.last = self.answering - 1, time.monotonic()

    def rests(self) -> None:
        """Until what is asked when a page is opened is answered: nothing, but of the bench."""
        self.last = max(self.last, time.monotonic())
        end = time.monotonic() + SECONDS
        while self.answering or time.monotonic() < self.last + 2:
            assert time.monotonic() < end, "the page does not come to rest"
            time.sleep(0.05)

    def hold(self) -> None:
        """From now on questions are counted, and wait."""
        self.asked, self.on = 0, True

    def waits(self, n: int) -> None:
        """Until the n-th question waits."""
        end = time.monotonic() + SECONDS
        while self.asked < n:
            assert time.monotonic() < end, f"{self.asked} questions, not {n}"
            time.sleep(0.02)


@pytest.fixture(scope="module")
def held(runs: Path) -> Iterator[Held]:
    """A page in this process whose models wait."""
    found = Held(runs)
    yield found
    found.app.get_blocks().close()


@dataclass(frozen=True)
class Work:
    """Long work in a part of the page.

    ready : what is there before.  start, stop : what is pressed.  doing : where the page says what
    is done.  partial : what holds after Stop during the second question.  again : what is pressed
    then; questions : how many are asked by it; whole : what holds in the end.
    """

    part: str
    ready: str
    start: str
    stop: str
    doing: str
    partial: str
    again: str
    questions: int
    whole: str


TOLD = "#bench-conditions label:nth-of-type(2) input"
HEADS = (
    "[...document.querySelector('#bench-results table').querySelectorAll('thead th')]"
    ".map((e) => e.textContent).join()"
)
HANDED = (
    "[...document.querySelectorAll('#faithfulness-handed tbody th')]"
    ".map((e) => e.textContent).join('; ')"
)
WORKS = {
    "measuring": Work(
        "bench",
        "#bench-results .bar",
        TOLD,
        "#bench-stop",
        "#bench-status",
        f"{HEADS} === 'plan,base,random'",  # and not what was told
        TOLD,
        3,  # two conditions, and the page as the model reads it
        f"{HEADS} === 'plan,base,random'"
        " && document.querySelector('#bench-status').textContent.includes('measured in')",
    ),
    "writing": Work(
        "bench",
        "#bench-results .bar",
        "#bench-write",
        "#bench-stop",
        "#bench-doing",
        "document.querySelectorAll('#bench-reasoning pre').length === 2"
        " && !document.querySelector('#bench-reasoning').textContent.includes('random')",
        "#bench-write",
        4,
        "document.querySelectorAll('#bench-reasoning pre').length === 4"
        " && document.querySelector('#bench-reasoning thead').textContent.includes('random')",
    ),
    "handing over": Work(
        "faithfulness",
        "#faithfulness-records table",
        "#faithfulness-go",
        "#faithfulness-stop",
        "#faithfulness-doing",
        f"{HANDED} === 'base, 8 of 12 pages'",
        "#faithfulness-go",
        6,
        f"{HANDED} === 'base; random'",
    ),
    "a market": Work(
        "market",
        "#market-shown p",
        "#market-many",
        "#market-stop",
        "#market-doing",
        "document.querySelector('#market-shown').textContent.includes('last 2 periods')",
        "#market-step",
        1,
        "document.querySelector('#market-shown').textContent.includes('last 3 periods')",
    ),
    "estimating": Work(
        "watch",
        "#watch-curves table",
        "#watch-estimates input",
        "#watch-stop",
        "#watch-doing",
        "document.querySelector('#watch-revealed').textContent.trim() === ''"
        " && !document.querySelector('#watch-estimates input').checked",
        "#watch-estimates input",
        4,  # of six batches: what was answered before is there still
        "document.querySelectorAll('#watch-revealed tbody tr').length === 1",
    ),
}


@pytest.mark.parametrize("name", list(WORKS))
def test_stop_ends_the_work(held: Held, browser: Browser, name: str) -> None:
    """No further question is asked, nothing unfinished is shown as a result, and what is asked next
    is answered.
    """
    work, pages = WORKS[name], opening(browser, held.address)
    tab = next(pages)(f"tab={work.part}")
    tab.wait(f"Boolean(document.querySelector({work.ready!r})?.offsetParent)", True, SECONDS)
    if work.part == "bench":
        says(tab, "#bench-status", "measured in")
    held.rests()
    held.hold()
    click(tab, work.start)
    held.waits(1)
    held.let.release()
    held.waits(2)
    click(tab, work.stop)
    tab.wait("document.body.innerText.includes('stopping after the page')", True, SECONDS)
    held.let.release()
    says(tab, work.doing, "stopped")
    tab.wait("!document.body.innerText.includes('stopping')", True, SECONDS)
    tab.wait(work.partial, True, SECONDS)
    assert held.asked == 2
    click(tab, work.again)
    for k in range(work.questions):
        held.waits(3 + k)
        tab.wait(f"!document.querySelector({work.doing!r}).textContent.includes('stopped')")
        held.let.release()
    tab.wait(work.whole, True, SECONDS)
    assert held.asked == 2 + work.questions
    held.on = False
    with pytest.raises(StopIteration):
        next(pages)


def test_a_file_of_transcripts_opens_by_itself(browser: Browser, tmp_path: Path) -> None:
    records, stated = read_run(folder_of(tmp_path / "run", texts=(HOSTILE, "3 + 4 = 7.")))
    (tmp_path / "page.html").write_text(
        document(problems(records, stated), HOSTILE), encoding="utf-8"
    )
    for dark, width in ((False, 1280), (True, 390)):
        tab = browser.tab((tmp_path / "page.html").as_uri(), width=width, dark=dark)
        tab.wait("document.body.dataset.ready", "yes", SECONDS)
        shifts = [
            float(v)
            for v in tab.value(
                "[...document.querySelectorAll('li strong')].map((e) => e.textContent)"
            )
        ]
        assert shifts == sorted(shifts, reverse=True)
        assert max(shifts) > 0
        tab.reach("here.matches('li button')")
        tab.press("Enter")
        assert (
            tab.value("document.querySelector('li button').getAttribute('aria-expanded')") == "true"
        )
        assert tab.value("document.documentElement.scrollWidth") <= width
        tab.value(REASONED)
        assert tab.value("document.querySelectorAll('li').length") == 6
        assert tab.value("document.querySelectorAll('img, li script').length") == 0
        assert tab.value("document.title").startswith("<script>")
        assert tab.complaints() == []
        assert tab.hosts() == set()


def test_others_are_let_in_by_password_only(runs: Path) -> None:
    refused = run("-m", "eval.lab", "--host", "0.0.0.0", "--port", "7999")
    assert_complains(refused, "ECONMORAL_LAB_PASSWORD")
    secret = "correct horse"
    pages = served(runs, "--host", "0.0.0.0", ECONMORAL_LAB_PASSWORD=secret)
    address, direct = next(pages), build_opener(ProxyHandler({}))
    try:
        with pytest.raises(HTTPError) as error:
            direct.open(f"{address}/gradio_api/info", timeout=60)
        assert error.value.code == 401
        for given, code in (("wrong horse!", 400), (secret, 200)):
            body = f"username=lab&password={given.replace(' ', '+')}".encode()
            try:
                answer = direct.open(Request(f"{address}/login", body), timeout=60).status
            except HTTPError as refusal:
                answer = refusal.code
            assert answer == code
    finally:
        with pytest.raises(StopIteration):
            next(pages)
    assert all(secret not in log.read_text() for log in runs.parent.glob("lab-*.log"))
