"""Strict reading of recorded JSON: every value has the type that the format says, or an error names its place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from fasthep_archive.digest import JSON
from fasthep_archive.errors import DataError

Choice = TypeVar("Choice", bound=str)


@dataclass(frozen=True, slots=True)
class Reader:
    """A JSON object and the name of the place it was found at; what is read must be there and of the right type."""

    value: Mapping[str, JSON]
    where: str

    @classmethod
    def of(cls, value: JSON, where: str) -> Reader:
        """Return a reader of ``value``.

        :raises DataError: if it is not an object.
        """
        if not isinstance(value, Mapping):
            raise _wrong(where, "an object", value)
        return cls(value, where)

    def format(self, known: int) -> None:
        """Check that the object says to be of the format's version ``known``.

        :raises DataError: if it is of another one.
        """
        found = self.integer("format")
        if found != known:
            raise DataError(
                f"{self.where} has format {found}, and this version of fasthep-archive reads format {known}",
                hint="use the version of fasthep-archive that wrote it",
            )

    def text(self, key: str) -> str:
        """Return the text at ``key``."""
        value = self._at(key)
        if not isinstance(value, str):
            raise _wrong(f"{self.where}.{key}", "text", value)
        return value

    def optional_text(self, key: str) -> str | None:
        """Return the text at ``key``, or none where null is recorded."""
        return None if self._at(key) is None else self.text(key)

    def optional_integer(self, key: str) -> int | None:
        """Return the integer at ``key``, or none where null is recorded."""
        return None if self._at(key) is None else self.integer(key)

    def integer(self, key: str) -> int:
        """Return the integer at ``key``; ``true`` is none."""
        value = self._at(key)
        if not isinstance(value, int) or isinstance(value, bool):
            raise _wrong(f"{self.where}.{key}", "an integer", value)
        return value

    def number(self, key: str) -> float:
        """Return the number at ``key``; ``true`` is none."""
        value = self._at(key)
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise _wrong(f"{self.where}.{key}", "a number", value)
        return float(value)

    def time(self, key: str) -> datetime:
        """Return the time at ``key``, in ISO 8601 with its offset from UTC."""
        text = self.text(key)
        try:
            found = datetime.fromisoformat(text)
        except ValueError:
            raise _wrong(f"{self.where}.{key}", "a time in ISO 8601", text) from None
        if found.tzinfo is None:
            raise _wrong(f"{self.where}.{key}", "a time with its offset from UTC", text)
        return found

    def texts(self, key: str) -> tuple[str, ...]:
        """Return the list of texts at ``key``."""
        found = []
        for position, item in enumerate(self._list(key)):
            if not isinstance(item, str):
                raise _wrong(f"{self.where}.{key}[{position}]", "text", item)
            found.append(item)
        return tuple(found)

    def choice(self, key: str, known: Sequence[Choice]) -> Choice:
        """Return the text at ``key``, which is one of ``known``."""
        value = self.text(key)
        for candidate in known:
            if candidate == value:
                return candidate
        raise _wrong(f"{self.where}.{key}", f"one of {', '.join(known)}", value)

    def reader(self, key: str) -> Reader:
        """Return a reader of the object at ``key``."""
        return Reader.of(self._at(key), f"{self.where}.{key}")

    def readers(self, key: str) -> tuple[Reader, ...]:
        """Return readers of the objects in the list at ``key``."""
        return tuple(Reader.of(item, f"{self.where}.{key}[{at}]") for at, item in enumerate(self._list(key)))

    def text_pairs(self, key: str) -> tuple[tuple[str, str], ...]:
        """Return names and texts of the object at ``key``, sorted by name."""
        inner = self.reader(key)
        return tuple((name, inner.text(name)) for name in sorted(inner.value))

    def _list(self, key: str) -> Sequence[JSON]:
        value = self._at(key)
        if not isinstance(value, Sequence) or isinstance(value, str):
            raise _wrong(f"{self.where}.{key}", "a list", value)
        return value

    def _at(self, key: str) -> JSON:
        if key not in self.value:
            raise DataError(f"{self.where}: {key!r} is missing", hint="was this file written by another version?")
        return self.value[key]


def _wrong(where: str, expected: str, value: JSON) -> DataError:
    shown = repr(value)
    return DataError(f"{where} is {shown if len(shown) <= 60 else shown[:57] + '...'}, not {expected}")
