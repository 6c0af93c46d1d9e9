"""Makes bundles with a small locked environment: real wheels, a real pip, and a tool that tells how it was started."""

import base64
import functools
import hashlib
import io
import json
import platform
import sysconfig
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import distribution
from pathlib import Path

from hostile import make

from fasthep_archive.bundle import rebuild

VERSION = platform.python_version()
PLATFORM = sysconfig.get_platform()
TOOL = """
import json, os, signal, sys, time
import tiny

act = os.environ.get("ACT", "0")
told = {"arguments": sys.argv[1:], "python": sys.executable, "isolated": sys.flags.isolated, "tiny": tiny.VERSION}
print(json.dumps({**told, "cache": os.environ.get("FASTHEP_ARCHIVE_CACHE")}), flush=True)
if act == "die":
    os.kill(os.getpid(), signal.SIGKILL)
if act == "wait":
    try:
        time.sleep(60)
    except KeyboardInterrupt:
        sys.exit(130)
sys.exit(int(act))
"""


@dataclass(frozen=True, kw_only=True)
class Wheel:
    """A wheel: its file name and its bytes."""

    file: str
    raw: bytes

    @property
    def pinned(self) -> tuple[str, str]:
        name, version, *_ = self.file.split("-")
        return name.replace("_", "-"), version


def wheel(name: str, files: Mapping[str, str], *, version: str = "1.0", tag: str = "py3-none-any") -> Wheel:
    """Return a wheel of these files, always with the same bytes."""
    info = f"{name}-{version}.dist-info"
    contents = {
        **files,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: {tag}\n",
    }
    record = "".join(f"{path},{_stated(text.encode())}\n" for path, text in contents.items()) + f"{info}/RECORD,,\n"
    return Wheel(file=f"{name}-{version}-{tag}.whl", raw=zipped({**contents, f"{info}/RECORD": record}))


def _stated(raw: bytes) -> str:
    """Return what a RECORD says of a file."""
    digest = base64.urlsafe_b64encode(hashlib.sha256(raw).digest()).rstrip(b"=").decode()
    return f"sha256={digest},{len(raw)}"


def zipped(contents: Mapping[str, str | bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for path, text in contents.items():
            archive.writestr(zipfile.ZipInfo(path), text)
    return buffer.getvalue()


def tiny(version: str = "1.0", *, tag: str = "py3-none-any") -> Wheel:
    return wheel("tiny", {"tiny.py": f"VERSION = {version!r}\n"}, version=version, tag=tag)


TOOLS = wheel("fasthep_archive", {"fasthep_archive/__init__.py": "", "fasthep_archive/__main__.py": TOOL})


@functools.cache
def pip() -> Wheel:
    """Return pip's wheel, made of the pip that is installed here."""
    installed = distribution("pip")
    paths = [path for path in installed.files or () if ".." not in path.parts and path.suffix != ".pyc"]
    contents = {path.as_posix(): Path(str(path.locate())).read_bytes() for path in sorted(paths)}
    return Wheel(file=f"pip-{installed.version}-py3-none-any.whl", raw=zipped(contents))


@dataclass(frozen=True, kw_only=True)
class Entry:
    """What a lock says of a package; ``carried`` are the wheels of it that the bundle has."""

    wheels: tuple[Wheel, ...]
    carried: tuple[Wheel, ...]
    marker: str = ""
    sdist: str = ""


def entry(*wheels: Wheel, carried: Iterable[Wheel] | None = None, marker: str = "", sdist: str = "") -> Entry:
    return Entry(wheels=wheels, carried=wheels if carried is None else tuple(carried), marker=marker, sdist=sdist)


def lock(entries: Iterable[Entry], unresolved: Iterable[str] = ()) -> str:
    """Return ``pylock.toml`` (PEP 751)."""
    text = 'lock-version = "1.0"\ncreated-by = "fasthep-archive"\n'
    for name in unresolved:
        text += f'\n[[tool.fasthep-archive.unresolved]]\nname = "{name}"\nversion = "1.0"\n'
    for item in entries:
        name, version = item.wheels[0].pinned if item.wheels else (item.sdist, "1.0")
        text += f'\n[[packages]]\nname = "{name}"\nversion = "{version}"\n'
        text += f"marker = {item.marker!r}\n" if item.marker else ""
        digest = "00" * 32
        if item.sdist:
            text += f'[packages.sdist]\npath = "wheels/{name}-{version}.tar.gz"\nhashes = {{ sha256 = "{digest}" }}\n'
        for one in item.wheels:
            digest = hashlib.sha256(one.raw).hexdigest()
            text += f'[[packages.wheels]]\npath = "wheels/{one.file}"\nhashes = {{ sha256 = "{digest}" }}\n'
    return text


def requirements(entries: Iterable[Entry]) -> str:
    """Return ``requirements.txt`` with hashes."""
    text = "# The environment that made the outputs.\n"
    for item in entries:
        if item.wheels:
            name, version = item.wheels[0].pinned
            lines = [f"{name}=={version}" + (f" ; {item.marker}" if item.marker else "")]
            lines += [f"--hash=sha256:{hashlib.sha256(one.raw).hexdigest()}" for one in item.wheels]
            text += " \\\n    ".join(lines) + "\n"
    return text


@dataclass(frozen=True, kw_only=True)
class Locked:
    """A bundle with an environment: what its lock says, and what it carries."""

    entries: tuple[Entry, ...] = (entry(TOOLS), entry(tiny()))
    unresolved: tuple[str, ...] = ()
    implementation: str = platform.python_implementation()
    version: str = VERSION
    platform: str = PLATFORM
    without: tuple[str, ...] = ()
    files_besides: tuple[tuple[str, bytes], ...] = ()
    """Files in place of those that are made here."""

    def files(self) -> dict[str, bytes]:
        """Return the files below ``data/``, by name."""
        python = {"implementation": self.implementation, "version": self.version, "platform": self.platform}
        files = {
            **make.payload(),
            rebuild.SNAPSHOT: json.dumps({"format": 1, "python": python}).encode(),
            rebuild.LOCK: lock(self.entries, self.unresolved).encode(),
            rebuild.REQUIREMENTS: requirements(self.entries).encode(),
            rebuild.WHEELS + pip().file: pip().raw,
        }
        files.update((rebuild.WHEELS + one.file, one.raw) for item in self.entries for one in item.carried)
        files.update(self.files_besides)
        return {name: raw for name, raw in files.items() if name not in self.without}

    def write(self, path: Path) -> Path:
        """Write it as a zip, and return the path."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(make.zipped(make.sealed(self.files())))
        return path
