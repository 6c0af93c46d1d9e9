"""Files of exact versions, found by uv: ``uv pip compile`` to PEP 751, for all platforms, without dependencies.

uv takes all pins in one run and refuses them all when it lacks one, so a refused run is halved until what it lacks
stands alone. A first run forbids building, which keeps uv from executing a package's code to learn its metadata; it
leaves out source distributions, which the second run then names for versions that are known to have wheels.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias
from urllib.parse import unquote, urlsplit

from fasthep_archive.digest import Digest
from fasthep_archive.environment.artifacts import Answer, Pin, settled
from fasthep_archive.environment.lock import Artifact
from fasthep_archive.environment.reading import Reader
from fasthep_archive.errors import DataError

_COMPILE = ("pip", "compile", "--no-deps", "--universal", "--generate-hashes", "--format", "pylock.toml", "--no-header")
_LIMIT = 120
"""Seconds after which a run is given up."""

_UNSATISFIABLE = 1
"""Exit status of a run that reached the index and found no such version; a failed connection gives 2."""

_KEPT = (
    *("UV_INDEX", "UV_DEFAULT_INDEX", "UV_EXTRA_INDEX", "UV_FIND_LINKS", "UV_CONFIG", "UV_NO_CONFIG"),
    *("UV_KEYRING", "UV_INSECURE", "UV_SYSTEM_CERTS", "UV_NATIVE_TLS", "UV_OFFLINE", "UV_HTTP"),
    *("UV_CACHE", "UV_NO_CACHE"),
)
"""How those of uv's variables begin that say where it asks and how it gets there; the others (constraints, overrides,
dates, platforms) would change what is found."""

_OWN_INDEX = ("UV_INDEX", "UV_INDEX_URL", "UV_EXTRA_INDEX_URL", "UV_FIND_LINKS", "UV_CONFIG_FILE")
"""Variables by which uv would ask elsewhere than at the one index that it is told."""

_YANKED = re.compile(r"`(?P<name>[^`=]+)==(?P<version>[^`]+)` is yanked(?: \(reason: \"(?P<reason>.*)\"\))?")

_Found: TypeAlias = "dict[Pin, Answer]"


@dataclass(frozen=True, kw_only=True, slots=True)
class Uv:
    """Asks through uv.

    :ivar program: the executable.
    :ivar python: minor version of this interpreter (``3.11``).
    :ivar index: the only index that is asked; none: those of uv's own configuration.
    :ivar certificate: file of trusted certificates; none: uv's own.
    """

    program: str
    python: str
    index: str | None
    certificate: str | None
    environ: Mapping[str, str]

    def find(self, pins: Sequence[Pin]) -> Mapping[Pin, Answer]:
        """Return the pins that uv found; what it didn't find, and all when it has no connection, are left out."""
        found: _Found = {}
        waiting = [tuple(pins)]
        while waiting:
            group = waiting.pop()
            answer = self._asked(group)
            if answer is None:
                break
            found.update(answer)
            if not answer and len(group) > 1:
                waiting += [group[: len(group) // 2], group[len(group) // 2 :]]
        return found

    def _asked(self, pins: Sequence[Pin]) -> _Found | None:
        """Return what was found of ``pins``, nothing if one of them is not there; none if uv can't be used."""
        trial = self._run(pins, "--no-build")
        ran = self._run(pins) if trial is not None and trial.returncode == 0 else trial
        if ran is None or ran.returncode not in (0, _UNSATISFIABLE):
            return None
        return _read(ran.stdout, ran.stderr, pins, self.python) if ran.returncode == 0 else {}

    def _run(self, pins: Sequence[Pin], *more: str) -> subprocess.CompletedProcess[str] | None:
        command = [self.program, *_COMPILE, *more, "--python", sys.executable, "-"]
        text = "".join(f"{pin.name}=={pin.version}\n" for pin in pins)
        with tempfile.TemporaryDirectory(prefix="fasthep-archive-") as directory:  # away from any project's settings
            try:
                return subprocess.run(  # noqa: S603
                    command,
                    input=text,
                    env=self._environ(),
                    cwd=directory,
                    capture_output=True,
                    text=True,
                    timeout=_LIMIT,
                    check=False,
                )
            except (OSError, subprocess.TimeoutExpired):
                return None

    def _environ(self) -> dict[str, str]:
        environ = {
            name: value for name, value in self.environ.items() if not name.startswith("UV_") or name.startswith(_KEPT)
        }
        if self.index is not None:
            environ = {name: value for name, value in environ.items() if name not in _OWN_INDEX}
            environ |= {"UV_DEFAULT_INDEX": self.index, "UV_NO_CONFIG": "1"}
        if self.certificate is not None:
            environ.setdefault("SSL_CERT_FILE", self.certificate)
        # Without a connection the other finder finds out why; it also tries again where uv didn't.
        return environ | {"UV_HTTP_RETRIES": "0", "UV_HTTP_CONNECT_TIMEOUT": "5", "UV_PYTHON_DOWNLOADS": "never"}


def _read(output: str, messages: str, pins: Sequence[Pin], python: str) -> _Found:
    """Return the answers of a lock that uv wrote; a pin of which a file has no sha256 there is left out."""
    yanked = {
        Pin(name=match["name"], version=match["version"]): match["reason"] or "" for match in _YANKED.finditer(messages)
    }
    found: _Found = {}
    for package in Reader.of(tomllib.loads(output), "uv").readers("packages"):
        pin = Pin(name=package.text("name"), version=package.text("version"))
        sources = [package.reader("sdist")] if "sdist" in package.value else []
        wheels = package.readers("wheels") if "wheels" in package.value else ()
        try:
            files = [_artifact(file) for file in [*wheels, *sources]]
        except DataError:
            continue
        if pin in pins:
            found[pin] = Answer(outcome="found", artifacts=settled(files, pin, python), yanked=yanked.get(pin))
    return found


def _artifact(file: Reader) -> Artifact:
    address = file.text("url") if "url" in file.value else file.text("path")
    return Artifact(
        name=file.text("name") if "name" in file.value else unquote(urlsplit(address).path.rpartition("/")[2]),
        sha256=Digest(file.reader("hashes").text("sha256")),
        size=file.integer("size") if "size" in file.value else None,
    )
