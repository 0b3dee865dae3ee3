"""Simulated choosers: what ``--simulate`` says of them."""

from __future__ import annotations

from econmoral.files.options import pairs
from econmoral.files.records import InputError


def parse_parameters(text: str, parameters: tuple[str, ...]) -> tuple[dict[str, float], float]:
    """(parameters of a chooser, its precision) from ``alpha=0.1,kappa=0.4,lambda=0.1``.

    Raises InputError for anything else.
    """
    values = pairs(text.split(","), "--simulate")
    known = {*parameters, "lambda"}
    if set(values) - known or "lambda" not in values:
        raise InputError(
            f"--simulate takes values of {', '.join(sorted(known))}, and lambda must be "
            f"among them; got {text!r}"
        )
    return {k: v for k, v in values.items() if k != "lambda"}, values["lambda"]
