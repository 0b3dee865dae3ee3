"""Training watched: loss, held-out loss and agreement, and the preference that each epoch's adapter
reveals.

A run in progress keeps its checkpoints under ``checkpoints/``; what the trainer has logged so far
is in ``checkpoints/log.jsonl`` and, of older versions, in the last checkpoint's
``trainer_state.json``.  A finished run holds ``log.jsonl`` and ``run.json``.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from econmoral.economics.choice import Decision
from econmoral.economics.games import BATTERY, belief_weights, draw_beliefs
from econmoral.estimation.identification import NotIdentified
from econmoral.files.records import InputError, plain, read_json, read_object, read_whole_lines
from econmoral.instruments.games import (
    WORDINGS_TRAIN,
    Item,
    converse,
    draw_layout,
    mirror,
    plan_order,
)
from econmoral.text.conversation import Mode

from ..engines.base import Answer, Request
from ..estimate import fitted
from .bench import LONGEST
from .markup import Series, block, chart, esc, paragraph, table
from .markup import number as shown


@dataclass(frozen=True)
class Checkpoint:
    """An adapter that training has left so far."""

    step: int
    epoch: float
    folder: Path


@dataclass(frozen=True)
class Training:
    """What is known of a training run.  log : rows of the trainer with step, epoch, loss,
    eval_loss, eval_reproduced.
    """

    folder: Path
    state: str  # finished, running or interrupted
    log: tuple[dict[str, float], ...]
    checkpoints: tuple[Checkpoint, ...]
    target: str
    model: str

    def line(self, name: str) -> tuple[list[float], list[float]]:
        """(epochs, values) of one logged number."""
        rows = [r for r in self.log if name in r and "epoch" in r]
        return [r["epoch"] for r in rows], [r[name] for r in rows]


def trainings(root: Path) -> list[Path]:
    """Folders of training runs under a folder, in progress or finished."""
    found = []
    for place, below, files in os.walk(root):
        depth = len(Path(place).relative_to(root).parts)
        if "checkpoints" in below or ("run.json" in files and "log.jsonl" in files):
            found.append(Path(place))
        below[:] = (
            []
            if depth >= 4
            else sorted(b for b in below if not b.startswith(".") and b != "checkpoints")
        )
    return sorted(found)


def read_training(folder: Path) -> Training:
    """What a run has left so far.  Raises InputError for a folder without a run."""
    finished = (folder / "run.json").is_file()
    checkpoints = _checkpoints(folder)
    if finished:
        log = read_whole_lines(folder / "log.jsonl")
        about = read_object(folder / "run.json")
    else:
        log = read_whole_lines(folder / "checkpoints" / "log.jsonl")
        if not log and checkpoints:
            left = read_object(checkpoints[-1].folder / "trainer_state.json")
            log = left.get("log_history", [])
        settings = folder / "checkpoints" / "settings.json"
        if not settings.is_file():
            raise InputError(f"{folder} holds no training run")
        about = read_object(settings)
    rows = tuple(
        {k: float(v) for k, v in row.items() if isinstance(v, int | float) and math.isfinite(v)}
        for row in log
        if isinstance(row, dict)
    )
    state = "finished" if finished else "running" if _locked(folder) else "interrupted"
    target = plain(str(about.get("target") or about.get("data") or ""))
    return Training(
        folder, state, rows, checkpoints, target, plain(str(about.get("model", "nano")))
    )


def _checkpoints(folder: Path) -> tuple[Checkpoint, ...]:
    """The whole ones, in order: the trainer writes its state last."""
    found = []
    for path in (folder / "checkpoints").glob("checkpoint-*/trainer_state.json"):
        try:
            state = read_json(path)
            found.append(
                Checkpoint(
                    int(path.parent.name.rpartition("-")[2]), float(state["epoch"]), path.parent
                )
            )
        except (InputError, KeyError, TypeError, ValueError):
            continue  # it is being written, or was removed a moment ago
    return tuple(sorted(found, key=lambda c: c.step))


def _locked(folder: Path) -> bool:
    """Whether a process holds the folder, as a recipe does while it runs."""
    try:
        import fcntl
    except ImportError:  # Windows: a training that runs is not told from one that was stopped
        return False
    handle = os.open(folder, os.O_RDONLY)
    try:
        # shared, which filelock does not offer: two pages that ask at once do not see one another
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # a file system without locks
        return False
    finally:
        os.close(handle)
    return False


# --------------------------------------------------------------- what a checkpoint's choices reveal


def battery_requests(mode: Mode = "direct") -> list[Request]:
    """The eighteen protocols, each in two counterbalanced layouts, the same beliefs at any time."""
    rng, found = np.random.default_rng(0), []
    for protocol in BATTERY:
        item = Item(protocol, draw_beliefs(protocol.game, rng))
        layout = draw_layout(protocol.game, rng, WORDINGS_TRAIN)
        found += [
            Request(converse(item, x, mode), item, x, longest=LONGEST)
            for x in (layout, mirror(layout))
        ]
    return found


@dataclass(frozen=True)
class Revealed:
    """What a checkpoint's choices reveal: estimates with standard errors, or why there are none;
    valid-answer probability.
    """

    epoch: float
    values: dict[str, tuple[float, float]]
    valid: float
    why: str = ""


def revealed(epoch: float, requests: Sequence[Request], answers: Sequence[Answer]) -> Revealed:
    """Estimates of alpha, beta, kappa, lambda from exact probabilities; errors by the
    jackknife over the protocols."""
    valid = float(np.mean([a.valid.mean() for a in answers]))
    decisions = []
    for k, (request, answer) in enumerate(zip(requests, answers, strict=True)):
        item, p = request.item, np.empty(len(request.item.protocol.tables.strategies))
        assert answer.probabilities is not None
        p[plan_order(request.layout)] = answer.probabilities
        decisions.append(
            Decision(
                item.protocol.tables,
                belief_weights(item.protocol.game, item.beliefs),
                p,
                str(k // 2),
            )
        )
    if valid < 0.5:
        return Revealed(epoch, {}, valid, "answers outside the form")
    try:
        found = fitted(decisions)
    except NotIdentified as error:
        return Revealed(epoch, {}, valid, str(error))
    return Revealed(epoch, {k: (v, found.se[k]) for k, v in found.estimates.items()}, valid)


# ------------------------------------------------------------------------------------ what is shown


def compared(runs: Sequence[Training]) -> str:
    """Loss and held-out agreement of every run, one below the other."""
    if not runs:
        return block(
            paragraph(
                "Choose a run. A run that is in progress is read anew every few seconds.", "quiet"
            )
        )
    names = [r.folder.name for r in runs]
    rows = []
    for r, name in zip(runs, names, strict=True):
        _, loss = r.line("loss")
        _, held = r.line("eval_loss")
        _, same = r.line("eval_reproduced")
        epochs = [row["epoch"] for row in r.log if "epoch" in row]
        last = [shown(v[-1], 4) if v else "–" for v in (loss, held)]
        rows.append(
            [
                esc(name),
                r.state,
                shown(max(epochs), 2) if epochs else "–",
                *last,
                f"{100 * same[-1]:.0f} %" if same else "–",
                esc(r.target),
            ]
        )
    parts = [
        table(
            [
                "run",
                "state",
                "epoch",
                "loss",
                "held-out loss",
                "reproduced word for word",
                "target or data",
            ],
            rows,
            "Runs",
        )
    ]
    lines = [Series(n, *r.line("loss")) for r, n in zip(runs, names, strict=True)]
    held_out = [
        Series(f"{n}, held out", *r.line("eval_loss"), dash=True, points=True)
        for r, n in zip(runs, names, strict=True)
    ]
    parts.append(
        chart(lines, "Loss on the training conversations", "epoch", "nats a token", low=0.0)
    )
    parts.append(
        chart(held_out, "Loss on held-out conversations", "epoch", "nats a token", low=0.0)
    )
    agreement = [
        Series(n, *r.line("eval_reproduced"), points=True) for r, n in zip(runs, names, strict=True)
    ]
    parts.append(
        chart(agreement, "Held-out answers reproduced word for word", "epoch", "share", low=0.0)
    )
    return block(*parts)


def parameters(found: Sequence[Revealed], name: str) -> str:
    """Estimated parameters, epoch by epoch."""
    if not found:
        return ""
    order = sorted(found, key=lambda r: r.epoch)
    epochs = [r.epoch for r in order]
    lines = [
        Series(
            k, epochs, [r.values[k][0] if k in r.values else math.nan for r in order], points=True
        )
        for k in ("alpha", "beta", "kappa")
    ]
    rows = []
    for r in order:
        cells = [
            " ± ".join((shown(v), shown(se)))
            for v, se in (r.values[k] for k in ("alpha", "beta", "kappa") if k in r.values)
        ]
        if "lambda" in r.values:
            v, se = r.values["lambda"]
            cells.append(" ± ".join((shown(10 * v), shown(10 * se))))
        rows.append(
            [shown(r.epoch), f"{100 * r.valid:.0f} %", *(cells or ["not identified", "", "", ""])]
        )
    head = ["epoch", "valid", "alpha", "beta", "kappa", "lambda per 10"]
    parts = [
        chart(lines, f"What the choices of {name} reveal", "epoch", "estimate"),
        table(head, rows, "Estimates on the eighteen protocols ± one standard error"),
    ]
    parts += [paragraph(f"Epoch {shown(r.epoch)}: {r.why}.", "quiet") for r in order if r.why]
    return block(*parts)
