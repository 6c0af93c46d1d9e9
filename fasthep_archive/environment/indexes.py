"""Where this user's packages come from: pip's own configuration, and the finders that ask there.

pip's configuration counts (``pip.conf`` and ``PIP_*``), whichever tool asks, so that the answer doesn't depend on the
tool. uv doesn't read it: it is told the one index that pip names, and left to its own configuration where pip names
none. Where pip names several places (``extra-index-url``, ``find-links``) only pip-tools is asked, since pip merges
what they offer for one version and uv doesn't.
"""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fasthep_archive import digest
from fasthep_archive.digest import Digest
from fasthep_archive.environment.artifacts import Finder
from fasthep_archive.environment.piptools_index import PipTools
from fasthep_archive.environment.uv_index import Uv
from fasthep_archive.errors import DataError

_SECTIONS = ("global", "install", ":env:")
"""Sections of pip's configuration that hold for installing, the strongest last."""

_SEVERAL = ("extra-index-url", "find-links", "no-index")
"""Options that name other places than one index."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Indexes:
    """The configured places. Never recorded: an address may name a private host and hold a password.

    :ivar index: the index that pip asks; none: its default.
    :ivar several: whether pip asks, or is told not to ask, more than that one.
    :ivar certificate: file of the certificates that pip trusts; none: its own.
    :ivar digest: stands for the whole configuration, pip's and uv's.
    """

    index: str | None
    several: bool
    certificate: str | None
    digest: Digest

    def finders(self, *, python: str, environ: Mapping[str, str]) -> tuple[Finder, ...]:
        """Return who is asked, in order.

        :param python: minor version of the lock's interpreter, that of this process.
        :param environ: the environment variables of this process.
        """
        last = PipTools(python=python, environ=environ)
        uv = shutil.which("uv", path=environ.get("PATH", ""))
        if uv is None or self.several:
            return (last,)
        return (
            Uv(program=uv, python=python, index=self.index, certificate=self.certificate, environ=environ),
            last,
        )

    def memory(self, cache: Path, python: str) -> Path:
        """Return the directory of what these places answered, below ``cache``."""
        return cache / "artifacts" / digest.of_json([self.digest, python])


def configured(environ: Mapping[str, str]) -> Indexes:
    """Return the configuration that pip reports (``pip config list``).

    :param environ: the environment variables of this process.
    :raises DataError: if pip is not installed, or can't read its configuration.
    """
    command = [sys.executable, "-P", "-m", "pip", "config", "list", "--disable-pip-version-check"]
    answer = subprocess.run(command, env=dict(environ), capture_output=True, text=True, check=False)  # noqa: S603
    if answer.returncode:
        raise DataError(
            f"pip can't tell where packages come from: {answer.stderr.strip() or 'no reason given'}",
            hint="see 'python -m pip config debug', or pack with --no-index",
        )
    lines = sorted(line for line in answer.stdout.splitlines() if line.startswith(tuple(f"{x}." for x in _SECTIONS)))
    options = _options(lines)
    uv = sorted((name, value) for name, value in environ.items() if name.startswith("UV_"))
    return Indexes(
        index=options.get("index-url"),
        several=any(options.get(name) not in (None, "", "0", "false", "no") for name in _SEVERAL),
        certificate=options.get("cert"),
        digest=digest.of_json([lines, [list(pair) for pair in uv]]),
    )


def _options(lines: list[str]) -> dict[str, str]:
    """Return option and value of lines as ``global.index-url='...'``; a stronger section's replaces a weaker one's."""
    found: dict[str, str] = {}
    for section in _SECTIONS:
        for line in lines:
            option, _, value = line.removeprefix(f"{section}.").partition("=")
            if line.startswith(f"{section}."):
                found[option] = str(ast.literal_eval(value))
    return found
