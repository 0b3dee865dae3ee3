"""``econmoral fit``: estimates from files at the shell.

    econmoral fit choices.csv --family bruhin_fehr_schunk --cluster sid --types 3
    econmoral fit treated.csv control.csv --table latex > table.tex
    econmoral fit treated.csv control.csv --difference beta --effects
    econmoral fit runs/demo/eval/choices.jsonl --set payoffs --mode reasoned --arm moralis
    econmoral fit choices.csv --family bruhin_fehr_schunk --cluster sid --out runs/humans
    econmoral fit choices.csv --cluster sid --each --predict --out runs/humans

Exit code 0: estimated; 2: the input cannot be used; 3: the data do not identify the parameters.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import pandas as pd

from econmoral.economics.preferences import FAMILIES
from econmoral.estimation.estimate import (
    Derived,
    Fit,
    Mixture,
    NotIdentified,
    difference,
    etable,
    fit,
    mixture,
    ratio,
    restrict,
)
from econmoral.estimation.likelihood import Design
from econmoral.estimation.tables import Etable
from econmoral.files.options import Config, option, pairs
from econmoral.files.records import (
    InputError,
    finite,
    origin,
    plain,
    spreadsheet_cell,
    write_json,
    write_text,
)
from econmoral.people.choices import read_choices
from econmoral.people.expressions import check, evaluate
from econmoral.people.sample import Sample
from econmoral.people.subjects import predictions, subjects, summary

NOT_IDENTIFIED = 3  # exit code
OF_CHOICES = "{0} of choices.jsonl, or value of a column {0} (default: the only one)"
ERRORS = ("cluster", "clustered", "sandwich", "hessian", "bootstrap", "wild", "jackknife")
RANDOM = ("bootstrap", "wild")


@dataclass(frozen=True)
class Options(Config):
    """What the command is told."""

    files: tuple[Path, ...] = option(
        (),
        ".csv .tsv .dta .parquet .jsonl: allocations, games or choices.jsonl (docs/data.md)",
        metavar="FILE",
        positional=True,
    )
    family: str = option("alpha_beta_kappa", f"one of {', '.join(FAMILIES)}")
    cluster: tuple[str, ...] = option(
        (),
        "who is who: one column, or two for two-way (default subject; id)",
        metavar="COLUMN",
        extend=True,
    )
    errors: str = option("cluster", "kind of standard errors", choices=ERRORS)
    types: int = option(1, "types of a finite mixture (default 1: none)")
    fix: tuple[str, ...] = option(
        (), "hold parameters, e.g. gamma=0 delta=0", metavar="NAME=VALUE", extend=True
    )
    weight: str | None = option(
        None, "sampling weights (default: the column weight, where there is one)", metavar="COLUMN"
    )
    set: str | None = option(None, OF_CHOICES.format("set"))
    mode: str | None = option(None, OF_CHOICES.format("mode"))
    arm: str | None = option(None, OF_CHOICES.format("arm"))
    test: tuple[str, ...] = option(
        (), "Wald test of these values together", metavar="NAME=VALUE", extend=True
    )
    nlcom: tuple[str, ...] = option(
        (),
        "a function of the parameters, e.g. 'beta/(1-beta)', by the delta method",
        metavar="EXPRESSION",
        repeat=True,
    )
    intervals: str | None = option(
        None,
        "profile: by likelihood ratio, decisions taken as independent",
        choices=("default", "profile"),
    )
    effects: bool = option(
        False, "marginal effects: what a unit more of own payoff, or of a term, does to a choice"
    )
    per: float | None = option(
        None, "units that --effects adds (default 1)", metavar="UNITS", positive=True
    )
    difference: tuple[str, ...] = option(
        (),
        "of two files: a parameter of the first minus that of the second",
        metavar="NAME",
        repeat=True,
    )
    ratio: tuple[str, ...] = option(
        (),
        "of two files: a parameter of the first over that of the second",
        metavar="NAME",
        repeat=True,
    )
    table: str | None = option(
        None, "print a table, files side by side", choices=("text", "markdown", "html", "latex")
    )
    stars: bool = option(False, "stars for significance in the table")
    each: bool = option(False, "also every subject on their own (with --out: subjects.csv)")
    predict: bool = option(
        False, "write predictions.csv to --out: probability of every option of every decision"
    )
    replications: int | None = option(None, "of bootstrap and wild (default 999; types: 199)")
    seed: int | None = option(None, "of bootstrap, wild and the starts of types (default 0)")
    out: Path | None = option(
        None, "also write fit.json, table.tex, table.md and run.json there", metavar="FOLDER"
    )
    json: bool = option(False, "print JSON")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.files:  # fit --cluster sid choices.csv: the list took the file
            for name in ("cluster", "fix", "test"):
                words = list(getattr(self, name))
                while len(words) > 1 and "=" not in words[-1] and Path(words[-1]).exists():
                    self._set("files", (Path(words.pop()), *self.files))
                self._set(name, tuple(words))
        self._check()

    @property
    def fixed(self) -> dict[str, float]:
        """Parameters that are held, and at what."""
        return pairs(self.fix, "--fix")

    @property
    def tested(self) -> dict[str, float]:
        """Values that are tested together."""
        return pairs(self.test, "--test")

    def _check(self) -> None:
        """The options against each other: each acts, or is an error."""
        if not self.files:
            raise InputError("name the file(s) with the choices: fit FILE ...")
        if self.family not in FAMILIES:
            raise InputError(f"unknown family {self.family!r}; known: {', '.join(FAMILIES)}")
        if not 1 <= self.types <= 10:
            raise InputError(f"--types must lie between 1 and 10, got {self.types}")
        if self.errors == "cluster":
            self._set("errors", "clustered")
        parameters = FAMILIES[self.family].parameters
        if unknown := set(self.fixed) - set(parameters):
            raise InputError(
                f"--fix: {self.family} has no parameter {', '.join(sorted(unknown))}; it has "
                f"{', '.join(parameters) or 'none'}"
            )
        free = [p for p in (*parameters, "lambda") if p not in self.fixed]
        if unknown := set(self.tested) - set(free):
            raise InputError(
                f"--test: no estimated parameter {', '.join(sorted(unknown))}; there are "
                f"{', '.join(free)}"
            )
        for name in ("difference", "ratio"):
            if unknown := set(getattr(self, name)) - set(free):
                raise InputError(
                    f"--{name}: no estimated parameter {', '.join(sorted(unknown))}; there are "
                    f"{', '.join(free)}"
                )
        for text in self.nlcom:
            check(text, free)
        self._check_idle()
        self._check_errors()
        if self.intervals == "profile" and free == ["lambda"]:
            raise InputError(
                "--intervals profile does nothing where only lambda is estimated, which has no "
                "profile interval; leave it out"
            )

    def _check_idle(self) -> None:
        """Raises InputError for an option that would do nothing beside the others."""
        single = self.errors in ("sandwich", "hessian") and self.types == 1
        other = self.types > 1 or bool(self.table)  # nothing but the estimates is printed
        idle = {
            "--cluster": bool(self.cluster) and single and not self.each,
            "--replications": self.replications is not None and self.errors not in RANDOM,
            "--seed": self.seed is not None and self.errors not in RANDOM and self.types == 1,
            "--stars": self.stars and not self.table and not self.out,
            "--table": bool(self.table) and self.json,
            "--test": bool(self.test) and other,
            "--nlcom": bool(self.nlcom) and other,
            "--intervals": self.intervals == "profile" and other,
            "--effects": self.effects and other,
            "--per": self.per is not None and not self.effects,
            "--difference": bool(self.difference) and other,
            "--ratio": bool(self.ratio) and other,
            "--each": self.each and (other or len(self.files) > 1),
            "--predict": self.predict and (other or len(self.files) > 1 or not self.out),
        }
        with_what = {
            "--cluster": f"with --errors {self.errors}",
            "--replications": "without --errors bootstrap or wild",
            "--seed": "without --errors bootstrap or wild, or --types",
            "--stars": "without --table",
            "--table": "with --json",
            "--per": "without --effects",
            "--each": "with several files, --types or --table",
            "--predict": "without --out, or with several files, --types or --table",
        }
        for name, useless in idle.items():
            if useless:
                raise InputError(
                    f"{name} does nothing {with_what.get(name, 'with --types or --table')}; leave "
                    "it out"
                )

    def _check_errors(self) -> None:
        """Raises InputError where errors, clusters and replications do not go together."""
        if self.difference or self.ratio:
            name = "--difference" if self.difference else "--ratio"
            if len(self.files) != 2:
                raise InputError(f"{name} compares two files, got {len(self.files)}")
            if self.errors != "clustered" or len(self.cluster) > 1:
                raise InputError(
                    f"{name} goes with --errors cluster and one column in --cluster: who is in "
                    "both files is accounted for"
                )
        if self.types > 1 and self.errors in ("sandwich", "wild"):
            raise InputError(
                f"--errors {self.errors} is not available with --types; use cluster, hessian, "
                "bootstrap or jackknife"
            )
        if len(self.cluster) > 1 and (self.errors != "clustered" or self.types > 1):
            raise InputError(
                "two columns in --cluster go with --errors cluster and without --types"
            )
        if len(set(self.cluster)) < len(self.cluster):
            raise InputError(
                f"--cluster names {self.cluster[-1]} twice; two-way clustering needs two columns"
            )
        if self.replications is not None and not 19 <= self.replications <= 1_000_000:
            raise InputError(
                f"--replications must lie between 19 and 1000000, got {self.replications}"
            )
        if self.seed is not None and self.seed < 0:
            raise InputError("--seed must not be negative")


@dataclass(frozen=True)
class Outcome:
    """What a file gave: a fit, with types perhaps; or why there is none."""

    path: Path
    sample: Sample
    data: Design
    fit: Fit | NotIdentified
    types: Mixture | NotIdentified | None = None

    @property
    def shown(self) -> Any:
        """What stands in the table."""
        return self.fit if self.types is None else self.types

    @cached_property
    def each(self) -> pd.DataFrame:
        """Every subject on their own.  Raises InputError where it is not known who decided."""
        if not self.sample.cluster or len(self.data.names) == len(self.data.index):
            raise InputError(
                f"{self.path}: --each needs several decisions of each subject; name the subjects "
                "with --cluster"
            )
        return subjects(self.data)

    @property
    def identified(self) -> bool:
        """Whether everything asked for was estimated."""
        return isinstance(self.fit, Fit) and not isinstance(self.types, NotIdentified)


def outcome(path: Path, options: Options) -> Outcome:
    """Read and estimate one file."""
    sample = read_choices(
        path,
        options.family,
        options.cluster,
        options.weight,
        {k: getattr(options, k) for k in ("set", "mode", "arm")},
    )
    data, seed = restrict(sample.data, options.fixed), options.seed or 0
    errors = "sandwich" if options.errors == "clustered" and not sample.cluster else options.errors
    if options.types > 1:
        if len(data.names) == len(data.index):
            raise InputError(
                f"{path}: types need several decisions of each subject; name the subjects with "
                "--cluster"
            )
        # of the fit with one type, which is shown beside
        errors = "hessian" if errors == "hessian" else "clustered"
    draws = options.replications
    try:
        found = fit(data, errors=errors, second=sample.second, replications=draws or 999, seed=seed)
    except NotIdentified as error:
        return Outcome(path, sample, data, error)
    except ValueError as error:
        raise InputError(f"{path}: {error}") from None
    if options.types == 1:
        return Outcome(path, sample, data, found)
    try:
        return Outcome(
            path,
            sample,
            data,
            found,
            mixture(
                data, options.types, seed=seed, errors=options.errors, replications=draws or 199
            ),
        )
    except NotIdentified as error:
        return Outcome(path, sample, data, found, error)
    except ValueError as error:
        raise InputError(f"{path}: {error}") from None


def run(options: Options) -> int:
    """Estimate, print, return the exit code."""
    found = [outcome(path, options) for path in options.files]
    if options.json or options.out:
        described = [describe(o, options) for o in found]
        whole = finite(
            described[0]
            if len(described) == 1
            else {"fits": described, "compared": compared(found, options)}
        )
    if options.out:
        table = side_by_side(found, options)
        write_json(options.out / "fit.json", whole)
        write_text(options.out / "table.tex", table.to("latex") + "\n")
        write_text(options.out / "table.md", table.to("markdown") + "\n")
        made = tables(found[0], options)
        for name in ("subjects.csv", "predictions.csv"):  # none of an earlier fit stays
            (options.out / name).unlink(missing_ok=True)
            if name in made:
                write_text(options.out / name, made[name].map(spreadsheet_cell).to_csv(index=False))
        write_json(
            options.out / "run.json",
            origin(**{f"choices_{i}": o.path for i, o in enumerate(found, start=1)}),
        )
    if options.json:
        print(json.dumps(whole, indent=2, allow_nan=False))
    elif options.table or len(found) > 1:
        below = [
            f"{name}: {line}"
            for name, o in zip(titles(found), found, strict=True)
            for line in asked(o, options)
        ]
        if options.difference or options.ratio:
            below += between(found, options)
        print(side_by_side(found, options).to(options.table or "text"))
        for line in below:
            print(plain(line))
        for o in found:
            _remarks(o, sys.stderr)
    else:
        show(found[0], options)
    return 0 if all(o.identified for o in found) else NOT_IDENTIFIED


def tables(o: Outcome, options: Options) -> dict[str, pd.DataFrame]:
    """Tables that were asked for beside the estimates, by the name of their file.

    Raises InputError where it is not known who decided.
    """
    made = {}
    if options.each:
        made["subjects.csv"] = o.each
    if options.predict and isinstance(o.fit, Fit):
        made["predictions.csv"] = predictions(o.fit, o.sample.options)
    return made


def titles(found: list[Outcome]) -> list[str]:
    """What each file is called beside the others: its name, or its path where names repeat."""
    names = [o.path.stem for o in found]
    return names if len(set(names)) == len(names) else [str(o.path) for o in found]


def side_by_side(found: list[Outcome], options: Options) -> Etable:
    """The outcomes in one table, each under the name of its file."""
    ways = list(dict.fromkeys(" and ".join(o.sample.cluster) for o in found))
    robust = options.errors not in ("sandwich", "hessian") or options.types > 1
    notes = [f"Clusters: {ways[0]}."] if len(ways) == 1 and ways[0] and robust else []
    return etable(*(o.shown for o in found), names=titles(found), stars=options.stars, notes=notes)


def _remarks(o: Outcome, stream: Any) -> None:
    for note in o.sample.notes:
        print(plain(f"note: {o.path}: {note}"), file=stream)


def show(o: Outcome, options: Options) -> None:
    """Print one outcome for a person."""
    below = asked(o, options)
    if isinstance(o.fit, NotIdentified):
        print(plain(f"not identified: {o.fit}"))
    else:
        print(o.fit.summary())
    if isinstance(o.types, NotIdentified):
        print(plain(f"{options.types} types: not identified: {o.types}"))
    elif o.types is not None:
        print()
        print(o.types.summary())
        print(f"{o.types.agreeing} of {o.types.starts} starts agree")
    for line in below:
        print(line)
    _remarks(o, sys.stdout)


def asked(o: Outcome, options: Options) -> list[str]:
    """What was asked for beside the estimates, a line each; nothing where there are none."""
    lines = summary(o.each) if options.each else []
    if not isinstance(o.fit, Fit):
        return [*lines, *(["no predictions: there is no estimate"] if options.predict else [])]
    if ends := profiles(o, options):
        said = ", ".join(f"{k} [{a:.6g}, {b:.6g}]" for k, (a, b) in ends.items())
        lines.append(f"profile intervals (95 %): {said}")
    return lines + [_said(line) for line in derived(o.fit, options)]


def _said(line: dict[str, Any]) -> str:
    """One result as a line."""
    if "statistic" in line:
        return f"{line['name']}: W = {line['statistic']:.4g}, p = {line['p']:.4g}"
    text = (
        f"{line['name']}: {line['value']:.6g} (SE {line['se']:.3g}), "
        f"95 % [{line['low']:.6g}, {line['high']:.6g}]"
    )
    if "p" in line:
        text += f", p = {line['p']:.4g}"
    return text + (f" (of {line['against']:g})" if line.get("against") else "")


def profiles(o: Outcome, options: Options) -> dict[str, tuple[float, float]]:
    """Profile intervals of the parameters, where they were asked for.

    Raises InputError with weights.
    """
    if options.intervals != "profile" or not isinstance(o.fit, Fit):
        return {}
    try:
        return {k: o.fit.interval(k, method="profile") for k in o.fit.estimates if k != "lambda"}
    except ValueError as error:
        raise InputError(f"{o.path}: {error}; leave --intervals out") from None


def derived(found: Fit, options: Options) -> list[dict[str, Any]]:
    """Tests and functions of the parameters that were asked for."""
    lines: list[dict[str, Any]] = []
    if tested := options.tested:
        statistic, p = found.wald(tested)
        lines.append(
            {
                "name": "test " + ", ".join(f"{k} = {v:g}" for k, v in tested.items()),
                "statistic": statistic,
                "p": p,
            }
        )
    for text in options.nlcom:
        got = found.nlcom(partial(evaluate, text), text)
        lines.append(_line(got) | {"p": got.p_value()})
    if options.effects:
        per = 1.0 if options.per is None else options.per
        for term, row in found.effects(per).iterrows():
            what = term if term == "own payoff" else f"the term of {term}"
            name = f"marginal effect of {per:g} more of {what}"
            lines.append({"name": name, "value": row.pop("effect")} | row.to_dict())
    return lines


def _line(got: Derived) -> dict[str, Any]:
    low, high = got.interval()
    return {"name": got.name, "value": got.value, "se": got.se, "low": low, "high": high}


def compared(found: list[Outcome], options: Options) -> list[dict[str, Any]]:
    """Differences and ratios of the first file to the second that were asked for; none where one
    is not identified.

    Raises InputError where it is not known who is in both.
    """
    kinds = (
        ("difference", difference, "-", 0.0, options.difference),
        ("ratio", ratio, "/", 1.0, options.ratio),
    )
    fits = [o.fit for o in found if isinstance(o.fit, Fit)]
    if len(fits) != 2 or not (options.difference or options.ratio):
        return []
    for o in found:
        if not o.sample.cluster:
            raise InputError(
                f"{o.path}: a difference or ratio needs to know who decided; name the column with "
                "--cluster"
            )
    first, second = (o.sample for o in found)
    both = len(set(first.data.names) & set(second.data.names))
    if both and first.cluster != second.cluster:
        raise InputError(
            f"{both} value(s) of {first.cluster[0]} in {found[0].path} are also values of "
            f"{second.cluster[0]} in {found[1].path}, and would be taken as the same; rename them"
        )
    one, two = titles(found)
    lines = []
    for kind, function, sign, null, names in kinds:
        for name in names:
            try:
                got = function(fits[0], fits[1], name)
            except ValueError as error:
                raise InputError(f"--{kind}: {error}") from None
            line = {"name": f"{got.name} ({one} {sign} {two})", "parameter": name, "kind": kind}
            more = {"p": got.p_value(null), "against": null, "clusters_in_both": both}
            lines.append(_line(got) | line | more)
    return lines


def between(found: list[Outcome], options: Options) -> list[str]:
    """What ``compared`` found, a line each, and who was taken as the same."""
    lines = compared(found, options)
    if not lines:
        return [f"{' and '.join(titles(found))}: not compared, for not both are identified"]
    both = lines[0]["clusters_in_both"]
    last = f"clusters of the same name in both files, taken as the same: {both}"
    return [*map(_said, lines), last]


def describe(o: Outcome, options: Options) -> dict[str, Any]:
    """JSON of one outcome."""
    common: dict[str, Any] = {
        "file": str(o.path),
        "family": options.family,
        "n": len(o.sample.data.index),
        "clusters": len(o.sample.data.names),
    }
    if options.each:
        common["subjects"] = o.each.to_dict("records")
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
    profile = profiles(o, options)
    estimates = {}
    for k, v in o.fit.estimates.items():
        low, high = profile.get(k) or o.fit.interval(k)
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
        "derived": derived(o.fit, options),
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
