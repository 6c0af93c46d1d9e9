"""What a document says of where and how it is computed: devices are kept, the rest is said to have no effect."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal, TypeAlias, cast

from fasthep_archive.digest import JSON
from fasthep_archive.errors import nearest, of_known
from fasthep_archive.workflow.draft import Draft, mapping, sequence
from fasthep_archive.workflow.values import DocumentPath

Device: TypeAlias = Literal["auto", "cpu", "gpu"]

_DEVICES: Mapping[str, Device] = {"cpu": "cpu", "gpu": "gpu", "cuda": "gpu"}
"""Classes of resources that need not be declared."""
_USUAL: Mapping[str, JSON] = {"backend": "local", "strategy": "default", "staging": {"mode": "shared"}}
"""What FAST-HEP does by default, which is worth no warning."""
_INSTEAD = {
    "backend": "write --executor on the command line",
    "pools": "write --executor and -j on the command line",
    "environment": "the bundle locks the environment that is there",
    "staging": "files are read where they are",
}
_MODIFIERS = {"gpu.preload": "what a kernel on the GPU needs is taken there", "cuda.jit": "kernels are compiled for it"}
_CONTEXT = "hep.dataset_context"
"""The hook that lets formulas know the dataset, as they always do here."""
_HOOKS = {
    "hep.error_report": "the record names stage, partition and file of a failed task",
    "hep.resource_usage": "the record has time and memory of each task",
    "hep.warning_capture": "the record has all warnings",
}
"""Other hooks of FAST-HEP, and what there is instead."""


def read_execution(draft: Draft) -> None:
    """Warn of keys of ``execution`` that have no effect."""
    for path, value in draft.entries("execution"):
        key = str(path[-1])
        if value in (None, {}, [], _USUAL.get(key)) or key == "resources":
            continue
        hint = _INSTEAD.get(key, "results do not depend on it: leave it out")
        draft.warn(path, f"'execution.{key}' has no effect", hint, key=True)


def read_hooks(draft: Draft) -> None:
    """Note hooks of FAST-HEP that there is something else for, and refuse those of others."""
    for path, value in draft.entries("execution_hooks"):
        kind = str(mapping(value).get("kind"))
        if kind == _CONTEXT:
            continue
        if kind in _HOOKS:
            draft.warn((*path, "kind"), f"hook {kind!r} has no effect: {_HOOKS[kind]} anyway")
            continue
        message = f"hook {kind!r} is none of FAST-HEP's, and Python code that is called by a hook is not carried out"
        draft.fault(
            (*path, "kind"),
            message,
            of_known(kind, [_CONTEXT, *_HOOKS]),
        )


def read_device(draft: Draft, stage: DocumentPath) -> Device:
    """Return where the stage at the path ``stage`` is computed; warn of other keys of its ``execution``."""
    at = (*stage, "execution")
    if not draft.sound(at):
        return "auto"
    entry = draft.mapping(*at)
    if "require" in entry and "prefer" in entry:
        draft.fault((*at, "prefer"), "'require' and 'prefer' exclude each other", "keep one of them", key=True)
    resources = draft.mapping("execution", "resources")
    found = {key: _device(draft, str(entry[key]), resources, (*at, key)) for key in _asking(entry)}
    for key in ("fallback", "timeout"):
        if key in entry and found.get(key, "auto") != "cpu":
            draft.warn((*at, key), f"'execution.{key}' has no effect", "leave it out", key=True)
    for number, item in enumerate(sequence(entry.get("modifiers"))):
        _check_modifier(draft, item, (*at, "modifiers", number))
    if "device" in entry:
        return cast("Device", entry["device"])
    # What is only preferred is done where it can be done: "auto" takes a GPU that is there.
    return found.get("require", "cpu" if found.get("prefer") == "cpu" else "auto")


def _asking(entry: Mapping[str, JSON]) -> Iterable[str]:
    return [key for key in ("require", "prefer", "fallback") if key in entry]


def _device(draft: Draft, name: str, resources: Mapping[str, JSON], at: DocumentPath) -> Device:
    """Return the device that a class of resources means."""
    if name in resources:
        gpus = mapping(resources[name]).get("gpus", 0)
        if str(gpus) not in ("0", ""):
            return "gpu"
    if name in _DEVICES:
        return _DEVICES[name]
    if name not in resources:
        known = sorted({*resources, *_DEVICES})
        hint = nearest(name, known) or f"known are {', '.join(known)}; others stand below execution.resources"
        draft.fault(at, f"there is no class of resources {name!r}", hint)
    else:
        draft.warn(at, f"the class of resources {name!r} has no effect", "require: gpu and require: cpu have one")
    return "auto"


def _check_modifier(draft: Draft, item: JSON, at: DocumentPath) -> None:
    name = str(item if isinstance(item, str) else mapping(item).get("name"))
    if name in _MODIFIERS:
        draft.warn(at, f"modifier {name!r} has no effect: {_MODIFIERS[name]} anyway")
    else:
        draft.fault(at, f"there is no modifier {name!r}", of_known(name, _MODIFIERS))
