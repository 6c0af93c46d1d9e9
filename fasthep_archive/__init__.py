"""Reproducible, archive-first packager for High Energy Physics workflows.

The verbs of the command line as functions: they return values, print nothing, and raise
:class:`~fasthep_archive.errors.ArchiveError` for what the user can mend::

    import fasthep_archive

    fasthep_archive.pack("workflow.yaml", "dimuon.crate.zip")
    report = fasthep_archive.replay("dimuon.crate.zip", "again", consent=lambda bundle: True)
    fasthep_archive.open_bundle("dimuon.crate.zip").data["DiMuonMass"]  # a hist.Hist

Everything else is internal. The rooms, from top to bottom, each importing only from below:
``cli``, ``archive``, ``publish | report``, ``bundle | verification``, ``execution``, ``operations``,
``kernels | environment | data``, ``formula | workflow``, ``digest | registry``, ``errors | context``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

__version__ = "0.1.0"

__all__ = [
    "__version__",
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

if TYPE_CHECKING:
    from fasthep_archive.archive import (
        cached,
        check,
        diff,
        explain,
        graph,
        hydrate,
        init,
        migrate,
        open_bundle,
        open_run,
        pack,
        plugins,
        prune,
        replay,
        run,
        selftest,
        verify,
    )


def __getattr__(name: str) -> object:
    """Load the verbs on first use: ``import fasthep_archive`` alone stays instant."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from fasthep_archive import archive

    return getattr(archive, name)


def __dir__() -> list[str]:
    return sorted(__all__)
