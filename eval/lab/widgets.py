"""What several parts of the page do with Gradio: events that act once, lists that are looked for
again, lines that say what goes on.

A callback takes the values of components by component (Gradio does so where the inputs are a set)
and gives back what is shown from then on, by component; what it does not name stays.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from threading import Event
from typing import Any

import gradio as gr

from econmoral.files.records import InputError

from .markup import block, notice, paragraph
from .shared import Lab, Options

Given = dict[Any, Any]  # component -> value
Shown = dict[Any, Any]  # component -> value, or the component with what changes about it
QUIET: dict[str, Any] = {"show_progress": "hidden"}
UNQUEUED: dict[str, Any] = {"queue": False, **QUIET}  # not behind a model that answers


def refused(error: Exception) -> str:
    """What is wrong with what was asked for."""
    return block(notice(str(error)))


def safely(make: Callable[[], str]) -> str:
    """A piece of the page, or what is wrong with what was asked for."""
    try:
        return make()
    except InputError as error:
        return refused(error)


def going(name: str, k: int, n: int, what: str = "") -> str:
    """What is being done: the k-th of n conditions."""
    return block(paragraph(f"{name}, {k} of {n}{', ' if what else ''}{what} …", "quiet"))


def stopped() -> str:
    """What is said once work was stopped."""
    return block(paragraph("stopped; what was done until then is kept", "quiet"))


class Stop:
    """A button that ends a visitor's work between two of its questions.

    The work looks itself whether it is to end, and says so when it has.  (Gradio's own way, to
    cancel an event, drops what the visitor asks for next while the last question is answered.)
    """

    def __init__(self, elem_id: str, label: str = "Stop") -> None:
        self.button = gr.Button(label, elem_id=elem_id)
        self.going: dict[str, list[Event]] = {}  # visitor -> work in progress

    def connect(self, doing: gr.HTML) -> None:
        """Say where it is shown that the button was pressed."""
        self.button.click(self.press, None, doing, **UNQUEUED)

    def press(self, request: gr.Request) -> str:
        """Ask a visitor's work to end; what is said until it has."""
        work = self.going.get(request.session_hash, [])
        for stop in work:
            stop.set()
        said = "stopping after the page that is being answered …"
        return block(paragraph(said, "quiet")) if work else ""

    @contextmanager
    def work(self, request: gr.Request) -> Iterator[Event]:
        """Work of a visitor: what is set once it is to end."""
        stop, mine = Event(), self.going.setdefault(request.session_hash, [])
        mine.append(stop)
        try:
            yield stop
        finally:
            mine.remove(stop)
            if not mine:
                self.going.pop(request.session_hash, None)


def on_choice(
    dropdown: gr.Dropdown, act: Callable[[Any], Shown], outputs: Sequence[Any]
) -> tuple[gr.State, Any]:
    """Act on the value of a dropdown that was changed; its last value, and the event.

    Gradio tells of an input whenever the field is left, by Tab too: what depends on the value must
    not be set back then.
    """
    last = gr.State(dropdown.value)

    def told(value: Any, before: Any) -> Shown:
        return gr.skip() if value == before else {last: value, **act(value)}

    return last, dropdown.input(told, [dropdown, last], [last, *outputs], **UNQUEUED)


def agent_list(options: Options, chosen: str = "base") -> gr.Dropdown:
    """Who can be played against now; one that is gone gives way to the base."""
    known = [value for _, value in options]
    return gr.Dropdown(choices=options, value=chosen if chosen in known else "base")


def condition_list(options: Options, chosen: Sequence[str] = ("base",)) -> gr.CheckboxGroup:
    """The conditions that there are now; those that are gone are no longer chosen."""
    known = [value for _, value in options]
    return gr.CheckboxGroup(choices=options, value=[c for c in chosen if c in known])


class Runs:
    """A list of measurements, and what is shown of the one that is chosen: on opening the page the
    first.
    """

    def __init__(
        self, lab: Lab, files: Sequence[str], show: Callable[[str | None], str], run: str, html: str
    ) -> None:
        """files : one of these makes a folder a measurement.  run, html : ids of the elements."""
        self.lab, self.files, self.show = lab, files, show
        names = lab.measurements(files)
        self.run = gr.Dropdown(names, value=names[0] if names else None, label="Run", elem_id=run)
        self.shown = gr.HTML(elem_id=html)
        self.last, _ = on_choice(self.run, lambda name: {self.shown: show(name)}, [self.shown])

    def connect(self, demo: gr.Blocks, look: gr.Button) -> None:
        """Look for runs when the page is opened, and when asked to."""
        gr.on(
            [demo.load, look.click],
            self.again,
            self.run,
            [self.run, self.last, self.shown],
            **QUIET,
        )

    def again(self, name: str | None) -> Shown:
        """The runs that there are now."""
        now = self.lab.measurements(self.files)
        chosen = name if name in now else next(iter(now), None)
        return {
            self.run: gr.Dropdown(choices=now, value=chosen),
            self.last: chosen,
            self.shown: self.show(chosen),
        }
