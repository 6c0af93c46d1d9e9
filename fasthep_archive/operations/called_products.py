"""Calls of functions that make products, where they run: what they return is taken apart and checked."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from fasthep_archive.digest import JSON
from fasthep_archive.errors import TaskError
from fasthep_archive.operations import called
from fasthep_archive.operations.messages import Message
from fasthep_archive.operations.seen import Seen

if TYPE_CHECKING:
    import awkward as ak

TABLE = "table"
"""How a table is called among several things that are returned."""
TABLE_FILE = Path("..", "table.parquet")


def answered(request: Message) -> Message:
    """Return what a function has returned and left: ``values``, ``histograms``, ``table``, ``files``."""
    header = cast("Mapping[str, Any]", request.header)
    declared = header["returns"]
    offered = {
        "data": Seen.of(header["needs"]),
        "params": header["params"],
        "seed": header["seed"],
        "out": called.OUT.resolve(),
    }
    result = called.called(called.function(header["target"]), offered)
    found = _parts(result, declared)
    if declared[TABLE]:
        _write_table(found[TABLE])
    made: dict[str, JSON] = {
        "values": {name: _number(found[name], name) for name in declared["values"]},
        "histograms": {name: _histogram(found[name], header["stage"], name) for name in declared["histograms"]},
        "files": _files(declared["files"]),
    }
    return Message(made)


def _parts(result: Any, declared: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what was returned by name; a single thing that is declared need not have one."""
    names = [*declared["values"], *declared["histograms"], *([TABLE] if declared[TABLE] else [])]
    if names == [TABLE] and not (isinstance(result, Mapping) and TABLE in result):
        return {TABLE: result}
    if len(names) == 1 and not isinstance(result, Mapping):
        return {names[0]: result}
    if result is None and not names:
        return {}
    if not isinstance(result, Mapping):
        hint = f"return a mapping with {', '.join(names)}" if names else "declare it under returns"
        raise TaskError(f"it returned {type(result).__name__}, and {', '.join(names) or 'nothing'} declared", hint=hint)
    for name in names:
        if name not in result:
            only = f", only {', '.join(map(repr, result))}" if result else ""
            raise TaskError(f"it did not return {name!r}{only}", hint=f"declared under returns: {', '.join(names)}")
    for name in result:
        if name not in names:
            hint = f"declared under returns: {', '.join(names) or 'nothing'}"
            raise TaskError(f"it returned {name!r}, which is not declared", hint=hint)
    return result


def _number(value: Any, name: str) -> float:
    if isinstance(value, np.ndarray) and value.ndim == 0:
        value = value[()]
    if not isinstance(value, (Real, np.bool_)):
        hint = "values are numbers; declare histograms, a table or files for anything else"
        raise TaskError(f"it returned {type(value).__name__} for the value {name!r}, no number", hint=hint)
    return float(value)


def _histogram(value: Any, stage: str, name: str) -> str:
    import hist

    from fasthep_archive.data.hists import of_hist

    if not isinstance(value, hist.BaseHist):
        raise TaskError(f"it returned {type(value).__name__} for {name!r}, no hist.Hist")
    return of_hist(cast("hist.Hist[Any]", value), f"{stage}.{name}").to_json().decode()


def _write_table(value: Any) -> None:
    """Write a table: a mapping of arrays, an array of records, or a structured array of NumPy."""
    import awkward as ak
    import pyarrow.parquet

    table = ak.to_arrow_table(_records(value), extensionarray=False, list_to32=False)
    pyarrow.parquet.write_table(table, TABLE_FILE, compression="zstd", use_dictionary=False, store_schema=False)


def _records(value: Any) -> ak.Array:
    import awkward as ak

    try:
        if isinstance(value, Mapping):
            columns = {name: ak.Array(ak.to_layout(column)) for name, column in value.items()}
            lengths = {name: len(column) for name, column in columns.items()}
            if len(set(lengths.values())) > 1:
                told = ", ".join(f"{name} has {length}" for name, length in lengths.items())
                raise TaskError(f"the columns of the table that it returned have different lengths: {told}")
            found = ak.zip(columns, depth_limit=1)
        else:
            found = ak.Array(ak.to_layout(value))
    except (TypeError, ValueError) as error:
        raise TaskError(f"it returned {type(value).__name__} for the table: {error}", hint=_TABLE_HINT) from error
    if not ak.fields(found):
        raise TaskError(f"it returned {type(value).__name__} for the table, without columns", hint=_TABLE_HINT)
    return found


_TABLE_HINT = "return a mapping of names to arrays, an awkward array of records, or a structured array of NumPy"


def _files(declared: Sequence[str]) -> list[JSON]:
    """Return the names of the files that it left, which are those that are declared."""
    out = called.OUT
    found = sorted(Path(folder, name) for folder, _, names in os.walk(out) for name in names)
    names = [path.relative_to(out).as_posix() for path in found]
    for name in declared:
        if name not in names:
            left = f"it left {', '.join(names)}" if names else "it left no file"
            raise TaskError(f"it did not write {name!r} below out; {left}")
    for name, path in zip(names, found, strict=True):
        if name not in declared:
            hint = f"declared under returns: files: {', '.join(declared) or 'none'}"
            raise TaskError(f"it wrote {name!r} below out, which is not declared", hint=hint)
        if path.is_symlink() or not path.is_file():
            raise TaskError(f"{name!r} below out is no file", hint="copy what it points to")
    return list(declared)
