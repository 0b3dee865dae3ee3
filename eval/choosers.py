"""Simulated choosers: what ``--simulate`` says of them."""

from __future__ import annotations

import math

from econmoral.files.records import InputError


def parse_parameters(text: str, parameters: tuple[str, ...]) -> tuple[dict[str, float], float]:
    """(parameters of a chooser, its precision) from ``alpha=0.1,kappa=0.4,lambda=0.1``.

    Raises InputError for anything else.
    """
    values: dict[str, float] = {}
    for part in text.split(","):
        name, _, value = part.partition("=")
        if name.strip() in values:
            raise InputError(f"--simulate gives {name.strip()} twice")
        try:
            values[name.strip()] = float(value)
        except ValueError:
            raise InputError(f"--simulate: {part!r} is not of the form name=number") from None
    known = {*parameters, "lambda"}
    finite = all(map(math.isfinite, values.values()))
    if set(values) - known or "lambda" not in values or not finite:
        raise InputError(
            f"--simulate takes finite values of {', '.join(sorted(known))}, and lambda must be "
            f"among them; got {text!r}"
        )
    return {k: v for k, v in values.items() if k != "lambda"}, values["lambda"]
