"""econmoral: the economics, the text and the records of the toolkit.  Needs no torch and no network.

    >>> from econmoral import Target, fit, measure

Notation (one symbol, one meaning, everywhere):

| symbol | in code | meaning | source |
|---|---|---|---|
| T, R, P, S | ``payoffs`` | temptation, reward, punishment, sucker's payoff of a two-move game, in points | |
| x, y | rows, columns | own strategy, the other's; whole strategies behind the veil of the role | van Leeuwen and Alger (2024) |
| y_k | ``beliefs`` | probability of the first action at the other's information set k | |
| pi(x, y) | ``Tables.pi`` | expected material payoff of x against y, role drawn 50/50 | |
| pi(x, x) | ``Tables.alike`` | the same when everybody uses x | |
| m, n | ``own``, ``other`` | own and the other's payoff at an outcome | |
| kappa | ``kappa`` | degree of (Kantian) morality, 0 homo economicus, 1 homo kantiensis: (1 - kappa) pi(x, y) + kappa pi(x, x) | Alger and Weibull (2013) |
| alpha | ``alpha`` | aversion to being behind, - alpha E max(n - m, 0); negative: spite | Fehr and Schmidt (1999) |
| beta | ``beta`` | aversion to being ahead, - beta E max(m - n, 0) | Fehr and Schmidt (1999) |
| alpha ... delta | family ``bruhin_fehr_schunk`` | weight on the other when behind, ahead, after a kind, an unkind act | Bruhin, Fehr and Schunk (2019) |
| rho, sigma, theta | family ``charness_rabin`` | weight on the other's payoff ahead, behind, after misbehaviour | Charness and Rabin (2002) |
| lambda | ``precision`` | logit precision per point: P(x) = exp(lambda u(x)) / sum exp(lambda u); sigma in Bruhin, Fehr and Schunk | |
| w_i(x) | ``Decision.choice`` | 1 for the option chosen (else 0), or its exact probability | |
| tau_jk | ``Mixture.posterior`` | probability that subject j is of type k | |
| E, NEC | ``Mixture`` | entropy - sum tau ln tau; E / (lnL(K) - lnL(1)) | Celeux and Soromenho (1996) |
| e | ``audit.ccei`` | critical cost efficiency index | Afriat (1972) |
"""

from importlib import import_module
from importlib.util import find_spec
from typing import Any

# What a study in Python needs; each is imported when it is asked for, as the modules behind take a second
_HOME = {
    "ECONOMICUS": "econmoral.target", "FAMILIES": "econmoral.preferences", "GAMES": "econmoral.games", "InputError": "econmoral.records",
    "MENUS": "econmoral.menus", "MODELS": "econmoral.models", "Measurement": "eval.study", "NotIdentified": "econmoral.estimation",
    "Target": "econmoral.target", "etable": "econmoral.estimation", "fit": "econmoral.estimation", "measure": "eval.study",
    "mixture": "econmoral.estimation", "moralis": "econmoral.target", "read_choices": "econmoral.data",
}  # fmt: skip
__all__ = [
    "ECONOMICUS", "FAMILIES", "GAMES", "MENUS", "MODELS", "InputError", "Measurement", "NotIdentified", "Target", "etable", "fit", "measure",
    "mixture", "moralis", "read_choices",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'econmoral' has no attribute {name!r}")
    room, _, module = _HOME[name].partition(".")
    # rooms lie beside the core in the repository, inside it in an installed package
    inside = room == "econmoral" or find_spec(f"econmoral.{room}") is None
    return getattr(import_module(_HOME[name] if inside else f"econmoral.{room}.{module}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
