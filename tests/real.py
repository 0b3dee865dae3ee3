"""What only a real checkpoint can show (make test-real; not part of the suite,
minutes to an hour on two cores).

SmolLM2-135M comes by name.  Another chat model, such as Qwen2.5-Coder-0.5B, is given as a folder
in the environment variable REAL_MODEL; the table of valid-answer probabilities by wording is
written to results/real/validity.json.
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from econmoral.conversation import as_messages
from econmoral.menus import HELD_OUT, MENUS, TRAIN, draw_page, menu_conversation
from econmoral.prompts import WORDINGS, converse, draw_layout
from econmoral.records import finite, origin, write_json
from eval.engine_transformers import Transformers
from eval.engines import Condition, Request
from eval.measure import draw_problems

ROOT = Path(__file__).parents[1]
BASE = Condition("base")
MODELS = ["smollm2-135m", *([os.environ["REAL_MODEL"]] if "REAL_MODEL" in os.environ else [])]
PAGES = int(os.environ.get("REAL_PAGES", "3"))  # of every instrument and wording
ENDINGS = (
    "\n\n",
    "- ",
    "1. ",
    "### ",
    "",
    "K",
    "Answer: K",
    "<think>",
    "```",
    " the largest is " * 60,
)


@cache
def engine(model: str) -> Transformers:
    return Transformers(model, {}, given=True)


def requests(instrument: str, wording: str | int) -> list[Request]:
    """Some pages of an instrument in one wording."""
    rng = np.random.default_rng(
        [PAGES, list(WORDINGS).index(wording) if isinstance(wording, str) else wording]
    )
    if instrument == "games18":
        problems = draw_problems("games18", PAGES, 1, (), 0, ("payoffs",))
        return [
            Request(
                converse(p.item, draw_layout(p.item.protocol.game, rng, (str(wording),)), "direct"),
                p.item,
                None,
            )
            for p in problems
        ]
    menus = [MENUS[instrument][i] for i in rng.choice(len(MENUS[instrument]), PAGES, replace=False)]
    pages = [draw_page(menu, rng, (int(wording),)) for menu in menus]
    return [
        Request(menu_conversation(menu, page), menu, page)
        for menu, page in zip(menus, pages, strict=True)
    ]


@pytest.mark.parametrize("model", MODELS)
def test_valid_answer_probability_by_wording(model: str) -> None:
    """A Qwen checkpoint answers in the form: .8 on games, allocations and everyday situations.

    Others: whatever they do.
    """
    table = {}
    for instrument, wordings in (
        ("games18", list(WORDINGS)),
        ("bfs39", [*TRAIN, *HELD_OUT]),
        ("spillover", [*TRAIN, *HELD_OUT]),
    ):
        for wording in wordings:
            answers = engine(model).score(requests(instrument, wording), BASE)
            table[f"{instrument}, {wording}"] = {
                "valid_answer_probability": float(np.mean([a.valid.mean() for a in answers])),
                "by_decision": np.mean(
                    [a.valid for a in answers if len(a.valid) == len(answers[0].valid)], axis=0
                ).tolist(),
                "comprehension": float(
                    np.mean([a.controls.mean() for a in answers if len(a.controls)] or [np.nan])
                ),
                "pages": len(answers),
            }
            print(model, instrument, wording, table[f"{instrument}, {wording}"], flush=True)
    name = Path(model).name
    write_json(
        ROOT / "results" / "real" / f"validity-{name}.json",
        finite(origin() | {"model": name, "weights": engine(model).weights, "table": table}),
    )
    for instrument in ("games18", "bfs39", "spillover"):
        mean = np.mean(
            [v["valid_answer_probability"] for k, v in table.items() if k.startswith(instrument)]
        )
        assert mean >= (0.8 if "qwen" in name.lower() else 0), (instrument, mean)


@pytest.mark.parametrize("ending", ENDINGS)
def test_any_derivation_leads_to_an_answer(ending: str) -> None:
    """Whatever a derivation says and wherever it stops, every decision after it is scored."""
    request = requests("games18", "study")[0]
    item = request.item
    talk = converse(
        item, draw_layout(item.protocol.game, np.random.default_rng(0), ("study",)), "reasoned"
    )
    tool = engine("smollm2-135m")
    steps = [
        tool.scored(step)
        for level in talk.steps("First I look at my points. " + ending)
        for step in level
    ]
    for row in tool.log_probabilities([steps], BASE)[0] or []:
        assert np.isfinite(row).all()
        assert 0 < np.exp(np.logaddexp.reduce(row)) < 1 + 1e-4
    assert as_messages(talk.steps("x")[0][0].messages)[-1]["role"] == "user"


def test_tree_is_what_plain_passes_are() -> None:
    request = requests("games18", "study")[0]
    tool = engine("smollm2-135m")
    steps = [tool.scored(step) for level in request.conversation.steps() for step in level]
    tree = tool.log_probabilities([steps], BASE)[0]
    assert tree is not None
    for one, step in zip(tree, steps, strict=True):
        alone = tool.log_probabilities([[step]], BASE)[0]
        assert alone is not None
        np.testing.assert_allclose(np.exp(one), np.exp(alone[0]), atol=1e-5)
