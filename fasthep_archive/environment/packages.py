"""Which distributions are needed, and in which versions: the installed closure of a few roots.

The closure follows the requirements that installed distributions declare (core metadata ``Requires-Dist``), with their
environment markers and extras evaluated by ``packaging``, the reference implementation, which awkward, hist and uproot
require unconditionally. What the machine has installed beside that is none of a bundle's business and is not recorded.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import Distribution, DistributionFinder
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

from fasthep_archive.digest import JSON
from fasthep_archive.environment.reading import Reader
from fasthep_archive.errors import DataError

if TYPE_CHECKING:
    from packaging.requirements import Requirement

Origin: TypeAlias = Literal["index", "editable", "direct url"]
"""Where a distribution was installed from, as far as the installer says (PEP 610): a package index or a folder of
wheels; a source tree that is still being edited; any other file, folder or repository. Never the address itself."""


@dataclass(frozen=True, kw_only=True, slots=True, order=True)
class Package:
    """One installed distribution.

    :ivar name: normalised as PEP 503 says: lower case, runs of ``-_.`` are one ``-``.
    :ivar needs: normalised names of the installed distributions that it directly requires here, sorted.
    """

    name: str
    version: str
    origin: Origin
    needs: tuple[str, ...]

    def to_json(self) -> JSON:
        return {"name": self.name, "version": self.version, "origin": self.origin, "needs": list(self.needs)}

    @classmethod
    def from_json(cls, reader: Reader) -> Package:
        """Return the package that was recorded.

        :raises DataError: if the record is not one of :meth:`to_json`.
        """
        return cls(
            name=reader.text("name"),
            version=reader.text("version"),
            origin=reader.choice("origin", get_args(Origin)),
            needs=reader.texts("needs"),
        )


def normalised(name: str) -> str:
    """Return the one spelling of a distribution's name (PEP 503).

    >>> normalised("Awkward_cpp")
    'awkward-cpp'
    """
    return re.sub(r"[-_.]+", "-", name).lower()


def closure(roots: Sequence[str], *, path: Sequence[str] | None = None) -> tuple[Package, ...]:
    """Return ``roots`` and everything that they require here, sorted by name.

    :param roots: names of distributions; extras in brackets (``"hist[plot]"``) are followed.
    :param path: directories that are searched, in order; ``sys.path`` unless told.
    :raises DataError: if one of ``roots`` is not installed. A requirement of an installed distribution that is not
        installed itself is left out: the environment is broken there, and the record says what is.
    """
    wanted = _roots(roots, path)
    found: dict[str, Distribution] = {}
    needs: dict[str, set[str]] = {}
    visited: set[tuple[str, str]] = set()
    while wanted:
        requirement = wanted.pop()
        name = normalised(requirement.name)
        distribution = found.get(name) or installed(name, path)
        if distribution is None:
            continue
        found[name] = distribution
        for extra in {"", *requirement.extras} - {extra for seen, extra in visited if seen == name}:
            visited.add((name, extra))
            required = list(_required(distribution, extra))
            needs.setdefault(name, set()).update(normalised(item.name) for item in required)
            wanted.extend(required)
    return tuple(
        Package(
            name=name,
            version=distribution.version,
            origin=_origin(distribution),
            needs=tuple(sorted(needs[name] & found.keys())),
        )
        for name, distribution in sorted(found.items())
    )


def _roots(roots: Sequence[str], path: Sequence[str] | None) -> list[Requirement]:
    from packaging.requirements import Requirement

    wanted = [Requirement(root) for root in roots]
    for requirement in wanted:
        if installed(requirement.name, path) is None:
            raise DataError(
                f"the distribution {requirement.name!r} is not installed, so its version can't be recorded",
                hint=f"install it: python -m pip install {requirement.name}",
            )
    return wanted


def installed(name: str, path: Sequence[str] | None = None) -> Distribution | None:
    """Return the installed distribution of that name, the first on ``path`` (``sys.path`` unless told), or none."""
    context = (
        DistributionFinder.Context(name=name)
        if path is None
        else DistributionFinder.Context(name=name, path=list(path))
    )
    return next(iter(Distribution.discover(context=context)), None)


def _required(distribution: Distribution, extra: str) -> Iterator[Requirement]:
    """Yield what ``distribution`` requires here with ``extra`` (``""``: with none), markers evaluated."""
    from packaging.requirements import Requirement

    for text in distribution.requires or ():
        requirement = Requirement(text)
        if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
            yield requirement


def _origin(distribution: Distribution) -> Origin:
    recorded = distribution.read_text("direct_url.json")
    if recorded is not None:
        try:
            editable = json.loads(recorded)["dir_info"]["editable"] is True
        except (ValueError, KeyError, TypeError):
            editable = False
        return "editable" if editable else "direct url"
    # A source tree on the import path: setuptools leaves NAME.egg-info with SOURCES.txt there, and nothing was
    # installed (RECORD and installed-files.txt are what installers write).
    installed = any(distribution.read_text(name) is not None for name in ("RECORD", "installed-files.txt"))
    return "editable" if not installed and distribution.read_text("SOURCES.txt") is not None else "index"
