"""The instruments by name: one line for each.  They are imported when they are asked for."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from econmoral.files.records import InputError

if TYPE_CHECKING:  # econmoral --help lists what is here, without pandas
    from .runner import Study

# name -> module and class, and what the command ``econmoral NAME`` does; empty: no command
INSTRUMENTS = {
    "games": ("games:Games", "measure base and adapters on held-out games"),
    "menus": ("menus:Menus", "allocations, budgets, everyday situations"),
    "dilemmas": ("dilemmas:Dilemmas", "moral dilemmas of autonomous vehicles"),
    "ratings": ("dilemmas:RatingsAlone", ""),  # a part of dilemmas
    "conjoint": ("dilemmas:ConjointAlone", ""),  # the other
    "pricing": ("pricing:Pricing", "repeated price competition"),
}


def find_instrument(name: str) -> type[Study]:
    """The instrument of that name.  Raises InputError where there is none."""
    if name not in INSTRUMENTS:
        raise InputError(f"unknown instrument {name!r}; known: {', '.join(INSTRUMENTS)}")
    module, _, kind = INSTRUMENTS[name][0].partition(":")
    found: type[Study] = getattr(import_module(f".{module}", __package__), kind)
    return found
