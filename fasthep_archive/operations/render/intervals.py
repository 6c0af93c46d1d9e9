"""Statistical uncertainties of bins.

Counts have the central confidence interval for a Poisson mean, after F. Garwood, Biometrika 28 (1936) 437, as the
Review of Particle Physics gives it (Statistics, "Poisson or binomial data"): its ends are quantiles of gamma
distributions. Its coverage is that of one standard deviation of a normal distribution, 68.27 %.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Doubles: TypeAlias = NDArray[np.float64]

TAIL = 0.5 * math.erfc(math.sqrt(0.5))
"""Probability beyond one standard deviation on one side: 15.87 %."""

_EXPANDED = 1000.0
"""Shape of a gamma distribution from which its quantiles come from an expansion, to 1e-6 of themselves."""


def poisson(values: Doubles, variances: Doubles) -> tuple[Doubles, Doubles]:
    """Return how far the interval reaches below and above ``values``.

    A bin of weights is taken for ``values**2 / variances`` events of one weight; negative bins and bins without
    variance have the root of the variance on both sides.
    """
    below, above = roots(variances), roots(variances)
    for at in np.flatnonzero((values > 0) & (variances > 0) & np.isfinite(values) & np.isfinite(variances)):
        weight = float(variances[at] / values[at])
        lower, upper = poisson_interval(float(values[at] / weight))
        below[at], above[at] = values[at] - weight * lower, weight * upper - values[at]
    return below, above


def roots(variances: Doubles) -> Doubles:
    """Return the roots of ``variances``, of which none is negative but for rounding."""
    return np.sqrt(np.maximum(variances, 0.0))


@lru_cache(maxsize=4096)
def poisson_interval(count: float) -> tuple[float, float]:
    """Return the interval for the mean of which ``count`` was observed.

    >>> [round(end, 4) for end in poisson_interval(0)], [round(end, 4) for end in poisson_interval(4)]
    ([0.0, 1.841], [2.0857, 7.1628])
    """
    lower = _gamma_quantile(count, TAIL) if count > 0 else 0.0
    return lower, _gamma_quantile(count + 1, 1 - TAIL)


def _gamma_quantile(shape: float, probability: float) -> float:
    """Return the quantile of the gamma distribution of ``shape`` and scale one.

    The start is the expansion of E. B. Wilson and M. M. Hilferty, PNAS 17 (1931) 684, at one standard deviation; then
    bisection inside of a bracket, which needs no derivative and cannot run away.
    """
    sign = 1.0 if probability > 0.5 else -1.0
    start = shape * (1 - 1 / (9 * shape) + sign / (3 * math.sqrt(shape))) ** 3
    if shape >= _EXPANDED:
        return start
    low, high = 0.0, max(2 * start, shape + 10.0)
    while True:
        middle = 0.5 * (low + high)
        if not low < middle < high or high - low < 1e-13 * high:
            return middle
        if _gamma_probability(shape, middle) < probability:
            low = middle
        else:
            high = middle


def _gamma_probability(shape: float, x: float) -> float:
    """Return the regularized lower incomplete gamma function P(shape, x).

    Its series (DLMF 8.11.4) where it converges fast, else one minus the continued fraction of Q (DLMF 8.9.2), computed
    from its end.
    """
    if x <= 0:
        return 0.0
    front = math.exp(shape * math.log(x) - x - math.lgamma(shape + 1))
    if x < shape + 1:
        total = term = 1.0
        denominator = shape
        while term > 1e-17 * total:
            denominator += 1
            term *= x / denominator
            total += term
        return front * total
    terms = 64 + int(8 * math.sqrt(shape))
    fraction = 0.0
    for number in range(terms, 0, -1):
        fraction = number * (number - shape) / (x + 2 * number + 1 - shape - fraction)
    return 1.0 - front * shape / (x + 1 - shape - fraction)
