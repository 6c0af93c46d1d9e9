"""What a process may use of its machine: a container, a batch slot or ``taskset`` gives it less than there is.

On Linux, control groups say so, version 1 or 2 (admin-guide/cgroup-v2.rst, admin-guide/cgroup-v1/memory.rst and
scheduler/sched-bwc.rst of the kernel's documentation). Limits are hierarchical: the smallest on the way to the root
holds.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from fasthep_archive.digest import JSON
from fasthep_archive.environment.reading import Reader

_UNLIMITED = 2**60
"""Bytes from which version 1 means no limit; it then says the largest multiple of a page below 2**63."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """What the process may use.

    :ivar threads: logical cores that it may run on; none where that can't be asked.
    :ivar cpus: time on cores in units of one core (``1.5``); none where there is no limit.
    :ivar memory: bytes; none where there is no limit.
    """

    threads: int | None
    cpus: float | None
    memory: int | None

    def to_json(self) -> JSON:
        return {"threads": self.threads, "cpus": self.cpus, "memory": self.memory}

    @classmethod
    def from_json(cls, reader: Reader) -> Limits:
        """Return the limits that were recorded."""
        return cls(
            threads=reader.optional_integer("threads"),
            cpus=None if reader.value.get("cpus") is None else reader.number("cpus"),
            memory=reader.optional_integer("memory"),
        )


def limits(root: Path = Path("/")) -> Limits:
    """Return the limits of this process; ``root`` is where its system's ``proc`` and ``sys`` lie."""
    groups = list(_groups(root))
    cpus = [share for group in groups for share in (_share(group),) if share is not None]
    memory = [size for group in groups for size in (_memory(group),) if size is not None]
    return Limits(
        threads=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None,
        cpus=min(cpus, default=None),
        memory=min(memory, default=None),
    )


def _groups(root: Path) -> Iterator[Path]:
    """Yield the directories of this process's control groups and of all that these are in.

    A container often sees its own group as the root of the hierarchy while the kernel names it as the host does: what
    is not there is passed over.
    """
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, name = rest.partition(":")
        mounts = [one for one in controllers.split(",") if one in {"cpu", "memory"}] if controllers else ["", "unified"]
        path = PurePosixPath(name.lstrip("/"))
        for mount in mounts:
            for group in (path, *path.parents):
                yield root / "sys/fs/cgroup" / mount / group


def _share(group: Path) -> float | None:
    quota, period = [*_text(group / "cpu.max").split(), "", ""][:2]
    if not quota:
        quota, period = (_text(group / f"cpu.cfs_{what}_us").strip() for what in ("quota", "period"))
    if not (quota.isdecimal() and period.isdecimal()) or int(period) == 0:
        return None  # "max" and -1 are no limit
    return int(quota) / int(period)


def _memory(group: Path) -> int | None:
    stated = _text(group / "memory.max") or _text(group / "memory.limit_in_bytes")
    size = stated.strip()
    return int(size) if size.isdecimal() and int(size) < _UNLIMITED else None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
