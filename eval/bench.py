"""Speed as ratios measured in one run, with a check that the fast way gives the same answer.

    python -m eval.bench

The estimator on 18,720 binary choices by 160 subjects (simulated), against the same likelihood with
numerical derivatives, against statsmodels and, where it is installed, against xlogit (pip install
xlogit); exact scores in one pass over the tree of all conversations about a problem, against one
plain pass for every reply of every turn, and against sampled conversations; dilemmas, price periods
and Q-learners in batches against one by one; all on the built-in model.
"""

from __future__ import annotations

import math
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import statsmodels.api as sm  # type: ignore[import-untyped]
from scipy.optimize import minimize
from scipy.special import expit

from econmoral.economics.firms import Learning, learning_grid, q_learners
from econmoral.economics.market import Market
from econmoral.estimation.estimate import (
    Design,
    allocations,
    bootstrap,
    fit,
    log_likelihood,
    mixture,
)
from econmoral.files.options import Config, option, parse
from econmoral.files.records import command, fill_section, origin, program, read_object, write_json
from econmoral.files.shown import markdown
from econmoral.instruments.dilemmas import draw_scenarios
from econmoral.instruments.pricing import TRAIN, View, price_conversation
from econmoral.target import ECONOMICUS, moralis

from .conditions import BASE
from .conjoint import conjoint_items, conjoint_requests
from .dilemma import WORDINGS
from .engines.base import Request, Sampled
from .measure import decision_requests, draw_problems

T = TypeVar("T")


def timed(
    work: Callable[[], Any], repeats: int = 3, clock: Callable[[], float] = time.perf_counter
) -> tuple[float, Any]:
    """(best of several times in seconds, result)."""
    best, result = np.inf, None
    for _ in range(repeats):
        began = clock()
        result = work()
        best = min(best, clock() - began)
    return best, result


# processor time: other work on the machine does not enter; with OMP_NUM_THREADS=1 it is what a free
# core takes
processor = partial(timed, clock=time.process_time)


def choices() -> Design:
    """18,720 choices of 160 subjects of two kinds."""
    rng = np.random.default_rng(0)
    n = 18_720
    own, other = rng.integers(10, 110, (2, 117, 2))[:, np.arange(n) % 117] * 10.0
    act = rng.integers(3, size=117)[np.arange(n) % 117]
    kind, unkind = (act == 1).astype(float), (act == 2).astype(float)
    subject = np.arange(n) // 117
    alpha, beta = np.where(subject % 2, 0.15, 0.05), np.where(subject % 2, 0.45, 0.1)
    weight = (
        alpha[:, None] * (own < other)
        + beta[:, None] * (own > other)
        + 0.07 * kind[:, None]
        - 0.04 * unkind[:, None]
    )
    u = (1 - weight) * own + weight * other
    chosen = (rng.random(n) > expit(0.016 * (u[:, 0] - u[:, 1]))).astype(int)
    return allocations(
        own, other, chosen, [str(s) for s in subject], "bruhin_fehr_schunk", kind, unkind
    )


def estimator() -> dict[str, float]:
    """Times (of the processor) and agreement of the estimator."""
    data = choices()
    ours, found = processor(lambda: fit(data))
    difference = data.index[:, 0] - data.index[:, 1]
    y, subject = data.weight[:, 0], data.cluster
    logit_model = sm.Logit(y, difference)
    theirs, other = processor(
        lambda: logit_model.fit(disp=0, cov_type="cluster", cov_kwds={"groups": subject})
    )
    scale = np.abs(data.index).max((0, 1))
    numeric, result = processor(
        lambda: minimize(
            lambda b: -log_likelihood(b / scale, data)[0].sum(), np.zeros(5), method="BFGS"
        ),
        1,
    )
    theta = np.append(other.params[1:] / other.params[0], other.params[0])
    numerical = result.x / scale
    mine = np.array(list(found.estimates.values()))
    types, _ = processor(lambda: mixture(data, 3, starts=3), 1)
    hundred, _ = processor(lambda: bootstrap(data, 100, seed=0), 1)
    wild, _ = processor(lambda: fit(data, errors="wild", replications=1000).p_value("beta"), 1)
    return {
        "fit_seconds": ours,
        "statsmodels_over_ours": theirs / ours,
        **against_xlogit(data, ours, mine),
        "numerical_derivatives_over_ours": numeric / ours,
        "largest_difference_to_statsmodels": float(np.abs(mine - theta).max()),
        "largest_difference_to_numerical": float(
            np.abs(mine - np.append(numerical[1:] / numerical[0], numerical[0])).max()
        ),
        "three_types_three_starts_seconds": types,
        "thousand_wild_replications_and_a_p_value_seconds": wild,
        "thousand_bootstrap_replications_seconds": 10 * hundred,
    }


def against_xlogit(data: Design, ours: float, mine: np.ndarray) -> dict[str, float]:
    """Processor time and agreement of xlogit's multinomial logit on the same choices.

    Nothing where it is not installed.

    It is given features of one size, without which its search ends early; its errors are not
    clustered.
    """
    if find_spec("xlogit") is None:
        return {}
    from xlogit import MultinomialLogit

    n, s, k = data.index.shape
    scale = np.abs(data.index).max((0, 1))
    x, chosen = (data.index / scale).reshape(n * s, k), data.weight.reshape(-1).astype(int)
    names, options, who = (
        [f"x{c}" for c in range(k)],
        np.tile(np.arange(s), n),
        np.repeat(np.arange(n), s),
    )

    def work() -> np.ndarray:
        model = MultinomialLogit()
        model.fit(x, chosen, varnames=names, alts=options, ids=who, verbose=0)
        return np.asarray(model.coeff_) / scale

    theirs, b = processor(work)
    return {
        "xlogit_over_ours": theirs / ours,
        "largest_difference_to_xlogit": float(np.abs(mine - np.append(b[1:] / b[0], b[0])).max()),
    }


def scoring(items: int) -> dict[str, float]:
    """Times and agreement of exact scores."""
    import torch

    from .engines.with_transformers import Transformers

    engine = Transformers("nano", {})
    problems = draw_problems("drawn", items, 1, (ECONOMICUS, moralis(0.5)), 0)
    requests = [r for p in problems for r in decision_requests(p, BASE, "direct", samples=2)]
    groups = [
        [engine.scored(step) for level in r.conversation.steps() for step in level]
        for r in requests
    ]
    shared, fast = timed(lambda: engine.log_probabilities(groups, BASE), 2)

    def plain() -> list[list[np.ndarray]]:
        def of(context: list[int], reply: list[int]) -> float:
            with torch.no_grad():
                log_p = torch.log_softmax(
                    engine.model(torch.tensor([context + reply])).logits[0].float(), -1
                )
            return sum(log_p[len(context) + k - 1, token].item() for k, token in enumerate(reply))

        return [
            [
                np.array(
                    [
                        np.logaddexp.reduce([of(step.context, form) for form in forms])
                        for forms in step.options
                    ]
                )
                for step in group
            ]
            for group in groups
        ]

    slow, reference = timed(plain, 1)
    twice, _ = timed(lambda: Sampled(engine).score(requests, BASE), 1)
    # sampling has an error that exact scores do not have: conversations needed for it to be .02 on
    # average over problems and plans
    plans = [a.probabilities for a in engine.score(requests, BASE)]
    needed = float(np.mean([np.mean(p * (1 - p)) for p in plans if p is not None])) / 0.02**2
    gaps = [
        np.abs(a - b).max()
        for one, two in zip(fast, reference, strict=True)
        for a, b in zip(one or [], two, strict=True)
    ]
    return {
        "conversations": len(requests),
        "one_pass_seconds": shared,
        "plain_passes_over_one_pass": slow / shared,
        "largest_difference_of_log_probabilities": float(max(gaps)),
        "sampled_conversations_for_an_error_of_.02": needed,
        "time_of_sampling_that_many_over_one_pass": twice / 2 * needed / shared,
    }


def q_loop(market: Market, sessions: int, periods: int) -> None:
    """The published learning rule as one writes it at first: one session after another,
    one period after another.
    """
    learning = Learning()
    grid = learning_grid(market, learning)
    m, rng = len(grid), random.Random(0)
    profit = [[float(market.profits(np.array([a, b]))[0]) for b in grid] for a in grid]
    for _ in range(sessions):
        q = [
            [[sum(profit[a]) / m / (1 - learning.discount) for a in range(m)] for _ in range(m * m)]
            for _ in range(2)
        ]
        here = rng.randrange(m * m)
        for t in range(periods):
            epsilon = math.exp(-learning.decay * t)
            action = [
                rng.randrange(m)
                if rng.random() < epsilon
                else max(range(m), key=q[i][here].__getitem__)
                for i in (0, 1)
            ]
            after = action[0] * m + action[1]
            for i in (0, 1):
                target = profit[action[i]][action[1 - i]] + learning.discount * max(q[i][after])
                q[i][here][action[i]] += learning.rate * (target - q[i][here][action[i]])
            here = after


def applications(scenarios: int) -> dict[str, float]:
    """Dilemmas scored against generated, a period of 42 markets in one batch against one by one,
    Q-learning against a plain loop.
    """

    from .engines.with_transformers import Transformers

    engine, rng = Transformers("nano", {}), np.random.default_rng(0)
    cases = conjoint_items(draw_scenarios(scenarios, rng), WORDINGS["train"], rng)
    pages = [r for case in cases for r in conjoint_requests(case, BASE)]
    exact, answers = timed(lambda: engine.score(pages, BASE), 1)
    once, _ = timed(lambda: engine.write([r.conversation.opening() for r in pages], BASE, 0, 8), 1)
    spread = float(
        np.mean(
            [
                a.probabilities[0] * a.probabilities[1]
                for a in answers
                if a.probabilities is not None
            ]
        )
    )
    view = View(
        100.0, 2, (150.0, 155.0, 160.0), ((145.0,), (150.0,), (155.0,)), (40.0,) * 3, (20.0,) * 3
    )
    period = [
        Request(price_conversation(view, TRAIN[k % len(TRAIN)]), view, TRAIN[k % len(TRAIN)])
        for k in range(84)
    ]
    batched, _ = timed(lambda: engine.score(period, BASE))
    single, _ = timed(lambda: [engine.score([r], BASE) for r in period], 1)
    with tempfile.TemporaryDirectory() as folder:
        words = (
            "--model",
            "nano",
            "--agents",
            "base",
            "--runs",
            "42",
            "--periods",
            "300",
            "--out",
            f"{folder}/pricing",
        )
        whole, _ = timed(
            lambda: subprocess.run(
                [sys.executable, "-m", "eval.pricing", *words],
                check=True,
                stdout=subprocess.DEVNULL,
            ),
            1,
        )
    market = Market()
    vectorised, _ = timed(lambda: q_learners(market, 100, 0, Learning(), longest=2000), 1)
    loop, _ = timed(lambda: q_loop(market, 5, 2000), 1)
    return {
        "conjoint_scenarios_a_second": scenarios / exact,
        "one_generated_answer_a_page_over_exact": once / exact,
        "generated_answers_for_an_error_of_.02_over_exact": once / exact * spread / 0.02**2,
        "price_period_of_42_markets_seconds": batched,
        "prices_one_by_one_over_batched": single / batched,
        "pricing_with_42_markets_of_300_periods_and_their_forced_prices_minutes": whole / 60,
        "q_learning_sessions_in_a_loop_over_vectorised": loop / 5 / (vectorised / 100),
    }


@dataclass(frozen=True)
class BenchConfig(Config):
    """Options of ``python -m eval.bench``."""

    out: Path = option(Path("recipes/benchmarks/bench.json"), "where the figures go")
    items: int = option(20, "decision problems in each set that are scored")
    only: str | None = option(
        None,
        "measure one part, keep the others' last figures",
        choices=("estimator", "scoring", "applications"),
    )


def main() -> None:
    """Entry point."""
    config = parse(BenchConfig, program("python -m eval.bench"), __doc__)
    known: dict[str, Callable[[], dict[str, float]]] = {
        "estimator": estimator,
        "scoring": lambda: scoring(config.items),
        "applications": lambda: applications(10 * config.items),
    }
    old = read_object(config.out)
    results = {
        part: work() if config.only in (None, part) else old.get(part, {})
        for part, work in known.items()
    }
    write_json(config.out, origin() | results)
    rows = [
        (f"{part}: {name.replace('_', ' ')}", f"{value:.3g}")
        for part, values in results.items()
        for name, value in values.items()
    ]
    table = markdown(("what", "value"), rows)
    fill_section(config.out.with_name("RESULTS.md"), "bench", table)
    print(table)


if __name__ == "__main__":
    command(main)
