"""The environment of one run, as it is recorded and later compared: interpreter, packages, hardware, variables."""

from __future__ import annotations

import platform
import sysconfig
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fasthep_archive.digest import JSON
from fasthep_archive.environment import closures, hardware, packages, variables
from fasthep_archive.environment.hardware import Hardware
from fasthep_archive.environment.packages import Package
from fasthep_archive.environment.reading import Reader
from fasthep_archive.environment.variables import Variables

FORMAT = 1
"""Version of the JSON form, :file:`schemas/environment-1.json`."""

TOOL = "fasthep-archive"
"""The distribution that runs workflows; the root of what is recorded."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Python:
    """The interpreter.

    :ivar implementation: ``CPython``, ``PyPy``.
    :ivar version: ``major.minor.patch``.
    :ivar platform: what wheels are chosen by (``linux-x86_64``).
    """

    implementation: str
    version: str
    platform: str

    def to_json(self) -> JSON:
        return {"implementation": self.implementation, "version": self.version, "platform": self.platform}

    @classmethod
    def from_json(cls, reader: Reader) -> Python:
        """Return the interpreter that was recorded."""
        return cls(
            implementation=reader.text("implementation"),
            version=reader.text("version"),
            platform=reader.text("platform"),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Snapshot:
    """An environment. Equal environments have equal snapshots, and equal snapshots the same canonical JSON."""

    python: Python
    packages: tuple[Package, ...]
    hardware: Hardware
    variables: Variables

    def to_json(self) -> JSON:
        """Return the recorded form, which :file:`schemas/environment-1.json` describes."""
        return {
            "format": FORMAT,
            "python": self.python.to_json(),
            "packages": [package.to_json() for package in self.packages],
            "hardware": self.hardware.to_json(),
            "variables": self.variables.to_json(),
        }

    @classmethod
    def from_json(cls, value: JSON) -> Snapshot:
        """Return the environment that was recorded as ``value``.

        :raises DataError: naming the place, if ``value`` is not one of :meth:`to_json`.
        """
        reader = Reader.of(value, "environment")
        reader.format(FORMAT)
        return cls(
            python=Python.from_json(reader.reader("python")),
            packages=tuple(sorted(Package.from_json(item) for item in reader.readers("packages"))),
            hardware=Hardware.from_json(reader.reader("hardware").value),
            variables=Variables.from_json(reader.reader("variables")),
        )


def take(environ: Mapping[str, str], *, roots: Sequence[str] = (TOOL,), cache: Path | None = None) -> Snapshot:
    """Return the environment of this process.

    :param environ: the environment variables; only those of the allow-list are looked at.
    :param roots: distributions whose closure is recorded: this tool, its plug-ins, what the analysis's code imports.
    :param cache: where closures are remembered; none: they are not.
    :raises DataError: if one of ``roots`` is not installed.
    """
    return Snapshot(
        python=Python(
            implementation=platform.python_implementation(),
            version=platform.python_version(),
            platform=sysconfig.get_platform(),
        ),
        packages=packages.closure(roots) if cache is None else closures.remembered(roots, cache),
        hardware=hardware.profile(),
        variables=variables.variables(environ),
    )
