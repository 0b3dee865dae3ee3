"""``econmoral clone FILE``: human types as targets,
and how well the tuned agents predict other people of their type.

    econmoral clone choices.csv --cluster sid --types 3 --model qwen2.5-7b --out runs/clone
    # train each type with the commands that it prints, then
    econmoral clone choices.csv --cluster sid --types 3 --model qwen2.5-7b --out runs/clone \\
        --adapter 1=runs/clone/type1
    econmoral clone long.csv --family homo_moralis --types 2 --out runs/clone

FILE holds choices between allocations or in sequential games (docs/data.md); families with kappa
are for games.  A part of the people is set aside by --seed.  On the others a mixture of types is
estimated, each type's parameters are rounded to a grid (--round) on which a derivation can be
written out in whole numbers, and training data are written for each by data_synth.  The people set
aside are assigned to types from half of their choices; on the other half every predictor is judged:
a coin, the pooled estimate, the type's estimate, that estimate rounded, the untuned model and the
adapters, which are asked the very decisions that these people faced (decisions.csv, eval.menus or
eval.games).

Of allocations, a page speaks of no earlier act of the other.  Choices after a kind or an unkind act
(columns q, v) help to estimate and to assign, and are not judged.  Of games, a page holds the whole
game with beliefs in tenths; where only one role or information set of a person was observed, agents
are asked the whole plan and judged on that part.  A type that joins kappa with concern for payoffs
has no derivation on games: it is trained on direct answers and asked for them.

Two lines for each agent: its probabilities as they are, and with people's noise, that is raised to
the power that fits the half which assigned them.  Training teaches a target's best answer without
noise, so their own probabilities are close to 0 and 1 and each wrong prediction costs much.

--adapter TYPE=FOLDER takes an adapter's folder, or one that eval.menus (of games eval.games) has
written with --own decisions.csv (any engine).  Writes clone.json, typeK.jsonl with its card,
decisions.csv, and with --adapter measured/ and comparison.json.
"""

from __future__ import annotations

import csv
import io
import os
import shlex
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import econmoral
from econmoral.checkpoints.adapters import WEIGHTS
from econmoral.economics.games import GAMES
from econmoral.economics.preferences import FAMILIES
from econmoral.estimation.likelihood import restrict
from econmoral.files.options import Config, option, pairs
from econmoral.files.records import (
    InputError,
    finite,
    lock,
    origin,
    plain,
    read_json,
    read_lines,
    read_object,
    sha256,
    terminal,
    write_json,
    write_text,
)
from econmoral.files.shown import grid
from econmoral.instruments.derivations import derives
from econmoral.people.choices import read_choices
from econmoral.people.cloning import (
    STEPS,
    Agent,
    Pages,
    Split,
    Types,
    allocation_pages,
    compare,
    estimate,
    game_pages,
    split,
    without_acts,
)
from econmoral.people.sample import Sample
from econmoral.rooms import REPOSITORY

USABLE = [f.name for f in FAMILIES.values() if f.parameters]


@dataclass(frozen=True)
class Kind:
    """What is decided: domain of the training data, instrument that asks agents."""

    domain: str
    instrument: str


ALLOCATIONS, SEQUENTIAL = Kind("allocations", "menus"), Kind("games", "games")


@dataclass(frozen=True)
class Options(Config):
    """What the command is told."""

    file: Path = option(
        None,
        "choices between allocations or in games, as fit reads them (docs/data.md)",
        positional=True,
    )
    types: int = option(3, "types of the mixture")
    family: str = option(
        "bruhin_fehr_schunk", f"one of {', '.join(USABLE)}; with kappa for games only"
    )
    fix: tuple[str, ...] = option((), "hold parameters", metavar="NAME=VALUE", extend=True)
    cluster: str | None = option(
        None, "column that names the people (default subject)", metavar="COLUMN"
    )
    held_out: float = option(
        0.25, "share of the people who are set aside (default .25)", metavar="SHARE"
    )
    round: float = option(
        0.1,
        f"grid of the targets' parameters: {', '.join(map(str, STEPS))} (default .1)",
        metavar="STEP",
    )
    n: int = option(300, "training conversations of each type")
    seed: int = option(
        0, "of the split, the starts of the types, the training data and the pages (default 0)"
    )
    model: str = option("nano", "model to train, named in the commands that are printed")
    adapter: tuple[str, ...] = option(
        (), "agent of a type, e.g. 1=runs/clone/type1; repeat", metavar="TYPE=FOLDER", repeat=True
    )
    mode: str | None = option(
        None,
        "how adapters are asked: at once, or after a derivation (default reasoned where every "
        "type has derivations)",
        choices=("direct", "reasoned"),
    )
    pairs: int = option(1, "counterbalanced pairs of pages for each decision")
    out: Path | None = option(None, "folder to write (default runs/clone-NAME of the file)")
    json: bool = option(False, "print JSON")


def check(options: Options) -> dict[int, Path]:
    """Check the options; folders of the agents by type, from 0.  Raises InputError."""
    if options.family not in USABLE:
        raise InputError(
            f"--family {options.family}: no family that types can differ in; see --help"
        )
    if not 1 <= options.types <= 10:
        raise InputError(f"--types must lie between 1 and 10, got {options.types}")
    if not 0 < options.held_out < 1:
        raise InputError(f"--held-out must lie strictly between 0 and 1, got {options.held_out:g}")
    if options.round not in STEPS:
        raise InputError(
            f"--round must be one of {', '.join(map(str, STEPS))}, got {options.round:g}"
        )
    if options.n < 1 or options.seed < 0 or options.pairs < 1:
        raise InputError("--n and --pairs must be at least 1, --seed at least 0")
    found: dict[int, Path] = {}
    for word in options.adapter:
        kind, equals, folder = word.partition("=")
        if not equals or not kind.isdecimal() or not 1 <= int(kind) <= options.types:
            raise InputError(
                f"--adapter {plain(word)}: write TYPE=FOLDER with a type from 1 to "
                f"{options.types}, e.g. 1=runs/clone/type1"
            )
        if int(kind) - 1 in found:
            raise InputError(f"--adapter: type {kind} is given twice")
        found[int(kind) - 1] = Path(folder)
    return found


def run(options: Options) -> dict[str, Any]:
    """Estimate, write, and compare where there is something to compare."""
    folders = check(options)
    sample = read_choices(
        options.file, options.family, (options.cluster,) if options.cluster else ()
    )
    if sample.payoffs is None and sample.items is None:
        what = "games of other kinds" if sample.shape == "games" else f"a {sample.shape}"
        raise InputError(
            f"{options.file} holds {what}; clone reads choices between allocations or in the games "
            f"{', '.join(GAMES)} (docs/data.md)"
        )
    on = SEQUENTIAL if sample.items is not None else ALLOCATIONS
    if not sample.cluster:
        raise InputError(
            f"{options.file}: types need several choices of each person; name the people with "
            "--cluster COLUMN"
        )
    fixed = pairs(options.fix, "--fix")
    try:
        data, notes = without_acts(restrict(sample.data, fixed))
    except ValueError as error:
        raise InputError(f"--fix: {error}") from None
    parts = split(sample, options.held_out, options.seed)
    pages = pages_of(sample, parts)
    out: Path = options.out or Path("runs") / f"clone-{options.file.stem}"
    settings = {  # what makes a clone what it is
        "file": sha256(options.file),
        "family": options.family,
        "fixed": fixed,
        "cluster": list(sample.cluster),
        "types": options.types,
        "round": options.round,
        "held_out": options.held_out,
        "seed": options.seed,
        "n": options.n,
    }
    lock(out)
    refuse_another(out, settings)
    types = estimate(data, parts.train, options.types, options.round, options.seed)
    judged = parts.plain & ~parts.train
    notes += remarks(sample, parts, pages, types)
    ids, problems = decisions(pages, judged)
    write_text(out / "decisions.csv", problems)
    underived = [k + 1 for k, t in enumerate(types.targets) if not derives(t, on.domain)]
    if underived:
        notes.append(
            f"type(s) {', '.join(map(str, underived))}: {options.family} has no derivation on "
            f"{on.domain}: its training data are direct answers, and agents are asked for them "
            "unless --mode says otherwise"
        )
    mode = options.mode or ("direct" if underived else "reasoned")
    described = [describe(types, k, out) for k in range(options.types)]
    for kind in described:
        write_data(Path(kind["data"]), kind["target"], on.domain, options)
    result: dict[str, Any] = {
        "settings": settings, "file": str(options.file), "out": str(out), "unit": pages.unit,
        "rounding": options.round, "domain": on.domain, "mode": mode,
        "people": {"training": len(data.names) - len(parts.held_out),
            "held_out": len(parts.held_out)},
        "choices": {"training": int(parts.train.sum()), "assigning": int(parts.assign.sum()),
            "judged": int(parts.judge.sum())},
        "pooled": types.one.estimates, "types": described, "nec": types.several.nec, "notes": notes,
        "held_out": list(parts.held_out),
    }  # fmt: skip
    write_json(out / "clone.json", finite(origin(choices=options.file) | result))
    agents = measured(options, out, folders, types, on, mode) if folders else []
    result["comparison"] = compare(data, parts, types, ids, agents, sample.items)
    if folders:
        inputs = {
            f"agent_{k + 1}": f
            / (WEIGHTS if (f / "adapter_config.json").is_file() else "choices.jsonl")
            for k, f in folders.items()
        }
        write_json(
            out / "comparison.json",
            finite(origin(choices=options.file, **inputs) | {"comparison": result["comparison"]}),
        )
    else:
        result["commands"] = next_commands(out, options)
    return result


def refuse_another(out: Path, settings: Mapping[str, Any]) -> None:
    """Raises InputError where the folder holds a clone of other data or with other options."""
    if not (out / "clone.json").is_file():
        return
    before = read_json(out / "clone.json").get("settings", {})
    if differ := [k for k, v in settings.items() if before.get(k) != v]:
        raise InputError(
            f"{out} holds another clone (it differs in {', '.join(differ)}); give the same "
            "options, or another --out"
        )


def remarks(sample: Sample, parts: Split, pages: Pages, types: Types) -> list[str]:
    """What a reader of the estimates and of the comparison should know."""
    notes, judged = [], parts.plain & ~parts.train
    if types.several.agreeing < 2 and len(types.targets) > 1:
        notes.append(
            f"only one of {types.several.starts} starts reached the best likelihood: the types may "
            "not be the best ones"
        )
    notes += [*sample.notes, *types.one.notes, *types.several.notes, *types.notes]
    if beyond := int(pages.beyond[judged].sum()):
        notes.append(
            f"{beyond} of {judged.sum()} choices of people set aside are about points outside "
            f"{pages.range}, which no training page has"
        )
    if moved := int((pages.moved[judged] > 1e-9).sum()):
        notes.append(
            f"{moved} of {judged.sum()} choices of people set aside follow beliefs that are no "
            "tenths: agents are asked about rounded ones (at most "
            f"{pages.moved[judged].max():.3f} away), estimates are judged at the exact ones"
        )
    if (after := int((~parts.plain).sum())) > 0:
        notes.append(
            f"{after} of {len(parts.plain)} choices follow an act of the other: they are not "
            "judged, for no page speaks of one"
        )
    return notes


def next_commands(out: Path, options: Options) -> list[str]:
    """The trainings, then this command again with their adapters."""
    again = [w for w in sys.argv[1:] if w != "--json"]
    adapters = [
        f"--adapter {k + 1}={shlex.quote(str(out / f'type{k + 1}'))}" for k in range(options.types)
    ]
    return [
        *(train(out, k, options) for k in range(options.types)),
        " ".join([shlex.join(["python", "-m", "econmoral", *again]), *adapters]),
    ]


def pages_of(sample: Sample, parts: Split) -> Pages:
    """What a page would show of every row."""
    if sample.items is not None:
        return game_pages(sample.items)
    assert sample.payoffs is not None
    return allocation_pages(sample.payoffs, parts.plain)


def decisions(pages: Pages, judged: np.ndarray) -> tuple[list[str], str]:
    """(name of the decision of every row, the table of decisions that people set aside faced,
    as CSV).
    """
    names: dict[tuple[str, ...], str] = {}
    ids = [""] * len(pages.cells)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["id", *pages.columns])
    for i in np.flatnonzero(judged):
        cells = pages.cells[i]
        if cells not in names:
            names[cells] = f"d{len(names) + 1}"
            writer.writerow([names[cells], *cells])
        ids[i] = names[cells]
    return ids, text.getvalue()


def describe(types: Types, k: int, out: Path) -> dict[str, Any]:
    """One type: its share, estimates and target, and where its training data go."""
    several = types.several
    return {
        "type": k + 1,
        "share": float(several.shares[k]),
        "share_se": float(several.share_se[k]),
        "estimates": several.types[k],
        "se": several.se[k],
        "target": str(types.targets[k]),
        "data": str(out / f"type{k + 1}.jsonl"),
    }


def train(out: Path, k: int, options: Options) -> str:
    """The command that trains an agent of type k."""
    launch = ["econmoral", "sft"]  # of an installed wheel
    if REPOSITORY is not None:
        launch = ["accelerate", "launch", "recipes/sft.py"]
    words = [*launch, "--model", options.model, "--data", str(out / f"type{k + 1}.jsonl")]
    return shlex.join([*words, "--seed", str(options.seed), "--out", str(out / f"type{k + 1}")])


def stage(words: list[str], quiet: bool) -> None:
    """Run another command, which meets this one in files only.

    Raises InputError with its complaint when it ends badly.
    """
    there = str(Path(econmoral.__file__).parents[1])
    path = os.pathsep.join([there, *filter(None, [os.environ.get("PYTHONPATH")])])
    # its tables go to standard error, so that --json stays JSON
    shown = subprocess.PIPE if quiet else 2
    done = subprocess.run(
        [sys.executable, "-m", "econmoral", *words],
        env=os.environ | {"PYTHONPATH": path},
        stdout=shown,
        stderr=subprocess.PIPE,
        text=True,
    )
    if done.returncode:
        lines = [x for x in done.stderr.splitlines() if x.strip()] or ["it did not say why"]
        raise InputError(f"{words[0]} failed: {lines[-1].removeprefix('error: ')}")


def write_data(path: Path, target: str, domain: str, options: Options) -> None:
    """Training data of a target, by data_synth; not again where they are there."""
    if not path.with_suffix(".md").is_file():  # the card is written last
        words = [
            "--target",
            target,
            "--domain",
            domain,
            "--n",
            str(options.n),
            "--seed",
            str(options.seed),
            "--out",
            str(path),
        ]
        stage(["data", *words], quiet=True)


def measured(
    options: Options, out: Path, folders: dict[int, Path], types: Types, on: Kind, mode: str
) -> list[Agent]:
    """What the agents answered: adapters are asked now, in one load, measurements are read."""
    tuned = {k: f for k, f in folders.items() if (f / "adapter_config.json").is_file()}
    agents: list[Agent] = []
    for k, folder in folders.items():
        if k not in tuned:
            if not (folder / "choices.jsonl").is_file():
                raise InputError(
                    f"--adapter {k + 1}={folder}: neither an adapter nor a measurement of "
                    f"eval.{on.instrument} is there"
                )
            record = read_json(folder / "run.json")
            asked = record.get("inputs", {}).get("own", {}) if isinstance(record, dict) else {}
            # every clone calls its decisions d1, d2, ...
            if asked.get("sha256") != sha256(out / "decisions.csv"):
                raise InputError(
                    f"{folder}: the agent was not asked the decisions of {out / 'decisions.csv'}; "
                    f"measure it with econmoral {on.instrument} --own {out / 'decisions.csv'}"
                )
            arms = [a for a in read_agents(folder, mode) if a.name != "base"]
            if len(arms) != 1:
                there = ", ".join(a.name for a in arms) or "none"
                raise InputError(
                    f"{folder}: a measurement of one agent in {mode} mode is needed, there is "
                    f"{there}; choose --mode or measure it alone"
                )
            agents.append(
                Agent(f"agent {k + 1} ({arms[0].name})", arms[0].answers, arms[0].outside, k)
            )
            continue
        trained = read_object(folder / "run.json").get("target")
        if isinstance(trained, str) and trained != str(types.targets[k]):
            raise InputError(
                f"--adapter {k + 1}={folder} was trained as {plain(trained)}, type {k + 1} is "
                f"{types.targets[k]}; give the right one"
            )
    if tuned:
        unique = list(dict.fromkeys(tuned.values()))
        words = [w for f in unique for w in ("--adapter", str(f))] + [
            "--own",
            str(out / "decisions.csv"),
            "--mode",
            mode,
        ]
        stage(
            [
                on.instrument,
                *words,
                "--pairs",
                str(options.pairs),
                "--seed",
                str(options.seed),
                "--out",
                str(out / "measured"),
            ],
            quiet=options.json,
        )
        arms = read_agents(out / "measured", mode)
        # in the order in which they were given
        names = list(read_json(out / "measured" / "run.json")["adapters"])
        by_folder = dict(zip(unique, names, strict=True))
        agents += [Agent("untuned model", a.answers, a.outside) for a in arms if a.name == "base"]
        agents += [
            Agent(f"adapter {k + 1}", a.answers, a.outside, k)
            for k, f in tuned.items()
            for a in arms
            if a.name == by_folder[f]
        ]
    return agents


def read_agents(folder: Path, mode: str) -> list[Agent]:
    """What each arm of a measurement answered about one's own decisions, in one mode."""
    rows = read_json(folder / "summary.json")
    outside = {
        r["arm"]: bool(r["outside"])
        for r in rows
        if "own" in (r.get("battery"), r.get("set")) and r.get("mode") == mode
    }
    answers: dict[str, dict[str, np.ndarray]] = {}
    for _, row in read_lines(folder / "choices.jsonl"):
        if "own" in (row.get("battery"), row.get("set")) and row.get("mode") == mode:
            of_arm = answers.setdefault(str(row["arm"]), {})
            if row["probabilities"] is not None:
                of_arm[str(row["id"])] = np.array(row["probabilities"], float)
    return [Agent(name, found, outside.get(name, False)) for name, found in answers.items()]


def show(options: Options, result: dict[str, Any]) -> None:
    """Print for a person."""
    console, out = terminal(110), result["out"]
    people, choices = result["people"], result["choices"]
    console.print(
        f"{people['training']} people with {choices['training']} choices to estimate; "
        f"{people['held_out']} set aside, {choices['assigning']} of their choices to assign them "
        f"and {choices['judged']} to judge"
    )
    names = [n for n in result["pooled"] if n != "lambda"]
    rows: list[list[str]] = [
        [
            "all",
            "",
            *(f"{result['pooled'][n]:.3f}" for n in names),
            f"{result['pooled']['lambda']:.4g}",
        ]
    ]
    for k in result["types"]:
        cells = [f"{k['estimates'][n]:.3f} ({k['se'][n]:.3f})" for n in names]
        rows.append(
            [f"type {k['type']}", f"{k['share']:.3f}", *cells, f"{k['estimates']['lambda']:.4g}"]
        )
    console.print(grid(("", "share", *names, "lambda"), rows))
    for k in result["types"]:
        console.print(
            f"target of type {k['type']}, estimates rounded to {options.round:g}: {k['target']}"
        )
    console.print(
        f"a point of the page is {result['unit']:g} of the file's units; rounding is what "
        "derivations in whole numbers need"
    )
    for entry in result["comparison"]:
        shown_comparison(console, entry)
    for note in result["notes"]:
        console.print(plain(f"note: {note}"))
    written = "clone.json decisions.csv " + " ".join(
        f"type{k['type']}.jsonl" for k in result["types"]
    )
    console.print(f"{out}/: {written}" + ("" if "commands" in result else " comparison.json"))
    if "commands" in result:
        console.print("train each type, then compare:")
        for line in result["commands"]:
            console.print(f"  {line}", soft_wrap=True)


def shown_comparison(console: Any, entry: dict[str, Any]) -> None:
    """Print how well the predictors of one type did."""
    sure = "" if entry["posterior"] is None else f", mean posterior {entry['posterior']:.3f}"
    console.print(
        f"type {entry['type']} ({entry['target']}): {entry['people']} people set aside, "
        f"{entry['choices']} choices judged{sure}"
    )
    lines: list[tuple[str, str, str, str]] = []
    for p in entry["predictors"]:
        if p.get("outside"):
            lines.append((p["name"], "answers outside the form", "", ""))
            continue
        gain = "" if p["name"] == "pooled estimate" else f"{p['gain']:+.3f}"
        if gain and np.isfinite(p["gain_low"]):
            gain += f" [{p['gain_low']:.3f}, {p['gain_high']:.3f}]"
        fits, share = (
            f"{p[k] * f:.{d}f}"
            + (f" ({p[k + '_se'] * f:.{d}f})" if np.isfinite(p[k + "_se"]) else "")
            for k, f, d in (("log_likelihood", 1, 3), ("predicted", 100, 1))
        )
        lacking = f", {p['unanswered']} unanswered" if p.get("unanswered") else ""
        lines.append((p["name"] + lacking, fits, share, gain))
    if lines:
        console.print(
            grid(
                ("predictor", "log-likelihood per choice", "predicted %", "gain over pooled"), lines
            )
        )
    for note in entry["notes"]:
        console.print(f"note: {note}")
