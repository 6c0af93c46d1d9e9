"""``data["stage"]``: the products of a finished run or of an opened bundle, by the stage that left them, read on demand.

``data["DiMuonMass"]`` is a ``hist.Hist``, ``data["SelectDimuon"]`` a :class:`~fasthep_archive.data.products.Cutflow`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from fasthep_archive.data.products import Cutflow, Histogram, kind_of
from fasthep_archive.errors import DataError, nearest

if TYPE_CHECKING:
    from hist import Hist

Product: TypeAlias = "Hist[Any] | Cutflow"


class Reader(Protocol):
    """Where outputs are: names below the outputs directory, and their bytes."""

    def names(self) -> tuple[str, ...]:
        """Return the names of all outputs."""

    def read(self, name: str) -> bytes:
        """Return the bytes of one."""


class UnknownStage(DataError, KeyError):
    """No stage of that name left a product."""


_READERS: Mapping[str, Callable[[bytes], Product]] = {
    "histogram": lambda content: Histogram.from_json(content).to_hist(),
    "cutflow": Cutflow.from_json,
}
"""How each kind of output becomes what ``data["stage"]`` is; kinds that are copies of others (CSV) have none."""


class Results(Mapping[str, Product]):
    """A read-only mapping from stage to product, in the order of the outputs."""

    def __init__(self, reader: Reader):
        self._reader = reader
        self._names = {PurePosixPath(name).stem: name for name in reader.names() if kind_of(name) in _READERS}

    def __getitem__(self, stage: str) -> Product:
        """Return the product of ``stage``, read now."""
        if stage not in self._names:
            hint = nearest(stage, self._names) or f"stages with products: {', '.join(self._names)}"
            raise UnknownStage(f"no product of a stage {stage!r}", hint=hint)
        name = self._names[stage]
        return _READERS[kind_of(name)](self._reader.read(name))

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def __repr__(self) -> str:
        return f"<products of {', '.join(self._names)}>"


class _Directory:
    """The outputs of a finished run."""

    def __init__(self, directory: Path):
        self._directory = directory

    def names(self) -> tuple[str, ...]:
        found = (path.relative_to(self._directory) for path in self._directory.glob("*/*") if path.is_file())
        return tuple(sorted(path.as_posix() for path in found))

    def read(self, name: str) -> bytes:
        return (self._directory / name).read_bytes()


def of_directory(directory: Path) -> Results:
    """Return the products of the run that left its outputs in ``directory``.

    :raises DataError: if there is no such directory.
    """
    if not directory.is_dir():
        raise DataError(f"no such directory: {directory}", hint="name the directory that a run was given with -o")
    return Results(_Directory(directory))
