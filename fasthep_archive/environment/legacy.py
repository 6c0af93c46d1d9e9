"""Distributions that were installed without a wheel: ``.egg-info`` with ``installed-files.txt``.

pip before 23.1 ran ``setup.py install`` where the package ``wheel`` was missing, and asked setuptools to list what it
wrote. The metadata is turned into that of a wheel, as the PyPA specification "Core metadata" has it.
"""

from __future__ import annotations

from collections.abc import Iterable
from email.parser import HeaderParser
from importlib.metadata import Distribution
from pathlib import Path, PurePosixPath

from fasthep_archive.environment.packages import normalised

_KEPT = ("entry_points.txt", "top_level.txt", "namespace_packages.txt")
_COMPILED = (".so", ".pyd", ".dll", ".dylib")


def stem(distribution: Distribution) -> str:
    """Return ``NAME-VERSION`` as a wheel's ``.dist-info`` spells it."""
    return f"{normalised(distribution.name).replace('-', '_')}-{distribution.version.replace('-', '_')}"


def files(distribution: Distribution) -> tuple[tuple[str, Path | bytes], ...]:
    """Return the files that ``installed-files.txt`` lists, each by its path relative to ``site-packages``.

    The metadata is that of a ``.dist-info``. Nothing is returned if there is no such list.
    """
    listed = distribution.read_text("installed-files.txt")
    folder = _folder(distribution)
    if listed is None or folder is None:
        return ()
    info = f"{stem(distribution)}.dist-info"
    found: list[tuple[str, Path | bytes]] = [(f"{info}/METADATA", _metadata(distribution))]
    for line in listed.splitlines():
        # Paths are relative to the .egg-info, so that all but the metadata begin with "../".
        parts = PurePosixPath(line.strip().replace("\\", "/")).parts
        if parts[:1] == ("..",):
            found.append(("/".join(parts[1:]), folder.joinpath(*parts)))
        elif "/".join(parts) in _KEPT:
            found.append((f"{info}/{'/'.join(parts)}", folder.joinpath(*parts)))
    return tuple(found)


def wheel_metadata(paths: Iterable[str]) -> bytes:
    """Return the file ``WHEEL`` for a wheel of files at ``paths``: for any Python 3, or for this one if compiled."""
    from packaging.tags import sys_tags

    pure = not any(path.endswith(_COMPILED) for path in paths)
    tag = "py3-none-any" if pure else str(next(sys_tags()))
    lines = (
        "Wheel-Version: 1.0",
        "Generator: fasthep-archive",
        f"Root-Is-Purelib: {'true' if pure else 'false'}",
        f"Tag: {tag}",
    )
    return "".join(f"{line}\n" for line in lines).encode()


def _folder(distribution: Distribution) -> Path | None:
    """Return the distribution's ``.egg-info``."""
    site = Path(str(distribution.locate_file("")))
    for listed in sorted(site.glob("*.egg-info/installed-files.txt")):
        name, _, rest = listed.parent.name.removesuffix(".egg-info").partition("-")
        if normalised(name) == normalised(distribution.name) and rest.split("-py", 1)[0] in {
            "",
            _egg_version(distribution),
        }:
            return listed.parent
    return None


def _egg_version(distribution: Distribution) -> str:
    return distribution.version.replace("-", "_")


def _metadata(distribution: Distribution) -> bytes:
    """Return ``METADATA``: ``PKG-INFO`` with the requirements, which setuptools kept in ``requires.txt``."""
    text = distribution.read_text("PKG-INFO") or ""
    headers = HeaderParser().parsestr(text)
    if headers.get_all("Requires-Dist") or not distribution.requires:
        return text.encode()
    extras = [
        line[1:-1].partition(":")[0]
        for line in (distribution.read_text("requires.txt") or "").splitlines()
        if line[:1] == "["
    ]
    added = [f"Provides-Extra: {extra}" for extra in dict.fromkeys(filter(None, extras))]
    added += [f"Requires-Dist: {requirement}" for requirement in distribution.requires]
    # Provides-Extra needs version 2.1, which is as old as the last installers that wrote such a list.
    body = text.split("\n", 1)[1] if text.startswith("Metadata-Version:") else text
    return "\n".join(["Metadata-Version: 2.1", *added, body]).encode()
