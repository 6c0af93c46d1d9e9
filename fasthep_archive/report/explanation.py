"""Why tasks would be computed, for people and as data."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from fasthep_archive.digest import JSON
from fasthep_archive.execution.explain import Explained
from fasthep_archive.report.terminal import Screen, coloured, printable


def tasks(found: Sequence[Explained], screen: Screen) -> str:
    """Return a line for each task, with the reasons below those that would be computed, and how many there are."""
    computed = sum(task.status == "computed" for task in found)
    lines = [line for task in found for line in _task(task, screen)]
    return "\n".join([*lines, f"{computed} of {len(found)} tasks to compute, {len(found) - computed} cached"])


def as_json(found: Sequence[Explained]) -> JSON:
    """Return the tasks as JSON."""
    return [{"task": task.task, "status": task.status, "because": list(task.because)} for task in found]


def _task(task: Explained, screen: Screen) -> Iterator[str]:
    colour = "green" if task.status == "cached" else "yellow"
    yield f"{coloured(f'{task.status:8}', colour, screen)}  {printable(task.task)}"
    for reason in task.because:
        yield f"            {printable(reason)}"
