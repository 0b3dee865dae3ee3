"""The page itself: Gradio's components over the functions of this folder, and nothing that is worth
testing apart from a browser.

What a visitor does is kept in that visitor's own session; shared are the models, and estimates of
training checkpoints.
"""

from __future__ import annotations

import base64
import html
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

os.environ["GRADIO_ANALYTICS_ENABLED"] = (
    "False"  # before Gradio is imported: it would report every start
)
import gradio as gr

from econmoral.chat import prompt_text
from econmoral.conversation import as_messages
from econmoral.firms import SCRIPTED
from econmoral.games import GAMES, Protocol
from econmoral.menus import MENUS
from econmoral.preferences import FAMILIES
from econmoral.pricing import PRICE_WORDINGS
from econmoral.prompts import TENTHS, WORDINGS
from econmoral.records import InputError
from econmoral.target import Target

from .. import faithfulness, transcripts
from ..engines import Answer, Condition, Request, seed_of
from . import bench, market, play, watch
from .bench import Setting
from .engines import Adapter, Engines, adapters_in, folders, written
from .markup import block, esc, notice, paragraph, table

TABS = ("bench", "play", "transcripts", "faithfulness", "market", "watch")
# Gradio also selects a tab by itself when the page is opened: that one is not written into the
# link, which may name another
KEEP_TAB = (
    "() => {{ if (!window.labIsOpen) {{ window.labIsOpen = true; return; }}"
    " const u = new URL(location); u.searchParams.set('tab', '{}');"
    " history.replaceState(null, '', u); }}"
)
KEEP_LINK = (
    "(q) => { const tab = new URLSearchParams(location.search).get('tab');"
    " const p = new URLSearchParams(q); if (tab) p.set('tab', tab);"
    " history.replaceState(null, '', '?' + p); }"
)
THEME = gr.themes.Base(
    primary_hue="blue",
    neutral_hue="gray",
    font=["system-ui", "sans-serif"],
    font_mono=["ui-monospace", "monospace"],
    radius_size="sm",
)
PARAMETERS = 4  # of the family with the most
Kept = tuple[Setting, list[bench.Measured]] | None  # what was measured last
EVERY = 4.0  # seconds between two looks at a training run
SLOW = 1.0  # seconds after which what was measured so far is shown
PAIRS_AT_ONCE = 4  # pages with both derivations: between two batches the work can be stopped
BATTERY_AT_ONCE = 6  # pages of the battery, the same
QUIET: dict[str, Any] = {"show_progress": "hidden"}
STYLE = Path(__file__).with_name("style.css")


def safely(make: Callable[[], str]) -> str:
    """A piece of the page, or what is wrong with what was asked for."""
    try:
        return make()
    except InputError as error:
        return block(notice(str(error)))


class Lab:
    """What all visitors share: the folder of runs and the models."""

    def __init__(self, runs: Path, model: str | None = None) -> None:
        self.runs, self.engines, self.first = runs, Engines(), model
        self.look()
        # (run, checkpoint, mode) -> answers so far; and what they reveal once all are there
        self.answers: dict[tuple[str, str, str], tuple[int, list[Answer]]] = {}
        self.revealed: dict[tuple[str, str, str], tuple[int, watch.Revealed]] = {}

    def look(self) -> None:
        """Look for adapters again."""
        self.adapters: list[Adapter] = adapters_in(self.runs)
        known = [self.first] if self.first else []
        self.models = list(dict.fromkeys([*known, *(a.model for a in self.adapters), "nano"]))

    def of(self, model: str) -> dict[str, Path]:
        """The adapters of a model by name."""
        return {a.name: a.folder for a in self.adapters if a.model == model}

    def conditions(self, model: str) -> list[tuple[str, str]]:
        """(label, value) of the conditions that can be compared."""
        return [
            ("base", "base"),
            ("base, told of the target", "told"),
            *((n, n) for n in self.of(model)),
        ]

    def agents(self, model: str) -> list[tuple[str, str]]:
        """(label, value) of the conditions that can be played against: not told of anything."""
        return [c for c in self.conditions(model) if c[1] != "told"]

    def needed(self, model: str, adapter: str | None) -> dict[str, Path]:
        """An adapter by name, or none.  Raises InputError for one that is no longer there."""
        if adapter is None:
            return {}
        found = self.of(model)
        if adapter not in found:
            raise InputError(f"{adapter} is no longer an adapter of {model} under {self.runs}")
        return {adapter: found[adapter]}

    def score(
        self, model: str, arm: Condition, requests: Sequence[Request], seed: int = 0
    ) -> list[Answer]:
        """Answers of one condition."""
        return self.engines.score(model, self.needed(model, arm.adapter), requests, arm, seed)

    def measurements(self, files: Sequence[str]) -> list[str]:
        """Folders of measurements that hold one of these, by their path under the runs' folder."""
        found = {str(f.relative_to(self.runs)) for file in files for f in folders(self.runs, file)}
        return sorted(found)

    def trainings(self) -> list[str]:
        """Folders of training runs, by their path under the runs' folder."""
        return [str(f.relative_to(self.runs)) for f in watch.trainings(self.runs)]

    def inside(self, name: str) -> Path:
        """A folder under the runs' one.  Raises InputError for a name that leaves it."""
        place = (self.runs / name).resolve()
        if not name or not place.is_relative_to(self.runs.resolve()):
            raise InputError(f"{name!r} is no folder of {self.runs}")
        return place

    # ---------------------------------------------------------------------------------------- bench

    def read_as(self, setting: Setting) -> str:
        """The page in words, and the very text that is sent."""
        talk = bench.sheets(setting)[0].conversation
        with self.engines.of(setting.model, {}) as engine:
            text = prompt_text(engine.tokenizer, as_messages(talk.step(()).messages))
        exact = (
            f"<details><summary>The very text that {esc(setting.model)} reads before its first "
            f"answer</summary><pre>{esc(text)}</pre></details>"
        )
        return block(
            f'<pre class="page" tabindex="0" aria-label="page">{esc(bench.page_of(setting))}</pre>',
            exact,
        )


def build(lab: Lab) -> gr.Blocks:
    """The page."""
    with gr.Blocks(title="econmoral lab", analytics_enabled=False, fill_width=True) as demo:
        with gr.Row(equal_height=True):
            gr.HTML(block("<h1>econmoral lab</h1>"), min_width=220)
            look = gr.Button("Look for new runs", size="sm", scale=0, min_width=180, elem_id="look")
        with gr.Tabs(selected="bench") as tabs:
            for name, label, fill in (
                ("bench", "Bench", _bench),
                ("play", "Play it yourself", _play),
                ("transcripts", "Transcripts", _transcripts),
                ("faithfulness", "Recitation and faithfulness", _faithfulness),
                ("market", "Market", _market),
                ("watch", "Training watch", _watch),
            ):
                with gr.Tab(label, id=name) as tab:
                    fill(lab, demo, look)
                tab.select(None, js=KEEP_TAB.format(name))

        def opened(request: gr.Request) -> Any:
            asked = dict(request.query_params).get("tab", "bench")
            return gr.Tabs(selected=asked if asked in TABS else "bench")

        demo.load(opened, None, tabs, queue=False, **QUIET)
    return demo


def on_choice(
    dropdown: gr.Dropdown, act: Callable[[Any], Sequence[Any]], outputs: Sequence[Any]
) -> tuple[gr.State, Any]:
    """Act on the value of a dropdown that was changed; its last value, and the event.

    Gradio tells of an input whenever the field is left, by Tab too: what depends on the value must
    not be set back then.
    """
    last = gr.State(dropdown.value)

    def told(value: Any, before: Any) -> list[Any]:
        return [gr.skip()] * (1 + len(outputs)) if value == before else [value, *act(value)]

    return last, dropdown.input(told, [dropdown, last], [last, *outputs], queue=False, **QUIET)


# -------------------------------------------------------------------------------------------- bench


def _bench(lab: Lab, demo: gr.Blocks, look: gr.Button) -> None:
    start = Setting(model=lab.models[0])
    pages = [m.id for several in MENUS.values() for m in several]
    with gr.Row():
        with gr.Column(scale=2, min_width=300):
            model = gr.Dropdown(
                lab.models, value=start.model, label="Model", interactive=len(lab.models) > 1
            )
            conditions = gr.CheckboxGroup(
                lab.conditions(start.model), value=["base"], label="Conditions, side by side"
            )
            instrument = gr.Radio(
                list(bench.INSTRUMENTS), value=start.instrument, label="Instrument"
            )
            with gr.Group() as game_box:
                game = gr.Dropdown(
                    [(g.title, g.name) for g in GAMES.values()], value=start.game, label="Game"
                )
                with gr.Row():
                    points = [
                        gr.Number(v, label=k, precision=0, minimum=0, min_width=60)
                        for k, v in zip("TRPS", start.points, strict=True)
                    ]
                beliefs = [
                    gr.Slider(0, TENTHS, value=b, step=1, label=label, visible=label is not None)
                    for b, label in zip(start.beliefs, _belief_labels(start.game), strict=True)
                ]
            with gr.Group(visible=False) as allocation_box, gr.Row():
                own = [
                    gr.Number(
                        v, label=f"You get, option {k}", precision=0, minimum=0, min_width=110
                    )
                    for k, v in enumerate(start.own, 1)
                ]
                other = [
                    gr.Number(
                        v, label=f"Other gets, option {k}", precision=0, minimum=0, min_width=110
                    )
                    for k, v in enumerate(start.other, 1)
                ]
            menu = gr.Dropdown(pages, value=start.menu, label="Page", visible=False)
            with gr.Row():
                wordings = [
                    (f"{w.name}{' (held out)' if w.held_out else ''}", w.name)
                    for w in WORDINGS.values()
                ]
                wording = gr.Dropdown(wordings, value=start.wording, label="Wording", min_width=120)
                layout = gr.Number(
                    0, label="Labels and order, number", precision=0, minimum=0, min_width=120
                )
        with gr.Column(scale=3, min_width=300):
            gr.HTML(block("<h2>The page as the model reads it</h2>"))
            page = gr.HTML(elem_id="bench-page")
            status = gr.HTML(elem_id="bench-status")
            results = gr.HTML(elem_id="bench-results")
        with gr.Column(scale=2, min_width=300):
            gr.HTML(block("<h2>Theory</h2>"))
            family = gr.Dropdown(
                list(FAMILIES), value="homo_moralis", label="Preference of the target"
            )
            values = [
                gr.Slider(
                    -1,
                    1,
                    value=0.5 if k == 0 else 0,
                    step=0.01,
                    label=f"parameter {k}",
                    visible=k == 0,
                )
                for k in range(PARAMETERS)
            ]
            values[0].label, values[0].minimum = "kappa", 0
            precision = gr.Slider(
                0, 3, value=start.precision, step=0.05, label="lambda per point of the page"
            )
            theory = gr.HTML(elem_id="bench-theory")
    with gr.Row():
        samples = gr.Slider(1, 4, value=1, step=1, label="Derivations a page", min_width=160)
        write = gr.Button("Write the reasoning", variant="primary")
        stop = gr.Button("Stop")
    doing = gr.HTML(elem_id="bench-doing")
    reasoning = gr.HTML(elem_id="bench-reasoning")
    link, kept = gr.Textbox(visible=False), gr.State(None)
    asked = [
        model,
        conditions,
        instrument,
        game,
        *points,
        *beliefs,
        *own,
        *other,
        menu,
        wording,
        layout,
    ]
    wished = [family, *values, precision]
    every = [*asked, *wished]

    def setting_of(*v: Any) -> Setting:
        m, c, i, g, t, r, p, s, b1, b2, b3, o1, o2, n1, n2, page_id, words, place, kind, *rest = v
        numbers = (t, r, p, s, o1, o2, n1, n2, place)
        if any(x is None for x in numbers):
            raise InputError("fill in every number")
        names = FAMILIES[kind].parameters
        target = bench.target_text(kind, dict(zip(names, rest, strict=False)))
        return Setting(
            m,
            tuple(c),
            i,
            g,
            (float(t), float(r), float(p), float(s)),
            (int(b1), int(b2), int(b3)),
            (float(o1), float(o2)),
            (float(n1), float(n2)),
            page_id,
            words,
            int(place),
            target,
            float(rest[PARAMETERS]),
        )

    def measure(before: Kept, *v: Any) -> Iterator[list[Any]]:
        """Every condition of a setting, decisions alone; nothing where nothing was changed."""
        start, found = time.monotonic(), []
        try:
            setting = setting_of(*v)
            if before is not None and before[0] == setting:
                yield [gr.skip()] * len(shown)
                return
            setting.check()
            arms = bench.arms(setting, list(lab.of(setting.model)))
            drawn = [bench.theory(setting), setting.query()]
            for k, arm in enumerate(arms, start=1):
                slow = found and time.monotonic() - start > SLOW
                so_far = bench.results(setting, found) if slow else gr.skip()
                yield [_going(arm, k, len(arms)), gr.skip(), so_far, *drawn, gr.skip()]
                answers = lab.score(setting.model, arm, bench.requests(setting, arm))
                found.append(bench.measured(setting, arm, answers))
            said = block(paragraph(f"measured in {time.monotonic() - start:.1f} s", "quiet"))
            whole = bench.results(setting, found)
            yield [said, lab.read_as(setting), whole, *drawn, (setting, found)]
        except InputError as error:
            yield ["", "", block(notice(str(error))), "", "", None]

    def redraw(before: Kept, *v: Any) -> tuple[Any, Any, Any]:
        """Theory of another target; what was measured is held against it."""
        try:
            now = setting_of(*v)
            again: Any = gr.skip()
            if before is not None:
                was = replace(before[0], target=now.target, precision=now.precision)
                again = bench.results(was, before[1])
            return again, bench.theory(now), now.query()
        except InputError as error:
            return "", block(notice(str(error))), ""

    def reason(how_many: int, *v: Any) -> Iterator[tuple[str, str]]:
        """Page by page, so that it can be stopped between two."""
        try:
            setting = setting_of(*v)
            setting.check()
            found: list[bench.Measured] = []
            arms = bench.arms(setting, list(lab.of(setting.model)))
            for k, arm in enumerate(arms, start=1):
                answers: list[Answer] = []
                asked = bench.requests(setting, arm, "reasoned", int(how_many))
                for place, request in enumerate(asked):
                    said = _going(arm, k, len(arms), f"page {place + 1} of {len(asked)}")
                    yield said, bench.reasoning(setting, found, (arm, answers))
                    seed = seed_of(setting.layout, place)
                    answers += lab.score(setting.model, arm, [request], seed)
                found.append(bench.measured(setting, arm, answers, "reasoned"))
            yield "", bench.reasoning(setting, found)
        except InputError as error:
            yield "", block(notice(str(error)))

    shown = [status, page, results, theory, link, kept]
    quick: dict[str, Any] = {"trigger_mode": "always_last", **QUIET}
    measuring = []

    def then_measure(event: Any) -> None:
        measuring.append(event.then(measure, [kept, *every], shown, **quick))

    fields = (conditions, *points, *beliefs, *own, *other, menu, wording, layout)
    measuring.append(gr.on([x.input for x in fields], measure, [kept, *every], shown, **quick))
    gr.on(
        [x.input for x in (*values, precision)],
        redraw,
        [kept, *every],
        [results, theory, link],
        queue=False,
        **quick,
    )

    def of_instrument(name: str) -> tuple[Any, Any, Any]:
        return (
            gr.Group(visible=name == "game"),
            gr.Group(visible=name == "allocation"),
            gr.Dropdown(visible=name == "other page"),
        )

    boxes = [game_box, allocation_box, menu]
    then_measure(instrument.input(of_instrument, instrument, boxes, queue=False, **QUIET))

    def of_game(name: str) -> list[Any]:
        example = {"spd": (18, 9, 3, 2), "tg": (16, 10, 6, 4), "ug": (14, 10, 2, 6)}[name]
        sliders = [
            gr.Slider(visible=label is not None, label=label or "")
            for label in _belief_labels(name)
        ]
        return [*example, *sliders]

    last_game, event = on_choice(game, of_game, [*points, *beliefs])
    then_measure(event)

    def of_family(name: str) -> list[Any]:
        return _parameter_sliders(name, {"kappa": 0.5})

    last_family, event = on_choice(family, of_family, values)
    event.then(redraw, [kept, *every], [results, theory, link], queue=False, **QUIET)

    def of_model(name: str) -> list[Any]:
        return [gr.CheckboxGroup(choices=lab.conditions(name), value=["base"])]

    last_model, event = on_choice(model, of_model, [conditions])
    then_measure(event)
    writing = write.click(reason, [samples, *every], [doing, reasoning], **QUIET)
    link.change(None, link, None, js=KEEP_LINK)

    def again(name: str, chosen: list[str]) -> list[Any]:
        """Models and adapters that are there now; what was measured of them is measured anew."""
        lab.look()
        known = [v for _, v in lab.conditions(name)]
        return [
            gr.Dropdown(choices=lab.models, interactive=len(lab.models) > 1),
            gr.CheckboxGroup(choices=lab.conditions(name), value=[c for c in chosen if c in known]),
            None,
        ]

    then_measure(
        look.click(again, [model, conditions], [model, conditions, kept], queue=False, **QUIET)
    )

    def opened(request: gr.Request) -> list[Any]:
        """Every component as the link says; what is as at the start is left alone."""
        lab.look()
        query = dict(request.query_params)
        query.setdefault("model", lab.models[0])
        if "conditions" not in query:
            query["conditions"] = ",".join(["base", *list(lab.of(query["model"]))[:3]])
        try:
            s = Setting.of(query)
            if s.model not in lab.models:
                raise InputError(f"no adapter here was trained on {s.model!r}")
        except InputError as error:
            gr.Warning(html.escape(f"The link cannot be shown: {error}"))
            s = start
        known = [v for _, v in lab.conditions(s.model)]
        target = Target.parse(s.target)
        found = [
            gr.Dropdown(choices=lab.models, value=s.model, interactive=len(lab.models) > 1),
            gr.CheckboxGroup(
                choices=lab.conditions(s.model), value=[c for c in s.conditions if c in known]
            ),
            s.instrument,
            s.game,
            *s.points,
            *(
                gr.Slider(value=b, visible=label is not None, label=label or "")
                for b, label in zip(s.beliefs, _belief_labels(s.game), strict=False)
            ),
            *[gr.Slider()] * (3 - len(s.beliefs)),
            *s.own,
            *s.other,
            gr.Dropdown(value=s.menu, visible=s.instrument == "other page"),
            s.wording,
            s.layout,
            target.family,
            *_parameter_sliders(target.family, target.theta),
            s.precision,
            gr.Group(visible=s.instrument == "game"),
            gr.Group(visible=s.instrument == "allocation"),
            s.game,
            target.family,
            s.model,
        ]
        same = replace(s, model=start.model, conditions=start.conditions) == start
        return [*found[:2], *[gr.skip()] * (len(found) - 3), s.model] if same else found

    placed = [*every, game_box, allocation_box, last_game, last_family, last_model]
    then_measure(demo.load(opened, None, placed, **QUIET))
    stop.click(
        lambda: ("", _stopped()),
        None,
        [status, doing],
        queue=False,
        cancels=[writing, *measuring],
        **QUIET,
    )


def _going(arm: Condition, k: int, n: int, what: str = "") -> str:
    """What is being done: the k-th of n conditions."""
    return block(paragraph(f"{arm.name}, {k} of {n}{', ' if what else ''}{what} …", "quiet"))


def _stopped() -> str:
    return block(paragraph("stopped; what was done until then is kept", "quiet"))


def _belief_labels(game: str) -> list[str | None]:
    """What each slider says: of ten others, how many make the first move; None for a slider that is
    not used.
    """
    found: list[str | None] = []
    for info in GAMES[game].info_sets:
        found.append(
            f"Of 10 others, {info.actions[0]}"
            + (f" after {info.after[0]}" if info.after else " first")
        )
    return [*found, *[None] * (3 - len(found))]


def _parameter_sliders(family: str, values: dict[str, float]) -> list[Any]:
    names = FAMILIES[family].parameters
    found = [
        gr.Slider(0 if n == "kappa" else -1, 1, value=values.get(n, 0.0), label=n, visible=True)
        for n in names
    ]
    return [*found, *[gr.Slider(value=0, visible=False) for _ in range(PARAMETERS - len(names))]]


# --------------------------------------------------------------------------------------------- play


def _play(lab: Lab, demo: gr.Blocks, look: gr.Button) -> None:
    problems, answers, match = gr.State([]), gr.State([]), gr.State(None)
    gr.HTML(
        block(
            paragraph(
                "Decide as the models do: for both roles, before you know which one is yours. Your "
                "answers stay on this machine, "
                "and closing the tab deletes them."
            )
        )
    )
    with gr.Row():
        length = gr.Radio([("10 problems", 10), ("18 problems", 18)], value=18, label="Battery")
        told = gr.Radio(
            [("as stated on the page", "told"), ("as you expect them to be", "asked")],
            value="told",
            label="What others do",
        )
        number_of = gr.Number(
            0, label="Order and labels, number (0: by chance)", precision=0, minimum=0
        )
        begin = gr.Button("Begin", variant="primary", elem_id="play-begin")
    page = gr.HTML(elem_id="play-page")
    moves = [
        gr.Radio([], label=f"decision {k}", visible=False, elem_id=f"play-move-{k}")
        for k in range(3)
    ]
    expected = [gr.Slider(0, TENTHS, step=1, label=f"belief {k}", visible=False) for k in range(3)]
    with gr.Row():
        following = gr.Button("Next", variant="primary", visible=False, elem_id="play-next")
        enough = gr.Button("Estimate now", visible=False)
    outcome = gr.HTML(elem_id="play-estimates")

    def ask(todo: list[play.Problem], done: list[play.Answered], why: str = "") -> list[Any]:
        """The page of the next problem, or the estimates after the last one."""
        if len(done) == len(todo):
            text = _outcome(lab, done) if done else ""
            return [
                block(paragraph("That was the last one.", "big")) if done else "",
                *[gr.Radio(visible=False)] * 3,
                *[gr.Slider(visible=False)] * 3,
                gr.Button(visible=False),
                gr.Button(visible=False),
                text,
            ]
        problem = todo[len(done)]
        head = f"<h2>Problem {len(done) + 1} of {len(todo)}</h2>"
        radios = [
            gr.Radio(
                choices=list(q.options),
                label=q.text.removesuffix(" Reply with the letter only."),
                value=None,
                visible=True,
            )
            for q in problem.questions
        ]
        sets = len(GAMES[problem.protocol.game].info_sets)
        sliders = [
            gr.Slider(
                visible=problem.beliefs is None,
                value=TENTHS // 2,
                label=play.belief_text(problem, k) if problem.beliefs is None else "",
            )
            for k in range(sets)
        ]
        return [
            block(head, f"<pre>{esc(problem.page)}</pre>", notice(why) if why else ""),
            *radios,
            *[gr.Radio(visible=False)] * (3 - len(radios)),
            *sliders,
            *[gr.Slider(visible=False)] * (3 - sets),
            gr.Button(visible=True),
            gr.Button(visible=len(done) >= 6),
            "",
        ]

    def start(n: int, how: str, seed: int | None) -> list[Any]:
        chosen = int(seed) if seed else int(np.random.SeedSequence().generate_state(1)[0])
        todo = play.battery(int(n), how == "told", chosen)
        return [todo, [], *ask(todo, [])]

    def step(todo: list[play.Problem], done: list[play.Answered], *given: Any) -> list[Any]:
        if not todo or len(done) >= len(todo):
            return [done, *ask(todo, done)]
        problem = todo[len(done)]
        try:
            one = play.answer(problem, given[: len(problem.questions)], given[3:])
        except InputError as error:
            kept = ask(todo, done, str(error))
            return [
                done,
                kept[0],
                *[gr.Radio()] * 3,
                *[gr.Slider()] * 3,
                gr.Button(),
                gr.Button(),
                "",
            ]
        done = [*done, one]
        return [done, *ask(todo, done)]

    shown = [page, *moves, *expected, following, enough, outcome]
    begin.click(start, [length, told, number_of], [problems, answers, *shown], **QUIET)
    following.click(step, [problems, answers, *moves, *expected], [answers, *shown], **QUIET)
    enough.click(lambda done: safely(lambda: _outcome(lab, done)), answers, outcome, **QUIET)

    gr.HTML(block("<h2>Against a model</h2>"))
    with gr.Row():
        model = gr.Dropdown(lab.models, value=lab.models[0], label="Model")
        rival = gr.Dropdown(
            lab.agents(lab.models[0]), value=_first(lab), label="Who answers", elem_id="match-rival"
        )
        game = gr.Dropdown(
            [(g.title, g.name) for g in GAMES.values()], value="spd", label="Game", min_width=260
        )
        rounds = gr.Radio(
            [("once", 1), ("5 rounds", 5), ("10 rounds", 10)], value=1, label="How often"
        )
        first = gr.Radio(
            [("you", "you"), ("the model", "model")], value="you", label="Who moves first"
        )
        new = gr.Button("New match", variant="primary", elem_id="match-new")
    table_of = gr.HTML(elem_id="match-page")
    mine = gr.Radio([], label="Your move", visible=False, elem_id="match-move")
    go = gr.Button("Move", visible=False, elem_id="match-go")

    def advance(game_so_far: play.Match, name: str, who: str) -> list[Any]:
        said = ""
        while not game_so_far.over and not game_so_far.persons_turn:
            talk = game_so_far.conversation()
            (answer,) = lab.score(name, _condition(who), [Request(talk, None, None)])
            label = play.drawn(
                answer.probabilities, talk.questions[0].options, np.random.default_rng()
            )
            chance = float(answer.probabilities[talk.questions[0].options.index(label)])
            said = (
                f"{who} chose {label} (probability {chance:.2f}; an admissible reply had "
                f"{float(answer.valid[0]):.2f})."
            )
            game_so_far = game_so_far.move(label)
        shown_now = play.match_shown(game_so_far, who) + (block(paragraph(said)) if said else "")
        if game_so_far.over:
            return [game_so_far, shown_now, gr.Radio(visible=False), gr.Button(visible=False)]
        question = game_so_far.question
        label_now = question.text.removesuffix(" Reply with the letter only.")
        return [
            game_so_far,
            shown_now,
            gr.Radio(choices=list(question.options), value=None, label=label_now, visible=True),
            gr.Button(visible=True),
        ]

    def begin_match(name: str, who: str, which: str, how_often: int, starts: str) -> list[Any]:
        payoffs = {"spd": (90, 45, 15, 10), "tg": (80, 50, 30, 20), "ug": (70, 50, 10, 30)}[which]
        order = dict(zip("TRPS", payoffs, strict=True))
        seed = int(np.random.SeedSequence().generate_state(1)[0])
        try:
            protocol = Protocol(which, (order["T"], order["R"], order["P"], order["S"]))
            return advance(
                play.new_match(protocol, int(how_often), starts == "you", seed), name, who
            )
        except InputError as error:
            return [
                None,
                block(notice(str(error))),
                gr.Radio(visible=False),
                gr.Button(visible=False),
            ]

    def my_move(
        game_so_far: play.Match | None, label: str | None, name: str, who: str
    ) -> list[Any]:
        if game_so_far is None:
            return [
                None,
                block(notice("Begin a match first.")),
                gr.Radio(visible=False),
                gr.Button(visible=False),
            ]
        try:
            return advance(game_so_far.move(label or ""), name, who)
        except InputError as error:
            return [
                game_so_far,
                play.match_shown(game_so_far, who) + block(notice(str(error))),
                gr.Radio(),
                gr.Button(),
            ]

    place = [match, table_of, mine, go]
    new.click(begin_match, [model, rival, game, rounds, first], place, **QUIET)
    go.click(my_move, [match, mine, model, rival], place, **QUIET)

    def of_model(name: str) -> list[Any]:
        return [gr.Dropdown(choices=lab.agents(name), value="base")]

    on_choice(model, of_model, [rival])

    def again(name: str, chosen: str) -> list[Any]:
        lab.look()
        agents = lab.agents(name)
        kept = chosen if chosen in [v for _, v in agents] else "base"
        return [gr.Dropdown(choices=lab.models), gr.Dropdown(choices=agents, value=kept)]

    gr.on([demo.load, look.click], again, [model, rival], [model, rival], **QUIET)


def _first(lab: Lab) -> str:
    """The adapter that is offered first: one that was trained, where there is one."""
    return next(iter(lab.of(lab.models[0])), "base")


def _outcome(lab: Lab, done: list[play.Answered]) -> str:
    """Estimates beside those of models and of people, and the answers as a file."""
    others = [*play.model_estimates(lab.runs), *play.human_types()]
    text = base64.b64encode(play.long_csv(done, "you").encode()).decode()
    save = (
        f'<p><a download="my-choices.csv" href="data:text/csv;base64,{text}">Save your answers</a> '
        "for <code>econmoral fit my-choices.csv</code>.</p>"
    )
    return play.estimates_shown(done, others) + block(save)


# -------------------------------------------------------------------------------------- transcripts


def _transcripts(lab: Lab, demo: gr.Blocks, look: gr.Button) -> None:
    runs = lab.measurements(transcripts.RECORDS)
    run = gr.Dropdown(runs, value=runs[0] if runs else None, label="Run", elem_id="transcripts-run")
    frame = gr.HTML(elem_id="transcripts-frame")

    def show(name: str | None) -> str:
        if not name:
            return block(
                notice(f"There is no measurement under {lab.runs}; econmoral games writes one.")
            )
        return safely(lambda: _framed(lab.inside(name), name))

    _runs(lab, demo, look, run, frame, transcripts.RECORDS, show)


def _runs(
    lab: Lab,
    demo: gr.Blocks,
    look: gr.Button,
    run: gr.Dropdown,
    shown: gr.HTML,
    files: Sequence[str],
    show: Callable[[str | None], str],
) -> None:
    """Show the run that is chosen, on opening the page the first one, and look for new ones."""
    last, _ = on_choice(run, lambda name: [show(name)], [shown])

    def fresh(name: str | None) -> list[Any]:
        now = lab.measurements(files)
        chosen = name if name in now else (now[0] if now else None)
        return [gr.Dropdown(choices=now, value=chosen), chosen, show(chosen)]

    gr.on([demo.load, look.click], fresh, run, [run, last, shown], **QUIET)


def _framed(folder: Path, name: str) -> str:
    """The document of a run in a frame that may run its own script and nothing else."""
    entries, note = transcripts.entries_of(folder)
    text = transcripts.document(entries, f"Transcripts of {name}", note=note)
    command = f"econmoral transcripts {name}"
    style = "width:100%;height:80vh;border:1px solid var(--line)"
    frame = (
        f'<iframe title="Transcripts of {esc(name)}" sandbox="allow-scripts" style="{style}" '
        f'srcdoc="{html.escape(text)}"></iframe>'
    )
    return block(frame, f'<p class="quiet">The same as a file: <code>{esc(command)}</code></p>')


# ------------------------------------------------------------------------------------- faithfulness


def _faithfulness(lab: Lab, demo: gr.Blocks, look: gr.Button) -> None:
    files = ("choices.jsonl",)
    runs = lab.measurements(files)
    run = gr.Dropdown(runs, value=runs[0] if runs else None, label="Run")
    records = gr.HTML(elem_id="faithfulness-records")

    def show(name: str | None) -> str:
        if not name:
            return block(notice(f"There is no measurement under {lab.runs}."))
        return safely(lambda: _recited(lab.inside(name)))

    _runs(lab, demo, look, run, records, files, show)
    gr.HTML(
        block(
            "<h2>Does the answer follow the derivation?</h2>",
            paragraph(
                "The right derivation of one target, then of the other, is handed to the model on "
                "pages where their plans differ."
            ),
        )
    )
    with gr.Row():
        model = gr.Dropdown(lab.models, value=lab.models[0], label="Model")
        conditions = gr.CheckboxGroup(
            lab.agents(lab.models[0]),
            value=["base", *list(lab.of(lab.models[0]))[:3]],
            label="Conditions",
        )
        domain = gr.Radio(["games", "allocations"], value="games", label="Pages")
        one = gr.Textbox("homo_economicus", label="One target")
        two = gr.Textbox("homo_moralis:kappa=0.5", label="The other")
        pages = gr.Slider(4, 60, value=12, step=2, label="Number of pages")
    with gr.Row():
        go = gr.Button("Measure", variant="primary", elem_id="faithfulness-go")
        stop = gr.Button("Stop", elem_id="faithfulness-stop")
    doing = gr.HTML(elem_id="faithfulness-doing")
    handed = gr.HTML(elem_id="faithfulness-handed")

    def measure(
        name: str, chosen: list[str], kind: str, a: str, b: str, n: int
    ) -> Iterator[tuple[str, str]]:
        """A few pages at a time, so that it can be stopped; the table has the pages so far."""
        try:
            if not chosen:
                raise InputError("Choose at least one condition.")
            targets = (Target.parse(a), Target.parse(b))
            pairs = faithfulness.pairs_of(targets, kind, int(n))
            rows: dict[str, dict[str, Any]] = {}
            for k, who in enumerate(chosen, start=1):
                arm, both = _condition(who), []
                while len(both) < len(pairs):
                    done = f"{len(both)} of {len(pairs)} pages done"
                    yield _going(arm, k, len(chosen), done), _followed(rows)
                    some = pairs[len(both) : len(both) + PAIRS_AT_ONCE]
                    with lab.engines.of(name, lab.needed(name, arm.adapter)) as engine:
                        flat = faithfulness.after_derivation(
                            engine, [h for pair in some for h in pair], arm
                        )
                    both += zip(flat[::2], flat[1::2], strict=True)
                    rows[who] = {"arm": who, "targets": [t.label for t in targets]}
                    rows[who] |= faithfulness.follows(pairs[: len(both)], both)
            yield "", _followed(rows)
        except InputError as error:
            yield "", block(notice(str(error)))

    going = go.click(
        measure, [model, conditions, domain, one, two, pages], [doing, handed], **QUIET
    )
    stop.click(_stopped, None, doing, queue=False, cancels=[going], **QUIET)

    def of_model(name: str) -> list[Any]:
        return [gr.CheckboxGroup(choices=lab.agents(name), value=["base"])]

    on_choice(model, of_model, [conditions])

    def again(name: str, chosen: list[str]) -> list[Any]:
        lab.look()
        known = [v for _, v in lab.agents(name)]
        kept = [c for c in chosen if c in known]
        return [
            gr.Dropdown(choices=lab.models),
            gr.CheckboxGroup(choices=lab.agents(name), value=kept),
        ]

    gr.on([demo.load, look.click], again, [model, conditions], [model, conditions], **QUIET)


def _condition(who: str) -> Condition:
    """The base, or an adapter by name."""
    return Condition(who, None if who == "base" else who)


def _followed(rows: dict[str, dict[str, Any]]) -> str:
    if not rows:
        return ""
    frame = faithfulness.follows_frame(list(rows.values()))
    return block(_frame(frame, faithfulness.FOLLOWS_CAPTION))


def _recited(folder: Path) -> str:
    records, _ = transcripts.read_run(folder)
    trained, targets, missing = faithfulness.trained_and_targets(
        faithfulness.known_adapters(folder)
    )
    rows = faithfulness.of_records(records, trained, targets)
    said = [paragraph(f"No recitation of {line}.", "quiet") for line in missing]
    return block(_frame(faithfulness.records_frame(rows), faithfulness.RECORDS_CAPTION), *said)


def _frame(frame: Any, caption: str) -> str:
    """A data frame of text as a table."""
    return table(
        [esc(c) for c in frame.columns],
        [[esc(v) for v in row] for row in frame.itertuples(index=False)],
        caption,
    )


# ------------------------------------------------------------------------------------------- market


def _market(lab: Lab, demo: gr.Blocks, look: gr.Button) -> None:
    state = gr.State(None)

    def choices(name: str) -> list[tuple[str, str]]:
        return [
            (market.YOU, market.YOU),
            ("base", "base"),
            *((n, n) for n in lab.of(name)),
            *((f"scripted: {s}", s) for s in SCRIPTED),
        ]

    with gr.Row():
        model = gr.Dropdown(lab.models, value=lab.models[0], label="Model")
        one = gr.Dropdown(
            choices(lab.models[0]), value=market.YOU, label="Firm 1", elem_id="market-one"
        )
        two = gr.Dropdown(
            choices(lab.models[0]), value=_first(lab), label="Firm 2", elem_id="market-two"
        )
        wording = gr.Dropdown(
            [(n, k) for k, n in enumerate(market.wordings())], value=0, label="Wording"
        )
    grid = market.Play((market.YOU, market.YOU)).grid
    with gr.Row():
        new = gr.Button("New market", elem_id="market-new")
        price = gr.Dropdown(
            [f"{p:g}" for p in grid],
            value=f"{grid[len(grid) // 2]:g}",
            label="Your price, firm 1",
            elem_id="market-price",
        )
        second = gr.Dropdown(
            [f"{p:g}" for p in grid],
            value=f"{grid[len(grid) // 2]:g}",
            label="Your price, firm 2",
            visible=False,
        )
        step = gr.Button("Next period", variant="primary", elem_id="market-step")
        many = gr.Button("20 periods", elem_id="market-many")
        stop = gr.Button("Stop")
    shown = gr.HTML(elem_id="market-shown")

    def renewed(so_far: market.Play | None, a: str, b: str, words: int) -> list[Any]:
        """Another market where its firms or its words were changed: a field that is only left, by
        Tab too, changes nothing.
        """
        same = so_far is not None and (so_far.firms, so_far.wording) == ((a, b), int(words))
        return [gr.skip()] * 4 if same else begin(a, b, words)

    def begin(a: str, b: str, words: int) -> list[Any]:
        if not 0 <= int(words) < len(PRICE_WORDINGS):
            words = 0
        fresh = market.Play((a, b), int(np.random.SeedSequence().generate_state(1)[0]), int(words))
        return [
            fresh,
            market.shown(fresh),
            gr.Dropdown(visible=a == market.YOU),
            gr.Dropdown(visible=b == market.YOU),
        ]

    def period(so_far: market.Play, name: str, asked: tuple[str, str]) -> market.Play:
        prices, valid = [], []
        for firm, who in enumerate(so_far.firms):
            if who == market.YOU:
                prices.append(float(asked[firm]))
            elif who in SCRIPTED:
                prices.append(market.scripted(so_far, firm))
            else:
                talk = market.page_of(so_far, firm)
                (answer,) = lab.score(name, _condition(who), [Request(talk, None, None)])
                prices.append(market.drawn(so_far, firm, answer.probabilities))
                valid.append(float(answer.valid.mean()))
        return market.after(so_far, prices, valid)

    def go(
        so_far: market.Play | None,
        name: str,
        a: str,
        b: str,
        words: int,
        mine: str,
        other: str,
        periods: int,
    ) -> Iterator[list[Any]]:
        fresh = so_far is None or so_far.firms != (a, b) or so_far.wording != int(words)
        now = begin(a, b, words)[0] if fresh or so_far is None else so_far
        try:
            for _ in range(periods):
                now = period(now, name, (mine, other))
                yield [now, market.shown(now)]
        except InputError as error:
            yield [now, block(notice(str(error)))]

    def once(*v: Any) -> Iterator[list[Any]]:
        yield from go(*v, periods=1)

    def often(*v: Any) -> Iterator[list[Any]]:
        yield from go(*v, periods=20)

    inputs = [state, model, one, two, wording, price, second]
    step.click(once, inputs, [state, shown], **QUIET)
    going = many.click(often, inputs, [state, shown], **QUIET)
    stop.click(None, None, None, cancels=[going])
    firms, begun = [one, two, wording], [state, shown, price, second]
    new.click(begin, firms, begun, **QUIET)
    changes = [one.input, two.input, wording.input]
    gr.on(changes, renewed, [state, *firms], begun, **QUIET)

    def of_model(name: str) -> list[Any]:
        return [
            gr.Dropdown(choices=choices(name), value=market.YOU),
            gr.Dropdown(choices=choices(name), value="base"),
        ]

    _, event = on_choice(model, of_model, [one, two])
    event.then(renewed, [state, *firms], begun, **QUIET)
    demo.load(begin, firms, begun, **QUIET)

    def again(name: str, *chosen: str) -> list[Any]:
        lab.look()
        known = [v for _, v in choices(name)]
        kept = [c if c in known else "base" for c in chosen]
        return [
            gr.Dropdown(choices=lab.models),
            *(gr.Dropdown(choices=choices(name), value=c) for c in kept),
        ]

    gr.on([demo.load, look.click], again, [model, one, two], [model, one, two], **QUIET)


# -------------------------------------------------------------------------------------------- watch


def _watch(lab: Lab, demo: gr.Blocks, look: gr.Button) -> None:
    names = lab.trainings()
    with gr.Row():
        runs = gr.CheckboxGroup(names, value=names[:3], label="Training runs", elem_id="watch-runs")
        mode = gr.Radio(["direct", "reasoned"], value="direct", label="Asked")
        estimates = gr.Checkbox(
            False,
            label="Estimate the preference at every epoch (takes the processor)",
            elem_id="watch-estimates",
        )
    curves = gr.HTML(elem_id="watch-curves")
    stop = gr.Button("Stop estimating", visible=False, elem_id="watch-stop")
    revealed = gr.HTML(elem_id="watch-revealed")

    def read(chosen: list[str]) -> tuple[Any, str]:
        now = lab.trainings()
        kept = [c for c in chosen if c in now]
        return gr.CheckboxGroup(choices=now, value=kept), safely(
            lambda: watch.compared([watch.read_training(lab.inside(c)) for c in kept])
        )

    def estimate(chosen: list[str], how: str, wanted: bool) -> Iterator[str]:
        if not wanted:
            yield ""
            return
        try:
            for name in chosen:
                run = watch.read_training(lab.inside(name))
                for key, epoch, folder in _due(run, how):
                    place, stamp = (name, key, how), written(folder)
                    if place in lab.revealed and lab.revealed[place][0] == stamp:
                        continue
                    if place not in lab.answers or lab.answers[place][0] != stamp:
                        lab.answers[place] = (stamp, [])
                    # what was answered before it was stopped is there still
                    answers, requests = lab.answers[place][1], watch.battery_requests(how)
                    unique = f"{name}, {key}"
                    arm = Condition(unique, unique) if folder else Condition("base")
                    while len(answers) < len(requests):
                        done = f"{name}, {key}: {len(answers)} of {len(requests)} pages …"
                        yield _revealed(lab, chosen, how) + block(paragraph(done, "quiet"))
                        some = requests[len(answers) : len(answers) + BATTERY_AT_ONCE]
                        adapters = {unique: folder} if folder else {}
                        seed = seed_of(len(answers))
                        answers += lab.engines.score(run.model, adapters, some, arm, seed)
                    lab.revealed[place] = (stamp, watch.revealed(epoch, requests, answers))
        except (InputError, OSError) as error:  # a checkpoint may be removed while it is read
            yield _revealed(lab, chosen, how) + block(notice(str(error)))
            return
        yield _revealed(lab, chosen, how)

    runs.input(lambda chosen: read(chosen)[1], runs, curves, **QUIET)
    timer = gr.Timer(EVERY)
    # the list itself stays, and with it the focus
    timer.tick(lambda chosen: read(chosen)[1], runs, curves, **QUIET)
    estimating = gr.on(
        [timer.tick, estimates.input, mode.input],
        estimate,
        [runs, mode, estimates],
        revealed,
        concurrency_limit=1,
        trigger_mode="once",
        **QUIET,
    )
    estimates.input(lambda wanted: gr.Button(visible=wanted), estimates, stop, queue=False, **QUIET)
    stop.click(
        lambda: (False, gr.Button(visible=False)),
        None,
        [estimates, stop],
        queue=False,
        cancels=[estimating],
        **QUIET,
    )
    gr.on([demo.load, look.click], read, runs, [runs, curves], **QUIET)


def _due(run: watch.Training, how: str) -> list[tuple[str, float, Path | None]]:
    """(name, epoch, folder) of what can be measured of a run: its base, the checkpoints that are
    there, the finished adapter.
    """
    due: list[tuple[str, float, Path | None]] = [("base", 0.0, None)]
    due += [(f"step {c.step}", c.epoch, c.folder) for c in run.checkpoints]
    if run.state == "finished" and (run.folder / "adapter_config.json").is_file():
        epochs, _ = run.line("loss")
        due.append(("finished", max(epochs, default=1.0), run.folder))
    return due


def _revealed(lab: Lab, chosen: list[str], how: str) -> str:
    parts = []
    for name in chosen:
        parts.append(
            watch.parameters(
                [r for (n, _, h), (_, r) in lab.revealed.items() if (n, h) == (name, how)], name
            )
        )
    return "".join(parts)


# ------------------------------------------------------------------------------------------- launch


def launch(lab: Lab, host: str, port: int, password: str | None, wait: bool = True) -> Any:
    """Serve the page; returns Gradio's (app, local address, None) where it is not waited for."""
    from hmac import compare_digest

    def allowed(user: str, given: str) -> bool:
        return user == "lab" and compare_digest(given.encode(), (password or "").encode())

    return build(lab).launch(
        server_name=host,
        server_port=port,
        theme=THEME,
        css_paths=STYLE,
        auth=allowed if password else None,
        auth_message="User name: lab",
        share=False,
        footer_links=[],
        run_history=False,
        enable_monitoring=False,
        ssr_mode=False,
        mcp_server=False,
        pwa=False,
        show_error=True,
        quiet=True,
        prevent_thread_lock=not wait,
        inbrowser=False,
    )
