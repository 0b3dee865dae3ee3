"""The page's part for the market: two firms, period by period."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import gradio as gr
import numpy as np

from econmoral.economics.firms import SCRIPTED
from econmoral.files.records import InputError
from econmoral.instruments.pricing import PRICE_WORDINGS

from ..engines.base import Request
from . import market
from .markup import block, paragraph
from .shared import Lab, Options, condition
from .widgets import QUIET, Given, Shown, Stop, agent_list, on_choice, refused, stopped

PERIODS = 20  # of the button that plays several
# one at a time: a period follows on those before it
IN_ORDER: dict[str, Any] = {"concurrency_id": "market", **QUIET}


class Market:
    """Who the firms are, the prices of those that the person at the page sets, and the paths."""

    def __init__(self, lab: Lab) -> None:
        self.lab, self.state = lab, gr.State(None)
        first = lab.models[0]
        with gr.Row():
            self.model = gr.Dropdown(lab.models, value=first, label="Model")
            self.one = gr.Dropdown(
                self.firms(first), value=market.YOU, label="Firm 1", elem_id="market-one"
            )
            self.two = gr.Dropdown(
                self.firms(first), value=lab.rival(), label="Firm 2", elem_id="market-two"
            )
            self.wording = gr.Dropdown(
                [(n, k) for k, n in enumerate(market.wordings())], value=0, label="Wording"
            )
        grid = [f"{p:g}" for p in market.Play((market.YOU, market.YOU)).grid]
        middle = grid[len(grid) // 2]
        with gr.Row():
            self.new = gr.Button("New market", elem_id="market-new")
            self.price = gr.Dropdown(
                grid, value=middle, label="Your price, firm 1", elem_id="market-price"
            )
            self.second = gr.Dropdown(grid, value=middle, label="Your price, firm 2", visible=False)
            self.step = gr.Button("Next period", variant="primary", elem_id="market-step")
            self.many = gr.Button(f"{PERIODS} periods", elem_id="market-many")
            self.stop = Stop("market-stop")
        self.doing = gr.HTML(elem_id="market-doing")
        self.shown = gr.HTML(elem_id="market-shown")

    def connect(self, demo: gr.Blocks, look: gr.Button) -> None:
        """Say what happens when the part is used."""
        asked = {self.state, self.model, self.one, self.two, self.wording}
        played = {*asked, self.price, self.second}
        shown = [self.state, self.shown, self.doing]
        self.step.click(self.once, played, shown, **IN_ORDER)
        self.many.click(self.often, played, shown, **IN_ORDER)
        self.stop.connect(self.doing)
        begun = [*shown, self.price, self.second]
        self.new.click(self.begin, asked, begun, **QUIET)
        demo.load(self.begin, asked, begun, **QUIET)
        changes = [self.one.input, self.two.input, self.wording.input]
        gr.on(changes, self.changed, asked, begun, **QUIET)
        _, event = on_choice(self.model, self.of_model, [self.one, self.two])
        event.then(self.changed, asked, begun, **QUIET)
        lists = [self.model, self.one, self.two]
        gr.on([demo.load, look.click], self.again, lists, lists, **QUIET)

    def firms(self, model: str) -> Options:
        """Who can set the price of a firm."""
        scripts = [(f"scripted: {s}", s) for s in SCRIPTED]
        return [(market.YOU, market.YOU), *self.lab.agents(model), *scripts]

    def of_model(self, model: str) -> Shown:
        """The firms of another model."""
        firms = self.firms(model)
        return {self.one: agent_list(firms, market.YOU), self.two: agent_list(firms)}

    def again(self, model: str, one: str, two: str) -> Shown:
        """Models and adapters that are there now."""
        self.lab.look()
        firms = self.firms(model)
        return {
            self.model: gr.Dropdown(choices=self.lab.models),
            self.one: agent_list(firms, one),
            self.two: agent_list(firms, two),
        }

    def fresh(self, given: Given) -> market.Play:
        """A market of the chosen firms and words before its first period."""
        words = int(given[self.wording])
        return market.Play(
            (given[self.one], given[self.two]),
            int(np.random.SeedSequence().generate_state(1)[0]),
            words if 0 <= words < len(PRICE_WORDINGS) else 0,
            model=given[self.model],
        )

    def current(self, given: Given) -> market.Play | None:
        """The market in progress, where it is one of the chosen model, firms and words."""
        play: market.Play | None = given[self.state]
        firms, words = (given[self.one], given[self.two]), int(given[self.wording])
        wanted = (given[self.model], firms, words)
        same = play is not None and (play.model, play.firms, play.wording) == wanted
        return play if same else None

    def begin(self, given: Given) -> Shown:
        """Another market."""
        play = self.fresh(given)
        return {
            self.state: play,
            self.shown: market.shown(play),
            self.doing: "",
            self.price: gr.Dropdown(visible=play.firms[0] == market.YOU),
            self.second: gr.Dropdown(visible=play.firms[1] == market.YOU),
        }

    def changed(self, given: Given) -> Shown:
        """Another market where its firms or its words were changed: a field that is only left, by
        Tab too, changes nothing.
        """
        return self.begin(given) if self.current(given) is None else gr.skip()

    def once(self, given: Given, request: gr.Request) -> Iterator[Shown]:
        """The next period."""
        yield from self.go(given, request, 1)

    def often(self, given: Given, request: gr.Request) -> Iterator[Shown]:
        """The next periods."""
        yield from self.go(given, request, PERIODS)

    def go(self, given: Given, request: gr.Request, periods: int) -> Iterator[Shown]:
        """So many periods more, one by one, so that it can be stopped."""
        play = self.current(given) or self.fresh(given)
        asked = (given[self.price], given[self.second])
        try:
            with self.stop.work(request) as stop:
                for k in range(1, periods + 1):
                    said = block(paragraph(f"period {k} of {periods} …", "quiet"))
                    doing = stopped() if stop.is_set() else said
                    yield {self.state: play, self.shown: market.shown(play), self.doing: doing}
                    if stop.is_set():
                        return
                    play = self.period(play, asked)
            yield {self.state: play, self.shown: market.shown(play), self.doing: ""}
        except InputError as error:
            yield {self.state: play, self.shown: refused(error), self.doing: ""}

    def period(self, play: market.Play, asked: tuple[Any, Any]) -> market.Play:
        """The market after one more period.  asked : prices of the person at the page."""
        prices: list[float] = []
        valid: list[float] = []
        for firm, who in enumerate(play.firms):
            if who == market.YOU:
                prices.append(float(asked[firm]))
            elif who in SCRIPTED:
                prices.append(market.scripted(play, firm))
            else:
                talk = market.page_of(play, firm)
                (answer,) = self.lab.score(play.model, condition(who), [Request(talk, None, None)])
                assert answer.probabilities is not None  # an engine on this machine loses none
                prices.append(market.drawn(play, firm, answer.probabilities))
                valid.append(float(answer.valid.mean()))
        return market.after(play, prices, valid)
