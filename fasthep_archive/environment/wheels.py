"""Makes wheels: of installed files, and of source trees; the same content gives the same bytes.

A bundle carries a wheel of everything that no index has. All are written in one form: members sorted with
``.dist-info`` last, the earliest time that a zip can hold, two modes, deflate level 6, ``RECORD`` written anew. With
another zlib the bytes may differ; :func:`files_digest_of`, which looks at the content, does not.
"""

from __future__ import annotations

import csv
import io
import stat
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from email.parser import HeaderParser
from importlib.metadata import Distribution, PathDistribution
from pathlib import Path, PurePosixPath

from fasthep_archive import digest
from fasthep_archive.digest import JSON, Digest
from fasthep_archive.environment import building, installed
from fasthep_archive.environment.installed import InstalledFile
from fasthep_archive.environment.packages import normalised
from fasthep_archive.environment.wheel_layout import (
    base64_of,
    content_digest,
    dist_info,
    generated_scripts,
    is_note,
    is_script,
    pieces,
    placed,
    sha256_of,
)
from fasthep_archive.errors import DataError
from fasthep_archive.files import write_atomically

FORMAT = 1
"""Changes when the same installed files shall be made into a wheel anew."""

_EARLIEST = (1980, 1, 1, 0, 0, 0)
_SHOWN = 5  # of a list of files, in a message


@dataclass(frozen=True, kw_only=True, slots=True)
class _Member:
    path: str
    content: bytes
    executable: bool


def rebuilt(
    distribution: Distribution, directory: Path, *, files: Digest | None = None, cache: Path | None = None
) -> Path:
    """Write a wheel of the distribution's installed files to ``directory`` and return its path.

    Its content is that of the wheel that was installed, as far as files were not modified since; see
    :func:`~fasthep_archive.environment.installed.modified`.

    :param files: the digest of its files, if that has been taken.
    :param cache: where wheels are kept for the next time, by the digest of their files; created if missing.
    :raises DataError: if not all of its files can be had, or the wheel would not work elsewhere.
    """
    found = installed.files(distribution)
    _check(distribution, found)
    metadata = next(file for file in found if dist_info(file.path) and file.path.endswith(".dist-info/WHEEL"))
    with metadata.open() as stream:
        name = _file_name(distribution, stream.read())
    if files is None or cache is None:
        return _written(map(_member, found), directory / name)
    executable: JSON = [file.path for file in found if file.executable()]
    kept = cache / digest.of_json({"format": FORMAT, "files": files, "executable": executable, "name": name})
    return _copied(_kept(kept) or _keep(_written(map(_member, found), kept / name)), directory)


def from_tree(tree: Path, directory: Path, *, cache: Path, environ: Mapping[str, str], index: bool = True) -> Path:
    """Build a wheel from the source tree ``tree``, write it to ``directory`` and return its path.

    A copy of the tree is built, with its build backend, as ``python -m build`` does: with what is installed here where
    that satisfies the build's requirements, else in an environment of its own. The tree's version may not be that of
    an editable installation, which is as old as that. The same tree is built once.

    :param cache: where wheels are kept for the next time, by the content of their trees; created if missing.
    :param environ: variables for the build, git and pip.
    :param index: whether an index may be asked for what the build requires.
    :raises DataError: if it can't be built.
    """
    recipe = building.recipe(tree, environ=environ)
    kept = cache / recipe.key
    wheel = _kept(kept)
    if wheel is None:
        with building.built(recipe, environ=environ, index=index) as fresh:
            wheel = _keep(_normalised(fresh, kept))
    return _copied(wheel, directory)


def files_digest_of(wheel: Path) -> Digest:
    """Return the digest of the wheel's files, which is that of what is installed from it.

    :raises DataError: if it is no wheel.
    """
    with _opened(wheel) as archive:
        stem = _stem(archive, wheel)
        generated = generated_scripts(PathDistribution(zipfile.Path(archive, f"{stem}.dist-info/")))
        content = {}
        for info in _files(archive, stem):
            path = placed(info.filename, stem)
            if not is_script(path) or PurePosixPath(path).name not in generated:
                with archive.open(info) as stream:
                    content[path] = sha256_of(stream, script=is_script(path))
    return content_digest(content.items())


def _check(distribution: Distribution, files: Sequence[InstalledFile]) -> None:
    name, version = distribution.name, distribution.version
    hint = f"install it again: pip install --force-reinstall --no-deps {name}=={version}"
    gone = [file.path for file in files if isinstance(file.source, Path) and not file.source.is_file()]
    if gone:
        raise DataError(f"{name} {version} is not completely installed: {_some(gone)} missing", hint=hint)
    outside = [file.path for file in files if ".." in PurePosixPath(file.path).parts]
    if outside:
        names = [PurePosixPath(path).name for path in outside]
        raise DataError(f"{name} {version} has files outside of its environment: {_some(names)}", hint=hint)
    conda = (distribution.read_text("INSTALLER") or "").strip() == "conda"
    if conda and any(PurePosixPath(file.path).suffix in {".so", ".pyd", ".dylib"} for file in files):
        raise DataError(
            f"{name} {version} was installed by conda: its compiled parts need libraries that only conda has",
            hint=f"install the index's own wheel: pip install --force-reinstall --no-deps {name}=={version}",
        )


def _some(names: Sequence[str]) -> str:
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more are" if more > 0 else " are" if len(names) > 1 else " is")


def _member(file: InstalledFile) -> _Member:
    try:
        with file.open() as stream:
            content = b"".join(pieces(stream, script=file.script))
        return _Member(path=file.path, content=content, executable=file.executable())
    except OSError as error:
        raise DataError(f"{file.source!r} can't be read: {error.strerror or error}") from error


def _file_name(distribution: Distribution, wheel: bytes) -> str:
    """Return the file name that the metadata ``WHEEL`` of a distribution asks for.

    ``WHEEL`` lists the tags that the compressed sets in the file name stand for, one by one (PEP 425). The sets have no
    order; sorted ones are those of most wheels (of 913 among 977 that were looked at; 4 had been renamed afterwards).
    """
    from packaging.version import InvalidVersion, Version

    headers = HeaderParser().parsestr(wheel.decode())
    tags = [tag.strip().split("-", 2) for tag in headers.get_all("Tag") or ()]
    if not tags or any(len(tag) != 3 for tag in tags):
        raise DataError(f"{distribution.name}: its WHEEL file names no tags that a wheel can have")
    try:
        version = str(Version(distribution.version))
    except InvalidVersion:
        version = distribution.version.replace("-", "_")
    build = [headers["Build"].strip()] if headers["Build"] else []
    # Some tools (old maturin) write the compressed sets themselves.
    sets = [
        ".".join(sorted({tag for value in values for tag in value.split(".")})) for values in zip(*tags, strict=True)
    ]
    return "-".join([normalised(distribution.name).replace("-", "_"), version, *build, *sets]) + ".whl"


def _kept(folder: Path) -> Path | None:
    """Return the wheel that was kept in ``folder``; none if there is none, or it is damaged."""
    try:
        sha256, _, name = (folder / "sha256").read_text(encoding="utf-8").partition(" ")
        wheel = folder / PurePosixPath(name).name
        return wheel if digest.of_file(wheel) == sha256 else None
    except (OSError, UnicodeDecodeError):
        return None


def _keep(wheel: Path) -> Path:
    """Note the digest of a wheel that was written to a folder of its own, and return its path."""
    write_atomically(wheel.parent / "sha256", f"{digest.of_file(wheel)} {wheel.name}".encode())
    return wheel


def _copied(wheel: Path, directory: Path) -> Path:
    destination = directory / wheel.name
    write_atomically(destination, wheel.read_bytes())
    return destination


def _normalised(wheel: Path, directory: Path) -> Path:
    """Write the content of ``wheel`` to ``directory`` in the one form, and return its path."""
    with _opened(wheel) as archive:
        members = []
        for info in _files(archive, _stem(archive, wheel)):
            script = is_script(info.filename)
            with archive.open(info) as stream:
                content = b"".join(pieces(stream, script=script))
            executable = script or bool(info.external_attr >> 16 & 0o111)
            members.append(_Member(path=info.filename, content=content, executable=executable))
    return _written(members, directory / wheel.name)


@contextmanager
def _opened(wheel: Path) -> Iterator[zipfile.ZipFile]:
    """Give the wheel to be read.

    :raises DataError: if it is no zip, or is found to be damaged while it is read.
    """
    try:
        with zipfile.ZipFile(wheel) as archive:
            yield archive
    except (OSError, EOFError, NotImplementedError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"{wheel} is no wheel that can be read: {error}", hint="fetch or build it again") from error


def _stem(archive: zipfile.ZipFile, wheel: Path) -> str:
    found = next((stem for name in archive.namelist() if (stem := dist_info(name))), None)
    if found is None:
        raise DataError(f"{wheel} is no wheel: it has no .dist-info")
    return found


def _files(archive: zipfile.ZipFile, stem: str) -> Iterable[zipfile.ZipInfo]:
    return (info for info in archive.infolist() if not info.is_dir() and not is_note(info.filename, stem))


def _written(members: Iterable[_Member], destination: Path) -> Path:
    """Write ``members`` and their ``RECORD`` to the wheel ``destination``, all or nothing, and return its path."""
    rows, stem = [], ""
    raw = io.BytesIO()
    with zipfile.ZipFile(raw, "w") as archive:
        for member in sorted(members, key=lambda member: (dist_info(member.path) is not None, member.path)):
            stem = dist_info(member.path) or stem
            sha256 = base64_of(bytes.fromhex(digest.of_bytes(member.content)))
            rows.append((member.path, f"sha256={sha256}", len(member.content)))
            _store(archive, member)
        record = io.StringIO()
        csv.writer(record, lineterminator="\n").writerows([*rows, (f"{stem}.dist-info/RECORD", "", "")])
        content = record.getvalue().encode()
        _store(archive, _Member(path=f"{stem}.dist-info/RECORD", content=content, executable=False))
    write_atomically(destination, raw.getvalue())
    return destination


def _store(archive: zipfile.ZipFile, member: _Member) -> None:
    info = zipfile.ZipInfo(member.path, _EARLIEST)
    info.create_system = 3  # Unix, whose modes follow; on any platform
    info.external_attr = (stat.S_IFREG | (0o755 if member.executable else 0o644)) << 16
    archive.writestr(info, member.content, zipfile.ZIP_DEFLATED, 6)
