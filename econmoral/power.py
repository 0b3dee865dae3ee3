"""How many items or samples a comparison of two choice shares needs."""

from __future__ import annotations

import math

from scipy.stats import norm


def required(effect: float, alpha: float = 0.05, power: float = 0.8, share: float = 0.5, spread: float = 0.25, correlation: float = 0.5) -> dict[str, int]:
    """Sizes at which a two-sided test of level alpha finds a difference in choice shares with the given power.

    effect : difference of the two arms' mean choice probability.  share : baseline share.  spread : standard deviation over
    items of an arm's exact choice probability.  correlation : between the arms over the same items.

    With exact probabilities an item's noise is the spread over items only; with one sampled answer per item it is the
    Bernoulli variance share (1 - share), which contains the spread.  Normal approximation,
    n = ((z_{1 - alpha/2} + z_power) / effect)^2 * variance of one item's difference.

    Raises ValueError for values out of range.
    """
    if not (0 < abs(effect) < 1 and 0 < alpha < 1 and 0 < power < 1 and 0 < share < 1 and -1 <= correlation < 1):
        raise ValueError("effect must lie strictly between -1 and 1 and not be 0; alpha, power and share between 0 and 1; correlation from -1 up to 1")
    bernoulli = share * (1 - share)
    if not 0 < spread**2 <= bernoulli:
        raise ValueError(f"spread must lie in (0, {math.sqrt(bernoulli):.3g}], the largest standard deviation of a probability with mean {share:g}")
    factor = ((norm.ppf(1 - alpha / 2) + norm.ppf(power)) / effect) ** 2
    shared = correlation * spread**2  # what the arms have in common: the items
    return {
        "exact, paired items": math.ceil(factor * 2 * (spread**2 - shared)),
        "exact, unpaired items per arm": math.ceil(factor * 2 * spread**2),
        "sampled once, paired items": math.ceil(factor * 2 * (bernoulli - shared)),
        "sampled once, unpaired items per arm": math.ceil(factor * 2 * bernoulli),
    }
