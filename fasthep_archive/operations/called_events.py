"""Calls of event-level functions, where they run: columns become awkward arrays, and what is returned columns again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from fasthep_archive.data.layouts import layout_of
from fasthep_archive.errors import TaskError
from fasthep_archive.formula.columns import Array, Column, starts
from fasthep_archive.operations import called
from fasthep_archive.operations.messages import Columns, Message, columns
from fasthep_archive.operations.seen import Seen

if TYPE_CHECKING:
    import awkward as ak

_NUMPY: Mapping[str, type] = {"float64": np.float64, "int64": np.int64, "bool": np.bool_}
_EXACT = 1 << 53


def answered(request: Message) -> Message:
    """Return the columns that a function returns for some events."""
    header = cast("Mapping[str, Any]", request.header)
    found = columns(header["columns"], request.arrays)
    function = called.function(header["target"])
    result = STYLES[header["style"]](function, found, header)
    returned = _returned(result, [name for name, *_ in header["returns"]])
    made = {
        name: column(returned[name], name, kind, header["events"], found.get(like) if like else None)
        for name, kind, like in header["returns"]
    }
    sent = Columns.of(made)
    return Message({"columns": sent.described}, sent.arrays)


def _with_events(function: Callable[..., Any], found: Mapping[str, Column], header: Mapping[str, Any]) -> Any:
    offered = {"events": records(found, header["events"]), "params": header["params"], "data": Seen.of(header["needs"])}
    offered |= {key: header[key] for key in ("dataset", "seed") if header[key] is not None}
    return called.called(function, offered)


def _with_arguments(function: Callable[..., Any], found: Mapping[str, Column], header: Mapping[str, Any]) -> Any:
    with called.foreign():
        return function(*map(array, found.values()), **header["params"])


def _with_values(function: Callable[..., Any], found: Mapping[str, Column], _header: Mapping[str, Any]) -> Any:
    """Return what a function of single values returns, in the lists that its arguments have."""
    import awkward as ak

    columns = list(found.values())
    with called.foreign():
        result = function(*(column.content for column in columns))
    values = np.asarray(result)
    if values.ndim == 0:
        values = np.full(columns[0].content.size, values)
    if values.shape != columns[0].content.shape:
        hint = "it gets NumPy arrays of one length, and returns one of that length"
        raise TaskError(f"it returned an array of shape {values.shape} for {columns[0].content.size} values", hint=hint)
    return ak.Array(_listed(ak.contents.NumpyArray(values), columns[0].offsets))


def _as_operation(plugin: Callable[..., Any], found: Mapping[str, Column], header: Mapping[str, Any]) -> Any:
    events = records(found, header["events"])
    with called.foreign():
        return plugin(**header["params"]).run(events)


def _as_fasthep(function: Callable[..., Any], found: Mapping[str, Column], header: Mapping[str, Any]) -> Any:
    """Return what an operation of FAST-HEP adds to a stream, and which events it keeps."""
    import awkward as ak

    events, numbers = header["events"], np.arange(header["events"])
    stream = ak.with_field(records(found, events), numbers, ENTRY)
    run: Any = getattr(function, "impl", None) or getattr(function, "run", function)
    with called.foreign():
        result = run(stream=stream, ctx=dict(header["params"]["context"]), **header["params"]["params"])
    if isinstance(result, Mapping) and "stream" in result:
        result = result["stream"]
    if not isinstance(result, ak.Array) or ENTRY not in ak.fields(result):
        raise TaskError("it returned no stream of events", hint="return the stream that it got, with more fields")
    kept = np.asarray(result[ENTRY])
    passed = np.zeros(events, np.bool_)
    passed[kept] = True
    names = [name for name, *_ in header["returns"]]
    if PASSED not in names and not passed.all():
        raise TaskError("it dropped events, and does not say that it selects any", hint="say so: selects = True")
    if kept.size != passed.sum() or (np.diff(kept) < 0).any():
        raise TaskError("it repeated events or changed their order", hint="return them in the order that they came in")
    lacking = [name for name in names if name != PASSED and name not in ak.fields(result)]
    if lacking:
        raise TaskError(f"the stream that it returned has no field {lacking[0]!r}, which is declared")
    spread = np.full(events, -1, np.int64)
    spread[kept] = np.arange(kept.size)
    return {name: passed if name == PASSED else _spread(result[name], spread) for name in names}


def _spread(column: ak.Array, places: NDArray[np.int64]) -> ak.Array:
    """Return a column of all events: that of those which were kept, 0 and empty lists for the others."""
    import awkward as ak

    if (places >= 0).all():
        return column
    taken = ak.Array(ak.contents.IndexedOptionArray(ak.index.Index64(places), ak.to_packed(column).layout))
    return ak.fill_none(taken, [] if column.ndim > 1 else 0, axis=0)


ENTRY, PASSED = "fasthep_archive_entry", "fasthep_archive_passed"
"""Field that numbers the events which an operation of FAST-HEP gets; column that says which of them it kept."""
STYLES: dict[str, Callable[[Callable[..., Any], Mapping[str, Column], Mapping[str, Any]], Any]] = {
    "events": _with_events,
    "arguments": _with_arguments,
    "values": _with_values,
    "operation": _as_operation,
    "fasthep": _as_fasthep,
}
"""How functions are called, by name: with the function, the columns by name, and the request's header."""


# Columns as awkward arrays


def array(column: Column) -> ak.Array:
    """Return a column as an awkward array: options where values can be missing, lists where there are, strings."""
    import awkward as ak

    return ak.Array(_listed(_valued(column), column.offsets))


def records(found: Mapping[str, Column], events: int) -> ak.Array:
    """Return columns as one array of records: ``Muon.pt`` and ``Muon.eta`` are members of ``events.Muon``.

    Members that are lists of equal lengths are lists of records.
    """
    import awkward as ak

    tree: dict[str, Any] = {}
    for name, value in found.items():
        *groups, last = name.split(".")
        branch = tree
        for group in groups:
            branch = branch.setdefault(group, {})
        branch[last] = value
    return ak.Array(_record(tree, events))


def _record(tree: Mapping[str, Any], events: int) -> ak.contents.Content:
    import awkward as ak

    contents = [
        _group(item, events) if isinstance(item, dict) else _listed(_valued(item), item.offsets)
        for item in tree.values()
    ]
    return ak.contents.RecordArray(contents, list(tree), length=events)


def _group(tree: Mapping[str, Any], events: int) -> ak.contents.Content:
    import awkward as ak

    columns = list(tree.values())
    if not all(isinstance(item, Column) and item.offsets is not None for item in columns):
        return _record(tree, events)
    offsets = columns[0].offsets
    if any(item.offsets is not offsets and not np.array_equal(item.offsets, offsets) for item in columns):
        return _record(tree, events)
    record = ak.contents.RecordArray([_valued(item) for item in columns], list(tree), length=int(offsets[-1]))
    return _listed(record, offsets)


def _valued(column: Column) -> ak.contents.Content:
    import awkward as ak

    if column.words:
        return layout_of(column, text=True)
    content = ak.contents.NumpyArray(column.content)
    if column.valid is None:
        return content
    return ak.contents.ByteMaskedArray(ak.index.Index8(column.valid.astype(np.int8)), content, valid_when=True)


def _listed(content: ak.contents.Content, offsets: NDArray[np.int64] | None) -> ak.contents.Content:
    import awkward as ak

    return content if offsets is None else ak.contents.ListOffsetArray(ak.index.Index64(offsets), content)


# Columns that are returned


def _returned(result: Any, names: Sequence[str]) -> Mapping[str, Any]:
    """Return what was returned by name; one column need not have one."""
    import awkward as ak

    if isinstance(result, ak.Array) and ak.fields(result) and set(ak.fields(result)) == set(names):
        return {name: result[name] for name in names}
    if not isinstance(result, Mapping):
        if len(names) == 1 and result is not None:
            return {names[0]: result}
        hint = f"return a mapping with {', '.join(names)}"
        declared = f"column {names[0]!r} is" if len(names) == 1 else f"{len(names)} columns are"
        raise TaskError(f"it returned {type(result).__name__}, and {declared} declared", hint=hint)
    missing, unknown = [name for name in names if name not in result], [name for name in result if name not in names]
    if missing or unknown:
        only = f", only {', '.join(map(repr, result))}" if result else ""
        what = f"did not return {missing[0]!r}{only}" if missing else f"returned {unknown[0]!r}, which is not declared"
        raise TaskError(f"it {what}", hint=f"declared under returns: {', '.join(names)}")
    return result


def column(value: Any, name: str, kind: str, events: int, like: Column | None) -> Column:
    """Return an array as a column of type ``kind``: ``float64``, ``?int64``, ``list[bool]`` ...

    :param like: a list that it has as many values as, in each event.
    :raises TaskError: if it is not what is declared.
    """
    layout = _layout(value, name)
    if len(layout) != events:
        hint = "return one value or one list for each event, in their order"
        raise TaskError(f"it returned {len(layout)} values for {name!r}, and there are {events} events", hint=hint)
    lists, inner = kind.startswith("list["), kind.removeprefix("list[").removesuffix("]")
    layout = _present(layout, name) if lists else layout
    offsets = None
    if lists:
        offsets, layout = _lists(layout, name, kind)
        if like is not None and not np.array_equal(offsets, cast("NDArray[np.int64]", like.offsets)):
            raise TaskError(f"the lists that it returned for {name!r} have other lengths than those that they are like")
    dtype = inner.removeprefix("?")
    if not inner.startswith("?"):
        return Column(_numbers(_present(layout, name), name, dtype, kind), offsets)
    valid = np.asarray(layout.mask_as_bool(valid_when=True)) if layout.is_option else np.ones(len(layout), np.bool_)
    content: Array = np.zeros(valid.size, _NUMPY[dtype])
    content[valid] = _numbers(_plain(layout.project()) if layout.is_option else layout, name, dtype, kind)
    return Column(content, offsets, valid)


def _layout(value: Any, name: str) -> ak.contents.Content:
    import awkward as ak

    if isinstance(value, np.ndarray) and value.dtype.kind == "O":
        hint = "convert it: numpy.asarray(..., float); lists of different lengths are awkward arrays"
        raise TaskError(f"it returned an array of objects for {name!r}", hint=hint)
    if isinstance(value, np.ndarray) and not value.dtype.isnative:
        value = value.astype(value.dtype.newbyteorder("="))
    try:
        layout = ak.to_layout(value, primitive_policy="error", string_policy="error")
    except (TypeError, ValueError) as error:
        hint = "return awkward or NumPy arrays"
        raise TaskError(f"it returned {type(value).__name__} for {name!r}, no array", hint=hint) from error
    return _plain(ak.to_packed(layout, highlevel=False))


def _plain(layout: ak.contents.Content) -> ak.contents.Content:
    """Return a layout without indices: what is looked up elsewhere is put in place."""
    return layout.project() if layout.is_indexed and not layout.is_option else layout


def _present(layout: ak.contents.Content, name: str) -> ak.contents.Content:
    """Return what has no missing values as what can't have any."""
    if not layout.is_option:
        return layout
    mask = np.asarray(layout.mask_as_bool(valid_when=True))
    if not mask.all():
        hint = "declare it with a question mark, ?float64, or return a value for each"
        raise TaskError(f"value {int(np.argmin(mask))} that it returned for {name!r} is missing", hint=hint)
    return _plain(layout.project())


def _lists(layout: ak.contents.Content, name: str, kind: str) -> tuple[NDArray[np.int64], ak.contents.Content]:
    if layout.is_unknown:
        return np.zeros(1, np.int64), layout
    if layout.is_numpy and layout.data.ndim > 1:
        layout = layout.to_RegularArray()
    if not layout.is_list:
        raise TaskError(f"it returned one value per event for {name!r}, which is declared as {kind}")
    counts = np.diff(np.asarray(layout.to_ListOffsetArray64(True).offsets.data))
    plain = layout.to_ListOffsetArray64(True)
    return starts(counts.astype(np.int64)), _plain(plain.content[: int(plain.offsets[-1])])


def _numbers(layout: ak.contents.Content, name: str, dtype: str, kind: str) -> Array:
    """Return values as those of the declared type, exactly."""
    if layout.is_unknown:
        return np.zeros(len(layout), _NUMPY[dtype])
    if not layout.is_numpy or layout.data.ndim > 1:
        raise TaskError(f"what it returned for {name!r} is of type {layout.form.type}, not {kind}")
    values = np.asarray(layout.data)
    whole = {"float64": "fiu", "int64": "iu", "bool": "b"}[dtype]
    if values.dtype.kind not in whole or values.dtype.itemsize > 8:
        hint = f"convert it, or declare what it is under returns: {name}: ..."
        raise TaskError(f"it returned {values.dtype} for {name!r}, which is declared as {kind}", hint=hint)
    made: Array = np.ascontiguousarray(values.astype(_NUMPY[dtype]))
    if values.dtype.kind in "iu" and values.dtype.itemsize == 8 and not _exact(values, dtype):
        raise TaskError(f"a number that it returned for {name!r} is too large for {kind}")
    return made


def _exact(values: Array, dtype: str) -> bool:
    if not values.size:
        return True
    most = _EXACT if dtype == "float64" else np.iinfo(np.int64).max
    return int(values.max()) <= most and (dtype == "int64" or int(values.min()) >= -most)
