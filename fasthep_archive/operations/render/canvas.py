"""A sheet to draw on, in the look of an experiment, and its files: the same bytes whenever and wherever it is drawn.

matplotlib's settings are those it comes with, changed by mplhep's style, for as long as a picture is drawn: neither a
``matplotlibrc`` nor what somebody else has set can change a picture. Fonts are the files that come with mplhep and
matplotlib, not those of the machine. Pictures have no date and no name of a program in them.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fasthep_archive.operations.render.style import Figure as FigureStyle
from fasthep_archive.operations.render.style import Style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SUFFIXES = (".png", ".pdf", ".svg")
"""Of pictures."""
STYLES: Mapping[str, str] = {"alice": "ALICE", "atlas": "ATLAS", "cms": "CMS", "dune": "DUNE", "lhcb": "LHCb"}
"""mplhep's styles, by the name of the experiment in lower case; all others have that of CMS, without its name."""

_OTHERS = "CMS"
_FONTS: Mapping[str, tuple[str, str]] = {
    "tex gyre heros": ("Archive Heros", "texgyreheros/texgyreheros"),
    "tex gyre termes": ("Archive Termes", "texgyretermes/texgyretermes"),
}
"""Our names for fonts of mplhep, and their files: a font of the same name on the machine is another file."""
_FACES = (("regular", "normal", 400), ("italic", "italic", 400), ("bold", "normal", 700), ("bolditalic", "italic", 700))
_FALLBACK = "DejaVu Sans"
"""Comes with matplotlib, and has most letters that others lack."""
_POINTS = ("size", "linewidth", "width", "pad", "markersize", "capsize", "markeredgewidth")
"""End settings that are lengths in points."""
_NOT_OURS = ("savefig.", "figure.", "text.usetex", "text.latex", "pgf.")
"""Begin settings of styles that are not about the look, or that the figure's own size decides."""
_METADATA: Mapping[str, Mapping[str, None]] = {
    ".png": {"Software": None},
    ".pdf": {"Creator": None, "Producer": None, "CreationDate": None},
    ".svg": {"Creator": None, "Date": None, "Format": None, "Type": None},
}
"""What would tell when and with what a picture was made."""


@contextmanager
def look(style: Style, *, shrunk: float = 1.0) -> Iterator[None]:
    """Set matplotlib up for one picture; afterwards it is as before.

    Letters and lines are as large as mplhep's style has them on a figure of its own size, in proportion.

    :param shrunk: by how much less, for pictures of several fields.
    """
    import matplotlib as mpl

    with warnings.catch_warnings(), mpl.rc_context():
        # letters that no font has, layouts that are too narrow: a picture is drawn as well as it can be
        warnings.simplefilter("ignore")
        mpl.rcdefaults()
        mpl.rcParams.update(_settings(style.experiment, style.figure, shrunk))
        yield


def sheet(figure: FigureStyle) -> Figure:
    """Return an empty figure, which pyplot does not know of."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    new = Figure(figsize=(figure.width, figure.height), dpi=figure.dpi, layout="constrained")
    FigureCanvasAgg(new)
    return new


def saved(figure: Figure, suffix: str) -> bytes:
    """Return the file of a picture: PNG, PDF or SVG."""
    stream = io.BytesIO()
    figure.savefig(stream, format=suffix.removeprefix("."), metadata=dict(_METADATA[suffix]))
    return stream.getvalue()


def _settings(experiment: str, figure: FigureStyle, shrunk: float) -> dict[Any, Any]:
    import mplhep

    style: dict[str, Any] = getattr(mplhep.style, STYLES.get(experiment.lower(), _OTHERS))
    width, height = style["figure.figsize"]
    factor = min(figure.width / width, figure.height / height) * shrunk
    _register_fonts()
    adapted = {key: _adapted(key, value, factor) for key, value in style.items() if not key.startswith(_NOT_OURS)}
    return {
        **adapted,
        "font.size": factor * style["font.size"],
        "axes.formatter.useoffset": False,
        "axes.unicode_minus": False,
        "axes.autolimit_mode": "data",
        "legend.fancybox": False,
        "hatch.linewidth": max(0.4, 0.8 * factor),
        "svg.hashsalt": "fasthep-archive",
        "svg.fonttype": "path",
    }


def _adapted(key: str, value: Any, factor: float) -> Any:
    """Return a setting of mplhep with our fonts, and lengths in points by ``factor``."""
    if key in ("font.sans-serif", "font.serif"):
        names = [value] if isinstance(value, str) else value
        return [*(_font(name) for name in names if name.lower() in _FONTS), _FALLBACK]
    if isinstance(value, str) and value.partition(":")[0].lower() in _FONTS:
        name, colon, face = value.partition(":")
        return _font(name) + colon + face
    # other lengths of legends are in units of their letters
    length = key.endswith(_POINTS) and (not key.startswith("legend.") or key.endswith("fontsize"))
    return factor * value if length and isinstance(value, (int, float)) else value


def _font(name: str) -> str:
    return _FONTS[name.lower()][0]


@cache
def _register_fonts() -> None:
    """Tell matplotlib our names of mplhep's fonts, once in a process."""
    import mplhep_data
    from matplotlib.font_manager import FontEntry, fontManager

    folder = Path(mplhep_data.__file__).parent / "fonts"
    for name, stem in _FONTS.values():
        for face, slant, weight in _FACES:
            path = folder / f"{stem}-{face}.otf"
            entry = FontEntry(
                fname=str(path), name=name, style=slant, variant="normal", weight=weight, stretch="normal"
            )
            fontManager.ttflist.append(entry)
