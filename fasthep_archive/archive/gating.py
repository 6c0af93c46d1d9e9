"""The gate as a packing goes through it: before the run, and before sealing."""

from __future__ import annotations

import getpass
import platform
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fasthep_archive.archive.running import Ran
from fasthep_archive.context import Context

if TYPE_CHECKING:
    from fasthep_archive.bundle.container import Member
    from fasthep_archive.bundle.gate import Finding, Text
    from fasthep_archive.bundle.staging import Staged
    from fasthep_archive.workflow.model import Workflow


class Gate:
    """Refuses what must not be published. ``unused`` says which ids are allowed and belong to nothing."""

    def __init__(self, workflow: Workflow, context: Context, allow: Sequence[str]) -> None:
        from fasthep_archive.bundle import gate

        self._allowed = tuple(dict.fromkeys([*allow, *workflow.archive.allow]))
        self._findings: tuple[Finding, ...] = ()
        self._origin = gate.Origin(
            directories=(Path.home(), Path.cwd(), workflow.document.files[0].resolve().parent, context.cache),
            user=_user(),
            host=platform.node(),
            emails=gate.declared(workflow),
        )

    @property
    def unused(self) -> tuple[str, ...]:
        """Return a sentence for each id that is allowed and that nothing has."""
        from fasthep_archive.bundle import gate

        return gate.unused(self._findings, self._allowed)

    def documents(self, staged: Staged) -> None:
        """Examine what the author wrote.

        :raises WorkflowError: naming everything that must not be published, with file and line.
        """
        from fasthep_archive.bundle import gate

        self._examine(gate.of_staged(staged))

    def opened(self, ran: Ran) -> None:
        """Refuse a run whose scripts have opened files that they do not declare.

        :raises WorkflowError: naming these.
        """
        from fasthep_archive.bundle import gate
        from fasthep_archive.operations.access import SUFFIX

        names = [item.name for item in ran.record.outputs if item.name.endswith(SUFFIX)]
        found = [each for name in names for each in gate.opened(name, (ran.directory / name).read_bytes())]
        self._findings += tuple(found)
        gate.refuse(found, self._allowed, advice=gate.DECLARE)

    def members(self, own: Mapping[str, Collection[str] | None]) -> Callable[[Sequence[Member]], None]:
        """Return what examines all members, and in wheels what the author may have written.

        :param own: paths in wheels, by the name of the wheel; ``None`` for all that it has.
        """
        from fasthep_archive.bundle import gate, layout

        wheels = {layout.WHEELS + name: paths for name, paths in own.items()}
        return lambda members: self._examine(tuple(gate.of_members(members, wheels=wheels)))

    def _examine(self, texts: Sequence[Text]) -> None:
        from fasthep_archive.bundle import gate

        self._findings += gate.examine(texts, self._origin)
        gate.refuse(self._findings, self._allowed)


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # nobody's account, as in some containers
        return ""
