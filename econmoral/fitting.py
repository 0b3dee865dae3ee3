"""``econmoral fit``: estimates from files at the shell.

    econmoral fit choices.csv --family bruhin_fehr_schunk --cluster sid --types 3
    econmoral fit treated.csv control.csv --table latex > table.tex
    econmoral fit runs/demo/eval/choices.jsonl --set payoffs --mode reasoned --arm moralis
    econmoral fit choices.csv --family bruhin_fehr_schunk --cluster sid --out runs/humans

Exit code 0: estimated; 2: the input cannot be used; 3: the data do not identify the parameters.
"""

from __future__ import annotations

import argparse
import ast
import json
import math
import operator
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from econmoral.data import Sample, read_choices
from econmoral.estimation import Fit, Mixture, NotIdentified, etable, fit, mixture, restrict
from econmoral.preferences import FAMILIES
from econmoral.records import InputError, finite, origin, plain, write_json, write_text
from econmoral.sheet import LARGEST
from econmoral.tables import Etable

NOT_IDENTIFIED = 3  # exit code
ERRORS = ("cluster", "clustered", "sandwich", "hessian", "bootstrap", "wild", "jackknife")
RANDOM = ("bootstrap", "wild")


def add_to(commands: Any) -> None:
    """Add ``fit`` to the subcommands of a parser."""
    parser = commands.add_parser(
        "fit", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add(
        "files",
        metavar="FILE",
        nargs="*",
        type=Path,
        help=".csv .tsv .dta .parquet .jsonl: allocations, games or choices.jsonl (docs/data.md)",
    )
    add(
        "--family",
        default="alpha_beta_kappa",
        help=f"one of {', '.join(FAMILIES)} (default alpha_beta_kappa)",
    )
    add(
        "--cluster",
        nargs="+",
        action="extend",
        metavar="COLUMN",
        help="who is who: one column, or two for two-way (default subject; id)",
    )
    add(
        "--errors",
        choices=ERRORS,
        default="cluster",
        help="kind of standard errors (default cluster)",
    )
    add("--types", type=int, default=1, help="types of a finite mixture (default 1: none)")
    add(
        "--fix",
        nargs="+",
        action="extend",
        metavar="NAME=VALUE",
        help="hold parameters, e.g. gamma=0 delta=0",
    )
    add(
        "--weight",
        metavar="COLUMN",
        help="sampling weights (default: the column weight, where there is one)",
    )
    for name in ("set", "mode", "arm"):
        add(
            f"--{name}",
            help=f"{name} of choices.jsonl, or value of a column {name} (default: the only one)",
        )
    add(
        "--test",
        nargs="+",
        action="extend",
        metavar="NAME=VALUE",
        help="Wald test of these values together",
    )
    add(
        "--nlcom",
        action="append",
        metavar="EXPRESSION",
        help="a function of the parameters, e.g. 'beta/(1-beta)', by the delta method",
    )
    add(
        "--intervals",
        choices=("default", "profile"),
        default="default",
        help="profile: by likelihood ratio, decisions taken as independent",
    )
    add(
        "--table",
        choices=("text", "markdown", "html", "latex"),
        help="print a table, files side by side",
    )
    add("--stars", action="store_true", help="stars for significance in the table")
    add("--replications", type=int, help="of bootstrap and wild (default 999; types: 199)")
    add("--seed", type=int, help="of bootstrap, wild and the starts of types (default 0)")
    add(
        "--out",
        type=Path,
        metavar="FOLDER",
        help="also write fit.json, table.tex, table.md and run.json there",
    )
    add("--json", action="store_true", help="print JSON")


@dataclass(frozen=True)
class Outcome:
    """What a file gave: a fit, with types perhaps; or why there is none."""

    path: Path
    sample: Sample
    fit: Fit | NotIdentified
    types: Mixture | NotIdentified | None = None

    @property
    def shown(self) -> Any:
        """What stands in the table."""
        return self.fit if self.types is None else self.types

    @property
    def identified(self) -> bool:
        """Whether everything asked for was estimated."""
        return isinstance(self.fit, Fit) and not isinstance(self.types, NotIdentified)


def pairs(words: list[str] | None, option: str) -> dict[str, float]:
    """``gamma=0`` and the like.  Raises InputError for anything else."""
    found: dict[str, float] = {}
    for word in words or []:
        name, equals, value = word.partition("=")
        try:
            number = float(value) if equals else math.nan
        except ValueError:
            number = math.nan
        if not abs(number) <= LARGEST:
            raise InputError(
                f"{option} {plain(word)}: write NAME=VALUE with a number of at most "
                f"{LARGEST:g}, e.g. gamma=0"
            )
        if name.strip() in found:
            raise InputError(f"{option}: {name.strip()} is given twice")
        found[name.strip()] = number
    return found


def tidy(args: argparse.Namespace) -> None:
    """Check the options against each other: each acts, or is an error."""
    if not args.files:  # fit --cluster sid choices.csv: the list took the file
        for words in (args.cluster, args.fix, args.test):
            while words and len(words) > 1 and "=" not in words[-1] and Path(words[-1]).exists():
                args.files.insert(0, Path(words.pop()))
    if not args.files:
        raise InputError("name the file(s) with the choices: fit FILE ...")
    if args.family not in FAMILIES:
        raise InputError(f"unknown family {args.family!r}; known: {', '.join(FAMILIES)}")
    if not 1 <= args.types <= 10:
        raise InputError(f"--types must lie between 1 and 10, got {args.types}")
    args.errors = "clustered" if args.errors == "cluster" else args.errors
    args.fix, args.test = pairs(args.fix, "--fix"), pairs(args.test, "--test")
    parameters = FAMILIES[args.family].parameters
    if unknown := set(args.fix) - set(parameters):
        raise InputError(
            f"--fix: {args.family} has no parameter {', '.join(sorted(unknown))}; it has "
            f"{', '.join(parameters) or 'none'}"
        )
    free = [p for p in (*parameters, "lambda") if p not in args.fix]
    if unknown := set(args.test) - set(free):
        raise InputError(
            f"--test: no estimated parameter {', '.join(sorted(unknown))}; there are "
            f"{', '.join(free)}"
        )
    for text in args.nlcom or []:
        evaluate(text, dict.fromkeys(free, 0.5))
    single = args.errors in ("sandwich", "hessian") and args.types == 1
    idle = {
        "--cluster": bool(args.cluster) and single,
        "--replications": args.replications is not None and args.errors not in RANDOM,
        "--seed": args.seed is not None and args.errors not in RANDOM and args.types == 1,
        "--stars": args.stars and not args.table and not args.out,
        "--table": bool(args.table) and args.json,
        "--test": bool(args.test) and (args.types > 1 or bool(args.table)),
        "--nlcom": bool(args.nlcom) and (args.types > 1 or bool(args.table)),
        "--intervals": args.intervals != "default" and (args.types > 1 or bool(args.table)),
    }
    with_what = {
        "--cluster": f"with --errors {args.errors}",
        "--replications": "without --errors bootstrap or wild",
        "--seed": "without --errors bootstrap or wild, or --types",
        "--stars": "without --table",
        "--table": "with --json",
    }
    for option, useless in idle.items():
        if useless:
            raise InputError(
                f"{option} does nothing {with_what.get(option, 'with --types or --table')}; leave "
                "it out"
            )
    if args.types > 1 and args.errors in ("sandwich", "wild"):
        raise InputError(
            f"--errors {args.errors} is not available with --types; use cluster, hessian, "
            "bootstrap or jackknife"
        )
    if args.cluster and len(args.cluster) > 1 and (args.errors != "clustered" or args.types > 1):
        raise InputError("two columns in --cluster go with --errors cluster and without --types")
    if args.cluster and len(set(args.cluster)) < len(args.cluster):
        raise InputError(
            f"--cluster names {args.cluster[-1]} twice; two-way clustering needs two columns"
        )
    if args.replications is not None and not 19 <= args.replications <= 1_000_000:
        raise InputError(f"--replications must lie between 19 and 1000000, got {args.replications}")
    if args.seed is not None and args.seed < 0:
        raise InputError("--seed must not be negative")


def outcome(path: Path, args: argparse.Namespace) -> Outcome:
    """Read and estimate one file."""
    sample = read_choices(
        path,
        args.family,
        args.cluster or (),
        args.weight,
        {k: getattr(args, k) for k in ("set", "mode", "arm")},
    )
    data, seed = restrict(sample.data, args.fix), args.seed or 0
    errors = "sandwich" if args.errors == "clustered" and not sample.cluster else args.errors
    if args.types > 1:
        if len(data.names) == len(data.index):
            raise InputError(
                f"{path}: types need several decisions of each subject; name the subjects with "
                "--cluster"
            )
        # of the fit with one type, which is shown beside
        errors = "hessian" if errors == "hessian" else "clustered"
    draws = args.replications
    try:
        found = fit(data, errors=errors, second=sample.second, replications=draws or 999, seed=seed)
    except NotIdentified as error:
        return Outcome(path, sample, error)
    except ValueError as error:
        raise InputError(f"{path}: {error}") from None
    if args.types == 1:
        return Outcome(path, sample, found)
    try:
        return Outcome(
            path,
            sample,
            found,
            mixture(data, args.types, seed=seed, errors=args.errors, replications=draws or 199),
        )
    except NotIdentified as error:
        return Outcome(path, sample, found, error)
    except ValueError as error:
        raise InputError(f"{path}: {error}") from None


def run(args: argparse.Namespace) -> int:
    """Estimate, print, return the exit code."""
    tidy(args)
    found = [outcome(path, args) for path in args.files]
    if args.json or args.out:
        described = [describe(o, args) for o in found]
        whole = finite(described[0] if len(described) == 1 else {"fits": described})
    if args.out:
        table = side_by_side(found, args)
        write_json(args.out / "fit.json", whole)
        write_text(args.out / "table.tex", table.to("latex") + "\n")
        write_text(args.out / "table.md", table.to("markdown") + "\n")
        write_json(
            args.out / "run.json",
            origin(**{f"choices_{i}": o.path for i, o in enumerate(found, start=1)}),
        )
    if args.json:
        print(json.dumps(whole, indent=2, allow_nan=False))
    elif args.table or len(found) > 1:
        print(side_by_side(found, args).to(args.table or "text"))
        for o in found:
            _remarks(o, sys.stderr)
    else:
        show(found[0], args)
    return 0 if all(o.identified for o in found) else NOT_IDENTIFIED


def side_by_side(found: list[Outcome], args: argparse.Namespace) -> Etable:
    """The outcomes in one table, each under the name of its file."""
    names = [o.path.stem for o in found]
    names = names if len(set(names)) == len(names) else [str(o.path) for o in found]
    ways = list(dict.fromkeys(" and ".join(o.sample.cluster) for o in found))
    robust = args.errors not in ("sandwich", "hessian") or args.types > 1
    notes = [f"Clusters: {ways[0]}."] if len(ways) == 1 and ways[0] and robust else []
    return etable(*(o.shown for o in found), names=names, stars=args.stars, notes=notes)


def _remarks(o: Outcome, stream: Any) -> None:
    for note in o.sample.notes:
        print(plain(f"note: {o.path}: {note}"), file=stream)


def show(o: Outcome, args: argparse.Namespace) -> None:
    """Print one outcome for a person."""
    if isinstance(o.fit, NotIdentified):
        print(plain(f"not identified: {o.fit}"))
    elif args.intervals == "profile":
        frame = o.fit.to_frame().loc[list(o.fit.data.parameters) if o.fit.data else []]
        ends = [o.fit.interval(name, method="profile") for name in frame.index]
        print(o.fit.summary())
        print(
            "profile intervals (95 %): "
            + ", ".join(
                f"{k} [{a:.6g}, {b:.6g}]" for k, (a, b) in zip(frame.index, ends, strict=True)
            )
        )
    else:
        print(o.fit.summary())
    if isinstance(o.types, NotIdentified):
        print(plain(f"{args.types} types: not identified: {o.types}"))
    elif o.types is not None:
        print()
        print(o.types.summary())
        print(f"{o.types.agreeing} of {o.types.starts} starts agree")
    if isinstance(o.fit, Fit):
        for line in derived(o.fit, args):
            span = f", 95 % [{line['low']:.6g}, {line['high']:.6g}]" if "low" in line else ""
            value = (
                f"{line['value']:.6g} (SE {line['se']:.3g}){span}"
                if "value" in line
                else f"W = {line['statistic']:.4g}"
            )
            print(f"{line['name']}: {value}, p = {line['p']:.4g}")
    _remarks(o, sys.stdout)


def derived(found: Fit, args: argparse.Namespace) -> list[dict[str, Any]]:
    """Tests and functions of the parameters that were asked for."""
    lines: list[dict[str, Any]] = []
    if args.test:
        statistic, p = found.wald(args.test)
        lines.append(
            {
                "name": "test " + ", ".join(f"{k} = {v:g}" for k, v in args.test.items()),
                "statistic": statistic,
                "p": p,
            }
        )
    for text in args.nlcom or []:
        got = found.nlcom(partial(evaluate, text), text)
        low, high = got.interval()
        lines.append(
            {
                "name": text,
                "value": got.value,
                "se": got.se,
                "low": low,
                "high": high,
                "p": got.p_value(),
            }
        )
    return lines


def describe(o: Outcome, args: argparse.Namespace) -> dict[str, Any]:
    """JSON of one outcome."""
    common = {
        "file": str(o.path),
        "family": args.family,
        "n": len(o.sample.data.index),
        "clusters": len(o.sample.data.names),
    }
    refused = (
        o.fit
        if isinstance(o.fit, NotIdentified)
        else o.types
        if isinstance(o.types, NotIdentified)
        else None
    )
    if refused is not None:
        return common | {
            "identified": False,
            "reason": str(refused),
            "kind": refused.kind,
            "diverging": refused.diverging,
            "bounds": refused.bounds,
            "data_notes": list(o.sample.notes),
        }
    assert isinstance(o.fit, Fit)
    profile = args.intervals == "profile"
    estimates = {}
    for k, v in o.fit.estimates.items():
        low, high = o.fit.interval(k, method="profile" if profile and k != "lambda" else "default")
        estimates[k] = {
            "value": v,
            "se": o.fit.se[k],
            "p": o.fit.p_value(k),
            "low": low,
            "high": high,
        }
    result = common | {
        "identified": True,
        "estimates": estimates,
        "fixed": o.fit.fixed,
        "errors": o.fit.errors,
        "cluster": list(o.sample.cluster),
        "df": o.fit.df,
        "log_likelihood": o.fit.log_likelihood,
        "null_log_likelihood": o.fit.null_log_likelihood,
        "pseudo_r2": o.fit.pseudo_r2,
        "aic": o.fit.aic,
        "bic": o.fit.bic,
        "derived": derived(o.fit, args),
        "warnings": list(o.fit.notes),
        "data_notes": list(o.sample.notes),
        "types": [],
    }
    if isinstance(o.types, Mixture):
        m = o.types
        types = [
            {
                "share": float(m.shares[k]),
                "share_se": float(m.share_se[k]),
                "estimates": {
                    name: dict(
                        zip(
                            ("value", "se", "p", "low", "high"),
                            (v, m.se[k][name], m.p_value(k, name), *m.interval(k, name)),
                            strict=True,
                        )
                    )
                    for name, v in kind.items()
                },
            }
            for k, kind in enumerate(m.types)
        ]
        # the estimates stay those of one type; the likelihood is that of the model asked for
        result |= {
            "log_likelihood_one_type": o.fit.log_likelihood,
            "log_likelihood": m.log_likelihood,
            "aic": m.aic,
            "bic": m.bic,
            "pseudo_r2": m.pseudo_r2,
            "entropy": m.entropy,
            "nec": m.nec,
            "starts": m.starts,
            "starts_that_agree": m.agreeing,
            "errors": m.errors,
            "types": types,
            "warnings": [*o.fit.notes, *m.notes],
            "posterior": dict(zip(m.names, m.posterior.tolist(), strict=True)),
        }
    return result


# ---- expressions of parameters: arithmetic only, nothing is run

BINARY: dict[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
}
FUNCTIONS: dict[str, Callable[[float], float]] = {
    "log": math.log,
    "exp": math.exp,
    "sqrt": math.sqrt,
}


def evaluate(text: str, values: dict[str, float]) -> float:
    """The value of an arithmetic expression of parameters.  Raises InputError for anything else."""
    if len(text) > 500:
        raise InputError("--nlcom: an expression has at most 500 characters")
    try:
        tree = ast.parse(re.sub(r"\blambda\b", "lambda_", text.strip()), mode="eval").body
        result = _value(tree, {("lambda_" if k == "lambda" else k): v for k, v in values.items()})
    except (
        SyntaxError,
        ArithmeticError,
        ValueError,
        TypeError,
        RecursionError,
        MemoryError,
    ) as error:
        why = "too large a number" if isinstance(error, OverflowError) else str(error)
        raise InputError(
            f"--nlcom {plain(text)}: {' '.join(why.split())[:120]}; write arithmetic of "
            f"{', '.join(values)}"
        ) from None
    if isinstance(result, complex) or not math.isfinite(result):
        raise InputError(f"--nlcom {plain(text)}: the value is not a finite number")
    return float(result)


def _value(node: ast.AST, values: dict[str, float]) -> float:
    if (
        isinstance(node, ast.Constant)
        and isinstance(node.value, int | float)
        and not isinstance(node.value, bool)
    ):
        return float(node.value)
    if isinstance(node, ast.Name) and node.id in values:
        return values[node.id]
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
        value = _value(node.operand, values)
        return -value if isinstance(node.op, ast.USub) else value
    if isinstance(node, ast.BinOp) and type(node.op) in BINARY:
        return BINARY[type(node.op)](_value(node.left, values), _value(node.right, values))
    if (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in FUNCTIONS
        and len(node.args) == 1
        and not node.keywords
    ):
        return FUNCTIONS[node.func.id](_value(node.args[0], values))
    raise ValueError(f"{ast.unparse(node)[:60]!r} is not known")
