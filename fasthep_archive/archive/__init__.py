"""The verbs. Each is a straight line of calls into the rooms below.

    Document -> Workflow -> Plan -> Run -> Bundle               pack   = stage + run + seal
    Bundle   -> Workflow -> Plan -> Run -> Verdicts -> Report   replay = open + run + compare

This is the only room that reads the clock, the environment variables and the defaults; everything below gets them as
values. It prints nothing. The rooms are imported where they are used: only the verb that needs numba pays for it.
"""

from __future__ import annotations

from fasthep_archive.archive.caching import cached, prune
from fasthep_archive.archive.checking import Checked, check
from fasthep_archive.archive.comparing import diff
from fasthep_archive.archive.drawing import graph
from fasthep_archive.archive.hydrating import Hydrated, hydrate
from fasthep_archive.archive.listing import plugins
from fasthep_archive.archive.migrating import migrate
from fasthep_archive.archive.opening import open_bundle, open_run, verify
from fasthep_archive.archive.packing import Packed, pack
from fasthep_archive.archive.replaying import Replayed, replay
from fasthep_archive.archive.running import Ran, explain, run
from fasthep_archive.archive.selftesting import SelfTested, selftest
from fasthep_archive.archive.starting import init

__all__ = [
    "Checked",
    "Hydrated",
    "Packed",
    "Ran",
    "Replayed",
    "SelfTested",
    "cached",
    "check",
    "diff",
    "explain",
    "graph",
    "hydrate",
    "init",
    "migrate",
    "open_bundle",
    "open_run",
    "pack",
    "plugins",
    "prune",
    "replay",
    "run",
    "selftest",
    "verify",
]
