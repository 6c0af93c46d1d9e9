"""Values as products: named numbers, and their stored form, a JSON object."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from fasthep_archive.data.strictjson import read_json, write_json
from fasthep_archive.errors import DataError

_NOT_FINITE = ("nan", "inf", "-inf")


@dataclass(frozen=True, slots=True)
class Values(Mapping[str, float]):
    """Numbers by name, in the order in which they were computed. Units are those of what they were computed from."""

    numbers: Mapping[str, float]

    def __getitem__(self, name: str) -> float:
        """Return the number called ``name``."""
        return self.numbers[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.numbers)

    def __len__(self) -> int:
        return len(self.numbers)

    def to_json(self) -> bytes:
        """Return the stored form: NaN and the infinities as the texts that Python's ``float`` reads."""
        return write_json({name: float(number) for name, number in self.numbers.items()})

    @classmethod
    def from_json(cls, content: bytes) -> Values:
        """Return the values that :meth:`to_json` wrote.

        :raises DataError: if it is no such text.
        """
        found = read_json(content, "the values")
        if not isinstance(found, Mapping):
            raise DataError("these are no values that fasthep-archive wrote: not an object")
        for name, number in found.items():
            if not isinstance(number, float) and number not in _NOT_FINITE:
                raise DataError(f"these are no values that fasthep-archive wrote: {name!r} is {number!r}")
        return cls({name: float(number) for name, number in found.items()})  # type: ignore[arg-type] # checked above
