"""Which colour each dataset has."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from fasthep_archive.operations.render.marks import BLACK, Ink
from fasthep_archive.operations.render.style import Style

_MANY = (
    "#3f90da", "#ffa90e", "#bd1f01", "#94a4a2", "#832db6", "#a96b59", "#e76300", "#b9ac70", "#717581", "#92dadd",
)  # fmt: skip
"""Ten colours that can be told apart by most people: M. Petroff, arXiv:2107.02270, table 1."""
_HATCHES = (None, "//", "\\\\", "xx", "..", "++")


def inks(names: Iterable[str], data: Iterable[str], style: Style) -> Mapping[str, Ink]:
    """Return how each of ``names`` is drawn: ``data`` black, others as the style says or in colours of its own.

    When there are more datasets than colours, those that have to share one differ in hatching.
    """
    measured, order = set(data), list(names)
    free = [name for name in order if name not in measured and style.of(name).color is None]
    colors = _colors(style, len(free))
    found = {}
    for name in order:
        look = style.of(name)
        number = free.index(name) if name in free else 0
        color = look.color or (BLACK if name in measured else colors[number % len(colors)])
        hatch = look.hatch or (_HATCHES[(number // len(colors)) % len(_HATCHES)] if name in free else None)
        found[name] = Ink(color=color, label=style.labelled(name), hatch=hatch, alpha=look.alpha)
    return found


def _colors(style: Style, wanted: int) -> tuple[str, ...]:
    """Return colours that no dataset of the style has already: its own cycle, or that of the experiment's look."""
    if style.colors:
        return style.colors
    from matplotlib import rcParams
    from matplotlib.colors import is_color_like, same_color

    taken = [look.color for look in style.datasets.values() if look.color]
    for colors in (tuple(str(entry["color"]) for entry in rcParams["axes.prop_cycle"]), _MANY):
        others = tuple(one for one in colors if is_color_like(one) and not any(same_color(one, old) for old in taken))
        if len(others) >= wanted or colors is _MANY:
            return others or _MANY
    return _MANY
