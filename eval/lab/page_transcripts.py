"""The page's part for what was written in a measurement: its document in a frame."""

from __future__ import annotations

import html
from pathlib import Path

import gradio as gr

from .. import transcripts
from ..transcripts.entries import RECORDS
from .markup import block, esc, notice
from .shared import Lab
from .widgets import Runs, safely


class Transcripts:
    """A measurement to choose, and its transcripts."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.runs = Runs(lab, RECORDS, self.show, "transcripts-run", "transcripts-frame")

    def connect(self, demo: gr.Blocks, look: gr.Button) -> None:
        """Say what happens when the part is used."""
        self.runs.connect(demo, look)

    def show(self, name: str | None) -> str:
        """The transcripts of a run, by its path under the runs' folder."""
        if not name:
            return block(
                notice(
                    f"There is no measurement under {self.lab.runs}; econmoral games writes one."
                )
            )
        return safely(lambda: framed(self.lab.inside(name), name))


def framed(folder: Path, name: str) -> str:
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
