"""The machine: what of it can change a number, and what helps to recognise it; nothing that names its owner.

The same machine gives the same profile: no frequencies, no free memory, no load. What a container or a batch slot
lets a process use of it is in the profile, since that is what the run had. Host name, user name, serial numbers
and the kernel's build string (which holds the name of the machine that compiled it) are never read.
"""

from __future__ import annotations

import platform
import sysconfig
from dataclasses import dataclass
from pathlib import Path

from fasthep_archive.digest import JSON
from fasthep_archive.environment.gpu import Gpu, gpus
from fasthep_archive.environment.limits import Limits, limits
from fasthep_archive.environment.reading import Reader

FORMAT = 1
"""Version of the JSON form, :file:`schemas/hardware-1.json`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Cpu:
    """The processor, as the operating system shows it to this process.

    :ivar model: the maker's name of it; none where it can't be asked (Linux on ARM).
    :ivar vendor: as the processor says it (``GenuineIntel``, ``AuthenticAMD``, ``ARM``).
    :ivar microarchitecture: archspec's name: the newest one that it knows and whose features are all here.
    :ivar features: feature flags in the operating system's spelling, with archspec's synonyms (``sse3`` for ``pni``),
        sorted.
    :ivar cores: physical cores; none where unknown.
    :ivar threads: logical cores.
    """

    model: str | None
    vendor: str
    microarchitecture: str
    features: tuple[str, ...]
    cores: int | None
    threads: int | None

    def to_json(self) -> JSON:
        return {
            "model": self.model,
            "vendor": self.vendor,
            "microarchitecture": self.microarchitecture,
            "features": list(self.features),
            "cores": self.cores,
            "threads": self.threads,
        }

    @classmethod
    def from_json(cls, reader: Reader) -> Cpu:
        """Return the processor that was recorded."""
        return cls(
            model=reader.optional_text("model"),
            vendor=reader.text("vendor"),
            microarchitecture=reader.text("microarchitecture"),
            features=reader.texts("features"),
            cores=reader.optional_integer("cores"),
            threads=reader.optional_integer("threads"),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class System:
    """The operating system.

    :ivar name: ``Linux``, ``Darwin``, ``Windows``.
    :ivar kernel: the kernel's release.
    :ivar distribution: what the system calls itself (``Debian GNU/Linux 12 (bookworm)``); none where it doesn't.
    :ivar libc: the C library, which holds the elementary functions (``glibc``, ``musl``); none where unknown.
    """

    name: str
    kernel: str
    distribution: str | None
    libc: str | None
    libc_version: str | None

    def to_json(self) -> JSON:
        return {
            "name": self.name,
            "kernel": self.kernel,
            "distribution": self.distribution,
            "libc": self.libc,
            "libc_version": self.libc_version,
        }

    @classmethod
    def from_json(cls, reader: Reader) -> System:
        """Return the system that was recorded."""
        return cls(
            name=reader.text("name"),
            kernel=reader.text("kernel"),
            distribution=reader.optional_text("distribution"),
            libc=reader.optional_text("libc"),
            libc_version=reader.optional_text("libc_version"),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Hardware:
    """A hardware profile.

    :ivar machine: the architecture (``x86_64``, ``aarch64``).
    :ivar memory: main memory in bytes.
    :ivar limits: what the process may use of it; none in records of versions that did not ask.
    """

    machine: str
    cpu: Cpu
    memory: int
    system: System
    gpus: tuple[Gpu, ...]
    limits: Limits | None = None

    def to_json(self) -> JSON:
        described: dict[str, JSON] = {
            "format": FORMAT,
            "machine": self.machine,
            "cpu": self.cpu.to_json(),
            "memory": self.memory,
            "system": self.system.to_json(),
            "gpus": [gpu.to_json() for gpu in self.gpus],
        }
        return described if self.limits is None else {**described, "limits": self.limits.to_json()}

    @classmethod
    def from_json(cls, value: JSON) -> Hardware:
        """Return the profile that was recorded as ``value``.

        :raises DataError: naming the place, if ``value`` is not one of :meth:`to_json`.
        """
        reader = Reader.of(value, "hardware")
        reader.format(FORMAT)
        return cls(
            machine=reader.text("machine"),
            cpu=Cpu.from_json(reader.reader("cpu")),
            memory=reader.integer("memory"),
            system=System.from_json(reader.reader("system")),
            gpus=tuple(Gpu.from_json(item) for item in reader.readers("gpus")),
            limits=Limits.from_json(reader.reader("limits")) if "limits" in reader.value else None,
        )


def profile() -> Hardware:
    """Return the profile of the machine that this process runs on."""
    import psutil

    return Hardware(
        machine=platform.machine(),
        cpu=_cpu(),
        memory=psutil.virtual_memory().total,
        system=_system(),
        gpus=gpus(),
        limits=limits(),
    )


def _cpu() -> Cpu:
    import archspec.cpu
    import psutil
    from archspec.cpu.detect import detected_info

    detected = detected_info()
    return Cpu(
        model=_model(),
        vendor=detected.vendor,
        microarchitecture=archspec.cpu.host().name,
        features=tuple(sorted(detected.features)),
        cores=psutil.cpu_count(logical=False),
        threads=psutil.cpu_count(logical=True),
    )


def _model() -> str | None:
    """Return the processor's name; on Linux from the kernel, since archspec would execute ``cpuid`` for it."""
    if platform.system() != "Linux":
        import archspec.cpu

        name: str | None = archspec.cpu.brand_string()
        return name
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None  # a sandbox without /proc
    for line in lines:
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            return value.strip() or None
    return None


def _system() -> System:
    libc, libc_version = platform.libc_ver()
    if not libc and "musl" in str(sysconfig.get_config_var("HOST_GNU_TYPE")):
        libc = "musl"  # Python before 3.14 recognises only glibc
    return System(
        name=platform.system(),
        kernel=platform.release(),
        distribution=_distribution(),
        libc=libc or None,
        libc_version=libc_version or None,
    )


def _distribution() -> str | None:
    if platform.system() == "Darwin":
        return f"macOS {platform.mac_ver()[0]}"
    if platform.system() == "Windows":
        return "Windows {} ({})".format(*platform.win32_ver()[:2])
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME")
    except OSError:
        return None
