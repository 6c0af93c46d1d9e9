"""Events in a TTree.

uproot reads them, branch by branch, which it does in a little less time than all of them at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from fasthep_archive.data.damage import told
from fasthep_archive.data.layouts import LazyTypes, column_of, sharing_offsets, type_of, unsupported
from fasthep_archive.errors import DataError
from fasthep_archive.formula.columns import Column, ColumnType, Structure

if TYPE_CHECKING:
    from uproot.behaviors.TBranch import TBranch
    from uproot.behaviors.TTree import TTree


class TreeSource(AbstractContextManager["TreeSource"]):
    """The events of an open TTree; see :class:`fasthep_archive.data.source.EventSource`."""

    def __init__(self, path: Path, tree: TTree) -> None:
        self._path = path
        self._tree = tree
        self._branches = _branches(tree)
        self._types = LazyTypes(self._branches, self._type, f"tree {tree.name!r} of {path}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._tree.close()

    @property
    def entries(self) -> int:
        return int(self._tree.num_entries)

    def types(self) -> Mapping[str, ColumnType]:
        return self._types

    def clusters(self) -> tuple[int, ...]:
        """Return the entries at which the baskets of all branches end.

        ROOT and uproot end them together, cluster by cluster. Where a file has no such entries (very old ones), those
        of the largest branch are taken.
        """
        with told(self._path):
            return self._clusters()

    def _clusters(self) -> tuple[int, ...]:
        filled = [branch for branch in self._branches.values() if branch.num_baskets]
        if not filled:
            return tuple(sorted({0, self.entries}))
        distinct = {tuple(branch.entry_offsets) for branch in filled}
        common = sorted(set.intersection(*map(set, distinct)) | {0, self.entries})
        if len(common) > 2:
            return tuple(common)
        largest = max(filled, key=lambda branch: int(branch.member("fTotBytes")))
        return tuple(sorted({0, *largest.entry_offsets, self.entries}))

    def read(self, columns: Iterable[str], start: int, stop: int) -> dict[str, Column]:
        if not 0 <= start <= stop <= self.entries:
            raise ValueError(f"entries {start} to {stop} of {self.entries}")
        names = list(columns)
        types = {name: self._types[name] for name in names}  # refuses what formulas can't take
        found = {name: self._column(name, start, stop) for name in names}
        return sharing_offsets(found, types)

    def _column(self, name: str, start: int, stop: int) -> Column:
        branch = self._branches[name]
        if start == stop:  # uproot would decompress a basket to return nothing of it
            return column_of(branch.interpretation.awkward_form(branch.file).length_zero_array(), name)
        with told(self._path, f"branch {name!r}"):
            array = branch.array(entry_start=start, entry_stop=stop, library="ak", array_cache=None)
        return column_of(array.layout, name)

    def _type(self, name: str) -> ColumnType:
        branch = self._branches[name]
        if len(branch.branches):
            hint = f"name one of its branches: {', '.join(child.name for child in branch.branches)}"
            raise DataError(f"branch {name!r} has no values of its own, it groups others", hint=hint)
        if branch.num_entries != self.entries:
            raise DataError(f"branch {name!r} has {branch.num_entries} entries, its tree has {self.entries}")
        if _packed(branch):
            raise unsupported(name, "an array of numbers packed into fewer bits (Double32_t), which uproot misreads")
        try:
            form = branch.interpretation.awkward_form(branch.file)
        except Exception as error:  # uproot has a dozen ways to say that it knows no array for something
            raise unsupported(name, branch.member("fClassName", none_if_missing=True) or branch.title) from error
        counted = branch.count_leaf is not None
        return type_of(form, name, Structure(_lengths(branch), counted=True) if counted else None)


def _branches(tree: TTree) -> dict[str, TBranch]:
    """Return the branches by name; those below others by their own name, or if others have that too, by path."""
    paths = dict(tree.iteritems(recursive=True, full_paths=True))
    owners: dict[str, int] = {}
    for branch in paths.values():
        owners[branch.name] = owners.get(branch.name, 0) + 1
    return {branch.name if owners[branch.name] == 1 else path: branch for path, branch in paths.items()}


def _packed(branch: TBranch) -> bool:
    """Return whether values are packed as ``x[n]/d[0,100,16]`` says, while uproot 5.7 takes them for plain floats."""
    leaves = branch.member("fLeaves")
    described = len(leaves) == 1 and leaves[0].classname == "TLeafD32" and "/d[" in leaves[0].member("fTitle")
    return described and "AsDtype" in repr(branch.interpretation)


def _lengths(branch: TBranch) -> str:
    """Return the name of the counter, which in a split collection is no branch (``Muons_``); without one, the path."""
    return str(branch.object_path if branch.count_leaf is None else branch.count_leaf.member("fName"))
