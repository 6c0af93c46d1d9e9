"""``init``: a runnable example to start from."""

from __future__ import annotations

import shutil
from pathlib import Path

from fasthep_archive.archive.surroundings import AnyPath
from fasthep_archive.errors import UsageError, writing


def init(directory: AnyPath, *, example: str = "dimuon") -> Path:
    """Copy a runnable example with its data to ``directory``, which must be new or empty, and return its path.

    :raises UsageError: if the directory has files in it, or there is no such example.
    """
    from fasthep_archive.workflow.resource import resource

    target = Path(directory)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise UsageError(f"{target} is there already", hint="name a new directory")
    source = resource("examples", example)
    if not (source / "workflow.yaml").is_file():
        raise UsageError(f"there is no example {example!r}", hint=f"there are: {', '.join(_examples(source.parent))}")
    with writing(target):
        shutil.copytree(source, target, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__", "out"))
    return target


def _examples(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir() if (path / "workflow.yaml").is_file())
