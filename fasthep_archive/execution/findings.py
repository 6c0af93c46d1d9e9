"""Faults that files show: each once, however many files show it, and where only some do, with which ones."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from fasthep_archive.errors import Fault, Location
from fasthep_archive.formula.functions import CONSTANTS
from fasthep_archive.operations.stream import TakenForConstant

_SURPRISING = ("e",)
"""Constants of formulas whose names columns have too."""
_NAMED = 3
"""How many files or datasets a message names."""


@dataclass(frozen=True, order=True, slots=True)
class _Place:
    """A file of a dataset."""

    dataset: str
    file: str


@dataclass(slots=True)
class _Stream:
    """The files that were looked at for one stream, and which of them show each fault, with which hint, in order.

    :ivar columns: that any of them has.
    """

    looked_at: list[_Place] = field(default_factory=list)
    found: dict[Fault, dict[_Place, str | None]] = field(default_factory=dict)
    columns: set[str] = field(default_factory=set)


class Findings:
    """Collects the faults of files, stream by stream."""

    def __init__(self) -> None:
        self._streams: dict[str, _Stream] = {}

    def add(self, stream: str, dataset: str, file: str, faults: Iterable[Fault], columns: Iterable[str] = ()) -> None:
        """Note that ``file`` of ``dataset``, which has ``columns``, was looked at and which faults it showed."""
        noted = self._streams.setdefault(stream, _Stream())
        place = _Place(dataset, file)
        noted.columns.update(columns)
        noted.looked_at.append(place)
        for fault in faults:
            noted.found.setdefault(replace(fault, hint=None), {}).setdefault(place, fault.hint)

    def faults(self) -> Iterator[Fault]:
        """Yield each fault once."""
        for noted in self._streams.values():
            for fault, shown in noted.found.items():
                if isinstance(fault, TakenForConstant) and fault.column not in noted.columns:
                    continue
                hint = next(filter(None, shown.values()), None)
                yield _told(fault.message, fault.where, hint, list(shown), noted.looked_at)

    def remarks(self) -> Iterator[str]:
        """Yield what is no fault, and may not be what its author meant: each once."""
        for noted in self._streams.values():
            for fault in noted.found:
                if not isinstance(fault, TakenForConstant) or fault.column in noted.columns:
                    continue
                if fault.name in _SURPRISING:
                    missing = f"no file has a column {fault.column or fault.name!r}"
                    yield f"{fault.where}: {fault.name!r} is {CONSTANTS[fault.name]:.6g}... here: {missing}"


def _told(
    message: str, where: Location | None, hint: str | None, shown: Sequence[_Place], looked_at: Sequence[_Place]
) -> Fault:
    """Return the fault, with which datasets or files show it if not all do: `` (only in dataset data)``."""
    silent = set(looked_at) - set(shown)
    unknown = message.startswith("unknown name")
    if unknown and hint is None:
        hint = "it is no branch, no variable of a stage before, and no constant"
    if not silent:
        return Fault(message, where, hint)
    datasets = list(dict.fromkeys(place.dataset for place in shown))
    if any(place.dataset in datasets for place in silent):
        files = list(dict.fromkeys(place.file for place in shown))
        return Fault(f"{message} (only in {_list(files)})", where, hint)
    if unknown:  # other datasets have it, so it isn't misspelt
        hint = "a formula can differ by dataset: x if dataset_eventtype == 'mc' else 1.0"
    return Fault(f"{message} (only in dataset{'s' * (len(datasets) > 1)} {_list(datasets)})", where, hint)


def _list(names: Sequence[str]) -> str:
    if len(names) <= _NAMED:
        return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
    return f"{', '.join(names[:_NAMED])} and {len(names) - _NAMED} more"
