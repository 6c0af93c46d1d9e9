r"""Labels of axes: the little TeX that physicists write in them, as Unicode letters, raised and lowered.

``$p_\mathrm{T}^\mu$ [GeV]`` has words outside and mathematics between dollars. Known are the Greek letters, common
signs, accents, ``_`` and ``^``, roman text, fractions and roots. Any other command stays as it is written, so that
nothing is lost.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Literal

from fasthep_archive.report.markup import Markup, element, escaped, joined, text_width

_SIGNS = (
    "alpha α beta β gamma γ delta δ epsilon ε varepsilon ε zeta ζ eta η theta θ vartheta ϑ iota ι kappa κ lambda λ "
    "mu μ nu ν xi ξ pi π rho ρ varrho ϱ sigma σ tau τ upsilon υ phi φ varphi φ chi χ psi ψ omega ω "
    "Gamma Γ Delta Δ Theta Θ Lambda Λ Xi Ξ Pi Π Sigma Σ Upsilon Υ Phi Φ Psi Ψ Omega Ω "
    "to → rightarrow → leftarrow ← leftrightarrow ↔ Rightarrow ⇒ times × cdot · pm ± mp ∓ ell ℓ infty ∞ partial ∂ "
    "nabla ∇ sum ∑ prod ∏ int ∫ leq ≤ le ≤ geq ≥ ge ≥ neq ≠ ne ≠ approx ≈ sim ∼ simeq ≃ equiv ≡ propto ∝ ll ≪ gg ≫ "
    "in ∈ perp ⊥ parallel ∥ angle ∠ circ ° degree ° dagger † ast ∗ star ⋆ prime ′ hbar ℏ ldots … dots … cdots ⋯ "
    "langle ⟨ rangle ⟩ vert | mid | cup ∪ cap ∩ oplus ⊕ otimes ⊗ slash / "
    "sin sin cos cos tan tan sinh sinh cosh cosh tanh tanh log log ln ln exp exp min min max max arctan arctan"
)
_LETTERS: Mapping[str, str] = {
    **dict(re.findall(r"(\S+) (\S+)", _SIGNS)),
    ",": "\u2009",
    ":": "\u2005",
    ";": "\u2005",
    " ": " ",
    "quad": "\u2003",
    "!": "",
    "left": "",
    "right": "",
    "big": "",
    "Big": "",
    "displaystyle": "",
    "textstyle": "",
}
"""What stands for a command that takes nothing."""

_ACCENTS: Mapping[str, str] = {
    "bar": "\u0304",
    "overline": "\u0304",
    "hat": "\u0302",
    "tilde": "\u0303",
    "vec": "\u20d7",
    "dot": "\u0307",
}
_CHARACTERS: Mapping[str, str] = {
    "-": "−",
    "'": "′",
    "~": " ",
    "*": "∗",
    "=": "\u2009=\u2009",
    "<": "\u2009<\u2009",
    ">": "\u2009>\u2009",
}

_TOKEN = re.compile(r"\\[A-Za-z]+\s*|\\.|\s+|.", re.DOTALL)
_DEEPEST = 12
"""Braces and commands inside each other beyond this depth are left out of account: the letters stay."""

_SMALLER = 0.72
_DOWN: Mapping[int, float] = {-1: 0.26, 0: 0.0, 1: -0.38}
"""How far below the line letters stand, in units of the full size."""


@dataclass(frozen=True, slots=True)
class Run:
    """Letters of one kind: on the line (0), lowered (-1) or raised (1); upright or slanted."""

    text: str
    level: Literal[-1, 0, 1] = 0
    slanted: bool = False


def runs(label: str) -> tuple[Run, ...]:
    r"""Return the letters of ``label``. An odd number of dollars means that they are just dollars.

    >>> [run.text for run in runs(r"$M_{\mu\mu}$ [GeV]")]
    ['M', 'μμ', ' [GeV]']
    """
    pieces = label.split("$")
    if len(pieces) % 2 == 0:
        return (Run(label),)
    found: list[Run] = []
    for position, piece in enumerate(pieces):
        found.extend(_mathematics(piece) if position % 2 else [Run(piece)])
    kinds = groupby((run for run in found if run.text), key=lambda run: (run.level, run.slanted))
    return tuple(Run("".join(run.text for run in alike), *kind) for kind, alike in kinds)


def plain(label: str) -> str:
    r"""Return the label as one line of Unicode text.

    >>> plain(r"$p_\mathrm{T}^{\mu}$ [GeV]")
    'p_T^μ [GeV]'
    """
    return "".join({-1: "_", 0: "", 1: "^"}[run.level] + run.text for run in runs(label))


def width(label: str, size: float) -> float:
    """Return about how wide the label is in pixels, in letters of ``size`` pixels."""
    return sum(text_width(run.text, size * (_SMALLER if run.level else 1.0)) for run in runs(label))


def tspans(label: str, size: float) -> Markup:
    """Return the label as the content of an SVG ``text`` element in letters of ``size`` pixels."""
    spans: list[Markup] = []
    down = 0.0
    for run in runs(label):
        shift = _DOWN[run.level] * size - down
        down += shift
        attributes = {
            "dy": shift or None,
            "font_size": size * _SMALLER if run.level else None,
            "font_style": "italic" if run.slanted else None,
        }
        spans.append(
            element("tspan", escaped(run.text), **attributes) if any(attributes.values()) else escaped(run.text)
        )
    return joined(*spans)


def _mathematics(text: str) -> Iterable[Run]:
    """Return the letters of what stands between two dollars."""
    reader = _Reader(_TOKEN.findall(text))
    found: list[Run] = []
    while reader.more:
        found.extend(reader.take())
    return found


class _Reader:
    """Reads tokens from left to right."""

    def __init__(self, tokens: list[str]):
        self._tokens = tokens
        self._next = 0
        self._depth = 0

    @property
    def more(self) -> bool:
        """Say whether anything is left."""
        return self._next < len(self._tokens)

    def take(self, *, spaces: bool = False) -> list[Run]:
        """Return the next letter, command with its arguments, or group; spaces count in words, not in mathematics."""
        piece = self._tokens[self._next]
        self._next += 1
        if piece == "{" and self._depth < _DEEPEST:
            return self._group(spaces=spaces)
        if piece in "{}" or piece.isspace():
            return [Run(" ")] if spaces and piece.isspace() else []
        if piece in "_^":
            return [replace(run, level=-1 if piece == "_" else 1) for run in self.argument()]
        if piece.startswith("\\"):
            return self._command(piece[1:].strip() or piece[1:2] or "\\")
        return [Run(_CHARACTERS.get(piece, piece), slanted=piece.isalpha())]

    def argument(self, *, spaces: bool = False) -> list[Run]:
        """Return what the command before applies to: the next thing that is not a space."""
        while self.more and self._tokens[self._next].isspace():
            self._next += 1
        if not self.more or self._depth == _DEEPEST:
            return []
        self._depth += 1
        found = self.take(spaces=spaces)
        self._depth -= 1
        return found

    def _group(self, *, spaces: bool) -> list[Run]:
        self._depth += 1
        found: list[Run] = []
        while self.more and self._tokens[self._next] != "}":
            found.extend(self.take(spaces=spaces))
        self._next += 1
        self._depth -= 1
        return found

    def _command(self, name: str) -> list[Run]:
        if name in _COMMANDS:
            return _COMMANDS[name](self)
        if name in _ACCENTS:
            return [replace(run, text=run.text + _ACCENTS[name]) for run in self.argument()]
        if name in _LETTERS:
            return [Run(_LETTERS[name], slanted="α" <= _LETTERS[name] <= "ω")]
        return [Run(f"\\{name} " if name[0].isalpha() else name)]


def _upright(reader: _Reader) -> list[Run]:
    return [replace(run, slanted=False) for run in reader.argument(spaces=True)]


def _slanted(reader: _Reader) -> list[Run]:
    return reader.argument(spaces=True)


def _fraction(reader: _Reader) -> list[Run]:
    above = reader.argument()
    return [*above, Run("/"), *reader.argument(), Run("\u2009")]


def _root(reader: _Reader) -> list[Run]:
    inside = reader.argument()
    if sum(len(run.text) for run in inside) == 1:
        return [Run("√"), *inside]
    return [Run("√("), *inside, Run(")")]


_COMMANDS: Mapping[str, Callable[[_Reader], list[Run]]] = {
    **dict.fromkeys(
        ("mathrm", "text", "mathsf", "mathbf", "textrm", "textsf", "textbf", "operatorname", "rm"), _upright
    ),
    **dict.fromkeys(("mathit", "textit", "mathcal"), _slanted),
    **dict.fromkeys(("frac", "tfrac", "dfrac"), _fraction),
    "sqrt": _root,
}
"""Commands that take arguments."""
