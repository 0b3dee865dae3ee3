"""The page's part to play oneself: the battery with one's own estimates, and a match against a
model.
"""

from __future__ import annotations

import base64

import gradio as gr
import numpy as np

from econmoral.economics.games import GAMES, Protocol
from econmoral.files.records import InputError
from econmoral.instruments.games import TENTHS
from econmoral.text.conversation import Question

from ..engines.base import Request
from . import match as games
from . import play
from .markup import block, esc, notice, paragraph
from .shared import Lab, condition
from .widgets import QUIET, Given, Shown, agent_list, on_choice, refused, safely

MOST = 3  # decisions on one page
ENOUGH = 6  # answers from which estimates are offered
POINTS = {  # T, R, P, S of a match, in payoff units
    "spd": (90, 45, 15, 10),
    "tg": (80, 50, 30, 20),
    "ug": (70, 50, 10, 30),
}
PROMISE = (
    "Decide as the models do: for both roles, before you know which one is yours. Your answers "
    "stay on this machine, and closing the tab deletes them."
)


class Play:
    """The two halves of the part."""

    def __init__(self, lab: Lab) -> None:
        self.battery = Battery(lab)
        gr.HTML(block("<h2>Against a model</h2>"))
        self.match = Match(lab)

    def connect(self, demo: gr.Blocks, look: gr.Button) -> None:
        """Say what happens when the part is used."""
        self.battery.connect()
        self.match.connect(demo, look)


class Battery:
    """Ten or eighteen decision problems, one after the other, then estimates."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.problems, self.answers = gr.State([]), gr.State([])
        gr.HTML(block(paragraph(PROMISE)))
        with gr.Row():
            self.length = gr.Radio(
                [("10 problems", 10), ("18 problems", 18)], value=18, label="Battery"
            )
            self.told = gr.Radio(
                [("as stated on the page", "told"), ("as you expect them to be", "asked")],
                value="told",
                label="What others do",
            )
            self.number = gr.Number(
                0, label="Order and labels, number (0: by chance)", precision=0, minimum=0
            )
            self.begin = gr.Button("Begin", variant="primary", elem_id="play-begin")
        self.page = gr.HTML(elem_id="play-page")
        self.moves = [
            gr.Radio([], label=f"decision {k}", visible=False, elem_id=f"play-move-{k}")
            for k in range(MOST)
        ]
        self.beliefs = [
            gr.Slider(0, TENTHS, step=1, label=f"belief {k}", visible=False) for k in range(MOST)
        ]
        with gr.Row():
            self.next = gr.Button("Next", variant="primary", visible=False, elem_id="play-next")
            self.enough = gr.Button("Estimate now", visible=False)
        self.outcome = gr.HTML(elem_id="play-estimates")

    def connect(self) -> None:
        """Say what happens when the battery is used."""
        fields = [*self.moves, *self.beliefs]
        shown = [self.answers, self.page, *fields, self.next, self.enough, self.outcome]
        begun = {self.length, self.told, self.number}
        self.begin.click(self.start, begun, [self.problems, *shown], **QUIET)
        self.next.click(self.step, {self.problems, self.answers, *fields}, shown, **QUIET)
        self.enough.click(self.estimate, self.answers, self.outcome, **QUIET)

    def start(self, given: Given) -> Shown:
        """The first problem of a battery."""
        seed = int(given[self.number] or np.random.SeedSequence().generate_state(1)[0])
        problems = play.battery(int(given[self.length]), given[self.told] == "told", seed)
        return {self.problems: problems, self.answers: [], **self.asked(problems, [])}

    def step(self, given: Given) -> Shown:
        """The next problem, or what is missing on this one."""
        problems, answers = given[self.problems], given[self.answers]
        if len(answers) >= len(problems):
            return self.asked(problems, answers)
        problem = problems[len(answers)]
        labels = [given[m] for m in self.moves[: len(problem.questions)]]
        try:
            one = play.answer(problem, labels, [given[b] for b in self.beliefs])
        except InputError as error:
            return {self.page: headed(problems, answers, str(error)), self.outcome: ""}
        answers = [*answers, one]
        return {self.answers: answers, **self.asked(problems, answers)}

    def asked(self, problems: list[play.Problem], answers: list[play.Answered]) -> Shown:
        """The page of the next problem, or the estimates after the last one."""
        if len(answers) == len(problems):
            hidden = [*self.moves, *self.beliefs, self.next, self.enough]
            return {
                **{field: gr.update(visible=False) for field in hidden},
                self.page: block(paragraph("That was the last one.", "big")) if answers else "",
                self.outcome: outcome(self.lab, answers) if answers else "",
            }
        problem = problems[len(answers)]
        return {
            **dict.fromkeys([*self.moves, *self.beliefs], gr.update(visible=False)),
            **dict(zip(self.moves, radios(problem), strict=False)),
            **dict(zip(self.beliefs, sliders(problem), strict=False)),
            self.page: headed(problems, answers),
            self.next: gr.Button(visible=True),
            self.enough: gr.Button(visible=len(answers) >= ENOUGH),
            self.outcome: "",
        }

    def estimate(self, answers: list[play.Answered]) -> str:
        """Estimates before the last problem."""
        return safely(lambda: outcome(self.lab, answers))


def headed(problems: list[play.Problem], answers: list[play.Answered], why: str = "") -> str:
    """The page of the next problem under its number.  why : what is missing on it."""
    head = f"<h2>Problem {len(answers) + 1} of {len(problems)}</h2>"
    page = esc(problems[len(answers)].page)
    return block(head, f"<pre>{page}</pre>", notice(why) if why else "")


def move_of(question: Question) -> gr.Radio:
    """What is asked, with its options."""
    label = question.text.removesuffix(" Reply with the letter only.")
    return gr.Radio(choices=list(question.options), value=None, label=label, visible=True)


def radios(problem: play.Problem) -> list[gr.Radio]:
    """A problem's decisions, in the order of the page."""
    return [move_of(question) for question in problem.questions]


def sliders(problem: play.Problem) -> list[gr.Slider]:
    """What others are expected to do, where the page does not state it."""
    if problem.beliefs is not None:
        return []
    sets = len(GAMES[problem.protocol.game].info_sets)
    return [
        gr.Slider(visible=True, value=TENTHS // 2, label=play.belief_text(problem, k))
        for k in range(sets)
    ]


def outcome(lab: Lab, answers: list[play.Answered]) -> str:
    """Estimates beside those of models and of people, and the answers as a file."""
    others = [*play.model_estimates(lab.runs), *play.human_types()]
    text = base64.b64encode(play.long_csv(answers, "you").encode()).decode()
    save = (
        f'<p><a download="my-choices.csv" href="data:text/csv;base64,{text}">Save your answers</a> '
        "for <code>econmoral fit my-choices.csv</code>.</p>"
    )
    return play.estimates_shown(answers, others) + block(save)


class Match:
    """A game against a model, once or again and again."""

    def __init__(self, lab: Lab) -> None:
        self.lab, self.state = lab, gr.State(None)
        first = lab.models[0]
        with gr.Row():
            self.model = gr.Dropdown(lab.models, value=first, label="Model")
            self.rival = gr.Dropdown(
                lab.agents(first), value=lab.rival(), label="Who answers", elem_id="match-rival"
            )
            titles = [(g.title, g.name) for g in GAMES.values()]
            self.game = gr.Dropdown(titles, value="spd", label="Game", min_width=300)
            self.rounds = gr.Radio(
                [("once", 1), ("5 rounds", 5), ("10 rounds", 10)], value=1, label="How often"
            )
            self.first = gr.Radio(
                [("you", "you"), ("the model", "model")], value="you", label="Who moves first"
            )
            self.new = gr.Button("New match", variant="primary", elem_id="match-new")
        self.page = gr.HTML(elem_id="match-page")
        self.mine = gr.Radio([], label="Your move", visible=False, elem_id="match-move")
        self.go = gr.Button("Move", visible=False, elem_id="match-go")

    def connect(self, demo: gr.Blocks, look: gr.Button) -> None:
        """Say what happens when the match is used."""
        shown = [self.state, self.page, self.mine, self.go]
        begun = {self.model, self.rival, self.game, self.rounds, self.first}
        self.new.click(self.begin, begun, shown, **QUIET)
        moved = {self.state, self.mine, self.model, self.rival}
        self.go.click(self.move, moved, shown, **QUIET)
        on_choice(self.model, self.of_model, [self.rival])
        lists = [self.model, self.rival]
        gr.on([demo.load, look.click], self.again, lists, lists, **QUIET)

    def of_model(self, model: str) -> Shown:
        """Who answers of another model."""
        return {self.rival: agent_list(self.lab.agents(model))}

    def again(self, model: str, chosen: str) -> Shown:
        """Models and adapters that are there now."""
        self.lab.look()
        return {
            self.model: gr.Dropdown(choices=self.lab.models),
            self.rival: agent_list(self.lab.agents(model), chosen),
        }

    def begin(self, given: Given) -> Shown:
        """A new match, up to the person's first move."""
        t, r, p, s = POINTS[given[self.game]]
        seed = int(np.random.SeedSequence().generate_state(1)[0])
        match = games.new_match(
            Protocol(given[self.game], (t, r, p, s)),
            int(given[self.rounds]),
            given[self.first] == "you",
            seed,
        )
        try:
            return self.advanced(match, given[self.model], given[self.rival])
        except InputError as error:
            return {self.state: None, self.page: refused(error), **self.no_move()}

    def move(self, given: Given) -> Shown:
        """The match after a move of the person, up to the next one."""
        match: games.Match | None = given[self.state]
        if match is None:
            return {self.page: block(notice("Begin a match first.")), **self.no_move()}
        who = given[self.rival]
        try:
            return self.advanced(match.move(given[self.mine] or ""), given[self.model], who)
        except InputError as error:
            return {self.page: games.match_shown(match, who) + refused(error)}

    def advanced(self, match: games.Match, model: str, who: str) -> Shown:
        """The match after all moves of the model that come now."""
        said = ""
        while not match.over and not match.persons_turn:
            match, said = self.answered(match, model, who)
        shown = {self.state: match, self.page: games.match_shown(match, who) + said}
        if match.over:
            return {**shown, **self.no_move()}
        return {**shown, self.mine: move_of(match.question), self.go: gr.Button(visible=True)}

    def answered(self, match: games.Match, model: str, who: str) -> tuple[games.Match, str]:
        """The match after one move of the model, and what is said of it."""
        talk = match.conversation()
        (answer,) = self.lab.score(model, condition(who), [Request(talk, None, None)])
        assert answer.probabilities is not None  # an engine on this machine loses none
        options = talk.questions[0].options
        label = games.drawn(answer.probabilities, options, np.random.default_rng())
        chance, valid = answer.probabilities[options.index(label)], answer.valid[0]
        return match.move(label), block(
            paragraph(
                f"{who} chose {label} (probability {float(chance):.2f}; an admissible reply had "
                f"{float(valid):.2f})."
            )
        )

    def no_move(self) -> Shown:
        """Nothing to choose."""
        return {self.mine: gr.Radio(visible=False), self.go: gr.Button(visible=False)}
