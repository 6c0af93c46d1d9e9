"""What a comparison of two outputs of one type finds, and the sentence that says it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from fasthep_archive.digest import JSON
from fasthep_archive.verification.numbers import UNRELATED, Numbers

SHOWN = 10
"""How many places are listed, of however many differ."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """A place and what it held, both times, as a reader would write them."""

    where: str
    recorded: str
    replayed: str

    def __str__(self) -> str:
        """Return place and values in one line."""
        return f"{self.where}: {self.recorded} recorded, {self.replayed} replayed"

    def to_json(self) -> JSON:
        return {"where": self.where, "recorded": self.recorded, "replayed": self.replayed}


@dataclass(frozen=True, kw_only=True, slots=True)
class Contrast:
    """What differs between the contents of two outputs.

    :ivar structure: differences that no tolerance covers, in words: axes, columns, names, texts, lengths.
    :ivar numbers: the numbers that differ; none where numbers can't be paired because the structure differs.
    :ivar noun: what one number is: ``bin``, ``cell``; plural by appending ``s``.
    :ivar findings: the first :data:`SHOWN` places whose numbers differ, in the order of the output.
    :ivar statistics: measures of the whole, by name.
    :ivar remark: what the statistics say, in words.
    """

    structure: tuple[str, ...] = ()
    numbers: Numbers | None = None
    noun: str = "number"
    findings: tuple[Finding, ...] = ()
    statistics: Mapping[str, JSON] = field(default_factory=dict)
    remark: str | None = None

    @property
    def same(self) -> bool:
        """Return whether the contents are the same."""
        return not self.structure and not self.numbers

    def __str__(self) -> str:
        """Return the most telling difference first, in one line."""
        return "; ".join(part for part in (*self._structure(), *self._numbers(), self.remark) if part)

    def _structure(self) -> Sequence[str]:
        more = len(self.structure) - 1
        return [*self.structure[:1], *([f"{more} more like it"] if more > 0 else [])]

    def _numbers(self) -> Sequence[str]:
        if not self.numbers:
            return []
        count = self.numbers.places
        verb = "differs" if count == 1 else "differ"
        of = f"{count} of {self.numbers.compared} {self.noun}{'' if self.numbers.compared == 1 else 's'} {verb}"
        place = f", first {self.findings[0]}" if self.findings else ""
        return [f"{of} ({distance(self.numbers)}){place}"]

    def to_json(self) -> JSON:
        numbers: Mapping[str, JSON] = {} if self.numbers is None else self.numbers.to_json()
        return {
            "structure": list(self.structure[:SHOWN]),
            **numbers,
            "first": [finding.to_json() for finding in self.findings],
            "statistics": self.statistics,
        }


def distance(numbers: Numbers) -> str:
    """Return the largest distances of ``numbers`` in words.

    >>> distance(Numbers.of([1.0], [1.0000000000000002], compared=1))
    'at most 2.2e-16 relative, 1 ulp'
    """
    ulps = int(numbers.ulps.max())
    if ulps == 0:
        return "only in the sign of zero or the type of number"
    if ulps == UNRELATED:
        return "NaN or infinite on one side"
    relative = float(numbers.relative.max())
    if relative == float("inf"):
        return f"at most {float(numbers.absolute.max()):.2g} absolute, from a recorded zero"
    return f"at most {relative:.2g} relative, {ulps if ulps < 10**6 else f'{ulps:.1e}'} ulp"


def shown(value: object) -> str:
    """Return ``value`` as Python writes it, control characters escaped, long text cut."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
