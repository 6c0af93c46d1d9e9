"""What a comparison of two outputs of one type finds, and the sentence that says it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from fasthep_archive.digest import JSON
from fasthep_archive.environment.reading import Reader
from fasthep_archive.verification.numbers import UNRELATED, Extent, Numbers, number_at, plain

SHOWN = 10
"""How many places are listed, of however many differ."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Words:
    """What the two things are called that are compared.

    :ivar one: what follows a value of the first: ``1.0 recorded``. :ivar other: what follows one of the second.
    :ivar keys: names of both values in JSON.
    """

    one: str
    other: str
    keys: tuple[str, str]


REPLAY = Words(one="recorded", other="replayed", keys=("recorded", "replayed"))
"""A recorded output and the replayed one."""
BUNDLES = Words(one="in A", other="in B", keys=("a", "b"))
"""Outputs of two bundles."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """A place and what it held, both times, as a reader would write them."""

    where: str
    recorded: str
    replayed: str

    def __str__(self) -> str:
        """Return place and values in one line."""
        return self.said(REPLAY)

    def said(self, words: Words) -> str:
        """Return place and values in one line, in these words."""
        return f"{self.where}: {self.recorded} {words.one}, {self.replayed} {words.other}"

    def to_json(self, words: Words = REPLAY) -> JSON:
        return {"where": self.where, words.keys[0]: self.recorded, words.keys[1]: self.replayed}

    @classmethod
    def from_json(cls, reader: Reader) -> Finding:
        """Return the finding of a replay that was recorded."""
        return cls(where=reader.text("where"), recorded=reader.text("recorded"), replayed=reader.text("replayed"))


@dataclass(frozen=True, kw_only=True, slots=True)
class Details:
    """What a report keeps of a :class:`Contrast`: words and few numbers.

    :ivar structure: at most :data:`SHOWN` differences that no tolerance covers, in words.
    :ivar extent: how much the numbers differ; none where they can't be paired.
    :ivar findings: as in the contrast. :ivar statistics: measures of the whole, by name, sorted by it.
    """

    structure: tuple[str, ...] = ()
    extent: Extent | None = None
    findings: tuple[Finding, ...] = ()
    statistics: tuple[tuple[str, float], ...] = ()

    def to_json(self, words: Words = REPLAY) -> JSON:
        return {
            "structure": list(self.structure),
            **({} if self.extent is None else self.extent.to_json()),
            "first": [finding.to_json(words) for finding in self.findings],
            "statistics": {name: plain(value) for name, value in self.statistics},
        }

    @classmethod
    def from_json(cls, reader: Reader) -> Details:
        """Return the details of a replay that were recorded.

        :raises DataError: if the record is not one of :meth:`to_json`.
        """
        statistics = reader.reader("statistics")
        return cls(
            structure=reader.texts("structure"),
            extent=Extent.from_json(reader) if "compared" in reader.value else None,
            findings=tuple(map(Finding.from_json, reader.readers("first"))),
            statistics=tuple((name, number_at(statistics, name)) for name in sorted(statistics.value)),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Contrast:
    """What differs between the contents of two outputs.

    :ivar structure: differences that no tolerance covers: axes, columns, names, texts, lengths; a sentence, or the
        place and what is there.
    :ivar numbers: the numbers that differ; none where numbers can't be paired because the structure differs.
    :ivar noun: what one number is: ``bin``, ``cell``; plural by appending ``s``.
    :ivar findings: the first :data:`SHOWN` places whose numbers differ, in the order of the output.
    :ivar statistics: measures of the whole, by name.
    :ivar remark: what the statistics say, in words.
    """

    structure: tuple[Finding | str, ...] = ()
    numbers: Numbers | None = None
    noun: str = "number"
    findings: tuple[Finding, ...] = ()
    statistics: Mapping[str, float] = field(default_factory=dict)
    remark: str | None = None

    @property
    def same(self) -> bool:
        """Return whether the contents are the same."""
        return not self.structure and not self.numbers

    def __str__(self) -> str:
        """Return the most telling difference first, in one line."""
        return self.said(REPLAY)

    def said(self, words: Words) -> str:
        """Return the most telling difference first, in one line, in these words."""
        return "; ".join(part for part in (*self._structure(words), *self._numbers(words), self.remark) if part)

    def details(self, words: Words) -> Details:
        """Return what a report keeps."""
        return Details(
            structure=tuple(_said(item, words) for item in self.structure[:SHOWN]),
            extent=None if self.numbers is None else self.numbers.extent,
            findings=self.findings,
            statistics=tuple(sorted(self.statistics.items())),
        )

    def _structure(self, words: Words) -> Sequence[str]:
        more = len(self.structure) - 1
        first = [_said(item, words) for item in self.structure[:1]]
        return [*first, *([f"{more} more like it"] if more > 0 else [])]

    def _numbers(self, words: Words) -> Sequence[str]:
        if not self.numbers:
            return []
        count = self.numbers.places
        verb = "differs" if count == 1 else "differ"
        of = f"{count} of {self.numbers.compared} {self.noun}{'' if self.numbers.compared == 1 else 's'} {verb}"
        place = f", first {self.findings[0].said(words)}" if self.findings else ""
        return [f"{of} ({distance(self.numbers.extent)}){place}"]


def _said(item: Finding | str, words: Words) -> str:
    return item if isinstance(item, str) else item.said(words)


def distance(extent: Extent) -> str:
    """Return the largest distances in words.

    >>> distance(Numbers.of([1.0], [1.0000000000000002], compared=1).extent)
    'at most 2.2e-16 relative, 1 ulp'
    """
    if extent.ulps == 0:
        return "only in the sign of zero or the type of number"
    if extent.ulps == UNRELATED:
        return "NaN or infinite on one side"
    if extent.relative == float("inf"):
        return f"at most {extent.absolute:.2g} absolute, from zero"
    return f"at most {extent.relative:.2g} relative, {extent.ulps if extent.ulps < 10**6 else f'{extent.ulps:.1e}'} ulp"


def shown(value: object) -> str:
    """Return ``value`` as Python writes it, control characters escaped, long text cut."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
