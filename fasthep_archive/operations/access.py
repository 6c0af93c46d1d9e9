"""Which files a script opens beyond those that it declares: seen with strace, where that is installed and allowed.

The system's own files do not count: programs and libraries below ``/usr``, what the loader and the C library read,
devices. All else that was read from outside of the script's directory is something that a reader of the bundle won't
have.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath

SUFFIX = ".access.log"
"""How the files are called that say what scripts have opened: ``logs/<stage>.access.log``."""
SHOWN = 200
"""Files that are listed."""
_CALLS = "open,openat,openat2,creat,execve,execveat"
_SYSTEM = (
    "/bin/",
    "/dev/",
    "/lib",
    "/proc/",
    "/run/systemd/",
    "/sbin/",
    "/sys/",
    "/usr/",
    "/var/lib/",
)
_SETTINGS = re.compile(
    r"/etc/(?:ld\.so|localtime|passwd|group|nsswitch|host|resolv|gai|ssl|pki|ca-cert|mime|protocols|services|locale"
    r"|alternatives|os-release|lsb-release|debian_version|fonts|inputrc|terminfo|python3|java|ImageMagick|profile"
    r"|shells|timezone|crypto-policies|libnl|magic|sensors|selinux|security|subuid|subgid|login.defs|environment|bash)"
)
_LINE = re.compile(r"^(?P<pid>\d+) +(?P<call>.*)$")
_ENVIRONMENT = "pyvenv.cfg"
_READ, _WROTE, _NOTE = "read ", "wrote ", "# "


@dataclass(frozen=True, kw_only=True, slots=True)
class Access:
    """What a script has opened outside of its directory.

    :ivar read: files, and directories of virtual environments of which something was read. :ivar wrote: files.
    :ivar note: why it is not known; none: it is.
    """

    read: tuple[str, ...] = ()
    wrote: tuple[str, ...] = ()
    note: str | None = None

    def text(self, left: Sequence[str]) -> bytes:
        """Return it as a file, with the names of files that the script left and did not declare."""
        lines = [f"{_NOTE}{self.note}"] if self.note else []
        lines += [f"{_READ}{name}" for name in self.read] + [f"{_WROTE}{name}" for name in self.wrote]
        lines += [f"left {name}" for name in left[:SHOWN]]
        return "".join(f"{line}\n" for line in lines).encode()

    @classmethod
    def of_text(cls, content: bytes) -> Access:
        """Return what :meth:`text` says."""
        lines = content.decode(errors="replace").splitlines()

        def found(start: str) -> tuple[str, ...]:
            return tuple(line.removeprefix(start) for line in lines if line.startswith(start))

        return cls(read=found(_READ), wrote=found(_WROTE), note=next(iter(found(_NOTE)), None))


@cache
def watching(tracer: str = "strace") -> tuple[tuple[str, ...], str | None]:
    """Return the command that other commands are put behind to be watched, and if there is none, why."""
    program = shutil.which(tracer, path="/usr/local/bin:/usr/bin:/bin")
    if program is None:
        return (), f"what was read is not known: {tracer} is not installed"
    command = (program, "-f", "--seccomp-bpf", "-qq", "-y", "-e", f"trace={_CALLS}", "-e", "signal=none", "-o")
    tried = subprocess.run(  # noqa: S603 - the tracer of the system
        [*command, "/dev/null", "/bin/sh", "-c", "exit 42"], capture_output=True, check=False, env={}
    )
    if tried.returncode != 42:
        return (), f"what was read is not known: {tracer} may not watch processes here"
    return command, None


def access(trace: Path, inside: Iterable[Path]) -> Access:
    """Return what the lines of a trace say that was opened outside of the directories ``inside``."""
    try:
        with trace.open(encoding="utf-8", errors="replace") as lines:
            first: dict[str, bool] = {}
            written: set[str] = set()
            for path, writing in _opened(lines):
                first.setdefault(path, writing)
                written.update([path] if writing else [])
    except OSError:
        return Access(note="what was read is not known: the trace could not be read")
    own = tuple(f"{path}/" for path in {*inside, *(path.resolve() for path in inside)})
    python = tuple(f"{Path(path).resolve()}/" for path in {sys.prefix, sys.base_prefix})
    named = {sys.prefix, sys.base_prefix}
    python += tuple(f"{path}/" for path in named)
    outside = {
        path: writing
        for path, writing in first.items()
        if path.startswith("/") and not path.startswith((*own, *python, *_SYSTEM)) and not _SETTINGS.match(path)
    }
    read = sorted({_whole(path) for path, writing in outside.items() if not writing and not Path(path).is_dir()})
    wrote = sorted(written & outside.keys())
    return Access(read=tuple(read[:SHOWN]), wrote=tuple(wrote[:SHOWN]))


def _opened(lines: Iterable[str]) -> Iterator[tuple[str, bool]]:
    """Yield the files that were opened, each with whether it was for writing; what failed is nothing."""
    begun: dict[str, str] = {}
    for line in lines:
        match = _LINE.match(line.rstrip("\n"))
        if match is None:
            continue
        pid, call = match["pid"], match["call"]
        if call.endswith("<unfinished ...>"):
            begun[pid] = call.removesuffix("<unfinished ...>")
            continue
        if call.startswith("<... "):
            call = begun.pop(pid, "") + call.partition("resumed>")[2]
        arguments, equals, result = call.rpartition(" = ")
        if not equals or result.startswith("-"):
            continue
        if arguments.startswith("execve"):
            name = _quoted(arguments)
            if name.startswith("/"):
                yield name, False
        elif "<" in result:
            writing = "O_WRONLY" in arguments or "O_RDWR" in arguments or arguments.startswith("creat")
            yield _plain(result.partition("<")[2].rpartition(">")[0]).removesuffix(" (deleted)"), writing


def _quoted(arguments: str) -> str:
    first, last = arguments.find('"'), -1
    if first >= 0:
        last = arguments.find('"', first + 1)
    return _plain(arguments[first + 1 : last]) if last > first else ""


def _plain(name: str) -> str:
    r"""Return a name as it is: strace writes bytes that are not ASCII as ``\303\251``.

    >>> _plain(r"/data/caf\303\251")
    '/data/café'
    """
    if "\\" not in name:
        return name
    return (
        name.encode("latin-1", "replace")
        .decode("unicode_escape")
        .encode("latin-1", "replace")
        .decode("utf-8", "replace")
    )


@cache
def _whole(path: str) -> str:
    """Return the virtual environment that a file is of, or the file."""
    above = [str(folder) for folder in PurePosixPath(path).parents]
    return next((folder for folder in above if (Path(folder) / _ENVIRONMENT).is_file()), path)
