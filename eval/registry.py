"""The instruments by name: one line for each.  They are imported when they are asked for."""

from __future__ import annotations

from importlib import import_module

from econmoral.records import InputError

from .runner import Study

INSTRUMENTS = {  # name -> module and class
    "games": "games:Games",
    "menus": "menus:Menus",
    "dilemmas": "dilemmas:Dilemmas",
    "ratings": "ratings:Ratings",
    "conjoint": "conjoint:Conjoint",
    "pricing": "pricing:Pricing",
}


def find_instrument(name: str) -> type[Study]:
    """The instrument of that name.  Raises InputError where there is none."""
    if name not in INSTRUMENTS:
        raise InputError(f"unknown instrument {name!r}; known: {', '.join(INSTRUMENTS)}")
    module, _, kind = INSTRUMENTS[name].partition(":")
    found: type[Study] = getattr(import_module(f".{module}", __package__), kind)
    return found
