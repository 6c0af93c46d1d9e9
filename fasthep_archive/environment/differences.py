"""What differs between the environment that made the outputs and the present one, most likely cause first.

The order is by what was measured to change numbers, largest and most often first (numbers in brackets: values that
change, of a million, in one elementary function): another version of this tool; another architecture (128 000); other
vector units (up to 260 000); other numerical packages (numpy 1.26 against 2: 400 000; numba with and without SVML:
260 000); variables that choose between these; another C library (musl: 180 000; two glibc releases: none); another
interpreter (``sum`` of floats is compensated since Python 3.12). The rest is not known to change a number.

A package is mostly there because another one needs it, so a difference of packages says which ones do.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias, get_args

from fasthep_archive.digest import JSON
from fasthep_archive.environment.gpu import Gpu
from fasthep_archive.environment.hardware import Cpu, Hardware, System
from fasthep_archive.environment.limits import Limits
from fasthep_archive.environment.packages import Package
from fasthep_archive.environment.reading import Reader
from fasthep_archive.environment.snapshot import TOOL, Python, Snapshot
from fasthep_archive.environment.variables import Variables, numerical

Kind: TypeAlias = Literal["package", "machine", "cpu", "variable", "libc", "interpreter", "system", "memory", "gpu"]
Effect: TypeAlias = Literal["numerical", "other"]

NUMERICAL_PACKAGES = (
    "numba",
    "llvmlite",
    "numpy",
    "scipy",
    "awkward-cpp",
    "awkward",
    "boost-histogram",
    "hist",
    "uproot",
    "numexpr",
    "pandas",
    "polars",
    "pyarrow",
    "iminuit",
    "pyhf",
    "jax",
    "jaxlib",
    "torch",
    "tensorflow",
    "scikit-learn",
    "xgboost",
    "lightgbm",
    "onnxruntime",
    "mkl",
    "intel-cmplr-lib-rt",
    "cupy",
    "vector",
    "coffea",
)
"""Packages that compute, most likely cause first: those of the engine, then those that Python stages use."""

_ARITHMETIC = re.compile(r"(sse|ssse|avx|fma|f16c|amx|neon|asimd|sve|vsx|altivec)\w*|fp|fphp")
"""CPU feature flags of vector and fused arithmetic; on x86 and ARM as Linux spells them."""

_MACHINES: Mapping[str, str] = {"amd64": "x86_64", "arm64": "aarch64"}
"""Architectures under one name, of those that Windows and macOS call otherwise than Linux does; in lower case."""

_FEATURES: tuple[tuple[str, Effect], ...] = (("CPU arithmetic features", "numerical"), ("other CPU features", "other"))

_ORDER: tuple[Kind, ...] = ("machine", "cpu", "package", "variable", "libc", "interpreter", "system", "gpu", "memory")


NAMED = 5
"""How many packages are named in a sentence, of however many require one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """One thing that is not as it was.

    :ivar name: what it is, as a reader knows it (``numpy``, ``CPU microarchitecture``).
    :ivar recorded: its value when the outputs were made; none where there was none.
    :ivar present: its value now.
    :ivar effect: whether it is known to be able to change a number.
    :ivar needed_by: names of the recorded packages that directly require a package, nearest to this tool first; of the
        present ones where only these have it.
    :ivar chain: names of packages, each required by the one before, on a shortest way from this tool, a plug-in or
        whatever else nothing requires, to a package; empty where the way is not known.
    """

    kind: Kind
    name: str
    recorded: str | None
    present: str | None
    effect: Effect
    needed_by: tuple[str, ...] = ()
    chain: tuple[str, ...] = ()

    def __str__(self) -> str:
        why = f", {self.reason}" if self.reason else ""
        return f"{self.name} ({self.recorded or 'absent'} recorded, {self.present or 'absent'} present{why})"

    @property
    def reason(self) -> str:
        """Return why a package is there, in words: who requires it, and how it gets there from this tool.

        >>> def of(*needed_by, chain):
        ...     names = {"name": "click", "recorded": "8.0", "present": "8.1"}
        ...     return Difference(kind="package", effect="other", needed_by=needed_by, chain=chain, **names).reason
        >>> of("awkward", "numba", chain=("awkward", "click"))
        'needed by awkward, numba'
        >>> of("histoprint", chain=("fasthep-archive", "hist", "histoprint", "click"))
        'needed by histoprint (by way of hist)'
        """
        if not self.needed_by:
            return ""
        more = len(self.needed_by) - NAMED
        names = ", ".join(self.needed_by[:NAMED]) + (f" and {more} more" if more > 0 else "")
        way = [name for name in self.chain[:-2] if name != TOOL]
        return f"needed by {names}" + (f" (by way of {', '.join(way)})" if way else "")

    def to_json(self) -> JSON:
        return {
            "kind": self.kind,
            "name": self.name,
            "recorded": self.recorded,
            "present": self.present,
            "effect": self.effect,
            "needed_by": list(self.needed_by),
            "chain": list(self.chain),
        }

    @classmethod
    def from_json(cls, reader: Reader) -> Difference:
        """Return the difference that was recorded.

        :raises DataError: if the record is not one of :meth:`to_json`.
        """
        return cls(
            kind=reader.choice("kind", get_args(Kind)),
            name=reader.text("name"),
            recorded=reader.optional_text("recorded"),
            present=reader.optional_text("present"),
            effect=reader.choice("effect", get_args(Effect)),
            needed_by=reader.texts("needed_by"),
            chain=reader.texts("chain"),
        )


Hashes: TypeAlias = Mapping[str, Sequence[str]]
"""Hashes of the artifacts of packages, by the packages' names, as a lock knows them."""


def differences(
    recorded: Snapshot, present: Snapshot, *, hashes: tuple[Hashes, Hashes] = ({}, {})
) -> tuple[Difference, ...]:
    """Return what differs, the most likely cause of a numerical difference first; nothing when nothing differs.

    :param hashes: of both environments, where locks know them: they tell two builds of a version apart.
    """
    found = (
        *_hardware(recorded.hardware, present.hardware),
        *_packages(recorded.packages, present.packages, hashes),
        *_variables(recorded.variables, present.variables),
        *_interpreter(recorded.python, present.python),
    )
    return tuple(sorted(found, key=_rank))


def _rank(difference: Difference) -> tuple[bool, bool, int, int]:
    """Return the place in the order; ties stay in the order in which they were found."""
    tool = difference.kind == "package" and difference.name == TOOL
    known = (
        NUMERICAL_PACKAGES.index(difference.name) if difference.name in NUMERICAL_PACKAGES else len(NUMERICAL_PACKAGES)
    )
    return (
        difference.effect != "numerical",
        not tool,
        _ORDER.index(difference.kind),
        known if difference.kind == "package" else 0,
    )


def _changed(kind: Kind, name: str, recorded: object, present: object, effect: Effect) -> Iterator[Difference]:
    if recorded != present:
        yield Difference(kind=kind, name=name, recorded=_text(recorded), present=_text(present), effect=effect)


def _text(value: object) -> str | None:
    return None if value is None or value == "" else str(value)


def _hardware(recorded: Hardware, present: Hardware) -> Iterator[Difference]:
    before, now = (_machine(hardware.machine) for hardware in (recorded, present))
    yield from _changed("machine", "machine architecture", before, now, "numerical")
    yield from _processor(recorded.cpu, present.cpu)
    yield from _libc(recorded.system, present.system)
    yield from _changed("system", "operating system", _system(recorded.system), _system(present.system), "other")
    yield from _changed("system", "kernel", recorded.system.kernel, present.system.kernel, "other")
    yield from _changed("gpu", "GPUs", _gpus(recorded.gpus), _gpus(present.gpus), "other")
    yield from _changed("memory", "memory", _gibibytes(recorded.memory), _gibibytes(present.memory), "other")
    if recorded.limits and present.limits:
        yield from _limits(recorded.limits, present.limits)


def _machine(name: str) -> str:
    """Return the architecture as Linux calls it.

    >>> _machine("AMD64"), _machine("arm64")
    ('x86_64', 'aarch64')
    """
    return _MACHINES.get(name.lower(), name.lower())


def _limits(recorded: Limits, present: Limits) -> Iterator[Difference]:
    """Compare what two processes might use of their machines; cores under their own name."""
    yield from _changed("cpu", "usable logical cores", recorded.threads, present.threads, "other")
    yield from _changed("cpu", "limit of CPU time, in cores", recorded.cpus, present.cpus, "other")
    before, now = (None if limit.memory is None else _gibibytes(limit.memory) for limit in (recorded, present))
    yield from _changed("memory", "limit of memory", before, now, "other")


def _processor(recorded: Cpu, present: Cpu) -> Iterator[Difference]:
    yield from _changed(
        "cpu", "CPU microarchitecture", recorded.microarchitecture, present.microarchitecture, "numerical"
    )
    before, now = frozenset(recorded.features), frozenset(present.features)
    lost, gained = sorted(before - now), sorted(now - before)
    for name, effect in _FEATURES:
        only = [[flag for flag in flags if arithmetic(flag) == (effect == "numerical")] for flags in (lost, gained)]
        yield from _changed("cpu", name, " ".join(only[0]), " ".join(only[1]), effect)
    yield from _changed("cpu", "CPU vendor", recorded.vendor, present.vendor, "other")
    yield from _changed("cpu", "CPU model", recorded.model, present.model, "other")
    yield from _changed("cpu", "CPU cores", _cores(recorded), _cores(present), "other")


def arithmetic(flag: str) -> bool:
    """Return whether a CPU feature flag is one of vector or fused arithmetic, by which libraries choose code."""
    return bool(_ARITHMETIC.fullmatch(flag))


def _cores(cpu: Cpu) -> str | None:
    if cpu.cores is None and cpu.threads is None:
        return None
    return f"{cpu.cores or '?'} ({cpu.threads or '?'} threads)"


def _libc(recorded: System, present: System) -> Iterator[Difference]:
    yield from _changed("libc", "C library", _library(recorded), _library(present), "numerical")


def _library(system: System) -> str:
    """Return the C library and its version; where that can't be asked, it is a part of its system's."""
    if system.libc and system.libc_version:
        return f"{system.libc} {system.libc_version}"
    return f"{system.libc or 'that'} of {_system(system)}"


def _system(system: System) -> str:
    return system.distribution or system.name


def _gpus(gpus: tuple[Gpu, ...]) -> str | None:
    return ", ".join(f"{gpu.model} (driver {gpu.driver}, CUDA {gpu.cuda})" for gpu in gpus) or None


def _gibibytes(memory: int) -> str:
    return f"{memory / 2**30:.1f} GiB"


def _packages(
    recorded: tuple[Package, ...], present: tuple[Package, ...], hashes: tuple[Hashes, Hashes]
) -> Iterator[Difference]:
    before, now = ({package.name: package for package in packages} for packages in (recorded, present))
    then, today = _ways(recorded), _ways(present)
    for name in sorted(before.keys() | now.keys()):
        common = frozenset(hashes[0].get(name, ())) & frozenset(hashes[1].get(name, ()))
        one, other = (_version(packages.get(name), known=bool(common)) for packages in (before, now))
        packages, ways = (before, then) if name in before else (now, today)
        changed = [*_changed("package", name, one, other, package_effect(name))] or _builds(name, one, hashes)
        for found in changed:
            yield replace(found, needed_by=_needed_by(name, packages, ways), chain=ways.get(name, ()))


def _builds(name: str, version: str | None, hashes: tuple[Hashes, Hashes]) -> Iterator[Difference]:
    """Compare the artifacts of one version of a package: without a common one, these are different builds.

    With a common one they may be the same: an index gains artifacts of a version that is out, for other platforms.
    """
    before, now = (frozenset(known.get(name, ())) for known in hashes)
    if not before or not now or not _kinds(before) & _kinds(now):
        return  # what an index offers can't be compared with what is installed
    if before & now:
        one, other = (_more(version, len(own)) for own in (before - now, now - before))
        yield from _changed("package", name, one, other, "other")
    else:
        one, other = (f"{version} ({min(build)[:19]})" for build in (before, now))
        yield from _changed("package", name, one, other, package_effect(name))


def _kinds(hashes: frozenset[str]) -> frozenset[str]:
    """Return what the hashes are of: ``sha256`` of artifacts, ``record`` of installed files."""
    return frozenset(text.partition(":")[0] for text in hashes)


def _more(version: str | None, own: int) -> str:
    return f"{version} ({own} more artifact{'' if own == 1 else 's'})" if own else f"{version}"


def package_effect(name: str) -> Effect:
    """Return whether another version of the package called ``name`` is known to be able to change a number."""
    return "numerical" if name == TOOL or name in NUMERICAL_PACKAGES else "other"


def _ways(packages: tuple[Package, ...]) -> Mapping[str, tuple[str, ...]]:
    """Return a shortest way to each package from what nothing requires: this tool, plug-ins, what the analysis imports.

    Of several ways of one length, that of the tool, then the first by name. What only a cycle requires has none.
    """
    needs = {package.name: package.needs for package in packages}
    required = {name for names in needs.values() for name in names}
    roots = sorted({TOOL} & needs.keys()) + sorted(needs.keys() - required - {TOOL})
    ways: dict[str, tuple[str, ...]] = {root: (root,) for root in roots}
    waiting = deque(roots)
    while waiting:
        name = waiting.popleft()
        for needed in needs.get(name, ()):
            if needed not in ways:
                ways[needed] = (*ways[name], needed)
                waiting.append(needed)
    return ways


def _needed_by(name: str, packages: Mapping[str, Package], ways: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    """Return who directly requires ``name``: first the one on the shortest way, then by distance and name."""
    direct = [package.name for package in packages.values() if name in package.needs]
    last = ways.get(name, ())[-2:-1]
    return tuple(sorted(direct, key=lambda who: (who not in last, who not in ways, len(ways.get(who, ())), who)))


def _version(package: Package | None, *, known: bool) -> str | None:
    """Return the version; that of a source tree that is still being edited is no promise, and says so.

    :param known: whether both sides are known to have the same build, as they may when one is of a source tree.
    """
    if package is None:
        return None
    return f"{package.version} (editable)" if package.origin == "editable" and not known else package.version


def _variables(recorded: Variables, present: Variables) -> Iterator[Difference]:
    before, now = _values(recorded), _values(present)
    for name in sorted(before.keys() | now.keys()):
        effect: Effect = "numerical" if numerical(name) else "other"
        yield from _changed("variable", name, before.get(name), now.get(name), effect)


def _values(variables: Variables) -> Mapping[str, str]:
    return {**dict.fromkeys(variables.dropped, "a hidden value"), **dict(variables.values)}


def _interpreter(recorded: Python, present: Python) -> Iterator[Difference]:
    def minor(python: Python) -> tuple[str, ...]:
        return (python.implementation, *python.version.split(".")[:2])

    effect: Effect = "numerical" if minor(recorded) != minor(present) else "other"
    before, now = (f"{python.implementation} {python.version}" for python in (recorded, present))
    yield from _changed("interpreter", "Python", before, now, effect)
    yield from _changed("interpreter", "Python platform", recorded.platform, present.platform, "other")
