"""Small arrays that passes of a strip hand values on in: as few as do, so that they stay in the first-level cache."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from fasthep_archive.formula.columns import DType
from fasthep_archive.kernels.elementary.strips import LENGTH

_ARRAY = re.compile(r"\barray(\d+)\b")

_DTYPES = {"float64": "np.float64", "int64": "np.int64", "bool": "np.bool_"}


@dataclass(slots=True)
class _Span:
    """When an array is in use: the passes in which it is first and last named."""

    dtype: DType
    first: int
    last: int


@dataclass(slots=True)
class Scratch:
    """The arrays of one loop, each under a name of its own until it is known which can share memory."""

    _spans: list[_Span] = field(default_factory=list)
    _passes: int = 0

    def new(self, dtype: DType) -> str:
        """Return the name of an array that nobody has used."""
        self._spans.append(_Span(dtype, self._passes, self._passes))
        return f"array{len(self._spans) - 1}"

    def lasting(self, dtype: DType) -> str:
        """Return the name of an array that keeps its values from before the first strip to after the last."""
        self._spans.append(_Span(dtype, -1, 1 << 30))
        return f"array{len(self._spans) - 1}"

    def passed(self, lines: Sequence[str]) -> Sequence[str]:
        """Return ``lines``, and note that they are the next pass."""
        for number in {int(number) for line in lines for number in _ARRAY.findall(line)}:
            self._spans[number].last = max(self._spans[number].last, self._passes)
        self._passes += 1
        return lines

    def placed(self, lines: Sequence[str]) -> list[str]:
        """Return ``lines`` with the arrays that there are in the end, made before.

        One that is in use for the last time in a pass is never one that is new there: calls and vector code rely on
        reading and writing different memory.
        """
        memory: list[tuple[DType, int]] = []
        """Of each array, the type, and the last pass that it is in use for what it holds."""
        names: dict[int, str] = {}
        for number, span in sorted(enumerate(self._spans), key=lambda known: (known[1].first, known[0])):
            free = (k for k, (dtype, last) in enumerate(memory) if dtype == span.dtype and last < span.first)
            place = next(free, len(memory))
            memory[place : place + 1] = [(span.dtype, span.last)]
            names[number] = f"t{place}"
        made = [f"t{place} = np.empty({LENGTH}, {_DTYPES[dtype]})" for place, (dtype, _) in enumerate(memory)]
        return [*made, *(_ARRAY.sub(lambda match: names[int(match[1])], line) for line in lines)]
