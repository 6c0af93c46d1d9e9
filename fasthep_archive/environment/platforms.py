"""Platforms that wheels are for: which tags fit, best first, and what markers say there.

A platform has the name that ``pip download --platform`` takes, but means the machine: on ``manylinux_2_28_aarch64``
wheels for older C libraries fit too (PEP 600), which pip wants to be told one by one. Order and rules are those of
:mod:`packaging.tags`, after which pip chooses.
"""

from __future__ import annotations

import platform
import re
import sysconfig
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fasthep_archive.errors import UsageError

if TYPE_CHECKING:
    from packaging.tags import Tag

EXAMPLES = ("manylinux_2_28_aarch64", "manylinux_2_28_x86_64", "macosx_14_0_arm64", "musllinux_1_2_x86_64", "win_amd64")
"""Names of platforms, for messages."""

_LEGACY = {17: "manylinux2014", 12: "manylinux2010", 5: "manylinux1"}  # by the minor version of glibc 2 (PEP 600)
_OLDEST = {"x86_64": 5, "i686": 5}  # PEP 513 and 571; the other architectures begin with PEP 599
_OLDEST_ELSEWHERE = 17
_MACHINES = {"amd64": "AMD64", "arm64": "ARM64", "win32": "x86"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """An interpreter on a platform, for which wheels are chosen.

    :ivar name: of the platform.
    :ivar python: minor version of the interpreter, ``3.11``.
    :ivar tags: what a wheel may be tagged with, best first.
    :ivar platforms: the last parts of the tags, best first; empty where pip knows them: here.
    :ivar markers: values of the variables of markers (PEP 508).
    """

    name: str
    python: str
    tags: tuple[Tag, ...]
    platforms: tuple[str, ...]
    markers: Mapping[str, str]

    def rank(self, wheel: str) -> tuple[int, tuple[()] | tuple[int, str]] | None:
        """Return how well a wheel fits, by its file name: the greatest is what pip takes; none if it doesn't fit."""
        from packaging.utils import InvalidWheelFilename, parse_wheel_filename

        try:
            _, _, build, tags = parse_wheel_filename(wheel)
        except InvalidWheelFilename:
            return None
        place = next((place for place, tag in enumerate(self.tags) if tag in tags), None)
        return None if place is None else (-place, build)

    def needs(self, marker: str | None) -> bool:
        """Return whether a package with that marker is needed there."""
        from packaging.markers import Marker

        return marker is None or Marker(marker).evaluate(dict(self.markers))


def here(python: str) -> Target:
    """Return this machine, with this interpreter or with CPython ``python`` if that is another minor version."""
    from packaging.markers import default_environment
    from packaging.tags import platform_tags, sys_tags

    name = sysconfig.get_platform().replace("-", "_").replace(".", "_")
    markers = {key: str(value) for key, value in default_environment().items()}
    if python == ".".join(platform.python_version_tuple()[:2]):
        return Target(name=name, python=python, tags=tuple(sys_tags()), platforms=(), markers=markers)
    found = tuple(platform_tags())
    return Target(
        name=name, python=python, tags=_tags(python, found), platforms=found, markers={**markers, **_versions(python)}
    )


def there(name: str, python: str) -> Target:
    """Return the platform ``name`` with CPython ``python``.

    :raises UsageError: if there is no such platform.
    """
    for form, platforms, markers in _FAMILIES:
        if match := form.fullmatch(name):
            found = tuple(platforms(match))
            return Target(
                name=name,
                python=python,
                tags=_tags(python, found),
                platforms=found,
                markers={**_versions(python), **markers(match["machine"])},
            )
    raise UsageError(f"there is no platform {name!r}", hint=f"platforms are, for example: {', '.join(EXAMPLES)}")


def _tags(python: str, platforms: Sequence[str]) -> tuple[Tag, ...]:
    from packaging.tags import compatible_tags, cpython_tags

    version = tuple(map(int, python.split(".")))
    interpreter = abi(python)
    return (
        *cpython_tags(version, [interpreter], platforms),
        *compatible_tags(version, interpreter, platforms),
    )


def abi(python: str) -> str:
    """Return CPython's tag for the minor version ``python``.

    >>> abi("3.11")
    'cp311'
    """
    return f"cp{python.replace('.', '')}"


def _versions(python: str) -> dict[str, str]:
    running = platform.python_version()
    full = running if running.startswith(f"{python}.") else f"{python}.0"
    return {
        "implementation_name": "cpython",
        "implementation_version": full,
        "platform_python_implementation": "CPython",
        "platform_release": "",
        "platform_version": "",
        "python_full_version": full,
        "python_version": python,
    }


def _glibc(match: re.Match[str]) -> Iterator[str]:
    machine = match["machine"]
    yield f"linux_{machine}"
    for minor in range(int(match["minor"]), _OLDEST.get(machine, _OLDEST_ELSEWHERE) - 1, -1):
        yield f"manylinux_2_{minor}_{machine}"
        if minor in _LEGACY:
            yield f"{_LEGACY[minor]}_{machine}"


def _legacy_glibc(match: re.Match[str]) -> Iterator[str]:
    minor = next((minor for minor, name in _LEGACY.items() if match[0].startswith(f"{name}_")), _OLDEST_ELSEWHERE)
    newest = _GLIBC.fullmatch(f"manylinux_2_{minor}_{match['machine']}")
    return _glibc(newest) if newest else iter(())


def _musl(match: re.Match[str]) -> Iterator[str]:
    machine = match["machine"]
    yield f"linux_{machine}"
    yield from (f"musllinux_1_{minor}_{machine}" for minor in range(int(match["minor"]), -1, -1))


def _mac(match: re.Match[str]) -> Iterator[str]:
    from packaging.tags import mac_platforms

    return iter(mac_platforms((int(match["major"]), int(match["minor"])), match["machine"]))


def _only(match: re.Match[str]) -> Iterator[str]:
    yield match[0]


def _on_linux(machine: str) -> dict[str, str]:
    return {"os_name": "posix", "platform_machine": machine, "platform_system": "Linux", "sys_platform": "linux"}


def _on_mac(machine: str) -> dict[str, str]:
    return {"os_name": "posix", "platform_machine": machine, "platform_system": "Darwin", "sys_platform": "darwin"}


def _on_windows(machine: str) -> dict[str, str]:
    machine = _MACHINES[machine]
    return {"os_name": "nt", "platform_machine": machine, "platform_system": "Windows", "sys_platform": "win32"}


_Family = tuple[re.Pattern[str], Callable[[re.Match[str]], Iterator[str]], Callable[[str], dict[str, str]]]
_GLIBC = re.compile(r"manylinux_2_(?P<minor>\d{1,3})_(?P<machine>[a-z]\w*)")
_FAMILIES: tuple[_Family, ...] = (
    (_GLIBC, _glibc, _on_linux),
    (re.compile(r"manylinux(?:1|2010|2014)_(?P<machine>[a-z]\w*)"), _legacy_glibc, _on_linux),
    (re.compile(r"musllinux_1_(?P<minor>\d{1,3})_(?P<machine>[a-z]\w*)"), _musl, _on_linux),
    (re.compile(r"linux_(?P<machine>[a-z]\w*)"), _only, _on_linux),
    (re.compile(r"macosx_(?P<major>\d{2})_(?P<minor>\d{1,3})_(?P<machine>arm64|x86_64)"), _mac, _on_mac),
    (re.compile(r"win_(?P<machine>amd64|arm64)"), _only, _on_windows),
    (re.compile(r"(?P<machine>win32)"), _only, _on_windows),
)
