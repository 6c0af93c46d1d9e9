"""What stands in the lower frame of a picture: how one histogram compares with another, bin by bin."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from fasthep_archive.operations.render import marks
from fasthep_archive.operations.render.intervals import Doubles, roots
from fasthep_archive.operations.render.samples import Bins, Curve
from fasthep_archive.operations.render.style import Limits

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Comparison = Literal[
    "asymmetry", "difference", "efficiency", "pull", "ratio", "relative_difference", "split_ratio"
]  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Compared:
    """The bins in which something can be compared (``defined``), and there its value and its uncertainty."""

    defined: NDArray[np.bool_]
    values: Doubles
    lower: Doubles
    upper: Doubles


def over(data: Curve, total: Curve) -> Compared:
    """Return data over simulation where there is simulation and data, with the uncertainty of the data."""
    defined = (total.values > 0) & ((data.values != 0) | (data.variances != 0))
    return _compared(defined, *(_over(array, total.values) for array in (data.values, data.lower, data.upper)))


def compare(how: Comparison, reference: Curve, target: Curve) -> Compared:
    """Return how ``reference`` compares with ``target``; bins that both have empty are left out.

    Uncertainties are propagated to first order for histograms that know nothing of each other, except of an
    efficiency. That of an asymmetry is that of (r - t) / (r + t) as a function of r and t.
    """
    return _COMPARISONS[how](reference, target)


def set_axis(axes: Axes, label: str, limits: Limits | None) -> None:
    """Set label, limits and ticks of the lower frame; no tick is so near an edge that its number leaves the frame."""
    from matplotlib.ticker import MaxNLocator

    axes.set_ylabel(label, loc="center")
    if limits is not None:
        axes.set_ylim(*limits)
    axes.yaxis.set_major_locator(MaxNLocator(nbins=4, prune="both"))


def draw_points(axes: Axes, bins: Bins, compared: Compared, color: str) -> None:
    """Draw the points of the lower frame; a triangle at its edge stands for one that is outside of it."""
    values = np.where(compared.defined, compared.values, 0.0)
    there = compared.defined.astype(np.float64)
    curve = Curve(name="", measured=True, values=values, variances=there, lower=compared.lower, upper=compared.upper)
    marks.points(axes, "ratio.points", bins, curve, marks.Ink(color=color, label=""))
    low, high = axes.get_ylim()
    for gid, edge, marker, beyond in (
        ("ratio.above", 0.93, "^", compared.defined & (values > high)),
        ("ratio.below", 0.07, "v", compared.defined & (values < low)),
    ):
        if beyond.any():
            axes.plot(
                bins.middles[beyond], np.full(int(beyond.sum()), edge), marker=marker, color=color, linestyle="none",
                markersize=marks.point_size(), transform=axes.get_xaxis_transform(), zorder=11, gid=gid,
            )  # fmt: skip


def draw_band(axes: Axes, bins: Bins, total: Curve) -> None:
    """Hatch the relative uncertainty of a stack around one, where there is a stack."""
    relative = np.where(total.values > 0, _over(total.upper, total.values), 0.0)
    marks.band(axes, "ratio.band", bins, 1 - relative, 1 + relative, label="")


def _over(array: Doubles, divisor: Doubles) -> Doubles:
    return np.divide(array, divisor, out=np.zeros_like(array), where=divisor != 0)


def _compared(defined: NDArray[np.bool_], values: Doubles, lower: Doubles, upper: Doubles) -> Compared:
    cleaned = (np.where(defined, array, 0.0) for array in (values, lower, upper))
    values, lower, upper = cleaned
    return Compared(defined=defined, values=values, lower=lower, upper=upper)


def _ratio(reference: Curve, target: Curve) -> Compared:
    """Return r / t, with both uncertainties."""
    quotient = _over(reference.values, target.values)
    shared = quotient**2 * target.variances
    lower, upper = (
        _over(np.sqrt(error**2 + shared), np.abs(target.values)) for error in (reference.lower, reference.upper)
    )
    return _compared(target.values != 0, quotient, lower, upper)


def _split_ratio(reference: Curve, target: Curve) -> Compared:
    """Return r / t with the uncertainty of r; that of t is a band."""
    size = np.abs(target.values)
    lower, upper = _over(reference.lower, size), _over(reference.upper, size)
    return _compared(target.values != 0, _over(reference.values, target.values), lower, upper)


def _difference(reference: Curve, target: Curve) -> Compared:
    """Return r - t."""
    lower, upper = (np.sqrt(error**2 + target.variances) for error in (reference.lower, reference.upper))
    return _compared(_any(reference, target), reference.values - target.values, lower, upper)


def _relative_difference(reference: Curve, target: Curve) -> Compared:
    """Return r / t - 1."""
    ratio = _ratio(reference, target)
    return _compared(ratio.defined, ratio.values - 1, ratio.lower, ratio.upper)


def _pull(reference: Curve, target: Curve) -> Compared:
    """Return (r - t) / sigma, with the uncertainty of r on the side of t."""
    gap = reference.values - target.values
    sigma = np.sqrt(np.where(gap >= 0, reference.lower, reference.upper) ** 2 + target.variances)
    one = np.ones_like(gap)
    return _compared(sigma > 0, _over(gap, sigma), one, one)


def _asymmetry(reference: Curve, target: Curve) -> Compared:
    """Return (r - t) / (r + t)."""
    total = reference.values + target.values
    lower, upper = (
        2 * _over(np.sqrt((target.values * error) ** 2 + reference.values**2 * target.variances), total**2)
        for error in (reference.lower, reference.upper)
    )
    return _compared(total != 0, _over(reference.values - target.values, total), lower, upper)


def _efficiency(reference: Curve, target: Curve) -> Compared:
    """Return r / t for r events out of t.

    The uncertainty is the root of the variance of the efficiency's posterior for a uniform prior, the beta distribution
    of r + 1 and t - r + 1 (M. Paterno, FERMILAB-TM-2286-CD), as ROOT's TEfficiency and mplhep have it.
    """
    passed, all_ = reference.values, target.values
    mean = (passed + 1) / (all_ + 2)
    error = roots((passed + 1) * (passed + 2) / ((all_ + 2) * (all_ + 3)) - mean**2)
    return _compared((all_ > 0) & (passed >= 0) & (passed <= all_), _over(passed, all_), error, error)


def _any(reference: Curve, target: Curve) -> NDArray[np.bool_]:
    filled: NDArray[np.bool_] = (reference.values != 0) | (target.values != 0)
    return filled


_COMPARISONS: Mapping[Comparison, Callable[[Curve, Curve], Compared]] = {
    "asymmetry": _asymmetry,
    "difference": _difference,
    "efficiency": _efficiency,
    "pull": _pull,
    "ratio": _ratio,
    "relative_difference": _relative_difference,
    "split_ratio": _split_ratio,
}
