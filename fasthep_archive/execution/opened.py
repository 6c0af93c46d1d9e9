"""Files of events that a process keeps open from task to task, a few at a time."""

from __future__ import annotations

import os
from collections import OrderedDict
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TypeAlias

from fasthep_archive.data.source import EventSource, Read, open_events
from fasthep_archive.digest import Digest
from fasthep_archive.execution.plan import Partition

KEPT = 4
"""Files that are kept open: those that partitions of several streams alternate between."""

_Key: TypeAlias = tuple[tuple[tuple[Path, Digest], ...], tuple[Read, ...], int]
_open: OrderedDict[_Key, tuple[AbstractContextManager[EventSource], EventSource]] = OrderedDict()


def opened(partition: Partition) -> EventSource:
    """Return the events of a partition's file, kept open: reading the metadata of a NanoAOD tree takes 0.25 s.

    The files' digests are part of what it is found by, so that another file at the same place is not taken for one, and
    so is the process: a forked worker would share the place in the file with all others.
    """
    key = tuple((file.path, file.sha256) for file in partition.files), partition.reads, os.getpid()
    if key not in _open:
        while len(_open) >= KEPT:
            _, (oldest, _) = _open.popitem(last=False)
            oldest.__exit__(None, None, None)
        path, *beside = (file.path for file in partition.files)
        manager = open_events(path, partition.reads, beside)
        _open[key] = manager, manager.__enter__()
    _open.move_to_end(key)
    return _open[key][1]
