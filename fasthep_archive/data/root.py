"""ROOT files: opening them, finding the tree, and saying what is wrong."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from fasthep_archive.data.damage import told
from fasthep_archive.data.rntuple import NtupleSource
from fasthep_archive.data.source import Read
from fasthep_archive.data.ttree import TreeSource
from fasthep_archive.errors import DataError, nearest

if TYPE_CHECKING:
    from uproot.reading import ReadOnlyDirectory

_SOURCES: Mapping[str, type[TreeSource | NtupleSource]] = {
    "TTree": TreeSource,
    "TNtuple": TreeSource,
    "TNtupleD": TreeSource,
    "ROOT::RNTuple": NtupleSource,
}
_MAGIC = b"root"
_LARGE = 1_000_000
"""Added to the version of a file whose header has positions of 8 bytes instead of 4."""


class NoTree(DataError):
    """The file can be read, but has no such tree."""


def open_tree(path: Path, read: Read) -> TreeSource | NtupleSource:
    """Return the TTree or RNTuple ``read.tree`` of a local file; a context manager.

    :param read: its tree is a name, below directories with ``/``; the newest cycle.
    :raises DataError: if the file can't be read or is no ROOT file, or has no such tree.
    """
    _refuse_others(path)
    import uproot

    with told(path):
        # read(2) without threads: a mapped file that is cut short kills the process, and workers may be forked
        source = uproot.MultithreadedFileSource
        file = uproot.open(path, object_cache=None, array_cache=None, handler=source, use_threads=False)
        try:
            return _found(path, file, read.tree)
        except BaseException:
            file.close()
            raise


def _refuse_others(path: Path) -> None:
    """Raise with the reason if the file is none of ROOT's; uproot's own messages are long and its types many."""
    try:
        if path.is_dir():
            raise DataError(f"{path} is a directory, not a ROOT file")
        with path.open("rb") as stream:
            start = stream.read(20)
    except FileNotFoundError as error:
        raise DataError(f"no such file: {path}") from error
    except OSError as error:
        raise DataError(f"can't read {path}: {error.strerror or error}") from error
    if not start.startswith(_MAGIC):
        raise DataError(
            f"{path} is empty" if not start else f"{path} is not a ROOT file: it does not begin with 'root'"
        )
    size, end = path.stat().st_size, _end(start)
    if size < end:
        raise DataError(f"{path} is cut off: it has {size} bytes of {end}", hint="copy it again from where it came")


def _end(header: bytes) -> int:
    """Return the size that the file says it has (TFile's fEND, https://root.cern/doc/master/classTFile.html)."""
    large = int.from_bytes(header[4:8], "big") >= _LARGE
    return int.from_bytes(header[12:20] if large else header[12:16], "big")


def _found(path: Path, file: ReadOnlyDirectory, tree: str) -> TreeSource | NtupleSource:
    try:
        kind = file.classname_of(tree)
    except KeyError as error:
        trees = _trees(file)
        raise NoTree(f"no tree {tree!r} in {path}", hint=nearest(tree, trees) or _list(trees)) from error
    if kind not in _SOURCES:
        raise NoTree(f"{tree!r} in {path} is a {kind}, not a tree", hint=_list(_trees(file)))
    return _SOURCES[kind](path, file[tree])


def _trees(file: ReadOnlyDirectory) -> list[str]:
    return [name for name, kind in file.classnames(recursive=True, cycle=False).items() if kind in _SOURCES]


def _list(trees: list[str]) -> str:
    return f"its trees: {', '.join(trees)}" if trees else "it has no trees"
