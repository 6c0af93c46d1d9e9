"""Another architecture without its hardware: Debian's Python for arm64 and the wheels of PyPI, run by qemu-user.

Needs Debian or Ubuntu, root (for the package lists of arm64), and the package registries. Nothing of it is installed
beside ``qemu-user-static``: packages are unpacked into a directory.
"""

import os
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
EMULATOR = "qemu-aarch64-static"
DEBIAN = (
    *("libbz2-1.0", "libc6", "libcrypt1", "libdb5.3", "libexpat1", "libffi8", "libgcc-s1", "liblzma5", "libncursesw6"),
    *("libnsl2", "libpython3.11-minimal", "libpython3.11-stdlib", "libreadline8", "libsqlite3-0", "libssl3"),
    *("libstdc++6", "libtinfo6", "libtirpc3", "libuuid1", "python3.11-minimal", "zlib1g"),
)
PLATFORMS = ("manylinux2014_aarch64", "manylinux_2_27_aarch64", "manylinux_2_28_aarch64")
NOT_NEEDED = ("pip-tools", "build")
"""Dependencies that only packing needs."""


@dataclass(frozen=True)
class Machine:
    """A Python for arm64 with fasthep-archive's dependencies, below a directory."""

    directory: Path

    def __call__(self, *words: object, cwd: Path, variables: Mapping[str, str] | None = None) -> str:
        """Run the command ``fasthep-archive`` and return what it prints."""
        python = (EMULATOR, "-L", self.directory / "root", self.directory / "root" / "usr" / "bin" / "python3.11")
        environment = {
            "PYTHONPATH": f"{self.directory / 'site'}{os.pathsep}{ROOT}",
            "PYTHONDONTWRITEBYTECODE": "1",
            "FASTHEP_ARCHIVE_CACHE": str(self.directory / "cache"),
            "PATH": os.environ["PATH"],
            **(variables or {}),
        }
        command = [*map(str, python), "-m", "fasthep_archive", *map(str, words)]
        done = subprocess.run(command, cwd=cwd, env=environment, check=True, capture_output=True, text=True)
        return done.stdout


def prepare(directory: Path) -> Machine:
    """Fetch and unpack everything below ``directory``."""
    packages, root = directory / "packages", directory / "root"
    for folder in (packages, root):
        folder.mkdir(parents=True)
    _do("dpkg", "--add-architecture", "arm64")
    _do("apt-get", "update", "-qq")
    _do("apt-get", "install", "-y", "-qq", "qemu-user-static")
    _do("apt-get", "download", "-qq", *(f"{name}:arm64" for name in DEBIAN), cwd=packages)
    for package in sorted(packages.iterdir()):
        _do("dpkg", "-x", package, root)
    platforms = [word for platform in PLATFORMS for word in ("--platform", platform)]
    wanted = [name for name in _dependencies() if not name.startswith(NOT_NEEDED)]
    pip = (sys.executable, "-m", "pip", "install", "-q", "--no-warn-conflicts", "--target", directory / "site")
    _do(*pip, "--only-binary=:all:", "--python-version", "3.11", *platforms, *wanted)
    return Machine(directory)


def _dependencies() -> list[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return [str(requirement) for requirement in project["dependencies"]]


def _do(*command: object, cwd: Path | None = None) -> None:
    subprocess.run([str(word) for word in command], cwd=cwd, check=True, stdout=subprocess.DEVNULL)
