"""What the lock of a bundle names for an interpreter, and its installation with the pip that the bundle carries.

Part of the program in every bundle (see :mod:`fasthep_archive.bundle.command`): standard library, Python 3.8.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from fasthep_archive.bundle.form import counted
from fasthep_archive.bundle.interpreters import CannotRebuild, Interpreter, undisturbed

_INDEX_SETTINGS = frozenset(
    f"PIP_{name}"
    for name in (
        *("INDEX_URL", "EXTRA_INDEX_URL", "FIND_LINKS", "NO_INDEX", "TRUSTED_HOST", "CERT", "CLIENT_CERT", "PROXY"),
        *("TIMEOUT", "DEFAULT_TIMEOUT", "RETRIES", "CONFIG_FILE", "CACHE_DIR", "NO_CACHE_DIR", "KEYRING_PROVIDER"),
    )
)
"""What of the user's configuration of pip tells where packages come from, and not what is installed where."""
_SURVEY = """
import json, sys
sys.path.insert(0, sys.argv[1])
try:
    import tomllib
except ImportError:
    from pip._vendor import tomli as tomllib
from pip._vendor.packaging.markers import Marker
from pip._vendor.packaging.tags import sys_tags
from pip._vendor.packaging.utils import parse_wheel_filename
with open(sys.argv[2], "rb") as file:
    lock = tomllib.load(file)
here, found = set(sys_tags()), []
def fits(name):
    try:
        return not here.isdisjoint(parse_wheel_filename(name)[3])
    except Exception:
        return False
def called(file):
    return file.get("name") or file.get("path", file.get("url", "")).rsplit("/", 1)[-1]
unresolved = lock.get("tool", {}).get("fasthep-archive", {}).get("unresolved", [])
for package in [*lock.get("packages", []), *unresolved]:
    if "marker" in package and not Marker(package["marker"]).evaluate():
        continue
    names = [called(wheel) for wheel in package.get("wheels", ())]
    fitting = [name for name in names if fits(name)]
    pinned = package["name"] + "==" + package.get("version", "")
    found.append([pinned, bool(names), "sdist" in package, fitting])
print(json.dumps(found))
"""


class Need(NamedTuple):
    """A package that the lock names for an interpreter, and the wheels of it that could be installed there."""

    pinned: str
    """``name==version``."""
    has_wheels: bool
    has_source: bool
    fitting: Sequence[str]


def survey(interpreter: Interpreter, pip: Path, lock: Path, environ: Mapping[str, str]) -> list[Need]:
    """Return what the lock names for an interpreter, as its own pip sees it."""
    answer = answered([interpreter.path, "-I", "-c", _SURVEY, str(pip), str(lock)], environ)
    return [Need(*item) for item in json.loads(answer)]


def refuse_what_has_no_wheel(needs: Sequence[Need], interpreter: Interpreter) -> None:
    """Name all packages that can't be installed on an interpreter, if there are any.

    Nothing is built from source: it would come out as the compilers are here.
    """
    unknown = [need.pinned for need in needs if not need.has_wheels and not need.has_source]
    source = [f"{need.pinned} (source only)" for need in needs if need.has_source and not need.has_wheels]
    unfit = sorted([*source, *(need.pinned for need in needs if need.has_wheels and not need.fitting)])
    if not unknown and not unfit:
        return
    told = []
    if unfit:
        told += [f"{_of_lock(len(unfit))} no wheel for {interpreter}:", *unfit]
    if unknown:
        told += [f"{_of_lock(len(unknown))} no file, as no index could be asked when the bundle was packed:", *unknown]
    hint = "replay on a platform that the bundle has wheels for" if unfit else "install these versions by yourself"
    also = ", ask its author to pack it with --platform," if unfit else ""
    message = "\n".join(line if line.endswith(":") else f"  {line}" for line in told)
    raise CannotRebuild(message, f"{hint}{also} or replay with --env current in an environment of your own")


def _of_lock(number: int) -> str:
    return f"{counted(number, 'package')} of the lock {'has' if number == 1 else 'have'}"


class Installation(NamedTuple):
    """The use of pip for one environment. ``absent`` are the packages that the bundle doesn't carry."""

    pip: Sequence[str]
    requirements: Path
    absent: Sequence[str]
    environ: Mapping[str, str]
    say: Callable[[str], object]

    def install(self, wheels: Path) -> None:
        """Install the requirements: what is carried from ``wheels``, and the rest from the package index.

        Apart from each other: of two files for one version pip takes the index's, and what the author has changed or
        built is often on an index under the same name and version, with other bytes.

        :raises CannotRebuild: names all that can't be had.
        """
        blocks = _blocks(self.requirements.read_text(encoding="utf-8"))
        carried = [block for block in blocks if _pinned(block) not in self.absent]
        absent = [block for block in blocks if _pinned(block) in self.absent]
        status, output = self._installed(carried, "--isolated", "--no-index", "--no-cache-dir", "--find-links", wheels)
        if status:
            message = f"pip could not install the packages that the bundle carries:\n{_end(output)}"
            hint = "mend what it says, or replay with --env current in an environment of your own"
            raise CannotRebuild(message, hint)
        if absent:
            status, output = self._installed(absent, indexed=True)
            if status:
                raise self._failure(absent, output)

    def _installed(self, blocks: Sequence[str], *options: str | Path, indexed: bool = False) -> tuple[int, str]:
        """Run pip for the requirements ``blocks``, and return its exit status and all that it said.

        :param indexed: whether the user's configuration of indexes holds.
        """
        self.requirements.write_text("".join(blocks), encoding="utf-8")
        # Compiling all modules takes six times as long as installing them (36 against 6 s for this tool and what it
        # needs), and most are never imported: those that are get compiled then.
        exactly = ["--require-hashes", "--no-deps", "--only-binary", ":all:", "--no-user", "--no-compile"]
        quietly = ["--disable-pip-version-check", "--no-input", "--no-color", "--progress-bar", "off"]
        command = [*self.pip, "install", *map(str, options), *exactly, *quietly, "--no-warn-script-location"]
        return self._pip([*command, "-r", str(self.requirements)], indexed=indexed)

    def _pip(self, command: Sequence[str], *, indexed: bool) -> tuple[int, str]:
        """Run pip and return its exit status and all that it said; tell of downloads as they begin."""
        output = []
        with subprocess.Popen(  # noqa: S603 - no shell; pip, verified
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=self._environ(indexed=indexed),
            encoding="utf-8",
            errors="replace",
        ) as process:
            for line in process.stdout or ():
                output.append(line)
                if re.match(r" *(Downloading|WARNING: .*yanked)", line):
                    self.say(line.strip())
        return process.returncode, "".join(output)

    def _environ(self, *, indexed: bool) -> dict[str, str]:
        """Return the variables for pip: none of its own where no index is asked."""
        kept = _INDEX_SETTINGS if indexed else ()
        plain = undisturbed(self.environ).items()
        environ = {name: value for name, value in plain if not name.startswith("PIP_") or name in kept}
        return environ if indexed else {**environ, "PIP_CONFIG_FILE": os.devnull}

    def _failure(self, blocks: Sequence[str], output: str) -> CannotRebuild:
        """Return why pip failed. It stops at the first package that it can't get; the others are looked for here."""
        lost = _lost(output)
        if not lost:
            message = f"pip could not install the locked packages:\n{_end(output)}"
            return CannotRebuild(
                message, "mend what it says, or replay with --env current in an environment of your own"
            )
        if "Retrying (" in output:
            message = f"no package index answered, and the bundle does not carry {counted(len(self.absent), 'package')}"
            named = [f"  {pinned}" for pinned in self.absent]
            return CannotRebuild("\n".join([f"{message}:", *named]), f"connect to a network, or {_WAY_OUT}")
        lost = sorted([*lost, *self._also_lost(blocks, lost)])
        message = f"the package index has {counted(len(lost), 'package')} of the lock no more, or with other contents:"
        return CannotRebuild("\n".join([message, *(f"  {pinned}" for pinned in lost)]), _WAY_OUT)

    def _also_lost(self, blocks: Sequence[str], known: Sequence[str]) -> Iterator[str]:
        """Yield what can't be had either, asking without those that are known until pip is content."""
        while known:
            blocks = [block for block in blocks if _pinned(block) not in known]
            if not blocks:
                return
            status, output = self._installed(blocks, "--dry-run", indexed=True)
            left = {_pinned(block) for block in blocks}
            known = [pinned for pinned in _lost(output) if pinned in left] if status else []
            yield from known


_WAY_OUT = (
    "get the wheels from somebody who has them and run 'fasthep-archive hydrate BUNDLE --wheels DIR', "
    "or replay with --env current in an environment of your own"
)


def _lost(output: str) -> list[str]:
    """Return the packages of which pip says that there is none, or only with another hash."""
    found = re.findall(r"No matching distribution found for ([^\s;]+)", output)
    _, mismatch, after = output.partition("DO NOT MATCH THE HASHES")
    if mismatch:
        found += re.findall(r"^ +([^\s=]+==[^\s;]+).* from ", after, re.MULTILINE)
    return list(dict.fromkeys(found))


def _blocks(requirements: str) -> list[str]:
    """Return the requirements of a file, each with the lines of its hashes."""
    return re.findall(r"^[^\s#].*\n(?:[ \t]+.*\n)*", requirements, re.MULTILINE)


def _pinned(block: str) -> str:
    return re.split(r"[\s;\\]", block, maxsplit=1)[0]


def answered(command: Sequence[str], environ: Mapping[str, str]) -> str:
    """Return what an interpreter prints.

    :raises CannotRebuild: if it fails.
    """
    done = subprocess.run(  # noqa: S603 - no shell; an interpreter that was asked
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env=undisturbed(environ),
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    if done.returncode:
        message = f"{command[0]} failed while it made the environment:\n{_end(done.stdout + done.stderr)}"
        raise CannotRebuild(message, "name another Python with --python")
    return done.stdout


def _end(output: str) -> str:
    """Return the last lines of what a program said, set off from what is said about it."""
    return "\n".join(f"  {line.rstrip()}" for line in output.strip().splitlines()[-12:])
