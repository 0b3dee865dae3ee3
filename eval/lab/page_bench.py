"""The page's part for the bench: conditions side by side on one page, and theory beside them."""

from __future__ import annotations

import html
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import gradio as gr

from econmoral.economics.games import GAMES
from econmoral.economics.preferences import FAMILIES
from econmoral.files.records import InputError
from econmoral.instruments.games import TENTHS, WORDINGS
from econmoral.instruments.menus import MENUS
from econmoral.target import Target
from econmoral.text.chat import prompt_text
from econmoral.text.conversation import as_messages

from ..engines.base import Answer, seed_of
from . import bench
from .bench import Setting
from .markup import block, esc, paragraph
from .shared import Lab
from .widgets import (
    QUIET,
    UNQUEUED,
    Given,
    Shown,
    Stop,
    condition_list,
    going,
    on_choice,
    refused,
    stopped,
)

SLOW = 1.0  # seconds after which what was measured so far is shown
SETS = 3  # information sets of the game with the most
PARAMETERS = 4  # of the family with the most
EXAMPLES = {"spd": (18, 9, 3, 2), "tg": (16, 10, 6, 4), "ug": (14, 10, 2, 6)}  # T, R, P, S
LATEST: dict[str, Any] = {"trigger_mode": "always_last"}  # of several changes in a row
# one measurement at a time, whatever started it: an earlier one must not end after a later one
IN_ORDER: dict[str, Any] = {"concurrency_id": "bench", **LATEST, **QUIET}
KEEP_LINK = (
    "(q) => { const tab = new URLSearchParams(location.search).get('tab');"
    " const p = new URLSearchParams(q); if (tab) p.set('tab', tab);"
    " history.replaceState(null, '', '?' + p); }"
)


@dataclass(frozen=True)
class Kept:
    """What a visitor measured last."""

    setting: Setting
    found: list[bench.Measured]


class Bench:
    """What is asked to the left, what is answered in the middle, theory to the right, derivations
    below.
    """

    def __init__(self, lab: Lab) -> None:
        self.lab, self.start = lab, Setting(model=lab.models[0])
        with gr.Row():
            with gr.Column(scale=2, min_width=300):
                self.put_conditions()
                self.put_problem()
                self.put_words()
            with gr.Column(scale=3, min_width=300):
                gr.HTML(block("<h2>The page as the model reads it</h2>"))
                self.page = gr.HTML(elem_id="bench-page")
                self.status = gr.HTML(elem_id="bench-status")
                self.results = gr.HTML(elem_id="bench-results")
            with gr.Column(scale=2, min_width=300):
                self.put_theory()
        with gr.Row():
            self.samples = gr.Slider(
                1, 4, value=1, step=1, label="Derivations a page", min_width=160
            )
            self.write = gr.Button("Write the reasoning", variant="primary", elem_id="bench-write")
            self.stop = Stop("bench-stop")
        self.doing = gr.HTML(elem_id="bench-doing")
        self.reasoning = gr.HTML(elem_id="bench-reasoning")
        self.link, self.kept = gr.Textbox(visible=False), gr.State(None)
        # made here: what is made after the tab's block would become a tab itself
        self.came = gr.State(False)
        # a component, so that an event brings it along with the values of its moment
        self.ready = gr.Checkbox(value=False, visible=False)
        self.wanted: dict[str | None, Setting] = {}  # visitor -> the setting that was chosen last

    def put_conditions(self) -> None:
        """Who answers, and to what kind of page."""
        models, first = self.lab.models, self.start.model
        self.model = gr.Dropdown(models, value=first, label="Model", interactive=len(models) > 1)
        self.conditions = gr.CheckboxGroup(
            self.lab.conditions(first),
            value=["base"],
            label="Conditions, side by side",
            elem_id="bench-conditions",
        )
        self.instrument = gr.Radio(
            list(bench.INSTRUMENTS), value=self.start.instrument, label="Instrument"
        )

    def put_problem(self) -> None:
        """A game with its payoffs and beliefs, an allocation, or another page."""
        start = self.start
        with gr.Group() as self.game_box:
            titles = [(g.title, g.name) for g in GAMES.values()]
            self.game = gr.Dropdown(titles, value=start.game, label="Game")
            with gr.Row():
                self.points = [
                    gr.Number(v, label=k, precision=0, minimum=0, min_width=60)
                    for k, v in zip("TRPS", start.points, strict=True)
                ]
            self.beliefs = [
                gr.Slider(0, TENTHS, value=b, step=1, label=label, visible=label is not None)
                for b, label in zip(start.beliefs, belief_labels(start.game), strict=True)
            ]
        with gr.Group(visible=False) as self.allocation_box, gr.Row():
            self.own = allocated("You get", start.own)
            self.other = allocated("Other gets", start.other)
        pages = [m.id for several in MENUS.values() for m in several]
        self.menu = gr.Dropdown(pages, value=start.menu, label="Page", visible=False)

    def put_words(self) -> None:
        """How the page is worded and laid out."""
        names = [
            (f"{w.name}{' (held out)' if w.held_out else ''}", w.name) for w in WORDINGS.values()
        ]
        with gr.Row():
            self.wording = gr.Dropdown(
                names, value=self.start.wording, label="Wording", min_width=120
            )
            self.layout = gr.Number(
                0, label="Labels and order, number", precision=0, minimum=0, min_width=120
            )

    def put_theory(self) -> None:
        """The target, and what theory says of it."""
        gr.HTML(block("<h2>Theory</h2>"))
        target = Target.parse(self.start.target)
        self.family = gr.Dropdown(
            list(FAMILIES), value=target.family, label="Preference of the target"
        )
        self.values = parameter_sliders(target.family, target.theta)
        self.precision = gr.Slider(
            0, 3, value=self.start.precision, step=0.05, label="lambda per point of the page"
        )
        self.theory = gr.HTML(elem_id="bench-theory")

    def connect(self, demo: gr.Blocks, look: gr.Button) -> None:
        """Say what happens when the part is used.  Whatever changes the page is measured at once,
        whatever changes the target only redraws.
        """
        numbers = [*self.points, *self.beliefs, *self.own, *self.other, self.layout]
        fields = [self.conditions, *numbers, self.menu, self.wording]
        sliders = [*self.values, self.precision]
        chosen = [self.model, self.instrument, self.game, self.family]
        boxes = [self.game_box, self.allocation_box, self.menu]
        lists = [self.model, self.conditions]

        self.last_game, game = on_choice(self.game, self.of_game, [*self.points, *self.beliefs])
        self.last_model, model = on_choice(self.model, self.of_model, [self.conditions])
        self.last_family, family = on_choice(self.family, self.of_family, self.values)
        last = [self.last_game, self.last_model, self.last_family]
        placed = [*chosen, *fields, *sliders, self.game_box, self.allocation_box, *last, self.ready]
        changes = [
            game,
            model,
            self.instrument.input(self.of_instrument, self.instrument, boxes, **UNQUEUED),
            look.click(self.again, lists, [*lists, self.kept], **UNQUEUED),
        ]
        every = {*chosen, *fields, *sliders, self.kept, self.ready}
        asides = [self.theory, self.link, self.kept, self.doing]
        shown = [self.status, self.page, self.results, *asides]
        changed, sketched = [f.input for f in fields], [self.theory, self.link]
        gr.on(changed, self.want, every, sketched, **LATEST, **UNQUEUED)
        gr.on(changed, self.measure, every, shown, **IN_ORDER)
        for event in changes:
            event.then(self.want, every, sketched, **UNQUEUED)
            event.then(self.measure, every, shown, **IN_ORDER)
        opened = demo.load(self.opened, None, placed, **QUIET)
        opened.then(self.measure_first, every, shown, **IN_ORDER)
        self.every, self.shown = every, shown

        drawn = [self.results, self.theory, self.link]
        gr.on([s.input for s in sliders], self.redraw, every, drawn, **LATEST, **UNQUEUED)
        family.then(self.redraw, every, drawn, **UNQUEUED)
        written = [self.doing, self.reasoning]
        self.write.click(self.reason, {self.samples, *every}, written, **QUIET)
        self.stop.connect(self.doing)
        self.link.change(None, self.link, None, js=KEEP_LINK)

    def when_shown(self, tab: gr.Tab) -> None:
        """Measure when a visitor comes here from another tab, unless it was done."""
        inputs, outputs = self.every | {self.came}, [*self.shown, self.came]
        tab.select(self.measure_when_shown, inputs, outputs, **IN_ORDER)

    def measure_when_shown(self, given: Given, request: gr.Request) -> Iterator[Shown]:
        """Gradio itself selects the first tab when a page is opened, whatever tab the link names,
        and before the components stand as the link says: that is no visitor.
        """
        if given[self.ready] and (given[self.came] or asked_for(request)):
            for shown in self.measure(given, request):
                yield shown if isinstance(shown, dict) else {self.came: True}
        else:
            yield {self.came: True}

    def measure_first(self, given: Given, request: gr.Request) -> Iterator[Shown]:
        """A page that opens on another tab measures nothing: it would keep a large model from what
        that tab wants of it.
        """
        if asked_for(request):
            yield from self.measure(given, request)
        else:
            yield gr.skip()

    def setting(self, given: Given) -> Setting:
        """What the components say.  Raises InputError for what has no page."""
        numbers = [*self.points, *self.own, *self.other, self.layout]
        if any(given[n] is None for n in numbers):
            raise InputError("fill in every number")
        family = given[self.family]
        values = [given[v] for v in self.values]
        theta = dict(zip(FAMILIES[family].parameters, values, strict=False))

        def both(fields: list[Any]) -> tuple[float, float]:
            one, two = fields
            return float(given[one]), float(given[two])

        return Setting(
            model=given[self.model],
            conditions=tuple(given[self.conditions]),
            instrument=given[self.instrument],
            game=given[self.game],
            points=tuple(float(given[p]) for p in self.points),
            beliefs=tuple(int(given[b]) for b in self.beliefs),
            own=both(self.own),
            other=both(self.other),
            menu=given[self.menu],
            wording=given[self.wording],
            layout=int(given[self.layout]),
            target=bench.target_text(family, theta),
            precision=float(given[self.precision]),
        )

    def want(self, given: Given, request: gr.Request) -> Shown:
        """A setting was chosen: its link and theory at once, and what is being measured of another
        one ends before its next condition.
        """
        try:
            setting = self.setting(given)
            self.wanted[request.session_hash] = setting
            return {self.theory: bench.theory(setting), self.link: setting.query()}
        except InputError:
            return gr.skip()  # ``measure`` says what is wrong

    def measure(self, given: Given, request: gr.Request) -> Iterator[Shown]:
        """Every condition of a setting, decisions alone; nothing where nothing was changed."""
        start, kept = time.monotonic(), given[self.kept]
        found: list[bench.Measured] = []
        try:
            setting = self.setting(given)
            if kept is not None and kept.setting == setting:
                yield gr.skip()
                return
            setting.check()
            self.wanted[request.session_hash] = setting
            arms = bench.arms(setting, list(self.lab.of(setting.model)))
            drawn = {self.theory: bench.theory(setting), self.link: setting.query()}
            with self.stop.work(request) as stop:
                for k, arm in enumerate(arms, start=1):
                    if self.wanted.get(request.session_hash, setting) != setting:
                        # nothing of it stays beside the newer one, which may be the one before
                        yield {self.results: "", self.page: "", self.kept: None}
                        return
                    if stop.is_set():
                        yield {**self.unfinished(setting, found), **drawn}
                        return
                    shown = {self.status: going(arm.name, k, len(arms)), **drawn}
                    if found and time.monotonic() - start > SLOW:
                        shown[self.results] = bench.results(setting, found)
                    yield shown
                    answers = self.lab.ask(setting.model, arm, bench.requests(setting, arm))
                    found.append(bench.measured(setting, arm, answers))
            said = f"measured in {time.monotonic() - start:.1f} s"
            yield {
                self.status: block(paragraph(said, "quiet")),
                self.page: read_as(self.lab, setting),
                self.results: bench.results(setting, found),
                self.kept: Kept(setting, found),
                self.doing: "",
                **drawn,
            }
        except InputError as error:
            empty = [self.status, self.page, self.theory, self.link, self.doing]
            yield {**dict.fromkeys(empty, ""), self.results: refused(error), self.kept: None}

    def unfinished(self, setting: Setting, found: list[bench.Measured]) -> Shown:
        """What was measured before Stop, and the page that it was measured on: the answers to an
        earlier page are not left beside it.
        """
        return {
            self.status: stopped(),
            self.doing: "",
            self.page: block(words_of(setting)),
            self.results: bench.results(setting, found) if found else "",
            self.kept: None,
        }

    def redraw(self, given: Given) -> Shown:
        """Theory of another target; what was measured is held against it."""
        try:
            now, kept = self.setting(given), given[self.kept]
            shown = {self.theory: bench.theory(now), self.link: now.query()}
            if kept is not None:
                was = replace(kept.setting, target=now.target, precision=now.precision)
                shown[self.results] = bench.results(was, kept.found)
            return shown
        except InputError as error:
            return {self.results: "", self.theory: refused(error), self.link: ""}

    def reason(self, given: Given, request: gr.Request) -> Iterator[Shown]:
        """Derivations page by page, so that it can be stopped between two."""
        try:
            setting = self.setting(given)
            setting.check()
            with self.stop.work(request) as stop:
                for done, said in self.written(setting, int(given[self.samples])):
                    doing = stopped() if said and stop.is_set() else said
                    yield {self.doing: doing, self.reasoning: done}
                    if stop.is_set():
                        return
        except InputError as error:
            yield {self.doing: "", self.reasoning: refused(error)}

    def written(self, setting: Setting, samples: int) -> Iterator[tuple[str, str]]:
        """What was written so far, and what is being done, before every page and after the last."""
        found: list[bench.Measured] = []
        arms = bench.arms(setting, list(self.lab.of(setting.model)))
        for k, arm in enumerate(arms, start=1):
            answers: list[Answer] = []
            asked = bench.requests(setting, arm, "reasoned", samples)
            for place, one in enumerate(asked):
                said = going(arm.name, k, len(arms), f"page {place + 1} of {len(asked)}")
                yield bench.reasoning(setting, found, (arm, answers)), said
                seed = seed_of(setting.layout, place)
                answers += self.lab.score(setting.model, arm, [one], seed)
            found.append(bench.measured(setting, arm, answers, "reasoned"))
        yield bench.reasoning(setting, found), ""

    def of_instrument(self, name: str) -> Shown:
        """The fields of another instrument."""
        return {
            self.game_box: gr.Group(visible=name == "game"),
            self.allocation_box: gr.Group(visible=name == "allocation"),
            self.menu: gr.Dropdown(visible=name == "other page"),
        }

    def of_game(self, name: str) -> Shown:
        """The payoffs and beliefs of another game."""
        sliders = [
            gr.Slider(visible=label is not None, label=label or "") for label in belief_labels(name)
        ]
        return {
            **dict(zip(self.points, EXAMPLES[name], strict=True)),
            **dict(zip(self.beliefs, sliders, strict=True)),
        }

    def of_family(self, name: str) -> Shown:
        """The parameters of another family."""
        return dict(zip(self.values, parameter_sliders(name, {"kappa": 0.5}), strict=True))

    def of_model(self, name: str) -> Shown:
        """The conditions of another model."""
        return {self.conditions: condition_list(self.lab.conditions(name))}

    def again(self, model: str, chosen: list[str]) -> Shown:
        """Models and adapters that are there now; what was measured of them is measured anew."""
        self.lab.look()
        models = self.lab.models
        return {
            self.model: gr.Dropdown(choices=models, interactive=len(models) > 1),
            self.conditions: condition_list(self.lab.conditions(model), chosen),
            self.kept: None,
        }

    def asked(self, query: dict[str, str]) -> Setting:
        """The setting of a link, or the first one where the link cannot be shown."""
        query.setdefault("model", self.lab.models[0])
        query.setdefault("conditions", ",".join(self.lab.side_by_side(query["model"])))
        try:
            setting = Setting.of(query)
            if setting.model not in self.lab.models:
                raise InputError(f"no adapter here was trained on {setting.model!r}")
        except InputError as error:
            gr.Warning(html.escape(f"The link cannot be shown: {error}"))
            return self.start
        return setting

    def opened(self, request: gr.Request) -> Shown:
        """Every component as the link says; what is as at the start is left alone."""
        self.lab.look()
        s, models = self.asked(dict(request.query_params)), self.lab.models
        first = {
            self.model: gr.Dropdown(choices=models, value=s.model, interactive=len(models) > 1),
            self.conditions: condition_list(self.lab.conditions(s.model), s.conditions),
            self.last_model: s.model,
            self.ready: True,
        }
        if replace(s, model=self.start.model, conditions=self.start.conditions) == self.start:
            return first
        target = Target.parse(s.target)
        boxes = self.of_instrument(s.instrument)
        sliders = [
            gr.Slider(value=b, visible=label is not None, label=label or "")
            for b, label in zip(s.beliefs, belief_labels(s.game), strict=False)
        ]
        return {
            **first,
            **boxes,
            self.instrument: s.instrument,
            self.game: s.game,
            **dict(zip(self.points, s.points, strict=False)),
            **dict(zip(self.beliefs, sliders, strict=False)),
            **dict(zip((*self.own, *self.other), (*s.own, *s.other), strict=True)),
            self.menu: gr.update(value=s.menu, visible=s.instrument == "other page"),
            self.wording: s.wording,
            self.layout: s.layout,
            self.family: target.family,
            **dict(zip(self.values, parameter_sliders(target.family, target.theta), strict=True)),
            self.precision: s.precision,
            self.last_game: s.game,
            self.last_family: target.family,
        }


def asked_for(request: gr.Request) -> bool:
    """Whether the link opens the bench."""
    return dict(request.query_params).get("tab", "bench") == "bench"


def read_as(lab: Lab, setting: Setting) -> str:
    """The page in words, and the very text that is sent."""
    talk = bench.sheets(setting)[0].conversation
    with lab.engines.of(setting.model, {}) as engine:
        text = prompt_text(engine.tokenizer, as_messages(talk.step(()).messages))
    exact = (
        f"<details><summary>The very text that {esc(setting.model)} reads before its first "
        f"answer</summary><pre>{esc(text)}</pre></details>"
    )
    return block(words_of(setting), exact)


def words_of(setting: Setting) -> str:
    """The page in words."""
    words = esc(bench.page_of(setting))
    return f'<pre class="page" tabindex="0" aria-label="page">{words}</pre>'


def belief_labels(game: str) -> list[str | None]:
    """What each slider says: of ten others, how many make the first move; None for a slider that is
    not used.
    """
    found: list[str | None] = []
    for info in GAMES[game].info_sets:
        after = f" after {info.after[0]}" if info.after else " first"
        found.append(f"Of {TENTHS} others, {info.actions[0]}{after}")
    return [*found, *[None] * (SETS - len(found))]


def allocated(who: str, points: tuple[float, float]) -> list[gr.Number]:
    """What somebody gets under either option."""
    return [
        gr.Number(v, label=f"{who}, option {k}", precision=0, minimum=0, min_width=110)
        for k, v in enumerate(points, 1)
    ]


def parameter_sliders(family: str, values: dict[str, float]) -> list[gr.Slider]:
    """A slider for every parameter of a family, and hidden ones for those that it does not have."""
    names = FAMILIES[family].parameters
    found = [
        gr.Slider(
            0 if n == "kappa" else -1, 1, value=values.get(n, 0.0), step=0.01, label=n, visible=True
        )
        for n in names
    ]
    hidden = [
        gr.Slider(-1, 1, value=0, step=0.01, visible=False) for _ in range(PARAMETERS - len(names))
    ]
    return [*found, *hidden]
