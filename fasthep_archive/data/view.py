"""``data["stage"]``: the products of a finished run or of an opened bundle, by stage, read when they are asked for.

``data["DiMuonMass"]`` is a ``hist.Hist``, ``data["SelectDimuon"]`` a :class:`~fasthep_archive.data.products.Cutflow`,
``data["Scale"]["factor"]`` a number. Files of columns are there by their names: ``data["skim"]["Muon_Pt"]`` is the
awkward array in ``files/skim.root``. ``data.varied("jes_up")["DiMuonMass"]`` is the same in a systematic variation,
where that changes it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from fasthep_archive.data.products import Cutflow, Histogram, Values, kind_of, stored_as
from fasthep_archive.data.tables import Columns
from fasthep_archive.errors import DataError, nearest

if TYPE_CHECKING:
    import hist

Shown: TypeAlias = "hist.Hist[Any] | Cutflow | Values | Columns"

FILES = "files/"
"""Where files of columns lie, below the outputs directory."""
VARIED = "systematics/"
"""Where the products of variations lie, each below its name."""


class Reader(Protocol):
    """Where outputs are."""

    def names(self) -> tuple[str, ...]:
        """Return the names of all outputs: paths below the outputs directory, with ``/``."""

    def read(self, name: str) -> bytes:
        """Return the bytes of one."""


class UnknownStage(DataError, KeyError):
    """No stage of that name left a product."""


class UnknownVariation(DataError, KeyError):
    """No variation of that name left a product."""


class Results(Mapping[str, Shown]):
    """A read-only mapping from stage to product, in the order in which the outputs are listed.

    :ivar variation: of which these are the products; none: the workflow as it is written.
    """

    def __init__(self, reader: Reader, variation: str | None = None) -> None:
        self._reader = reader
        self.variation = variation
        self._outputs: dict[str, tuple[str, Callable[[bytes], Histogram | Cutflow | Values | Columns]]] = {}
        prefix = "" if variation is None else f"{VARIED}{variation}/"
        names = {name.removeprefix(prefix): name for name in reader.names() if name.startswith(prefix)}
        for name, full in names.items():
            form = stored_as(name)
            if form and form.read:
                self._outputs[PurePosixPath(name).stem] = full, form.read
        for name, full in names.items():
            if name.startswith(FILES) and kind_of(name) == "columns":
                path = PurePosixPath(name.removeprefix(FILES))
                self._outputs.setdefault(path.with_suffix("").as_posix(), (full, Columns))

    @property
    def variations(self) -> tuple[str, ...]:
        """Return the names of the variations that changed any product."""
        names = (name.split("/")[1] for name in self._reader.names() if name.startswith(VARIED))
        return tuple(dict.fromkeys(names))

    def varied(self, variation: str) -> Results:
        """Return the products of a variation: of those stages that it changes.

        :raises UnknownVariation: if there is no such variation; also a KeyError.
        """
        if variation not in self.variations:
            known = f"variations with products: {', '.join(self.variations) or 'none'}"
            hint = nearest(variation, self.variations) or known
            raise UnknownVariation(f"no product of a variation {variation!r}", hint=hint)
        return Results(self._reader, variation)

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
        deep = (path for folder in (FILES, VARIED) for path in (self._directory / folder).rglob("*"))
        paths = {*self._directory.glob("*/*"), *deep}
        return tuple(sorted(path.relative_to(self._directory).as_posix() for path in paths if path.is_file()))

    def read(self, name: str) -> bytes:
        return (self._directory / name).read_bytes()


def of_directory(directory: Path) -> Results:
    """Return the products of the run that left its outputs in ``directory``.

    :raises DataError: if there is no such directory.
    """
    if not directory.is_dir():
        raise DataError(f"no such directory: {directory}", hint="name the directory that a run was given with -o")
    return Results(_Directory(directory))
