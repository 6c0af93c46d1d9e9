"""How different two distributions are: chi-square with its p-value, and the Kolmogorov-Smirnov distance."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from fasthep_archive.verification.numbers import Doubles


@dataclass(frozen=True, slots=True)
class ChiSquare:
    """A chi-square, its number of degrees of freedom, and the probability of a larger one.

    :ivar ndf: bins in which either histogram has a variance; 0 means that nothing could be compared.
    """

    value: float
    ndf: int

    @property
    def probability(self) -> float:
        """Return the probability of at least this value if both came from one distribution."""
        return survival(self.value, self.ndf)


def chi_square(
    recorded: Doubles, replayed: Doubles, recorded_variance: Doubles, replayed_variance: Doubles
) -> ChiSquare:
    """Return the chi-square of the difference of two histograms, taken as independent, bin by bin.

    ``sum (a - b)**2 / (var a + var b)`` over the bins with a finite, positive variance. The two are not independent
    when they count the same events, so the probability is not that of a test: it says whether a physicist would see
    the difference at all. All arrays have one shape; flow bins count like others.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        variance = recorded_variance + replayed_variance
        difference = recorded - replayed
        usable = np.isfinite(difference) & np.isfinite(variance) & (variance > 0.0)
        terms = difference[usable] ** 2 / variance[usable]
    return ChiSquare(float(terms.sum()), int(np.count_nonzero(usable)))


def survival(chi2: float, ndf: int) -> float:
    """Return the probability that a chi-square variable of ``ndf`` degrees of freedom exceeds ``chi2``.

    The regularised incomplete gamma function Q(ndf/2, chi2/2) in its finite form for integer and half-integer
    first argument (DLMF 8.4.9, 8.4.10 and 8.8.5): a sum of ``ndf // 2`` positive terms.

    >>> round(survival(3.841458820694124, 1), 12)
    0.05
    """
    if chi2 <= 0.0 or ndf == 0:
        return 1.0
    if math.isinf(chi2):
        return 0.0
    x = chi2 / 2
    start = 0.5 if ndf % 2 else 0.0
    log_x = math.log(x)
    terms = (math.exp((start + k) * log_x - x - math.lgamma(start + k + 1.0)) for k in range(ndf // 2))
    first = math.erfc(math.sqrt(x)) if ndf % 2 else 0.0
    return min(1.0, math.fsum((first, *terms)))


def kolmogorov_distance(recorded: Doubles, replayed: Doubles) -> float:
    """Return the largest distance of the two cumulative distributions over the bins, each normalised to one.

    1-d arrays of contents in the order of the axis, flow bins at the ends. NaN if either does not add up to a positive
    finite number. The distance of binned data is a lower bound of that of the events.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        cumulative = np.cumsum(recorded), np.cumsum(replayed)
    if not all(len(sums) and np.isfinite(sums[-1]) and sums[-1] > 0.0 for sums in cumulative):
        return math.nan
    return float(np.abs(cumulative[0] / cumulative[0][-1] - cumulative[1] / cumulative[1][-1]).max())
