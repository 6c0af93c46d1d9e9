"""``data["stage"]``: the products of a finished run or of an opened bundle, by stage, read when they are asked for.

``data["DiMuonMass"]`` is a ``hist.Hist``, ``data["SelectDimuon"]`` a :class:`~fasthep_archive.data.products.Cutflow`,
``data["Scale"]["factor"]`` a number. Files of columns are there by their names: ``data["skim"]["Muon_Pt"]`` is the
awkward array in ``files/skim.root``. Any other file that a stage leaves is there by its name, as a :class:`File`:
``data["Train/model.npz"]``, and ``data["Train"]`` has all that a function left: ``data["Train"]["model.npz"]``,
``data["Train"]["accuracy"]``. ``data.varied("jes_up")["DiMuonMass"]`` is the same in a systematic variation,
where that changes it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from fasthep_archive.data.products import Cutflow, Histogram, Product, Values, kind_of, stored_as
from fasthep_archive.data.root_histograms import RootHistograms, holds_histograms
from fasthep_archive.data.tables import Columns, sheet
from fasthep_archive.errors import DataError, nearest
from fasthep_archive.files import Bytes, Stretch, read_all

if TYPE_CHECKING:
    import hist

Shown: TypeAlias = "hist.Hist[Any] | Cutflow | Values | Columns | RootHistograms | File | Left"
_Read: TypeAlias = Histogram | Cutflow | Values | Columns | RootHistograms

FILES = "files/"
"""Where files of columns lie, below the outputs directory."""
LARGE = 1 << 26
"""Bytes of a file (64 MiB) above which columns are read where it lies; it must stay there, and as it is."""
VARIED = "systematics/"
"""Where the products of variations lie, each below its name."""


class Reader(Protocol):
    """Where outputs are."""

    def names(self) -> tuple[str, ...]:
        """Return the names of all outputs: paths below the outputs directory, with ``/``."""

    def read(self, name: str) -> Bytes:
        """Return the bytes of one, or where they lie."""


class File:
    """A file that a stage left, of a form that is not read here: its bytes, and its path where it has one."""

    def __init__(self, reader: Reader, name: str) -> None:
        """Name a file; ``name`` is that of an output."""
        self.name = name
        self._reader = reader

    def read_bytes(self) -> bytes:
        """Return the bytes of the file."""
        return read_all(self._reader.read(self.name))

    def __fspath__(self) -> str:
        """Return the path of the file, so that it can be opened by whatever takes paths.

        :raises DataError: if it has none, as in a bundle.
        """
        path = getattr(self._reader, "path", None)
        if path is None:
            raise DataError(f"{self.name} is in a bundle, and has no path", hint="take its bytes: .read_bytes()")
        return str(path(self.name))

    def __repr__(self) -> str:
        return f"<file {self.name}>"


class Left(Mapping[str, "float | Shown"]):
    """All that a function left, where that is more than numbers or a table: these, histograms and files by name."""

    def __init__(self, numbers: Mapping[str, float], others: Mapping[str, Callable[[], Shown]]) -> None:
        """Show numbers, and what is read when it is asked for."""
        self._numbers = numbers
        self._others = others

    def __getitem__(self, name: str) -> float | Shown:
        """Return a number, or another product, read now.

        :raises UnknownStage: if there is none of that name; also a KeyError.
        """
        if name in self._numbers:
            return self._numbers[name]
        if name not in self._others:
            hint = nearest(name, self) or f"there are {', '.join(self)}"
            raise UnknownStage(f"the stage left no {name!r}", hint=hint)
        return self._others[name]()

    def __iter__(self) -> Iterator[str]:
        return iter((*self._numbers, *self._others))

    def __len__(self) -> int:
        return len(self._numbers) + len(self._others)

    def __repr__(self) -> str:
        return f"<{', '.join(self)}>"


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
        self._outputs: dict[str, tuple[str, Callable[[Bytes], _Read] | None]] = {}
        self._tables: dict[str, str] = {}
        prefix = "" if variation is None else f"{VARIED}{variation}/"
        names = {name.removeprefix(prefix): name for name in reader.names() if name.startswith(prefix)}
        for name, full in names.items():
            form = stored_as(name)
            if form and form.read:
                self._outputs[PurePosixPath(name).stem] = full, partial(_held, form.read)
        for name, full in names.items():
            if name.startswith(FILES):
                path = PurePosixPath(name.removeprefix(FILES))
                read, short = _reading(path), path.with_suffix("").as_posix()
                self._outputs[path.as_posix() if read is None or short in self._outputs else short] = full, read
                if read is None and path.suffix in _ON_TOP:
                    self._tables[short] = full
        self._left = self._together(prefix)

    def _together(self, prefix: str) -> Mapping[str, Mapping[str, str]]:
        """Return by stage the names of all that functions left, where that is more than numbers or a table."""
        left: dict[str, dict[str, str]] = {}
        for key, (name, read) in self._outputs.items():
            folder = name.removeprefix(prefix).partition("/")[0]
            stage, dot, part = key.partition("/") if read is None else key.rpartition(".")
            if dot and (read is None or folder == "histograms"):
                left.setdefault(stage, {})[part] = key
        for stage, parts in left.items():
            if self._folder(stage, prefix) == "files":
                parts["table"] = stage
            elif f"{stage}.parquet" in self._outputs:
                parts["table"] = f"{stage}.parquet"
        return {stage: parts for stage, parts in left.items() if self._folder(stage, prefix) in ("", "values", "files")}

    def _folder(self, stage: str, prefix: str) -> str:
        """Return where the product called like the stage lies, empty if there is none."""
        name, _ = self._outputs.get(stage, ("", None))
        return name.removeprefix(prefix).partition("/")[0]

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
        if stage in self._left:
            return self._everything(stage)
        return self._product(stage)

    def _everything(self, stage: str) -> Left:
        """Return all that a function left."""
        parts = self._left[stage]
        found = self._product(stage) if stage in self._outputs and parts.get("table") != stage else None
        others = {part: partial(self._product, key) for part, key in parts.items()}
        return Left(found if isinstance(found, Values) else {}, others)

    def _product(self, stage: str) -> Shown:
        if stage in self._tables and stage not in self._outputs:
            return _table(self._tables[stage])(self._reader.read(self._tables[stage]))
        if stage not in self._outputs:
            known = f"stages with products: {', '.join(self._outputs)}" if self._outputs else None
            raise UnknownStage(f"no stage {stage!r} left a product", hint=nearest(stage, self._outputs) or known)
        name, read = self._outputs[stage]
        if read is None:
            return File(self._reader, name)
        product = read(self._reader.read(name))
        return product.to_hist() if isinstance(product, Histogram) else product

    def __contains__(self, stage: object) -> bool:
        return stage in self._outputs or stage in self._left or stage in self._tables

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys((*self._outputs, *self._left)))

    def __len__(self) -> int:
        return len(self._outputs.keys() | self._left.keys())

    def __repr__(self) -> str:
        return f"<products of {', '.join(self._outputs) or 'no stage'}>"


_ON_TOP = (".csv", ".npz")
"""Suffixes of tables that are files of any kind below a directory, where functions leave what they like: there they are
tables only by their names without suffix."""


def _reading(path: PurePosixPath) -> Callable[[Bytes], _Read] | None:
    """Return how a file is read that lies at ``path`` below :data:`FILES`; none if it is shown as it is."""
    if path.suffix in _ON_TOP:
        return _table(path.name) if len(path.parts) == 1 else None
    if path.suffix == ".root":
        return _of_root
    return Columns if kind_of(f"{FILES}{path}") == "columns" else None


def _table(name: str) -> Callable[[Bytes], Columns]:
    return partial(Columns, read=sheet) if name.endswith(".csv") else Columns


def _held(read: Callable[[bytes], Product], content: Bytes) -> Product:
    """Return a product that fits in memory."""
    return read(read_all(content))


def _of_root(content: Bytes) -> Columns | RootHistograms:
    return RootHistograms(content) if holds_histograms(content) else Columns(content)


class _Directory:
    """The outputs of a finished run."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def names(self) -> tuple[str, ...]:
        deep = (path for folder in (FILES, VARIED) for path in (self._directory / folder).rglob("*"))
        paths = {*self._directory.glob("*/*"), *deep}
        return tuple(sorted(path.relative_to(self._directory).as_posix() for path in paths if path.is_file()))

    def read(self, name: str) -> Bytes:
        found = Stretch.whole(self.path(name))
        return found if found.size > LARGE else read_all(found)

    def path(self, name: str) -> Path:
        return self._directory / name


def of_directory(directory: Path) -> Results:
    """Return the products of the run that left its outputs in ``directory``.

    :raises DataError: if there is no such directory.
    """
    if not directory.is_dir():
        raise DataError(f"no such directory: {directory}", hint="name the directory that a run was given with -o")
    return Results(_Directory(directory))
