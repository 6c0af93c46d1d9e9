"""ROOT files: opening them, finding the tree, and saying what is wrong."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from fasthep_archive.data.rntuple import NtupleSource
from fasthep_archive.data.ttree import TreeSource
from fasthep_archive.errors import ArchiveError, DataError, nearest

if TYPE_CHECKING:
    from uproot.reading import ReadOnlyDirectory

_SOURCES = {"TTree": TreeSource, "TNtuple": TreeSource, "TNtupleD": TreeSource, "ROOT::RNTuple": NtupleSource}
_MAGIC = b"root"


def open_tree(path: Path, tree: str) -> TreeSource | NtupleSource:
    """Return the TTree or RNTuple ``tree`` of a local file; a context manager.

    :param tree: name, below directories with ``/``; the newest cycle.
    :raises DataError: if the file can't be read or is no ROOT file, or has no such tree.
    """
    _refuse_others(path)
    import uproot

    with _told(path):
        file = uproot.open(
            path, object_cache=None, array_cache=None, handler=uproot.MultithreadedFileSource, num_workers=1
        )
        try:
            return _found(path, file, tree)
        except BaseException:
            file.close()
            raise


def _refuse_others(path: Path) -> None:
    """Raise with the reason if the file is none of ROOT's; uproot's own messages are long and its types many."""
    try:
        if path.is_dir():
            raise DataError(f"{path} is a directory, not a ROOT file")
        with path.open("rb") as stream:
            start = stream.read(len(_MAGIC))
    except FileNotFoundError as error:
        raise DataError(f"no such file: {path}") from error
    except OSError as error:
        raise DataError(f"can't read {path}: {error.strerror or error}") from error
    if start != _MAGIC:
        raise DataError(
            f"{path} is empty" if not start else f"{path} is not a ROOT file: it does not begin with 'root'"
        )


def _found(path: Path, file: ReadOnlyDirectory, tree: str) -> TreeSource | NtupleSource:
    classes = file.classnames(recursive=True, cycle=False)
    trees = [name for name, kind in classes.items() if kind in _SOURCES]
    if tree not in classes:
        raise DataError(f"no tree {tree!r} in {path}", hint=nearest(tree, trees) or _list(trees))
    if tree not in trees:
        raise DataError(f"{tree!r} in {path} is a {classes[tree]}, not a tree", hint=_list(trees))
    return _SOURCES[classes[tree]](path, file[tree])


def _list(trees: list[str]) -> str:
    return f"its trees: {', '.join(trees)}" if trees else "it has no trees"


@contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except ArchiveError:
        raise
    except Exception as error:
        raise DataError(f"{path} is damaged or cut off: {error}") from error
