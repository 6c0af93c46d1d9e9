"""``data["stage"]``: the products of a finished run or of an opened bundle, by stage, read when they are asked for.

``data["DiMuonMass"]`` is a ``hist.Hist``, ``data["SelectDimuon"]`` a :class:`~fasthep_archive.data.products.Cutflow`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from fasthep_archive.data.products import Cutflow, Histogram, stored_as
from fasthep_archive.errors import DataError, nearest

if TYPE_CHECKING:
    import hist

Shown: TypeAlias = "hist.Hist[Any] | Cutflow"


class Reader(Protocol):
    """Where outputs are."""

    def names(self) -> tuple[str, ...]:
        """Return the names of all outputs: paths below the outputs directory, with ``/``."""

    def read(self, name: str) -> bytes:
        """Return the bytes of one."""


class UnknownStage(DataError, KeyError):
    """No stage of that name left a product."""


class Results(Mapping[str, Shown]):
    """A read-only mapping from stage to product, in the order in which the outputs are listed."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        forms = ((name, stored_as(name)) for name in reader.names())
        self._outputs = {PurePosixPath(name).stem: (name, form.read) for name, form in forms if form and form.read}

    def __getitem__(self, stage: str) -> Shown:
        """Return the product of ``stage``, read now.

        :raises UnknownStage: if it left none; also a KeyError. :raises DataError: if the file is damaged.
        """
        if stage not in self._outputs:
            known = f"stages with products: {', '.join(self._outputs)}" if self._outputs else None
            raise UnknownStage(f"no stage {stage!r} left a product", hint=nearest(stage, self._outputs) or known)
        name, read = self._outputs[stage]
        product = read(self._reader.read(name))
        return product.to_hist() if isinstance(product, Histogram) else product

    def __contains__(self, stage: object) -> bool:
        return stage in self._outputs

    def __iter__(self) -> Iterator[str]:
        return iter(self._outputs)

    def __len__(self) -> int:
        return len(self._outputs)

    def __repr__(self) -> str:
        return f"<products of {', '.join(self._outputs) or 'no stage'}>"


class _Directory:
    """The outputs of a finished run."""

    def __init__(self, directory: Path) -> None:
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
