"""What the pictures of this room share: the frame of an SVG document, its colours, light and dark, and its letters."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from fasthep_archive.report.markup import Markup, element, joined, number

PALETTE = (
    "#3f90da", "#ffa90e", "#bd1f01", "#94a4a2", "#832db6", "#a96b59", "#e76300", "#b9ac70", "#717581", "#92dadd",
)  # fmt: skip
"""Ten colours that people with any colour vision tell apart, the first ones best (M. A. Petroff, arXiv:2107.02270)."""

FONT = "system-ui, 'Segoe UI', 'Helvetica Neue', Arial, 'DejaVu Sans', sans-serif"

_LIGHT = {
    "page": "fill:#ffffff",
    "ink": "fill:#1b1f27",
    "dim": "fill:#5b6474",
    "card": "fill:#ffffff;stroke:#bcc4d1",
    "source": "fill:#e9f2fc;stroke:#3f90da",
    "line": "fill:none;stroke:#7c8698",
    "tip": "fill:#7c8698",
    "frame": "fill:none;stroke:#1b1f27",
    "grid": "fill:none;stroke:#d5dae3",
    "track": "fill:#eef1f5",
    "dot": "fill:none;stroke:#1b1f27",
    "edge": "fill:none;stroke:#1b1f27",
    "band": "fill:#1b1f27;fill-opacity:.16",
}
_DARK = {
    "page": "fill:#161a21",
    "ink": "fill:#e8ebf0",
    "dim": "fill:#a3adbd",
    "card": "fill:#1f252e;stroke:#4b5667",
    "source": "fill:#182c42;stroke:#3f90da",
    "line": "fill:none;stroke:#8a95a8",
    "tip": "fill:#8a95a8",
    "frame": "fill:none;stroke:#c3cad6",
    "grid": "fill:none;stroke:#343d4a",
    "track": "fill:#242b35",
    "dot": "fill:none;stroke:#f2f4f8",
    "edge": "fill:none;stroke:#0d1014",
    "band": "fill:#f2f4f8;fill-opacity:.22",
}
"""Roles that change with the reader's colour scheme, as CSS. Each role is a class ``fa-ROLE``."""

_VIRIDIS = (
    "#440154", "#482878", "#3e4989", "#31688e", "#26828e", "#1f9e89", "#35b779", "#6ece58", "#b5de2b", "#fde725",
)  # fmt: skip
"""Equal steps of lightness, for any colour vision and on paper (S. van der Walt, N. Smith: bids.github.io/colormap)."""

LEVELS = tuple(f"level{level}" for level in range(len(_VIRIDIS)))
"""Roles for sizes, from least to most: the most is farthest from the page, dark on white and light on black."""
_LIGHT |= {role: f"fill:{colour}" for role, colour in zip(LEVELS, reversed(_VIRIDIS), strict=True)}
_DARK |= {role: f"fill:{colour}" for role, colour in zip(LEVELS, _VIRIDIS, strict=True)}


def colours(names: Sequence[str], measured: Collection[str]) -> Mapping[str, str]:
    """Return a colour for each dataset: grey for what is measured, and the palette in order for the others."""
    others = [name for name in names if name not in measured]
    palette = {name: PALETTE[position % len(PALETTE)] for position, name in enumerate(others)}
    return {name: palette.get(name, PALETTE[8]) for name in names}


def document(width: float, height: float, label: str, *body: Markup, roles: tuple[str, ...]) -> Markup:
    """Return a whole SVG document of ``width`` by ``height`` pixels that shrinks to fit its surroundings.

    :param label: what the picture shows, for readers who cannot see it.
    :param roles: the classes that ``body`` uses; only their rules are written.
    """
    light = "".join(f".fa-{role}{{{_LIGHT[role]}}}" for role in ("page", *roles))
    dark = "".join(f".fa-{role}{{{_DARK[role]}}}" for role in ("page", *roles))
    # paper is white: only screens may be dark
    style = Markup(f"<style>{light}@media screen and (prefers-color-scheme:dark){{{dark}}}</style>")
    page = element("rect", class_="fa-page", width=width, height=height)
    return element(
        "svg",
        style,
        page,
        *body,
        xmlns="http://www.w3.org/2000/svg",
        width=width,
        height=height,
        viewBox=f"0 0 {number(width)} {number(height)}",
        style="max-width:100%;height:auto",
        font_family=FONT,
        role="img",
        aria_label=label,
    )


def moved(x: float, y: float, *content: Markup) -> Markup:
    """Return ``content`` with its origin at (x, y)."""
    return element("g", joined(*content), transform=f"translate({number(x)} {number(y)})")
