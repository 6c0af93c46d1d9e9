"""What differs between the environment that made the outputs and the present one, most likely cause first.

The order is by what was measured to change numbers, largest and most often first (numbers in brackets: values that
change, of a million, in one elementary function): another version of this tool; another architecture (128 000); other
vector units (up to 260 000); other numerical packages (numpy 1.26 against 2: 400 000; numba with and without SVML:
260 000); variables that choose between these; another C library (musl: 180 000; two glibc releases: none); another
interpreter (``sum`` of floats is compensated since Python 3.12). The rest is not known to change a number.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from fasthep_archive.digest import JSON
from fasthep_archive.environment.gpu import Gpu
from fasthep_archive.environment.hardware import Cpu, Hardware, System
from fasthep_archive.environment.packages import Package
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

_FEATURES: tuple[tuple[str, Effect], ...] = (("CPU arithmetic features", "numerical"), ("other CPU features", "other"))

_ORDER: tuple[Kind, ...] = ("machine", "cpu", "package", "variable", "libc", "interpreter", "system", "gpu", "memory")


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """One thing that is not as it was.

    :ivar name: what it is, as a reader knows it (``numpy``, ``CPU microarchitecture``).
    :ivar recorded: its value when the outputs were made; none where there was none.
    :ivar present: its value now.
    :ivar effect: whether it is known to be able to change a number.
    """

    kind: Kind
    name: str
    recorded: str | None
    present: str | None
    effect: Effect

    def __str__(self) -> str:
        return f"{self.name} ({self.recorded or 'absent'} recorded, {self.present or 'absent'} present)"

    def to_json(self) -> JSON:
        return {
            "kind": self.kind,
            "name": self.name,
            "recorded": self.recorded,
            "present": self.present,
            "effect": self.effect,
        }


def differences(recorded: Snapshot, present: Snapshot) -> tuple[Difference, ...]:
    """Return what differs, the most likely cause of a numerical difference first; nothing when nothing differs."""
    found = (
        *_hardware(recorded.hardware, present.hardware),
        *_packages(recorded.packages, present.packages),
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
    yield from _changed("machine", "machine architecture", recorded.machine, present.machine, "numerical")
    yield from _processor(recorded.cpu, present.cpu)
    yield from _libc(recorded.system, present.system)
    yield from _changed("system", "operating system", _system(recorded.system), _system(present.system), "other")
    yield from _changed("system", "kernel", recorded.system.kernel, present.system.kernel, "other")
    yield from _changed("gpu", "GPUs", _gpus(recorded.gpus), _gpus(present.gpus), "other")
    yield from _changed("memory", "memory", _gibibytes(recorded.memory), _gibibytes(present.memory), "other")


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
    before, now = (" ".join(filter(None, (system.libc, system.libc_version))) for system in (recorded, present))
    yield from _changed("libc", "C library", before, now, "numerical")


def _system(system: System) -> str:
    return system.distribution or system.name


def _gpus(gpus: tuple[Gpu, ...]) -> str | None:
    return ", ".join(f"{gpu.model} (driver {gpu.driver}, CUDA {gpu.cuda})" for gpu in gpus) or None


def _gibibytes(memory: int) -> str:
    return f"{memory / 2**30:.1f} GiB"


def _packages(recorded: tuple[Package, ...], present: tuple[Package, ...]) -> Iterator[Difference]:
    before, now = ({package.name: _version(package) for package in packages} for packages in (recorded, present))
    for name in sorted(before.keys() | now.keys()):
        effect: Effect = "numerical" if name == TOOL or name in NUMERICAL_PACKAGES else "other"
        yield from _changed("package", name, before.get(name), now.get(name), effect)


def _version(package: Package) -> str:
    """Return the version; that of a source tree that is still being edited is no promise, and says so."""
    return f"{package.version} (editable)" if package.origin == "editable" else package.version


def _variables(recorded: Variables, present: Variables) -> Iterator[Difference]:
    before, now = _values(recorded), _values(present)
    for name in sorted(before.keys() | now.keys()):
        effect: Effect = "numerical" if numerical(name) else "other"
        yield from _changed("variable", name, before.get(name), now.get(name), effect)


def _values(variables: Variables) -> Mapping[str, str]:
    return {**dict.fromkeys(variables.dropped, "set, value not recorded"), **dict(variables.values)}


def _interpreter(recorded: Python, present: Python) -> Iterator[Difference]:
    def minor(python: Python) -> tuple[str, ...]:
        return (python.implementation, *python.version.split(".")[:2])

    effect: Effect = "numerical" if minor(recorded) != minor(present) else "other"
    before, now = (f"{python.implementation} {python.version}" for python in (recorded, present))
    yield from _changed("interpreter", "Python", before, now, effect)
    yield from _changed("interpreter", "Python platform", recorded.platform, present.platform, "other")
