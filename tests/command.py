"""The command, as users have it: in a process of its own, with an environment that the test knows."""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

EPOCH = "1767225600"
"""A ``SOURCE_DATE_EPOCH``: 2026-01-01."""
_FREE = (
    "SOURCE_DATE_EPOCH",
    "PYTHONHASHSEED",
    "TZ",
    "LANG",
    "LC_ALL",
    "XDG_CACHE_HOME",
    "PYTHONDONTWRITEBYTECODE",  # each of hundreds of processes would compile this package again, for 0.1 to 0.5 s
)
"""Variables that a test sets by itself or has unset."""
_SHARED = ("kernels", "trees", "installed", "closures")
"""What caches of a session share: compiled code, and what is known of the installed packages and their wheels."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Command:
    """``fasthep-archive`` with the caches in ``cache``."""

    cache: Path

    def __call__(
        self,
        *arguments: str | Path,
        status: int = 0,
        cwd: Path | None = None,
        before: Sequence[str] = (),
        **variables: str,
    ) -> subprocess.CompletedProcess[str]:
        """Run it to its end, with nobody at the terminal, and return what it said; it must exit with ``status``.

        :param before: a command that runs it, such as one that becomes another user first.
        """
        done = subprocess.run(
            [*before, *words(*arguments)],
            cwd=cwd,
            env=self.environment(variables),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == status, f"exit status {done.returncode}\n{done.stdout}{done.stderr}"
        assert "Traceback" not in done.stderr, done.stderr
        return done

    def start(self, *arguments: str | Path, **variables: str) -> subprocess.Popen[str]:
        """Start it in a session of its own."""
        return subprocess.Popen(
            words(*arguments),
            env=self.environment(variables),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def environment(self, variables: Mapping[str, str]) -> dict[str, str]:
        """Return the environment of the command."""
        inherited = {name: value for name, value in os.environ.items() if name not in _FREE}
        return {**inherited, "FASTHEP_ARCHIVE_CACHE": str(self.cache), **variables}


def words(*arguments: str | Path) -> list[str]:
    """Return the whole command line."""
    return [sys.executable, "-m", "fasthep_archive", *map(str, arguments)]


def with_kernels(cache: Path, kernel_cache: Path) -> Path:
    """Return ``cache``, an empty directory of caches that shares with ``kernel_cache`` what no test is about.

    What ``kernel_cache`` holds may be of an earlier session; a store that is kept would hide what is wrong since then.
    """
    cache.mkdir(mode=0o700, exist_ok=True)
    for name in _SHARED:
        (kernel_cache / name).mkdir(mode=0o700, parents=True, exist_ok=True)
        (cache / name).symlink_to(kernel_cache / name)
    return cache
