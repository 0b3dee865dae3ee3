"""The pictures of docs/lab.md: each part of the lab in a headless Chromium, with something in it.

    PYTHONPATH=. python tests/pictures.py RUNS MODEL [PART ...]

RUNS holds adapters of MODEL with their training logs, and a measurement of games with derivations.
Every picture's seconds are printed.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from browser import Browser, Tab
from conftest import ROOT
from test_lab import decide
from test_lab_page import REASONED, SECONDS, click, says, served

from eval.lab import play

WIDTH = 1280
HEIGHTS = {
    "bench": 1000,
    "play": 1000,
    "transcripts": 900,
    "faithfulness": 1000,
    "market": 1100,
    "watch": 1100,
}
SEED = 8


def bench(tab: Tab) -> None:
    """Conditions side by side."""
    says(tab, "#bench-status", "measured in")
    print(tab.value("document.querySelector('#bench-status').textContent"))


def battery(tab: Tab) -> None:
    """Estimates after eighteen answers of a simulated person."""
    tab.wait("document.querySelector('#play-begin')?.offsetParent !== null", True, SECONDS)
    tab.reach("here.closest('.block')?.textContent.includes('Order and labels')", 200)
    tab.type(str(SEED))
    tab.press("Tab")
    click(tab, "#play-begin")
    rng = np.random.default_rng([7, SEED])
    for k, problem in enumerate(play.battery(18, True, SEED), start=1):
        says(tab, "#play-page", f"Problem {k} of 18")
        for place, label in enumerate(decide(problem, rng)):
            inputs = f"[...document.querySelectorAll('#play-move-{place} input')]"
            tab.wait(f"{inputs}.map((e) => e.value).includes({label!r})", True, SECONDS)
            tab.value(f"{inputs}.find((e) => e.value === {label!r}).click()")
        click(tab, "#play-next")
    says(tab, "#play-estimates", "all four")


def transcripts(tab: Tab) -> None:
    """Derivations of a tuned model, one line opened."""
    says(tab, "#transcripts-frame", "econmoral transcripts")
    while tab.framed("document.body?.dataset.ready") != "yes":
        time.sleep(0.2)
    tab.framed(REASONED)
    for place, value in (("#arm", "moralis"), ("#sort", "wrong")):
        tab.framed(
            f"(() => {{ const s = document.querySelector({place!r}); s.value = {value!r};"
            " s.dispatchEvent(new Event('change')); })()"
        )
    tab.framed("document.querySelector('li button').click()")


def faithfulness(tab: Tab) -> None:
    """What is recited, and whether answers follow derivations."""
    says(tab, "#faithfulness-records", "bare to reasoned")
    click(tab, "#faithfulness-go")
    says(tab, "#faithfulness-handed", "change by swapping")
    tab.wait("document.querySelector('#faithfulness-doing').textContent.trim()", "", 4 * SECONDS)


def market(tab: Tab) -> None:
    """Twenty periods of a model against a person who asks the same price again and again."""
    says(tab, "#market-shown", "Prices")
    click(tab, "#market-many")
    says(tab, "#market-doing", "period 20 of 20")
    tab.wait("document.querySelector('#market-doing').textContent.trim()", "", SECONDS)


def watch(tab: Tab) -> None:
    """Finished trainings."""
    says(tab, "#watch-curves", "Loss on the training conversations")


PARTS = {
    "bench": bench,
    "play": battery,
    "transcripts": transcripts,
    "faithfulness": faithfulness,
    "market": market,
    "watch": watch,
}


def main(runs: str, model: str, *parts: str) -> None:
    """Write the pictures, all or some."""
    with tempfile.TemporaryDirectory() as scratch, Browser(Path(scratch)) as browser:
        pages = served(Path(runs), "--model", model)
        address = next(pages)
        for part in parts or PARTS:
            start = time.monotonic()
            tab = browser.tab(f"{address}/?tab={part}", WIDTH, HEIGHTS[part])
            tab.wait("Boolean(document.querySelector('button[role=tab]'))", True, SECONDS)
            PARTS[part](tab)
            print(f"{part}: {time.monotonic() - start:.1f} s", flush=True)
            time.sleep(1)  # fonts and transitions
            tab.value("window.scrollTo(0, 0)")
            tab.screenshot(ROOT / "docs" / "lab" / f"{part}.png")
            assert tab.complaints() == []
            tab.send("Page.close")
        pages.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
