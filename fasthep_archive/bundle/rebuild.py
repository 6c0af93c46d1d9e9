"""Builds the environment that a bundle locks: a virtual environment in the user's cache, from the bundle's own wheels.

``CACHE/environments/KEY`` belongs to one lock and one interpreter. It holds a directory for each attempt to build it,
``lock``, which the process that builds keeps locked, and ``complete.json``, which is written last and names the attempt
that succeeded, with the digests of what was installed. What was killed on the way is cleared and done again.

Everything that is installed was verified when it was taken out of the bundle; pip checks it once more against the
hashes in ``requirements.txt``. A bundle that carries all its wheels is rebuilt without a network; of others, what is
missing comes from the package index that the user's pip is configured for, and must have the locked hashes.
Part of the program in every bundle (see :mod:`fasthep_archive.bundle.command`): standard library, Python 3.8.
"""

from __future__ import annotations

import csv
import errno
import hashlib
import json
import os
import re
import shutil
import stat
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple

from fasthep_archive.bundle.form import LIMITS, Damage, counted
from fasthep_archive.bundle.installation import Installation, answered, refuse_what_has_no_wheel, survey
from fasthep_archive.bundle.interpreters import CannotRebuild, Interpreter, Wanted, suitable
from fasthep_archive.bundle.source import Tree, Zip, content, extract
from fasthep_archive.bundle.strictjson import strict_json
from fasthep_archive.bundle.verifier import Verification

SNAPSHOT = "data/environment/environment.json"
LOCK = "data/environment/pylock.toml"
REQUIREMENTS = "data/environment/requirements.txt"
WHEELS = "data/environment/wheels/"
TOOL = "fasthep_archive"
"""The package that replays, which every lock has."""
ENVIRONMENTS = "environments"
"""Where the cache has what was rebuilt."""

_THERE = "fasthep-archive replay BUNDLE --env current"
"""Replays in the environment that it is installed in; this program has no ``--env``."""
_COMPLETE = "complete.json"
_PIP = re.compile(re.escape(WHEELS) + r"pip-[^/]+\.whl")
_INSTALLED = """
import hashlib, json, pathlib, sys, sysconfig
root, found = pathlib.Path(sys.prefix), {}
for folder in {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}:
    for record in sorted(pathlib.Path(folder).glob("*.dist-info/RECORD")):
        found[record.relative_to(root).as_posix()] = hashlib.sha256(record.read_bytes()).hexdigest()
print(json.dumps(found))
"""


class Built(NamedTuple):
    """A locked environment, ready to be used; ``reused`` is whether it was there already."""

    python: str
    """Its interpreter."""
    reused: bool
    key: str
    """What stands for the lock and the interpreter: the name of its directory in the cache."""


def default_cache(environ: Mapping[str, str]) -> str:
    """Return this user's cache: ``FASTHEP_ARCHIVE_CACHE``, or as the XDG base directory specification says."""
    named = environ.get("FASTHEP_ARCHIVE_CACHE")
    if named:
        return named
    base = environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")  # noqa: PTH111, PTH118
    return os.path.join(base, "fasthep-archive")  # noqa: PTH118


def build(
    package: Zip | Tree,
    verification: Verification,
    cache: str | os.PathLike[str],
    *,
    python: str | None,
    environ: Mapping[str, str],
    say: Callable[[str], object],
) -> Built:
    """Return the environment that a bundle locks, built if it isn't in the cache.

    :param verification: of this bundle, which must be sound; what is taken out has to have the digests that it states.
    :param python: the interpreter to build on; none to look for one.
    :param environ: environment variables: where interpreters are, and how pip reaches an index.
    :param say: told, line by line, what is done.
    :raises CannotRebuild: says what is missing, all at once, and what to do.
    :raises Damage: if the bundle has changed since it was verified.
    """
    if LOCK not in package.members:
        message = "the bundle locks no environment"
        raise CannotRebuild(message, f"install fasthep-archive, and run '{_THERE}'")
    wanted = recorded(package, verification)
    interpreter = suitable(wanted, python, environ)
    key = _key(verification.bag.payload[LOCK], interpreter)
    place = Path(cache).absolute() / ENVIRONMENTS / key
    with _blaming_the_cache(place):
        _refuse_foreign(place.parent)
        finished = _finished(place)
        if finished is None:
            place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            _refuse_foreign(place.parent)
            place.mkdir(mode=0o700, exist_ok=True)
            with _alone(place / "lock", say):
                finished = _finished(place)  # another process may have built it meanwhile
                if finished is None:
                    say(f"on {interpreter.path}: {interpreter}{_unlike(interpreter, wanted)}")
                    _clear(place)
                    made = _build(_Bundle(package, verification.bag.payload), place, interpreter, environ, say)
                    return Built(str(_python_of(made)), reused=False, key=key)
    return Built(str(_python_of(finished)), reused=True, key=key)


def recorded(package: Zip | Tree, verification: Verification) -> Wanted:
    """Return the interpreter that made the outputs of a bundle.

    :raises CannotRebuild: if the bundle doesn't say so.
    :raises Damage: if what it says is not what was verified.
    """
    try:
        raw = content(package, SNAPSHOT, LIMITS.metadata)
        python = strict_json(raw, LIMITS)["python"]
        wanted = Wanted(*(str(python[fact]) for fact in ("implementation", "version", "platform")))
    except (Damage, ValueError, TypeError, KeyError) as error:
        message = f"the bundle doesn't say which Python made it: {SNAPSHOT} is missing, or of a form that is unknown"
        raise CannotRebuild(message, "replay with the version of fasthep-archive that made the bundle") from error
    if hashlib.sha256(raw).hexdigest() != verification.bag.payload[SNAPSHOT]:
        raise Damage(SNAPSHOT, "has changed since it was verified")
    return wanted


def _unlike(interpreter: Interpreter, wanted: Wanted) -> str:
    """Return what differs from the interpreter that made the bundle, in words."""
    if (interpreter.version, interpreter.platform) == (wanted.version, wanted.platform):
        return ""
    return f"; the bundle was made with {wanted.version} for {wanted.platform}"


def _key(lock: str, interpreter: Interpreter) -> str:
    """Return the name of an environment: half a SHA-256, because file systems and ``#!`` lines have limits."""
    facts = [lock, *interpreter._replace(path="", has_venv=True)]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:32]


# --- the place in the cache -------------------------------------------------------------------------------------------


@contextmanager
def _blaming_the_cache(place: Path) -> Iterator[None]:
    """Say of what the operating system has against it that it is the environment's place in the cache."""
    try:
        yield
    except OSError as error:
        message = f"the environment can't be built in {place}: {error.strerror or error}"
        hint = "name another place with --cache or in FASTHEP_ARCHIVE_CACHE"
        more = ", or make room there" if error.errno == errno.ENOSPC else ""
        raise CannotRebuild(message, hint + more) from error


def _refuse_foreign(directory: Path) -> None:
    """Refuse a directory that isn't this user's alone, if it is there: what lies in it is run."""
    try:
        state = directory.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISDIR(state.st_mode):
        raise NotADirectoryError(errno.ENOTDIR, f"{directory} is a link, or no directory")
    others = state.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    if hasattr(os, "getuid") and (state.st_uid != os.getuid() or others):
        message = f"{directory} is not this user's alone, and what lies in it would be run"
        raise CannotRebuild(message, f"run 'chmod 700 {directory}' if it is yours, or name another place with --cache")


@contextmanager
def _alone(path: Path, say: Callable[[str], object]) -> Iterator[None]:
    """Hold the lock ``path``; wait for the process that has it. It is released when a process ends, however it ends."""
    with path.open("ab") as file:
        if not _taken(file):
            say("another process builds this environment: waiting for it")
            while not _taken(file):
                time.sleep(0.1)
        yield


def _taken(file: IO[bytes]) -> bool:
    """Lock an open file for this process, and return whether no other has it."""
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EAGAIN, errno.EDEADLK):
            raise
        return False
    return True


def _clear(place: Path) -> None:
    """Remove what attempts before have left; processes that they have left behind may still write there."""
    for left in place.iterdir():
        if left.is_dir() and not left.is_symlink():
            shutil.rmtree(left, ignore_errors=True)


def _finished(place: Path) -> Path | None:
    """Return the environment in ``place`` if one was built to its end, and all its files are still there."""
    try:
        state = strict_json((place / _COMPLETE).read_bytes())
        made = place / state["directory"]
        whole = _python_of(made).exists() and all(_whole(made, *item) for item in state["records"].items())
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None
    return made if whole else None


def _whole(made: Path, record: str, digest: str) -> bool:
    """Return whether a distribution's RECORD is as it was, and the files that it lists are there in their sizes.

    Caches are swept, files that weren't read for long first. Compiled modules come and go.
    """
    raw = (made / record).read_bytes()
    folder = os.path.dirname(os.path.dirname(made / record))  # noqa: PTH120 - thousands of paths, without Path
    rows = [(path, size) for path, _, size in csv.reader(raw.decode().splitlines()) if not path.endswith(".pyc")]
    sizes = ((os.stat(os.path.join(folder, path)).st_size, size) for path, size in rows)  # noqa: PTH116, PTH118
    return hashlib.sha256(raw).hexdigest() == digest and all(size in ("", str(found)) for found, size in sizes)


def _python_of(made: Path) -> Path:
    return made / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")


# --- building ---------------------------------------------------------------------------------------------------------


class _Bundle(NamedTuple):
    """What is taken out of a bundle, and the SHA-256 that it has to have, by name."""

    package: Zip | Tree
    digests: Mapping[str, str]

    def take(self, names: Iterable[str], directory: Path) -> list[Path]:
        return [extract(self.package, name, directory, self.digests[name], lambda _: None) for name in names]


def _build(
    bundle: _Bundle, place: Path, interpreter: Interpreter, environ: Mapping[str, str], say: Callable[[str], object]
) -> Path:
    """Return a new environment below ``place``, complete."""
    pips = sorted(filter(_PIP.fullmatch, bundle.package.members))
    if not pips or REQUIREMENTS not in bundle.package.members:
        message = f"the bundle carries no pip, or no {REQUIREMENTS}, to install its environment with"
        raise CannotRebuild(message, f"install {LOCK} with a tool of yours, and run there '{_THERE}'")
    with tempfile.TemporaryDirectory(dir=str(place), prefix="from-") as directory:
        pip, lock, requirements = bundle.take([pips[-1], LOCK, REQUIREMENTS], Path(directory))
        needs = survey(interpreter, pip, lock, environ)
        refuse_what_has_no_wheel(needs, interpreter)
        carried = [WHEELS + name for need in needs for name in need.fitting if WHEELS + name in bundle.package.members]
        absent = [need.pinned for need in needs if not any(WHEELS + name in carried for name in need.fitting)]
        say(f"installing {counted(len(needs), 'package')}, {_origin(len(absent))}")
        bundle.take([name for name in carried if name != pips[-1]], Path(directory))
        with _new_directory(place) as made:
            answered([interpreter.path, "-I", "-m", "venv", "--without-pip", str(made)], environ)
            command = [str(_python_of(made)), "-I", "-X", "utf8", f"{pip}/pip"]
            Installation(command, requirements, absent, environ, say).install(pip.parent)
            _complete(place, made, environ)
    return made


@contextmanager
def _new_directory(place: Path) -> Iterator[Path]:
    """Yield a new directory, which is gone again if something goes wrong."""
    made = Path(tempfile.mkdtemp(dir=str(place), prefix="env-"))
    try:
        yield made
    except BaseException:
        shutil.rmtree(made, ignore_errors=True)
        raise


def _origin(absent: int) -> str:
    return f"{absent} of them from the package index that pip is configured for" if absent else "all from the bundle"


def _complete(place: Path, made: Path, environ: Mapping[str, str]) -> None:
    """Mark an environment as complete."""
    records: Mapping[str, Any] = json.loads(answered([str(_python_of(made)), "-I", "-c", _INSTALLED], environ))
    if not any(Path(record).parent.name.startswith(f"{TOOL}-") for record in records):
        raise CannotRebuild("the lock lacks fasthep-archive, which replays", f"install it, and run '{_THERE}'")
    fresh = made / _COMPLETE
    fresh.write_text(json.dumps({"directory": made.name, "records": records}, indent=1), encoding="utf-8")
    os.replace(fresh, place / _COMPLETE)
