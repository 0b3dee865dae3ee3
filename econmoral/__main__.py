"""The console command.

    econmoral data --target homo_moralis:kappa=0.5 --n 400 --out moralis.jsonl
    econmoral sft --model nano --data moralis.jsonl --out moralis
    econmoral games --adapter moralis --mode reasoned direct
    econmoral report moralis/eval
    econmoral fit choices.csv --family bruhin_fehr_schunk --cluster sid --types 3

``python -m econmoral`` is the same.  Every command has --help; those of the calculator take --json.
"""

from __future__ import annotations

import json
import sys
from importlib import import_module, metadata
from typing import Any

from econmoral.commands import negative_values
from econmoral.estimation.identification import NotIdentified
from econmoral.files.options import parse
from econmoral.files.records import InputError, command, finite, plain
from econmoral.rooms import room

# name -> module in another room, what it does.  The module's main() parses its own command line.
ROOMS = {
    "data": ("data_synth.__main__", "write training conversations that a target has answered"),
    "sft": ("recipes.sft", "fine-tune a checkpoint on them with LoRA"),
    "export": ("recipes.export", "merge an adapter into its base"),
    "interpolate": ("recipes.interpolate", "an adapter between two others, without training"),
    "study": ("recipes.study", "all commands of a plan, each run once"),
    **{
        name: (f"eval.{place.partition(':')[0]}", words)
        for name, (place, words) in room("eval.registry").INSTRUMENTS.items()
        if words
    },
    "compare": ("eval.compare", "paired tests between the arms of measurements"),
    "parity": ("eval.parity", "whether an adapter answers the same merged, in 4 bits, served"),
    "retention": (
        "eval.retention",
        "tasks of lm-evaluation-harness before and after (extra: frameworks)",
    ),
    "transcripts": (
        "eval.transcripts",
        "every page, answer and derivation of a measurement in one HTML file",
    ),
    "faithfulness": (
        "eval.faithfulness",
        "whether derivations recite, whether their steps are right, whether answers follow them",
    ),
    "lab": (
        "eval.lab.__main__",
        "one page: look at agents, play against them, read what they wrote (extra: lab)",
    ),
    "report": ("eval.report", "HTML, Markdown, LaTeX and CSV of a study or measurement"),
}
# name -> module of the core, what it does.  Options are what it is told, run() computes, show()
# prints for a person.
CALCULATOR = {
    "best-reply": (
        "commands.best_reply",
        "payoffs, utilities, probabilities and best replies of one decision",
    ),
    "fit": ("people.fitting", "maximum likelihood on choices in a table, or of a measurement"),
    "import-otree": ("people.otree", "a wide export of oTree to the long CSV that fit reads"),
    "power": ("commands.planning", "subjects, items or answers needed to tell two arms apart"),
    "market": (
        "commands.markets",
        "equilibrium prices of firms with given degrees of morality under logit demand",
    ),
    "garp": (
        "commands.budgets",
        "GARP, CCEI and power of the test on a CSV of choices from budgets",
    ),
    "amce": (
        "commands.conjoint",
        "average marginal component effects of a conjoint experiment (CSV)",
    ),
    "clone": (
        "commands.clone",
        "types of people as targets: estimates, training data, comparison with people set aside",
    ),
    "package": (
        "commands.package",
        "a replication package for a journal, of a fit, a measurement or a study",
    ),
}
ENDS_ITSELF = ("fit", "import-otree")  # run() prints and gives the exit code


def calculator(name: str, words: list[str]) -> None:
    """A command of the calculator; only its own module is loaded."""
    module: Any = import_module(f"econmoral.{CALCULATOR[name][0]}")
    options = parse(module.Options, f"econmoral {name}", module.__doc__, negative_values(words))
    try:
        result = module.run(options)
    except NotIdentified as error:
        print(plain(f"not identified: {error}"), file=sys.stderr)
        sys.exit(3)
    if name in ENDS_ITSELF:
        sys.exit(result)
    if options.json:
        print(json.dumps(finite(result), indent=2, allow_nan=False))
    else:
        module.show(options, result)


def as_console(text: str) -> str:
    """A help text with ``econmoral games`` for ``python -m eval.games``, as it is without the
    repository; likewise for every other room.
    """
    for name, (module, _) in ROOMS.items():
        module = module.removesuffix(".__main__")
        script = f"{module.replace('.', '/')}.py"
        for usual in (f"python -m {module}", f"accelerate launch {script}", f"python {script}"):
            text = text.replace(f"{usual} ", f"econmoral {name} ")
    return text


def main() -> None:
    """Entry point."""
    name, words = sys.argv[1] if len(sys.argv) > 1 else "--help", sys.argv[2:]
    if name in ("-h", "--help"):
        print(f"usage: econmoral COMMAND [options]\n\n{__doc__}")
        for title, commands in (("model", ROOMS), ("calculator", CALCULATOR)):
            print(
                f"{title}:\n"
                + "\n".join(f"  {key:<14}{words}" for key, (_, words) in commands.items())
                + "\n"
            )
    elif name == "--version":
        print(f"econmoral {metadata.version('econmoral')}")
    elif name in ROOMS:
        sys.argv = [f"econmoral {name}", *words]
        module = room(ROOMS[name][0])
        module.__doc__ = as_console(module.__doc__ or "")  # its --help shows it
        module.main()
    elif name in CALCULATOR:
        calculator(name, words)
    else:
        raise InputError(
            f"unknown command {name!r}; choose among {', '.join([*ROOMS, *CALCULATOR])}"
        )


def console() -> None:
    """What the installed command ``econmoral`` calls."""
    command(main)


if __name__ == "__main__":
    console()
