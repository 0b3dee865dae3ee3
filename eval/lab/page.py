"""The page itself: Gradio's components over the functions of this folder, and nothing that is worth
testing apart from a browser.

What a visitor does is kept in that visitor's own session; shared are the models, and estimates of
training checkpoints.
"""

from __future__ import annotations

import base64
import html
import os
from collections.abc import Callable, Iterator, Sequence
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
from ..engines import Condition, Request
from . import bench, market, play, watch
from .bench import Setting
from .engines import Adapter, Engines, adapters_in, folders
from .markup import block, esc, notice, paragraph, table

TABS = ("bench", "play", "transcripts", "faithfulness", "market", "watch")
# Gradio also selects a tab by itself when the page is opened: that one is not written into the
# link, which may name another
KEEP_TAB = (
    "() => {{ if (!window.labIsOpen) {{ window.labIsOpen = true; return; }}"
    " const u = new URL(location); u.searchParams.set('tab', '{}'); history.replaceState(null, '', "
    "u); }}"
)
KEEP_LINK = (
    "(q) => { const tab = new URLSearchParams(location.search).get('tab');"
    " const p = new URLSearchParams(q); if (tab) p.set('tab', tab); history.replaceState(null, '', "
    "'?' + p); }"
)
THEME = gr.themes.Base(
    primary_hue="blue",
    neutral_hue="gray",
    font=["system-ui", "sans-serif"],
    font_mono=["ui-monospace", "monospace"],
    radius_size="sm",
)
PARAMETERS = 4  # of the family with the most
EVERY = 4.0  # seconds between two looks at a training run
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
        self.runs, self.engines = runs, Engines()
        self.adapters: list[Adapter] = adapters_in(runs)
        known = [model] if model else []
        self.models = list(dict.fromkeys([*known, *(a.model for a in self.adapters), "nano"]))
        self.revealed: dict[tuple[str, str, str], watch.Revealed] = {}  # (run, checkpoint, mode)

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

    def score(self, model: str, arm: Condition, requests: Sequence[Request], seed: int = 0) -> Any:
        """Answers of one condition."""
        adapters = {arm.adapter: self.of(model)[arm.adapter]} if arm.adapter else {}
        return self.engines.score(model, adapters, requests, arm, seed)

    def measurements(self) -> list[str]:
        """Folders of measurements with transcripts, by their path under the runs' folder."""
        return [str(f.relative_to(self.runs)) for f in folders(self.runs, "choices.jsonl")]

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

    def measure(self, setting: Setting) -> list[bench.Measured]:
        """Every condition of a setting, decisions alone."""
        setting.check()
        found = []
        for arm in bench.arms(setting, list(self.of(setting.model))):
            answers = self.score(setting.model, arm, bench.requests(setting, arm))
            found.append(bench.measured(setting, arm, answers))
        return found

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
        gr.HTML(block("<h1>econmoral lab</h1>"))
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
                    fill(lab, demo)
                tab.select(None, js=KEEP_TAB.format(name))

        def opened(request: gr.Request) -> Any:
            asked = dict(request.query_params).get("tab", "bench")
            return gr.Tabs(selected=asked if asked in TABS else "bench")

        demo.load(opened, None, tabs, queue=False, show_progress="hidden")
    return demo


# -------------------------------------------------------------------------------------------- bench


def _bench(lab: Lab, demo: gr.Blocks) -> None:
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
    reasoning = gr.HTML(elem_id="bench-reasoning")
    link, kept = gr.Textbox(visible=False), gr.State([])
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

    def measure(*v: Any) -> tuple[str, str, str, str, list[bench.Measured]]:
        try:
            setting = setting_of(*v)
            found = lab.measure(setting)
        except InputError as error:
            return "", block(notice(str(error))), "", "", []
        return (
            lab.read_as(setting),
            bench.results(setting, found),
            bench.theory(setting),
            setting.query(),
            found,
        )

    def redraw(found: list[bench.Measured], *v: Any) -> tuple[str, str, str]:
        try:
            setting = setting_of(*v)
            return bench.results(setting, found), bench.theory(setting), setting.query()
        except InputError as error:
            return "", block(notice(str(error))), ""

    def reason(how_many: int, *v: Any) -> Iterator[str]:
        try:
            setting = setting_of(*v)
            setting.check()
            found: list[bench.Measured] = []
            arms = bench.arms(setting, list(lab.of(setting.model)))
            for k, arm in enumerate(arms, start=1):
                yield block(
                    paragraph(f"{arm.name} writes ({k} of {len(arms)}) …", "big")
                ) + bench.reasoning(setting, found)
                answers = lab.score(
                    setting.model,
                    arm,
                    bench.requests(setting, arm, "reasoned", int(how_many)),
                    seed=setting.layout,
                )
                found.append(bench.measured(setting, arm, answers, "reasoned"))
            yield bench.reasoning(setting, found)
        except InputError as error:
            yield block(notice(str(error)))

    shown = [page, results, theory, link, kept]
    quick: dict[str, Any] = {"trigger_mode": "always_last", "show_progress": "hidden"}
    gr.on(
        [x.input for x in (conditions, *points, *beliefs, *own, *other, menu, wording, layout)],
        measure,
        every,
        shown,
        **quick,
    )
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
    instrument.input(of_instrument, instrument, boxes, queue=False, show_progress="hidden").then(
        measure, every, shown, **quick
    )

    def of_game(name: str) -> list[Any]:
        example = {"spd": (18, 9, 3, 2), "tg": (16, 10, 6, 4), "ug": (14, 10, 2, 6)}[name]
        sliders = [
            gr.Slider(visible=label is not None, label=label or "")
            for label in _belief_labels(name)
        ]
        return [*example, *sliders]

    game.input(of_game, game, [*points, *beliefs], queue=False, show_progress="hidden").then(
        measure, every, shown, **quick
    )

    def of_family(name: str) -> list[Any]:
        return _parameter_sliders(name, {"kappa": 0.5})

    family.input(of_family, family, values, queue=False, show_progress="hidden").then(
        redraw, [kept, *every], [results, theory, link], queue=False, show_progress="hidden"
    )

    def of_model(name: str) -> Any:
        return gr.CheckboxGroup(choices=lab.conditions(name), value=["base"])

    model.input(of_model, model, conditions, queue=False, show_progress="hidden").then(
        measure, every, shown, **quick
    )
    writing = write.click(reason, [samples, *every], reasoning)
    stop.click(None, None, None, cancels=[writing])
    link.change(None, link, None, js=KEEP_LINK)

    def opened(request: gr.Request) -> list[Any]:
        """Every component as the link says."""
        query = dict(request.query_params)
        query.setdefault("model", lab.models[0])
        if "conditions" not in query:
            query["conditions"] = ",".join(["base", *list(lab.of(query["model"]))[:3]])
        try:
            s = Setting.of(query)
            if s.model not in lab.models:
                raise InputError(f"model {s.model!r} was not offered when the lab was started")
        except InputError as error:
            gr.Warning(html.escape(f"The link cannot be shown: {error}"))
            s = start
        known = [v for _, v in lab.conditions(s.model)]
        target = Target.parse(s.target)
        return [
            gr.Dropdown(value=s.model),
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
        ]

    demo.load(opened, None, [*every, game_box, allocation_box], show_progress="hidden").then(
        measure, every, shown, **quick
    )


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


def _play(lab: Lab, demo: gr.Blocks) -> None:
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
    hidden: dict[str, Any] = {"show_progress": "hidden"}
    begin.click(start, [length, told, number_of], [problems, answers, *shown], **hidden)
    following.click(step, [problems, answers, *moves, *expected], [answers, *shown], **hidden)
    enough.click(lambda done: safely(lambda: _outcome(lab, done)), answers, outcome, **hidden)

    gr.HTML(block("<h2>Against a model</h2>"))
    with gr.Row():
        model = gr.Dropdown(lab.models, value=lab.models[0], label="Model")
        rival = gr.Dropdown(
            [c for c in lab.conditions(lab.models[0]) if c[1] != "told"],
            value=_first(lab),
            label="Who answers",
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
            (answer,) = lab.score(
                name, Condition(who, None if who == "base" else who), [Request(talk, None, None)]
            )
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
    new.click(begin_match, [model, rival, game, rounds, first], place, **hidden)
    go.click(my_move, [match, mine, model, rival], place, **hidden)

    def of_model(name: str) -> Any:
        return gr.Dropdown(
            choices=[c for c in lab.conditions(name) if c[1] != "told"], value="base"
        )

    model.input(of_model, model, rival, queue=False, **hidden)


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


def _transcripts(lab: Lab, demo: gr.Blocks) -> None:
    runs = lab.measurements()
    with gr.Row():
        run = gr.Dropdown(
            runs, value=runs[0] if runs else None, label="Run", elem_id="transcripts-run"
        )
        again = gr.Button("Look again")
    frame = gr.HTML(elem_id="transcripts-frame")

    def show(name: str | None) -> str:
        if not name:
            return block(
                notice(
                    f"There is no measurement under {lab.runs}; python -m eval.games writes one."
                )
            )
        return safely(lambda: _framed(lab.inside(name), name))

    run.input(show, run, frame)
    demo.load(lambda: show(runs[0] if runs else None), None, frame, show_progress="hidden")

    def fresh(name: str | None) -> tuple[Any, str]:
        now = lab.measurements()
        chosen = name if name in now else (now[0] if now else None)
        return gr.Dropdown(choices=now, value=chosen), show(chosen)

    again.click(fresh, run, [run, frame])


def _framed(folder: Path, name: str) -> str:
    """The document of a run in a frame that may run its own script and nothing else."""
    records, stated = transcripts.read_run(folder)
    text = transcripts.document(transcripts.problems(records, stated), f"Transcripts of {name}")
    command = f"econmoral transcripts {name}"
    style = "width:100%;height:80vh;border:1px solid var(--line)"
    frame = (
        f'<iframe title="Transcripts of {esc(name)}" sandbox="allow-scripts" style="{style}" '
        f'srcdoc="{html.escape(text)}"></iframe>'
    )
    return block(frame, f'<p class="quiet">The same as a file: <code>{esc(command)}</code></p>')


# ------------------------------------------------------------------------------------- faithfulness


def _faithfulness(lab: Lab, demo: gr.Blocks) -> None:
    runs = lab.measurements()
    run = gr.Dropdown(runs, value=runs[0] if runs else None, label="Run")
    records = gr.HTML(elem_id="faithfulness-records")

    def show(name: str | None) -> str:
        if not name:
            return block(notice(f"There is no measurement under {lab.runs}."))
        return safely(lambda: _recited(lab.inside(name)))

    run.input(show, run, records)
    demo.load(lambda: show(runs[0] if runs else None), None, records, show_progress="hidden")

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
            [c for c in lab.conditions(lab.models[0]) if c[1] != "told"],
            value=["base", *list(lab.of(lab.models[0]))[:3]],
            label="Conditions",
        )
        domain = gr.Radio(["games", "allocations"], value="games", label="Pages")
        one = gr.Textbox("homo_economicus", label="One target")
        two = gr.Textbox("homo_moralis:kappa=0.5", label="The other")
        pages = gr.Slider(4, 60, value=12, step=2, label="Number of pages")
    with gr.Row():
        go = gr.Button("Measure", variant="primary", elem_id="faithfulness-go")
        stop = gr.Button("Stop")
    handed = gr.HTML(elem_id="faithfulness-handed")

    def measure(name: str, chosen: list[str], kind: str, a: str, b: str, n: int) -> Iterator[str]:
        try:
            targets = (Target.parse(a), Target.parse(b))
            pairs = faithfulness.pairs_of(targets, kind, int(n))
            rows: list[dict[str, Any]] = []
            for k, who in enumerate(chosen, start=1):
                yield block(paragraph(f"{who} ({k} of {len(chosen)}) …", "big"))
                adapters = {} if who == "base" else {who: lab.of(name)[who]}
                arm = Condition(who, None if who == "base" else who)
                with lab.engines.of(name, adapters) as engine:
                    flat = faithfulness.after_derivation(
                        engine, [h for pair in pairs for h in pair], arm
                    )
                both = list(zip(flat[::2], flat[1::2], strict=True))
                rows.append(
                    {
                        "arm": who,
                        "targets": [t.label for t in targets],
                        **faithfulness.follows(pairs, both),
                    }
                )
            yield (
                block(_frame(faithfulness.follows_frame(rows), faithfulness.FOLLOWS_CAPTION))
                if rows
                else block(notice("Choose at least one condition."))
            )
        except InputError as error:
            yield block(notice(str(error)))

    going = go.click(measure, [model, conditions, domain, one, two, pages], handed)
    stop.click(None, None, None, cancels=[going])

    def of_model(name: str) -> Any:
        return gr.CheckboxGroup(
            choices=[c for c in lab.conditions(name) if c[1] != "told"], value=["base"]
        )

    model.input(of_model, model, conditions, queue=False, show_progress="hidden")


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


def _market(lab: Lab, demo: gr.Blocks) -> None:
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
                (answer,) = lab.score(
                    name,
                    Condition(who, None if who == "base" else who),
                    [Request(talk, None, None)],
                )
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
    hidden: dict[str, Any] = {"show_progress": "hidden"}
    step.click(once, inputs, [state, shown], **hidden)
    going = many.click(often, inputs, [state, shown], **hidden)
    stop.click(None, None, None, cancels=[going])
    gr.on(
        [new.click, one.input, two.input, wording.input],
        begin,
        [one, two, wording],
        [state, shown, price, second],
        **hidden,
    )

    def of_model(name: str) -> tuple[Any, Any]:
        return gr.Dropdown(choices=choices(name), value=market.YOU), gr.Dropdown(
            choices=choices(name), value="base"
        )

    model.input(of_model, model, [one, two], queue=False, **hidden).then(
        begin, [one, two, wording], [state, shown, price, second], **hidden
    )
    demo.load(begin, [one, two, wording], [state, shown, price, second], **hidden)


# -------------------------------------------------------------------------------------------- watch


def _watch(lab: Lab, demo: gr.Blocks) -> None:
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
    revealed = gr.HTML(elem_id="watch-revealed")

    def look(chosen: list[str]) -> tuple[Any, str]:
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
                    if (name, key, how) not in lab.revealed:
                        yield _revealed(lab, chosen, how) + block(
                            paragraph(f"{name}: {key} is measured …", "quiet")
                        )
                        requests = watch.battery_requests(how)
                        unique = f"{name}, {key}"
                        arm = Condition(unique, unique) if folder else Condition("base")
                        answers = lab.engines.score(
                            run.model, {unique: folder} if folder else {}, requests, arm
                        )
                        lab.revealed[name, key, how] = watch.revealed(epoch, requests, answers)
        except (InputError, OSError) as error:  # a checkpoint may be removed while it is read
            yield _revealed(lab, chosen, how) + block(notice(str(error)))
            return
        yield _revealed(lab, chosen, how)

    hidden: dict[str, Any] = {"show_progress": "hidden"}
    runs.input(lambda chosen: look(chosen)[1], runs, curves, **hidden)
    timer = gr.Timer(EVERY)
    timer.tick(
        lambda chosen: look(chosen)[1], runs, curves, **hidden
    )  # the list itself stays, and with it the focus
    gr.on(
        [timer.tick, estimates.input, mode.input],
        estimate,
        [runs, mode, estimates],
        revealed,
        concurrency_limit=1,
        trigger_mode="once",
        **hidden,
    )
    demo.load(look, runs, [runs, curves], **hidden)


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
                [r for (n, _, h), r in lab.revealed.items() if n == name and h == how], name
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
