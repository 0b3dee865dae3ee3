"""The page's part for recitation and faithfulness: of a measurement's records, and live, of
derivations that are handed to a model.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from econmoral.files.records import InputError
from econmoral.target import Target

from .. import faithfulness
from ..transcripts.choices import read_run
from .markup import block, esc, notice, paragraph, table
from .shared import Lab, condition
from .widgets import (
    QUIET,
    Given,
    Runs,
    Shown,
    Stop,
    condition_list,
    going,
    on_choice,
    refused,
    safely,
    stopped,
)

PAIRS_AT_ONCE = 4  # pages with both derivations: between two batches the work can be stopped


@dataclass(frozen=True)
class Wanted:
    """What is to be measured: the conditions of a model, on pages where the plans of two targets
    differ.
    """

    model: str
    conditions: tuple[str, ...]
    targets: tuple[Target, Target]
    pairs: list[Any]  # of ``faithfulness.pairs_of``


class Faithfulness:
    """A measurement to choose with what its records say, and derivations handed over live."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.runs = Runs(
            lab, ("choices.jsonl",), self.show, "faithfulness-run", "faithfulness-records"
        )
        said = (
            "The right derivation of one target, then of the other, is handed to the model on "
            "pages where their plans differ."
        )
        gr.HTML(block("<h2>Does the answer follow the derivation?</h2>", paragraph(said)))
        first = lab.models[0]
        with gr.Row():
            self.model = gr.Dropdown(lab.models, value=first, label="Model")
            self.conditions = gr.CheckboxGroup(
                lab.agents(first), value=lab.side_by_side(first), label="Conditions"
            )
            self.domain = gr.Radio(["games", "allocations"], value="games", label="Pages")
            self.one = gr.Textbox("homo_economicus", label="One target")
            self.two = gr.Textbox("homo_moralis:kappa=0.5", label="The other")
            self.pages = gr.Slider(4, 60, value=12, step=2, label="Number of pages")
        with gr.Row():
            self.go = gr.Button("Measure", variant="primary", elem_id="faithfulness-go")
            self.stop = Stop("faithfulness-stop")
        self.doing = gr.HTML(elem_id="faithfulness-doing")
        self.handed = gr.HTML(elem_id="faithfulness-handed")

    def connect(self, demo: gr.Blocks, look: gr.Button) -> None:
        """Say what happens when the part is used."""
        self.runs.connect(demo, look)
        asked = {self.model, self.conditions, self.domain, self.one, self.two, self.pages}
        self.go.click(self.measure, asked, [self.doing, self.handed], **QUIET)
        self.stop.connect(self.doing)
        on_choice(self.model, self.of_model, [self.conditions])
        lists = [self.model, self.conditions]
        gr.on([demo.load, look.click], self.again, lists, lists, **QUIET)

    def show(self, name: str | None) -> str:
        """What the records of a run say, by its path under the runs' folder."""
        if not name:
            return block(notice(f"There is no measurement under {self.lab.runs}."))
        return safely(lambda: recited(self.lab.inside(name)))

    def of_model(self, model: str) -> Shown:
        """The conditions of another model."""
        return {self.conditions: condition_list(self.lab.agents(model))}

    def again(self, model: str, chosen: list[str]) -> Shown:
        """Models and adapters that are there now."""
        self.lab.look()
        return {
            self.model: gr.Dropdown(choices=self.lab.models),
            self.conditions: condition_list(self.lab.agents(model), chosen),
        }

    def wanted(self, given: Given) -> Wanted:
        """What the components say.  Raises InputError for what cannot be measured."""
        if not given[self.conditions]:
            raise InputError("Choose at least one condition.")
        targets = (Target.parse(given[self.one]), Target.parse(given[self.two]))
        pairs = faithfulness.pairs_of(targets, given[self.domain], int(given[self.pages]))
        return Wanted(given[self.model], tuple(given[self.conditions]), targets, pairs)

    def measure(self, given: Given, request: gr.Request) -> Iterator[Shown]:
        """A few pages at a time, so that it can be stopped; the table has the pages so far."""
        try:
            wanted = self.wanted(given)
            with self.stop.work(request) as stop:
                for found, said in self.followed(wanted):
                    doing = stopped() if said and stop.is_set() else said
                    yield {self.doing: doing, self.handed: followed(wanted, found)}
                    if stop.is_set():
                        return
        except InputError as error:
            yield {self.doing: "", self.handed: refused(error)}

    def followed(self, wanted: Wanted) -> Iterator[tuple[dict[str, list[Any]], str]]:
        """The answers of every condition so far, and what is being done, before every few pages and
        after the last.
        """
        found: dict[str, list[Any]] = {}
        for k, who in enumerate(wanted.conditions, start=1):
            found[who] = []
            while (done := len(found[who])) < len(wanted.pairs):
                said = f"{done} of {len(wanted.pairs)} pages done"
                yield found, going(who, k, len(wanted.conditions), said)
                found[who] += self.answers(wanted, who, done)
        yield found, ""

    def answers(self, wanted: Wanted, who: str, done: int) -> list[Any]:
        """What a condition answers to the next few pages, after either derivation."""
        arm, some = condition(who), wanted.pairs[done : done + PAIRS_AT_ONCE]
        adapters = self.lab.needed(wanted.model, arm.adapter)
        with self.lab.engines.of(wanted.model, adapters) as engine:
            flat = faithfulness.after_derivation(engine, [h for pair in some for h in pair], arm)
        return list(zip(flat[::2], flat[1::2], strict=True))


def followed(wanted: Wanted, found: dict[str, list[Any]]) -> str:
    """What swapping the derivations changes, a row a condition that has answered any pages; one
    that has not answered all says so.
    """
    rows: list[faithfulness.FollowsRow] = []
    for who, both in found.items():
        if not both:
            continue
        whole = len(both) == len(wanted.pairs)
        name = who if whole else f"{who}, {len(both)} of {len(wanted.pairs)} pages"
        row = faithfulness.follows(wanted.pairs[: len(both)], both)
        rows.append({"arm": name, "targets": [t.label for t in wanted.targets], **row})
    if not rows:
        return ""
    return block(as_table(faithfulness.follows_frame(rows), faithfulness.FOLLOWS_CAPTION))


def recited(folder: Path) -> str:
    """How much of a run's derivations is recited, and what they are worth."""
    records, _ = read_run(folder)
    trained, targets, missing = faithfulness.trained_and_targets(
        faithfulness.measured_adapters(folder)
    )
    rows = faithfulness.of_records(records, trained, targets)
    said = [paragraph(f"No recitation of {line}.", "quiet") for line in missing]
    return block(as_table(faithfulness.records_frame(rows), faithfulness.RECORDS_CAPTION), *said)


def as_table(frame: Any, caption: str) -> str:
    """A data frame of text as a table."""
    return table(
        [esc(c) for c in frame.columns],
        [[esc(v) for v in row] for row in frame.itertuples(index=False)],
        caption,
    )
