"""Canonical parameters of commands, and whose files they take."""

from __future__ import annotations

from collections.abc import Mapping

from fasthep_archive.digest import JSON
from fasthep_archive.errors import of_known
from fasthep_archive.workflow.code import COMMAND
from fasthep_archive.workflow.draft import Draft, mapping, sequence
from fasthep_archive.workflow.values import DocumentPath
from fasthep_archive.workflow.wiring import Reference

Params = Mapping[str, JSON]

RESERVED = frozenset(("HOME", "LC_ALL", "PATH", "PYTHONHASHSEED", "SEED", "SOURCE_DATE_EPOCH", "TMPDIR", "TZ"))
"""Variables that all scripts see, and that none can set: results could depend on them without anybody seeing it."""


def given(entry: Mapping[str, JSON], at: DocumentPath) -> tuple[Reference, ...] | None:
    """Return the stages whose files a command takes, where ``from`` does not say; none for other operations.

    :param entry: a stage as it is written, at the path ``at``.
    """
    params = entry.get("params")
    inputs = params.get("inputs") if entry.get("op") == COMMAND and isinstance(params, Mapping) else None
    if not isinstance(inputs, Mapping):
        return None
    found: dict[str, Reference] = {}
    for name, value in inputs.items():
        if isinstance(value, str):
            stage = value.partition(":")[0]
            found.setdefault(stage, Reference(id=stage, path=(*at, "params", "inputs", name)))
    return tuple(found.values()) or None


def run_command(params: Params, at: DocumentPath, draft: Draft) -> Params:
    """``script``, ``shell``, ``inputs: {file: STAGE or STAGE:FILE}``, ``code``, ``outputs``, ``timeout?``.

    ``values: {name: {file, key}}``, ``environment: {VARIABLE: text}``.
    """
    environment = mapping(params.get("environment"))
    for name in environment:
        if name in RESERVED or name.endswith("_NUM_THREADS"):
            message = f"{name} is the same for all scripts"
            draft.fault((*at, "environment", name), message, "leave it out, or set it in the script", key=True)
    inputs, outputs = mapping(params.get("inputs")), [str(name) for name in sequence(params.get("outputs"))]
    code = [str(name) for name in sequence(params.get("code"))]
    for name in inputs:
        if name in code:
            draft.fault((*at, "inputs", name), f"{name} is a file of the code, too", "give it another name", key=True)
    values = mapping(params.get("values"))
    for name, value in values.items():
        file = str(mapping(value).get("file"))
        if draft.conforms((*at, "values", name)) and file not in outputs:
            hint = of_known(file, outputs)
            draft.fault((*at, "values", name, "file"), f"{file!r} is not among the outputs", hint)
    _check_nested([*inputs, *code, *outputs], at, draft)
    return {
        "script": [str(line) for line in sequence(params.get("script"))],
        "shell": params.get("shell") or "sh",
        "inputs": inputs,
        "code": code,
        "outputs": outputs,
        "values": values,
        "environment": {name: _text(value) for name, value in environment.items()},
        **({"timeout": params["timeout"]} if params.get("timeout") is not None else {}),
    }


def _check_nested(names: list[str], at: DocumentPath, draft: Draft) -> None:
    """Report a file that would have to be a directory, too."""
    for name in names:
        above = name
        while above := above.rpartition("/")[0]:
            if above in names:
                draft.fault(at, f"{above} can't be a file and the directory of {name}", "rename one of them")


def _text(value: JSON) -> str:
    """Return a variable as text: of true and false 1 and 0."""
    return str(int(value)) if isinstance(value, bool) else str(value)
