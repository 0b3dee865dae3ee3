"""econmoral: the economics, the text and the records of the toolkit.

Needs no torch and no network.

    from econmoral import Target, fit, measure

What is listed in ``__all__`` is loaded when it is first used, so that ``import econmoral`` costs
nothing.

Notation (one symbol, one meaning, everywhere):

| symbol | in code | meaning | source |
|---|---|---|---|
| T, R, P, S | ``payoffs`` | temptation, reward, punishment, sucker's payoff, in points | |
| x, y | rows, columns | own strategy, the other's; whole strategies behind the veil | vLA |
| y_k | ``beliefs`` | probability of the first action at the other's information set k | |
| pi(x, y) | ``Tables.pi`` | expected material payoff of x against y, role drawn 50/50 | |
| pi(x, x) | ``Tables.alike`` | the same when everybody uses x | |
| m, n | ``own``, ``other`` | own and the other's payoff at an outcome | |
| kappa | ``kappa`` | morality: (1 - kappa) pi(x, y) + kappa pi(x, x) | AW |
| alpha | ``alpha`` | aversion to being behind, - alpha E max(n - m, 0); negative: spite | FS |
| beta | ``beta`` | aversion to being ahead, - beta E max(m - n, 0) | FS |
| alpha ... delta | of BFS | weight on the other behind, ahead, after a kind, an unkind act | BFS |
| rho, sigma, theta | of CR | weight on the other ahead, behind, after misbehaviour | CR |
| lambda | ``precision`` | logit precision per point: P(x) ~ exp(lambda u(x)) | |
| w_i(x) | ``Decision.choice`` | 1 for the option chosen (else 0), or its exact probability | |
| tau_jk | ``Mixture.posterior`` | probability that subject j is of type k | |
| E, NEC | ``Mixture`` | entropy - sum tau ln tau; E / (lnL(K) - lnL(1)) | CS |
| e | ``audit.ccei`` | critical cost efficiency index | A |

kappa is the degree of (Kantian) morality: 0 is homo economicus, 1 homo kantiensis.  BFS is the
family ``bruhin_fehr_schunk``, whose authors call lambda sigma; CR is ``charness_rabin``.

Sources: vLA van Leeuwen and Alger (2024), AW Alger and Weibull (2013), FS Fehr and Schmidt (1999),
BFS Bruhin, Fehr and Schunk (2019), CR Charness and Rabin (2002), CS Celeux and Soromenho (1996),
A Afriat (1972).
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from econmoral.checkpoints.models import MODELS
    from econmoral.economics.games import GAMES
    from econmoral.economics.preferences import FAMILIES
    from econmoral.estimation.estimate import NotIdentified, etable, fit, mixture
    from econmoral.files.records import InputError
    from econmoral.instruments.menus import MENUS
    from econmoral.people.choices import read_choices
    from econmoral.target import ECONOMICUS, Target, moralis

_HOME = {
    "ECONOMICUS": "target",
    "FAMILIES": "economics.preferences",
    "GAMES": "economics.games",
    "InputError": "files.records",
    "MENUS": "instruments.menus",
    "MODELS": "checkpoints.models",
    "NotIdentified": "estimation.estimate",
    "Target": "target",
    "etable": "estimation.estimate",
    "fit": "estimation.estimate",
    "mixture": "estimation.estimate",
    "moralis": "target",
    "read_choices": "people.choices",
}
_ROOMS = {
    "Comparison": "eval.compare", "Measurement": "eval.study", "compare": "eval.compare",
    "measure": "eval.study", "report": "eval.report",
}  # fmt: skip
__all__ = [
    "ECONOMICUS", "FAMILIES", "GAMES", "MENUS", "MODELS", "Comparison", "InputError",
    "Measurement", "NotIdentified", "Target", "compare", "etable", "fit", "measure", "mixture",
    "moralis", "read_choices", "report",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f"econmoral.{_HOME[name]}"), name)
    if name in _ROOMS:
        from econmoral.rooms import room

        return getattr(room(_ROOMS[name]), name)
    raise AttributeError(f"module 'econmoral' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
