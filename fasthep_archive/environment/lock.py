"""The lock: the environment that made the outputs, exact to the bytes of what was installed.

Written as ``pylock.toml`` (PEP 751, lock version 1.0) and as ``requirements.txt`` with hashes. Both name every
artifact by its file name, at the place where it is in a bundle that carries it (``wheels/``), and by its sha256; no
address and no path of the machine that made it. What PEP 751 has no words for is in its ``tool`` tables::

    [tool.fasthep-archive]                 python, implementation, platform: the interpreter that made the outputs
    [[tool.fasthep-archive.unresolved]]    packages without artifacts (PEP 751 has no entries for those)
    [packages.tool.fasthep-archive]        status; files: digest of the installed files; commit, dirty: of a source
                                           tree; needs-unresolved: what it requires among the unresolved

There is no ``environments`` table: the markers say which package is needed where, and the artifacts fit what they fit.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

from fasthep_archive.digest import JSON, Digest
from fasthep_archive.environment.reading import Reader
from fasthep_archive.errors import DataError

if TYPE_CHECKING:
    from packaging.pylock import Package, PackageSdist, PackageWheel, Pylock

FOLDER = "wheels"
"""Folder of the artifacts, beside ``pylock.toml``."""

Status: TypeAlias = Literal["index", "built", "unresolved"]
"""How a package is locked: by the artifacts that an index offers; by a wheel that was made from what is installed;
by its version and its installed files only, since no index could be asked."""

_CREATOR = "fasthep-archive"
_SHA256 = re.compile(r"[0-9a-f]{64}")
_PYTHON = re.compile(r"3\.[0-9]{1,3}")

_HEAD = f"""\
# The environment that made the outputs of this bundle, for Python {{python}}; the same as pylock.toml.
# Install it, with every file's sha256 checked, from this folder of the unpacked bundle:
#     python -m pip install --require-hashes --no-deps --find-links {FOLDER} -r requirements.txt
# and without a network, when {FOLDER}/ has them all, with --no-index.
"""
_UNRESOLVED = """\
# No package index could be asked for the packages below. Their versions are known, the hashes of their files are not,
# and pip takes no requirement without a hash beside ones that have it. Install them too, without --require-hashes:
"""


@dataclass(frozen=True, kw_only=True, slots=True, order=True)
class Artifact:
    """A wheel or a source distribution, by its file name.

    :ivar size: bytes; none where the index doesn't say.
    """

    name: str
    sha256: Digest
    size: int | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Locked:
    """One package of the environment.

    :ivar name: normalised.
    :ivar version: as the packaging specifications write it (PEP 440).
    :ivar marker: where it is needed; none: everywhere.
    :ivar requires_python: which versions of Python it says to work with; none where it doesn't say.
    :ivar needs: names of the locked packages that it directly requires, sorted.
    :ivar artifacts: sorted by name; exactly one for ``built``, none for ``unresolved``.
    :ivar files: digest of the installed files.
    :ivar commit: commit of the source tree that it was made from; none without one.
    :ivar dirty: whether that tree had changes that were not committed; none without one.
    """

    name: str
    version: str
    marker: str | None
    requires_python: str | None
    needs: tuple[str, ...]
    artifacts: tuple[Artifact, ...]
    status: Status
    files: Digest
    commit: str | None
    dirty: bool | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Lock:
    """A whole environment; equal locks have equal bytes.

    :ivar python: minor version of the interpreter, ``3.11``.
    :ivar implementation: as :data:`sys.implementation` names it, ``cpython``.
    :ivar platform: what wheels are chosen by (``linux-x86_64``).
    :ivar packages: sorted by name.
    """

    python: str
    implementation: str
    platform: str
    packages: tuple[Locked, ...]

    @staticmethod
    def hashes(package: Locked) -> tuple[str, ...]:
        """Return what stands for the package in a bundle's identity.

        The digests of its artifacts where an index offers them; else that of its installed files, which is the same
        whether a wheel was made from them (a fat bundle) or not (a thin one).
        """
        if package.status == "index":
            return tuple(sorted(f"sha256:{artifact.sha256}" for artifact in package.artifacts))
        return (f"record:{package.files}",)

    def pylock(self) -> bytes:
        """Return the lock as ``pylock.toml``."""
        import tomli_w

        return tomli_w.dumps(dict(_written(self).to_dict())).encode()

    def requirements(self) -> bytes:
        """Return the lock as ``requirements.txt``; the unresolved packages stand there as comments."""
        unresolved = [package for package in self.packages if not package.artifacts]
        lines = [_HEAD.format(python=self.python)]
        lines += [_requirement(package) for package in self.packages if package.artifacts]
        if unresolved:
            lines += [_UNRESOLVED, *(f"#     {_pin(package)}\n" for package in unresolved)]
        return "".join(lines).encode()

    @classmethod
    def of(cls, raw: bytes) -> Lock:
        """Return the lock that was written as ``raw``.

        :raises DataError: if it is not TOML, not PEP 751, or not as :meth:`pylock` writes it: exact versions, sha256
            of every artifact, nothing from anywhere but the bundle's own folder.
        """
        from packaging.pylock import Pylock, PylockUnsupportedVersionError, PylockValidationError

        try:
            table = tomllib.loads(raw.decode())
            read = Pylock.from_dict(table)
        except (ValueError, RecursionError) as error:
            raise DataError(f"pylock.toml is no TOML: {error}") from error
        except (PylockValidationError, PylockUnsupportedVersionError) as error:
            raise DataError(f"pylock.toml is no lock of PEP 751: {error}") from error
        return _read(read)


def _pin(package: Locked) -> str:
    return f"{package.name}=={package.version}" + (f" ; {package.marker}" if package.marker else "")


def _requirement(package: Locked) -> str:
    hashes = sorted({artifact.sha256 for artifact in package.artifacts})
    return " \\\n    ".join([_pin(package), *(f"--hash=sha256:{digest}" for digest in hashes)]) + "\n"


# --- writing -------------------------------------------------------------------------------------------------------


def _written(lock: Lock) -> Pylock:
    from packaging.pylock import Pylock
    from packaging.specifiers import SpecifierSet
    from packaging.version import Version

    resolved = frozenset(package.name for package in lock.packages if package.artifacts)
    facts: dict[str, JSON] = {
        "python": lock.python,
        "implementation": lock.implementation,
        "platform": lock.platform,
    }
    unresolved = [_unresolved(package) for package in lock.packages if not package.artifacts]
    if unresolved:
        facts["unresolved"] = unresolved
    return Pylock(
        lock_version=Version("1.0"),
        requires_python=SpecifierSet(f"=={lock.python}.*"),
        created_by=_CREATOR,
        packages=[_package(package, resolved) for package in lock.packages if package.artifacts],
        tool={_CREATOR: facts},
    )


def _package(package: Locked, resolved: frozenset[str]) -> Package:
    from packaging.markers import Marker
    from packaging.pylock import Package, PackageSdist, PackageWheel
    from packaging.specifiers import SpecifierSet
    from packaging.utils import canonicalize_name
    from packaging.version import Version

    wheels = [artifact for artifact in package.artifacts if artifact.name.endswith(".whl")]
    sdists = [artifact for artifact in package.artifacts if not artifact.name.endswith(".whl")]
    return Package(
        name=canonicalize_name(package.name),
        version=Version(package.version),
        marker=None if package.marker is None else Marker(package.marker),
        requires_python=None if package.requires_python is None else SpecifierSet(package.requires_python),
        dependencies=[{"name": name} for name in package.needs if name in resolved] or None,
        sdist=next((PackageSdist(path=_path(item), size=item.size, hashes=_hashes(item)) for item in sdists), None),
        wheels=[PackageWheel(path=_path(item), size=item.size, hashes=_hashes(item)) for item in wheels] or None,
        tool={_CREATOR: _facts(package, [name for name in package.needs if name not in resolved])},
    )


def _path(artifact: Artifact) -> str:
    return f"{FOLDER}/{artifact.name}"


def _hashes(artifact: Artifact) -> dict[str, str]:
    return {"sha256": artifact.sha256}


def _facts(package: Locked, needs_unresolved: list[str]) -> dict[str, JSON]:
    """Return what PEP 751 has no words for; TOML has no null, so what isn't known isn't there."""
    facts: dict[str, JSON | None] = {
        "status": package.status,
        "files": package.files,
        "commit": package.commit,
        "dirty": package.dirty,
        "needs-unresolved": needs_unresolved or None,
    }
    return {name: value for name, value in facts.items() if value is not None}


def _unresolved(package: Locked) -> dict[str, JSON]:
    facts: dict[str, JSON | None] = {
        "name": package.name,
        "version": package.version,
        "marker": package.marker,
        "requires-python": package.requires_python,
        "needs": list(package.needs),
        "files": package.files,
        "commit": package.commit,
        "dirty": package.dirty,
    }
    return {name: value for name, value in facts.items() if value is not None}


# --- reading -------------------------------------------------------------------------------------------------------


def _read(read: Pylock) -> Lock:
    facts = _tool(read.tool, "pylock.toml")
    unresolved = facts.readers("unresolved") if "unresolved" in facts.value else ()
    packages = [*map(_locked, read.packages), *map(_locked_unresolved, unresolved)]
    lock = Lock(
        python=facts.text("python"),
        implementation=facts.text("implementation"),
        platform=facts.text("platform"),
        packages=tuple(sorted(packages, key=lambda package: package.name)),
    )
    if not _PYTHON.fullmatch(lock.python) or str(read.requires_python) != f"=={lock.python}.*":
        raise _wrong("pylock.toml", f"is for Python {lock.python!r} and requires {read.requires_python}")
    for one, other in pairwise(lock.packages):
        if one.name == other.name:
            raise _wrong("pylock.toml", f"has {one.name} twice")
    return lock


def _tool(tool: object, where: str) -> Reader:
    value: JSON = tool if isinstance(tool, dict) else {}
    return Reader.of(value, f"{where}: tool").reader(_CREATOR)


def _locked(read: Package) -> Locked:
    where = f"pylock.toml: {read.name}"
    if read.version is None or read.is_direct or read.index is not None:
        raise _wrong(where, "is not an exact version with its artifacts")
    facts = _tool(read.tool, where)
    needs = [*_names(read, where), *(facts.texts("needs-unresolved") if "needs-unresolved" in facts.value else ())]
    package = Locked(
        name=read.name,
        version=str(read.version),
        marker=None if read.marker is None else str(read.marker),
        requires_python=None if read.requires_python is None else str(read.requires_python),
        needs=tuple(sorted(needs)),
        artifacts=_artifacts(read, where),
        status=facts.choice("status", get_args(Status)),
        files=_digest(facts.text("files"), where),
        commit=_optional(facts, "commit"),
        dirty=_optional_bool(facts, "dirty"),
    )
    if package.status == "unresolved" or (package.status == "built" and len(package.artifacts) != 1):
        raise _wrong(where, f"is {package.status} and has {len(package.artifacts)} artifacts")
    return package


def _locked_unresolved(facts: Reader) -> Locked:
    return Locked(
        name=facts.text("name"),
        version=facts.text("version"),
        marker=_optional(facts, "marker"),
        requires_python=_optional(facts, "requires-python"),
        needs=facts.texts("needs"),
        artifacts=(),
        status="unresolved",
        files=_digest(facts.text("files"), facts.where),
        commit=_optional(facts, "commit"),
        dirty=_optional_bool(facts, "dirty"),
    )


def _names(read: Package, where: str) -> Iterator[str]:
    for reference in read.dependencies or ():
        yield Reader.of(dict(reference), f"{where}: dependencies").text("name")


def _artifacts(read: Package, where: str) -> tuple[Artifact, ...]:
    found: Iterable[PackageWheel | PackageSdist] = [*(read.wheels or ()), *([read.sdist] if read.sdist else ())]
    artifacts = []
    for item in found:
        if item.url is not None or item.path != f"{FOLDER}/{item.filename}" or "\\" in item.filename:
            raise _wrong(where, f"has the artifact {item.filename!r} outside {FOLDER}/")
        if list(item.hashes) != ["sha256"]:
            raise _wrong(where, f"has {item.filename!r} with hashes other than sha256")
        artifacts.append(Artifact(name=item.filename, sha256=_digest(item.hashes["sha256"], where), size=item.size))
    if len({artifact.name for artifact in artifacts}) != len(artifacts):
        raise _wrong(where, "has an artifact twice")
    return tuple(sorted(artifacts))


def _digest(text: str, where: str) -> Digest:
    if not _SHA256.fullmatch(text):
        raise _wrong(where, f"has {text!r} for a sha256")
    return Digest(text)


def _optional(facts: Reader, key: str) -> str | None:
    return facts.text(key) if key in facts.value else None


def _optional_bool(facts: Reader, key: str) -> bool | None:
    value = facts.value.get(key)
    if value is not None and not isinstance(value, bool):
        raise _wrong(facts.where, f"has {value!r} for {key}, not true or false")
    return value


def _wrong(where: str, what: str) -> DataError:
    return DataError(f"{where} {what}", hint="was this lock written by fasthep-archive, and not changed since?")
