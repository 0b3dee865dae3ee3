"""The page's part for trainings: their curves, and what the choices of their checkpoints reveal."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import gradio as gr

from econmoral.files.records import InputError
from econmoral.text.conversation import Mode

from ..conditions import BASE
from ..engines.base import Answer, Condition, seed_of
from . import watch
from .engines import written
from .markup import block, paragraph
from .shared import Lab
from .widgets import QUIET, UNQUEUED, Shown, Stop, refused, safely, stopped

EVERY = 4.0  # seconds between two looks at a training run
PAGES_AT_ONCE = 6  # pages of the battery: between two batches the work can be stopped


@dataclass(frozen=True)
class Due:
    """What can be measured of a run: its base (no folder), or an adapter after so many epochs."""

    run: str
    name: str
    epoch: float
    folder: Path | None

    @property
    def unique(self) -> str:
        """The name of the adapter among those of all runs."""
        return f"{self.run}, {self.name}"


@dataclass
class Battery:
    """Answers to the battery so far, of weights written at ``stamp``; what they reveal, once all
    are there.
    """

    stamp: int
    answers: list[Answer] = field(default_factory=list)
    revealed: watch.Revealed | None = None


class Watch:
    """Training runs to choose, their curves, and estimates on request."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.batteries: dict[tuple[str, str, Mode], Battery] = {}  # (run, checkpoint, mode)
        names = lab.trainings()
        with gr.Row():
            self.runs = gr.CheckboxGroup(
                names, value=names[:3], label="Training runs", elem_id="watch-runs"
            )
            self.mode = gr.Radio(["direct", "reasoned"], value="direct", label="Asked")
            self.wanted = gr.Checkbox(
                False,
                label="Estimate the preference at every epoch (takes the processor)",
                elem_id="watch-estimates",
            )
        self.curves = gr.HTML(elem_id="watch-curves")
        self.stop = Stop("watch-stop", "Stop estimating")
        self.doing = gr.HTML(elem_id="watch-doing")
        self.revealed = gr.HTML(elem_id="watch-revealed")

    def connect(self, demo: gr.Blocks, look: gr.Button) -> None:
        """Say what happens when the part is used."""
        timer = gr.Timer(EVERY)
        self.runs.input(self.read, self.runs, self.curves, **QUIET)
        # the list itself stays, and with it the focus
        timer.tick(self.read, self.runs, self.curves, **QUIET)
        gr.on(
            [timer.tick, self.wanted.input, self.mode.input],
            self.estimate,
            [self.runs, self.mode, self.wanted],
            [self.doing, self.revealed],
            concurrency_limit=1,
            trigger_mode="once",
            **QUIET,
        )
        self.wanted.input(self.wish, self.wanted, self.doing, **UNQUEUED)
        self.stop.connect(self.doing)
        self.stop.button.click(lambda: False, None, self.wanted, **UNQUEUED)
        shown = [self.runs, self.curves]
        gr.on([demo.load, look.click], self.again, self.runs, shown, **QUIET)

    def again(self, chosen: list[str]) -> Shown:
        """The runs that there are now, and their curves."""
        now = self.lab.trainings()
        kept = [c for c in chosen if c in now]
        return {self.runs: gr.CheckboxGroup(choices=now, value=kept), self.curves: self.read(kept)}

    def read(self, chosen: list[str]) -> str:
        """The curves of the chosen runs, those that are still there."""
        now = self.lab.trainings()
        kept = [self.lab.inside(c) for c in chosen if c in now]
        return safely(lambda: watch.compared([watch.read_training(folder) for folder in kept]))

    def wish(self, wanted: bool, request: gr.Request) -> str:
        """Estimating ends, too, when estimates are no longer wanted."""
        return "" if wanted else self.stop.press(request)

    def estimate(
        self, chosen: list[str], mode: Mode, wanted: bool, request: gr.Request
    ) -> Iterator[Shown]:
        """What every checkpoint's choices reveal, a few pages at a time, so that it can be stopped;
        what was answered before it was stopped is there still.
        """
        if not wanted:
            yield {self.revealed: self.estimates(chosen, mode)}
            return
        try:
            with self.stop.work(request) as stop:
                for said in self.asking(chosen, mode):
                    doing = stopped() if said and stop.is_set() else said
                    yield {self.doing: doing, self.revealed: self.estimates(chosen, mode)}
                    if stop.is_set():
                        return
        except (InputError, OSError) as error:  # a checkpoint may be removed while it is read
            yield {self.doing: refused(error), self.revealed: self.estimates(chosen, mode)}

    def asking(self, chosen: list[str], mode: Mode) -> Iterator[str]:
        """What is being done, before every few pages and after the last."""
        for name in chosen:
            run = watch.read_training(self.lab.inside(name))
            for due in due_of(run, name):
                for said in self.ask(run.model, due, mode):
                    yield block(paragraph(said, "quiet"))
        yield ""

    def ask(self, model: str, due: Due, mode: Mode) -> Iterator[str]:
        """Ask a checkpoint what of the battery it has not answered yet; how far it is."""
        place, stamp = (due.run, due.name, mode), written(due.folder)
        if place not in self.batteries or self.batteries[place].stamp != stamp:
            self.batteries[place] = Battery(stamp)
        battery = self.batteries[place]
        if battery.revealed is not None:
            return
        requests = watch.battery_requests(mode)
        arm = Condition(due.unique, due.unique) if due.folder else BASE
        adapters = {due.unique: due.folder} if due.folder else {}
        while len(battery.answers) < len(requests):
            done = len(battery.answers)
            yield f"{due.unique}: {done} of {len(requests)} pages …"
            some = requests[done : done + PAGES_AT_ONCE]
            battery.answers += self.lab.engines.score(model, adapters, some, arm, seed_of(done))
        battery.revealed = watch.revealed(due.epoch, requests, battery.answers)

    def estimates(self, chosen: list[str], mode: Mode) -> str:
        """What is revealed so far, run by run."""
        parts = []
        for name in chosen:
            found = [
                battery.revealed
                for (run, _, asked), battery in self.batteries.items()
                if (run, asked) == (name, mode) and battery.revealed is not None
            ]
            parts.append(watch.parameters(found, name))
        return "".join(parts)


def due_of(run: watch.Training, name: str) -> list[Due]:
    """What can be measured of a run: its base, the checkpoints that are there, the finished
    adapter.
    """
    due = [Due(name, "base", 0.0, None)]
    due += [Due(name, f"step {c.step}", c.epoch, c.folder) for c in run.checkpoints]
    if run.state == "finished" and (run.folder / "adapter_config.json").is_file():
        epochs, _ = run.line("loss")
        due.append(Due(name, "finished", max(epochs, default=1.0), run.folder))
    return due
