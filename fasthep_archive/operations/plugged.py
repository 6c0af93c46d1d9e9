"""Operations of plug-ins: a class with ``columns``, ``returns`` and ``run`` becomes a stage that reads events.

::

    @dataclass
    class ScalePt:
        scale: float = 1.0
        columns = ("Muon_pt",)
        returns = {"Muon_pt_scaled": "list[float64] like Muon_pt"}

        def run(self, events):
            return {"Muon_pt_scaled": events.Muon_pt * self.scale}

Its fields are the parameters. ``run`` is called in a process of its own, with the events that are still in. A class
with ``spec`` is an operation of FAST-HEP: ``run(stream=..., ctx=..., **params)`` returns the stream with more fields,
and with fewer events if ``selects`` is true. A class with ``read`` has the protocol of this package's own operations.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import cast

from fasthep_archive.digest import JSON
from fasthep_archive.errors import UsageError
from fasthep_archive.kernels.external import Style
from fasthep_archive.operations.events import Returned, RunEvents
from fasthep_archive.registry import Provided
from fasthep_archive.workflow.code import Code

_PASSED = "fasthep_archive_passed"


def operation(plugin: object, provided: Provided, params: Mapping[str, JSON]) -> RunEvents:
    """Return the operation that the class ``plugin`` stands for, with these parameters.

    :raises UsageError: if it does not say what it reads and returns, or can't be one.
    """
    spec = getattr(plugin, "spec", None)
    if isinstance(spec, Mapping):
        return _fasthep(plugin, cast("Mapping[str, JSON]", spec), provided, params)
    made = _made(plugin, provided, params)
    selects = str(getattr(made, "selects", "") or "")
    found = RunEvents(
        callable=provided.target,
        columns=_columns(made, provided),
        returns=tuple(_returned(made, provided)),
        params=params,
        seed=0,
        timeout=None,
        code=code_of(provided),
        style="operation",
        selects=selects,
    )
    if selects and selects not in (item.name for item in found.returns):
        raise _wrong(provided, f"selects {selects!r}, which it does not return")
    return found


def accessor(plugin: object, provided: Provided) -> RunEvents:
    """Return what computes a field: an operation without parameters that returns one column.

    :raises UsageError: if the class is no such thing.
    """
    found = operation(plugin, provided, {})
    if len(found.returns) != 1 or found.selects:
        raise _wrong(provided, "must return one column, and no selection")
    return found


def code_of(provided: Provided) -> Code:
    """Return the code of a plug-in: nothing is carried but its wheel, and what is installed of it counts."""
    from fasthep_archive.digest import of_json

    module = provided.target.partition(":")[0].partition(".")[0]
    return Code(target=provided.target, files={}, digest=of_json(provided.identity), imports=(module,))


def _made(plugin: object, provided: Provided, params: Mapping[str, JSON]) -> object:
    if not isinstance(plugin, type) or not callable(getattr(plugin, "run", None)):
        raise _wrong(provided, "is no class with a method 'run'")
    try:
        return plugin(**params)
    except (TypeError, ValueError) as error:
        raise _wrong(provided, f"does not take its parameters: {error}") from error


def _columns(made: object, provided: Provided) -> tuple[str, ...]:
    columns = getattr(made, "columns", None)
    if isinstance(columns, str) or not isinstance(columns, Sequence) or not columns:
        raise _wrong(provided, "does not say which columns it reads")
    return tuple(map(str, columns))


def _returned(made: object, provided: Provided) -> Iterator[Returned]:
    returns = getattr(made, "returns", None)
    if not isinstance(returns, Mapping) or not returns:
        raise _wrong(provided, "does not say which columns it returns")
    for name, described in returns.items():
        kind, _, like = str(described).partition(" like ")
        plain = kind.strip().removeprefix("list[").removesuffix("]").removeprefix("?")
        if plain not in ("float64", "int64", "bool") or (like and not kind.startswith("list[")):
            raise _wrong(provided, f"returns {name!r} as {described!r}, which is no type of a column")
        yield Returned(name=str(name), type=kind.strip(), like=like.strip())


def _wrong(provided: Provided, what: str) -> UsageError:
    hint = "columns = ('x',), returns = {'y': 'float64'} and def run(self, events): return {'y': ...}"
    return UsageError(
        f"{provided.kind.removesuffix('s')} {provided.name!r} of {provided.provider} {provided.version} {what}",
        hint=hint,
    )


# Operations of FAST-HEP


def _fasthep(plugin: object, spec: Mapping[str, JSON], provided: Provided, params: Mapping[str, JSON]) -> RunEvents:
    _refuse(spec, provided)
    selects = _PASSED if getattr(plugin, "selects", False) else ""
    style: Style = "fasthep"
    columns = getattr(plugin, "columns", None) or tuple(_symbols(spec, "requires", params, provided))
    returns = getattr(plugin, "returns", None) or dict.fromkeys(_symbols(spec, "provides", params, provided), "float64")
    stated = type("Stated", (), {"columns": columns, "returns": {**returns, **({selects: "bool"} if selects else {})}})
    return RunEvents(
        callable=provided.target,
        columns=_columns(stated, provided),
        returns=tuple(_returned(stated, provided)),
        params={"params": params, "context": {"primary_stream": "events"}},
        seed=0,
        timeout=None,
        code=code_of(provided),
        style=style,
        selects=selects,
    )


def _refuse(spec: Mapping[str, JSON], provided: Provided) -> None:
    """Refuse what can't be done with partitions of events, one by one."""
    kind = spec.get("kind")
    result = spec.get("result")
    made = result.get("kind") if isinstance(result, Mapping) else None
    if kind != "transform":
        raise _wrong(provided, f"is a {kind} of FAST-HEP, and only transforms can be stages here")
    if made not in (None, "event_stream"):
        raise _wrong(provided, f"leaves a {made}, and an operation of FAST-HEP can only hand events on here")
    if spec.get("lifecycle"):
        raise _wrong(provided, "keeps something from one part of the run to the next (lifecycle), which has none here")


def _symbols(spec: Mapping[str, JSON], key: str, params: Mapping[str, JSON], provided: Provided) -> Iterator[str]:
    """Yield the fields that an operation requires or provides: listed, or named by one of its parameters."""
    described = spec.get(key)
    symbols = described.get("symbols", ()) if isinstance(described, Mapping) else ()
    for symbol in cast("Sequence[JSON]", symbols):
        if isinstance(symbol, str):
            yield symbol
        elif isinstance(symbol, Mapping) and symbol.get("kind") in ("field", "field_list"):
            value = params.get(str(symbol.get("from", "")).removeprefix("params.").removesuffix(".*"))
            yield from [value] if isinstance(value, str) else map(str, cast("Sequence[JSON]", value or ()))
        else:
            kind = symbol.get("kind") if isinstance(symbol, Mapping) else symbol
            raise _wrong(provided, f"{key} a {kind}, which is not understood here: it has to say columns and returns")
